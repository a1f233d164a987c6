//! The profile from outside: other people's cabinet tools, and every way of missing it.

use std::fs;
use std::io::{self, Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use watchpost_core::release::ReleaseManifest;
use watchpost_core::version::Version;

use super::block::Packer;
use super::format::{BLOCK, DATE, MAX_UNPACKED, attributes, block_checksum};
use super::*;
use crate::contents::Contents;
use crate::digest::Sha256Hex;
use crate::manifest::{FileEntry, Manifest, Mode};

fn release() -> Contents {
    Contents::Release(ReleaseManifest {
        notes: "notes".to_owned(),
        ..ReleaseManifest::minor(Version::new(2, 255, 1, 0), 2)
    })
}

/// A folder with a program of several blocks, two rules and an empty file.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["bin", "rules"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    let program: Vec<u8> = (0..BLOCK as u32 * 3 + 5).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes, mode) in [
        ("rules/b.yml", b"title: b".as_slice(), 0o600),
        ("bin/sensor", &program, 0o700),
        ("rules/a.yml", b"title: a", 0o644),
        ("empty.txt", b"", 0o644),
        ("release.json", b"is written anew", 0o644),
    ] {
        fs::write(dir.path().join(name), bytes).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

fn built(from: &Path) -> (tempfile::TempDir, PathBuf, Manifest) {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("sensor-2.255.1.0.cab");
    let manifest = build(from, &release(), &path).unwrap();
    (out, path, manifest)
}

/// Keeps everything in memory.
#[derive(Default)]
struct Memory(Vec<(String, Vec<u8>, bool)>);

impl Sink for Memory {
    fn begin(&mut self, entry: &FileEntry) -> io::Result<()> {
        self.0.push((entry.path.to_string(), Vec::new(), false));
        Ok(())
    }
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, _: &FileEntry) -> io::Result<()> {
        self.0.last_mut().unwrap().2 = true;
        Ok(())
    }
}

fn read_all(bytes: &[u8]) -> Result<(Manifest, Memory), CabError> {
    let mut memory = Memory::default();
    let (manifest, sha256) = read(bytes, bytes.len() as u64, &mut memory)?;
    assert_eq!(sha256, Sha256Hex::of(bytes));
    Ok((manifest, memory))
}

/// One file of a hand-made cabinet: name as the cabinet spells it, bytes, attributes.
type Part = (&'static str, Vec<u8>, u16);

const PLAIN: u16 = attributes(Mode::Plain);

/// Puts a cabinet together without asking whether it makes sense.
fn assemble(parts: &[Part]) -> Vec<u8> {
    let mut data: Vec<(u16, Vec<u8>)> = Vec::new();
    for (_, bytes, _) in parts {
        let (mut packer, mut blocks, mut out) = (Packer::new(), 0, Vec::new());
        for block in bytes.chunks(BLOCK) {
            let packed = packer.pack(block);
            let length = block.len() as u16;
            out.extend(block_checksum(&packed, length).to_le_bytes());
            out.extend((packed.len() as u16).to_le_bytes());
            out.extend(length.to_le_bytes());
            out.extend(packed);
            blocks += 1;
        }
        data.push((blocks, out));
    }
    let names: usize = parts.iter().map(|(name, ..)| 16 + name.len() + 1).sum();
    let mut at = 36 + 8 * parts.len() + names;
    let length = at + data.iter().map(|(_, d)| d.len()).sum::<usize>();
    let count = parts.len() as u16;
    let mut out = b"MSCF\0\0\0\0".to_vec();
    out.extend((length as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend((36 + 8 * u32::from(count)).to_le_bytes());
    out.extend([0, 0, 0, 0, 3, 1]);
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend([0; 6]);
    for (blocks, bytes) in &data {
        out.extend((at as u32).to_le_bytes());
        out.extend(blocks.to_le_bytes());
        out.extend([1, 0]);
        at += bytes.len();
    }
    for (index, (name, bytes, attributes)) in parts.iter().enumerate() {
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend([0; 4]);
        out.extend((index as u16).to_le_bytes());
        out.extend(DATE.to_le_bytes());
        out.extend([0, 0]);
        out.extend(attributes.to_le_bytes());
        out.extend(name.bytes());
        out.push(0);
    }
    data.iter().for_each(|(_, bytes)| out.extend(bytes));
    out
}

fn entry(path: &str, bytes: &[u8], mode: Mode) -> FileEntry {
    FileEntry { path: path.parse().unwrap(), size: bytes.len() as u64, sha256: Sha256Hex::of(bytes), mode }
}

fn manifest_of(files: Vec<FileEntry>) -> Part {
    ("manifest.json", Manifest { files }.to_vec(), PLAIN)
}

/// The smallest honest cabinet: two short files.
fn honest() -> Vec<Part> {
    let (a, b) = (b"alpha".to_vec(), b"beta".to_vec());
    let manifest = manifest_of(vec![entry("d/a", &a, Mode::Plain), entry("d/b", &b, Mode::Plain)]);
    vec![manifest, ("d\\a", a, PLAIN), ("d\\b", b, PLAIN)]
}

fn refusal(bytes: &[u8]) -> String {
    format!("{:?}", read_all(bytes).map(|_| ()).unwrap_err())
}

#[test]
fn two_builds_give_the_same_bytes_and_read_back() {
    let (from, again) = (folder(), folder());
    let ((_a, first, manifest), (_b, second, _)) = (built(from.path()), built(again.path()));
    let bytes = fs::read(&first).unwrap();
    assert_eq!(bytes, fs::read(second).unwrap());
    let (read, memory) = read_all(&bytes).unwrap();
    assert_eq!(read, manifest);
    let paths: Vec<&str> = memory.0.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["bin/sensor", "empty.txt", "release.json", "rules/a.yml", "rules/b.yml"]);
    for (path, bytes, ended) in &memory.0 {
        let expected =
            if path == "release.json" { release().description().1 } else { fs::read(from.path().join(path)).unwrap() };
        assert!(*ended && *bytes == expected, "{path}");
    }
    let modes: Vec<Mode> = read.files.iter().map(|f| f.mode).collect();
    assert_eq!(modes, [Mode::Executable, Mode::Plain, Mode::Plain, Mode::Plain, Mode::Plain]);
}

#[test]
fn the_writer_and_the_hand_made_cabinet_agree() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "alpha").unwrap();
    let (_out, path, manifest) = built(dir.path());
    let parts = [
        manifest_of(manifest.files),
        ("a", b"alpha".to_vec(), PLAIN),
        ("release.json", release().description().1, PLAIN),
    ];
    assert_eq!(fs::read(path).unwrap(), assemble(&parts));
}

#[test]
fn the_cab_crate_reads_the_same() {
    let from = folder();
    let (_out, path, manifest) = built(from.path());
    let bytes = fs::read(path).unwrap();
    let (_, memory) = read_all(&bytes).unwrap();
    let mut other = ::cab::Cabinet::new(Cursor::new(bytes)).unwrap();
    let names: Vec<String> =
        other.folder_entries().flat_map(|f| f.file_entries()).map(|f| f.name().replace('\\', "/")).collect();
    let listed = manifest.files.iter().map(|f| f.path.to_string());
    assert_eq!(names, std::iter::once("manifest.json".to_owned()).chain(listed).collect::<Vec<_>>());
    for (path, bytes, _) in memory.0.iter().filter(|(_, bytes, _)| !bytes.is_empty()) {
        let mut read = Vec::new();
        other.read_file(&path.replace('/', "\\")).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, *bytes, "{path}");
    }
}

/// Programs are full of long runs. A deflate block with one distance in it has a code that strict readers call
/// incomplete, unless its writer takes care: zlib does, others do not.
#[test]
fn cabextract_reads_blocks_with_a_single_distance() {
    let dir = tempfile::tempdir().unwrap();
    for (name, period) in [("zeros", 1), ("pairs", 2), ("page", 4_096)] {
        let noise = (0..period as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 15) as u8).collect::<Vec<_>>();
        let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(BLOCK * 2 + 300).collect();
        bytes.extend((0..40_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8));
        bytes[BLOCK + 1_000..BLOCK + 1_100].copy_from_slice(&[7; 100]);
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    fs::write(dir.path().join("program"), &program[..program.len().min(4 << 20)]).unwrap();
    let (_out, path, _) = built(dir.path());
    let output = Command::new("cabextract").arg("-t").arg(path).output().expect("cargo xtask setup");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
}

/// `cabextract` is installed by `cargo xtask setup`.
#[test]
fn cabextract_tests_lists_and_extracts_a_package() {
    let from = folder();
    let (out, path, manifest) = built(from.path());
    let run = |arguments: &[&str]| {
        let output = Command::new("cabextract").args(arguments).arg(&path).output().expect("cargo xtask setup");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !text.to_lowercase().contains("warning"), "{text}");
        text
    };
    assert!(run(&["-t"]).contains("All done, no errors."));
    assert!(run(&["-l"]).contains("manifest.json"));
    let into = out.path().join("x");
    run(&["-q", "-d", into.to_str().unwrap()]);
    for file in &manifest.files {
        assert_eq!(Sha256Hex::of(&fs::read(into.join(file.path.as_str())).unwrap()), file.sha256, "{}", file.path);
    }
}

#[test]
fn what_cannot_be_packed_is_refused_and_leaves_nothing() {
    let out = tempfile::tempdir().unwrap();
    let refused = |prepare: &dyn Fn(&Path)| {
        let from = folder();
        prepare(from.path());
        let error = build(from.path(), &release(), &out.path().join("p.cab")).unwrap_err();
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
        format!("{error:?}")
    };
    assert!(refused(&|dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap()).starts_with("Kind"));
    assert!(refused(&|dir| fs::write(dir.join("a b"), "x").unwrap()).starts_with("Path"));
    assert!(refused(&|dir| fs::write(dir.join("rules/A.yml"), "x").unwrap()).starts_with("Manifest(Tree"));
    assert!(refused(&|dir| fs::write(dir.join("manifest.json"), "x").unwrap()).starts_with("Manifest(Tree"));
    let zeros = |dir: &Path| fs::write(dir.join("zeros"), vec![0; 64 << 20]).unwrap();
    assert!(refused(&zeros).starts_with("Profile(Ratio"));
    let sparse = |dir: &Path| fs::File::create(dir.join("big")).unwrap().set_len(MAX_UNPACKED + 1).unwrap();
    assert!(refused(&sparse).starts_with("TooLarge"));
    let from = folder();
    let missing = build(from.path(), &release(), Path::new("/nonexistent/p.cab")).unwrap_err();
    assert!(matches!(missing, BuildError::Io { .. }));
}

#[test]
fn each_fixed_field_has_one_value() {
    let good = assemble(&honest());
    assert!(read_all(&good).is_ok());
    let files = 36 + 8 * 3;
    let second = files + 16 + "manifest.json".len() + 1;
    for (at, value, variant) in [
        (0, b'X', "NotACabinet"),
        (4, 1, "Field { field: \"reserved1\""),
        (8, good[8] ^ 1, "Length"),
        (12, 1, "Field { field: \"reserved2\""),
        (16, good[16] ^ 1, "Field { field: \"coffFiles\""),
        (20, 1, "Field { field: \"reserved3\""),
        (24, 4, "NotACabinet"),
        (25, 2, "NotACabinet"),
        (26, 2, "Count"),
        (28, 4, "Count"),
        (30, 1, "MultiVolume"),
        (30, 2, "MultiVolume"),
        (30, 4, "MultiVolume"),
        (32, 1, "Field { field: \"setID\""),
        (34, 1, "Field { field: \"iCabinet\""),
        (36, good[36] ^ 1, "Offset"),
        (40, 2, "Block"),
        (42, 3, "Field { field: \"typeCompress\""),
        (42, 0, "Field { field: \"typeCompress\""),
        (second, 6, "Differs { field: \"size\""),
        (second + 3, 0x40, "Unpacked"),
        (second + 4, 1, "Field { field: \"uoffFolderStart\""),
        (second + 8, 0, "Field { field: \"iFolder\""),
        (second + 9, 0xff, "Field { field: \"iFolder\""),
        (second + 10, 0, "Field { field: \"date\""),
        (second + 12, 1, "Field { field: \"time\""),
        (second + 14, 0x60, "Differs { field: \"mode\""),
        (second + 14, 0xa0, "Field { field: \"attribs\""),
        (second + 16, 0xe9, "Name"),
    ] {
        let mut bad = good.clone();
        assert_ne!(bad[at], value);
        bad[at] = value;
        let said = refusal(&bad);
        assert!(said.starts_with(variant), "byte {at}: {said}");
    }
}

#[test]
fn hostile_paths_are_refused() {
    for (name, variant) in [
        ("..\\b", "Traversal"),
        ("d\\..\\b", "Traversal"),
        ("\\b", "NotRelative"),
        ("\\\\host\\b", "NotRelative"),
        ("c:\\b", "NotRelative"),
        ("/etc/b", "NotRelative"),
        ("d/b", "Character"),
        ("d\\nul.txt", "Reserved"),
        ("d\\b.", "Reserved"),
        ("d\\", "Empty"),
        ("", "Empty"),
        ("D\\b", "Twin"),
        ("d\\A", "Twin"),
        ("d\\a", "Twin"),
        ("d\\a\\b", "Twin"),
        ("MANIFEST.JSON", "Twin"),
    ] {
        let mut parts = honest();
        parts[2].0 = name;
        let said = refusal(&assemble(&parts));
        assert!(said.starts_with("Path { entry: 2") && said.contains(variant), "{name}: {said}");
    }
    let long: &'static str = Box::leak("n".repeat(256).into_boxed_str());
    let mut parts = honest();
    parts[2].0 = long;
    assert!(refusal(&assemble(&parts)).starts_with("Name { entry: 2"));
}

#[test]
fn order_number_and_contents_are_those_of_the_manifest() {
    let (a, b) = (b"alpha".to_vec(), b"beta".to_vec());
    let listed = || vec![entry("d/a", &a, Mode::Plain), entry("d/b", &b, Mode::Plain)];
    let refused_as = |parts: Vec<Part>, variant: &str| {
        let said = refusal(&assemble(&parts));
        assert!(said.starts_with(variant), "{said}");
    };
    let (first, second): (Part, Part) = (("d\\a", a.clone(), PLAIN), ("d\\b", b.clone(), PLAIN));
    refused_as(vec![first.clone(), manifest_of(listed()), second.clone()], "Order { entry: 0");
    refused_as(vec![manifest_of(listed()), second.clone(), first.clone()], "Order { entry: 2");
    refused_as(vec![manifest_of(listed()), first.clone()], "Differs { field: \"number\"");
    refused_as(
        vec![manifest_of(listed()), first.clone(), second.clone(), ("d\\c", b.clone(), PLAIN)],
        "Differs { field: \"number\"",
    );
    refused_as(vec![manifest_of(listed()), first.clone(), ("d\\c", b.clone(), PLAIN)], "Differs { field: \"path\"");
    refused_as(
        vec![manifest_of(listed()), first.clone(), ("d\\b", b"bet".to_vec(), PLAIN)],
        "Differs { field: \"size\"",
    );
    refused_as(
        vec![manifest_of(listed()), first.clone(), ("d\\b", b"best".to_vec(), PLAIN)],
        "Differs { field: \"sha256\"",
    );
    refused_as(vec![manifest_of(listed()), first.clone(), ("d\\b", b.clone(), 0x60)], "Differs { field: \"mode\"");
    refused_as(vec![manifest_of(listed())], "Count");
    refused_as(vec![("manifest.json", b"{}".to_vec(), PLAIN), first.clone()], "Manifest(Syntax");
    refused_as(vec![("manifest.json", Vec::new(), PLAIN), first.clone()], "Manifest(Syntax");
    refused_as(vec![("manifest.json", vec![b' '; 3 << 20], PLAIN), first], "Order { entry: 0");
}

#[test]
fn blocks_are_checked_one_by_one() {
    let mut parts = honest();
    let long: Vec<u8> = (0..BLOCK * 2 + 9).map(|i| (i % 251) as u8).collect();
    parts[0] = manifest_of(vec![entry("d/a", &long, Mode::Plain), entry("d/b", b"beta", Mode::Plain)]);
    parts[1].1 = long;
    let good = assemble(&parts);
    assert!(read_all(&good).is_ok());
    let at = u32::from_le_bytes(good[44..48].try_into().unwrap()) as usize;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        refusal(&bad)
    };
    assert!(changed(&|b| b[at..at + 4].fill(0)).starts_with("Checksum"), "an unchecked block");
    assert!(changed(&|b| b[at + 9] ^= 1).starts_with("Checksum"));
    assert!(changed(&|b| b[at + 5] = 0xff).starts_with("Block"), "more packed bytes than a block has");
    assert!(changed(&|b| b[at + 6] ^= 1).starts_with("Block"), "a short block in the middle");
    // A valid checksum over data that does not unpack.
    let reseal = |b: &mut Vec<u8>| {
        let packed = u16::from_le_bytes([b[at + 4], b[at + 5]]) as usize;
        let sum = block_checksum(&b[at + 8..at + 8 + packed], u16::from_le_bytes([b[at + 6], b[at + 7]]));
        b[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    };
    for place in [8, 9, 10] {
        let said = changed(&|b| {
            b[at + place] ^= 0x55;
            reseal(b);
        });
        assert!(said.starts_with("Inflate"), "{said}");
    }
}

#[test]
fn a_package_that_ends_early_or_late_is_refused() {
    let good = assemble(&honest());
    for length in 0..good.len() {
        assert!(read_all(&good[..length]).is_err());
        let said = read(&good[..length], good.len() as u64, &mut Memory::default()).map(|_| ()).unwrap_err();
        assert!(matches!(said, CabError::Truncated(_)), "{length}: {said:?}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(refusal(&longer).starts_with("Length"));
    let said = read(longer.as_slice(), good.len() as u64, &mut Memory::default()).map(|_| ()).unwrap_err();
    assert!(matches!(said, CabError::Trailing), "{said:?}");
    longer[8..12].copy_from_slice(&(good.len() as u32 + 1).to_le_bytes());
    assert!(refusal(&longer).starts_with("Trailing"));
}

#[test]
fn a_bomb_is_refused_before_anything_is_unpacked() {
    let zeros = vec![0; 16 << 20];
    let manifest = manifest_of(vec![entry("zeros", &zeros, Mode::Plain)]);
    let mut memory = Memory::default();
    let bytes = assemble(&[manifest, ("zeros", zeros, PLAIN)]);
    let said = read(bytes.as_slice(), bytes.len() as u64, &mut memory).map(|_| ()).unwrap_err();
    assert!(matches!(said, CabError::Ratio { .. }), "{said:?}");
    assert!(memory.0.is_empty());
}

#[test]
fn a_full_disk_is_told_as_what_it_is() {
    struct Full;
    impl Sink for Full {
        fn begin(&mut self, _: &FileEntry) -> io::Result<()> {
            Ok(())
        }
        fn data(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn end(&mut self, _: &FileEntry) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes = assemble(&honest());
    let said = read(bytes.as_slice(), bytes.len() as u64, &mut Full).map(|_| ()).unwrap_err();
    assert!(matches!(said, CabError::Write(error) if error.kind() == io::ErrorKind::StorageFull));
}

/// Whatever one byte becomes, the package is refused: no byte of it is without a meaning that is checked.
#[test]
fn every_changed_byte_is_refused_without_a_panic() {
    let good = assemble(&honest());
    for at in 0..good.len() {
        for change in [0x01, 0x02, 0x10, 0x20, 0x80, 0xff, good[at]] {
            let mut bad = good.clone();
            bad[at] ^= change;
            assert_eq!(read_all(&bad).is_ok(), bad == good, "byte {at} with {change:#x}");
        }
    }
}

/// Random changes, with checksums put right again so that they reach the inflater.
#[test]
fn random_changes_never_panic() {
    let good = assemble(&honest());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..1 + next(4) {
            match next(4) {
                0 => bad.truncate(1 + next(bad.len())),
                1 => bad.insert(next(bad.len()), next(256) as u8),
                2 | 3 => {
                    let at = next(bad.len());
                    bad[at] = next(256) as u8;
                }
                _ => unreachable!(),
            }
        }
        reseal_all(&mut bad);
        let _ = read_all(&bad);
    }
}

/// Puts length and block checksums right, as far as the tables still make sense.
fn reseal_all(bytes: &mut [u8]) {
    let length = bytes.len() as u32;
    if let Some(field) = bytes.get_mut(8..12) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    for folder in 0..3 {
        let Some(offset) = bytes.get(36 + 8 * folder..40 + 8 * folder) else { return };
        let at = u32::from_le_bytes(offset.try_into().unwrap()) as usize;
        let Some(lengths) = at.checked_add(8).and_then(|end| bytes.get(at + 4..end)) else { continue };
        let (packed, unpacked) =
            (u16::from_le_bytes([lengths[0], lengths[1]]), u16::from_le_bytes([lengths[2], lengths[3]]));
        let Some(data) = bytes.get(at + 8..at + 8 + packed as usize) else { continue };
        let sum = block_checksum(data, unpacked);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
}
