//! Runs the product's own commands, exactly as a person would type them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::Command;

/// A program, and the environment it is run in.
#[derive(Clone)]
pub(super) struct Tool {
    pub(super) program: PathBuf,
    pub(super) environment: Vec<(String, String)>,
}

impl Tool {
    pub(super) fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), environment: Vec::new() }
    }

    /// Runs it and gives what it printed on standard output.
    pub(super) async fn run(&self, arguments: &[String]) -> anyhow::Result<String> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = format!("{name} {}", arguments.first().map_or("", String::as_str));
        let output = Command::new(&self.program)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .await
            .with_context(|| format!("cannot start {shown}"))?;
        anyhow::ensure!(
            output.status.success(),
            "`{shown}` failed with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Arguments from words.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
