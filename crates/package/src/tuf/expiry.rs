//! When the documents of a repository on this machine's own disk expire.
//!
//! It verifies nothing: it is for whoever keeps the repository and wants to be warned, never for deciding trust.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use watchpost_core::time::Timestamp;
use watchpost_core::trust::{Role, Signers};

use crate::durable;

use super::METADATA;

/// Largest document that is read.
const MAX_METADATA: u64 = 5_000_000;
/// Most roots that are looked for.
const MAX_ROOTS: u64 = 1_000;

/// When one document expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentExpiry {
    /// Its role.
    pub role: Role,
    /// When.
    pub at: Timestamp,
    /// Its version, and how many keys may and must sign it as the newest root says.
    pub signers: Signers,
}

#[derive(Deserialize)]
struct Document {
    signed: Signed,
}

#[derive(Deserialize)]
struct Signed {
    expires: Timestamp,
    version: u64,
    #[serde(default)]
    meta: BTreeMap<String, Listed>,
    #[serde(default)]
    roles: BTreeMap<String, Keys>,
}

#[derive(Deserialize)]
struct Keys {
    keyids: Vec<String>,
    threshold: usize,
}

#[derive(Deserialize)]
struct Listed {
    version: u64,
}

/// When each document expires that the repository in `dir` shows at present. One that is not there is left out.
#[must_use]
pub fn expiries(dir: &Path) -> Vec<DocumentExpiry> {
    let folder = dir.join(METADATA);
    let read = |name: &str| {
        let bytes = durable::read_limited(&folder.join(name), MAX_METADATA).ok().flatten()?;
        serde_json::from_slice::<Document>(&bytes).ok()
    };
    let newest_root = (1..=MAX_ROOTS).map_while(|version| read(&format!("{version}.root.json"))).last();
    let Some(root) = newest_root else { return Vec::new() };
    let one = |role: Role, document: &Document| {
        let (keys, threshold) = root.signed.roles.get(role.word()).map_or((0, 0), |of| (of.keyids.len(), of.threshold));
        let signers = Signers { version: document.signed.version, keys, threshold };
        DocumentExpiry { role, at: document.signed.expires, signers }
    };
    let mut found = vec![one(Role::Root, &root)];
    let Some(timestamp) = read("timestamp.json") else { return found };
    found.push(one(Role::Timestamp, &timestamp));
    let version = |document: &Document, name: &str| document.signed.meta.get(name).map(|listed| listed.version);
    let snapshot = version(&timestamp, "snapshot.json").and_then(|v| read(&format!("{v}.snapshot.json")));
    let Some(snapshot) = snapshot else { return found };
    found.push(one(Role::Snapshot, &snapshot));
    let targets = version(&snapshot, "targets.json").and_then(|v| read(&format!("{v}.targets.json")));
    found.extend(targets.map(|targets| one(Role::Targets, &targets)));
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SigningKey;
    use crate::tuf::{Director, ImageAuthor};

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn an_author_signs_for_a_year() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, repository) = (dir.path().join("keys"), dir.path().join("author"));
        ImageAuthor::make_keys(&keys).unwrap();
        ImageAuthor::create(&keys, &repository, NOW).unwrap();
        let roles: Vec<_> = expiries(&repository).into_iter().map(|e| (e.role.word(), e.at, e.signers)).collect();
        let (year, by) = (NOW + DAY * 365, |keys, threshold| Signers { version: 1, keys, threshold });
        let online = [("timestamp", year, by(1, 1)), ("snapshot", year, by(1, 1))];
        assert_eq!(roles, [("root", year, by(5, 3)), online[0], online[1], ("targets", year, by(3, 2))]);
    }

    #[test]
    fn a_director_signs_for_a_week_what_it_signs_every_day() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        Director::create(dir.path(), &keys, SigningKey::generate().unwrap(), NOW).unwrap();
        let roles: Vec<_> = expiries(dir.path()).into_iter().map(|e| (e.role.word(), e.at)).collect();
        let (year, week) = (NOW + DAY * 365, NOW + DAY * 7);
        assert_eq!(roles, [("root", year), ("timestamp", week), ("snapshot", week), ("targets", year)]);
    }

    #[test]
    fn a_folder_without_a_repository_has_nothing_that_expires() {
        assert_eq!(expiries(Path::new("/nonexistent")), []);
    }
}
