//! Reads a package from its first byte to its last, once, in order; takes the strict profile and nothing else.
//!
//! Never seeks, never allocates by a length it was told, never panics: every field is compared with the only value allowed.

use std::io::{self, Read};

use crate::digest::{Hasher, Sha256Hex};
use crate::manifest::{FileEntry, MANIFEST, MAX_FILES, MAX_MANIFEST, Manifest, Mode};
use crate::path::{PackagePath, Tree};

use super::block::Unpacker;
use super::error::CabError;
use super::format::{
    BLOCK, DATE, FOLDER_LENGTH, HEADER_LENGTH, MAX_NAME, MAX_PACKED_BLOCK, MAX_RATIO, MAX_UNPACKED, MSZIP, SIGNATURE,
    TIME, VERSION, block_checksum, blocks, mode,
};

/// Takes what is unpacked. A file's bytes are proven only when `end` is called for it.
pub trait Sink {
    /// A file begins.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin(&mut self, entry: &FileEntry) -> io::Result<()>;
    /// The next bytes of the file.
    ///
    /// # Errors
    /// When they cannot be written.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The file is whole, and its digest is the one in the manifest.
    ///
    /// # Errors
    /// When it cannot be finished.
    fn end(&mut self, entry: &FileEntry) -> io::Result<()>;
}

/// Reads the package of `length` bytes from `source`; returns its manifest and the digest of the whole.
///
/// # Errors
/// On the first byte that misses the profile, or when the sink fails.
pub fn read(source: impl Read, length: u64, sink: &mut dyn Sink) -> Result<(Manifest, Sha256Hex), CabError> {
    let mut source = Source { reader: source, position: 0, hasher: Hasher::new() };
    let count = header(&mut source, length)?;
    let folders = folders(&mut source, count)?;
    let files = files(&mut source, count, length)?;
    let mut unpacker = Unpacker::new();
    let mut members = folders.iter().zip(&files);
    let manifest = match members.next() {
        Some((folder, file)) => read_manifest(&mut source, &mut unpacker, folder, file)?,
        None => return Err(CabError::Count { files: 0, folders: 0 }),
    };
    compare(&manifest, &files)?;
    for (index, ((folder, file), entry)) in members.zip(&manifest.files).enumerate() {
        sink.begin(entry).map_err(CabError::Write)?;
        let mut hasher = Hasher::new();
        unpack(&mut source, &mut unpacker, folder, file, &mut |bytes| {
            hasher.update(bytes);
            sink.data(bytes).map_err(CabError::Write)
        })?;
        if hasher.finish() != entry.sha256 {
            return Err(CabError::Differs { field: "sha256", entry: index + 1 });
        }
        sink.end(entry).map_err(CabError::Write)?;
    }
    source.end(length)?;
    Ok((manifest, source.hasher.finish()))
}

/// Where the data of one file begins, and in how many blocks it lies.
struct Folder {
    offset: u32,
    blocks: u16,
}

/// What the cabinet says of one file.
struct Member {
    path: PackagePath,
    size: u64,
    mode: Mode,
}

/// Reads the header; returns how many files follow.
fn header<R: Read>(source: &mut Source<R>, length: u64) -> Result<usize, CabError> {
    if source.take::<4>("the header")? != SIGNATURE {
        return Err(CabError::NotACabinet);
    }
    source.fixed_u32("reserved1", 0, 0)?;
    let says = u64::from(source.u32("the header")?);
    if says != length {
        return Err(CabError::Length { says, is: length });
    }
    source.fixed_u32("reserved2", 0, 0)?;
    let files_at = source.u32("the header")?;
    source.fixed_u32("reserved3", 0, 0)?;
    if source.take::<2>("the header")? != VERSION {
        return Err(CabError::NotACabinet);
    }
    let (folders, files) = (usize::from(source.u16("the header")?), usize::from(source.u16("the header")?));
    if source.u16("the header")? != 0 {
        return Err(CabError::MultiVolume);
    }
    source.fixed_u16("setID", 0, 0)?;
    source.fixed_u16("iCabinet", 0, 0)?;
    if files != folders || !(2..=MAX_FILES).contains(&files) {
        return Err(CabError::Count { files, folders });
    }
    let expected = u32::try_from(folders).unwrap_or(u32::MAX).saturating_mul(FOLDER_LENGTH) + HEADER_LENGTH;
    if files_at != expected {
        return Err(CabError::Field { field: "coffFiles", entry: 0, value: u64::from(files_at) });
    }
    Ok(files)
}

fn folders<R: Read>(source: &mut Source<R>, count: usize) -> Result<Vec<Folder>, CabError> {
    (0..count)
        .map(|entry| {
            let folder = Folder { offset: source.u32("the folders")?, blocks: source.u16("the folders")? };
            source.fixed_u16("typeCompress", entry, MSZIP)?;
            Ok(folder)
        })
        .collect()
}

/// Reads the file table; the sums are within the limits afterwards.
fn files<R: Read>(source: &mut Source<R>, count: usize, length: u64) -> Result<Vec<Member>, CabError> {
    let mut files: Vec<Member> = Vec::new();
    let (mut tree, mut total) = (Tree::default(), 0_u64);
    for entry in 0..count {
        let file = member(source, entry)?;
        tree.add(&file.path).map_err(|source| CabError::Path { entry, source })?;
        let in_order = match (entry, files.last()) {
            (0, _) => file.path.as_str() == MANIFEST && file.size <= MAX_MANIFEST && file.mode == Mode::Plain,
            (1, _) | (_, None) => true,
            (_, Some(before)) => before.path < file.path,
        };
        if !in_order {
            return Err(CabError::Order { entry });
        }
        total = total.saturating_add(file.size);
        files.push(file);
    }
    if total > MAX_UNPACKED {
        return Err(CabError::Unpacked(total));
    }
    if total > length.saturating_mul(MAX_RATIO) {
        return Err(CabError::Ratio { unpacked: total, packed: length });
    }
    Ok(files)
}

fn member<R: Read>(source: &mut Source<R>, entry: usize) -> Result<Member, CabError> {
    let size = u64::from(source.u32("the files")?);
    source.fixed_u32("uoffFolderStart", entry, 0)?;
    source.fixed_u16("iFolder", entry, u16::try_from(entry).unwrap_or(u16::MAX))?;
    source.fixed_u16("date", entry, DATE)?;
    source.fixed_u16("time", entry, TIME)?;
    let attributes = source.u16("the files")?;
    let mode = mode(attributes).ok_or(CabError::Field { field: "attribs", entry, value: u64::from(attributes) })?;
    let mut name = String::new();
    loop {
        match source.take::<1>("the files")? {
            [0] => break,
            [byte] if byte.is_ascii() && name.len() < MAX_NAME => name.push(char::from(byte)),
            [_] => return Err(CabError::Name { entry }),
        }
    }
    let path = PackagePath::parse(&name, '\\').map_err(|source| CabError::Path { entry, source })?;
    Ok(Member { path, size, mode })
}

fn read_manifest<R: Read>(
    source: &mut Source<R>,
    unpacker: &mut Unpacker,
    folder: &Folder,
    file: &Member,
) -> Result<Manifest, CabError> {
    let mut bytes = Vec::new();
    unpack(source, unpacker, folder, file, &mut |block| {
        bytes.extend_from_slice(block);
        Ok(())
    })?;
    Manifest::from_slice(&bytes).map_err(CabError::Manifest)
}

/// The manifest names exactly the files of the cabinet, in its order.
fn compare(manifest: &Manifest, files: &[Member]) -> Result<(), CabError> {
    if manifest.files.len() + 1 != files.len() {
        return Err(CabError::Differs { field: "number", entry: manifest.files.len() + 1 });
    }
    for (entry, (file, listed)) in files.iter().skip(1).zip(&manifest.files).enumerate() {
        let field = if file.path != listed.path {
            "path"
        } else if file.size != listed.size {
            "size"
        } else if file.mode != listed.mode {
            "mode"
        } else {
            continue;
        };
        return Err(CabError::Differs { field, entry: entry + 1 });
    }
    Ok(())
}

/// Unpacks one file, block by block, into `take`.
fn unpack<R: Read>(
    source: &mut Source<R>,
    unpacker: &mut Unpacker,
    folder: &Folder,
    file: &Member,
    take: &mut dyn FnMut(&[u8]) -> Result<(), CabError>,
) -> Result<(), CabError> {
    let path = || file.path.as_str().to_owned();
    if u64::from(folder.offset) != source.position {
        return Err(CabError::Offset { path: path(), says: u64::from(folder.offset), is: source.position });
    }
    if u64::from(folder.blocks) != blocks(file.size) {
        return Err(CabError::Block { path: path(), block: blocks(file.size) });
    }
    unpacker.next_file();
    let (mut left, mut room) = (file.size, [0; MAX_PACKED_BLOCK]);
    for block in 0..u64::from(folder.blocks) {
        let checksum = source.u32("a block")?;
        let (packed, unpacked) = (source.u16("a block")?, source.u16("a block")?);
        let wanted = left.min(BLOCK as u64);
        let bytes = room.get_mut(..usize::from(packed)).filter(|_| u64::from(unpacked) == wanted);
        let bytes = bytes.ok_or_else(|| CabError::Block { path: path(), block })?;
        source.fill(bytes, "a block")?;
        if checksum == 0 || checksum != block_checksum(bytes, unpacked) {
            return Err(CabError::Checksum { path: path(), block });
        }
        let data = unpacker.unpack(bytes, usize::from(unpacked));
        take(data.ok_or_else(|| CabError::Inflate { path: path(), block })?)?;
        left -= wanted;
    }
    Ok(())
}

/// A reader that knows where it is and hashes what goes by.
struct Source<R> {
    reader: R,
    position: u64,
    hasher: Hasher,
}

impl<R: Read> Source<R> {
    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), CabError> {
        self.reader.read_exact(bytes).map_err(|error| {
            let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
            if is_end { CabError::Truncated(what) } else { CabError::Read(error) }
        })?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CabError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, CabError> {
        Ok(u16::from_le_bytes(self.take(what)?))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, CabError> {
        Ok(u32::from_le_bytes(self.take(what)?))
    }

    fn fixed_u16(&mut self, field: &'static str, entry: usize, allowed: u16) -> Result<(), CabError> {
        let value = self.u16(field)?;
        if value == allowed { Ok(()) } else { Err(CabError::Field { field, entry, value: u64::from(value) }) }
    }

    fn fixed_u32(&mut self, field: &'static str, entry: usize, allowed: u32) -> Result<(), CabError> {
        let value = self.u32(field)?;
        if value == allowed { Ok(()) } else { Err(CabError::Field { field, entry, value: u64::from(value) }) }
    }

    fn end(&mut self, length: u64) -> Result<(), CabError> {
        match (&mut self.reader).take(1).read(&mut [0]) {
            Ok(0) if self.position == length => Ok(()),
            Ok(_) => Err(CabError::Trailing),
            Err(error) => Err(CabError::Read(error)),
        }
    }
}
