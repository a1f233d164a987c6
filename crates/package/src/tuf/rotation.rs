//! Another root: the ceremony in which keys give way to new ones, or the root only gets another year.
//!
//! A new key lies beside its place before anything names it, so that a ceremony which is cut off is finished by doing it
//! again, and never leaves a root whose keys nobody has.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sigstore_tuf::Root;
use watchpost_core::time::Timestamp;

use crate::durable;

use super::error::RepositoryError;
use super::key::SigningKey;
use super::metadata::{Lifetimes, document};
use super::repository::{Vouching, Writer};

/// A place for a key: its file, and where the root names it.
struct Place {
    name: String,
    folder: PathBuf,
    role: &'static str,
    index: usize,
}

impl Place {
    fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// Where the key waits that is to follow.
    fn next(&self) -> PathBuf {
        self.folder.join(format!("{}.next.pem", self.name))
    }

    /// Where the key goes that the root of this version does not name any more.
    fn retired(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{}.before-root-{version}.pem", self.name))
    }
}

/// The keys of one repository.
pub(super) struct Ring(Vec<Place>);

impl Ring {
    /// A ring without keys.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// With `count` more keys of `role`, `stem`-1 and on, in `folder`.
    pub(super) fn with(mut self, folder: &Path, stem: &str, role: &'static str, count: usize) -> Self {
        let place = |index| Place { name: format!("{stem}-{}", index + 1), folder: folder.to_owned(), role, index };
        self.0.extend((0..count).map(place));
        self
    }

    /// With the one online key, which has this name.
    pub(super) fn with_online(mut self, folder: &Path, name: &str) -> Self {
        self.0.push(Place { name: name.to_owned(), folder: folder.to_owned(), role: "timestamp", index: 0 });
        self
    }

    /// Whether a key waits for a rotation that was cut off.
    pub(super) fn is_cut_off(&self) -> bool {
        self.0.iter().any(|place| place.next().exists())
    }

    fn chosen(&self, names: &[String]) -> Result<Vec<&Place>, RepositoryError> {
        let find = |name: &String| {
            let known = || self.0.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
            let found = self.0.iter().find(|place| place.name == *name);
            found.ok_or_else(|| RepositoryError::NoKey { name: name.chars().take(100).collect(), known: known() })
        };
        names.iter().map(find).collect()
    }

    /// Every key that is at hand, those that wait too.
    fn held(&self) -> Result<Vec<SigningKey>, RepositoryError> {
        let files = self.0.iter().flat_map(|place| [place.file(), place.next()]);
        files.filter(|path| path.exists()).map(|path| Ok(SigningKey::load(&path)?)).collect()
    }

    /// Puts the keys that wait into their places, and those that stood there aside. Says which files these are.
    fn promote(&self, version: u64) -> Result<Vec<PathBuf>, RepositoryError> {
        let mut retired = Vec::new();
        for place in self.0.iter().filter(|place| place.next().exists()) {
            let (file, aside) = (place.file(), place.retired(version));
            if file.exists() {
                fs::rename(&file, &aside).map_err(RepositoryError::io(&file))?;
                retired.push(aside);
            }
            fs::rename(place.next(), &file).map_err(RepositoryError::io(&file))?;
            durable::sync_dir(&place.folder).map_err(RepositoryError::io(&place.folder))?;
        }
        Ok(retired)
    }

    fn forget_waiting(&self) -> Result<(), RepositoryError> {
        for path in self.0.iter().map(Place::next).filter(|path| path.exists()) {
            fs::remove_file(&path).map_err(RepositoryError::io(&path))?;
        }
        Ok(())
    }
}

/// What became of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The version of the root that counts now.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// The keys that are new, by the names of their places.
    pub replaced: Vec<String>,
    /// Files of keys that no root names any more: destroy them.
    pub retired: Vec<PathBuf>,
}

/// Opens a repository as a rotation needs it.
pub(super) type Open<'a> = dyn Fn(Vouching) -> Result<Writer, RepositoryError> + 'a;

/// Signs the next root, with new keys in the places `names`; or finishes a rotation that was cut off.
pub(super) fn rotate(
    ring: &Ring,
    open: &Open<'_>,
    names: &[String],
    now: Timestamp,
) -> Result<Rotated, RepositoryError> {
    let chosen = ring.chosen(names)?;
    if ring.is_cut_off() {
        let mut writer = open(Vouching::RootBeforeToo)?;
        if let Some(rotated) = finish(ring, &mut writer, now)? {
            return Ok(rotated);
        }
        ring.forget_waiting()?;
    }
    let mut writer = open(Vouching::NewestRoot)?;
    let mut replaced = Vec::new();
    for place in chosen {
        let old = writer.root().role(place.role).and_then(|role| role.keyids.get(place.index)).cloned();
        let old = old.ok_or_else(|| RepositoryError::NoKey { name: place.name.clone(), known: String::new() })?;
        let next = SigningKey::generate()?;
        next.save(&place.next())?;
        replaced.push((old, next));
    }
    let held = ring.held()?;
    let pairs: Vec<_> = replaced.iter().map(|(old, next)| (old.clone(), next)).collect();
    if let Err(error) = writer.rotate(&pairs, &held.iter().collect::<Vec<_>>(), now) {
        if let RepositoryError::TooFewKeys { .. } = error {
            ring.forget_waiting()?;
        }
        return Err(error);
    }
    told(ring, &writer, names.to_vec())
}

/// Finishes a rotation whose root is there; `None`: it never came to that.
fn finish(ring: &Ring, writer: &mut Writer, now: Timestamp) -> Result<Option<Rotated>, RepositoryError> {
    let mut names = Vec::new();
    for place in ring.0.iter().filter(|place| place.next().exists()) {
        let waits = SigningKey::load(&place.next())?;
        if writer.root().keys.contains_key(waits.id()) {
            names.push(place.name.clone());
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let held = ring.held()?;
    writer.catch_up(&held.iter().collect::<Vec<_>>(), now)?;
    told(ring, writer, names).map(Some)
}

fn told(ring: &Ring, writer: &Writer, replaced: Vec<String>) -> Result<Rotated, RepositoryError> {
    let root = writer.root();
    let (version, expires) = (root.version, Timestamp::from_millis(root.expires.as_millisecond()));
    Ok(Rotated { version, expires, replaced, retired: ring.promote(version)? })
}

/// Signs the next root of the director in `repository`. Its root keys lie in `root_keys`, the online key in `keys`.
///
/// # Errors
/// When too few keys are at hand (nothing is changed then), or the disk refuses. Done again it goes on where it was cut off.
pub fn rotate_director(
    repository: &Path,
    root_keys: &Path,
    keys: &Path,
    replaced: &[String],
    now: Timestamp,
) -> Result<Rotated, RepositoryError> {
    let ring = Ring::new()
        .with(root_keys, "director-root", "root", super::DIRECTOR_ROOT_KEYS.0)
        .with_online(keys, "director-online");
    rotate(&ring, &|vouching| Writer::open_under(repository, None, Lifetimes::DIRECTOR, vouching), replaced, now)
}

/// The root after `root`, in which each id of `replaced` gives way to the key beside it: as it is signed, and as it is read.
pub(super) fn next_root(
    root: &Root,
    replaced: &[(String, &SigningKey)],
    expires: Timestamp,
) -> Result<(Map<String, Value>, Root), RepositoryError> {
    let heir = |id: &String| replaced.iter().find(|(old, _)| old == id).map(|(_, key)| *key);
    let (mut keys, mut roles) = (Map::new(), Map::new());
    for (name, role) in &root.roles {
        let ids: Vec<String> =
            role.keyids.iter().map(|id| heir(id).map_or(id.as_str(), SigningKey::id).to_owned()).collect();
        for id in &role.keyids {
            match heir(id) {
                Some(key) => keys.insert(key.id().to_owned(), key.public()),
                None => keys.insert(id.clone(), json!(root.keys.get(id))),
            };
        }
        roles.insert(name.clone(), json!({ "keyids": ids, "threshold": role.threshold }));
    }
    let mut fields = document("root", root.version + 1, expires);
    fields.insert("consistent_snapshot".to_owned(), json!(true));
    fields.insert("keys".to_owned(), Value::Object(keys));
    fields.insert("roles".to_owned(), Value::Object(roles));
    let read = serde_json::from_value(Value::Object(fields.clone()));
    Ok((fields, read.map_err(|_| RepositoryError::Canonical { role: "root" })?))
}
