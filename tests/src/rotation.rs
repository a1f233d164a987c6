//! A control plane and one host whose certificate is replaced while messages get lost, the host is killed, and the
//! control plane is put back from a backup. The updater is a real process, the control plane the real server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use watchpost_agent::identity::Keyring;
use watchpost_clock::{Clock, Stepper};
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Pin, Slots, Standing};
use watchpost_package::ImageAuthor;
use watchpost_server::app::App;
use watchpost_server::auth::access::Principal;
use watchpost_server::config::Settings;
use watchpost_server::founding::{Plan, found};
use watchpost_server::lifecycle::{Running, Server};

use crate::site;
use crate::tools::{self, binary};

/// The names on the clock.
const PLANE: &str = "control-plane";
const HOST: &str = "host";
/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A party of the clock that waits for nothing.
const WAITS_FOR_NOTHING: i64 = i64::MAX;
/// How much is forwarded at once.
const PIECE: usize = 16 * 1024;

/// Which way a piece goes that gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Of a request.
    Up,
    /// Of an answer.
    Down,
}

/// The line between host and control plane; it can lose one piece, and the connection with it.
#[derive(Default)]
struct Line {
    loses: Option<(Way, usize)>,
    passed: [usize; 2],
}

impl Line {
    /// Whether this piece gets lost.
    fn lose(&mut self, way: Way) -> bool {
        let Some((of, number)) = self.loses else { return false };
        if of != way {
            return false;
        }
        let passed = &mut self.passed[usize::from(way == Way::Down)];
        *passed += 1;
        let is_lost = *passed == number;
        if is_lost {
            self.loses = None;
        }
        is_lost
    }
}

/// A control plane and a host.
pub struct World {
    dir: tempfile::TempDir,
    stepper: Arc<Stepper>,
    hand: JoinHandle<()>,
    line: Arc<Mutex<Line>>,
    config: PathBuf,
    running: Option<Running>,
    host: Option<Child>,
    id: SensorId,
}

impl World {
    /// A control plane that runs, and a host that is set up and checks in.
    ///
    /// # Errors
    /// When either cannot be started.
    pub async fn new() -> anyhow::Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        let stepper = Arc::new(Stepper::create(&path("clock"), Duration::ZERO)?);
        let (keys, author) = (path("keys"), path("author"));
        ImageAuthor::make_keys(&keys)?;
        ImageAuthor::create(&keys, &author, stepper.now())?;
        let image_root = std::fs::read(author.join("metadata/1.root.json"))?;
        let gateway = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let plan =
            Plan { data_dir: path("server"), image_root: Some(image_root), portal: "127.0.0.1:0".parse()?, gateway };
        let founded = found(plan, &Clock::fixed(stepper.now())).await?;
        let line = Arc::new(Mutex::new(Line::default()));
        let front = lay(gateway, Arc::clone(&line)).await?;
        let hand = tokio::spawn(site::step(Arc::clone(&stepper), Arc::<AtomicBool>::default()));
        let mut world = Self {
            line,
            hand,
            config: founded.config,
            running: None,
            host: None,
            id: SensorId::from_parts(stepper.now(), 0),
            stepper,
            dir,
        };
        world.start_plane().await?;
        world.set_up(front, founded.access_key.reveal())?;
        let host = world.app()?.fleet_view(world.stepper.now());
        world.id = host.first().context("the host did not enrol")?.id;
        world.start_host()?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set_up(&self, gateway: SocketAddr, access_key: &str) -> anyhow::Result<()> {
        let key = self.path("access-key");
        std::fs::write(&key, access_key)?;
        let log = self.path("audit.jsonl");
        std::fs::write(&log, "")?;
        let mut setup = Command::new(binary("watchpost-updater")?);
        setup.args(["setup", "--quiet", "--server", &gateway.to_string(), "--name", "DC01"]);
        setup.args(["--type", "domainControllerIntegrated", "--domain", "corp.example"]);
        setup.arg("--root").arg(self.path("host")).arg("--access-key-file").arg(key);
        setup.arg("--audit-log").arg(log).arg("--image-root").arg(self.path("author/metadata/1.root.json"));
        tools::run(&mut setup, "cargo build").map(drop)
    }

    /// Runs a command of the updater on this host.
    ///
    /// # Errors
    /// When it fails; says what it printed.
    pub fn updater(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = Command::new(binary("watchpost-updater")?);
        tools::run(command.arg(verb).arg("--root").arg(self.path("host")), "cargo build")
    }

    /// Starts the updater.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_host(&mut self) -> anyhow::Result<()> {
        self.stepper.expect(HOST)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("host.log"))?;
        let mut command = Command::new(binary("watchpost-updater")?);
        command.arg("run").arg("--root").arg(self.path("host")).arg("--clock").arg(self.path("clock"));
        command.args(["--clock-party", HOST]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.host = Some(command.spawn()?);
        Ok(())
    }

    /// Ends the updater by force.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn kill_host(&mut self) -> anyhow::Result<()> {
        if let Some(mut host) = self.host.take() {
            host.kill()?;
            host.wait()?;
        }
        Ok(std::fs::write(self.path("clock/parties").join(HOST), WAITS_FOR_NOTHING.to_le_bytes())?)
    }

    async fn start_plane(&mut self) -> anyhow::Result<()> {
        self.stepper.expect(PLANE)?;
        let clock = Clock::stepped(&self.path("clock"), PLANE)?;
        self.running = Some(Server::start(Settings::read(&self.config)?, clock).await?);
        Ok(())
    }

    /// The control plane's database as it is now, kept under this name. It is stopped for that, and started again.
    ///
    /// # Errors
    /// When it cannot be stopped, copied or started.
    pub async fn back_up(&mut self, name: &str) -> anyhow::Result<()> {
        self.stop_plane().await?;
        copy_databases(&self.path("server"), &self.path(name))?;
        self.start_plane().await
    }

    /// Puts such a copy back.
    ///
    /// # Errors
    /// When it cannot be stopped, copied or started.
    pub async fn restore(&mut self, name: &str) -> anyhow::Result<()> {
        self.stop_plane().await?;
        copy_databases(&self.path(name), &self.path("server"))?;
        self.start_plane().await
    }

    async fn stop_plane(&mut self) -> anyhow::Result<()> {
        self.running.take().context("the control plane does not run")?.stop().await?;
        Ok(())
    }

    /// The control plane.
    ///
    /// # Errors
    /// When it does not run.
    pub fn app(&self) -> anyhow::Result<App> {
        Ok(self.running.as_ref().context("the control plane does not run")?.app().clone())
    }

    /// Loses one piece from here on: the `number`-th that goes this way.
    pub fn lose(&self, way: Way, number: usize) {
        let fresh = Line { loses: Some((way, number)), passed: [0; 2] };
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// Whether the piece that is to get lost has not come yet; none is lost any more then.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).loses.take().is_some()
    }

    /// Orders that the certificate be replaced.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub async fn order(&self) -> anyhow::Result<()> {
        Ok(self.app()?.order_certificate(&Principal::console(), "DC01", None).await?)
    }

    /// How the certificates stand on the control plane, and then what the host holds. A host never gives one up that
    /// it saw accepted in this order of looking.
    ///
    /// # Errors
    /// When the control plane does not run, or the host holds nothing.
    pub fn look(&self) -> anyhow::Result<(Standing, Slots)> {
        let standing = self.app()?.standing(self.id, self.stepper.now()).context("the sensor is gone")?;
        let held = Keyring::of_host(&self.path("host")).open()?.context("the host holds no certificate")?;
        let known: BTreeSet<Pin> = standing.pins.iter().map(|(pin, _)| *pin).collect();
        let is_let_in = held.slots.all().any(|pin| known.contains(&pin));
        anyhow::ensure!(is_let_in, "locked out: {standing:?} and {:?}", held.slots);
        Ok((standing, held.slots))
    }

    /// Looks until `wanted` holds; at each look the host must hold what is accepted.
    ///
    /// # Errors
    /// When it never does, or the host is locked out.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Standing, Slots) -> bool) -> anyhow::Result<Slots> {
        let looking = async {
            loop {
                let (standing, slots) = self.look()?;
                if wanted(&standing, slots) {
                    return anyhow::Ok(slots);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.with_context(|| {
            let log = std::fs::read_to_string(self.path("host/updater/updater.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(12).collect();
            format!("never: {what}; {:?}; the host says, newest first:\n{}", self.look(), lines.join("\n"))
        })?
    }

    /// Waits until another certificate than this one is the host's current one and the active one.
    ///
    /// # Errors
    /// When that never happens, or the host is locked out.
    pub async fn until_replaced(&self, before: Pin) -> anyhow::Result<Slots> {
        let is_active = |standing: &Standing, pin| standing.role(pin) == Some(watchpost_core::identity::Role::Active);
        self.until("it is replaced", |s, slots| slots.cur != before && slots.next.is_none() && is_active(s, slots.cur))
            .await
    }

    /// Waits until the host holds one certificate, and that is the only one.
    ///
    /// # Errors
    /// When that never happens, or the host is locked out.
    pub async fn until_settled(&self) -> anyhow::Result<Slots> {
        self.until("it is settled", |s, slots| slots == Slots::only(slots.cur) && s.pins.len() == 1).await
    }

    /// More than a week passes at once.
    ///
    /// # Errors
    /// When the clock cannot be told.
    pub fn a_week_passes(&self) -> anyhow::Result<()> {
        Ok(self.stepper.step_to(self.stepper.now() + Duration::from_secs(8 * 24 * 60 * 60))?)
    }

    /// Waits until the host was heard of after this call.
    ///
    /// # Errors
    /// When it never is.
    pub async fn until_heard(&self) -> anyhow::Result<()> {
        let (app, since) = (self.app()?, self.stepper.now());
        let heard = |app: &App| app.sensor("DC01", since).is_some_and(|(row, _)| row.last_contact > Some(since));
        let looking = async {
            while !heard(&app) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.context("the host is not heard of")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.hand.abort();
        if let Some(host) = &mut self.host {
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}

/// Copies every file of the databases of one folder over those of another.
fn copy_databases(from: &Path, to: &Path) -> anyhow::Result<()> {
    let is_database = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db"));
    let of = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        Ok(std::fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path()).filter(is_database).collect())
    };
    std::fs::create_dir_all(to)?;
    of(to)?.iter().try_for_each(std::fs::remove_file)?;
    let found = of(from)?;
    anyhow::ensure!(!found.is_empty(), "there is no database in {}", from.display());
    for path in found {
        std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Lays the line: an address that leads to the gateway.
async fn lay(gateway: SocketAddr, line: Arc<Mutex<Line>>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let front = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let line = Arc::clone(&line);
            tokio::spawn(async move {
                // A control plane that is being put back closes the door: the host hears of it as it would.
                let Ok(far) = TcpStream::connect(gateway).await else { return };
                let (near, far, is_cut) = (near.into_split(), far.into_split(), AtomicBool::new(false));
                tokio::select! {
                    () = carry(near.0, far.1, Way::Up, &line, &is_cut) => {}
                    () = carry(far.0, near.1, Way::Down, &line, &is_cut) => {}
                }
            });
        }
    });
    Ok(front)
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    way: Way,
    line: &Mutex<Line>,
    is_cut: &AtomicBool,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let is_lost = line.lock().unwrap_or_else(PoisonError::into_inner).lose(way);
        if is_lost || is_cut.load(Ordering::SeqCst) {
            is_cut.store(true, Ordering::SeqCst);
            return;
        }
        if to.write_all(piece.get(..length).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
