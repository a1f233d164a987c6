//! Puts a package on the disk, or only reads its manifest and description; after its hash matched, never before.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as Bits, OFlags};

use crate::cab::{CabError, Sink, read};
use crate::contents::{Contents, ContentsError, Descriptions};
use crate::digest::{Sha256Hex, hash_reader};
use crate::manifest::{FileEntry, MANIFEST, MAX_MANIFEST, Manifest, ManifestError};

/// Why a package is not extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The package cannot be opened or read.
    #[error("the package {path} cannot be read")]
    Open {
        /// The package.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not the file that was approved.
    #[error(
        "the package has {is_length} bytes with SHA-256 {is}, and not the approved {length} with {sha256}: fetch it again"
    )]
    NotApproved {
        /// Approved length.
        length: u64,
        /// Approved digest.
        sha256: Sha256Hex,
        /// Its length.
        is_length: u64,
        /// Its digest.
        is: Sha256Hex,
    },
    /// The staging folder cannot be used.
    #[error("the staging folder {path} cannot be used")]
    Staging {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The staging folder has something in it.
    #[error("the staging folder {0} is not empty: remove what is in it")]
    NotEmpty(PathBuf),
    /// The package misses the profile, or the disk is full.
    #[error("the package is refused")]
    Package(#[source] CabError),
    /// It says nothing sensible of itself.
    #[error("what the package says of itself is refused")]
    Contents(#[source] ContentsError),
    /// The manifest of an extracted folder is damaged.
    #[error("the manifest of what was extracted is refused")]
    Manifest(#[source] ManifestError),
    /// A file of an extracted folder is not the one that the manifest names.
    #[error("{0} is not the file that the manifest names: extract the package again")]
    Altered(PathBuf),
}

/// What a package says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageInfo {
    /// What is in it.
    pub manifest: Manifest,
    /// What it is.
    pub contents: Contents,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub sha256: Sha256Hex,
}

/// Checks that `package` is the file with this length and digest, then extracts it into the empty folder `into`.
///
/// Every file and folder is on the disk when this returns. After an error the folder holds rubbish: remove it.
///
/// # Errors
/// When the file is another one, misses the profile, or cannot be written.
pub fn extract(package: &Path, length: u64, sha256: &Sha256Hex, into: &Path) -> Result<PackageInfo, ExtractError> {
    let file = open_approved(package, length, sha256)?;
    write_out(file, length, Some(sha256), into)
}

/// Extracts a package that somebody else has opened and compared with what was approved. For a process without rights,
/// whose work that somebody checks: see [`described`].
///
/// # Errors
/// When the file misses the profile, or cannot be written.
pub fn extract_opened(package: File, length: u64, into: &Path) -> Result<PackageInfo, ExtractError> {
    write_out(package, length, None, into)
}

fn write_out(file: File, length: u64, approved: Option<&Sha256Hex>, into: &Path) -> Result<PackageInfo, ExtractError> {
    let mut tree = Tree::open(into)?;
    let info = read_package(file, length, approved, &mut tree)?;
    let staging = |source| ExtractError::Staging { path: into.to_owned(), source };
    tree.write(MANIFEST, &info.manifest.to_vec()).map_err(staging)?;
    tree.sync().map_err(staging)?;
    Ok(info)
}

/// Reads what an extracted folder says of itself. Whoever wrote it is not believed: the manifest is read as strictly as
/// in a package, and the description must be the one that it names. The other files are the caller's to compare.
///
/// # Errors
/// When the manifest or the description is missing, damaged, or not of a kind with the files.
pub fn described(folder: &Path) -> Result<(Manifest, Contents), ExtractError> {
    let unread = |source| ExtractError::Staging { path: folder.to_owned(), source };
    let text = read_plain(&folder.join(MANIFEST), MAX_MANIFEST).map_err(unread)?;
    let manifest = Manifest::from_slice(&text).map_err(ExtractError::Manifest)?;
    let mut found = Descriptions::default();
    for entry in &manifest.files {
        let Some(place) = found.place(entry) else { continue };
        let path = folder.join(entry.path.as_str());
        let bytes = read_plain(&path, entry.size).map_err(unread)?;
        if Sha256Hex::of(&bytes) != entry.sha256 {
            return Err(ExtractError::Altered(path));
        }
        *place = Some(bytes);
    }
    let contents = Contents::read(found, &manifest.files).map_err(ExtractError::Contents)?;
    Ok((manifest, contents))
}

/// Reads a file of at most so many bytes; never through a link, and never waiting for a pipe.
fn read_plain(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Bits::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Reads a package through and checks all of it, without writing anything.
///
/// With `approved` its length and digest are compared before anything of it is looked at; an author who made it may leave
/// that out.
///
/// # Errors
/// When the file is another one or misses the profile.
pub fn inspect(package: &Path, approved: Option<(u64, &Sha256Hex)>) -> Result<PackageInfo, ExtractError> {
    let opened = |source| ExtractError::Open { path: package.to_owned(), source };
    match approved {
        Some((length, sha256)) => {
            let file = open_approved(package, length, sha256)?;
            read_package(file, length, Some(sha256), &mut Nowhere)
        }
        None => {
            let file = File::open(package).map_err(opened)?;
            let length = file.metadata().map_err(opened)?.len();
            read_package(file, length, None, &mut Nowhere)
        }
    }
}

/// Opens the package if it is the file with this length and digest: all of it is hashed.
///
/// # Errors
/// When it cannot be read, or is another file.
pub fn open_approved(package: &Path, length: u64, sha256: &Sha256Hex) -> Result<File, ExtractError> {
    let opened = |source| ExtractError::Open { path: package.to_owned(), source };
    let mut file = File::open(package).map_err(opened)?;
    let (is_length, is) = hash_reader(&file, length).map_err(opened)?;
    if is_length != length || is != *sha256 {
        return Err(ExtractError::NotApproved { length, sha256: *sha256, is_length, is });
    }
    file.seek(SeekFrom::Start(0)).map_err(opened)?;
    Ok(file)
}

/// Reads the package; what was read is hashed again, so that nobody can exchange it between the two looks.
fn read_package(
    file: File,
    length: u64,
    approved: Option<&Sha256Hex>,
    sink: &mut dyn Sink,
) -> Result<PackageInfo, ExtractError> {
    let mut keeper = Keeper { sink, found: Descriptions::default(), current: None };
    let (manifest, is) = read(BufReader::new(file), length, &mut keeper).map_err(ExtractError::Package)?;
    if let Some(sha256) = approved
        && is != *sha256
    {
        return Err(ExtractError::NotApproved { length, sha256: *sha256, is_length: length, is });
    }
    let contents = Contents::read(keeper.found, &manifest.files).map_err(ExtractError::Contents)?;
    Ok(PackageInfo { manifest, contents, length, sha256: is })
}

/// Keeps the description while it passes through to another sink.
struct Keeper<'a> {
    sink: &'a mut dyn Sink,
    found: Descriptions,
    current: Option<FileEntry>,
}

impl Sink for Keeper<'_> {
    fn begin(&mut self, entry: &FileEntry) -> io::Result<()> {
        if let Some(place) = self.found.place(entry) {
            *place = Some(Vec::new());
            self.current = Some(entry.clone());
        }
        self.sink.begin(entry)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kept) = self.current.as_ref().and_then(|entry| self.found.place(entry)).and_then(Option::as_mut) {
            kept.extend_from_slice(bytes);
        }
        self.sink.data(bytes)
    }

    fn end(&mut self, entry: &FileEntry) -> io::Result<()> {
        self.current = None;
        self.sink.end(entry)
    }
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

/// A folder tree under construction; every step goes through the handle of the folder above, so no link can lead away.
struct Tree {
    folders: BTreeMap<String, File>,
    file: Option<File>,
}

impl Tree {
    fn open(into: &Path) -> Result<Self, ExtractError> {
        let staging = |source| ExtractError::Staging { path: into.to_owned(), source };
        if fs::read_dir(into).map_err(staging)?.next().is_some() {
            return Err(ExtractError::NotEmpty(into.to_owned()));
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(rustix::fs::CWD, into, flags, Bits::empty()).map_err(|e| staging(e.into()))?;
        Ok(Self { folders: BTreeMap::from([(String::new(), File::from(root))]), file: None })
    }

    /// The folder at `place`, made if it is not there.
    fn folder(&mut self, place: &str) -> io::Result<&File> {
        if !self.folders.contains_key(place) {
            let (above, name) = place.rsplit_once('/').unwrap_or(("", place));
            let above = self.folder(above)?;
            rustix::fs::mkdirat(above, name, Bits::from_raw_mode(0o755))?;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(above, name, flags, Bits::empty())?;
            self.folders.insert(place.to_owned(), File::from(made));
        }
        self.folders.get(place).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn create(&mut self, path: &str, bits: u32) -> io::Result<File> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = File::from(rustix::fs::openat(self.folder(above)?, name, flags, Bits::from_raw_mode(0o600))?);
        made.set_permissions(fs::Permissions::from_mode(bits))?;
        Ok(made)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create(path, 0o644)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        self.folders.values().try_for_each(File::sync_all)
    }
}

impl Sink for Tree {
    fn begin(&mut self, entry: &FileEntry) -> io::Result<()> {
        self.file = Some(self.create(entry.path.as_str(), entry.mode.bits())?);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    fn end(&mut self, _: &FileEntry) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |file| file.sync_all())
    }
}
