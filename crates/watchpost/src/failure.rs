//! How a command ends when it does not end well: one line for a person, one exit code for a script.

use std::fmt;
use std::process::ExitCode;

/// A command that was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// It was tried and failed: exit code 1.
    pub(crate) fn failed(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 1 }
    }

    /// It was called wrongly: exit code 2.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 2 }
    }

    /// It is not allowed, or not possible as things stand: exit code 3.
    pub(crate) fn refused(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 3 }
    }

    /// There is no such thing: exit code 4.
    pub(crate) fn not_found(line: impl Into<String>) -> Self {
        Self { line: line.into(), code: 4 }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}
