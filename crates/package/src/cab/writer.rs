//! Packs a folder. Two builds of the same files give the same bytes, whatever their dates and order on the disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::digest::{Hasher, Sha256Hex, hash_reader};
use crate::durable;
use crate::manifest::{FileEntry, MANIFEST, MAX_FILES, Manifest, ManifestError, Mode};
use crate::path::{PackagePath, PathError};

use super::block::Packer;
use super::error::CabError;
use super::format::{
    BLOCK, DATE, FOLDER_LENGTH, HEADER_LENGTH, MAX_UNPACKED, MSZIP, SIGNATURE, TIME, VERSION, attributes,
    block_checksum,
};
use super::reader::{Sink, read};

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither a file nor a folder.
    #[error("{0} is neither a file nor a folder: links and devices are not packed")]
    Kind(PathBuf),
    /// A name that a package may not contain.
    #[error("{path} cannot be packed")]
    Path {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: PathError,
    },
    /// The files do not make a valid manifest.
    #[error("the folder does not make a package")]
    Manifest(#[source] ManifestError),
    /// The files are too large together.
    #[error("the folder has {0} bytes, more than the {MAX_UNPACKED} a package may unpack to")]
    TooLarge(u64),
    /// A file changed while it was packed.
    #[error("{0} changed while it was packed: build again when nothing writes to the folder")]
    Changed(PathBuf),
    /// The finished package is not one that a host would take.
    #[error("the finished package does not keep to the profile")]
    Profile(#[source] CabError),
}

/// Where the bytes of a packed file come from.
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// One file to pack.
struct Member {
    entry: FileEntry,
    content: Content,
}

/// Packs the files under `from`, with `contents` as their description, into `out`; returns what is inside.
///
/// # Errors
/// When the folder cannot be packed; `out` is then as it was.
pub fn build(from: &Path, contents: &Contents, out: &Path) -> Result<Manifest, BuildError> {
    let mut members = Vec::new();
    let (description, own) = contents.description();
    scan(from, "", description, &mut members)?;
    let path: PackagePath =
        description.parse().map_err(|source| BuildError::Path { path: description.into(), source })?;
    let sha256 = Sha256Hex::of(&own);
    let entry = FileEntry { path, size: own.len() as u64, sha256, mode: Mode::Plain };
    members.push(Member { entry, content: Content::Bytes(own) });
    members.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    let manifest = Manifest { files: members.iter().map(|m| m.entry.clone()).collect() };
    manifest.validate().map_err(BuildError::Manifest)?;
    let total = manifest.files.iter().map(|f| f.size).sum();
    if total > MAX_UNPACKED {
        return Err(BuildError::TooLarge(total));
    }
    write(members, &manifest, out)?;
    Ok(manifest)
}

/// Finds the files under `from`, leaving out its own description, which is written anew.
fn scan(from: &Path, prefix: &str, description: &str, members: &mut Vec<Member>) -> Result<(), BuildError> {
    let failed = |source| BuildError::Io { path: from.to_owned(), source };
    for found in fs::read_dir(from).map_err(failed)? {
        let found = found.map_err(failed)?;
        let path = found.path();
        let name = prefix.to_owned() + &found.file_name().to_string_lossy();
        let kind = found.file_type().map_err(failed)?;
        if kind.is_dir() {
            scan(&path, &(name + "/"), description, members)?;
        } else if !kind.is_file() {
            return Err(BuildError::Kind(path));
        } else if name != description {
            members.push(member(path, &name)?);
        }
        if members.len() > MAX_FILES {
            return Err(BuildError::Manifest(ManifestError::Count(members.len())));
        }
    }
    Ok(())
}

fn member(path: PathBuf, name: &str) -> Result<Member, BuildError> {
    let failed = |source| BuildError::Io { path: path.clone(), source };
    let in_package = name.parse().map_err(|source| BuildError::Path { path: path.clone(), source })?;
    let file = File::open(&path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if facts.len() > MAX_UNPACKED {
        return Err(BuildError::TooLarge(facts.len()));
    }
    let runs = facts.permissions().mode() & 0o111 != 0;
    let (size, sha256) = hash_reader(file, MAX_UNPACKED).map_err(failed)?;
    let mode = if runs { Mode::Executable } else { Mode::Plain };
    let entry = FileEntry { path: in_package, size, sha256, mode };
    Ok(Member { entry, content: Content::File(path) })
}

/// Writes beside `out`, reads the result back as a host would, and only then puts it in place.
fn write(mut members: Vec<Member>, manifest: &Manifest, out: &Path) -> Result<(), BuildError> {
    let failed = |source| BuildError::Io { path: out.to_owned(), source };
    let bytes = manifest.to_vec();
    let path: PackagePath = MANIFEST.parse().map_err(|source| BuildError::Path { path: MANIFEST.into(), source })?;
    let sha256 = Sha256Hex::of(&bytes);
    let entry = FileEntry { path, size: bytes.len() as u64, sha256, mode: Mode::Plain };
    members.insert(0, Member { entry, content: Content::Bytes(bytes) });
    let dir = match out.parent() {
        Some(dir) if dir != Path::new("") => dir,
        Some(_) | None => Path::new("."),
    };
    let mut draft = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    let table: u64 = members.iter().map(|m| 16 + m.entry.path.as_str().len() as u64 + 1).sum();
    let data_at = u64::from(HEADER_LENGTH) + members.len() as u64 * u64::from(FOLDER_LENGTH) + table;
    draft.seek(SeekFrom::Start(data_at)).map_err(failed)?;
    let mut folders = Vec::with_capacity(members.len());
    let mut position = data_at;
    for member in &members {
        let (packed, blocks) = pack(member, &mut io::BufWriter::new(draft.as_file())).map_err(|error| match error {
            PackError::Io(source) => failed(source),
            PackError::Changed(path) => BuildError::Changed(path),
        })?;
        folders.push((position, blocks));
        position += packed;
    }
    draft.seek(SeekFrom::Start(0)).map_err(failed)?;
    draft.write_all(&tables(&members, &folders, position)).map_err(failed)?;
    draft.seek(SeekFrom::Start(0)).map_err(failed)?;
    read(BufReader::new(draft.as_file()), position, &mut Nowhere).map_err(BuildError::Profile)?;
    draft.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    draft.as_file().sync_all().map_err(failed)?;
    draft.persist(out).map_err(|e| failed(e.error))?;
    durable::sync_dir(dir).map_err(failed)
}

enum PackError {
    Io(io::Error),
    Changed(PathBuf),
}

impl From<io::Error> for PackError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the blocks of one file; returns how many bytes and blocks they are.
fn pack(member: &Member, out: &mut impl Write) -> Result<(u64, u16), PackError> {
    let (mut source, name): (Box<dyn Read>, _) = match &member.content {
        Content::Bytes(bytes) => (Box::new(bytes.as_slice()), Path::new(member.entry.path.as_str())),
        Content::File(path) => (Box::new(File::open(path)?), path.as_path()),
    };
    let (mut packer, mut hasher, mut block) = (Packer::new(), Hasher::new(), Vec::with_capacity(BLOCK));
    let (mut size, mut written, mut blocks) = (0, 0, 0_u16);
    loop {
        block.clear();
        (&mut source).take(BLOCK as u64).read_to_end(&mut block)?;
        size += block.len() as u64;
        if block.is_empty() || size > member.entry.size {
            break;
        }
        hasher.update(&block);
        let packed = packer.pack(&block);
        let length = u16::try_from(block.len()).map_err(io::Error::other)?;
        out.write_all(&block_checksum(&packed, length).to_le_bytes())?;
        out.write_all(&u16::try_from(packed.len()).map_err(io::Error::other)?.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&packed)?;
        written += packed.len() as u64 + 8;
        blocks = blocks.checked_add(1).ok_or_else(|| io::Error::other("more blocks than a cabinet can count"))?;
    }
    out.flush()?;
    if size == member.entry.size && hasher.finish() == member.entry.sha256 {
        Ok((written, blocks))
    } else {
        Err(PackError::Changed(name.to_owned()))
    }
}

/// The header, the folders and the files: everything before the data. The reader checks the sums afterwards.
fn tables(members: &[Member], folders: &[(u64, u16)], length: u64) -> Vec<u8> {
    let u32_of = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let count = u16::try_from(members.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::new();
    bytes.extend(SIGNATURE);
    bytes.extend([0; 4]);
    bytes.extend(u32_of(length));
    bytes.extend([0; 4]);
    bytes.extend((HEADER_LENGTH + u32::from(count) * FOLDER_LENGTH).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(VERSION);
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend([0; 6]);
    for (offset, blocks) in folders {
        bytes.extend(u32_of(*offset));
        bytes.extend(blocks.to_le_bytes());
        bytes.extend(MSZIP.to_le_bytes());
    }
    for (index, member) in members.iter().enumerate() {
        bytes.extend(u32_of(member.entry.size));
        bytes.extend([0; 4]);
        bytes.extend(u16::try_from(index).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend(DATE.to_le_bytes());
        bytes.extend(TIME.to_le_bytes());
        bytes.extend(attributes(member.entry.mode).to_le_bytes());
        bytes.extend(member.entry.path.in_cab().bytes());
        bytes.push(0);
    }
    bytes
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn begin(&mut self, _: &FileEntry) -> io::Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &FileEntry) -> io::Result<()> {
        Ok(())
    }
}
