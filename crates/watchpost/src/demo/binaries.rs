//! The host binaries: built here in a checkout, else looked for beside this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// The programs a demo starts.
#[derive(Clone)]
pub(super) struct Binaries {
    pub(super) watchpost: PathBuf,
    pub(super) updater: PathBuf,
    pub(super) sensor: PathBuf,
}

impl Binaries {
    /// Finds the programs; in a checkout cargo brings the host binaries up to date first.
    pub(super) fn find() -> anyhow::Result<Self> {
        let watchpost = std::env::current_exe().context("cannot tell where this program lies")?;
        let beside = watchpost.parent().context("this program lies in no folder")?.to_owned();
        // Under `cargo run` they are brought up to date; a program started by itself takes what lies beside it.
        let is_missing = !["watchpost-updater", "watchpost-sensor"].iter().all(|name| beside.join(name).is_file());
        if let Some(checkout) = checkout_of(&beside).filter(|_| is_missing || std::env::var_os("CARGO").is_some()) {
            build_host_binaries(&checkout, &beside)?;
        }
        let found = |name: &str| {
            let path = beside.join(name);
            anyhow::ensure!(
                path.is_file(),
                "{name} is not beside {}: install the host binaries there, or run the demo from a checkout",
                watchpost.display()
            );
            Ok(path)
        };
        Ok(Self { updater: found("watchpost-updater")?, sensor: found("watchpost-sensor")?, watchpost })
    }
}

/// The checkout this program was built from: cargo names it to what it runs, else it is two folders up.
fn checkout_of(beside: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let candidates = [named.as_deref(), Some(beside)].into_iter().flatten();
    let mut checkouts = candidates.filter_map(|folder| folder.parent()?.parent());
    checkouts.find(|checkout| checkout.join("crates/agent/Cargo.toml").is_file()).map(Path::to_owned)
}

fn build_host_binaries(checkout: &Path, beside: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Named together with this program, so that their common libraries have the same features and are not built twice.
    cargo.current_dir(checkout).args(["build", "--package", "watchpost", "--package", "watchpost-agent", "--bins"]);
    if beside.file_name().is_some_and(|profile| profile == "release") {
        cargo.arg("--release");
    }
    // Cargo reports on standard error, so that standard output stays the demo's own.
    let status = cargo.status().context("cannot start cargo to build the host binaries")?;
    anyhow::ensure!(status.success(), "cargo could not build the host binaries: its messages are above");
    Ok(())
}
