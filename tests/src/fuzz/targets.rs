//! What is fed, and with what it begins: packages, messages, state records, metadata of repositories.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use watchpost_agent::host::disk::Disk;
use watchpost_agent::updater::RecordStore;
use watchpost_core::content::RulesManifest;
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Record, Release};
use watchpost_core::version::Version;
use watchpost_package::cab::{self, Sink};
use watchpost_package::{Contents, FileEntry, ImageAuthor, verify_published};
use watchpost_protocol::{
    EnrollReply, EnrollRequest, ErrorReply, EvidenceReply, EvidenceRequest, SyncReply, SyncRequest,
};

use crate::tools;

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// Reads an input; whether it took it.
type Feed = Box<dyn Fn(&[u8]) -> bool>;

/// Something that reads bytes of a stranger.
pub(super) struct Target {
    pub(super) name: &'static str,
    /// Good inputs, from which all others come.
    pub(super) seeds: Vec<Vec<u8>>,
    pub(super) feed: Feed,
}

/// All of them. `scratch` is a folder to work in.
pub(super) fn targets(scratch: &Path) -> anyhow::Result<Vec<Target>> {
    let package = package(scratch)?;
    Ok(vec![cabinet(&package)?, messages()?, record(scratch)?, metadata(scratch, &package)?])
}

/// A signed package of rules, small enough to be read ten thousand times in a second.
fn package(scratch: &Path) -> anyhow::Result<PathBuf> {
    let source = scratch.join("source");
    for (name, text) in [("sigma/a.yml", "title: a\n"), ("suricata/a.rules", "alert ip any any -> any any (sid:1;)\n")]
    {
        let path = source.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(scratch))?;
        std::fs::write(path, text.repeat(40))?;
    }
    let rules = RulesManifest { build: NOW, notes: "n".to_owned(), sigma_expected: 1, suricata_expected: 40 };
    let package = scratch.join(watchpost_core::content::rules_file_name(NOW));
    cab::build(&source, &Contents::Rules(rules), &package)?;
    Ok(package)
}

/// Takes what is unpacked, and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn begin(&mut self, _: &FileEntry) -> io::Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(&mut self, _: &FileEntry) -> io::Result<()> {
        Ok(())
    }
}

fn cabinet(package: &Path) -> anyhow::Result<Target> {
    let feed = |bytes: &[u8]| cab::read(bytes, bytes.len() as u64, &mut Nowhere).is_ok();
    Ok(Target { name: "cab", seeds: vec![std::fs::read(package)?], feed: Box::new(feed) })
}

/// The messages that are checked in as those of protocol version 1.
fn messages() -> anyhow::Result<Target> {
    let folder = tools::checkout().join("crates/protocol/fixtures/v1");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let read = |path: &PathBuf| -> anyhow::Result<Vec<u8>> {
        Ok(hex::decode(std::fs::read_to_string(path)?.split_whitespace().collect::<String>())?)
    };
    let feed = |bytes: &[u8]| {
        let taken = [
            SyncRequest::from_bytes(bytes).is_ok(),
            SyncReply::from_bytes(bytes).is_ok(),
            EnrollRequest::from_bytes(bytes).is_ok(),
            EnrollReply::from_bytes(bytes).is_ok(),
            EvidenceRequest::from_bytes(bytes).is_ok(),
            EvidenceReply::from_bytes(bytes).is_ok(),
            ErrorReply::from_bytes(bytes).is_ok(),
        ];
        taken.contains(&true)
    };
    Ok(Target { name: "messages", seeds: paths.iter().map(read).collect::<Result<_, _>>()?, feed: Box::new(feed) })
}

fn record(scratch: &Path) -> anyhow::Result<Target> {
    let slots = ["record.0", "record.1"].map(|name| scratch.join(name));
    let store = RecordStore::<Record>::at(slots.clone(), Disk::default());
    let release = Release::new(Version::new(2, 255, 1, 0), &"0f".repeat(32));
    let mut record = release.map(Record::committed).unwrap_or_default();
    record.bad_versions.insert(Version::new(2, 256, 0, 0), 7);
    store.write(&record)?;
    let seeds = vec![std::fs::read(&slots[0])?, serde_json::to_vec(&record)?];
    let feed = move |bytes: &[u8]| {
        // What is no slot may still be a record: its checksum does not protect from who writes the disk.
        let is_record = serde_json::from_slice::<Record>(bytes).is_ok();
        std::fs::write(&slots[1], bytes).is_ok() && (is_record || store.read().is_some_and(|read| read != record))
    };
    Ok(Target { name: "record", seeds, feed: Box::new(feed) })
}

/// One document after the other of an author's repository is spoilt.
fn metadata(scratch: &Path, package: &Path) -> anyhow::Result<Target> {
    let (keys, repository) = (scratch.join("keys"), scratch.join("author"));
    ImageAuthor::make_keys(&keys)?;
    let target = ImageAuthor::create(&keys, &repository, NOW)?.sign(package, NOW)?;
    ImageAuthor::rotate_root(&keys, &repository, &["root-1".to_owned()], NOW)?;
    let mut files = BTreeMap::new();
    for file in std::fs::read_dir(repository.join("metadata"))? {
        let file = file?;
        files.insert(file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path())?);
    }
    let root = files.get("1.root.json").cloned().unwrap_or_default();
    let names = ["1.root.json", "2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
    let seeds = names.iter().filter_map(|name| files.get(*name).cloned()).collect();
    let feed = move |bytes: &[u8]| {
        let verdicts = names.iter().map(|name| {
            let mut spoilt = files.clone();
            spoilt.insert((*name).to_owned(), bytes.to_vec());
            let root = if *name == "1.root.json" { bytes } else { root.as_slice() };
            verify_published(&spoilt, root, &target.name, NOW).is_ok()
        });
        verdicts.filter(|is_good| *is_good).count() > 0
    };
    Ok(Target { name: "metadata", seeds, feed: Box::new(feed) })
}
