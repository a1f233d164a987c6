//! What an author does without a control plane: keys, packages, signatures.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use watchpost_core::content::count_suricata_rules;
use watchpost_core::release::{MAX_RELEASE_JSON, ReleaseManifest};
use watchpost_core::time::Timestamp;
use watchpost_package::cab::{self, BuildError};
use watchpost_package::{Contents, ImageAuthor, PackageInfo, RepositoryError, inspect, tuf};

use super::{Build, Keys, Resign, RotateRoot, Sign, failed, refused};
use crate::cli::output::Output;
use crate::failure::Failure;

/// What is shown of a signed release: heading and field.
const SIGNED: &[(&str, &str)] = &[
    ("NUMBER", "releaseCounter"),
    ("VERSION", "version"),
    ("NAME", "name"),
    ("LENGTH", "length"),
    ("SHA-256", "sha256"),
];

/// What is shown of a signed document: heading and field.
const DOCUMENTS: &[(&str, &str)] = &[("ROLE", "role"), ("VERSION", "version"), ("EXPIRES", "expirationDateTime")];

pub(super) fn keys(args: &Keys, now: Timestamp) -> Result<(), Failure> {
    ImageAuthor::make_keys(&args.keys).map_err(not_signed)?;
    if let Some(repository) = &args.repository {
        ImageAuthor::create(&args.keys, repository, now).map_err(not_signed)?;
    }
    Ok(())
}

pub(super) fn build(args: &Build) -> Result<(), Failure> {
    if !args.from.is_dir() {
        return Err(Failure::not_found(format!("there is no folder {}; name the one to pack", args.from.display())));
    }
    let mut release = described(args)?;
    release.version = args.version;
    // What the folder holds is what an engine must load; a number written by hand would only go stale.
    release.rules_expected = count_rules(&args.from.join("rules")).map_err(failed)?;
    release.suricata_rules_expected = count_suricata(&args.from.join("suricata")).map_err(failed)?;
    release.kind = args.kind.unwrap_or(release.kind);
    release.restart = args.restart.unwrap_or(release.restart);
    release.notes = args.notes.clone().unwrap_or(release.notes);
    release.minimum_base_version = args.minimum_base_version.or(release.minimum_base_version);
    release.validate().map_err(refused)?;
    let version = release.version;
    let info = pack(&args.from, &Contents::Release(release), &args.out)?;
    args.output.one(&json!({
        "package": args.out,
        "version": version,
        "files": info.manifest.files.len(),
        "length": info.length,
        "sha256": info.sha256,
    }))
}

/// Packs a folder, and reads the package back as a host would.
pub(crate) fn pack(from: &Path, contents: &Contents, out: &Path) -> Result<PackageInfo, Failure> {
    cab::build(from, contents, out).map_err(|error| match error {
        BuildError::Io { .. } | BuildError::Changed(_) => failed(error),
        BuildError::Kind(_)
        | BuildError::Path { .. }
        | BuildError::Manifest(_)
        | BuildError::TooLarge(_)
        | BuildError::Profile(_) => refused(error),
    })?;
    inspect(out, None).map_err(|error| {
        // What no host would take is not left lying about.
        let _ = fs::remove_file(out);
        refused(error)
    })
}

/// The release as the folder describes it, or a plain one.
fn described(args: &Build) -> Result<ReleaseManifest, Failure> {
    let path = args.from.join("release.json");
    let unreadable = |error: io::Error| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    if !path.exists() {
        return Ok(ReleaseManifest::minor(args.version, 0));
    }
    if fs::metadata(&path).map_err(unreadable)?.len() > MAX_RELEASE_JSON as u64 {
        return Err(Failure::refused(format!("{} is larger than any honest one", path.display())));
    }
    ReleaseManifest::from_slice(&fs::read(&path).map_err(unreadable)?).map_err(refused)
}

/// How many rule files the folder has.
fn count_rules(rules: &Path) -> io::Result<u32> {
    if !rules.is_dir() {
        return Ok(0);
    }
    let mut count = 0;
    for found in fs::read_dir(rules)? {
        let path = found?.path();
        if path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml") {
            count += 1;
        }
    }
    Ok(count)
}

/// How many Suricata rules a folder has: lines that name a `sid:`.
pub(crate) fn count_suricata(rules: &Path) -> io::Result<u32> {
    if !rules.is_dir() {
        return Ok(0);
    }
    let mut count = 0_u32;
    for found in fs::read_dir(rules)? {
        let path = found?.path();
        if path.extension().is_some_and(|ending| ending == "rules") {
            count = count.saturating_add(count_suricata_rules(&fs::read(path)?));
        }
    }
    Ok(count)
}

pub(super) fn sign(args: &Sign, now: Timestamp) -> Result<(), Failure> {
    args.output.one(&row(&sign_into(args, now)?))
}

/// Signs a package, of a release or of rules, into the author's repository.
pub(crate) fn sign_into(args: &Sign, now: Timestamp) -> Result<tuf::SignedTarget, Failure> {
    if !args.package.is_file() {
        return Err(Failure::not_found(format!("there is no package {}; build it first", args.package.display())));
    }
    let author = if ImageAuthor::exists(&args.keys) {
        ImageAuthor::open(&args.keys, &args.repository)
    } else {
        ImageAuthor::create(&args.keys, &args.repository, now)
    };
    author.and_then(|mut author| author.sign(&args.package, now)).map_err(not_signed)
}

pub(super) fn resign(args: &Resign, now: Timestamp) -> Result<(), Failure> {
    let mut author = ImageAuthor::open(&args.keys, &args.repository).map_err(not_signed)?;
    author.resign(now).map_err(not_signed)?;
    let documents = tuf::expiries(&args.repository);
    let documents = documents.iter().map(|document| {
        json!({ "role": document.role.word(), "version": document.signers.version, "expirationDateTime": document.at })
    });
    args.output.list(&documents.collect::<Vec<_>>(), DOCUMENTS)
}

pub(super) fn rotate_root(args: &RotateRoot, now: Timestamp) -> Result<(), Failure> {
    let rotated = ImageAuthor::rotate_root(&args.keys, &args.repository, &args.replaced, now).map_err(not_signed)?;
    args.output.one(&json!({
        "rootVersion": rotated.version,
        "expirationDateTime": rotated.expires,
        "replacedKeys": rotated.replaced,
        "retiredKeyFiles": rotated.retired,
    }))
}

pub(super) fn signed(repository: &Path, output: Output) -> Result<(), Failure> {
    let writer = tuf::Writer::open(repository, None, tuf::Lifetimes::IMAGE).map_err(not_signed)?;
    let mut targets = writer.targets();
    targets.retain(|target| target.custom.release().is_some());
    targets.sort_by_key(|target| target.custom.release().map(|release| release.release_counter));
    output.list(&targets.iter().map(row).collect::<Vec<_>>(), SIGNED)
}

fn row(target: &tuf::SignedTarget) -> Value {
    json!({
        "releaseCounter": target.custom.release().map(|release| release.release_counter),
        "version": target.custom.release().map(|release| release.version),
        "name": target.name,
        "length": target.length,
        "sha256": target.sha256,
    })
}

/// Which exit code an error of a repository has.
fn not_signed(error: RepositoryError) -> Failure {
    match &error {
        RepositoryError::Absent(_) | RepositoryError::NoKey { .. } => Failure::not_found(super::line(&error)),
        RepositoryError::Exists(_)
        | RepositoryError::Refused { .. }
        | RepositoryError::TooFewKeys { .. }
        | RepositoryError::CutOff(_)
        | RepositoryError::Name(_)
        | RepositoryError::Taken(_)
        | RepositoryError::Rules(_)
        | RepositoryError::Package(_) => refused(error),
        RepositoryError::Io { .. } | RepositoryError::Key(_) | RepositoryError::Canonical { .. } => failed(error),
    }
}
