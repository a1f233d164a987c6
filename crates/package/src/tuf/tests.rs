//! Repositories as others see them: an independent client, a second run, a folder that somebody wrote to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use watchpost_core::time::Timestamp;

use super::testing::{World, envelope, python_tuf, resigned};
use super::*;
use crate::digest::Sha256Hex;
use crate::trust::Repo;

const NAME: &str = "sensor-2.255.1.0.cab";

fn start() -> Timestamp {
    "2026-01-05T00:00:00Z".parse().unwrap()
}

/// Far enough ahead that an independent client, which reads the machine's clock, finds nothing expired.
fn far() -> Timestamp {
    "2120-01-05T00:00:00Z".parse().unwrap()
}

#[test]
fn the_documents_say_what_the_design_says() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    let signed = |repo, name| envelope(&world.read(repo, name).unwrap())["signed"].clone();
    let root = signed(Repo::Image, "1.root.json");
    assert_eq!((&root["spec_version"], &root["consistent_snapshot"]), (&json!("1.0.31"), &json!(true)));
    assert_eq!(root["expires"], json!("2027-01-05T00:00:00Z"));
    for (repo, role, keys, threshold) in [
        (Repo::Image, "root", 5, 3),
        (Repo::Image, "targets", 3, 2),
        (Repo::Image, "snapshot", 1, 1),
        (Repo::Image, "timestamp", 1, 1),
        (Repo::Director, "root", 3, 2),
        (Repo::Director, "targets", 1, 1),
        (Repo::Director, "snapshot", 1, 1),
        (Repo::Director, "timestamp", 1, 1),
    ] {
        let found = signed(repo, "1.root.json")["roles"][role].clone();
        assert_eq!(found["keyids"].as_array().unwrap().len(), keys, "{repo} {role}");
        assert_eq!(found["threshold"], json!(threshold), "{repo} {role}");
    }
    assert_eq!(signed(Repo::Image, "timestamp.json")["expires"], json!("2027-01-05T00:00:00Z"));
    assert_eq!(signed(Repo::Director, "timestamp.json")["expires"], json!("2026-01-12T00:00:00Z"));
    assert_eq!(signed(Repo::Director, "2.snapshot.json")["expires"], json!("2026-01-12T00:00:00Z"));
    assert_eq!(signed(Repo::Director, "2.targets.json")["expires"], json!("2027-01-05T00:00:00Z"));
    let custom = signed(Repo::Director, "2.targets.json")["targets"][NAME]["custom"].clone();
    let expected =
        json!({"component": "sensor", "version": "2.255.1.0", "releaseCounter": 1, "minimumBaseVersion": null});
    assert_eq!(custom, expected);
}

/// `target/venv` is made by `cargo xtask setup`.
#[test]
fn python_tuf_verifies_both_repositories_and_downloads_the_package() {
    let mut world = World::new(far());
    let target = world.release(NAME, 1, far());
    world.rotate_image_online(far());
    world.release("sensor-2.255.2.0.cab", 2, far());
    world.director.resign(far()).unwrap();
    for (repo, root) in [(Repo::Image, 2), (Repo::Director, 1)] {
        let said = python_tuf(&world.folder(repo)).unwrap();
        assert_eq!(said["versions"]["root"], json!(root), "{said}");
        assert_eq!(said["targets"].as_array().unwrap().len(), 2, "{said}");
        assert_eq!(said["targets"][0]["sha256"], json!(target.sha256), "{said}");
    }
    let place = world.folder(Repo::Image).join("targets").join(target_file(NAME, &target.sha256));
    fs::write(place, "other bytes").unwrap();
    assert!(python_tuf(&world.folder(Repo::Image)).unwrap_err().contains("LengthOrHashMismatch"));
}

#[test]
fn an_author_signs_builds_upon_it_and_never_replaces_a_release() {
    let world = World::new(start());
    let (keys, repository) = (world.keys(), world.folder(Repo::Image));
    assert!(matches!(ImageAuthor::make_keys(&keys), Err(RepositoryError::Exists(_))));
    assert!(matches!(ImageAuthor::create(&keys, &repository, start()), Err(RepositoryError::Exists(_))));
    for name in ["online.pem", "root-5.pem", "targets-3.pem"] {
        assert_eq!(fs::metadata(keys.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let target = world.pack(NAME, 1);
    let mut author = ImageAuthor::open(&keys, &repository).unwrap();
    assert_eq!(author.sign(&world.package(NAME), start()).unwrap(), target);
    let stamp = world.read(Repo::Image, "timestamp.json");
    assert_eq!(author.sign(&world.package(NAME), start()).unwrap(), target);
    assert_eq!(world.read(Repo::Image, "timestamp.json"), stamp, "signing again changes nothing");
    world.pack("sensor-2.255.2.0.cab", 7);
    let mut author = ImageAuthor::open(&keys, &repository).unwrap();
    let second = author.sign(&world.package("sensor-2.255.2.0.cab"), start()).unwrap();
    assert_eq!(second.custom.release().unwrap().release_counter, 2, "the author counts, not the package");
    world.pack(NAME, 5);
    let error = author.sign(&world.package(NAME), start()).unwrap_err();
    assert!(matches!(error, RepositoryError::Taken(_)), "{error:?}");
    fs::write(world.package("rubbish.cab"), "MSCF").unwrap();
    assert!(matches!(author.sign(&world.package("rubbish.cab"), start()), Err(RepositoryError::Package(_))));
    assert!(matches!(author.sign(&world.package("UPPER.cab"), start()), Err(RepositoryError::Name(_))));
    assert_eq!(author.targets().len(), 2);
}

#[test]
fn signing_needs_two_of_the_three_targets_keys_and_no_root_key() {
    let world = World::new(start());
    world.pack(NAME, 1);
    for name in ["root-1.pem", "root-2.pem", "root-3.pem", "root-4.pem", "root-5.pem", "targets-2.pem"] {
        fs::remove_file(world.keys().join(name)).unwrap();
    }
    let mut author = ImageAuthor::open(&world.keys(), &world.folder(Repo::Image)).unwrap();
    author.sign(&world.package(NAME), start()).unwrap();
    fs::remove_file(world.keys().join("targets-1.pem")).unwrap();
    world.pack("sensor-2.255.2.0.cab", 2);
    let mut author = ImageAuthor::open(&world.keys(), &world.folder(Repo::Image)).unwrap();
    let error = author.sign(&world.package("sensor-2.255.2.0.cab"), start()).unwrap_err();
    assert!(matches!(error, RepositoryError::TooFewKeys { role: "targets", threshold: 2, have: 1 }), "{error:?}");
    assert_eq!(author.targets().len(), 1, "what was not signed is not there");
}

#[test]
fn nobody_has_a_target_signed_by_writing_to_the_repository_folder() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    let (keys, repository) = (world.keys(), world.folder(Repo::Image));
    let path = world.metadata(Repo::Image).join("2.targets.json");
    let good = fs::read(&path).unwrap();
    let forged = resigned(&good, |s| s["targets"]["evil.cab"] = s["targets"][NAME].clone(), &[]);
    fs::write(&path, forged).unwrap();
    assert!(matches!(ImageAuthor::open(&keys, &repository), Err(RepositoryError::Refused { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(ImageAuthor::open(&keys, &repository), Err(RepositoryError::Absent(_))));
    fs::write(&path, good).unwrap();
    // Another author's whole repository is not this one's.
    let other = World::new(start());
    let error = ImageAuthor::open(&keys, &other.folder(Repo::Image)).unwrap_err();
    assert!(matches!(error, RepositoryError::Refused { .. }), "{error:?}");
    ImageAuthor::open(&keys, &repository).unwrap();
}

#[test]
fn a_director_is_kept_fresh_and_survives_a_restart() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    assert!(!world.director.is_resign_due(start() + DAY));
    let later = start() + DAY + DAY / 24;
    assert!(world.director.is_resign_due(later));
    world.director.resign(later).unwrap();
    assert!(!world.director.is_resign_due(later));
    assert_eq!(world.director.earliest_expiry(), later + DAY * 7);
    let stamp = envelope(&world.read(Repo::Director, "timestamp.json").unwrap())["signed"].clone();
    assert_eq!(stamp["version"], json!(3), "the empty one, the release, this one");
    assert_eq!(stamp["meta"]["snapshot.json"]["version"], json!(3));
    let targets = || world.metadata(Repo::Director).join("3.targets.json");
    assert!(!targets().exists(), "a year is left of the targets");
    let again = Director::open(&world.folder(Repo::Director), world.director_online()).unwrap();
    assert_eq!(again.targets(), world.director.targets());
    assert_eq!(again.root_sha256().unwrap(), Sha256Hex::of(&world.read(Repo::Director, "1.root.json").unwrap()));
    let mut again = again;
    again.resign(start() + DAY * 300).unwrap();
    assert!(targets().exists(), "65 days before their end the targets are signed anew");
    assert_eq!(again.targets().len(), 1);
}

#[test]
fn a_repository_is_whole_after_a_kill_between_any_two_files() {
    let mut world = World::new(start());
    world.release(NAME, 1, start());
    let folder = world.folder(Repo::Director);
    let before = copy_of(&folder);
    world.release("sensor-2.255.2.0.cab", 2, start());
    let written = ["3.targets.json", "3.snapshot.json", "timestamp.json"];
    for done in 0..=written.len() {
        let state = copy_of(before.path());
        for name in &written[..done] {
            fs::copy(folder.join("metadata").join(name), state.path().join("metadata").join(name)).unwrap();
        }
        let mut director = Director::open(state.path(), world.director_online()).unwrap();
        let offered = director.targets().len();
        assert_eq!(offered, if done == written.len() { 2 } else { 1 }, "after {done} files");
        let target = world.pack("sensor-2.255.2.0.cab", 2);
        director.add_target(&target, &world.package(&target.name), start()).unwrap();
        assert_eq!(Director::open(state.path(), world.director_online()).unwrap().targets().len(), 2);
    }
}

fn copy_of(folder: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for sub in ["metadata", "targets"] {
        fs::create_dir(copy.path().join(sub)).unwrap();
        for file in fs::read_dir(folder.join(sub)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(sub).join(file.file_name())).unwrap();
        }
    }
    copy
}
