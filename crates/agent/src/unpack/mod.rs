//! Has a package extracted by a child without rights, and believes nothing of what the child says: this program's own
//! binary, started anew with an empty environment, an opened package and an empty folder.
//!
//! Nothing is installed that was not compared, file by file, with its manifest, and the manifest with what was signed.

mod child;
mod confine;
mod report;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use watchpost_package::{Approved, Contents, Signed, VerifyError};

use crate::updater::{Look, VersionError, verify_folder};

pub use child::{VERB, run_child};
pub use report::{Confinement, Enforced};
use report::{Outcome, Report};

/// How long a package may take to be extracted, in real time.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The most that a child may say.
const REPORT_BYTES: u64 = 16 * 1024;

/// Why a package was not extracted. What is in the folder then is rubbish.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is not what both repositories vouch for.
    #[error("the package was refused")]
    Trust(#[source] VerifyError),
    /// The child cannot be started.
    #[error("the process that unpacks cannot be started; check the limits of this service")]
    Start(#[source] io::Error),
    /// The child took too long, and was ended.
    #[error("the process that unpacks was ended after {0} s; the host may be too busy; it is tried again")]
    Late(u64),
    /// The child ended otherwise than it should.
    #[error("the process that unpacks {0}; it is tried again")]
    Ended(String),
    /// The child said nothing that can be understood.
    #[error("the process that unpacks said nothing that can be understood; it is tried again")]
    Garbled,
    /// The child refused the package.
    #[error("the package cannot be unpacked: {0}")]
    Refused(String),
    /// The disk ran full.
    #[error("the package does not fit the disk")]
    DiskFull(#[source] io::Error),
    /// What the child left is not what the manifest names.
    #[error("what was unpacked is not what was signed")]
    Altered(#[source] VersionError),
    /// The work was cut short.
    #[error("the work was interrupted; it is tried again")]
    Interrupted,
}

impl UnpackError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Start(_) | Self::Late(_) | Self::Ended(_) | Self::Garbled | Self::Interrupted => true,
            Self::Trust(_) | Self::Refused(_) | Self::DiskFull(_) | Self::Altered(_) => false,
        }
    }
}

/// An empty folder that goes away with everything in it, unless it was given another name meanwhile.
#[derive(Debug)]
pub struct Staging(PathBuf);

impl Staging {
    /// Takes charge of a folder that was made for this.
    #[must_use]
    pub fn of(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Its name is never used again, and the next start sweeps what stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts the children that extract packages.
#[derive(Clone, Debug)]
pub struct Unpacker {
    program: PathBuf,
    arguments: Vec<OsString>,
    patience: Duration,
    /// Where to write down how the last child was confined.
    note: PathBuf,
}

impl Unpacker {
    /// One that starts this very program, and writes down in `note` how the child was confined.
    #[must_use]
    pub fn new(note: PathBuf) -> Self {
        #[cfg(test)]
        let (program, arguments) = tests::child_of_tests();
        // What runs, even if another version of the program has taken its place on the disk.
        #[cfg(not(test))]
        let (program, arguments) = (PathBuf::from("/proc/self/exe"), vec![OsString::from(VERB)]);
        Self { program, arguments, patience: PATIENCE, note }
    }

    /// Extracts an approved package into an empty folder and compares the outcome with what was signed.
    ///
    /// # Errors
    /// When the package is another one, the child fails, or what it leaves is not what was signed.
    pub async fn unpack<C>(
        &self,
        approved: &Approved<C>,
        package: &Path,
        staging: &Path,
    ) -> Result<Contents, UnpackError>
    where
        C: Clone + Into<Signed> + Send + Sync + 'static,
    {
        let (wanted, path) = (approved.clone(), package.to_owned());
        let opened = blocking(move || wanted.open(&path).map_err(UnpackError::Trust)).await?;
        let confinement = self.extract(opened, staging).await?;
        confinement.tell(&self.note);
        let (wanted, folder) = (approved.clone(), staging.to_owned());
        blocking(move || {
            let contents = wanted.check_folder(&folder).map_err(UnpackError::Trust)?;
            verify_folder(&folder, Look::Full).map_err(UnpackError::Altered)?;
            Ok(contents)
        })
        .await
    }

    /// Runs the child to its end; says how it was confined, as it says itself.
    async fn extract(&self, package: File, staging: &Path) -> Result<Confinement, UnpackError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .current_dir(staging)
            .stdin(package)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().map_err(UnpackError::Start)?;
        let ended = tokio::time::timeout(self.patience, end_of(child)).await;
        let (status, said) = ended.map_err(|_| UnpackError::Late(self.patience.as_secs()))??;
        if !status.success() {
            return Err(UnpackError::Ended(in_words(status)));
        }
        let Report { confinement, outcome } = Report::last_of(&said).ok_or(UnpackError::Garbled)?;
        match outcome {
            Outcome::Done => Ok(confinement),
            Outcome::DiskFull => Err(UnpackError::DiskFull(io::ErrorKind::StorageFull.into())),
            Outcome::Refused { reason } => Err(UnpackError::Refused(reason)),
        }
    }
}

/// Waits for the end of a child; gives what it said. One that is not waited for any more is killed.
async fn end_of(mut child: Child) -> Result<(ExitStatus, Vec<u8>), UnpackError> {
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(REPORT_BYTES).read_to_end(&mut said).await.map_err(UnpackError::Start)?;
    }
    let status = child.wait().await.map_err(UnpackError::Start)?;
    Ok((status, said))
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "has ended".to_owned(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| UnpackError::Interrupted)?
}
