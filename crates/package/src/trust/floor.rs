//! The floor: the highest versions a host has seen. Two checksummed copies, each written whole and fsynced.
//!
//! It never sinks by itself, and its loss is told, not repaired in silence: a host without a floor can be led back.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use watchpost_core::time::Timestamp;

use crate::digest::Sha256Hex;
use crate::durable;

use super::judge::Judged;

/// Largest floor file, in bytes.
const MAX_FLOOR: u64 = 16 * 1024;
/// The two copies.
const SLOTS: [&str; 2] = ["floor.0", "floor.1"];

/// The highest version of one role, and under whose authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RoleFloor {
    /// Version number.
    pub version: u64,
    /// For the root the digest of the document; else of the role's keys and threshold.
    pub authority: Option<Sha256Hex>,
}

/// What a host has seen of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryFloor {
    /// The first root this floor stands on: another one starts another floor.
    pub pinned: Sha256Hex,
    /// The root.
    pub root: RoleFloor,
    /// The timestamp.
    pub timestamp: RoleFloor,
    /// The snapshot.
    pub snapshot: RoleFloor,
    /// The targets.
    pub targets: RoleFloor,
}

impl RepositoryFloor {
    /// Nothing seen yet.
    #[must_use]
    pub fn fresh(pinned: Sha256Hex) -> Self {
        let none = RoleFloor::default();
        Self { pinned, root: none, timestamp: none, snapshot: none, targets: none }
    }
}

/// Everything a host never goes below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    sequence: u64,
    /// The image repository.
    pub image: RepositoryFloor,
    /// The director repository.
    pub director: RepositoryFloor,
    /// The counter of the newest release that was committed on this host.
    pub release_counter: u64,
    /// The counter of the newest rule package that was committed on this host. Only written when there is one: a reader
    /// that does not know the field would take the floor for lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rules_counter: u64,
    /// When the newest timestamp of the director was signed: no expiry is judged by an earlier instant.
    pub time: Timestamp,
}

/// In which state the floor was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FloorHealth {
    /// Both copies are good, or there was nothing to lose yet.
    Intact,
    /// One copy was missing or torn; the other one serves. Worth a look at the disk.
    OneCopyLost,
    /// Both copies are gone although this host has trusted before: nothing is approved until an operator starts anew.
    Lost,
}

/// A role that went back, or a root that is two things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sunk {
    pub(super) role: &'static str,
    pub(super) floor: u64,
    pub(super) offered: u64,
}

impl Floor {
    pub(super) fn fresh(image: Sha256Hex, director: Sha256Hex) -> Self {
        let (image, director) = (RepositoryFloor::fresh(image), RepositoryFloor::fresh(director));
        Self { sequence: 0, image, director, release_counter: 0, rules_counter: 0, time: Timestamp::from_millis(0) }
    }

    /// This floor for these first roots: a repository whose first root is another one starts anew.
    pub(super) fn standing_on(mut self, image: Sha256Hex, director: Sha256Hex) -> Self {
        if self.image.pinned != image {
            self.image = RepositoryFloor::fresh(image);
            (self.release_counter, self.rules_counter) = (0, 0);
        }
        if self.director.pinned != director {
            self.director = RepositoryFloor::fresh(director);
            self.time = Timestamp::from_millis(0);
        }
        self
    }

    /// This floor raised to what the image repository says.
    pub(super) fn with_image(mut self, image: &Judged) -> Result<Self, Sunk> {
        self.image = raise(&self.image, &image.floor)?;
        Ok(self)
    }

    /// This floor raised to what the director says.
    pub(super) fn with_director(mut self, director: &Judged) -> Result<Self, Sunk> {
        let before = self.director;
        self.director = raise(&before, &director.floor)?;
        // A rotated timestamp key takes back whatever time the old one has claimed.
        let same_key = before.timestamp.authority == self.director.timestamp.authority;
        let issued = director.issued.unwrap_or_default();
        self.time = if same_key { self.time.max(issued) } else { issued };
        Ok(self)
    }

    /// Reads both copies. `established` says that this host has trusted before, whatever the folder looks like.
    pub(super) fn load(dir: &Path, established: bool) -> (Option<Self>, FloorHealth) {
        load_slots(dir, established)
    }

    /// Writes both copies, one after the other, so that one is whole at any moment.
    pub(super) fn save(&mut self, dir: &Path) -> Result<(), (PathBuf, io::Error)> {
        self.sequence += 1;
        save_slots(dir, self)
    }
}

impl Numbered for Floor {
    fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// The floor of one repository that is followed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoneFloor {
    sequence: u64,
    pub(super) repository: RepositoryFloor,
}

impl LoneFloor {
    pub(super) fn fresh(pinned: Sha256Hex) -> Self {
        Self { sequence: 0, repository: RepositoryFloor::fresh(pinned) }
    }

    /// This floor raised to what the repository says.
    pub(super) fn with(mut self, judged: &Judged) -> Result<Self, Sunk> {
        self.repository = raise(&self.repository, &judged.floor)?;
        Ok(self)
    }

    pub(super) fn load(dir: &Path) -> (Option<Self>, FloorHealth) {
        load_slots(dir, true)
    }

    pub(super) fn save(&mut self, dir: &Path) -> Result<(), (PathBuf, io::Error)> {
        self.sequence += 1;
        save_slots(dir, self)
    }
}

impl Numbered for LoneFloor {
    fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// What is kept in two copies, the newer of which counts.
trait Numbered: Serialize + DeserializeOwned {
    /// Grows with every save.
    fn sequence(&self) -> u64;
}

fn load_slots<T: Numbered>(dir: &Path, established: bool) -> (Option<T>, FloorHealth) {
    let slots = SLOTS.map(|slot| read_slot::<T>(&dir.join(slot)));
    match slots {
        [Some(a), Some(b)] => (Some(if a.sequence() >= b.sequence() { a } else { b }), FloorHealth::Intact),
        // The first save ever, cut off between its two copies.
        [Some(a), None] if a.sequence() == 1 => (Some(a), FloorHealth::Intact),
        [Some(one), None] | [None, Some(one)] => (Some(one), FloorHealth::OneCopyLost),
        [None, None] if established || SLOTS.iter().any(|slot| dir.join(slot).exists()) => (None, FloorHealth::Lost),
        [None, None] => (None, FloorHealth::Intact),
    }
}

fn save_slots(dir: &Path, floor: &impl Serialize) -> Result<(), (PathBuf, io::Error)> {
    let body = serde_json::to_vec(floor).map_err(|e| (dir.to_owned(), io::Error::other(e)))?;
    let mut bytes = Sha256Hex::of(&body).to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend(body);
    for slot in SLOTS {
        let path = dir.join(slot);
        durable::write_atomic(&path, &bytes, 0o600).map_err(|e| (path, e))?;
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn read_slot<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = durable::read_limited(path, MAX_FLOOR).ok()??;
    let (sum, body) = bytes.split_at_checked(64)?;
    let body = body.strip_prefix(b"\n")?;
    (Sha256Hex::of(body).to_string().as_bytes() == sum).then(|| serde_json::from_slice(body).ok())?
}

fn raise(floor: &RepositoryFloor, seen: &RepositoryFloor) -> Result<RepositoryFloor, Sunk> {
    let sunk = |role, floor: RoleFloor, seen: RoleFloor| Sunk { role, floor: floor.version, offered: seen.version };
    let rotated = seen.root.version > floor.root.version;
    if !rotated && floor.root.authority.is_some() && seen.root != floor.root {
        return Err(sunk("root", floor.root, seen.root));
    }
    // Other keys for timestamp or snapshot are the way out of a version that a thief has driven up: what those two say is
    // forgotten (TUF 5.3.11), and with it which targets they named. Other keys for targets forget the targets alone.
    let changed = |floor: RoleFloor, seen: RoleFloor| rotated && floor.authority != seen.authority;
    let online = changed(floor.timestamp, seen.timestamp) || changed(floor.snapshot, seen.snapshot);
    let roles = [
        ("timestamp", floor.timestamp, seen.timestamp, online),
        ("snapshot", floor.snapshot, seen.snapshot, online),
        ("targets", floor.targets, seen.targets, online || changed(floor.targets, seen.targets)),
    ];
    for (role, floor, seen, is_lifted) in roles {
        if !is_lifted && seen.version < floor.version {
            return Err(sunk(role, floor, seen));
        }
    }
    Ok(*seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(root: u64, keys: &str, versions: [u64; 3]) -> RepositoryFloor {
        let authority = Some(Sha256Hex::of(keys.as_bytes()));
        let [timestamp, snapshot, targets] = versions.map(|version| RoleFloor { version, authority });
        let root = RoleFloor { version: root, authority: Some(Sha256Hex::of(&root.to_be_bytes())) };
        RepositoryFloor { pinned: Sha256Hex::of(b"root"), root, timestamp, snapshot, targets }
    }

    #[test]
    fn no_role_goes_back_unless_a_newer_root_gives_it_other_keys() {
        let stands = floor(2, "a", [9, 8, 7]);
        assert!(raise(&stands, &stands).is_ok());
        assert!(raise(&stands, &floor(2, "a", [10, 8, 7])).is_ok());
        for (seen, role) in [
            (floor(1, "a", [9, 8, 7]), "root"),
            (floor(2, "a", [8, 8, 7]), "timestamp"),
            (floor(2, "a", [9, 7, 7]), "snapshot"),
            (floor(2, "a", [9, 8, 6]), "targets"),
            (floor(3, "a", [8, 8, 7]), "timestamp"),
        ] {
            assert_eq!(raise(&stands, &seen).unwrap_err().role, role);
        }
        assert!(raise(&stands, &floor(3, "b", [1, 1, 1])).is_ok(), "recovery from a fast-forward");
        let rekeyed = |of: fn(&mut RepositoryFloor) -> &mut RoleFloor| {
            let mut seen = floor(3, "a", [1, 1, 1]);
            of(&mut seen).authority = Some(Sha256Hex::of(b"b"));
            raise(&stands, &seen).map_err(|sunk| sunk.role)
        };
        assert!(rekeyed(|seen| &mut seen.timestamp).is_ok() && rekeyed(|seen| &mut seen.snapshot).is_ok(), "5.3.11");
        assert_eq!(rekeyed(|seen| &mut seen.targets), Err("timestamp"), "keys of targets lift their own floor alone");
        let mut twin = stands;
        twin.root.authority = Some(Sha256Hex::of(b"another second root"));
        assert_eq!(raise(&stands, &twin).unwrap_err().role, "root");
    }

    #[test]
    fn one_torn_copy_is_told_and_served_by_the_other_and_two_are_a_loss() {
        let dir = tempfile::tempdir().unwrap();
        let slot = |n: usize| dir.path().join(SLOTS[n]);
        assert_eq!(Floor::load(dir.path(), false), (None, FloorHealth::Intact));
        assert_eq!(Floor::load(dir.path(), true), (None, FloorHealth::Lost));
        let mut made = Floor::fresh(Sha256Hex::of(b"i"), Sha256Hex::of(b"d"));
        made.save(dir.path()).unwrap();
        made.release_counter = 5;
        made.save(dir.path()).unwrap();
        let good = std::fs::read(slot(0)).unwrap();
        let counter = |dir| Floor::load(dir, false).0.unwrap().release_counter;
        for torn in [0, 1] {
            for length in [0, 10, 64, 65, good.len() - 1] {
                std::fs::write(slot(torn), &good[..length]).unwrap();
                assert_eq!(Floor::load(dir.path(), false).1, FloorHealth::OneCopyLost);
                assert_eq!(counter(dir.path()), 5);
            }
            std::fs::write(slot(torn), &good).unwrap();
        }
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            std::fs::write(slot(0), &bad).unwrap();
            assert_eq!(counter(dir.path()), 5, "byte {byte}");
        }
        std::fs::write(slot(1), b"").unwrap();
        assert_eq!(Floor::load(dir.path(), false), (None, FloorHealth::Lost));
    }

    #[test]
    fn a_save_cut_off_between_the_copies_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Floor::fresh(Sha256Hex::of(b"i"), Sha256Hex::of(b"d"));
        made.save(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(SLOTS[1])).unwrap();
        assert_eq!(Floor::load(dir.path(), true).1, FloorHealth::Intact);
        made.save(dir.path()).unwrap();
        let before = std::fs::read(dir.path().join(SLOTS[1])).unwrap();
        made.release_counter = 7;
        made.save(dir.path()).unwrap();
        std::fs::write(dir.path().join(SLOTS[1]), before).unwrap();
        let (found, health) = Floor::load(dir.path(), true);
        assert_eq!((found.unwrap().release_counter, health), (7, FloorHealth::Intact));
    }
}
