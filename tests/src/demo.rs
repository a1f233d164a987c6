//! A `watchpost demo` as a child process, seen only through what it prints, its API, its files and `/proc`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::tools;

/// A demo that was started. Dropping it stops everything it started.
pub struct Demo {
    child: Child,
    out: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

/// Which of the three programs a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `watchpost serve`.
    Server,
    /// `watchpost-updater run`.
    Updater,
    /// `watchpost-sensor run`.
    Sensor,
}

impl Demo {
    /// Starts a demo in a folder of its own; it prints JSON.
    ///
    /// # Errors
    /// When the program is missing or cannot be started.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut command = Command::new(tools::binary("watchpost")?);
        command.arg("demo").args(["--output", "json", "--dir"]).arg(dir.path()).args(arguments);
        // Everything is built already; without this the demo would ask cargo again.
        command.env_remove("CARGO").env_remove("CARGO_MANIFEST_DIR");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("the demo has no standard output")?);
        Ok(Self { child, out, dir })
    }

    /// The demo's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The one JSON object it prints when its rollout is over; the demo may keep running.
    ///
    /// # Errors
    /// When it ends without one, or prints something else.
    pub fn result(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the demo printed no JSON object but: {line:?}"))
    }

    /// Waits for the end of a demo that exits by itself; gives its exit code and what else it printed.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end(mut self) -> anyhow::Result<(Option<i32>, String)> {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        Ok((self.child.wait()?.code(), rest))
    }

    /// Whether the demo itself still runs.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// The processes that work in this demo's folder at this moment.
    #[must_use]
    pub fn processes(&self) -> Vec<(Program, i32)> {
        processes_in(self.dir.path())
    }
}

/// The product's processes whose arguments name `dir`.
#[must_use]
pub fn processes_in(dir: &Path) -> Vec<(Program, i32)> {
    let dir = dir.to_string_lossy().into_owned();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split('\0').collect();
        let name = PathBuf::from(*words.first()?).file_name()?.to_str()?.to_owned();
        if !line.contains(&dir) {
            return None;
        }
        let program = match (name.as_str(), words.get(1).copied()) {
            ("watchpost", Some("serve")) => Program::Server,
            ("watchpost-updater", Some("run")) => Program::Updater,
            ("watchpost-sensor", Some("run")) => Program::Sensor,
            _ => return None,
        };
        Some((program, pid))
    })
    .collect()
}

impl Drop for Demo {
    fn drop(&mut self) {
        tools::signal(i32::try_from(self.child.id()).unwrap_or(0), rustix::process::Signal::TERM);
        let _ = self.child.wait();
        for (_, pid) in processes_in(self.dir.path()) {
            tools::signal(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A text field of a row.
///
/// # Panics
/// Never; an absent field reads as an empty text.
#[must_use]
pub fn word<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// Whether a sensor's row says that it runs `version` and has nothing before it.
pub fn runs(version: &'static str) -> impl Fn(&Value) -> bool {
    move |sensor| word(sensor, "version") == version && word(sensor, "deploymentStatus") == "upToDate"
}

/// What one host folder says for itself: the version `current` points at, after every file of it was checked
/// against the manifest it came with.
///
/// # Errors
/// When the link is missing, or a file is missing or differs.
pub fn version_on_disk(host: &Path) -> anyhow::Result<String> {
    let current = host.join("current").canonicalize().context("`current` leads nowhere")?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(current.join("manifest.json"))?)?;
    let files = manifest["files"].as_array().context("the manifest names no files")?;
    let paths: Vec<PathBuf> = files.iter().map(|file| current.join(word(file, "path"))).collect();
    for ((file, path), found) in files.iter().zip(&paths).zip(tools::sha256_of_all(&paths)?) {
        anyhow::ensure!(found == word(file, "sha256"), "{} is not what the manifest says", path.display());
    }
    let release: Value = serde_json::from_slice(&std::fs::read(current.join("release.json"))?)?;
    Ok(word(&release, "version").to_owned())
}
