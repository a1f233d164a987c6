//! Installing what the tests need beside Rust: Debian packages, a Python with `tuf`, and `cargo-deny`.
//!
//! Each need says how to see that it is met, so a second run only looks. Nothing outside `target/` is touched but
//! by apt.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// How to see that a Debian package is there.
enum Seen {
    /// This file exists.
    File(&'static str),
    /// This command exits with 0. For what may also come from elsewhere than Debian.
    Command(&'static [&'static str]),
}

/// What the tests need from Debian.
const PACKAGES: &[(&str, Seen)] = &[
    ("cabextract", Seen::Command(&["cabextract", "--version"])),
    ("chromium", Seen::File("/usr/bin/chromium")),
    ("fonts-dejavu-core", Seen::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")),
    ("python3-venv", Seen::Command(&["python3", "-c", "import ensurepip, venv"])),
];

/// The independent TUF client that the tests verify both repositories with.
const TUF_VERSION: &str = "7.0.1";

/// What it checks ECDSA and RSA signatures with; by itself it knows Ed25519 alone.
const TUF_CRYPTO: &str = "securesystemslib[crypto]==1.6.0";

/// The `cargo-deny` whose answers CI goes by.
const DENY_VERSION: &str = "0.20.2";

/// Installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed; the message says what to install by hand.
pub(crate) fn run(root: &Path) -> Result<()> {
    debian_packages(root)?;
    python_with_tuf(root)?;
    cargo_deny(root)
}

/// Where a Python stands that can `import tuf`.
fn python(root: &Path) -> PathBuf {
    root.join("target/venv/bin/python")
}

/// Where the pinned `cargo-deny` stands.
pub(crate) fn deny(root: &Path) -> PathBuf {
    root.join("target/tools/bin/cargo-deny")
}

fn debian_packages(root: &Path) -> Result<()> {
    let missing = missing_packages(|seen| match seen {
        Seen::File(file) => Path::new(file).exists(),
        Seen::Command(words) => {
            words.split_first().is_some_and(|(program, rest)| run::succeeds(&mut run::command(root, program, rest)))
        }
    });
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !run::succeeds(&mut run::command(root, "apt-get", &["--version"])) {
        bail!(
            "missing: {wanted}. There is no apt-get here: install what these Debian packages hold, then run this again"
        );
    }
    if run::output(&mut run::command(root, "id", &["-u"]))?.trim() != "0" {
        bail!("missing: {wanted}. Only root may install: `sudo apt-get install {wanted}`, then run this again");
    }
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&missing);
    println!("setup: apt-get install {wanted}");
    run::succeed(&mut apt(root, &["update", "-q"]))?;
    run::succeed(&mut apt(root, &install)).with_context(|| format!("install by hand, then run this again: {wanted}"))
}

/// The packages that `is_there` does not see.
fn missing_packages(is_there: impl Fn(&Seen) -> bool) -> Vec<&'static str> {
    PACKAGES.iter().filter(|(_, seen)| !is_there(seen)).map(|(package, _)| *package).collect()
}

fn apt(root: &Path, arguments: &[&str]) -> Command {
    let mut command = run::command(root, "apt-get", arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn python_with_tuf(root: &Path) -> Result<()> {
    let python = python(root);
    let python = python.to_string_lossy();
    let has_it = format!(
        "import importlib.metadata as m, tuf.ngclient, cryptography; assert m.version('tuf') == '{TUF_VERSION}'"
    );
    if run::succeeds(&mut run::command(root, &python, &["-c", &has_it])) {
        return Ok(());
    }
    println!("setup: tuf {TUF_VERSION} from PyPI into target/venv");
    run::succeed(&mut run::command(root, "python3", &["-m", "venv", "--clear", "target/venv"]))?;
    let wanted = format!("tuf=={TUF_VERSION}");
    run::succeed(&mut run::command(root, &python, &["-m", "pip", "install", "--quiet", &wanted, TUF_CRYPTO]))
}

fn cargo_deny(root: &Path) -> Result<()> {
    let deny = deny(root);
    let said = run::command(root, &deny.to_string_lossy(), &["--version"]).output();
    if said.is_ok_and(|output| is_version(&String::from_utf8_lossy(&output.stdout), DENY_VERSION)) {
        return Ok(());
    }
    println!("setup: cargo install cargo-deny {DENY_VERSION} into target/tools (once; about a minute)");
    let mut install = run::cargo(
        root,
        &["install", "cargo-deny", "--version", DENY_VERSION, "--locked", "--quiet", "--root", "target/tools"],
    );
    // It reads one graph per run: built without optimization it is ready in 50 s on two cores, and answers in 2 s.
    install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    install.env("CARGO_PROFILE_RELEASE_LTO", "off");
    install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
    install.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    run::succeed(&mut install)
}

/// Whether `said` (such as `cargo-deny 0.20.2`) names exactly this version.
fn is_version(said: &str, version: &str) -> bool {
    said.split_whitespace().nth(1) == Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_seen_is_missing() {
        assert!(missing_packages(|_| true).is_empty());
        let without_files = missing_packages(|seen| matches!(seen, Seen::Command(_)));
        assert_eq!(without_files, ["chromium", "fonts-dejavu-core"]);
    }

    #[test]
    fn a_version_is_compared_whole() {
        assert!(is_version("cargo-deny 0.20.2\n", "0.20.2"));
        assert!(!is_version("cargo-deny 0.20.20", "0.20.2"));
        assert!(!is_version("", "0.20.2"));
    }
}
