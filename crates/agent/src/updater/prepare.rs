//! From a target named at a check-in to a verified version folder: trust first, then room, bytes, hash, extraction.
//!
//! Never looks into a package before both repositories have vouched for its hash.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};
use watchpost_core::server_keys::ServerKeys;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::updater::Release;
use watchpost_core::version::Version;
use watchpost_package::{Approved, Contents, FetchError, Repo, Sha256Hex, Signed, TrustConfig, Verifier, VerifyError};
use watchpost_protocol::paths;

use super::error::{PrepareError, in_one_line};
use super::layout::Layout;
use super::offer::Offer;
use super::versions::{Look, Versions};
use crate::host::disk::{random_name, read_limited};
use crate::transport::{Client, TransportError};
use crate::unpack::{Staging, Unpacker};

/// Bytes that stay free on the host whatever is installed.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// How much larger than its package a release is taken to be unpacked, before it can be known.
const UNPACKED_SHARE: u64 = 3;
/// The largest shipped image root that is read.
const IMAGE_ROOT_BYTES: u64 = 512 * 1024;
/// The largest note about an approved package.
const APPROVED_BYTES: u64 = 16 * 1024;

/// Fetches a metadata file of a repository, of at most so many bytes.
type Fetch<'a> = dyn FnMut(Repo, &str, u64) -> Result<Option<Vec<u8>>, FetchError> + 'a;

/// What is wanted, and by which time and from which version it is judged.
#[derive(Clone, Debug)]
pub struct Order {
    /// The release as the check-in names it.
    pub release: Release,
    /// Its package as the check-in names it.
    pub target: TargetRef,
    /// What runs.
    pub running: Option<Version>,
    /// The server's time, never earlier than the durable floor (decision 27).
    pub server_time: Timestamp,
}

/// A download that was cut off and may go on, within one run of the updater.
struct Partial {
    sha256: String,
    path: PathBuf,
    length: u64,
}

/// Prepares releases. Clones share the trust folder and the download that was cut off.
#[derive(Clone)]
pub struct Preparer {
    client: Client,
    layout: Layout,
    versions: Versions,
    director_root: Sha256Hex,
    /// One verifier at a time per trust folder.
    trust: Arc<Mutex<()>>,
    partial: Arc<Mutex<Option<Partial>>>,
    /// A package that is here already.
    offered: Arc<Mutex<Option<Arc<Offer>>>>,
}

impl Preparer {
    /// A preparer that fetches through `client` and trusts the director whose first root has this digest.
    #[must_use]
    pub fn new(client: Client, layout: Layout, versions: Versions, director_root: Sha256Hex) -> Self {
        let (trust, partial, offered) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, layout, versions, director_root, trust, partial, offered }
    }

    /// The same trust folder and connection, with a download of its own to go on with.
    #[must_use]
    pub(crate) fn apart(&self) -> Self {
        Self { partial: Arc::default(), offered: Arc::default(), ..self.clone() }
    }

    /// Says which release a package is that somebody offers, if both repositories vouch for it as it is.
    ///
    /// # Errors
    /// When they do not, or cannot be asked.
    pub(crate) async fn identify(
        &self,
        offer: &Arc<Offer>,
        running: Option<Version>,
        server_time: Timestamp,
    ) -> Result<Release, PrepareError> {
        let (offered, path) = (offer.clone(), self.layout.downloads());
        let measured = tokio::task::spawn_blocking(move || offered.measure()).await;
        let measured = measured.map_err(|_| PrepareError::Interrupted)?;
        let (length, sha256) = measured.map_err(|source| PrepareError::Io { path, source })?;
        let pick = move |verifier: &Verifier| match verifier.name_of(length, &sha256)? {
            Some(name) => verifier.approve(&name, running).map(Some),
            None => Ok(None),
        };
        let approved = self.judged(running.is_some(), server_time, pick).await?;
        let release = approved.and_then(|approved| Release::new(approved.custom.version, &sha256.to_string()));
        release.ok_or(PrepareError::Stranger { sha256 })
    }

    /// From here on this package is taken instead of being downloaded, where it is the one that is wanted.
    pub(super) fn offer(&self, offer: Arc<Offer>) {
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(offer);
    }

    /// Packages are downloaded again.
    pub(super) fn forget_offer(&self) {
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The package that was offered, under the name of a download, if it has this length and digest.
    async fn offered(&self, length: u64, sha256: Sha256Hex) -> Option<PathBuf> {
        let offer = self.offered.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let path = self.layout.downloads().join(random_name(".partial-"));
        let take = move || {
            let is_it = offer.measure().is_ok_and(|measured| measured == (length, sha256));
            (is_it && offer.become_download(&path).is_ok()).then_some(path)
        };
        tokio::task::spawn_blocking(take).await.ok().flatten()
    }

    /// Prepares a release: afterwards it lies whole and verified in its version folder.
    ///
    /// # Errors
    /// When anything is missing, wrong or not to be believed. What runs is untouched.
    pub async fn prepare(&self, order: Order, progress: impl Fn(u8) + Send + Sync) -> Result<(), PrepareError> {
        let approved = self.approve(order.clone()).await.map_err(|error| error.or_disk_full("keeping metadata"))?;
        if self.versions.verify(order.release, Look::Full).is_ok() {
            return self.note(order.release, &approved).map_err(|error| error.or_disk_full("keeping metadata"));
        }
        self.check_room(approved.length)?;
        let package = self.download(&approved, progress).await.map_err(|error| error.or_disk_full("downloading"))?;
        let installed = self.install(order.release, approved, &package).await;
        // Whole or refused, the package is of no further use.
        let _ = std::fs::remove_file(&package);
        installed.map_err(|error| error.or_disk_full("unpacking"))
    }

    /// Asks both repositories, and checks that the check-in means the same package.
    async fn approve(&self, order: Order) -> Result<Approved, PrepareError> {
        let (name, running) = (order.target.name.clone(), order.running);
        let pick = move |verifier: &Verifier| verifier.approve(&name, running);
        let approved = self.judged(running.is_some(), order.server_time, pick).await?;
        let is_same = approved.sha256.to_string() == order.target.sha256
            && approved.length == order.target.length
            && approved.custom.version == order.release.version;
        if is_same { Ok(approved) } else { Err(PrepareError::Differs { name: order.target.name }) }
    }

    /// Refreshes both repositories by the server's time, then asks `pick` for what is wanted of them.
    pub(crate) async fn judged<T: Send + 'static>(
        &self,
        established: bool,
        server_time: Timestamp,
        pick: impl FnOnce(&Verifier) -> Result<T, VerifyError> + Send + 'static,
    ) -> Result<T, PrepareError> {
        self.verified(established, move |verifier, fetch| {
            verifier.refresh(fetch, server_time)?;
            pick(verifier)
        })
        .await
    }

    /// The keys of the server that the director says to trust, by the server's time.
    pub(crate) async fn server_keys(
        &self,
        established: bool,
        server_time: Timestamp,
    ) -> Result<ServerKeys, PrepareError> {
        self.verified(established, move |verifier, fetch| verifier.server_keys(fetch, server_time)).await
    }

    /// Does `work` with the verifier, and a way to fetch metadata.
    async fn verified<T: Send + 'static>(
        &self,
        established: bool,
        work: impl FnOnce(&mut Verifier, &mut Fetch<'_>) -> Result<T, VerifyError> + Send + 'static,
    ) -> Result<T, PrepareError> {
        let (this, handle) = (self.clone(), tokio::runtime::Handle::current());
        let done = move || {
            let _one_at_a_time = this.trust.lock().unwrap_or_else(PoisonError::into_inner);
            let mut verifier = this.verifier(established)?;
            let client = &this.client;
            let mut fetch = |repo: Repo, file: &str, limit: u64| {
                let folder = match repo {
                    Repo::Image => paths::IMAGE_METADATA,
                    Repo::Director => paths::DIRECTOR_METADATA,
                };
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                handle
                    .block_on(client.fetch(&format!("{folder}{file}"), limit))
                    .map_err(|error| FetchError(in_one_line(&error)))
            };
            work(&mut verifier, &mut fetch).map_err(PrepareError::Trust)
        };
        tokio::task::spawn_blocking(done).await.map_err(|_| PrepareError::Interrupted)?
    }

    fn verifier(&self, established: bool) -> Result<Verifier, PrepareError> {
        let path = self.layout.image_root();
        let image_root = read_limited(&path, IMAGE_ROOT_BYTES)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|source| PrepareError::Io { path, source })?;
        let (dir, director_root) = (self.layout.trust(), self.director_root);
        Verifier::open(TrustConfig { dir, image_root, director_root, established }).map_err(PrepareError::Trust)
    }

    /// Works on the verifier of a host that has trusted before, one at a time.
    pub(crate) fn with_verifier<T>(
        &self,
        act: impl FnOnce(&mut Verifier) -> Result<T, VerifyError>,
    ) -> Result<T, PrepareError> {
        let _one_at_a_time = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut self.verifier(true)?).map_err(PrepareError::Trust)
    }

    /// Whether there is room for a package of this length and what it unpacks to.
    pub(crate) fn check_room(&self, length: u64) -> Result<(), PrepareError> {
        let unpacked = length.saturating_mul(UNPACKED_SHARE);
        let needed = length.saturating_add(unpacked.saturating_mul(2)).saturating_add(RESERVE_BYTES);
        let free = self.versions.free_bytes().map_err(PrepareError::Version)?;
        if free < needed { Err(PrepareError::NotEnoughDisk { needed, free }) } else { Ok(()) }
    }

    /// Downloads an approved package; a download that was cut off goes on.
    pub(crate) async fn download<C: Sync>(
        &self,
        approved: &Approved<C>,
        progress: impl Fn(u8) + Send + Sync,
    ) -> Result<PathBuf, PrepareError> {
        if let Some(path) = self.offered(approved.length, approved.sha256).await {
            progress(100);
            return Ok(path);
        }
        let sha256 = approved.sha256.to_string();
        let (path, mut file, offset) = self.open_partial(&sha256, approved.length)?;
        let mut arrived = offset;
        let result = {
            let mut sink = |bytes: &[u8]| {
                file.write_all(bytes)?;
                arrived += bytes.len() as u64;
                progress(u8::try_from(arrived.saturating_mul(100) / approved.length.max(1)).unwrap_or(100));
                Ok(())
            };
            let from = format!("{}{sha256}.{}", paths::TARGETS, approved.name);
            self.client.download(&from, offset, approved.length, &mut sink).await
        };
        match result {
            Ok(()) => {
                file.sync_all().map_err(|source| PrepareError::Io { path: path.clone(), source })?;
                Ok(path)
            }
            Err(error) => {
                self.keep_or_drop(Partial { sha256, path, length: arrived }, &error);
                Err(PrepareError::Download(error))
            }
        }
    }

    /// A cut-off download goes on where it stopped; one that made no sense starts again.
    fn keep_or_drop(&self, partial: Partial, error: &TransportError) {
        if error.is_interruption() {
            *self.partial.lock().unwrap_or_else(PoisonError::into_inner) = Some(partial);
        } else {
            let _ = std::fs::remove_file(&partial.path);
        }
    }

    fn open_partial(&self, sha256: &str, length: u64) -> Result<(PathBuf, File, u64), PrepareError> {
        let kept = self.partial.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept.filter(|kept| kept.sha256 == sha256)
            && let Ok(file) = OpenOptions::new().append(true).open(&kept.path)
            && file.metadata().is_ok_and(|found| found.len() == kept.length)
        {
            return Ok((kept.path, file, kept.length));
        }
        let path = self.layout.downloads().join(random_name(".partial-"));
        let failed = |source| PrepareError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, length.max(1)) {
            // A file system that cannot reserve room finds out while writing.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                return Err(failed(error.into()));
            }
        }
        Ok((path, file, 0))
    }

    async fn install(&self, release: Release, approved: Approved, package: &Path) -> Result<(), PrepareError> {
        let staging = Staging::of(self.versions.staging().map_err(PrepareError::Version)?);
        self.unpack(&approved, package, staging.path()).await?;
        let this = self.clone();
        let work = move || {
            this.note(release, &approved)?;
            this.versions.install(staging.path(), release).map_err(PrepareError::Version)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PrepareError::Interrupted)?
    }

    /// Has a child without rights extract an approved package, and compares what it leaves with what was signed.
    pub(crate) async fn unpack<C>(
        &self,
        approved: &Approved<C>,
        package: &Path,
        staging: &Path,
    ) -> Result<Contents, PrepareError>
    where
        C: Clone + Into<Signed> + Send + Sync + 'static,
    {
        let unpacker = Unpacker::new(self.layout.unpack_note());
        unpacker.unpack(approved, package, staging).await.map_err(PrepareError::Unpack)
    }

    /// Remembers what was approved, for raising the floor once the release is committed.
    fn note(&self, release: Release, approved: &Approved) -> Result<(), PrepareError> {
        self.note_at(&self.layout.approved(release), approved)
    }

    /// Writes a note about an approved package, whole or not at all. It is durable before the package is used: without
    /// it a commit would raise no floor.
    pub(crate) fn note_at(&self, path: &Path, approved: &impl serde::Serialize) -> Result<(), PrepareError> {
        let failed = |source| PrepareError::Io { path: path.to_owned(), source };
        let text = serde_json::to_vec(approved).map_err(|error| failed(error.into()))?;
        self.versions.disk().replace(path, &text).map_err(failed)
    }

    /// The release was committed: from here on no older one is approved.
    ///
    /// # Errors
    /// When the floor cannot be raised; an older release could then still be approved, which is why it is reported.
    pub fn committed(&self, release: Release) -> Result<(), PrepareError> {
        let path = self.layout.approved(release);
        let failed = |source| PrepareError::Io { path: path.clone(), source };
        let Some(text) = read_limited(&path, APPROVED_BYTES).map_err(failed)? else { return Ok(()) };
        let approved: Approved = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        self.with_verifier(|verifier| verifier.committed(&approved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::disk::Disk;
    use crate::host::disk::tests::Power;
    use crate::identity::Identity;
    use crate::transport::Timeouts;
    use crate::updater::tests::host::{START, installed};
    use watchpost_core::server_keys::ServerKey;

    #[test]
    fn a_note_that_is_not_durable_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let layout = installed(root.path(), 254, "program");
        let client = Client::new(
            "[::1]:1",
            [ServerKey::from([0; 32])].into(),
            &Identity::generate(START).unwrap(),
            Timeouts::default(),
        )
        .unwrap();
        let path = layout.downloads().join("note.json");
        // It is written beside, given its name, and its folder is synced: the power fails before each in turn.
        for cut in 0..3 {
            let disk = Disk { power: Some(Power::failing_at(cut)) };
            let versions = Versions::new(layout.clone(), disk);
            let preparer = Preparer::new(client.clone(), layout.clone(), versions, Sha256Hex::of(b""));
            assert!(preparer.note_at(&path, &cut).is_err(), "the power failed at step {cut}");
        }
    }
}
