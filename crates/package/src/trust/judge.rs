//! One repository, judged: sigstore-tuf walks root, timestamp, snapshot and targets, and this is what came out.

use std::collections::BTreeSet;

use sigstore_tuf::metadata::Role as _;
use sigstore_tuf::{MetadataStore, Root, TargetFile, Targets, Updater};
use watchpost_core::server_keys::ServerKeys;
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;
use crate::tuf::{SignedTarget, issued_at, named_server_keys, to_jiff};

use super::floor::{RepositoryFloor, RoleFloor};
use super::mailbox::{Fetched, Mailbox};

/// What a repository says, after every signature, version and expiry was found good.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// Versions, and who may sign each role.
    pub(crate) floor: RepositoryFloor,
    /// When the first of the documents expires.
    pub(crate) earliest_expiry: Timestamp,
    /// When the timestamp was signed, if it says so.
    pub(crate) issued: Option<Timestamp>,
    targets: Targets,
}

/// From where trust starts and where it is kept.
pub(crate) struct Trust<'a, S> {
    /// The first root.
    pub(crate) pinned: &'a [u8],
    /// What earlier looks have verified.
    pub(crate) store: S,
}

/// Refreshes one repository through `fetch` and judges it by `now`.
pub(crate) fn judge(
    trust: Trust<'_, impl MetadataStore + 'static>,
    fetch: &mut dyn FnMut(&str, u64) -> Fetched,
    now: Timestamp,
) -> sigstore_tuf::Result<Judged> {
    Follower::new(trust)?.refresh(fetch, now)
}

/// A client of one repository, with what it trusts so far.
pub(crate) struct Follower {
    mailbox: Mailbox,
    updater: Updater,
    pinned: Sha256Hex,
}

impl Follower {
    /// A client that starts from the pinned root and the roots it has kept since.
    pub(crate) fn new(trust: Trust<'_, impl MetadataStore + 'static>) -> sigstore_tuf::Result<Self> {
        let mailbox = Mailbox::default();
        let updater = Updater::new(mailbox.clone(), trust.pinned)?.with_store(trust.store);
        Ok(Self { mailbox, updater, pinned: Sha256Hex::of(trust.pinned) })
    }

    /// Walks from the root to the targets.
    pub(crate) fn refresh(
        &mut self,
        fetch: &mut dyn FnMut(&str, u64) -> Fetched,
        now: Timestamp,
    ) -> sigstore_tuf::Result<Judged> {
        let done = self.mailbox.run(self.updater.refresh(to_jiff(now)), fetch);
        done.unwrap_or_else(|| Err(stuck()))?;
        let set = self.updater.trusted();
        let (Some(stamp), Some(snapshot), Some(targets)) =
            (set.timestamp(), set.snapshot(), set.targets_role("targets"))
        else {
            return Err(sigstore_tuf::Error::NotRefreshed);
        };
        let root = set.root();
        each_key_once(root)?;
        let floor = RepositoryFloor {
            pinned: self.pinned,
            root: RoleFloor { version: root.version, authority: Some(Sha256Hex::of(set.root_bytes())) },
            timestamp: RoleFloor { version: stamp.version, authority: authority(root, "timestamp") },
            snapshot: RoleFloor { version: snapshot.version, authority: authority(root, "snapshot") },
            targets: RoleFloor { version: targets.version, authority: authority(root, "targets") },
        };
        let earliest = root.expires.min(stamp.expires()).min(snapshot.expires()).min(targets.expires());
        Ok(Judged {
            floor,
            earliest_expiry: Timestamp::from_millis(earliest.as_millisecond()),
            issued: issued_at(stamp),
            targets: targets.clone(),
        })
    }

    /// What the targets, and the roles they delegate to, say of `path`. Only after a refresh.
    pub(crate) fn find(
        &mut self,
        path: &str,
        fetch: &mut dyn FnMut(&str, u64) -> Fetched,
        now: Timestamp,
    ) -> sigstore_tuf::Result<Option<TargetFile>> {
        let done = self.mailbox.run(self.updater.get_target_info(path, to_jiff(now)), fetch);
        done.unwrap_or_else(|| Err(stuck()))
    }

    /// Whether the files of the repository bear versions and hashes in their names.
    pub(crate) fn has_consistent_snapshots(&self) -> bool {
        self.updater.trusted().root().consistent_snapshot
    }
}

/// A threshold counts keys (TUF 5.3.4), and sigstore-tuf counts their ids: one key must not have two.
fn each_key_once(root: &Root) -> sigstore_tuf::Result<()> {
    let mut seen = BTreeSet::new();
    let twin = root.keys.values().find(|key| !seen.insert((&key.keytype, &key.keyval.public)));
    let why = |_| sigstore_tuf::Error::Malformed("the root names one key under two ids".to_owned());
    twin.map_or(Ok(()), |key| Err(why(key)))
}

fn stuck() -> sigstore_tuf::Error {
    sigstore_tuf::Error::transport("the client waits for something unknown")
}

/// Who may sign `role`, as one digest: a changed one means that its keys were rotated.
fn authority(root: &Root, role: &str) -> Option<Sha256Hex> {
    let keys = root.role(role)?;
    let mut ids = keys.keyids.clone();
    ids.sort_unstable();
    Some(Sha256Hex::of(format!("{} of {}", keys.threshold, ids.join(" ")).as_bytes()))
}

impl Judged {
    /// The target `name` described as something we know; `None` if it is not there or described otherwise.
    pub(crate) fn target(&self, name: &str) -> Option<SignedTarget> {
        crate::tuf::signed_target(name, self.targets.target(name)?)
    }

    /// The keys of the server that it says to trust.
    pub(crate) fn server_keys(&self) -> Option<ServerKeys> {
        named_server_keys(&self.targets)
    }

    /// All targets described as something we know.
    pub(crate) fn all_targets(&self) -> Vec<SignedTarget> {
        self.targets.targets.keys().filter_map(|name| self.target(name)).collect()
    }
}
