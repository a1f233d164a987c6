//! A server from start to end: one per folder, every listener bound before it says that it is ready.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;
use watchpost_clock::Clock;
use watchpost_package::{Director, Mirror, MirrorError, RepositoryError, SigningKey};
use watchpost_store::{Store, StoreError};

use crate::app::{App, AppError, Limits, Parts};
use crate::auth::browser::Web;
use crate::config::Settings;
use crate::folder::{Folder, FolderError, Held};
use crate::founding::{DIRECTOR_ONLINE, IMAGE_ROOT};
use crate::gateway::{Gateway, GatewayError};
use crate::web::{self, TlsError};
use crate::{pages, workers};

/// How long everything may take to end after the server was told to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Starts servers.
pub struct Server;

/// A server that runs.
pub struct Running {
    app: App,
    store: Store,
    portal: SocketAddr,
    gateway: SocketAddr,
    is_secure: bool,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    _held: Held,
}

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its folder cannot be used.
    #[error("the server's folder cannot be used")]
    Folder(#[from] FolderError),
    /// Its database cannot be used.
    #[error("the server's database cannot be used")]
    Store(#[from] StoreError),
    /// Its state cannot be loaded.
    #[error("the server's state cannot be loaded")]
    Load(#[from] AppError),
    /// The database holds no workspace.
    #[error("the database holds no workspace; it was not made by `watchpost init`, or is damaged: restore a backup")]
    NoWorkspace,
    /// The director's online key cannot be used.
    #[error("the director's online key cannot be used")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The director repository cannot be used.
    #[error("the director repository cannot be used")]
    Director(#[from] RepositoryError),
    /// The copy of the image repository cannot be used.
    #[error("the image repository cannot be used")]
    Mirror(#[from] MirrorError),
    /// The gateway's certificate cannot be used.
    #[error("the gateway cannot start")]
    Gateway(#[from] GatewayError),
    /// The portal's certificate cannot be used.
    #[error("the portal cannot start")]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{what} cannot listen on {addr}; choose a free address of this machine in the configuration")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Something did not end in time.
    #[error("the server did not end within {} s and was cut off; nothing that was acknowledged is lost", STOP_DEADLINE.as_secs())]
    Stop,
}

async fn listen(what: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { what, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The state of a server, loaded from its folder.
async fn load(settings: &Settings, folder: &Folder, store: Store, clock: Clock) -> Result<App, ServerError> {
    let workspace = store.first_workspace().await?.ok_or(ServerError::NoWorkspace)?;
    let uploads = folder.uploads();
    let unusable = |path: PathBuf| move |source| FolderError::File { path, source };
    crate::app::packages::sweep(&uploads).map_err(unusable(uploads))?;
    let online = SigningKey::load(&folder.key(DIRECTOR_ONLINE)).map_err(|error| ServerError::Key(Box::new(error)))?;
    let director = Director::open(&folder.director(), online)?;
    let mirror = if folder.key(IMAGE_ROOT).exists() {
        Some(Mirror::open(&folder.image(), folder.read_key(IMAGE_ROOT)?)?)
    } else {
        None
    };
    let limits = Limits { package_bytes: settings.max_package_bytes };
    let (directories, portal) = (settings.directories.clone(), settings.tls.clone());
    let places = crate::app::endpoints::places(settings);
    let folder = folder.clone();
    let parts = Parts { store, workspace, clock, folder, limits, mirror, director, directories, portal, places };
    Ok(App::load(parts).await?)
}

impl Server {
    /// Starts everything. When this returns, both listeners answer.
    ///
    /// # Errors
    /// When another server holds the folder, something in it cannot be used, or an address is taken.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Running, ServerError> {
        let folder = Folder::new(settings.data_dir.clone());
        let held = folder.hold()?;
        let store = Store::open(&folder.database()).await?;
        let app = load(&settings, &folder, store.clone(), clock.clone()).await?;
        let certificate = app.gateway_certificate()?;
        let limits = crate::gateway::Limits::default();
        let gateway = Gateway::new(app.clone(), clock, folder.repositories(), &certificate, limits)?;
        let tls = settings.tls.as_ref().map(web::tls).transpose()?;
        let (portal_listener, portal_addr) = listen("the portal", settings.portal).await?;
        let (gateway_listener, gateway_addr) = listen("the gateway", settings.gateway).await?;
        let web = Web { app: app.clone(), is_secure: tls.is_some() };
        let router = pages::router(&web);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        workers::spawn(&app, &stopped, &mut tasks);
        tasks.spawn(gateway.serve(gateway_listener, stopped.clone()));
        tasks.spawn(web::serve(portal_listener, tls, router, web::Limits::default(), stopped));
        let is_secure = web.is_secure;
        Ok(Running { app, store, portal: portal_addr, gateway: gateway_addr, is_secure, stop, tasks, _held: held })
    }
}

impl Running {
    /// Where portal and API listen.
    #[must_use]
    pub fn portal_addr(&self) -> SocketAddr {
        self.portal
    }

    /// Where sensor hosts call.
    #[must_use]
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway
    }

    /// The portal's address for a browser on this machine.
    #[must_use]
    pub fn portal_url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.portal)
    }

    /// The use cases, for tests.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Lets what is under way end, writes behind what is held in memory, and closes the database.
    ///
    /// # Errors
    /// When something does not end in time or cannot be saved.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        // Nobody listens any more when every task has ended by itself.
        let _ = self.stop.send(true);
        let ended = async {
            while let Some(task) = self.tasks.join_next().await {
                if let Err(error) = task {
                    warn!(%error, "a part of the server ended badly");
                }
            }
        };
        let is_ended = tokio::time::timeout(STOP_DEADLINE, ended).await.is_ok();
        self.tasks.abort_all();
        self.app.write_behind().await?;
        self.app.tidy_sessions().await?;
        self.store.close().await;
        if is_ended { Ok(()) } else { Err(ServerError::Stop) }
    }
}
