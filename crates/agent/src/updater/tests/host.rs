//! A host in a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use watchpost_core::release::ReleaseManifest;
use watchpost_core::sync::{Desired, TargetRef};
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Record, Release};
use watchpost_core::version::Version;
use watchpost_package::manifest::Mode;
use watchpost_package::{FileEntry, Manifest, Sha256Hex};

use crate::host::disk::Disk;
use crate::updater::{Layout, RecordStore};

pub(in crate::updater) const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

pub(in crate::updater) fn version(minor: u32) -> Version {
    Version::new(2, minor, 1, 0)
}

pub(super) fn target(minor: u32) -> TargetRef {
    TargetRef { name: format!("sensor-{minor}.cab"), sha256: format!("{minor:08x}").repeat(8), length: 1 }
}

pub(in crate::updater) fn release(minor: u32) -> Release {
    Release::new(version(minor), &target(minor).sha256).unwrap()
}

pub(super) fn wanting(generation: u64, minor: u32) -> Desired {
    Desired { generation, version: Some(version(minor)), target: Some(target(minor)), ..Desired::default() }
}

/// The files of a release, without a manifest: what an author starts from.
pub(super) fn write_source(folder: &Path, minor: u32, program: &str) -> ReleaseManifest {
    let release = ReleaseManifest::minor(version(minor), 6);
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::create_dir_all(folder.join("rules")).unwrap();
    fs::write(folder.join("bin/watchpost-sensor"), program).unwrap();
    fs::set_permissions(folder.join("bin/watchpost-sensor"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("rules/a.yml"), format!("title: {minor}\n")).unwrap();
    fs::set_permissions(folder.join("rules/a.yml"), fs::Permissions::from_mode(0o644)).unwrap();
    release
}

/// A whole version folder, as extraction leaves it.
pub(super) fn write_version(folder: &Path, minor: u32, program: &str) {
    let release = write_source(folder, minor, program);
    fs::write(folder.join("release.json"), release.to_vec()).unwrap();
    fs::set_permissions(folder.join("release.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let files =
        [("bin/watchpost-sensor", Mode::Executable), ("release.json", Mode::Plain), ("rules/a.yml", Mode::Plain)];
    let entry = |(path, mode): (&str, Mode)| {
        let bytes = fs::read(folder.join(path)).unwrap();
        FileEntry { path: path.parse().unwrap(), size: bytes.len() as u64, sha256: Sha256Hex::of(&bytes), mode }
    };
    let manifest = Manifest { files: files.map(entry).into() };
    fs::write(folder.join("manifest.json"), manifest.to_vec()).unwrap();
}

/// A host that runs release `minor`, committed.
pub(in crate::updater) fn installed(root: &Path, minor: u32, program: &str) -> Layout {
    let layout = Layout::new(root);
    for folder in layout.folders() {
        fs::create_dir_all(folder).unwrap();
    }
    write_version(&layout.version(release(minor)), minor, program);
    Disk::default().point(&layout.current(), &Layout::link_target(release(minor))).unwrap();
    RecordStore::new(&layout, Disk::default()).write(&Record::committed(release(minor))).unwrap();
    layout
}
