//! The tools a test needs: where they are, and the install line when they are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// A program of this workspace, built beside the test.
///
/// # Errors
/// When it is not there; says how to build it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let beside = here.ancestors().skip(1).map(|dir| dir.join(name)).find(|path| path.is_file());
    beside
        .with_context(|| format!("{name} is not built: run `cargo build --release --workspace`, or `cargo xtask test`"))
}

/// The checkout this test was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// A port of the loopback that nobody listens on.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens on a port of the loopback.
///
/// # Errors
/// When nobody does within ten seconds.
pub async fn until_open(port: u16) -> anyhow::Result<()> {
    let asking = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.context("nobody listens")
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// When it is not installed (says how to install it) or fails (says what it printed).
pub fn run(command: &mut Command, install: &str) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started; install it: {install}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{command:?} failed with {}:\n{out}{err}", output.status);
    Ok(out.into_owned())
}

/// SHA-256 of a file, as `sha256sum` computes it: a peer's answer, not the product's.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    sha256_of_all(&[path])?.pop().context("sha256sum said nothing")
}

/// The same of several files, in their order.
///
/// # Errors
/// When one of them cannot be read.
pub fn sha256_of_all<P: AsRef<Path>>(paths: &[P]) -> anyhow::Result<Vec<String>> {
    let paths = paths.iter().map(AsRef::as_ref);
    let out = run(Command::new("sha256sum").arg("-b").args(paths), "apt-get install coreutils")?;
    let first_word = |line: &str| line.split_whitespace().next().map(|hash| hash.trim_start_matches('\\').to_owned());
    Ok(out.lines().filter_map(first_word).collect())
}

/// Sends a signal to a process that may be gone already.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}
