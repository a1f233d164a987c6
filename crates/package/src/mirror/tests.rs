//! A control plane against careless and hostile publishers.

use std::fs;

use serde_json::json;

use super::*;
use crate::trust::Repo;
use crate::tuf::DAY;
use crate::tuf::testing::{World, python_tuf, resigned};

type Files = BTreeMap<String, Vec<u8>>;

const NAME: &str = "sensor-2.255.1.0.cab";
const NEXT: &str = "sensor-2.255.2.0.cab";

fn start() -> Timestamp {
    "2120-01-05T00:00:00Z".parse().unwrap()
}

/// The metadata folder of the author as a publication carries it.
fn all_files(world: &World) -> BTreeMap<String, Vec<u8>> {
    let found = fs::read_dir(world.metadata(Repo::Image)).unwrap().map(|file| file.unwrap());
    found.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn mirror(world: &World) -> (tempfile::TempDir, Mirror) {
    let dir = tempfile::tempdir().unwrap();
    let mirror = Mirror::open(dir.path(), world.read(Repo::Image, "1.root.json").unwrap()).unwrap();
    (dir, mirror)
}

#[test]
fn a_publication_is_taken_in_whole_and_taking_it_in_again_changes_nothing() {
    let mut world = World::new(start());
    let target = world.release(NAME, 1, start());
    let (dir, mirror) = mirror(&world);
    let published = mirror.check(&all_files(&world), NAME, start()).unwrap();
    assert_eq!(published.target, target);
    assert_eq!(published.earliest_expiry, start() + DAY * 365);
    let names: Vec<&str> = published.files().keys().map(String::as_str).collect();
    assert_eq!(names, ["1.root.json", "2.snapshot.json", "2.targets.json", "timestamp.json"]);
    for _ in 0..2 {
        let place = mirror.install(&published, &world.package(NAME)).unwrap();
        assert_eq!(place, mirror.package(&target));
        assert_eq!(fs::read(place).unwrap(), fs::read(world.package(NAME)).unwrap());
        mirror.check(&all_files(&world), NAME, start()).unwrap();
    }
    // Installing from the very place is the last step again after a crash.
    mirror.install(&published, &mirror.package(&target)).unwrap();
    assert_eq!(python_tuf(dir.path()).unwrap()["targets"][0]["sha256"], json!(target.sha256));
    world.rotate_image_online(start());
    world.release(NEXT, 2, start());
    let next = verify_folder(&world.folder(Repo::Image), NEXT, start()).unwrap();
    mirror.install(&mirror.check(next.files(), NEXT, start()).unwrap(), &world.package(NEXT)).unwrap();
    assert_eq!(python_tuf(dir.path()).unwrap()["targets"].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_pinned_author_did_not_sign_is_refused() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    let (_dir, mirror) = mirror(&world);
    let check = |change: &dyn Fn(&mut Files)| {
        let mut files = all_files(&world);
        change(&mut files);
        format!("{:?}", mirror.check(&files, NAME, start()).map(|_| ()).unwrap_err())
    };
    let mut other = World::new(start());
    other.release(NAME, 1, start());
    assert!(check(&|files| *files = all_files(&other)).starts_with("Refused(ThresholdNotMet"));
    assert!(check(&|files| drop(files.remove("timestamp.json"))).starts_with("Refused(Transport"));
    assert!(check(&|files| drop(files.insert("2.targets.json".into(), b"{}".to_vec()))).starts_with("Refused"));
    assert!(check(&|files| drop(files.insert("../x".into(), Vec::new()))).starts_with("FileName"));
    assert!(check(&|files| drop(files.insert("2.evil.json".into(), Vec::new()))).starts_with("FileName"));
    assert!(matches!(mirror.check(&all_files(&world), "none.cab", start()), Err(MirrorError::NotNamed(_))));
    assert!(matches!(mirror.check(&all_files(&world), "../x.cab", start()), Err(MirrorError::NotNamed(_))));
    let late = mirror.check(&all_files(&world), NAME, start() + DAY * 366).unwrap_err();
    assert!(format!("{late:?}").starts_with("Refused(Expired"));
    let published = mirror.check(&all_files(&world), NAME, start()).unwrap();
    let wrong = world.host_file("wrong.cab", b"other bytes");
    assert!(matches!(mirror.install(&published, &wrong), Err(MirrorError::Package { .. })));
}

#[test]
fn an_older_state_or_one_without_a_published_release_is_refused() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    let old = all_files(&world);
    let (_dir, mirror) = mirror(&world);
    world.release(NEXT, 2, start());
    mirror.install(&mirror.check(&all_files(&world), NEXT, start()).unwrap(), &world.package(NEXT)).unwrap();
    let error = mirror.check(&old, NAME, start()).unwrap_err();
    assert!(matches!(error, MirrorError::Rollback { role: "timestamp", floor: 3, offered: 2 }), "{error:?}");
    // The same author, signing in earnest, drops a release that is out there.
    let keys = [world.targets_key(0), world.targets_key(1)];
    let online = world.image_online();
    let newest = |name| world.read(Repo::Image, name).unwrap();
    let targets = resigned(
        &newest("3.targets.json"),
        |s| {
            s["version"] = json!(4);
            s["targets"].as_object_mut().unwrap().remove(NAME);
        },
        &[&keys[0], &keys[1]],
    );
    let pin = crate::tuf::testing::pinned;
    let snapshot = resigned(
        &newest("3.snapshot.json"),
        |s| {
            s["version"] = json!(4);
            s["meta"]["targets.json"] = pin(4, &targets);
        },
        &[&online],
    );
    let stamp = resigned(
        &newest("timestamp.json"),
        |s| {
            s["version"] = json!(4);
            s["meta"]["snapshot.json"] = pin(4, &snapshot);
        },
        &[&online],
    );
    let mut files = all_files(&world);
    files.extend([
        ("4.targets.json".to_owned(), targets),
        ("4.snapshot.json".to_owned(), snapshot),
        ("timestamp.json".to_owned(), stamp),
    ]);
    let error = mirror.check(&files, NEXT, start()).unwrap_err();
    assert!(matches!(&error, MirrorError::Vanished(name) if name == NAME), "{error:?}");
}
