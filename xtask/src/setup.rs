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
    ("faketime", Seen::File("/usr/bin/faketime")),
    ("fonts-dejavu-core", Seen::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")),
    ("iproute2", Seen::Command(&["ip", "-V"])),
    ("krb5-user", Seen::File("/usr/bin/kinit")),
    ("ldap-utils", Seen::File("/usr/bin/ldapsearch")),
    ("ldb-tools", Seen::File("/usr/bin/ldbsearch")),
    ("nftables", Seen::File("/usr/sbin/nft")),
    ("samba", Seen::File("/usr/sbin/samba")),
    ("samba-ad-provision", Seen::File("/usr/share/samba/setup/provision.ldif")),
    ("samba-dsdb-modules", Seen::Command(&["dpkg-query", "--show", "samba-dsdb-modules"])),
    ("samba-vfs-modules", Seen::Command(&["dpkg-query", "--show", "samba-vfs-modules"])),
    ("smbclient", Seen::File("/usr/bin/smbclient")),
    ("strace", Seen::File("/usr/bin/strace")),
    ("systemd", Seen::Command(&["systemd-analyze", "--version"])),
    ("tcpreplay", Seen::File("/usr/bin/tcpreplay")),
    ("tinyproxy-bin", Seen::File("/usr/bin/tinyproxy")),
    ("util-linux", Seen::Command(&["setpriv", "--version"])),
    ("winbind", Seen::File("/usr/sbin/winbindd")),
    ("python3-venv", Seen::Command(&["python3", "-c", "import ensurepip, venv"])),
];

/// What comes from Debian's backports: the release's own Suricata is a generation behind.
const BACKPORTS: &[(&str, Seen)] = &[("suricata", Seen::Command(&["suricata", "-V"]))];

/// The suite of the backports of the Debian release that the tests are run on.
const BACKPORTS_SUITE: &str = "bookworm-backports";

/// Where apt reads of that suite.
const BACKPORTS_LIST: &str = "/etc/apt/sources.list.d/watchpost-backports.sources";

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
    let is_there = |seen: &Seen| match seen {
        Seen::File(file) => Path::new(file).exists(),
        Seen::Command(words) => {
            words.split_first().is_some_and(|(program, rest)| run::succeeds(&mut run::command(root, program, rest)))
        }
    };
    let missing = missing_packages(PACKAGES, is_there);
    let backports = missing_packages(BACKPORTS, is_there);
    if missing.is_empty() && backports.is_empty() {
        return Ok(());
    }
    let wanted = [missing.as_slice(), backports.as_slice()].concat().join(" ");
    if !run::succeeds(&mut run::command(root, "apt-get", &["--version"])) {
        bail!(
            "missing: {wanted}. There is no apt-get here: install what these Debian packages hold, then run this again"
        );
    }
    if run::output(&mut run::command(root, "id", &["-u"]))?.trim() != "0" {
        bail!(
            "missing: {wanted}. Only root may install: `sudo apt-get install -t {BACKPORTS_SUITE} {wanted}`, then run this again"
        );
    }
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&missing);
    let by_hand = || format!("install by hand, then run this again: {wanted}");
    println!("setup: apt-get install {wanted}");
    add_backports(&backports)?;
    run::succeed(&mut apt(root, &["update", "-q"]))?;
    if !missing.is_empty() {
        run::succeed(&mut apt(root, &install)).with_context(by_hand)?;
    }
    if !backports.is_empty() {
        let mut install = vec!["install", "-y", "-q", "--no-install-recommends", "-t", BACKPORTS_SUITE];
        install.extend(&backports);
        run::succeed(&mut apt(root, &install)).with_context(by_hand)?;
    }
    Ok(())
}

/// Makes apt read the backports from wherever it reads the release itself, unless it does already.
fn add_backports(wanted: &[&str]) -> Result<()> {
    let folder = Path::new("/etc/apt/sources.list.d");
    if wanted.is_empty() || reads_backports(folder) {
        return Ok(());
    }
    let text = std::fs::read_to_string(folder.join("debian.sources"))
        .with_context(|| format!("add {BACKPORTS_SUITE} to apt's sources, then run this again"))?;
    std::fs::write(BACKPORTS_LIST, backports_of(&text)).with_context(|| format!("{BACKPORTS_LIST} cannot be written"))
}

fn reads_backports(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "sources" || extension == "list"))
        .any(|file| std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains(BACKPORTS_SUITE)))
}

/// The first stanza of apt's own sources, asking for the backports.
fn backports_of(sources: &str) -> String {
    let stanza = sources.split("\n\n").next().unwrap_or_default();
    let lines = stanza.lines().map(|line| match line.strip_prefix("Suites:") {
        Some(_) => format!("Suites: {BACKPORTS_SUITE}"),
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

/// Those of `packages` that `is_there` does not see.
fn missing_packages(packages: &[(&'static str, Seen)], is_there: impl Fn(&Seen) -> bool) -> Vec<&'static str> {
    packages.iter().filter(|(_, seen)| !is_there(seen)).map(|(package, _)| *package).collect()
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
        assert!(missing_packages(PACKAGES, |_| true).is_empty());
        let packages = [("here", Seen::Command(&["here"])), ("gone", Seen::File("/gone"))];
        assert_eq!(missing_packages(&packages, |seen| matches!(seen, Seen::Command(_))), ["gone"]);
    }

    #[test]
    fn the_backports_are_read_from_where_the_release_is_read() {
        let sources = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\nTypes: deb\nSuites: other\n";
        let wanted = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\n";
        assert_eq!(backports_of(sources), wanted);
    }

    #[test]
    fn a_version_is_compared_whole() {
        assert!(is_version("cargo-deny 0.20.2\n", "0.20.2"));
        assert!(!is_version("cargo-deny 0.20.20", "0.20.2"));
        assert!(!is_version("", "0.20.2"));
    }
}
