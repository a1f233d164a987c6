//! Extraction: only what was approved, only into an empty folder, only what the manifest names.

use std::os::unix::fs::symlink;

use watchpost_core::release::{Needs, ReleaseKind, ReleaseManifest};
use watchpost_core::version::Version;

use super::*;

fn package() -> (tempfile::TempDir, PathBuf, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("rules/deep")).unwrap();
    for (name, mode) in [("sensor", 0o777), ("rules/a.yml", 0o666), ("rules/deep/b.yml", 0o600)] {
        fs::write(from.join(name), name).unwrap();
        fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let release = ReleaseManifest {
        kind: ReleaseKind::Hotfix,
        needs: Needs { file_descriptors: 1_024 },
        ..ReleaseManifest::minor(Version::new(2, 255, 1, 0), 2)
    };
    let path = dir.path().join("p.cab");
    let manifest = crate::cab::build(&from, &Contents::Release(release), &path).unwrap();
    (dir, path, manifest)
}

#[test]
fn a_package_is_extracted_with_its_modes_and_its_manifest() {
    let (dir, path, manifest) = package();
    let known = inspect(&path, None).unwrap();
    assert_eq!((&known.manifest, known.contents.release().unwrap().needs.file_descriptors), (&manifest, 1_024));
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    let info = extract(&path, known.length, &known.sha256, &into).unwrap();
    assert_eq!(info, known);
    for file in &manifest.files {
        let place = into.join(file.path.as_str());
        assert_eq!(Sha256Hex::of(&fs::read(&place).unwrap()), file.sha256, "{}", file.path);
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, file.mode.bits(), "{}", file.path);
    }
    assert_eq!(fs::read(into.join(MANIFEST)).unwrap(), manifest.to_vec());
    // manifest.json, release.json, sensor and rules: nothing else.
    assert_eq!(fs::read_dir(&into).unwrap().count(), 4);
}

#[test]
fn the_staging_folder_must_be_an_empty_folder_of_ones_own() {
    let (dir, path, _) = package();
    let known = inspect(&path, None).unwrap();
    let to = |into: &Path| extract(&path, known.length, &known.sha256, into).unwrap_err();
    assert!(matches!(to(&dir.path().join("none")), ExtractError::Staging { .. }));
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "x").unwrap();
    assert!(matches!(to(&full), ExtractError::NotEmpty(_)));
    let (elsewhere, link) = (dir.path().join("elsewhere"), dir.path().join("link"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    assert!(matches!(to(&link), ExtractError::Staging { .. }));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing went through the link");
}

#[test]
fn a_link_that_appears_in_the_staging_folder_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (into, elsewhere) = (dir.path().join("into"), dir.path().join("elsewhere"));
    fs::create_dir(&into).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let mut tree = Tree::open(&into).unwrap();
    symlink(&elsewhere, into.join("rules")).unwrap();
    symlink(elsewhere.join("y"), into.join("x")).unwrap();
    tree.write("rules/a.yml", b"a").unwrap_err();
    tree.write("x", b"x").unwrap_err();
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn another_file_and_a_missing_one_are_told_apart() {
    let (dir, path, _) = package();
    let known = inspect(&path, None).unwrap();
    let other = inspect(&path, Some((known.length, &Sha256Hex::of(b"other")))).unwrap_err();
    assert!(matches!(other, ExtractError::NotApproved { .. }));
    let short = inspect(&path, Some((known.length - 1, &known.sha256))).unwrap_err();
    assert!(matches!(short, ExtractError::NotApproved { .. }));
    assert!(matches!(inspect(&dir.path().join("none"), None), Err(ExtractError::Open { .. })));
    fs::write(dir.path().join("garbage"), "garbage").unwrap();
    assert!(matches!(inspect(&dir.path().join("garbage"), None), Err(ExtractError::Package(_))));
}

#[test]
fn what_was_extracted_says_what_it_is_and_is_not_believed_when_it_differs() {
    let (dir, path, manifest) = package();
    let known = inspect(&path, None).unwrap();
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    extract_opened(File::open(&path).unwrap(), known.length, &into).unwrap();
    assert_eq!(described(&into).unwrap(), (manifest, known.contents));
    let release = into.join("release.json");
    let text = fs::read(&release).unwrap();
    fs::write(&release, [&text[..text.len() - 1], b" "].concat()).unwrap();
    assert!(matches!(described(&into), Err(ExtractError::Altered(path)) if path == release));
    fs::remove_file(&release).unwrap();
    symlink("/dev/zero", &release).unwrap();
    assert!(matches!(described(&into), Err(ExtractError::Staging { .. })));
    fs::remove_file(into.join(MANIFEST)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, into.join(MANIFEST), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(described(&into), Err(ExtractError::Staging { .. })), "a pipe is not waited for");
    fs::remove_file(into.join(MANIFEST)).unwrap();
    fs::write(into.join(MANIFEST), "{}").unwrap();
    assert!(matches!(described(&into), Err(ExtractError::Manifest(_))));
}
