//! The keys of the server are believed as the director signs them, and never an older set than was seen.

use std::collections::BTreeMap;

use watchpost_core::server_keys::ServerKeys;
use watchpost_core::time::Timestamp;

use super::{Repo, TrustConfig, Verifier, VerifyError};
use crate::digest::Sha256Hex;
use crate::tuf::testing::{World, python_tuf, resigned};
use crate::tuf::{DAY, SERVER_KEYS_FIELD, SigningKey};

/// 2100-01-01: the independent client judges by its own clock.
const T0: Timestamp = Timestamp::from_millis(4_102_444_800_000);

fn keys(of: &[u8]) -> ServerKeys {
    of.iter().map(|byte| [*byte; 32].into()).collect()
}

/// A host's look, with these files in the place of those that the director has.
fn look(
    world: &World,
    host: &std::path::Path,
    lies: &BTreeMap<String, Vec<u8>>,
    now: Timestamp,
) -> Result<ServerKeys, VerifyError> {
    let first = world.read(Repo::Director, "1.root.json").unwrap();
    let config = TrustConfig {
        dir: host.join("trust"),
        image_root: world.read(Repo::Image, "1.root.json").unwrap(),
        director_root: Sha256Hex::of(&first),
        established: false,
    };
    let mut fetch = |repo: Repo, name: &str, _: u64| {
        assert_eq!(repo, Repo::Director, "the author is not asked about the server");
        Ok(lies.get(name).cloned().or_else(|| world.read(repo, name)))
    };
    Verifier::open(config).unwrap().server_keys(&mut fetch, now)
}

#[test]
fn a_host_learns_what_the_director_signs_and_goes_back_to_no_older_set() {
    let (mut world, host) = (World::new(T0), tempfile::tempdir().unwrap());
    let honest = BTreeMap::new();
    let learn = |world: &World, now| look(world, host.path(), &honest, now);
    assert!(matches!(learn(&world, T0), Err(VerifyError::NoServerKeys)), "no keys were named yet");
    world.director.set_server_keys(keys(&[1, 2]), T0).unwrap();
    assert_eq!(learn(&world, T0).unwrap(), keys(&[1, 2]));
    let names = ["timestamp.json", "2.snapshot.json", "2.targets.json"];
    let before: BTreeMap<_, _> =
        names.iter().map(|name| ((*name).to_owned(), world.read(Repo::Director, name).unwrap())).collect();
    world.director.set_server_keys(keys(&[2]), T0).unwrap();
    assert_eq!(learn(&world, T0).unwrap(), keys(&[2]));
    assert!(look(&world, host.path(), &before, T0).is_err(), "yesterday's set was believed");
    // What else the director says, and its daily signature, leave the set as it is.
    world.direct_only("a.cab", 1, T0);
    world.director.resign(T0 + DAY).unwrap();
    assert_eq!(learn(&world, T0 + DAY).unwrap(), keys(&[2]));
    world.rotate_director(&["director-online"], T0 + DAY);
    assert_eq!(world.director.server_keys(), Some(&keys(&[2])), "a rotation of the root lost the set");
    assert_eq!(learn(&world, T0 + DAY).unwrap(), keys(&[2]));
    python_tuf(&world.folder(Repo::Director)).expect("an independent client refuses the field");
}

#[test]
fn a_set_that_was_changed_on_the_way_or_signed_by_somebody_else_is_refused() {
    let (mut world, host) = (World::new(T0), tempfile::tempdir().unwrap());
    world.director.set_server_keys(keys(&[1, 2]), T0).unwrap();
    let targets = world.read(Repo::Director, "2.targets.json").unwrap();
    let theirs = SigningKey::generate().unwrap();
    let evil = resigned(&targets, |signed| signed[SERVER_KEYS_FIELD] = serde_json::json!(keys(&[9])), &[&theirs]);
    let lies = BTreeMap::from([("2.targets.json".to_owned(), evil)]);
    assert!(matches!(look(&world, host.path(), &lies, T0), Err(VerifyError::Refused { repo: Repo::Director, .. })));
    // Expired: nothing is learnt, and what is trusted stays.
    let late = look(&world, host.path(), &BTreeMap::new(), T0 + DAY * 8).unwrap_err();
    assert!(late.is_expiry(), "{late:?}");
}
