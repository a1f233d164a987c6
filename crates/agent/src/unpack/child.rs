//! The child: gives up its rights, then extracts what is on its standard input into the folder it was started in.
//!
//! Looks at nothing of the package before the rights are gone.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use watchpost_package::extract_opened;

use super::confine::confine;
use super::report::{Outcome, Report};
use crate::updater::in_one_line;

/// The word that makes this program the child. It is not for people.
pub const VERB: &str = "unpack-from-standard-input";

/// Does the child's work and says on standard output what came of it.
#[must_use]
pub fn run_child() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody can be told: the way to the parent is what failed.
        Err(_) => ExitCode::FAILURE,
    }
}

fn act() -> io::Result<()> {
    let package = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let length = package.metadata()?.len();
    let confinement = confine(&package);
    let outcome = match extract_opened(package, length, Path::new(".")) {
        Ok(_) => Outcome::Done,
        Err(error) if is_full(&error) => Outcome::DiskFull,
        Err(error) => Outcome::Refused { reason: in_one_line(&error) },
    };
    let mut line = serde_json::to_vec(&Report { confinement, outcome })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        next = error.source();
    }
    false
}
