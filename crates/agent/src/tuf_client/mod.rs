//! `watchpost-updater tuf-client`: a host's own verification, behind the interface that conformance suites for TUF clients ask of one.
//!
//! It installs nothing, and talks to this machine alone: suites serve their repositories on the loopback interface.

mod arguments;
mod http;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use watchpost_core::time::Timestamp;
use watchpost_package::trust::{Lone, LoneError, LoneTarget};
use watchpost_package::{FetchError, Fetched};

pub use self::arguments::{Arguments, act};
use self::http::{Base, HttpError};
use self::place::Place;
use crate::host::disk::read_limited;
use crate::updater::in_one_line;

/// Largest first root that is read, in bytes.
const MAX_ROOT: u64 = 512_000;

/// What is wanted of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its metadata.
    Metadata,
    /// Targets, by name.
    Targets {
        /// Their names.
        names: Vec<String>,
        /// Where their bytes are served.
        url: String,
        /// Where they go.
        dir: PathBuf,
    },
}

/// Why the client ended without what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum TufClientError {
    /// The repository is not believed.
    #[error("nothing of this repository is believed")]
    Trust(#[from] LoneError),
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written; check the folder and free some space")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command line lacks something.
    #[error("{0} is missing; see --help for an example")]
    Option(&'static str),
    /// The first root is not there.
    #[error("there is no file {0}; name the first root of the repository")]
    NoRoot(PathBuf),
    /// The repository cannot be asked.
    #[error("the repository cannot be asked")]
    Http(#[from] HttpError),
    /// A target is named, and not there.
    #[error("the repository names “{0}” and does not have it")]
    Missing(String),
    /// What came is not the target.
    #[error("what the repository has for “{0}” has another length or hash than it says")]
    Differs(String),
    /// The work was cut short.
    #[error("the client was interrupted")]
    Interrupted,
}

/// Begins to trust a repository: keeps its first root in `metadata_dir`.
///
/// # Errors
/// When it is no root that its own keys vouch for, or cannot be kept.
pub fn init(metadata_dir: &Path, root: &Path) -> Result<(), TufClientError> {
    let io = |source| TufClientError::Io { path: root.to_owned(), source };
    let bytes = read_limited(root, MAX_ROOT).map_err(io)?;
    Ok(Lone::init(metadata_dir, &bytes.ok_or_else(|| TufClientError::NoRoot(root.to_owned()))?)?)
}

/// Refreshes the metadata by `now`, and downloads what is wanted beside.
///
/// # Errors
/// When anything is missing, wrong or not to be believed. What was downloaded before stays.
pub async fn run(metadata_dir: PathBuf, url: &str, wanted: Wanted, now: Timestamp) -> Result<(), TufClientError> {
    let base = Arc::new(Base::new(url)?);
    let names = match &wanted {
        Wanted::Metadata => Vec::new(),
        Wanted::Targets { names, .. } => names.clone(),
    };
    let mut follower = Arc::clone(&base).follow(metadata_dir, now).await?;
    let Wanted::Targets { url, dir, .. } = wanted else { return Ok(()) };
    let from = Base::new(&url)?;
    for name in names {
        let target;
        (follower, target) = Arc::clone(&base).find(follower, name.clone(), now).await?;
        fetch_target(&from, &name, &target, &Place::of(&dir, &name)).await?;
    }
    Ok(())
}

/// Downloads a target beside its place, weighs it, and puts it there; one that lies there already stays.
async fn fetch_target(from: &Base, name: &str, target: &LoneTarget, place: &Place) -> Result<(), TufClientError> {
    let io = |source| TufClientError::Io { path: place.path().to_owned(), source };
    if place.holds(target).map_err(io)? {
        return Ok(());
    }
    let mut draft = place.draft().map_err(io)?;
    let mut weigher = target.weigh();
    let mut sink = |bytes: &[u8]| {
        weigher.add(bytes);
        draft.write(bytes)
    };
    let is_there = match from.get(&target.place, target.length, &mut sink).await {
        Err(HttpError::TooLarge { .. }) => return Err(TufClientError::Differs(name.to_owned())),
        answer => answer?,
    };
    if !is_there {
        return Err(TufClientError::Missing(name.to_owned()));
    }
    if !weigher.is_it() {
        return Err(TufClientError::Differs(name.to_owned()));
    }
    draft.keep().map_err(io)
}

impl Base {
    /// Opens what is trusted so far and refreshes it.
    async fn follow(self: Arc<Self>, metadata_dir: PathBuf, now: Timestamp) -> Result<Lone, TufClientError> {
        let handle = tokio::runtime::Handle::current();
        let work = move || {
            let mut lone = Lone::open(&metadata_dir)?;
            lone.refresh(&mut |name, limit| self.metadata(&handle, name, limit), now)?;
            Ok(lone)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| TufClientError::Interrupted)?
    }

    /// Looks for a target.
    async fn find(
        self: Arc<Self>,
        mut lone: Lone,
        name: String,
        now: Timestamp,
    ) -> Result<(Lone, LoneTarget), TufClientError> {
        let handle = tokio::runtime::Handle::current();
        let work = move || {
            let target = lone.find(&name, &mut |file, limit| self.metadata(&handle, file, limit), now)?;
            Ok((lone, target))
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| TufClientError::Interrupted)?
    }

    /// A file of metadata. Its name is quoted already.
    fn metadata(&self, handle: &tokio::runtime::Handle, name: &str, limit: u64) -> Fetched {
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let is_there = handle.block_on(self.get_quoted(name, limit, &mut sink));
        let is_there = is_there.map_err(|error| FetchError(in_one_line(&error)))?;
        Ok(is_there.then_some(bytes))
    }
}
