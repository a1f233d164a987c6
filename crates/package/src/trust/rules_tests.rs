//! Rule packages against honest and hostile repositories: never a sensor, never older than what was committed.

use std::fs;
use std::time::Duration;

use watchpost_core::content::{RULES_COMPONENT, RulesManifest, SignedRules, rules_file_name};
use watchpost_core::release::{ReleaseManifest, SignedRelease};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::*;
use crate::contents::{Contents, ContentsError, Signed};
use crate::extract::{ExtractError, inspect};
use crate::tuf::testing::World;
use crate::tuf::{DAY, ImageAuthor, RepositoryError};

fn start() -> Timestamp {
    "2026-01-05T00:00:00Z".parse().unwrap()
}

fn build(day: u32) -> Timestamp {
    start() - DAY * 10 + DAY * day
}

fn look(world: &World, trust: &std::path::Path) -> Verifier {
    let mut verifier = Verifier::open(TrustConfig {
        dir: trust.to_owned(),
        image_root: world.read(Repo::Image, "1.root.json").unwrap(),
        director_root: world.director.root_sha256().unwrap(),
        established: false,
    })
    .unwrap();
    verifier.refresh(&mut |repo, name, _| Ok(world.read(repo, name)), start()).unwrap();
    verifier
}

#[test]
fn a_rule_package_is_approved_and_extracted_as_one_and_never_as_a_sensor() {
    let mut world = World::new(start());
    let host = tempfile::tempdir().unwrap();
    world.release("sensor-2.255.1.0.cab", 1, start());
    let target = world.rules(build(1), 1, start());
    assert_eq!(target.name, "watchpost-rules-20251227t000000.cab");
    let verifier = look(&world, host.path());
    let approved = verifier.approve_rules(&target.name).unwrap();
    assert_eq!((approved.custom.build, approved.custom.rules_counter), (build(1), 1));
    let into = tempfile::tempdir().unwrap();
    let info = approved.extract(&world.package(&target.name), into.path()).unwrap();
    assert_eq!(info.contents.rules().unwrap().sigma_expected, 1);
    assert!(into.path().join("sigma/a.yml").exists() && into.path().join("suricata/a.rules").exists());
    let as_sensor = verifier.approve(&target.name, None).unwrap_err();
    assert!(matches!(&as_sensor, VerifyError::Component { component, .. } if component == "rules"), "{as_sensor:?}");
    let as_rules = verifier.approve_rules("sensor-2.255.1.0.cab").unwrap_err();
    assert!(matches!(&as_rules, VerifyError::Component { component, .. } if component == "sensor"), "{as_rules:?}");
    assert!(matches!(verifier.approve_rules("../x.cab"), Err(VerifyError::Name(_))));
}

#[test]
fn what_was_signed_under_the_other_components_name_is_refused_with_both_keys_at_hand() {
    let mut world = World::new(start());
    let host = tempfile::tempdir().unwrap();
    let fields = |component: &str, rules_counter| SignedRules {
        component: component.to_owned(),
        build: build(1),
        rules_counter,
    };
    let rules = world.pack_rules(build(1), 1);
    // Fields of rules that claim to be a sensor's, and fields of a sensor that claim to be rules'.
    world.rules_as(rules.clone(), fields("sensor", 1), start());
    let release = SignedRelease {
        component: RULES_COMPONENT.to_owned(),
        version: Version::new(2, 255, 1, 0),
        release_counter: 1,
        minimum_base_version: None,
    };
    world.release_as("odd.cab", release, start());
    let verifier = look(&world, host.path());
    for name in [rules.name.as_str(), "odd.cab"] {
        assert!(matches!(verifier.approve(name, None), Err(VerifyError::Component { .. })), "{name}");
        assert!(matches!(verifier.approve_rules(name), Err(VerifyError::Component { .. })), "{name}");
    }
    // A sensor's package whose target is signed as rules.
    let sensor = world.pack("swapped.cab", 2);
    world.rules_as(sensor, fields("rules", 1), start());
    let approved = look(&world, host.path()).approve_rules("swapped.cab").unwrap();
    let into = tempfile::tempdir().unwrap();
    let error = approved.extract(&world.package("swapped.cab"), into.path()).unwrap_err();
    assert!(matches!(error, VerifyError::Contents(ContentsError::Component(_))), "{error:?}");
}

#[test]
fn a_tampered_byte_and_an_older_build_are_refused_and_each_component_has_its_own_floor() {
    let mut world = World::new(start());
    let host = tempfile::tempdir().unwrap();
    world.release("sensor-2.255.1.0.cab", 1, start());
    let (old, new) = (world.rules(build(1), 1, start()), world.rules(build(2), 2, start()));
    let mut verifier = look(&world, host.path());
    let approved = verifier.approve_rules(&new.name).unwrap();
    let mut bytes = fs::read(world.package(&new.name)).unwrap();
    for at in [40, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        let file = world.host_file("flipped.cab", &bytes);
        let into = tempfile::tempdir().unwrap();
        let error = approved.extract(&file, into.path()).unwrap_err();
        assert!(format!("{error:?}").contains("NotApproved"), "{error:?}");
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
        bytes[at] ^= 1;
    }
    verifier.approve_rules(&old.name).expect("approving alone raises nothing");
    verifier.committed_rules(&approved).unwrap();
    let refused = verifier.approve_rules(&old.name).unwrap_err();
    assert!(matches!(refused, VerifyError::Counter { component: "rules", floor: 2, offered: 1 }), "{refused:?}");
    let next = look(&world, host.path());
    assert!(matches!(next.approve_rules(&old.name), Err(VerifyError::Counter { .. })), "also in the next process");
    next.approve_rules(&new.name).expect("the same again is not older");
    next.approve("sensor-2.255.1.0.cab", None).expect("the floor of releases did not rise");
}

#[test]
fn rules_wait_when_metadata_has_expired() {
    let mut world = World::new(start());
    let host = tempfile::tempdir().unwrap();
    let target = world.rules(build(1), 1, start());
    let mut verifier = look(&world, host.path());
    let late = start() + DAY * 7 + Duration::from_secs(1);
    let error = verifier.refresh(&mut |repo, name, _| Ok(world.read(repo, name)), late).unwrap_err();
    assert!(error.is_expiry(), "{error:?}");
    assert!(matches!(verifier.approve_rules(&target.name), Err(VerifyError::NotRefreshed)));
}

#[test]
fn a_floor_of_a_host_without_rules_reads_as_before() {
    let world = World::new(start());
    let host = tempfile::tempdir().unwrap();
    drop(look(&world, host.path()));
    let text = fs::read_to_string(host.path().join("floor.0")).unwrap();
    assert!(text.contains("release_counter") && !text.contains("rules_counter"), "{text}");
}

/// Packs these files as a rule package, whatever they are.
fn packed(files: &[(&str, &str)]) -> Result<Contents, ExtractError> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join("from").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if *text == "run me" {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let rules = RulesManifest { build: build(1), notes: String::new(), sigma_expected: 1, suricata_expected: 0 };
    let out = dir.path().join("p.cab");
    crate::cab::build(&dir.path().join("from"), &Contents::Rules(rules), &out).unwrap();
    inspect(&out, None).map(|info| info.contents)
}

#[test]
fn a_rule_package_holds_rules_and_nothing_else() {
    packed(&[("sigma/a.yml", "title: a"), ("suricata/a.rules", "x")]).unwrap();
    for stranger in [
        "bin/watchpost-sensor",
        "sigma/a.yaml",
        "sigma/deep/a.yml",
        "sigma/.yml",
        "sigma/a.rules",
        "suricata/a.yml",
        "suricata/threshold.config",
        "sigmaa.yml",
        "a.yml",
    ] {
        let why = format!("{:?}", packed(&[("sigma/a.yml", "title: a"), (stranger, "x")]).unwrap_err());
        assert!(why.contains("Stranger"), "{stranger}: {why}");
    }
    let runs = packed(&[("sigma/a.yml", "run me")]).unwrap_err();
    assert!(matches!(runs, ExtractError::Contents(ContentsError::Stranger(_))), "{runs:?}");
    let release = ReleaseManifest::minor(Version::new(2, 255, 1, 0), 1);
    let text = String::from_utf8(release.to_vec()).unwrap();
    let both = packed(&[("sigma/a.yml", "x"), ("release.json", &text)]).unwrap_err();
    assert!(matches!(both, ExtractError::Contents(ContentsError::Kind)), "{both:?}");
}

#[test]
fn an_author_signs_rules_under_their_date_and_never_back_in_time() {
    let world = World::new(start());
    let mut author = ImageAuthor::open(&world.keys(), &world.folder(Repo::Image)).unwrap();
    let (first, second) = (world.pack_rules(build(2), 0), world.pack_rules(build(3), 0));
    world.pack("sensor-2.255.1.0.cab", 1);
    author.sign(&world.package("sensor-2.255.1.0.cab"), start()).unwrap();
    let signed = author.sign(&world.package(&first.name), start()).unwrap();
    assert_eq!(signed.custom.rules().unwrap().rules_counter, 1, "releases and rules are counted apart");
    assert_eq!(author.sign(&world.package(&first.name), start()).unwrap(), signed, "the same again changes nothing");
    let signed = author.sign(&world.package(&second.name), start()).unwrap();
    assert_eq!(signed.custom.rules().unwrap().rules_counter, 2);
    let old = world.pack_rules(build(1), 0);
    assert!(matches!(author.sign(&world.package(&old.name), start()), Err(RepositoryError::Rules(_))));
    let ahead = world.pack_rules(start() + DAY * 2, 0);
    assert!(matches!(author.sign(&world.package(&ahead.name), start()), Err(RepositoryError::Rules(_))));
    let misnamed = world.package("watchpost-rules-20260101t000000.cab");
    fs::copy(world.package(&second.name), &misnamed).unwrap();
    assert!(matches!(author.sign(&misnamed, start()), Err(RepositoryError::Rules(_))));
    assert_eq!(author.targets().len(), 3);
    let custom: Signed =
        serde_json::from_str(r#"{"component":"rules","build":"2026-01-05T00:00:00Z","rulesCounter":3}"#).unwrap();
    assert_eq!(custom.component(), "rules");
    assert!(serde_json::from_str::<Signed>(r#"{"component":"rules","build":"x","rulesCounter":3}"#).is_err());
    assert_eq!(rules_file_name(build(2)), first.name);
}
