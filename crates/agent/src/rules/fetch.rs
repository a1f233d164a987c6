//! From an order at a check-in to a verified folder: both repositories first, then room, bytes, hash, extraction.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use watchpost_core::content::{
    DesiredRules, RulesEvent, RulesPromise, RulesSet, SURICATA_FOLDER, SignedRules, count_suricata_rules,
};
use watchpost_core::time::Timestamp;
use watchpost_package::{Approved, Verifier};

use super::shelf::Shelf;
use crate::host::disk::read_limited;
use crate::unpack::Staging;
use crate::updater::{Layout, PrepareError, Preparer, VersionError, in_one_line};

/// The largest file of Suricata rules that is read.
const RULES_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// The largest note about an approved package.
const NOTE_BYTES: u64 = 16 * 1024;

/// Where packages come from.
pub trait Fetch: Clone + Send + Sync + 'static {
    /// Fetches and verifies a package into its folder; tells how it went.
    fn fetch(&self, order: DesiredRules, server_time: Timestamp) -> impl Future<Output = RulesEvent> + Send;

    /// From here on no older package is approved. Blocks.
    fn raise_floor(&self, set: &RulesSet);
}

/// Why a package could not be had. What is loaded is untouched.
#[derive(Debug, thiserror::Error)]
enum FetchRulesError {
    /// It could not be fetched, or is not to be believed.
    #[error("the package could not be had")]
    Prepare(#[source] PrepareError),
    /// It cannot be put in place.
    #[error("the package cannot be put in place")]
    Folder(#[source] VersionError),
    /// A file cannot be read or written.
    #[error("{path} cannot be used; check that the disk is sound")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not a rule package.
    #[error("the package holds no rules")]
    NoRules,
    /// It promises more than it holds.
    #[error("the package promises {promised} rules for suricata and holds {holds}: build it anew")]
    Promise {
        /// What it promises.
        promised: u32,
        /// What it holds.
        holds: u32,
    },
    /// The work was cut short.
    #[error("the work was interrupted; it is tried again")]
    Interrupted,
}

impl FetchRulesError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Prepare(error) => error.is_retryable(),
            Self::Interrupted => true,
            Self::Folder(_) | Self::Io { .. } | Self::NoRules | Self::Promise { .. } => false,
        }
    }
}

/// Fetches over the updater's connection, with its trust folder.
#[derive(Clone)]
pub struct Fetcher {
    preparer: Preparer,
    layout: Layout,
    shelf: Shelf,
}

impl Fetcher {
    pub(super) fn new(preparer: &Preparer, layout: Layout, shelf: Shelf) -> Self {
        Self { preparer: preparer.apart(), layout, shelf }
    }

    async fn bring(
        &self,
        order: &DesiredRules,
        server_time: Timestamp,
    ) -> Result<(RulesSet, RulesPromise), FetchRulesError> {
        let set = RulesSet { build: order.build, sha256: order.target.sha256.clone() };
        let established = fs::symlink_metadata(self.layout.current()).is_ok();
        let name = order.target.name.clone();
        let pick = move |verifier: &Verifier| verifier.approve_rules(&name);
        let approved = self.preparer.judged(established, server_time, pick).await.map_err(FetchRulesError::Prepare)?;
        let is_same = approved.sha256.to_string() == order.target.sha256
            && approved.length == order.target.length
            && approved.custom.build == order.build;
        if !is_same {
            return Err(FetchRulesError::Prepare(PrepareError::Differs { name: order.target.name.clone() }));
        }
        self.note(&set, &approved)?;
        if let Some(promise) = self.shelf.promise(&set) {
            return Ok((set, promise));
        }
        self.preparer.check_room(approved.length).map_err(FetchRulesError::Prepare)?;
        let package = self.preparer.download(&approved, |_| {}).await;
        let package = package.map_err(|error| FetchRulesError::Prepare(error.or_disk_full("downloading")))?;
        let unpacked = self.install(set, &approved, &package).await;
        // Whole or refused, the package is of no further use.
        let _ = fs::remove_file(&package);
        unpacked
    }

    async fn install(
        &self,
        set: RulesSet,
        approved: &Approved<SignedRules>,
        package: &Path,
    ) -> Result<(RulesSet, RulesPromise), FetchRulesError> {
        let path = self.layout.rules();
        let staging = Staging::of(self.shelf.staging().map_err(|source| FetchRulesError::Io { path, source })?);
        let refused = |error: PrepareError| FetchRulesError::Prepare(error.or_disk_full("unpacking"));
        let contents = self.preparer.unpack(approved, package, staging.path()).await.map_err(refused)?;
        let promise = RulesPromise::from(contents.rules().ok_or(FetchRulesError::NoRules)?);
        let shelf = self.shelf.clone();
        let work = move || {
            let holds = count_in(&staging.path().join(SURICATA_FOLDER))?;
            if holds < promise.suricata {
                return Err(FetchRulesError::Promise { promised: promise.suricata, holds });
            }
            shelf.install(staging.path(), &set).map_err(FetchRulesError::Folder)?;
            Ok((set, promise))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| FetchRulesError::Interrupted)?
    }

    fn note(&self, set: &RulesSet, approved: &Approved<SignedRules>) -> Result<(), FetchRulesError> {
        let path = self.layout.rules_note(&set.folder());
        self.preparer.note_at(&path, approved).map_err(FetchRulesError::Prepare)
    }

    fn try_raise_floor(&self, set: &RulesSet) -> Result<(), FetchRulesError> {
        let path = self.layout.rules_note(&set.folder());
        let failed = |source| FetchRulesError::Io { path: path.clone(), source };
        let Some(text) = read_limited(&path, NOTE_BYTES).map_err(failed)? else { return Ok(()) };
        let approved: Approved<SignedRules> = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        self.preparer.with_verifier(|verifier| verifier.committed_rules(&approved)).map_err(FetchRulesError::Prepare)
    }
}

impl Fetch for Fetcher {
    async fn fetch(&self, order: DesiredRules, server_time: Timestamp) -> RulesEvent {
        match self.bring(&order, server_time).await {
            Ok((set, promise)) => RulesEvent::Fetched { set, promise },
            Err(error) => {
                let (reason, retryable) = (in_one_line(&error), error.is_retryable());
                tracing::warn!(build = %order.build, retryable, "a rule package could not be had: {reason}");
                RulesEvent::FetchFailed { build: order.build, reason, retryable }
            }
        }
    }

    fn raise_floor(&self, set: &RulesSet) {
        if let Err(error) = self.try_raise_floor(set) {
            tracing::error!(build = %set.build, "the floor of rules could not be raised: {}", in_one_line(&error));
        }
    }
}

/// How many rules the files of a folder hold; none if it is not there.
fn count_in(folder: &Path) -> Result<u32, FetchRulesError> {
    let failed = |source| FetchRulesError::Io { path: folder.to_owned(), source };
    let mut count = 0_u32;
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(entries) => {
            for entry in entries {
                let text = read_limited(&entry.map_err(failed)?.path(), RULES_FILE_BYTES).map_err(failed)?;
                count = count.saturating_add(count_suricata_rules(&text.unwrap_or_default()));
            }
        }
    }
    Ok(count)
}
