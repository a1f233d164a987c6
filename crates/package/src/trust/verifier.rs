//! The verifier of a host: refreshes both repositories, and approves what both name.
//!
//! Blocking: call it from a thread that may wait.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watchpost_core::content::{RULES_COMPONENT, SignedRules};
use watchpost_core::release::{SENSOR_COMPONENT, SignedRelease};
use watchpost_core::server_keys::ServerKeys;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use crate::contents::{Contents, Signed};
use crate::digest::Sha256Hex;
use crate::durable;
use crate::extract::{PackageInfo, described, extract, open_approved};
use crate::tuf::{SignedTarget, is_target_name};

use super::error::VerifyError;
use super::floor::{Floor, FloorHealth, Sunk};
use super::judge::{Judged, Trust, judge};
use super::mailbox::Fetched;
use super::store::{DurableStore, Kept};

/// Largest root, in bytes.
const MAX_ROOT: u64 = 512_000;
pub(super) const FIRST_ROOT: &str = "1.root.json";

/// One of the two repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Repo {
    /// The author's: what may ever run.
    Image,
    /// The control plane's: what should run here.
    Director,
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Director => "director",
        })
    }
}

/// From where a host's trust starts.
#[derive(Clone, Debug)]
pub struct TrustConfig {
    /// The folder `updater/trust` of the host; made if it is not there.
    pub dir: PathBuf,
    /// The first image root, as shipped in the installer.
    pub image_root: Vec<u8>,
    /// The digest of the first director root, from the access key.
    pub director_root: Sha256Hex,
    /// Whether this host has installed anything before: then an absent floor is a lost one.
    pub established: bool,
}

/// A package that both repositories name, with everything by which to recognise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved<C = SignedRelease> {
    /// The target's name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its digest.
    pub sha256: Sha256Hex,
    /// What is signed beside them.
    pub custom: C,
}

impl<C: Clone + Into<Signed>> Approved<C> {
    /// Checks that `package` is this one and extracts it into the empty folder `into`.
    ///
    /// # Errors
    /// When it is another file, misses the profile, is another package, or cannot be written. Remove `into` then.
    pub fn extract(&self, package: &Path, into: &Path) -> Result<PackageInfo, VerifyError> {
        let info = extract(package, self.length, &self.sha256, into).map_err(|e| VerifyError::Package(Box::new(e)))?;
        self.matches(&info.contents)?;
        Ok(info)
    }

    /// Opens `package` if it is this one, whole.
    ///
    /// # Errors
    /// When it is another file, or cannot be read.
    pub fn open(&self, package: &Path) -> Result<File, VerifyError> {
        open_approved(package, self.length, &self.sha256).map_err(|e| VerifyError::Package(Box::new(e)))
    }

    /// Checks that a folder says of itself what was signed, and gives what it says. See [`described`].
    ///
    /// # Errors
    /// When it does not, or is not what its manifest names.
    pub fn check_folder(&self, folder: &Path) -> Result<Contents, VerifyError> {
        let (_, contents) = described(folder).map_err(|e| VerifyError::Package(Box::new(e)))?;
        self.matches(&contents)?;
        Ok(contents)
    }

    fn matches(&self, contents: &Contents) -> Result<(), VerifyError> {
        contents.matches(&self.custom.clone().into()).map_err(VerifyError::Contents)
    }
}

/// What a refresh found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The highest versions seen, these included.
    pub floor: Floor,
    /// When the first document of either repository expires.
    pub earliest_expiry: Timestamp,
    /// In which state the floor was found when the verifier was opened.
    pub floor_health: FloorHealth,
}

/// The verifier of one host. One at a time per trust folder.
#[derive(Debug)]
pub struct Verifier {
    config: TrustConfig,
    floor: Option<Floor>,
    health: FloorHealth,
    image: DurableStore,
    director: DurableStore,
    judged: Option<(Judged, Judged)>,
}

impl Verifier {
    /// Opens the trust folder. A lost floor is no error here, so that it can be reported; see [`Self::floor_health`].
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn open(config: TrustConfig) -> Result<Self, VerifyError> {
        let io = |source| VerifyError::Io { path: config.dir.clone(), source };
        durable::make_private_dir(&config.dir).map_err(io)?;
        ["", "image", "image/root_history", "director", "director/root_history"]
            .iter()
            .for_each(|folder| durable::sweep(&config.dir.join(folder)));
        let traces = ["image/root.json", "director/root.json", "director/1.root.json"];
        let established = config.established || traces.iter().any(|trace| config.dir.join(trace).exists());
        let (found, health) = Floor::load(&config.dir, established);
        let image_root = Sha256Hex::of(&config.image_root);
        let floor = match (found, health) {
            (None, FloorHealth::Lost) => None,
            (Some(found), _) => Some(found.standing_on(image_root, config.director_root)),
            (None, FloorHealth::Intact | FloorHealth::OneCopyLost) => {
                // Written before anything else: from here on an absent floor is a lost one.
                let mut fresh = Floor::fresh(image_root, config.director_root);
                fresh.save(&config.dir).map_err(|(path, source)| VerifyError::Io { path, source })?;
                Some(fresh)
            }
        };
        let image = DurableStore::open(&config.dir.join("image"), Kept::TopLevel).map_err(io)?;
        let director = DurableStore::open(&config.dir.join("director"), Kept::TopLevel).map_err(io)?;
        Ok(Self { config, floor, health, image, director, judged: None })
    }

    /// In which state the floor was found. Anything but [`FloorHealth::Intact`] is to be reported.
    #[must_use]
    pub fn floor_health(&self) -> FloorHealth {
        self.health
    }

    /// An operator's decision to go on after the floor was lost: what is seen next is taken for the newest.
    ///
    /// # Errors
    /// When the floor cannot be written.
    pub fn start_anew(&mut self) -> Result<(), VerifyError> {
        let mut fresh = Floor::fresh(Sha256Hex::of(&self.config.image_root), self.config.director_root);
        fresh.save(&self.config.dir).map_err(|(path, source)| VerifyError::Io { path, source })?;
        self.floor = Some(fresh);
        self.health = FloorHealth::Intact;
        Ok(())
    }

    /// Fetches and judges both repositories by the server's time, but never by an instant before the floor's.
    ///
    /// `fetch` gets the repository, the name of a metadata file and the most bytes to read; `Ok(None)`: no such file.
    ///
    /// # Errors
    /// When anything is not to be believed; nothing can be approved then.
    pub fn refresh(
        &mut self,
        fetch: &mut dyn FnMut(Repo, &str, u64) -> Fetched,
        server_time: Timestamp,
    ) -> Result<Refreshed, VerifyError> {
        self.judged = None;
        let floor = self.floor.ok_or_else(|| VerifyError::FloorLost(self.config.dir.clone()))?;
        let now = server_time.max(floor.time);
        let director_root = self.director_root(fetch)?;
        let image = look(Repo::Image, &self.config.image_root, &self.image, fetch, now)?;
        let raised = floor.with_image(&image).map_err(|sunk| rollback(Repo::Image, sunk))?;
        // At once, so that a director that fails takes nothing back of what the image repository has shown.
        let raised = self.raise(floor, raised)?;
        let director = look(Repo::Director, &director_root, &self.director, fetch, now)?;
        let floor = raised.with_director(&director).map_err(|sunk| rollback(Repo::Director, sunk))?;
        let floor = self.raise(raised, floor)?;
        let earliest_expiry = image.earliest_expiry.min(director.earliest_expiry);
        self.judged = Some((image, director));
        Ok(Refreshed { floor, earliest_expiry, floor_health: self.health })
    }

    /// Fetches and judges the director alone, and gives the keys of the server that it says to trust. The floor rises as at
    /// a refresh, so that nobody can show yesterday's keys.
    ///
    /// # Errors
    /// When anything is not to be believed, or no keys are named there.
    pub fn server_keys(
        &mut self,
        fetch: &mut dyn FnMut(Repo, &str, u64) -> Fetched,
        server_time: Timestamp,
    ) -> Result<ServerKeys, VerifyError> {
        self.judged = None;
        let floor = self.floor.ok_or_else(|| VerifyError::FloorLost(self.config.dir.clone()))?;
        let director_root = self.director_root(fetch)?;
        let now = server_time.max(floor.time);
        let director = look(Repo::Director, &director_root, &self.director, fetch, now)?;
        let raised = floor.with_director(&director).map_err(|sunk| rollback(Repo::Director, sunk))?;
        self.raise(floor, raised)?;
        director.server_keys().ok_or(VerifyError::NoServerKeys)
    }

    /// Approves the target `name` for a host on which `running` runs: both repositories name the same bytes and the same
    /// release for it, and it is not older than what was committed here.
    ///
    /// # Errors
    /// When one of these does not hold.
    pub fn approve(&self, name: &str, running: Option<Version>) -> Result<Approved, VerifyError> {
        let (target, floor) = self.agreed(name)?;
        let SignedTarget { name, length, sha256, custom } = target;
        let custom = match custom {
            Signed::Release(release) if release.component == SENSOR_COMPONENT => release,
            Signed::Release(_) | Signed::Rules(_) => return Err(other_component(name, &custom, SENSOR_COMPONENT)),
        };
        if custom.release_counter < floor.release_counter {
            let (floor, offered) = (floor.release_counter, custom.release_counter);
            return Err(VerifyError::Counter { component: SENSOR_COMPONENT, floor, offered });
        }
        match (custom.minimum_base_version, running) {
            (Some(needs), Some(runs)) if runs < needs => Err(VerifyError::Base { needs, runs }),
            (_, _) => Ok(Approved { name, length, sha256, custom }),
        }
    }

    /// Approves the target `name` as a package of rules: both repositories name the same bytes and the same build for it,
    /// and it is not older than the newest one that was committed here.
    ///
    /// # Errors
    /// When one of these does not hold.
    pub fn approve_rules(&self, name: &str) -> Result<Approved<SignedRules>, VerifyError> {
        let (target, floor) = self.agreed(name)?;
        let SignedTarget { name, length, sha256, custom } = target;
        let custom = match custom {
            Signed::Rules(rules) if rules.component == RULES_COMPONENT => rules,
            Signed::Release(_) | Signed::Rules(_) => return Err(other_component(name, &custom, RULES_COMPONENT)),
        };
        if custom.rules_counter < floor.rules_counter {
            let (floor, offered) = (floor.rules_counter, custom.rules_counter);
            return Err(VerifyError::Counter { component: RULES_COMPONENT, floor, offered });
        }
        Ok(Approved { name, length, sha256, custom })
    }

    /// The name under which the author's repository has a file with this length and digest; `None`: it has no such file.
    ///
    /// # Errors
    /// When nothing was refreshed.
    pub fn name_of(&self, length: u64, sha256: &Sha256Hex) -> Result<Option<String>, VerifyError> {
        let (image, _) = self.judged.as_ref().ok_or(VerifyError::NotRefreshed)?;
        let is_it = |target: &SignedTarget| target.length == length && target.sha256 == *sha256;
        Ok(image.all_targets().into_iter().find(is_it).map(|target| target.name))
    }

    /// What both repositories say of `name`, if they say the same; and the floor to hold it against.
    fn agreed(&self, name: &str) -> Result<(SignedTarget, Floor), VerifyError> {
        if !is_target_name(name) {
            return Err(VerifyError::Name(name.chars().take(100).collect()));
        }
        let (Some((image, director)), Some(floor)) = (&self.judged, &self.floor) else {
            return Err(VerifyError::NotRefreshed);
        };
        let not_named = |repo| VerifyError::NotNamed { repo, name: name.to_owned() };
        let may = image.target(name).ok_or_else(|| not_named(Repo::Image))?;
        let should = director.target(name).ok_or_else(|| not_named(Repo::Director))?;
        agree(&may, &should)?;
        Ok((may, *floor))
    }

    /// Raises the floor to a release that was committed on this host: no older one is approved afterwards.
    /// Not at `approve`, so that a host that went back from a release can still take another one.
    ///
    /// # Errors
    /// When the floor is lost or cannot be written.
    pub fn committed(&mut self, release: &Approved) -> Result<(), VerifyError> {
        let mut floor = self.floor.ok_or_else(|| VerifyError::FloorLost(self.config.dir.clone()))?;
        if release.custom.release_counter > floor.release_counter {
            floor.release_counter = release.custom.release_counter;
            floor.save(&self.config.dir).map_err(|(path, source)| VerifyError::Io { path, source })?;
            self.floor = Some(floor);
        }
        Ok(())
    }

    /// Raises the floor to a rule package that was committed on this host; the floor of releases stays as it is.
    ///
    /// # Errors
    /// When the floor is lost or cannot be written.
    pub fn committed_rules(&mut self, rules: &Approved<SignedRules>) -> Result<(), VerifyError> {
        let mut floor = self.floor.ok_or_else(|| VerifyError::FloorLost(self.config.dir.clone()))?;
        if rules.custom.rules_counter > floor.rules_counter {
            floor.rules_counter = rules.custom.rules_counter;
            floor.save(&self.config.dir).map_err(|(path, source)| VerifyError::Io { path, source })?;
            self.floor = Some(floor);
        }
        Ok(())
    }

    /// Keeps the floor if it rose, or if one of its copies has to be mended.
    fn raise(&mut self, from: Floor, mut to: Floor) -> Result<Floor, VerifyError> {
        if to != from || self.health == FloorHealth::OneCopyLost {
            to.save(&self.config.dir).map_err(|(path, source)| VerifyError::Io { path, source })?;
        }
        self.floor = Some(to);
        Ok(to)
    }

    /// The first root of the director: kept, or fetched; in both cases the one that the access key names.
    fn director_root(&self, fetch: &mut dyn FnMut(Repo, &str, u64) -> Fetched) -> Result<Vec<u8>, VerifyError> {
        let expected = self.config.director_root;
        let path = self.config.dir.join("director").join(FIRST_ROOT);
        if let Ok(Some(kept)) = durable::read_limited(&path, MAX_ROOT)
            && Sha256Hex::of(&kept) == expected
        {
            return Ok(kept);
        }
        let fetched = fetch(Repo::Director, FIRST_ROOT, MAX_ROOT).map_err(VerifyError::Fetch)?;
        let fetched = fetched.ok_or(VerifyError::NoDirectorRoot)?;
        let is = Sha256Hex::of(&fetched);
        if is != expected {
            return Err(VerifyError::DirectorRoot { expected, is });
        }
        durable::write_atomic(&path, &fetched, 0o600).map_err(|source| VerifyError::Io { path, source })?;
        Ok(fetched)
    }
}

/// Judges one repository; what was verified is kept, and a failure to keep it is an error.
fn look(
    repo: Repo,
    pinned: &[u8],
    store: &DurableStore,
    fetch: &mut dyn FnMut(Repo, &str, u64) -> Fetched,
    now: Timestamp,
) -> Result<Judged, VerifyError> {
    let trust = Trust { pinned, store: store.clone() };
    let judged = judge(trust, &mut |name, limit| fetch(repo, name, limit), now)
        .map_err(|source| VerifyError::Refused { repo, source: Box::new(source) });
    match (judged, store.take_failure()) {
        (Ok(_), Some(failure)) => Err(VerifyError::Store(failure)),
        (judged, _) => judged,
    }
}

fn other_component(name: String, custom: &Signed, wanted: &'static str) -> VerifyError {
    VerifyError::Component { name, component: custom.component().to_owned(), wanted }
}

fn rollback(repo: Repo, sunk: Sunk) -> VerifyError {
    let Sunk { role, floor, offered } = sunk;
    VerifyError::Rollback { repo, role, floor, offered }
}

fn agree(may: &SignedTarget, should: &SignedTarget) -> Result<(), VerifyError> {
    let field = if may.length != should.length {
        "length"
    } else if may.sha256 != should.sha256 {
        "sha256"
    } else if may.custom != should.custom {
        "custom"
    } else {
        return Ok(());
    };
    Err(VerifyError::Differ { name: may.name.clone(), field })
}
