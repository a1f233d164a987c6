//! Packages: extraction beside cabextract, for one file and for 2,000, and verification beside one read and
//! one SHA-256 of the same file.
//!
//! CPU time of a child process, so that both sides are measured alike; this program is its own child. Rounds take turns; the
//! cheapest of each side counts, because noise only ever adds.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use watchpost_core::release::ReleaseManifest;
use watchpost_core::version::Version;
use watchpost_package::{Contents, Sha256Hex, cab, extract, hash_reader, inspect};

type Failure = Box<dyn std::error::Error>;

/// Bytes of all files together.
const BYTES: usize = 64 * 1024 * 1024;
/// Files of the package with many.
const FILES: usize = 2_000;
/// Turns of both sides.
const ROUNDS: usize = 5;
/// Rate of extraction, beside cabextract's, that must be kept.
const EXTRACTION_BAR: f64 = 0.8;
/// Rate of verification, beside bare SHA-256, that must be kept.
const VERIFICATION_BAR: f64 = 0.9;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["extract", package, into] => extract_once(Path::new(package), Path::new(into)).map(|()| true),
        ["start"] => Ok(true),
        _ => measure(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<bool, Failure> {
    // In memory where there is such a place: what a disk takes for an fsync is not what is compared.
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() { tempfile::tempdir_in(shm)? } else { tempfile::tempdir()? };
    let mut is_met = true;
    for (name, files) in [("one file", 1), ("2,000 files", FILES)] {
        let package = package(dir.path(), files)?;
        let length = fs::metadata(&package)?.len();
        println!("{name}: {} bytes unpacked, {length} packed", BYTES);
        is_met &= extraction(dir.path(), &package)?;
        if files == 1 {
            is_met &= verification(&package)?;
        }
    }
    Ok(is_met)
}

fn extraction(dir: &Path, package: &Path) -> Result<bool, Failure> {
    let me = std::env::current_exe()?;
    let (mut ours, mut theirs, mut nothing) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let into = tempfile::tempdir_in(dir)?;
        ours = ours.min(cpu_of(Command::new(&me).arg("extract").arg(package).arg(into.path()))?);
        let into = tempfile::tempdir_in(dir)?;
        theirs = theirs.min(cpu_of(Command::new("cabextract").arg("-q").arg("-d").arg(into.path()).arg(package))?);
        nothing = nothing.min(cpu_of(Command::new(&me).arg("start"))?);
    }
    let ours = ours.saturating_sub(nothing);
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    say("extract, hash, check", ours);
    say("reference: cabextract", theirs);
    println!("  {:<32} {ratio:>9.2}   (bar {EXTRACTION_BAR:.2}, more is better)", "rate beside the reference");
    Ok(ratio >= EXTRACTION_BAR)
}

fn verification(package: &Path) -> Result<bool, Failure> {
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    // Large enough for a stable figure: the unpacked bytes, stored in one file.
    let path = package.with_extension("raw");
    fs::write(&path, content(BYTES, 7))?;
    let mut bytes = vec![0; BYTES];
    for _ in 0..ROUNDS * 2 {
        let before = own_cpu()?;
        let (_, is) = hash_reader(fs::File::open(&path)?, BYTES as u64)?;
        ours = ours.min(own_cpu()?.saturating_sub(before));
        let before = own_cpu()?;
        fs::File::open(&path)?.read_exact(&mut bytes)?;
        let expected = Sha256Hex::of(&bytes);
        bare = bare.min(own_cpu()?.saturating_sub(before));
        if is != expected {
            return Err("two hashes of one file differ".into());
        }
    }
    let ratio = bare.as_secs_f64() / ours.as_secs_f64();
    say("verify a file of 64 MiB", ours);
    say("reference: read once, SHA-256", bare);
    println!("  {:<32} {ratio:>9.2}   (bar {VERIFICATION_BAR:.2}, more is better)", "rate beside the reference");
    Ok(ratio >= VERIFICATION_BAR)
}

fn say(what: &str, cpu: Duration) {
    let rate = BYTES as f64 / 1e6 / cpu.as_secs_f64();
    println!("  {what:<32} {:>9.1} ms CPU, {rate:.0} MB/s", cpu.as_secs_f64() * 1e3);
}

fn extract_once(package: &Path, into: &Path) -> Result<(), Failure> {
    // A host has length and digest from signed metadata; here they are in the name of the file beside it.
    let text = fs::read_to_string(package.with_extension("approved"))?;
    let (length, sha256) = text.split_once(' ').ok_or("no approval")?;
    extract(package, length.parse()?, &sha256.parse()?, into)?;
    Ok(())
}

/// A package of so many files with `BYTES` bytes together, and what a host would know of it.
fn package(dir: &Path, files: usize) -> Result<PathBuf, Failure> {
    let from = dir.join(format!("from-{files}"));
    fs::create_dir_all(from.join("rules"))?;
    for n in 0..files {
        fs::write(from.join("rules").join(format!("{n:04}.yml")), content(BYTES / files, n as u64))?;
    }
    let release = ReleaseManifest::minor(Version::new(2, 255, 1, 0), u32::try_from(files)?);
    let path = dir.join(format!("{files}.cab"));
    cab::build(&from, &Contents::Release(release), &path)?;
    let info = inspect(&path, None)?;
    fs::write(path.with_extension("approved"), format!("{} {}", info.length, info.sha256))?;
    fs::remove_dir_all(from)?;
    Ok(path)
}

/// Text like a rule's: some hundred words in an order that does not repeat.
fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let mut text = Vec::with_capacity(bytes + 32);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(format!("word{:03}: {:x}\n", (state >> 40) % 300, (state >> 50) % 4_096).as_bytes());
    }
    text.truncate(bytes);
    text
}

/// CPU time of a child, read while it is dead and not yet gone.
fn cpu_of(command: &mut Command) -> Result<Duration, Failure> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("{command:?} cannot be started ({error}); install it: apt-get install cabextract"))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let spent = schedstat(&format!("/proc/{}/schedstat", child.id()));
    if !child.wait()?.success() {
        return Err(format!("{command:?} failed").into());
    }
    spent
}

fn own_cpu() -> Result<Duration, Failure> {
    schedstat("/proc/thread-self/schedstat")
}

fn schedstat(path: &str) -> Result<Duration, Failure> {
    let text = fs::read_to_string(path)?;
    Ok(Duration::from_nanos(text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?))
}
