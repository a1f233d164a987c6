//! The certificates of one host on its disk, and which of them is the current one, the next one and the one before.
//!
//! That is one record, in two slots with a checksum, so that it changes in one step. No certificate is removed that the
//! record names, and none before the record that no longer names it is durable.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use watchpost_core::identity::{Pin, Slots};
use watchpost_core::time::Timestamp;

use super::{Identity, IdentityError, UNFINISHED, read_folder, write_folder};
use crate::host::disk::{Disk, read_limited};
use crate::updater::RecordStore;

/// The folder of the certificate that the host enrolled with; each later one has its pin as its name.
const FIRST: &str = "cur";
/// The two slots of the record.
const RECORD: [&str; 2] = ["slots.0", "slots.1"];
/// The file in which somebody on the host orders that the certificate it names be replaced.
const ORDER: &str = "renew";
/// The largest order that is read: 64 digits and a line break.
const ORDER_BYTES: u64 = 65;

/// What a host holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which is which.
    pub slots: Slots,
    /// Those that can be read.
    pub identities: BTreeMap<Pin, Identity>,
}

impl Held {
    /// The current one.
    ///
    /// # Errors
    /// When it is not among those that can be read.
    pub fn cur(&self) -> Result<&Identity, IdentityError> {
        self.identities.get(&self.slots.cur).ok_or(IdentityError::NotEnrolled)
    }
}

/// The certificates of one host, in its folder `updater/identity`.
#[derive(Clone)]
pub struct Keyring {
    folder: PathBuf,
    record: RecordStore<Slots>,
    disk: Disk,
}

impl Keyring {
    /// The certificates of the host folder `root`.
    #[must_use]
    pub fn of_host(root: &Path) -> Self {
        Self::on(root, Disk::default())
    }

    pub(crate) fn on(root: &Path, disk: Disk) -> Self {
        let folder = root.join("updater").join("identity");
        let record = RecordStore::at(RECORD.map(|name| folder.join(name)), disk.clone());
        Self { folder, record, disk }
    }

    /// What the host holds; `None` if it holds nothing yet. A certificate that cannot be read any more is passed over
    /// while there is another one.
    ///
    /// # Errors
    /// When none can be read although there are some.
    pub fn open(&self) -> Result<Option<Held>, IdentityError> {
        let wanted: Vec<PathBuf> = match self.record.read() {
            Some(slots) => slots.all().map(|pin| self.path(pin)).collect(),
            None => self.folders(),
        };
        let (mut identities, mut order, mut trouble) = (BTreeMap::new(), Vec::new(), None);
        for folder in wanted {
            match read_folder(&folder) {
                Ok(Some(identity)) => {
                    order.push(identity.named());
                    identities.insert(identity.named(), identity);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!("a certificate of this host is lost: {}", crate::updater::in_one_line(&error));
                    trouble = Some(error);
                }
            }
        }
        let slots = match (self.record.read(), order.as_slice()) {
            (Some(slots), _) if identities.contains_key(&slots.cur) => {
                let there = |pin: &Pin| identities.contains_key(pin);
                Slots { cur: slots.cur, next: slots.next.filter(there), prev: slots.prev.filter(there) }
            }
            (Some(_) | None, [cur, rest @ ..]) => {
                Slots { cur: *cur, next: rest.first().copied(), prev: rest.get(1).copied() }
            }
            // A first one that cannot be read has no name by which the record would lead there; it is damage all the
            // same, and no reason to make another one.
            (Some(_) | None, []) => {
                let trouble = trouble.or_else(|| read_folder(&self.folder.join(FIRST)).err());
                return trouble.map_or(Ok(None), Err);
            }
        };
        Ok(Some(Held { slots, identities }))
    }

    /// Where the certificate with this pin lies.
    fn path(&self, pin: Pin) -> PathBuf {
        let (own, first) = (self.folder.join(pin.to_string()), self.folder.join(FIRST));
        let is_first = || read_folder(&first).is_ok_and(|found| found.is_some_and(|identity| identity.named() == pin));
        if !own.exists() && is_first() { first } else { own }
    }

    /// Every folder that may hold a certificate, the first one first.
    fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_pin = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<Pin>().is_ok())
        };
        let mut others: Vec<_> = entries.map(|entry| entry.path()).filter(is_pin).collect();
        others.sort();
        std::iter::once(self.folder.join(FIRST)).chain(others).collect()
    }

    /// The current certificate; made and made durable first if the host holds none. A crash on the way leaves none.
    ///
    /// # Errors
    /// When the disk fails, or there are certificates and none can be read.
    pub fn read_or_make(&self, now: Timestamp) -> Result<Identity, IdentityError> {
        if let Some(held) = self.open()? {
            return held.cur().cloned();
        }
        let identity = Identity::generate(now)?;
        self.write(FIRST, &identity)?;
        Ok(identity)
    }

    /// Another certificate, durable, which is in no slot yet.
    ///
    /// # Errors
    /// When none can be made or the disk fails.
    pub fn make(&self, now: Timestamp) -> Result<Identity, IdentityError> {
        let identity = Identity::generate(now)?;
        self.write(&identity.named().to_string(), &identity)?;
        Ok(identity)
    }

    fn write(&self, name: &str, identity: &Identity) -> Result<(), IdentityError> {
        let path = self.folder.join(name);
        write_folder(&path, identity, &self.disk).map_err(|source| IdentityError::Io { path, source })
    }

    /// Makes durable which is which.
    ///
    /// # Errors
    /// When the disk fails; what was before holds then.
    pub fn keep(&self, slots: Slots) -> Result<(), IdentityError> {
        Ok(self.record.write(&slots)?)
    }

    /// Removes the certificates that the record does not name. What cannot be read stays, and so does every certificate
    /// while there is no record.
    pub fn sweep(&self) {
        self.sweep_unfinished();
        let Some(slots) = self.record.read() else { return };
        for folder in self.folders() {
            let Ok(Some(identity)) = read_folder(&folder) else { continue };
            if slots.all().any(|pin| pin == identity.named()) {
                continue;
            }
            match self.disk.remove_folder(&folder) {
                Ok(()) => tracing::info!(certificate = %identity.named(), "a certificate that was replaced is removed"),
                Err(error) => tracing::warn!("a certificate that was replaced cannot be removed: {error}"),
            }
        }
    }

    /// Removes what a crash has left half made or half removed.
    fn sweep_unfinished(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == UNFINISHED)) {
            // What stays takes room and does no harm.
            let _ = fs::remove_dir_all(path);
        }
        let _ = self.disk.sweep(&self.folder);
    }

    /// Orders, durably, that the current certificate be replaced; tells its pin.
    ///
    /// # Errors
    /// When the host holds none, or the disk fails.
    pub fn order(&self) -> Result<Pin, IdentityError> {
        let cur = self.open()?.ok_or(IdentityError::NotEnrolled)?.slots.cur;
        let path = self.folder.join(ORDER);
        let written = self.disk.replace(&path, format!("{cur}\n").as_bytes());
        written.map(|()| cur).map_err(|source| IdentityError::Io { path, source })
    }

    /// The certificate that somebody on the host wants replaced.
    #[must_use]
    pub fn ordered(&self) -> Option<Pin> {
        let bytes = read_limited(&self.folder.join(ORDER), ORDER_BYTES).ok().flatten()?;
        String::from_utf8(bytes).ok()?.trim().parse().ok()
    }

    /// Forgets an order that was carried out. That it stays does no harm: it names a certificate that is not current.
    pub fn forget_order(&self) {
        match fs::remove_file(self.folder.join(ORDER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("the order to replace the certificate cannot be removed: {error}");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::disk::tests::Power;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    /// A host that holds a certificate and has made the next one, which is in its slot.
    fn rotating(root: &Path) -> (Keyring, Pin, Pin) {
        let keyring = Keyring::of_host(root);
        let (cur, next) = (keyring.read_or_make(NOW).unwrap().named(), keyring.make(NOW).unwrap().named());
        keyring.keep(Slots { next: Some(next), ..Slots::only(cur) }).unwrap();
        (keyring, cur, next)
    }

    #[test]
    fn what_was_kept_is_read_back_and_only_what_no_slot_names_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let (keyring, cur, next) = rotating(root.path());
        assert_eq!(keyring.open().unwrap().unwrap().slots, Slots { next: Some(next), ..Slots::only(cur) });
        keyring.make(NOW).unwrap();
        keyring.sweep();
        assert_eq!(keyring.open().unwrap().unwrap().identities.len(), 2);
        assert_eq!(keyring.folders().iter().filter(|folder| folder.exists()).count(), 2, "one was in no slot");
        let promoted = Slots { prev: Some(cur), ..Slots::only(next) };
        keyring.keep(promoted).unwrap();
        keyring.sweep();
        assert_eq!(keyring.open().unwrap().unwrap().slots, promoted);
        assert_eq!(keyring.read_or_make(NOW).unwrap().named(), next, "setup uses the current one");
        keyring.keep(Slots::only(next)).unwrap();
        keyring.sweep();
        let held = keyring.open().unwrap().unwrap();
        assert_eq!((held.slots, held.identities.len()), (Slots::only(next), 1));
        assert!(!root.path().join("updater/identity/cur").exists());
    }

    #[test]
    fn a_power_cut_at_any_step_leaves_every_certificate_that_may_be_accepted() {
        for cut in 0..30 {
            let root = tempfile::tempdir().unwrap();
            let (_, cur, next) = rotating(root.path());
            let power = Power::failing_at(cut);
            let failing = Keyring::on(root.path(), Disk { power: Some(power.clone()) });
            // Promoted, the one before removed, another one made and kept: the record never names what is not there.
            let steps = [Slots { prev: Some(cur), ..Slots::only(next) }, Slots::only(next)];
            let kept = steps.iter().take_while(|slots| failing.keep(**slots).is_ok()).count();
            failing.sweep();
            let made = failing.make(NOW).map(|identity| identity.named());
            let is_kept =
                made.as_ref().is_ok_and(|pin| failing.keep(Slots { next: Some(*pin), ..Slots::only(next) }).is_ok());
            let held = Keyring::of_host(root.path()).open().unwrap().unwrap();
            assert!(held.slots.all().all(|pin| held.identities.contains_key(&pin)), "cut at step {cut}");
            assert!(held.identities.contains_key(&next), "cut at step {cut}");
            assert!(kept == 2 || root.path().join("updater/identity/cur").exists(), "cut at step {cut}");
            assert!(!is_kept || held.slots.next == made.ok(), "cut at step {cut}");
        }
    }

    #[test]
    fn without_a_record_nothing_is_removed_and_every_certificate_is_tried() {
        let root = tempfile::tempdir().unwrap();
        let (keyring, cur, next) = rotating(root.path());
        for slot in RECORD {
            fs::write(root.path().join("updater/identity").join(slot), vec![0; 4096]).unwrap();
        }
        keyring.sweep();
        assert_eq!(keyring.open().unwrap().unwrap().slots, Slots { next: Some(next), ..Slots::only(cur) });
    }

    #[test]
    fn a_key_that_was_being_made_when_the_power_failed_does_not_stay() {
        let root = tempfile::tempdir().unwrap();
        let keyring = Keyring::of_host(root.path());
        let first = keyring.read_or_make(NOW).unwrap();
        // The first certificate of a host has no record yet.
        let half_made = root.path().join("updater/identity").join(format!("{}.{UNFINISHED}", "ab".repeat(32)));
        fs::create_dir_all(&half_made).unwrap();
        fs::write(half_made.join("key.der"), "torn").unwrap();
        keyring.sweep();
        assert!(!half_made.exists());
        assert_eq!(keyring.read_or_make(NOW).unwrap(), first);
    }

    #[test]
    fn a_damaged_certificate_is_passed_over_while_there_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let (keyring, cur, next) = rotating(root.path());
        fs::write(root.path().join("updater/identity/cur/key.der"), "torn").unwrap();
        assert_eq!(keyring.open().unwrap().unwrap().slots, Slots::only(next));
        fs::remove_dir_all(root.path().join("updater/identity").join(next.to_string())).unwrap();
        assert!(matches!(keyring.open(), Err(IdentityError::Damaged { .. })));
        assert_ne!(cur, next);
    }

    #[test]
    fn an_order_names_the_certificate_it_is_for() {
        let root = tempfile::tempdir().unwrap();
        let keyring = Keyring::of_host(root.path());
        assert!(matches!(keyring.order(), Err(IdentityError::NotEnrolled)));
        assert_eq!(keyring.ordered(), None);
        let cur = keyring.read_or_make(NOW).unwrap().named();
        assert_eq!((keyring.order().unwrap(), keyring.order().unwrap()), (cur, cur));
        assert_eq!(keyring.ordered(), Some(cur));
        keyring.forget_order();
        keyring.forget_order();
        assert_eq!(keyring.ordered(), None);
    }
}
