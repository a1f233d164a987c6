//! Ceremonies rehearsed: the root changes hands, and a host that starts from the first one follows, however long it was away.

use std::fs;
use std::path::Path;

use serde_json::json;
use watchpost_core::time::Timestamp;

use super::testing::{World, envelope, python_tuf};
use super::{DAY, ImageAuthor, RepositoryError, SigningKey, rotate_director};
use crate::digest::Sha256Hex;
use crate::trust::{FetchError, Repo, TrustConfig, Verifier, VerifyError};

const A: &str = "sensor-2.255.1.0.cab";
const B: &str = "sensor-2.255.2.0.cab";
const C: &str = "sensor-2.255.3.0.cab";

fn start() -> Timestamp {
    "2026-01-05T00:00:00Z".parse().unwrap()
}

/// A host of this world that looks at `now`; `trust` is its folder.
fn look(world: &World, trust: &Path, name: &str, now: Timestamp) -> Result<(), VerifyError> {
    let first = |repo| world.read(repo, "1.root.json").unwrap();
    let config = TrustConfig {
        dir: trust.to_owned(),
        image_root: first(Repo::Image),
        director_root: Sha256Hex::of(&first(Repo::Director)),
        established: false,
    };
    let mut verifier = Verifier::open(config).unwrap();
    let mut fetch = |repo: Repo, file: &str, _: u64| Ok::<_, FetchError>(world.read(repo, file));
    verifier.refresh(&mut fetch, now)?;
    verifier.approve(name, None).map(drop)
}

fn version(world: &World, repo: Repo) -> u64 {
    (1..).take_while(|n| world.read(repo, &format!("{n}.root.json")).is_some()).last().unwrap()
}

#[test]
fn a_host_follows_the_roots_of_both_repositories_also_after_it_was_away_over_two_rotations() {
    let mut world = World::new(start());
    let (here, away, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world.release(A, 1, start());
    for host in [&here, &away] {
        look(&world, host.path(), A, start()).unwrap();
    }
    // 200 days later the roots change hands: of three of five keys, which takes the other two and one that goes.
    let later = start() + DAY * 200;
    world.rotate_image(&["root-1", "root-2", "targets-2", "online"], later);
    world.rotate_director(&["director-root-3", "director-online"], later);
    world.release(B, 2, later);
    look(&world, here.path(), B, later).unwrap();
    // And again, long after the first roots have expired.
    let last = start() + DAY * 600;
    world.director.resign(last).unwrap();
    assert!(look(&world, here.path(), B, last).unwrap_err().is_expiry(), "what was signed on day 200 ended on day 565");
    world.rotate_image(&["root-3", "root-4", "root-5", "targets-1", "targets-3", "online"], last);
    world.rotate_director(&["director-root-1", "director-root-2", "director-online"], last);
    world.release(C, 3, last);
    for host in [&here, &away, &new] {
        look(&world, host.path(), C, last).unwrap();
        look(&world, host.path(), C, last + DAY * 6).unwrap();
    }
    assert_eq!((version(&world, Repo::Image), version(&world, Repo::Director)), (3, 3));
}

#[test]
fn without_a_key_to_replace_the_root_gets_another_year_and_nothing_else_changes() {
    let world = World::new(start());
    let later = start() + DAY * 300;
    let stamp = world.read(Repo::Image, "timestamp.json");
    let rotated = ImageAuthor::rotate_root(&world.keys(), &world.folder(Repo::Image), &[], later).unwrap();
    assert_eq!((rotated.version, rotated.expires), (2, later + DAY * 365));
    assert_eq!((rotated.replaced.len(), rotated.retired.len()), (0, 0));
    assert_eq!(world.read(Repo::Image, "timestamp.json"), stamp);
    let signed = |name: &str| envelope(&world.read(Repo::Image, name).unwrap())["signed"].clone();
    let (mut first, mut second) = (signed("1.root.json"), signed("2.root.json"));
    for root in [&mut first, &mut second] {
        (root["version"], root["expires"]) = (json!(0), json!(0));
    }
    assert_eq!(first, second);
}

#[test]
fn too_few_keys_change_nothing_and_a_name_nobody_knows_is_told() {
    let world = World::new(start());
    let rotate = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        ImageAuthor::rotate_root(&world.keys(), &world.folder(Repo::Image), &names, start())
    };
    assert!(matches!(rotate(&["root-6"]), Err(RepositoryError::NoKey { .. })));
    for gone in ["root-1", "root-2", "root-3"] {
        fs::remove_file(world.keys().join(format!("{gone}.pem"))).unwrap();
    }
    let files = || fs::read_dir(world.keys()).unwrap().count();
    let before = files();
    let error = rotate(&["root-1"]).unwrap_err();
    assert!(matches!(error, RepositoryError::TooFewKeys { role: "root", threshold: 3, have: 2 }), "{error:?}");
    assert_eq!((files(), version(&world, Repo::Image)), (before, 1));
    // Keys of targets that lie elsewhere are no matter as long as they stay what they are.
    let world = World::new(start());
    fs::remove_file(world.keys().join("targets-1.pem")).unwrap();
    fs::remove_file(world.keys().join("targets-2.pem")).unwrap();
    let rotate =
        |name: &str| ImageAuthor::rotate_root(&world.keys(), &world.folder(Repo::Image), &[name.to_owned()], start());
    assert_eq!(rotate("root-1").unwrap().retired.len(), 1);
    assert_eq!(rotate("online").unwrap().version, 3);
    assert!(matches!(rotate("targets-3"), Err(RepositoryError::TooFewKeys { role: "targets", .. })));
    assert_eq!(version(&world, Repo::Image), 3);
}

/// A ceremony is cut off after each of the things it does, done again, and ends as if it had not been.
#[test]
fn a_rotation_that_was_cut_off_anywhere_is_finished_by_doing_it_again() {
    let mut world = World::new(start());
    world.release(A, 1, start());
    let (folder, keys) = (world.folder(Repo::Image), world.keys());
    let before = (copy_of(&folder), copy_of(&keys));
    let names: Vec<String> = ["root-2", "targets-1", "online"].map(str::to_owned).to_vec();
    let whole = ImageAuthor::rotate_root(&keys, &folder, &names, start()).unwrap();
    assert_eq!((whole.version, whole.retired.len()), (2, 3));
    let next = |name: &str| format!("{name}.next.pem");
    let metadata = ["2.root.json", "3.targets.json", "3.snapshot.json", "timestamp.json"];
    // What is on the disk after so many steps: the keys that wait, the documents one by one, the keys in their places.
    for step in 0..=names.len() + metadata.len() + 2 * names.len() {
        let (state, state_keys) = (copy_of(before.0.path()), copy_of(before.1.path()));
        for name in names.iter().take(step) {
            fs::copy(keys.join(format!("{name}.pem")), state_keys.path().join(next(name))).unwrap();
        }
        for name in metadata.iter().take(step.saturating_sub(names.len())) {
            fs::copy(folder.join("metadata").join(name), state.path().join("metadata").join(name)).unwrap();
        }
        for half in 0..step.saturating_sub(names.len() + metadata.len()) {
            let name = &names[half / 2];
            let place = state_keys.path().join(format!("{name}.pem"));
            let aside = state_keys.path().join(format!("{name}.before-root-2.pem"));
            let moved = if half % 2 == 0 { (place, aside) } else { (state_keys.path().join(next(name)), place) };
            fs::rename(moved.0, moved.1).unwrap();
        }
        let is_whole = step == names.len() + metadata.len() + 2 * names.len();
        if !is_whole && step > 0 {
            let error = ImageAuthor::open(state_keys.path(), state.path()).unwrap_err();
            assert!(matches!(error, RepositoryError::CutOff(_)), "after {step} steps: {error:?}");
            ImageAuthor::rotate_root(state_keys.path(), state.path(), &names, start()).unwrap();
        }
        let mut author = ImageAuthor::open(state_keys.path(), state.path()).unwrap();
        author.resign(start()).unwrap();
        assert_eq!(author.targets().len(), 1, "after {step} steps");
        let root = fs::read_dir(state.path().join("metadata")).unwrap();
        let roots = root.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(".root.json")).count();
        assert_eq!(roots, if step == 0 { 1 } else { 2 }, "after {step} steps");
    }
}

#[test]
fn python_tuf_follows_both_ceremonies() {
    let far: Timestamp = "2120-01-05T00:00:00Z".parse().unwrap();
    let mut world = World::new(far);
    world.release(A, 1, far);
    world.rotate_image(&["root-1", "targets-1", "online"], far);
    world.rotate_image(&["root-2", "root-3"], far);
    world.rotate_director(&["director-root-1", "director-online"], far);
    for (repo, root) in [(Repo::Image, 3), (Repo::Director, 2)] {
        assert_eq!(python_tuf(&world.folder(repo)).unwrap()["versions"]["root"], json!(root));
    }
}

#[test]
fn the_keys_of_the_directors_root_may_lie_anywhere() {
    let world = World::new(start());
    let elsewhere = tempfile::tempdir().unwrap();
    let nothing: &[String] = &[];
    let rotate = |keys: &Path| {
        rotate_director(&world.folder(Repo::Director), keys, world.keys().parent().unwrap(), nothing, start())
    };
    assert!(matches!(rotate(elsewhere.path()), Err(RepositoryError::TooFewKeys { role: "root", .. })));
    for number in [1, 3] {
        let name = format!("director-root-{number}.pem");
        let from = world.keys().parent().unwrap().join("director-keys").join(&name);
        SigningKey::load(&from).unwrap().save(&elsewhere.path().join(&name)).unwrap();
    }
    assert_eq!(rotate(elsewhere.path()).unwrap().version, 2);
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut open = vec![(folder.to_owned(), copy.path().to_owned())];
    while let Some((from, to)) = open.pop() {
        for found in fs::read_dir(&from).unwrap().map(Result::unwrap) {
            let place = to.join(found.file_name());
            if found.file_type().unwrap().is_dir() {
                fs::create_dir(&place).unwrap();
                open.push((found.path(), place));
            } else {
                fs::copy(found.path(), place).unwrap();
            }
        }
    }
    copy
}
