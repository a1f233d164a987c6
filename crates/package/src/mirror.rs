//! A control plane's copy of the image repository: takes in what an author publishes, after judging all of it.
//!
//! The control plane has none of the author's keys; it can only carry what they signed, and never an older state.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sigstore_tuf::{Metadata, Root};
use watchpost_core::time::Timestamp;

use crate::digest::{Sha256Hex, hash_reader};
use crate::durable::{self, Placing};
use crate::trust::{Fetched, Judged, KeepNothing, Trust, judge};
use crate::tuf::{METADATA, SignedTarget, TARGETS, is_target_name, target_file};

/// Largest metadata file that is taken in, in bytes.
const MAX_METADATA: u64 = 5_000_000;
/// Most metadata files that are taken in at once.
const MAX_METADATA_FILES: usize = 2_000;

/// Why a publication is refused.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The signatures, versions or times do not hold.
    #[error("the metadata is refused: publish the whole metadata folder of the signed repository")]
    Refused(#[source] Box<sigstore_tuf::Error>),
    /// It is older than what was published before.
    #[error("the {role} went back from {floor} to {offered}: publish from the newest repository")]
    Rollback {
        /// Which document.
        role: &'static str,
        /// What was published before.
        floor: u64,
        /// What is offered.
        offered: u64,
    },
    /// The target is not in the metadata, or is not a release.
    #[error("the metadata does not name {0} as a release: sign the package first")]
    NotNamed(String),
    /// A release that was published would vanish or change.
    #[error("the metadata no longer names {0}, which was published before, or names other bytes for it")]
    Vanished(String),
    /// A file name that no repository has.
    #[error("“{0}” is no name of a metadata file")]
    FileName(String),
    /// The package is another file than the one that was signed.
    #[error("the package has {is_length} bytes with SHA-256 {is}, and {length} with {sha256} were signed")]
    Package {
        /// Signed length.
        length: u64,
        /// Signed digest.
        sha256: Sha256Hex,
        /// Its length.
        is_length: u64,
        /// Its digest.
        is: Sha256Hex,
    },
}

/// A publication that was found good.
#[derive(Clone, Debug)]
pub struct Published {
    /// The release that was asked for.
    pub target: SignedTarget,
    /// When the first document expires.
    pub earliest_expiry: Timestamp,
    judged: Judged,
    files: BTreeMap<String, Vec<u8>>,
}

impl Published {
    /// The files that vouch for it, by name, and no others: what a publication has to carry.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }
}

/// Judges the repository in `dir` as a control plane will that has pinned its first root.
///
/// # Errors
/// When its keys do not vouch for it at `now`, or it does not name `target` as a release.
pub fn verify_folder(dir: &Path, target: &str, now: Timestamp) -> Result<Published, MirrorError> {
    let dir = dir.join(METADATA);
    let read = |name: &str| durable::read_limited(&dir.join(name), MAX_METADATA);
    let io = |source| MirrorError::Io { path: dir.join("1.root.json"), source };
    let root = read("1.root.json").and_then(|root| root.ok_or_else(|| io::ErrorKind::NotFound.into())).map_err(io)?;
    let mut files = BTreeMap::new();
    look(&root, &mut |name| read(name).ok().flatten(), &mut files, now)?;
    files.insert("1.root.json".to_owned(), root.clone());
    verify_published(&files, &root, target, now)
}

/// Judges published metadata: `metadata` holds the files of a repository by name, `image_root` is the pinned first root.
///
/// # Errors
/// When its keys do not vouch for it at `now`, or it does not name `target` as a release.
pub fn verify_published(
    metadata: &BTreeMap<String, Vec<u8>>,
    image_root: &[u8],
    target: &str,
    now: Timestamp,
) -> Result<Published, MirrorError> {
    if let Some(name) = metadata.keys().find(|name| !is_metadata_file(name)) {
        return Err(MirrorError::FileName(name.chars().take(100).collect()));
    }
    let mut used = BTreeMap::new();
    let judged = look(image_root, &mut |name| metadata.get(name).cloned(), &mut used, now)?;
    let found = is_target_name(target).then(|| judged.target(target)).flatten();
    let found = found.ok_or_else(|| MirrorError::NotNamed(target.chars().take(100).collect()))?;
    let first = Metadata::<Root>::from_slice(image_root).map_err(|e| MirrorError::Refused(Box::new(e)))?;
    used.insert(format!("{}.root.json", first.signed().version), image_root.to_vec());
    Ok(Published { target: found, earliest_expiry: judged.earliest_expiry, judged, files: used })
}

/// Refreshes through `get` and notes in `used` which files served.
fn look(
    image_root: &[u8],
    get: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    used: &mut BTreeMap<String, Vec<u8>>,
    now: Timestamp,
) -> Result<Judged, MirrorError> {
    let mut fetch = |name: &str, _: u64| -> Fetched {
        let found = get(name);
        if let Some(bytes) = &found {
            used.insert(name.to_owned(), bytes.clone());
        }
        Ok(found)
    };
    let trust = Trust { pinned: image_root, store: KeepNothing };
    judge(trust, &mut fetch, now).map_err(|e| MirrorError::Refused(Box::new(e)))
}

/// `timestamp.json`, or a numbered root, snapshot or targets file.
fn is_metadata_file(name: &str) -> bool {
    let numbered = name.split_once('.').is_some_and(|(version, rest)| {
        !version.is_empty()
            && version.len() <= 20
            && version.bytes().all(|b| b.is_ascii_digit())
            && matches!(rest, "root.json" | "snapshot.json" | "targets.json")
    });
    numbered || matches!(name, "timestamp.json" | "root.json" | "snapshot.json" | "targets.json")
}

/// A control plane's copy of the image repository.
#[derive(Debug)]
pub struct Mirror {
    dir: PathBuf,
    image_root: Vec<u8>,
}

impl Mirror {
    /// The copy in the folder `dir`, made if it is not there, of the repository that begins with `image_root`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: &Path, image_root: Vec<u8>) -> Result<Self, MirrorError> {
        for folder in [dir.join(METADATA), dir.join(TARGETS)] {
            std::fs::create_dir_all(&folder).map_err(|source| MirrorError::Io { path: folder.clone(), source })?;
            durable::sweep(&folder);
        }
        Ok(Self { dir: dir.to_owned(), image_root })
    }

    /// Judges a publication, also against what was published before. Changes nothing.
    ///
    /// # Errors
    /// When it is not to be believed, is older, or would take a published release away.
    pub fn check(
        &self,
        metadata: &BTreeMap<String, Vec<u8>>,
        target: &str,
        now: Timestamp,
    ) -> Result<Published, MirrorError> {
        if metadata.len() > MAX_METADATA_FILES {
            return Err(MirrorError::FileName(format!("{} files", metadata.len())));
        }
        let published = verify_published(metadata, &self.image_root, target, now)?;
        let Some(before) = self.current()? else { return Ok(published) };
        let (was, is) = (&before.floor, &published.judged.floor);
        for (role, floor, offered) in [
            ("root", was.root.version, is.root.version),
            ("timestamp", was.timestamp.version, is.timestamp.version),
            ("snapshot", was.snapshot.version, is.snapshot.version),
            ("targets", was.targets.version, is.targets.version),
        ] {
            if offered < floor {
                return Err(MirrorError::Rollback { role, floor, offered });
            }
        }
        for known in before.all_targets() {
            let same = published.judged.target(&known.name).is_some_and(|t| t.sha256 == known.sha256);
            if !same {
                return Err(MirrorError::Vanished(known.name));
            }
        }
        Ok(published)
    }

    /// What the copy says, by the instant at which it was good: its expiry matters to hosts, not here.
    fn current(&self) -> Result<Option<Judged>, MirrorError> {
        let dir = self.dir.join(METADATA);
        if !dir.join("timestamp.json").exists() {
            return Ok(None);
        }
        let mut get = |name: &str| durable::read_limited(&dir.join(name), MAX_METADATA).ok().flatten();
        look(&self.image_root, &mut get, &mut BTreeMap::new(), Timestamp::from_millis(0)).map(Some)
    }

    /// Takes a good publication in: first the package, then the documents, the timestamp last.
    /// Doing it again, after a crash in the middle, ends in the same state.
    ///
    /// # Errors
    /// When the package is another file, or the disk refuses.
    pub fn install(&self, published: &Published, package: &Path) -> Result<PathBuf, MirrorError> {
        let SignedTarget { name, length, sha256, .. } = &published.target;
        let read = |source| MirrorError::Io { path: package.to_owned(), source };
        let file = std::fs::File::open(package).map_err(read)?;
        let (is_length, is) = hash_reader(file, *length).map_err(read)?;
        if is_length != *length || is != *sha256 {
            return Err(MirrorError::Package { length: *length, sha256: *sha256, is_length, is });
        }
        let place = self.dir.join(TARGETS).join(target_file(name, sha256));
        let io = |path: &Path, source| MirrorError::Io { path: path.to_owned(), source };
        if place != package {
            durable::place_file(package, &place, Placing::Link).map_err(|e| io(&place, e))?;
        }
        let (stamp, rest): (Vec<_>, Vec<_>) = published.files.iter().partition(|(name, _)| *name == "timestamp.json");
        for (name, bytes) in rest.into_iter().chain(stamp) {
            let path = self.dir.join(METADATA).join(name);
            durable::write_atomic(&path, bytes, 0o644).map_err(|e| io(&path, e))?;
        }
        Ok(place)
    }

    /// Where the package of a target lies.
    #[must_use]
    pub fn package(&self, target: &SignedTarget) -> PathBuf {
        self.dir.join(TARGETS).join(target_file(&target.name, &target.sha256))
    }
}
