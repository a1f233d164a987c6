//! A host against honest and hostile repositories.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchpost_core::release::SignedRelease;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::*;
use crate::digest::Sha256Hex;
use crate::tuf::testing::{World, envelope, pinned, resigned};
use crate::tuf::{DAY, ISSUED_FIELD, SigningKey};

const NAME: &str = "sensor-2.255.1.0.cab";

fn start() -> Timestamp {
    "2026-01-05T00:00:00Z".parse().unwrap()
}

/// A world with one release on offer, and a host that trusts it.
struct Scene {
    world: World,
    host: tempfile::TempDir,
    /// What a hostile network serves instead; `None`: nothing.
    lies: BTreeMap<(Repo, String), Option<Vec<u8>>>,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new(start());
        world.release(NAME, 1, start());
        Self { world, host: tempfile::tempdir().unwrap(), lies: BTreeMap::new(), now: start() }
    }

    fn config(&self) -> TrustConfig {
        TrustConfig {
            dir: self.host.path().join("trust"),
            image_root: self.world.read(Repo::Image, "1.root.json").unwrap(),
            director_root: self.world.director.root_sha256().unwrap(),
            established: false,
        }
    }

    fn verifier(&self) -> Verifier {
        Verifier::open(self.config()).unwrap()
    }

    fn fetch(&self, repo: Repo, name: &str) -> Option<Vec<u8>> {
        match self.lies.get(&(repo, name.to_owned())) {
            Some(lie) => lie.clone(),
            None => self.world.read(repo, name),
        }
    }

    /// Every process of an updater starts with an empty memory: so does every look here.
    fn look(&self) -> Result<(Verifier, Refreshed), VerifyError> {
        let mut verifier = self.verifier();
        let refreshed = verifier.refresh(&mut |repo, name, _| Ok(self.fetch(repo, name)), self.now)?;
        Ok((verifier, refreshed))
    }

    fn approve(&self, name: &str) -> Result<Approved, VerifyError> {
        self.look()?.0.approve(name, None)
    }

    fn refusal(&self) -> String {
        format!("{:?}", self.approve(NAME).unwrap_err())
    }

    /// All metadata of a repository as it is at this moment, for serving again later.
    fn record(&self, repo: Repo) -> BTreeMap<(Repo, String), Option<Vec<u8>>> {
        let names = fs::read_dir(self.world.metadata(repo)).unwrap().map(|f| f.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.map(|name| ((repo, name.clone()), self.world.read(repo, &name))).collect()
    }

    /// Serves recorded metadata again, and nothing newer.
    fn replay(&mut self, recorded: BTreeMap<(Repo, String), Option<Vec<u8>>>) {
        let repo = recorded.keys().next().unwrap().0;
        let later = self.record(repo).into_keys().map(|key| (key, None));
        self.lies = later.collect();
        self.lies.extend(recorded);
    }

    fn store(&self, repo: Repo, name: &str) -> PathBuf {
        self.host.path().join("trust").join(repo.to_string()).join(name)
    }

    /// What a power cut can do to files that were not fsynced.
    fn tear_store(&self, repo: Repo) {
        for name in ["timestamp.json", "snapshot.json", "targets.json", "root.json"] {
            fs::write(self.store(repo, name), b"").unwrap();
        }
    }

    fn lose_store(&self, repo: Repo) {
        fs::remove_dir_all(self.store(repo, "")).unwrap();
    }

    fn lie(&mut self, repo: Repo, name: &str, bytes: Vec<u8>) {
        self.lies.insert((repo, name.to_owned()), Some(bytes));
    }
}

#[test]
fn what_both_repositories_name_is_approved_and_extracted() {
    let scene = Scene::new();
    let approved = scene.approve(NAME).unwrap();
    assert_eq!((approved.custom.version, approved.custom.release_counter), (Version::new(2, 255, 1, 0), 1));
    let into = tempfile::tempdir().unwrap();
    let info = approved.extract(&scene.world.package(NAME), into.path()).unwrap();
    assert_eq!(info.sha256, approved.sha256);
    assert_eq!(fs::read(into.path().join("rules/canary.yml")).unwrap(), b"title: canary");
    assert!(into.path().join("manifest.json").exists());
    let again = scene.look().unwrap().1;
    assert_eq!(again.floor_health, FloorHealth::Intact);
    // One year of the image repository, seven days of the director's online documents.
    assert_eq!(again.earliest_expiry, start() + DAY * 7);
}

#[test]
fn nothing_is_approved_before_a_refresh_or_after_a_failed_one() {
    let mut scene = Scene::new();
    assert!(matches!(scene.verifier().approve(NAME, None), Err(VerifyError::NotRefreshed)));
    let mut verifier = scene.look().unwrap().0;
    scene.lie(Repo::Director, "timestamp.json", b"garbage".to_vec());
    verifier.refresh(&mut |repo, name, _| Ok(scene.fetch(repo, name)), scene.now).unwrap_err();
    assert!(matches!(verifier.approve(NAME, None), Err(VerifyError::NotRefreshed)));
    let verifier = Scene::new().look().unwrap().0;
    assert!(matches!(verifier.approve("../x.cab", None), Err(VerifyError::Name(_))));
}

#[test]
fn a_server_that_answers_garbage_nothing_or_without_end_is_refused() {
    for name in ["timestamp.json", "3.snapshot.json", "3.targets.json", "2.snapshot.json", "2.targets.json"] {
        for repo in [Repo::Image, Repo::Director] {
            let fresh = Scene::new();
            if fresh.world.read(repo, name).is_none() {
                continue;
            }
            for (lie, is_transport) in [
                (Some(b"<html>".to_vec()), false),
                (Some(Vec::new()), false),
                (Some(b"{\"signed\":{},\"signatures\":[]}".to_vec()), false),
                (Some(vec![b' '; 6_000_000]), true),
                (None, true),
            ] {
                let mut scene = Scene::new();
                scene.lies.insert((repo, name.to_owned()), lie);
                let error = scene.approve(NAME).unwrap_err();
                assert!(matches!(error, VerifyError::Refused { repo: of, .. } if of == repo), "{error:?}");
                assert_eq!(error.is_transport(), is_transport, "{name} {error:?}");
                scene.lies.clear();
                scene.approve(NAME).unwrap();
            }
        }
    }
    let scene = Scene::new();
    let error = scene.verifier().refresh(&mut |_, _, _| Err(FetchError("no route".to_owned())), scene.now).unwrap_err();
    assert!(error.is_transport(), "{error:?}");
}

#[test]
fn another_control_plane_is_not_trusted() {
    let mut scene = Scene::new();
    let other = World::new(start());
    scene.lie(Repo::Director, "1.root.json", other.read(Repo::Director, "1.root.json").unwrap());
    assert!(matches!(scene.approve(NAME), Err(VerifyError::DirectorRoot { .. })));
    scene.lies.insert((Repo::Director, "1.root.json".to_owned()), None);
    assert!(matches!(scene.approve(NAME), Err(VerifyError::NoDirectorRoot)));
    scene.lies.clear();
    scene.approve(NAME).unwrap();
    // From then on the kept root serves; a torn one is fetched again.
    fs::write(scene.store(Repo::Director, "1.root.json"), b"").unwrap();
    scene.approve(NAME).unwrap();
}

#[test]
fn one_repository_is_not_enough_and_they_must_agree() {
    let mut scene = Scene::new();
    let only_image = scene.world.sign_only("sensor-2.255.2.0.cab", 2, start());
    scene.world.direct_only("sensor-2.255.3.0.cab", 3, start());
    for (name, repo) in [("sensor-2.255.2.0.cab", Repo::Director), ("sensor-2.255.3.0.cab", Repo::Image)] {
        let error = scene.approve(name).unwrap_err();
        assert!(matches!(&error, VerifyError::NotNamed { repo: of, .. } if *of == repo), "{error:?}");
    }
    let custom = |counter| SignedRelease { release_counter: counter, ..only_image.custom.release().unwrap().clone() };
    for (change, field) in [
        (crate::tuf::SignedTarget { custom: custom(9).into(), ..only_image.clone() }, "custom"),
        (crate::tuf::SignedTarget { length: only_image.length + 1, ..only_image.clone() }, "length"),
        (crate::tuf::SignedTarget { sha256: Sha256Hex::of(b"other"), ..only_image.clone() }, "sha256"),
    ] {
        let mut scene = Scene::new();
        scene.world.sign_only(&only_image.name, 2, start());
        scene.world.direct(&change, start());
        let error = scene.approve(&only_image.name).unwrap_err();
        assert!(matches!(&error, VerifyError::Differ { field: of, .. } if *of == field), "{error:?}");
    }
}

#[test]
fn other_components_and_too_old_bases_are_refused() {
    let mut scene = Scene::new();
    let based = SignedRelease {
        component: "sensor".to_owned(),
        version: Version::new(2, 255, 1, 0),
        release_counter: 2,
        minimum_base_version: Some(Version::new(2, 254, 0, 0)),
    };
    scene.world.release_as("based.cab", based.clone(), start());
    scene.world.release_as("other.cab", SignedRelease { component: "portal".to_owned(), ..based }, start());
    let (verifier, _) = scene.look().unwrap();
    assert!(matches!(verifier.approve("other.cab", None), Err(VerifyError::Component { .. })));
    let too_old = verifier.approve("based.cab", Some(Version::new(2, 253, 9, 9)));
    assert!(matches!(too_old, Err(VerifyError::Base { .. })));
    verifier.approve("based.cab", Some(Version::new(2, 254, 0, 0))).unwrap();
    // The target says that there is a base; the package inside does not.
    let approved = verifier.approve("based.cab", None).unwrap();
    let into = tempfile::tempdir().unwrap();
    let error = approved.extract(&scene.world.package("based.cab"), into.path()).unwrap_err();
    assert!(matches!(error, VerifyError::Contents(_)), "{error:?}");
}

#[test]
fn a_package_with_another_hash_or_length_is_not_opened() {
    let scene = Scene::new();
    let approved = scene.approve(NAME).unwrap();
    let good = fs::read(scene.world.package(NAME)).unwrap();
    let file = scene.host.path().join("download");
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let truncated = good[..good.len() / 2].to_vec();
    for bytes in [flipped, truncated, Vec::new(), [good.as_slice(), b"x"].concat()] {
        fs::write(&file, bytes).unwrap();
        let into = tempfile::tempdir().unwrap();
        let error = approved.extract(&file, into.path()).unwrap_err();
        assert!(format!("{error:?}").contains("NotApproved"), "{error:?}");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
    }
}

#[test]
fn an_older_release_than_the_committed_one_is_refused() {
    let mut scene = Scene::new();
    scene.world.release("sensor-2.255.2.0.cab", 2, start());
    let (mut verifier, _) = scene.look().unwrap();
    let newer = verifier.approve("sensor-2.255.2.0.cab", None).unwrap();
    verifier.approve(NAME, None).expect("approving alone raises nothing: a host may go back from a release");
    verifier.committed(&newer).unwrap();
    assert!(matches!(verifier.approve(NAME, None), Err(VerifyError::Counter { floor: 2, offered: 1, .. })));
    assert!(matches!(scene.approve(NAME), Err(VerifyError::Counter { .. })), "also in the next process");
    verifier.committed(&scene.approve("sensor-2.255.2.0.cab").unwrap()).unwrap();
}

/// Old but validly signed metadata, against a whole, a torn and a lost metadata store.
#[test]
fn old_metadata_is_refused_whatever_happened_to_the_store() {
    for repo in [Repo::Image, Repo::Director] {
        for damage in [None, Some(Scene::tear_store as fn(&Scene, Repo)), Some(Scene::lose_store)] {
            let mut scene = Scene::new();
            let old = scene.record(repo);
            scene.approve(NAME).unwrap();
            scene.world.release("sensor-2.255.2.0.cab", 2, start());
            scene.approve("sensor-2.255.2.0.cab").unwrap();
            scene.replay(old);
            if let Some(damage) = damage {
                damage(&scene, repo);
            }
            let said = scene.refusal();
            assert!(said.contains("Rollback"), "{repo} {said}");
            assert!(scene.refusal().contains("Rollback"), "and still on the next look");
            scene.lies.clear();
            scene.approve("sensor-2.255.2.0.cab").expect("the honest server is believed again");
        }
    }
}

/// A director that fails takes nothing back of what the image repository has shown.
#[test]
fn the_floor_of_one_repository_rises_without_the_other() {
    let mut scene = Scene::new();
    let old = scene.record(Repo::Image);
    scene.world.release("sensor-2.255.2.0.cab", 2, start());
    scene.lies.insert((Repo::Director, "timestamp.json".to_owned()), None);
    assert!(scene.approve(NAME).unwrap_err().is_transport());
    scene.replay(old);
    scene.tear_store(Repo::Image);
    assert!(scene.refusal().contains("Rollback"));
}

/// A thief of the online key signs a newer timestamp over an older snapshot, or an older targets.
#[test]
fn an_online_key_cannot_lead_back_to_an_older_snapshot_or_targets() {
    for torn in [false, true] {
        let mut scene = Scene::new();
        let old_snapshot = scene.world.read(Repo::Image, "2.snapshot.json").unwrap();
        let old_targets = scene.world.read(Repo::Image, "2.targets.json").unwrap();
        scene.world.release("sensor-2.255.2.0.cab", 2, start());
        scene.approve(NAME).unwrap();
        let online = || scene.world.image_online();
        let stamp = resigned(
            &scene.world.read(Repo::Image, "timestamp.json").unwrap(),
            |s| {
                s["version"] = json!(99);
                s["meta"]["snapshot.json"] = pinned(2, &old_snapshot);
            },
            &[&online()],
        );
        let snapshot = resigned(
            &scene.world.read(Repo::Image, "3.snapshot.json").unwrap(),
            |s| {
                s["version"] = json!(4);
                s["meta"]["targets.json"] = pinned(2, &old_targets);
            },
            &[&online()],
        );
        let over_targets = resigned(&stamp, |s| s["meta"]["snapshot.json"] = pinned(4, &snapshot), &[&online()]);
        for lies in [
            vec![("timestamp.json", stamp.clone())],
            vec![("timestamp.json", over_targets.clone()), ("4.snapshot.json", snapshot.clone())],
        ] {
            scene.lies.clear();
            for (name, bytes) in lies {
                scene.lie(Repo::Image, name, bytes);
            }
            if torn {
                scene.tear_store(Repo::Image);
            }
            let said = scene.refusal();
            assert!(said.contains("Rollback"), "{said}");
        }
    }
}

/// Finding 2 of the design: after a key rotation, rollback protection must not be gone for ever.
#[test]
fn old_metadata_is_refused_after_the_online_key_was_rotated() {
    for damage in [None, Some(Scene::tear_store as fn(&Scene, Repo)), Some(Scene::lose_store)] {
        let mut scene = Scene::new();
        scene.approve(NAME).unwrap();
        let before_rotation = scene.record(Repo::Image);
        scene.world.rotate_image_online(start());
        scene.approve(NAME).unwrap();
        let after_rotation = scene.record(Repo::Image);
        scene.world.release("sensor-2.255.2.0.cab", 2, start());
        scene.approve("sensor-2.255.2.0.cab").unwrap();
        for old in [before_rotation, after_rotation] {
            scene.replay(old);
            if let Some(damage) = damage {
                damage(&scene, Repo::Image);
            }
            let said = scene.refusal();
            assert!(said.contains("Rollback") || said.contains("ThresholdNotMet"), "{said}");
        }
    }
}

#[test]
fn a_stolen_online_keys_huge_version_is_undone_by_a_rotated_key() {
    let mut scene = Scene::new();
    scene.approve(NAME).unwrap();
    let stamp = scene.world.read(Repo::Image, "timestamp.json").unwrap();
    let far = resigned(&stamp, |s| s["version"] = json!(u64::MAX - 1), &[&scene.world.image_online()]);
    scene.lie(Repo::Image, "timestamp.json", far);
    scene.approve(NAME).unwrap();
    scene.lies.clear();
    assert!(scene.refusal().contains("Rollback"), "frozen at the thief's version");
    scene.world.rotate_image_online(start());
    scene.approve(NAME).unwrap();
    scene.approve(NAME).unwrap();
}

#[test]
fn too_few_or_no_signatures_are_refused() {
    // The thief has the online key, so pins and versions are right; the author's two signatures are what is missing.
    let forged = |signers: &dyn Fn(&World) -> Vec<SigningKey>| {
        let mut scene = Scene::new();
        let signers = signers(&scene.world);
        let signers: Vec<&SigningKey> = signers.iter().collect();
        let online = scene.world.image_online();
        let targets = resigned(
            &scene.world.read(Repo::Image, "2.targets.json").unwrap(),
            |s| {
                s["version"] = json!(3);
                s["targets"][NAME]["length"] = json!(1);
            },
            &signers,
        );
        let snapshot = resigned(
            &scene.world.read(Repo::Image, "2.snapshot.json").unwrap(),
            |s| {
                s["version"] = json!(3);
                s["meta"]["targets.json"] = pinned(3, &targets);
            },
            &[&online],
        );
        let stamp = resigned(
            &scene.world.read(Repo::Image, "timestamp.json").unwrap(),
            |s| {
                s["version"] = json!(3);
                s["meta"]["snapshot.json"] = pinned(3, &snapshot);
            },
            &[&online],
        );
        for (name, bytes) in [("3.targets.json", targets), ("3.snapshot.json", snapshot), ("timestamp.json", stamp)] {
            scene.lie(Repo::Image, name, bytes);
        }
        scene.refusal()
    };
    let short = |said: String, found: usize| {
        assert!(said.contains("ThresholdNotMet") && said.contains(&format!("found: {found}")), "{said}");
    };
    short(forged(&|_| Vec::new()), 0);
    short(forged(&|world| vec![world.targets_key(0)]), 1);
    short(forged(&|world| vec![world.targets_key(0), SigningKey::generate().unwrap()]), 1);
    short(forged(&|world| vec![world.image_online()]), 0);
    assert!(forged(&|world| vec![world.targets_key(0), world.targets_key(0)]).contains("DuplicateSignature"));
    assert!(forged(&|world| vec![world.targets_key(0), world.targets_key(1)]).contains("Differ"), "signed in earnest");
}

#[test]
fn a_root_with_threshold_zero_lets_nothing_through() {
    let mut scene = Scene::new();
    let root = resigned(
        &scene.world.read(Repo::Image, "1.root.json").unwrap(),
        |s| {
            s["version"] = json!(2);
            s["roles"]["targets"]["threshold"] = json!(0);
        },
        &scene.world.root_keys().iter().collect::<Vec<_>>(),
    );
    scene.lie(Repo::Image, "2.root.json", root);
    assert!(scene.refusal().contains("threshold 0"));
    let scene = Scene::new();
    let lowered = resigned(
        &scene.world.read(Repo::Image, "1.root.json").unwrap(),
        |s| {
            s["version"] = json!(2);
            s["roles"]["root"]["threshold"] = json!(1);
        },
        &[&scene.world.root_keys()[0]],
    );
    let mut scene = scene;
    scene.lie(Repo::Image, "2.root.json", lowered);
    assert!(scene.refusal().contains("ThresholdNotMet"), "a root cannot lower the threshold of the one before");
}

#[test]
fn expired_metadata_stops_updates_until_it_is_signed_anew() {
    let mut scene = Scene::new();
    scene.approve(NAME).unwrap();
    scene.now = start() + DAY * 7;
    scene.approve(NAME).expect("good to the last second");
    scene.now = scene.now + Duration::from_secs(1);
    let error = scene.approve(NAME).unwrap_err();
    assert!(error.is_expiry() && !error.is_transport(), "{error:?}");
    scene.world.director.resign(scene.now).unwrap();
    scene.approve(NAME).unwrap();
    scene.now = start() + DAY * 366;
    assert!(scene.approve(NAME).unwrap_err().is_expiry());
}

/// Decision 27: neither a host's clock nor an old server time makes expired metadata good again.
#[test]
fn time_never_runs_behind_the_newest_signature() {
    let mut scene = Scene::new();
    let later = start() + DAY * 30;
    scene.world.director.resign(later).unwrap();
    scene.now = later;
    scene.approve(NAME).unwrap();
    scene.now = Timestamp::from_millis(0);
    assert_eq!(scene.look().unwrap().1.floor.time, later);
    let stale = resigned(
        &scene.world.read(Repo::Director, "timestamp.json").unwrap(),
        |s| {
            s["version"] = json!(99);
            s["expires"] = json!("2026-01-12T00:00:00Z");
            s[ISSUED_FIELD] = json!("2026-01-05T00:00:00Z");
        },
        &[&scene.world.director_online()],
    );
    let dated_back =
        resigned(&stale, |s| s["expires"] = json!("2026-03-05T00:00:00Z"), &[&scene.world.director_online()]);
    scene.lie(Repo::Director, "timestamp.json", stale);
    assert!(scene.approve(NAME).unwrap_err().is_expiry());
    scene.lie(Repo::Director, "timestamp.json", dated_back);
    assert_eq!(scene.look().unwrap().1.floor.time, later, "an earlier signature does not turn time back");
}

#[test]
fn a_lost_floor_is_told_and_stops_updates_until_an_operator_decides() {
    let scene = Scene::new();
    let slot = |n| scene.host.path().join(format!("trust/floor.{n}"));
    scene.approve(NAME).unwrap();
    fs::write(slot(0), b"torn").unwrap();
    assert_eq!(scene.verifier().floor_health(), FloorHealth::OneCopyLost);
    let (_, refreshed) = scene.look().unwrap();
    assert_eq!(refreshed.floor_health, FloorHealth::OneCopyLost);
    assert_eq!(scene.verifier().floor_health(), FloorHealth::Intact, "mended by the refresh");
    for n in [0, 1] {
        fs::remove_file(slot(n)).unwrap();
    }
    let mut verifier = scene.verifier();
    assert_eq!(verifier.floor_health(), FloorHealth::Lost);
    assert!(matches!(scene.approve(NAME), Err(VerifyError::FloorLost(_))));
    verifier.start_anew().unwrap();
    scene.approve(NAME).unwrap();
    fs::remove_dir_all(scene.host.path().join("trust")).unwrap();
    let wiped = Verifier::open(TrustConfig { established: true, ..scene.config() }).unwrap();
    assert_eq!(wiped.floor_health(), FloorHealth::Lost, "the host knows that it has trusted before");
}

#[test]
fn metadata_that_cannot_be_kept_is_an_error() {
    let scene = Scene::new();
    let mut verifier = scene.verifier();
    scene.lose_store(Repo::Image);
    let error = verifier.refresh(&mut |repo, name, _| Ok(scene.fetch(repo, name)), scene.now).unwrap_err();
    assert!(matches!(error, VerifyError::Store(_)), "{error:?}");
    assert!(matches!(verifier.approve(NAME, None), Err(VerifyError::NotRefreshed)));
}

/// Every single torn file of the trust folder, at every look: never an older state, never a panic.
#[test]
fn no_torn_file_makes_a_host_believe_an_older_state() {
    let mut scene = Scene::new();
    let old = scene.record(Repo::Image);
    scene.approve(NAME).unwrap();
    scene.world.release("sensor-2.255.2.0.cab", 2, start());
    scene.approve(NAME).unwrap();
    let trust = scene.host.path().join("trust");
    let files: Vec<PathBuf> = ["", "image", "image/root_history", "director", "director/root_history"]
        .iter()
        .flat_map(|sub| fs::read_dir(trust.join(sub)).unwrap())
        .map(|found| found.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert!(files.len() >= 11, "{files:?}");
    scene.replay(old);
    for file in files {
        let good = fs::read(&file).unwrap();
        for torn in [Vec::new(), good[..good.len() / 2].to_vec(), b"{}".to_vec(), vec![0; good.len()]] {
            fs::write(&file, torn).unwrap();
            assert!(scene.refusal().contains("Rollback"), "{}", file.display());
        }
        fs::write(&file, good).unwrap();
    }
}

#[test]
fn an_honest_envelope_survives_the_test_tools() {
    let scene = Scene::new();
    let stamp = scene.world.read(Repo::Image, "timestamp.json").unwrap();
    let again = resigned(&stamp, |_| {}, &[&scene.world.image_online()]);
    let (was, is): (Value, Value) = (envelope(&stamp), envelope(&again));
    assert_eq!(was, is);
}
