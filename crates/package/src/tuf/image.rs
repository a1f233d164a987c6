//! The image repository of a release author: what may ever run.
//!
//! Root 3-of-5 and targets 2-of-3, in files that a real author keeps on different media; one key for the rest.

use std::path::Path;

use watchpost_core::content::rules_file_name;
use watchpost_core::time::Timestamp;

use crate::contents::{Contents, Signed};
use crate::durable::{self, Placing};
use crate::extract::inspect;

use super::error::RepositoryError;
use super::key::SigningKey;
use super::metadata::{DAY, Lifetimes};
use super::name::is_target_name;
use super::repository::{METADATA, Role, Roles, SignedTarget, Writer};
use super::rotation::{Ring, Rotated, rotate};

/// Root keys of an image repository, and how many of them must sign.
pub const IMAGE_ROOT_KEYS: (usize, usize) = (5, 3);
/// Targets keys of an image repository, and how many of them must sign.
pub const IMAGE_TARGETS_KEYS: (usize, usize) = (3, 2);
/// The author's own copy of the first root, beside the keys: the repository folder itself is trusted with nothing.
const PINNED_ROOT: &str = "1.root.json";
const ONLINE: &str = "online.pem";
const MAX_ROOT: u64 = 512_000;

/// A release author: the keys at hand and the repository they sign.
#[derive(Debug)]
pub struct ImageAuthor {
    writer: Writer,
    targets_keys: Vec<SigningKey>,
    online: SigningKey,
}

impl ImageAuthor {
    /// Makes all keys of an author in the folder `keys`, which must not hold any yet.
    ///
    /// # Errors
    /// When a key is there already or cannot be written.
    pub fn make_keys(keys: &Path) -> Result<(), RepositoryError> {
        durable::make_private_dir(keys).map_err(RepositoryError::io(keys))?;
        let online = keys.join(ONLINE);
        if online.exists() {
            return Err(RepositoryError::Exists(online));
        }
        for (role, count) in [("root", IMAGE_ROOT_KEYS.0), ("targets", IMAGE_TARGETS_KEYS.0)] {
            for number in 1..=count {
                SigningKey::generate()?.save(&keys.join(format!("{role}-{number}.pem")))?;
            }
        }
        // Last: its presence says that the set is whole.
        Ok(SigningKey::generate()?.save(&online)?)
    }

    /// Signs an empty repository into the folder `repository` with the keys in `keys`.
    ///
    /// # Errors
    /// When a repository was made with these keys before, a key is missing, or it cannot be written.
    pub fn create(keys: &Path, repository: &Path, now: Timestamp) -> Result<Self, RepositoryError> {
        let pinned = keys.join(PINNED_ROOT);
        if pinned.exists() {
            return Err(RepositoryError::Exists(pinned));
        }
        let root = load(keys, "root", IMAGE_ROOT_KEYS.0)?;
        let targets_keys = load(keys, "targets", IMAGE_TARGETS_KEYS.0)?;
        let online = SigningKey::load(&keys.join(ONLINE))?;
        let one = || Role { keys: vec![&online], threshold: 1 };
        let roles = Roles {
            root: Role { keys: root.iter().collect(), threshold: IMAGE_ROOT_KEYS.1 },
            targets: Role { keys: targets_keys.iter().collect(), threshold: IMAGE_TARGETS_KEYS.1 },
            snapshot: one(),
            timestamp: one(),
        };
        let writer = Writer::create(repository, &roles, Lifetimes::IMAGE, now)?;
        let first = repository.join(METADATA).join(PINNED_ROOT);
        let bytes = durable::read_limited(&first, MAX_ROOT).map_err(RepositoryError::io(&first))?;
        let bytes = bytes.ok_or(RepositoryError::Absent(first))?;
        durable::write_atomic(&pinned, &bytes, 0o644).map_err(RepositoryError::io(&pinned))?;
        Ok(Self { writer, targets_keys, online })
    }

    /// Signs the next root of the repository, with new keys in the places `replaced` (such as `root-2`, `targets-1`,
    /// `online`); without any the root only gets another year.
    ///
    /// # Errors
    /// When too few keys are at hand (nothing is changed then), or the disk refuses. Done again it goes on where it was
    /// cut off.
    pub fn rotate_root(
        keys: &Path,
        repository: &Path,
        replaced: &[String],
        now: Timestamp,
    ) -> Result<Rotated, RepositoryError> {
        let pinned = pinned_root(keys)?;
        let open = |vouching| Writer::open_under(repository, Some(&pinned), Lifetimes::IMAGE, vouching);
        rotate(&ring(keys), &open, replaced, now)
    }

    /// Opens the repository made with the keys in `keys`. Root keys need not be there.
    ///
    /// # Errors
    /// When it is not whole, is not the one of these keys, or its keys do not vouch for it.
    pub fn open(keys: &Path, repository: &Path) -> Result<Self, RepositoryError> {
        if ring(keys).is_cut_off() {
            return Err(RepositoryError::CutOff(keys.to_owned()));
        }
        let targets_keys = load(keys, "targets", IMAGE_TARGETS_KEYS.0)?;
        let online = SigningKey::load(&keys.join(ONLINE))?;
        let writer = Writer::open(repository, Some(&pinned_root(keys)?), Lifetimes::IMAGE)?;
        writer.sweep();
        Ok(Self { writer, targets_keys, online })
    }

    /// Whether a repository was made with the keys in `keys`.
    #[must_use]
    pub fn exists(keys: &Path) -> bool {
        keys.join(PINNED_ROOT).exists()
    }

    /// Signs a package: reads it through as a host would, then names it in the targets under its file name.
    /// Signing the same again changes nothing.
    ///
    /// # Errors
    /// When a host would refuse the package, its name is bad or taken by other bytes, or the disk refuses.
    pub fn sign(&mut self, package: &Path, now: Timestamp) -> Result<SignedTarget, RepositoryError> {
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_target_name(&name) {
            return Err(RepositoryError::Name(name));
        }
        let info = inspect(package, None).map_err(|e| RepositoryError::Package(Box::new(e)))?;
        let signed = self.writer.targets();
        let counter = match &info.contents {
            Contents::Release(_) => next_counter(&signed, &name, |s| s.release().map(|r| r.release_counter)),
            Contents::Rules(rules) => {
                check_build(&signed, &name, rules.build, now)?;
                next_counter(&signed, &name, |s| s.rules().map(|r| r.rules_counter))
            }
        };
        let custom = info.contents.signed(counter);
        let target = SignedTarget { name, length: info.length, sha256: info.sha256, custom };
        let keys: Vec<&SigningKey> = self.targets_keys.iter().collect();
        self.writer.add_target(&target, (package, Placing::Copy), &keys, &[&self.online], now)?;
        Ok(target)
    }

    /// Signs snapshot and timestamp anew, and the targets when they near their end.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn resign(&mut self, now: Timestamp) -> Result<(), RepositoryError> {
        let keys: Vec<&SigningKey> = self.targets_keys.iter().collect();
        self.writer.resign(Some(&keys), &[&self.online], now)
    }

    /// When the first document of this repository expires.
    #[must_use]
    pub fn earliest_expiry(&self) -> Timestamp {
        self.writer.earliest_expiry()
    }

    /// The releases that were signed.
    #[must_use]
    pub fn targets(&self) -> Vec<SignedTarget> {
        self.writer.targets()
    }
}

/// The author's own copy of the first root.
fn pinned_root(keys: &Path) -> Result<Vec<u8>, RepositoryError> {
    let pinned = keys.join(PINNED_ROOT);
    let bytes = durable::read_limited(&pinned, MAX_ROOT).map_err(RepositoryError::io(&pinned))?;
    bytes.ok_or(RepositoryError::Absent(pinned))
}

/// Every key of an author.
fn ring(keys: &Path) -> Ring {
    Ring::new()
        .with(keys, "root", "root", IMAGE_ROOT_KEYS.0)
        .with(keys, "targets", "targets", IMAGE_TARGETS_KEYS.0)
        .with_online(keys, "online")
}

/// The counter of the target `name`: its own if it is signed already, else one above the highest of its kind.
fn next_counter(signed: &[SignedTarget], name: &str, counter: impl Fn(&Signed) -> Option<u64>) -> u64 {
    let known = signed.iter().find(|target| target.name == name).and_then(|target| counter(&target.custom));
    known.unwrap_or_else(|| signed.iter().filter_map(|target| counter(&target.custom)).max().unwrap_or(0) + 1)
}

/// Build dates and counters of rule packages grow together, and no date lies so far ahead that nothing could follow it.
fn check_build(signed: &[SignedTarget], name: &str, build: Timestamp, now: Timestamp) -> Result<(), RepositoryError> {
    let wanted = rules_file_name(build);
    if name != wanted {
        return Err(RepositoryError::Rules(format!("its file must be named {wanted}, after its build date")));
    }
    if build > now + DAY {
        return Err(RepositoryError::Rules(format!(
            "its build date {build} lies in the future; build it with today's"
        )));
    }
    let others = signed.iter().filter(|target| target.name != name);
    let newest = others.filter_map(|target| target.custom.rules().map(|rules| rules.build)).max();
    let is_known = signed.iter().any(|target| target.name == name);
    match newest.filter(|newest| build <= *newest && !is_known) {
        Some(newest) => Err(RepositoryError::Rules(format!(
            "its build date {build} is not after {newest}, which is signed already; build it anew with a later one"
        ))),
        None => Ok(()),
    }
}

/// The keys of `role` that are in the folder: a real author does not keep all of them in one place.
fn load(keys: &Path, role: &str, count: usize) -> Result<Vec<SigningKey>, RepositoryError> {
    let paths = (1..=count).map(|number| keys.join(format!("{role}-{number}.pem")));
    paths.filter(|path| path.exists()).map(|path| Ok(SigningKey::load(&path)?)).collect()
}
