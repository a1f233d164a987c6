//! An author and a control plane to test against, and the tools of a thief who has some of their keys.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use watchpost_core::content::{RulesManifest, SignedRules, rules_file_name};
use watchpost_core::release::{ReleaseManifest, SignedRelease};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::metadata::{pin, sign};
use super::*;
use crate::contents::{Contents, Signed};
use crate::durable::Placing;
use crate::trust::Repo;

/// Both repositories, with all keys at hand.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) director: Director,
    image: Writer,
    image_online: SigningKey,
}

impl World {
    /// Both repositories, with nothing in them.
    pub(crate) fn new(now: Timestamp) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        ImageAuthor::make_keys(&keys).unwrap();
        drop(ImageAuthor::create(&keys, &dir.path().join("image"), now).unwrap());
        let root: Vec<SigningKey> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        fs::create_dir(dir.path().join("director-keys")).unwrap();
        for (number, key) in (1..).zip(&root) {
            key.save(&dir.path().join(format!("director-keys/director-root-{number}.pem"))).unwrap();
        }
        let online = SigningKey::generate().unwrap();
        online.save(&dir.path().join("director-online.pem")).unwrap();
        let director = Director::create(&dir.path().join("director"), &root, online, now).unwrap();
        let image = Writer::open(&dir.path().join("image"), None, Lifetimes::IMAGE).unwrap();
        let image_online = SigningKey::load(&keys.join("online.pem")).unwrap();
        Self { dir, director, image, image_online }
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    pub(crate) fn folder(&self, repo: Repo) -> PathBuf {
        self.dir.path().join(repo.to_string())
    }

    pub(crate) fn metadata(&self, repo: Repo) -> PathBuf {
        self.folder(repo).join("metadata")
    }

    pub(crate) fn read(&self, repo: Repo, name: &str) -> Option<Vec<u8>> {
        fs::read(self.metadata(repo).join(name)).ok()
    }

    pub(crate) fn package(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn image_online(&self) -> SigningKey {
        copy(&self.image_online)
    }

    pub(crate) fn director_online(&self) -> SigningKey {
        SigningKey::load(&self.dir.path().join("director-online.pem")).unwrap()
    }

    pub(crate) fn targets_key(&self, index: usize) -> SigningKey {
        SigningKey::load(&self.keys().join(format!("targets-{}.pem", index + 1))).unwrap()
    }

    pub(crate) fn root_keys(&self) -> Vec<SigningKey> {
        (1..=5).map(|n| SigningKey::load(&self.keys().join(format!("root-{n}.pem"))).unwrap()).collect()
    }

    /// Packs a release of version 2.255.`counter`.0 under `name`.
    pub(crate) fn pack(&self, name: &str, counter: u64) -> SignedTarget {
        let source = tempfile::tempdir().unwrap();
        for sub in ["bin", "rules"] {
            fs::create_dir(source.path().join(sub)).unwrap();
        }
        fs::write(source.path().join("bin/watchpost-sensor"), format!("program {counter}")).unwrap();
        fs::write(source.path().join("rules/canary.yml"), "title: canary").unwrap();
        let release = ReleaseManifest::minor(Version::new(2, 255, u32::try_from(counter).unwrap(), 0), 1);
        let contents = Contents::Release(release);
        crate::cab::build(source.path(), &contents, &self.package(name)).unwrap();
        let info = crate::inspect(&self.package(name), None).unwrap();
        let custom = contents.signed(counter);
        SignedTarget { name: name.to_owned(), length: info.length, sha256: info.sha256, custom }
    }

    /// Some file outside of the repositories.
    pub(crate) fn host_file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn sign(&mut self, target: &SignedTarget, now: Timestamp) {
        let keys = [self.targets_key(0), self.targets_key(2)];
        let file = self.package(&target.name);
        let keys = keys.iter().collect::<Vec<_>>();
        self.image.add_target(target, (&file, Placing::Copy), &keys, &[&self.image_online], now).unwrap();
    }

    pub(crate) fn direct(&mut self, target: &SignedTarget, now: Timestamp) {
        self.director.add_target(target, &self.package(&target.name), now).unwrap();
    }

    pub(crate) fn sign_only(&mut self, name: &str, counter: u64, now: Timestamp) -> SignedTarget {
        let target = self.pack(name, counter);
        self.sign(&target, now);
        target
    }

    pub(crate) fn direct_only(&mut self, name: &str, counter: u64, now: Timestamp) {
        let target = self.pack(name, counter);
        self.direct(&target, now);
    }

    /// Packs, signs and offers a release.
    pub(crate) fn release(&mut self, name: &str, counter: u64, now: Timestamp) -> SignedTarget {
        let target = self.sign_only(name, counter, now);
        self.direct(&target, now);
        target
    }

    /// Signs and offers a release whose signed fields say `custom`, whatever is inside.
    pub(crate) fn release_as(&mut self, name: &str, custom: SignedRelease, now: Timestamp) {
        let target = SignedTarget { custom: Signed::Release(custom), ..self.pack(name, 1) };
        self.sign(&target, now);
        self.direct(&target, now);
    }

    /// Packs a rule package with this build date and gives what would be signed of it.
    pub(crate) fn pack_rules(&self, build: Timestamp, counter: u64) -> SignedTarget {
        let source = tempfile::tempdir().unwrap();
        for (name, text) in [("sigma/a.yml", "title: a"), ("suricata/a.rules", "alert ip any any -> any any (sid:1;)")]
        {
            fs::create_dir(source.path().join(name).parent().unwrap()).unwrap();
            fs::write(source.path().join(name), text).unwrap();
        }
        let rules = RulesManifest { build, notes: String::new(), sigma_expected: 1, suricata_expected: 1 };
        let (name, contents) = (rules_file_name(build), Contents::Rules(rules));
        crate::cab::build(source.path(), &contents, &self.package(&name)).unwrap();
        let info = crate::inspect(&self.package(&name), None).unwrap();
        SignedTarget { name, length: info.length, sha256: info.sha256, custom: contents.signed(counter) }
    }

    /// Packs, signs and offers a rule package.
    pub(crate) fn rules(&mut self, build: Timestamp, counter: u64, now: Timestamp) -> SignedTarget {
        let target = self.pack_rules(build, counter);
        self.sign(&target, now);
        self.direct(&target, now);
        target
    }

    /// Signs and offers what lies in `target`'s file under other signed fields.
    pub(crate) fn rules_as(&mut self, target: SignedTarget, custom: SignedRules, now: Timestamp) {
        let target = SignedTarget { custom: Signed::Rules(custom), ..target };
        self.sign(&target, now);
        self.direct(&target, now);
    }

    /// A ceremony of the author: another online key.
    pub(crate) fn rotate_image_online(&mut self, now: Timestamp) {
        self.rotate_image(&["online"], now);
    }

    /// A ceremony of the author: other keys in these places.
    pub(crate) fn rotate_image(&mut self, places: &[&str], now: Timestamp) {
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        ImageAuthor::rotate_root(&self.keys(), &self.folder(Repo::Image), &places, now).unwrap();
        self.image = Writer::open(&self.folder(Repo::Image), None, Lifetimes::IMAGE).unwrap();
        self.image_online = SigningKey::load(&self.keys().join("online.pem")).unwrap();
    }

    /// A ceremony of the operator: other keys in these places.
    pub(crate) fn rotate_director(&mut self, places: &[&str], now: Timestamp) {
        let (dir, places) = (self.dir.path(), places.iter().map(ToString::to_string).collect::<Vec<_>>());
        rotate_director(&self.folder(Repo::Director), &dir.join("director-keys"), dir, &places, now).unwrap();
        self.director = Director::open(&self.folder(Repo::Director), self.director_online()).unwrap();
    }
}

/// The same key once more, by way of its file.
pub(crate) fn copy(key: &SigningKey) -> SigningKey {
    let dir = tempfile::tempdir().unwrap();
    key.save(&dir.path().join("key.pem")).unwrap();
    SigningKey::load(&dir.path().join("key.pem")).unwrap()
}

/// How one document names another.
pub(crate) fn pinned(version: u64, bytes: &[u8]) -> Value {
    pin(version, bytes)
}

/// A document as JSON.
pub(crate) fn envelope(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A changed document, signed by whoever.
pub(crate) fn resigned(bytes: &[u8], change: impl FnOnce(&mut Value), keys: &[&SigningKey]) -> Vec<u8> {
    let mut signed = envelope(bytes)["signed"].take();
    change(&mut signed);
    let Value::Object(fields) = signed else { panic!("no document") };
    sign("test", fields, keys).unwrap()
}

/// Python of `cargo xtask setup`, or whatever `WATCHPOST_PYTHON` names.
pub(crate) fn python() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("WATCHPOST_PYTHON").map_or_else(|| checkout.join("target/venv/bin/python"), PathBuf::from)
}

/// Judges a repository with python-tuf; what it says, or why it refuses.
pub(crate) fn python_tuf(repository: &Path) -> Result<Value, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/verify-with-python-tuf.py");
    let output = std::process::Command::new(python()).arg(script).arg(repository).output();
    let output = output.expect("cargo xtask setup installs the independent client");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(json!(null)))
    } else {
        Err(said(&output.stderr))
    }
}
