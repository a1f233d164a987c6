//! Rules about who may depend on whom.
//!
//! The arrows are those of `ARCHITECTURE.md`; another one is a decision and needs an ADR.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Finding;
use crate::run;

/// Each crate and the crates of ours it may use. `tests` and `xtask` are not listed: nothing depends on them.
const ARROWS: &[(&str, &[&str])] = &[
    ("watchpost-core", &[]),
    ("watchpost-clock", &["watchpost-core"]),
    ("watchpost-protocol", &["watchpost-core"]),
    ("watchpost-package", &["watchpost-core"]),
    ("watchpost-store", &["watchpost-core"]),
    (
        "watchpost-server",
        &["watchpost-core", "watchpost-clock", "watchpost-protocol", "watchpost-package", "watchpost-store"],
    ),
    ("watchpost-agent", &["watchpost-core", "watchpost-clock", "watchpost-protocol", "watchpost-package"]),
    ("watchpost-fleet-sim", &["watchpost-core", "watchpost-clock", "watchpost-protocol", "watchpost-agent"]),
    (
        "watchpost",
        &[
            "watchpost-core",
            "watchpost-clock",
            "watchpost-package",
            "watchpost-server",
            "watchpost-fleet-sim",
            "watchpost-agent",
        ],
    ),
];

/// What must never stand under `core`: I/O, clocks, chance.
const IMPURE: &[&str] =
    &["tokio", "sqlx", "sqlx-core", "axum", "hyper", "reqwest", "rand", "getrandom", "mio", "rustix"];

/// A second TLS or crypto library would have to be kept safe too.
const FOREIGN_CRYPTO: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "boring", "boring-sys"];

/// Crates of which there is one version.
const SINGLE: &[&str] = &["rustls", "aws-lc-rs", "tokio-rustls", "tokio"];

/// Crates that one crate of ours alone may use.
const RESERVED: &[(&str, &str)] = &[
    ("sqlx", "watchpost-store"),
    ("rusqlite", "watchpost-agent"),
    ("askama", "watchpost-server"),
    ("cab", "watchpost-package"),
];

/// Reads the dependency graph and checks every rule on it.
///
/// # Errors
/// When cargo cannot tell the graph.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec().context("cargo metadata failed")?;
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let shipped = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        let used: BTreeSet<&str> = shipped.map(|dependency| dependency.name.as_str()).collect();
        let manifest = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path).as_str();
        if manifest.starts_with("crates/") {
            findings.extend(direction(manifest, package.name.as_str(), &used));
            findings.extend(reserved(manifest, package.name.as_str(), &used));
        }
    }
    // `cargo metadata` also lists what no feature asks for; `cargo tree` only what is really built.
    let all = ["tree", "--workspace", "--target", "all", "--prefix", "none", "--format", "{p}"];
    findings.extend(crypto(&run::output(&mut run::cargo(root, &all))?));
    let core = ["tree", "--package", "watchpost-core", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    findings.extend(purity(&run::output(&mut run::cargo(root, &core))?));
    Ok(findings)
}

fn direction(manifest: &str, name: &str, used: &BTreeSet<&str>) -> Vec<Finding> {
    let Some((_, may)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        let what =
            format!("`{name}` has no arrows: an ADR says why it exists, xtask/src/tidy/graph.rs what it may use");
        return vec![Finding::new(manifest, 0, what)];
    };
    let ours = used.iter().filter(|other| ARROWS.iter().any(|(of, _)| of == *other) || other.starts_with("watchpost"));
    let wrong = ours.filter(|other| !may.contains(other));
    wrong.map(|other| Finding::new(manifest, 0, format!("`{name}` may not depend on `{other}`"))).collect()
}

fn reserved(manifest: &str, name: &str, used: &BTreeSet<&str>) -> Vec<Finding> {
    let wrong = RESERVED.iter().filter(|(what, whose)| used.contains(what) && *whose != name);
    wrong.map(|(what, whose)| Finding::new(manifest, 0, format!("only `{whose}` may use `{what}`"))).collect()
}

/// `tree` is what `cargo tree --prefix none` prints: a name and a version on each line.
fn purity(tree: &str) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let wrong = names.into_iter().filter(|name| IMPURE.contains(name));
    wrong.map(|name| Finding::new("crates/core/Cargo.toml", 0, format!("`{name}` has come in under `core`"))).collect()
}

/// `tree` is what `cargo tree --prefix none` prints for the whole workspace.
fn crypto(tree: &str) -> Vec<Finding> {
    let all: BTreeSet<(&str, &str)> = tree.lines().filter_map(|line| line.trim().split_once(' ')).map(bare).collect();
    let versions = |name: &str| all.iter().filter(|(other, _)| *other == name).count();
    let foreign = FOREIGN_CRYPTO.iter().filter(|name| versions(name) > 0);
    let foreign = foreign.map(|name| format!("`{name}` has come in: aws-lc-rs is the one crypto library"));
    let twice = SINGLE.iter().filter(|name| versions(name) > 1);
    let twice = twice.map(|name| format!("there are two versions of `{name}`"));
    foreign.chain(twice).map(|what| Finding::new("Cargo.lock", 0, what)).collect()
}

/// The version without what cargo adds behind it, such as `(*)` for "seen above".
fn bare<'a>((name, rest): (&'a str, &'a str)) -> (&'a str, &'a str) {
    (name, rest.split_whitespace().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(names: &[&'static str]) -> BTreeSet<&'static str> {
        names.iter().copied().collect()
    }

    #[test]
    fn arrows_point_one_way() {
        assert!(direction("m", "watchpost-server", &used(&["watchpost-core", "watchpost-store", "axum"])).is_empty());
        assert_eq!(direction("m", "watchpost-core", &used(&["watchpost-store"])).len(), 1);
        assert_eq!(direction("m", "watchpost-agent", &used(&["watchpost-server", "watchpost-store"])).len(), 2);
        assert_eq!(direction("m", "watchpost-extra", &used(&[])).len(), 1);
    }

    #[test]
    fn no_arrow_of_the_table_closes_a_circle() {
        let mut seen = vec![];
        for (name, may) in ARROWS {
            assert!(may.iter().all(|other| seen.contains(other)), "{name} uses what is listed after it");
            seen.push(name);
        }
    }

    #[test]
    fn sql_is_for_the_store_and_for_the_evidence_of_a_host() {
        assert!(reserved("m", "watchpost-store", &used(&["sqlx"])).is_empty());
        assert_eq!(reserved("m", "watchpost-server", &used(&["sqlx", "rusqlite"])).len(), 2);
        assert!(reserved("m", "watchpost-agent", &used(&["rusqlite"])).is_empty());
    }

    #[test]
    fn impure_crates_under_core_are_found() {
        assert!(purity("watchpost-core v0.1.0 (crates/core)\nserde v1.0.0\nrand_chacha v0.9.0\n").is_empty());
        assert_eq!(purity("watchpost-core v0.1.0\ngetrandom v0.3.4\ngetrandom v0.3.4 (*)\n").len(), 1);
    }

    #[test]
    fn a_second_crypto_library_is_found() {
        assert!(crypto("rustls v0.23.1\naws-lc-rs v1.1.0\nrustls v0.23.1 (*)\n").is_empty());
        assert_eq!(crypto("rustls v0.23.1\nrustls v0.22.0\nring v0.17.0\n").len(), 2);
    }
}
