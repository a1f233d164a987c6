//! One repository on the disk: what it says, and the next thing it says.
//!
//! Never builds upon metadata that its own keys do not vouch for: whoever can write to the folder could otherwise have
//! anything signed. A timestamp is written last, so a reader sees the state before or the state after.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sigstore_tuf::metadata::{Metadata, Role as TufRole, RoleKeys};
use sigstore_tuf::{Root, Snapshot, TargetFile, Targets, TrustedMetadataSet};
use watchpost_core::server_keys::ServerKeys;
use watchpost_core::time::Timestamp;

use crate::contents::Signed;
use crate::digest::Sha256Hex;
use crate::durable::{self, Placing};

use super::error::RepositoryError;
use super::key::SigningKey;
use super::metadata::{ISSUED_FIELD, Lifetimes, SERVER_KEYS_FIELD, document, issued, named_server_keys, pin, sign};
use super::name::{is_target_name, target_file};
use super::rotation::next_root;

/// Folder of the metadata inside a repository.
pub(crate) const METADATA: &str = "metadata";
/// Folder of the targets inside a repository.
pub(crate) const TARGETS: &str = "targets";
/// Largest metadata file that is read, in bytes.
const MAX_METADATA: u64 = 5_000_000;
/// Most roots that are followed.
const MAX_ROOTS: u64 = 1_000;
/// Targets are signed anew when less than this is left of them.
const RENEW_TARGETS: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

/// A target as a repository names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedTarget {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub sha256: Sha256Hex,
    /// What is signed beside them.
    pub custom: Signed,
}

/// The keys of one role and how many of them must sign.
pub struct Role<'a> {
    /// The keys.
    pub keys: Vec<&'a SigningKey>,
    /// How many must sign.
    pub threshold: usize,
}

/// Who signs what in a repository.
pub struct Roles<'a> {
    /// The root role.
    pub root: Role<'a>,
    /// The targets role.
    pub targets: Role<'a>,
    /// The snapshot role.
    pub snapshot: Role<'a>,
    /// The timestamp role.
    pub timestamp: Role<'a>,
}

/// Under whose authority the documents of a repository stand that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouching {
    /// That of the newest root alone.
    NewestRoot,
    /// Also that of the root before it: a rotation was cut off, as the keys that wait beside their places show.
    RootBeforeToo,
}

/// A repository that can be added to.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    lifetimes: Lifetimes,
    root: Root,
    versions: Versions,
    targets: BTreeMap<String, TargetFile>,
    targets_expire: Timestamp,
    online_expire: Timestamp,
    /// Whether only keys of the root before have signed the targets.
    has_old_targets: bool,
    /// The keys of the server that the targets name beside; nothing but a director's do.
    server_keys: Option<ServerKeys>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Versions {
    targets: u64,
    snapshot: u64,
    timestamp: u64,
}

impl Writer {
    /// Signs the first root and an empty list of targets into the folder `dir`.
    ///
    /// # Errors
    /// When there is a repository already, or it cannot be written.
    pub fn create(
        dir: &Path,
        roles: &Roles<'_>,
        lifetimes: Lifetimes,
        now: Timestamp,
    ) -> Result<Self, RepositoryError> {
        let root = root_document(1, roles, &roles.root.keys, lifetimes, now)?;
        let first = dir.join(METADATA).join("1.root.json");
        if first.exists() {
            return Err(RepositoryError::Exists(first));
        }
        for folder in [dir.join(METADATA), dir.join(TARGETS)] {
            fs::create_dir_all(&folder).map_err(RepositoryError::io(&folder))?;
        }
        let parsed = Metadata::<Root>::from_slice(&root).map_err(RepositoryError::refused("1.root.json"))?;
        let mut made = Self {
            dir: dir.to_owned(),
            lifetimes,
            root: parsed.into_signed(),
            versions: Versions::default(),
            targets: BTreeMap::new(),
            targets_expire: now,
            online_expire: now,
            has_old_targets: false,
            server_keys: None,
        };
        made.put("1.root.json", &root)?;
        made.put("root.json", &root)?;
        let online = [roles.snapshot.keys.as_slice(), roles.timestamp.keys.as_slice()].concat();
        made.publish(Some(&roles.targets.keys), &online, now)?;
        Ok(made)
    }

    /// Opens the repository in `dir`, whose first root must have the bytes `pinned` if they are given.
    ///
    /// # Errors
    /// When it is not whole, or its keys do not vouch for it.
    pub fn open(dir: &Path, pinned: Option<&[u8]>, lifetimes: Lifetimes) -> Result<Self, RepositoryError> {
        Self::open_under(dir, pinned, lifetimes, Vouching::NewestRoot)
    }

    /// Opens the repository, whose documents the given roots vouch for.
    pub(super) fn open_under(
        dir: &Path,
        pinned: Option<&[u8]>,
        lifetimes: Lifetimes,
        vouching: Vouching,
    ) -> Result<Self, RepositoryError> {
        let first = read(dir, "1.root.json")?;
        let refused = |file: &'static str| move |e| RepositoryError::refused(file)(e);
        let mut trusted = TrustedMetadataSet::from_root(pinned.unwrap_or(&first)).map_err(refused("1.root.json"))?;
        let mut before = None;
        for version in 2..=MAX_ROOTS {
            let name = format!("{version}.root.json");
            let path = dir.join(METADATA).join(&name);
            let Some(next) = durable::read_limited(&path, MAX_METADATA).map_err(RepositoryError::io(&path))? else {
                break;
            };
            before = (vouching == Vouching::RootBeforeToo).then(|| trusted.root().clone());
            trusted.update_root(&next).map_err(RepositoryError::refused(name))?;
        }
        let root = trusted.root().clone();
        let roots: Vec<&Root> = std::iter::once(&root).chain(&before).collect();
        let stamp: sigstore_tuf::Timestamp =
            vouched(&roots, "timestamp", "timestamp.json", &read(dir, "timestamp.json")?)?;
        let snapshot_version = stamp.snapshot_meta().map_or(0, |meta| meta.version);
        let name = format!("{snapshot_version}.snapshot.json");
        let snapshot: Snapshot = vouched(&roots, "snapshot", &name, &read(dir, &name)?)?;
        let targets_version = snapshot.meta.get("targets.json").map_or(0, |meta| meta.version);
        let name = format!("{targets_version}.targets.json");
        let targets_bytes = read(dir, &name)?;
        let targets: Targets = vouched(&roots, "targets", &name, &targets_bytes)?;
        let has_old_targets = vouched::<Targets>(&[&root], "targets", &name, &targets_bytes).is_err();
        let online_expire = stamp.expires.min(snapshot.expires);
        Ok(Self {
            dir: dir.to_owned(),
            server_keys: named_server_keys(&targets),
            lifetimes,
            root,
            versions: Versions { targets: targets.version, snapshot: snapshot.version, timestamp: stamp.version },
            targets: targets.targets,
            targets_expire: Timestamp::from_millis(targets.expires.as_millisecond()),
            online_expire: Timestamp::from_millis(online_expire.as_millisecond()),
            has_old_targets,
        })
    }

    /// Removes what a killed writer has left; only for whoever is the one writer of this folder.
    pub(crate) fn sweep(&self) {
        [METADATA, TARGETS].iter().for_each(|folder| durable::sweep(&self.dir.join(folder)));
    }

    /// The folder of the repository.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The targets it names, by name. One that is described as nothing we know is left out.
    #[must_use]
    pub fn targets(&self) -> Vec<SignedTarget> {
        self.targets.iter().filter_map(|(name, target)| signed_target(name, target)).collect()
    }

    /// When the first of its documents expires.
    #[must_use]
    pub fn earliest_expiry(&self) -> Timestamp {
        let root = Timestamp::from_millis(self.root.expires.as_millisecond());
        self.targets_expire.min(self.online_expire).min(root)
    }

    /// Whether a routine signature is due: less than six sevenths of the online documents' life is left.
    #[must_use]
    pub fn is_resign_due(&self, now: Timestamp) -> bool {
        self.online_expire.since(now) < self.lifetimes.online / 7 * 6
    }

    /// Adds a target and the file behind it. Adding the same again changes nothing.
    ///
    /// # Errors
    /// When the name is bad or taken by other bytes, a key is missing, or the disk refuses.
    pub(crate) fn add_target(
        &mut self,
        target: &SignedTarget,
        file: (&Path, Placing),
        targets_keys: &[&SigningKey],
        online: &[&SigningKey],
        now: Timestamp,
    ) -> Result<(), RepositoryError> {
        if !is_target_name(&target.name) {
            return Err(RepositoryError::Name(target.name.clone()));
        }
        let entry: TargetFile = serde_json::from_value(json!({
            "length": target.length,
            "hashes": { "sha256": target.sha256 },
            "custom": target.custom,
        }))
        .map_err(|_| RepositoryError::Canonical { role: "targets" })?;
        match self.targets.get(&target.name) {
            Some(known) if *known == entry => return Ok(()),
            Some(_) => return Err(RepositoryError::Taken(target.name.clone())),
            None => {}
        }
        let place = self.dir.join(TARGETS).join(target_file(&target.name, &target.sha256));
        if place != file.0 {
            durable::place_file(file.0, &place, file.1).map_err(RepositoryError::io(&place))?;
        }
        self.targets.insert(target.name.clone(), entry);
        let done = self.publish(Some(targets_keys), online, now);
        if done.is_err() {
            self.targets.remove(&target.name);
        }
        done
    }

    /// The keys of the server that the targets name beside.
    pub(super) fn server_keys(&self) -> Option<&ServerKeys> {
        self.server_keys.as_ref()
    }

    /// Has the targets name these keys of the server. The same again changes nothing.
    pub(super) fn set_server_keys(
        &mut self,
        keys: ServerKeys,
        signers: &[&SigningKey],
        now: Timestamp,
    ) -> Result<(), RepositoryError> {
        if self.server_keys.as_ref() == Some(&keys) {
            return Ok(());
        }
        let before = self.server_keys.replace(keys);
        let done = self.publish(Some(signers), signers, now);
        if done.is_err() {
            self.server_keys = before;
        }
        done
    }

    /// Signs snapshot and timestamp anew; with `targets_keys` also the targets, when they near their end.
    ///
    /// # Errors
    /// When a key is missing or the disk refuses.
    pub fn resign(
        &mut self,
        targets_keys: Option<&[&SigningKey]>,
        online: &[&SigningKey],
        now: Timestamp,
    ) -> Result<(), RepositoryError> {
        let due = self.targets_expire.since(now) < RENEW_TARGETS;
        self.publish(targets_keys.filter(|_| due), online, now)
    }

    /// Its newest root.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Signs the next root, in which each id of `replaced` gives way to the key beside it, by the root keys of before and
    /// after; then anew whatever other keys may sign from now on. `held` are all keys at hand.
    ///
    /// # Errors
    /// When too few keys are at hand (nothing is written then), or the disk refuses.
    pub(super) fn rotate(
        &mut self,
        replaced: &[(String, &SigningKey)],
        held: &[&SigningKey],
        now: Timestamp,
    ) -> Result<(), RepositoryError> {
        let (fields, next) = next_root(&self.root, replaced, now + self.lifetimes.root)?;
        let mut signers = able(&self.root, "root", held)?;
        let more = able(&next, "root", held)?;
        signers.extend(more.into_iter().filter(|key| self.root.role("root").is_none_or(|old| !names(old, key))));
        for role in ["targets", "snapshot", "timestamp"] {
            if next.role(role) != self.root.role(role) {
                able(&next, role, held)?;
            }
        }
        let changed = |role| next.role(role) != self.root.role(role);
        let (targets, online) = (changed("targets"), changed("snapshot") || changed("timestamp"));
        let bytes = sign("root", fields, &signers)?;
        self.put(&format!("{}.root.json", next.version), &bytes)?;
        self.put("root.json", &bytes)?;
        self.root = next;
        if targets || online { self.publish(targets.then_some(held), held, now) } else { Ok(()) }
    }

    /// Signs anew what keys of the root before have signed: the end of a rotation that was cut off.
    pub(super) fn catch_up(&mut self, held: &[&SigningKey], now: Timestamp) -> Result<(), RepositoryError> {
        self.publish(self.has_old_targets.then_some(held), held, now)
    }

    /// Writes the next targets (if their keys are given), snapshot and timestamp, in that order.
    fn publish(
        &mut self,
        targets_keys: Option<&[&SigningKey]>,
        online: &[&SigningKey],
        now: Timestamp,
    ) -> Result<(), RepositoryError> {
        let mut next = self.versions;
        let mut targets_expire = self.targets_expire;
        let targets = match targets_keys {
            Some(keys) => {
                next.targets += 1;
                targets_expire = now + self.lifetimes.targets;
                let mut fields = document("targets", next.targets, targets_expire);
                fields.insert("targets".to_owned(), json!(self.targets));
                if let Some(keys) = &self.server_keys {
                    fields.insert(SERVER_KEYS_FIELD.to_owned(), json!(keys));
                }
                Some(sign("targets", without_nulls(fields), &self.threshold("targets", keys)?)?)
            }
            None => None,
        };
        let targets = match targets {
            Some(bytes) => {
                self.put(&format!("{}.targets.json", next.targets), &bytes)?;
                bytes
            }
            None => read(&self.dir, &format!("{}.targets.json", next.targets))?,
        };
        let online_expire = now + self.lifetimes.online;
        next.snapshot += 1;
        let mut fields = document("snapshot", next.snapshot, online_expire);
        fields.insert("meta".to_owned(), json!({ "targets.json": pin(next.targets, &targets) }));
        let snapshot = sign("snapshot", fields, &self.threshold("snapshot", online)?)?;
        self.put(&format!("{}.snapshot.json", next.snapshot), &snapshot)?;
        next.timestamp += 1;
        let mut fields = document("timestamp", next.timestamp, online_expire);
        fields.insert("meta".to_owned(), json!({ "snapshot.json": pin(next.snapshot, &snapshot) }));
        fields.insert(ISSUED_FIELD.to_owned(), issued(now));
        let stamp = sign("timestamp", fields, &self.threshold("timestamp", online)?)?;
        self.put("timestamp.json", &stamp)?;
        self.versions = next;
        self.targets_expire = targets_expire;
        self.online_expire = online_expire;
        Ok(())
    }

    /// Those of `keys` that the root names for `role`; an error unless they reach its threshold.
    fn threshold<'k>(
        &self,
        role: &'static str,
        keys: &[&'k SigningKey],
    ) -> Result<Vec<&'k SigningKey>, RepositoryError> {
        able(&self.root, role, keys)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
        let path = self.dir.join(METADATA).join(name);
        durable::write_atomic(&path, bytes, 0o644).map_err(RepositoryError::io(&path))
    }
}

/// Those of `keys` that `root` names for `role`; an error unless they reach its threshold.
fn able<'k>(root: &Root, role: &'static str, keys: &[&'k SigningKey]) -> Result<Vec<&'k SigningKey>, RepositoryError> {
    let found = root.role(role);
    let mut able: Vec<&SigningKey> = Vec::new();
    for key in keys {
        if found.is_some_and(|of| names(of, key)) && able.iter().all(|other| other.id() != key.id()) {
            able.push(key);
        }
    }
    let threshold = found.map_or(1, |of| of.threshold);
    if able.len() < threshold {
        return Err(RepositoryError::TooFewKeys { role, threshold, have: able.len() });
    }
    Ok(able)
}

fn names(role: &RoleKeys, key: &SigningKey) -> bool {
    role.keyids.iter().any(|id| id == key.id())
}

/// A target described as a release or a rule package; `None` if it is described otherwise.
pub(crate) fn signed_target(name: &str, target: &TargetFile) -> Option<SignedTarget> {
    let sha256 = target.hashes.get("sha256")?.parse().ok()?;
    let custom = serde_json::from_value(target.custom.clone()?).ok()?;
    Some(SignedTarget { name: name.to_owned(), length: target.length, sha256, custom })
}

/// The bytes of a root that names `roles`, signed by `signers`.
fn root_document(
    version: u64,
    roles: &Roles<'_>,
    signers: &[&SigningKey],
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<Vec<u8>, RepositoryError> {
    let mut fields = document("root", version, now + lifetimes.root);
    let (mut keys, mut named) = (Map::new(), Map::new());
    let all = [
        ("root", &roles.root),
        ("targets", &roles.targets),
        ("snapshot", &roles.snapshot),
        ("timestamp", &roles.timestamp),
    ];
    for (name, role) in all {
        if role.keys.len() < role.threshold || role.threshold == 0 {
            return Err(RepositoryError::TooFewKeys { role: name, threshold: role.threshold, have: role.keys.len() });
        }
        for key in &role.keys {
            keys.insert(key.id().to_owned(), key.public());
        }
        let ids: Vec<&str> = role.keys.iter().map(|key| key.id()).collect();
        named.insert(name.to_owned(), json!({ "keyids": ids, "threshold": role.threshold }));
    }
    fields.insert("consistent_snapshot".to_owned(), json!(true));
    fields.insert("keys".to_owned(), Value::Object(keys));
    fields.insert("roles".to_owned(), Value::Object(named));
    sign("root", fields, signers)
}

/// Leaves out fields that hold nothing at the level of a target: other clients read their absence, not a null.
fn without_nulls(mut fields: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(targets)) = fields.get_mut("targets") {
        for target in targets.values_mut() {
            if let Value::Object(target) = target {
                target.retain(|_, value| !value.is_null());
            }
        }
    }
    fields
}

/// Parses a document and checks the signatures of its role under one of `roots`; its expiry does not matter to whoever
/// signs it anew.
fn vouched<T: TufRole>(roots: &[&Root], role: &str, file: &str, bytes: &[u8]) -> Result<T, RepositoryError> {
    let refused = |e| RepositoryError::refused(file)(e);
    let parsed = Metadata::<T>::from_slice(bytes).map_err(refused)?;
    let judge = |root: &&Root| {
        let keys = root.role(role).ok_or_else(|| sigstore_tuf::Error::UnknownRole(role.to_owned()))?;
        parsed.verify_threshold(&root.keys, keys, role)
    };
    let mut verdicts: Vec<_> = roots.iter().map(judge).collect();
    if verdicts.iter().all(Result::is_err) {
        verdicts.swap_remove(0).map_err(refused)?;
    }
    Ok(parsed.into_signed())
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, RepositoryError> {
    let path = dir.join(METADATA).join(name);
    let bytes = durable::read_limited(&path, MAX_METADATA).map_err(RepositoryError::io(&path))?;
    bytes.ok_or(RepositoryError::Absent(path))
}
