//! Uploaded packages on their way to publication: streamed to disk within a limit, named by their hash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::auth::secret::random_bytes;

/// Most packages that wait for their publication.
const MAX_WAITING: usize = 16;
/// How long an upload may send nothing.
const UPLOAD_STALL: Duration = Duration::from_secs(30);
/// How the file of an upload under way begins.
const PARTIAL: &str = ".partial-";

/// A package that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// SHA-256 of it, hex.
    pub sha256: String,
    /// Its length in bytes.
    pub length: u64,
}

/// A file that is removed unless it was kept.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn failed(source: std::io::Error) -> AppError {
    AppError::Files { doing: "take a package in", source }
}

/// Removes what uploads that were cut off by the end of the process left.
pub(crate) fn sweep(uploads: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(uploads)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl App {
    /// Takes a package in. Nothing of it is looked at; publishing names it by its hash.
    ///
    /// # Errors
    /// When the principal may not, it is too large or breaks off, or the disk is full.
    pub async fn receive_package<S, E>(&self, principal: &Principal, mut body: S) -> Result<Upload, AppError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        authorize(principal, Action::PublishReleases, Resource::Workspace)?;
        let uploads = self.0.folder.uploads();
        self.check_room(&uploads).await?;
        let partial = Partial(uploads.join(format!("{PARTIAL}{}", hex::encode(random_bytes::<8>()?))));
        let mut file = File::create_new(&partial.0).await.map_err(failed)?;
        let (mut hash, mut length) = (Context::new(&SHA256), 0_u64);
        loop {
            let next = tokio::time::timeout(UPLOAD_STALL, body.next()).await;
            let next = next.map_err(|_| cut_off("nothing came for a while"))?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|error| cut_off(&error.to_string()))?;
            length = length.saturating_add(chunk.len() as u64);
            if length > self.0.limits.package_bytes {
                let why = format!(
                    "the package is larger than the {} bytes allowed; raise limits.package_bytes if it should be",
                    self.0.limits.package_bytes
                );
                return Err(AppError::TooLarge { why });
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        if length == 0 {
            return Err(AppError::Invalid { field: "package", why: "it is empty".to_owned() });
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        let sha256 = hex::encode(hash.finish());
        fs::rename(&partial.0, uploads.join(format!("{sha256}.cab"))).await.map_err(failed)?;
        Ok(Upload { sha256, length })
    }

    async fn check_room(&self, uploads: &Path) -> Result<(), AppError> {
        let mut waiting = 0;
        let mut entries = fs::read_dir(uploads).await.map_err(failed)?;
        while entries.next_entry().await.map_err(failed)?.is_some() {
            waiting += 1;
        }
        if waiting < MAX_WAITING {
            return Ok(());
        }
        let why = format!(
            "{waiting} uploaded packages wait for their publication; publish them, or remove some from {}",
            uploads.display()
        );
        Err(AppError::Refused { code: "tooManyUploads", why })
    }
}

fn cut_off(why: &str) -> AppError {
    AppError::Invalid { field: "package", why: format!("it did not arrive whole ({why}); upload it again") }
}
