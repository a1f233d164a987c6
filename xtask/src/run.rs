//! Running a command with a progress line before it and its time after it.
//!
//! Standard input is always empty: nothing a developer command starts may wait for an answer.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A stopwatch for progress lines. Figures for people; nothing is decided by them.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "progress lines of a developer command tell real time")]
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A command of `program` in `folder`, with empty standard input.
pub(crate) fn command(folder: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

/// `cargo` itself, the one that runs this program.
pub(crate) fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(folder, &cargo, arguments)
}

/// The command as a person would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, its output going straight through.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = spelled(command);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    if status.success() { Ok(()) } else { bail!("`{line}` failed ({status})") }
}

/// Whether it starts and exits with 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What it prints on standard output.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = spelled(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("`{line}` could not be started"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed what is no text"))
}

/// Runs to the end, copying each line of its standard output to `copy` and handing it to `see`. Says whether it
/// exited with 0.
///
/// # Errors
/// When it cannot be started or read.
pub(crate) fn watch(command: &mut Command, copy: &mut dyn Write, see: &mut dyn FnMut(&str)) -> Result<bool> {
    let line = spelled(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("`{line}` could not be started"))?;
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).split(b'\n') {
            let text = text.with_context(|| format!("the output of `{line}` could not be read"))?;
            let text = String::from_utf8_lossy(&text);
            writeln!(copy, "{text}")?;
            see(&text);
        }
    }
    Ok(child.wait().with_context(|| format!("`{line}` was lost"))?.success())
}
