//! One repository, judged: sigstore-tuf walks root, timestamp, snapshot and targets, and this is what came out.

use sigstore_tuf::metadata::Role as _;
use sigstore_tuf::{MetadataStore, Root, Targets, Updater};
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;
use crate::tuf::{SignedTarget, issued_at, to_jiff};

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
    let mailbox = Mailbox::default();
    let mut updater = Updater::new(mailbox.clone(), trust.pinned)?.with_store(trust.store);
    let done = mailbox.run(updater.refresh(to_jiff(now)), fetch);
    done.unwrap_or_else(|| Err(sigstore_tuf::Error::transport("the client waits for something unknown")))?;
    let set = updater.trusted();
    let (Some(stamp), Some(snapshot), Some(targets)) = (set.timestamp(), set.snapshot(), set.targets_role("targets"))
    else {
        return Err(sigstore_tuf::Error::NotRefreshed);
    };
    let root = set.root();
    let floor = RepositoryFloor {
        pinned: Sha256Hex::of(trust.pinned),
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

    /// All targets described as something we know.
    pub(crate) fn all_targets(&self) -> Vec<SignedTarget> {
        self.targets.targets.keys().filter_map(|name| self.target(name)).collect()
    }
}
