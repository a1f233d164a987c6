//! The loop of the updater service: check in, drive the machine, wait for whatever comes first.
//!
//! Under a stepped clock it says when it has work in hand and until when it waits.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use watchpost_clock::Clock;
use watchpost_core::content::RulesEvent;
use watchpost_core::server_keys::ServerKey;
use watchpost_core::sync::{Report, ServiceState, UpdateProgress};
use watchpost_core::time::Timestamp;
use watchpost_core::updater::Event;
use watchpost_package::Sha256Hex;
use watchpost_protocol::{Code, SyncReply};

use super::connection::ConnectionWatch;
use super::courier::{Courier, Delivery};
use super::door::{self, Ordered};
use super::driver::Driver;
use super::driver::ordered::Identified;
use super::error::{DriverError, in_one_line};
use super::installation::Installation;
use super::launch::{Launch, LaunchError};
use super::layout::Layout;
use super::pace::{Pace, Setback};
use super::prepare::Preparer;
use super::rotation::{Occasion, Rotation, RotationError};
use super::server_keys::{self, Learnt, ServerTrust};
use super::stop::Stop;
use super::successor::Successor;
use super::supervisor::{Heard, Supervisor};
use crate::guard::{self, Guarding, News};
use crate::host::disk::Disk;
use crate::host::lock;
use crate::host_config::{HostConfig, HostConfigError};
use crate::identity::{IdentityError, Keyring};
use crate::proxy_config::{ProxyConfigError, proxy_of};
use crate::rules::Rules;
use crate::transport::{Client, Timeouts, TransportError};

/// Events that may wait for the loop.
const EVENTS: usize = 64;
/// How long, in real time, a stepped clock is held while a sensor gets ready or a canary is awaited.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before the updater recovers after the disk failed it.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// How the service is run.
pub struct Options {
    /// The host's folder.
    pub root: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// What every sensor gets on its command line beside the usual.
    pub sensor_arguments: Vec<String>,
    /// Whether the sensor is held to what its host has left.
    pub guards: bool,
    /// SHA-256 of this updater's program where a launcher has started it. Without one, no other takes its place.
    pub program: Option<String>,
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and its sensor has ended too.
    Told,
    /// Another updater is to take its place. The sensor goes on.
    HandedOver,
}

/// Why the updater service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The host is not set up.
    #[error("this host is not set up; run `watchpost-updater setup` first")]
    Config(#[from] HostConfigError),
    /// There is no identity.
    #[error("this host has no identity; run `watchpost-updater setup` again")]
    NotEnrolled,
    /// The identity cannot be read.
    #[error("the host's identity cannot be used")]
    Identity(#[from] IdentityError),
    /// A hash in the settings is damaged.
    #[error("the host's settings name no valid {0}; run `watchpost-updater setup` again")]
    Hash(&'static str),
    /// The sensor cannot be started as the settings say.
    #[error("the sensor cannot be started as setup was told")]
    Launch(#[from] LaunchError),
    /// The server's address cannot be used.
    #[error("the connection to the server cannot be set up")]
    Transport(#[from] TransportError),
    /// The proxy of the settings cannot be used.
    #[error("the proxy of the host's settings cannot be used; set it with `watchpost-updater proxy`")]
    Proxy(#[from] ProxyConfigError),
    /// Another updater runs.
    #[error("another updater runs for {0}; there can be only one")]
    Running(PathBuf),
    /// The lock or a signal handler cannot be had.
    #[error("the updater cannot start")]
    Io(#[from] std::io::Error),
}

/// Runs the updater until it is told to stop, or another one is to take its place.
///
/// # Errors
/// When the host is not set up, or another updater runs for it.
pub async fn run(options: Options) -> Result<Ended, ServiceError> {
    options.clock.busy();
    let layout = Layout::new(&options.root);
    // A host whose log cannot be written is still kept up to date.
    let _ = crate::sensor::log::write_to(layout.log(), options.clock.clone());
    let config = HostConfig::read(&options.root)?;
    let Some(_lock) = lock::take(&layout.updater_lock())? else {
        return Err(ServiceError::Running(options.root));
    };
    let keyring = Keyring::of_host(&options.root);
    let held = keyring.open()?.ok_or(ServiceError::NotEnrolled)?;
    let trusted = server_keys::trusted(&options.root, &config).ok_or(ServiceError::Hash("server key"))?;
    let base = config.server_key().ok_or(ServiceError::Hash("server key"))?;
    let director_root: Sha256Hex =
        config.director_root_sha256.parse().map_err(|_| ServiceError::Hash("director root"))?;
    let launch = Launch::of(&config)?;
    let proxy = proxy_of(&options.root, &config)?;
    let client = Client::through(proxy, &config.server, trusted, held.cur()?, Timeouts::default())?;
    let mut stop = Stop::listen()?;
    tracing::info!(server = config.server, name = config.name, "the updater runs");
    loop {
        let clock = &options.clock;
        let (client, keyring, launch) = (client.clone(), keyring.clone(), launch.clone());
        let error = match Session::open(&options, &config, client, keyring, (base, director_root), launch).await {
            Ok(session) => match session.run(&mut stop).await {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            },
            Err(error) => error,
        };
        tracing::error!("the disk fails the updater; it starts again from what is there: {}", in_one_line(&error));
        let until = clock.now() + DISK_PAUSE;
        clock.idle_until(Some(until));
        tokio::select! {
            () = clock.sleep_until(until) => {}
            () = stop.asked() => return Ok(Ended::Told),
        }
        clock.busy();
    }
}

/// One life of the driver: from recovery to the end, or to a disk that fails.
struct Session {
    clock: Clock,
    client: Client,
    driver: Driver,
    pace: Pace,
    prepared: mpsc::Receiver<Event>,
    heard: mpsc::Receiver<Heard>,
    replies: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    delivered: mpsc::Receiver<Delivery>,
    rules: mpsc::Receiver<RulesEvent>,
    orders: mpsc::Receiver<Ordered>,
    identified: (mpsc::Sender<Identified>, mpsc::Receiver<Identified>),
    /// What takes orders on this host; it ends with the session.
    _door: JoinSet<()>,
    /// The host's certificates; `None` while one takes the place of another.
    rotation: Option<Rotation>,
    /// What looks after them meanwhile; it ends with the session, so that never two do.
    rotating: JoinSet<Rotated>,
    /// The keys of the server.
    server_keys: ServerTrust,
    /// The way to the server.
    connection: ConnectionWatch,
    /// The updaters before and after this one.
    successor: Successor,
    /// Whether one of them is to go on in this one's place.
    hands_over: bool,
    guard: mpsc::Receiver<News>,
    guarding: JoinHandle<()>,
    /// What was sent last and is not answered.
    sent: Option<Report>,
    acknowledged: Option<Report>,
    /// What the session waits for of the sensor, and since when in real time.
    waits: Option<(Awaited, Instant)>,
    opened: Instant,
}

/// A sensor process, and whether it is to get ready or to prove itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Awaited {
    turn: u64,
    is_starting: bool,
}

type Answer = Result<SyncReply, TransportError>;
/// The certificates, and whether the host is let in again.
type Rotated = (Rotation, bool);

/// What ended a wait.
enum Woken {
    Answered(Answer),
    Prepared(Event),
    Heard(Heard),
    Delivered(Delivery),
    Rules(RulesEvent),
    Ordered(Ordered),
    Identified(Identified),
    Rotated(Box<Result<Rotated, JoinError>>),
    ServerKeys(Learnt),
    Guard(News),
    Time,
    Stop,
}

impl Session {
    async fn open(
        options: &Options,
        config: &HostConfig,
        client: Client,
        keyring: Keyring,
        (base, director_root): (ServerKey, Sha256Hex),
        launch: Launch,
    ) -> Result<Self, DriverError> {
        let layout = &Layout::new(&options.root);
        let rotation = Some(Rotation::open(keyring, client.clone(), options.clock.clone())?);
        let rotating = JoinSet::new();
        let (to_heard, heard) = mpsc::channel(EVENTS);
        let (to_prepared, prepared) = mpsc::channel(EVENTS);
        let clock = options.clock.clone();
        let installation = Installation::new(layout, Disk::default());
        let Guarding { sensor, news: guard, task: guarding } = Guarding::start(guard::Options {
            group: guard::group_name(layout.root()),
            state: layout.guard_state(),
            clock: clock.clone(),
            acts: options.guards,
        });
        let supervisor = Supervisor::new(layout.clone(), options.sensor_arguments.clone(), to_heard, sensor)
            .launching(launch)
            .watching(config.watched_unit.clone());
        let preparer = Preparer::new(client.clone(), layout.clone(), installation.versions.clone(), director_root);
        let server_keys = ServerTrust::new(layout, base, client.clone(), preparer.clone());
        let connection = ConnectionWatch::new(layout);
        let successor = Successor::open(layout, options.program.clone());
        let (to_delivered, delivered) = mpsc::channel(1);
        let courier = Courier::new(client.clone(), to_delivered);
        let (to_rules, rules) = mpsc::channel(1);
        let packages = Rules::open(layout, Disk::default(), &preparer, to_rules, clock.now())?;
        let driver =
            Driver::open(installation, supervisor, preparer, to_prepared, courier, packages, clock.clone()).await?;
        let (to_orders, orders) = mpsc::channel(1);
        let door = door::open(layout, to_orders);
        let (pace, opened) = (Pace::new(clock.now()), clock.instant());
        let replies = mpsc::channel(1);
        let (sent, acknowledged, waits) = (None, None, None);
        Ok(Self {
            clock,
            client,
            driver,
            pace,
            prepared,
            heard,
            replies,
            delivered,
            rules,
            orders,
            identified: mpsc::channel(1),
            _door: door,
            rotation,
            rotating,
            server_keys,
            connection,
            successor,
            hands_over: false,
            guard,
            guarding,
            sent,
            acknowledged,
            waits,
            opened,
        })
    }

    async fn run(mut self, stop: &mut Stop) -> Result<Ended, DriverError> {
        loop {
            // Whatever comes next, the connection and the sensor's socket get their turn.
            tokio::task::yield_now().await;
            self.check_in_if_due();
            let (until, patience) = self.before_waiting();
            let woken = self.wait(until, patience, stop).await;
            self.clock.busy();
            match woken {
                Woken::Answered(answer) => self.answered(answer).await?,
                Woken::Prepared(event) => self.driver.take(event).await?,
                Woken::Heard(heard) => self.driver.heard(heard).await?,
                Woken::Delivered(delivery) => self.driver.delivered(delivery),
                Woken::Rules(event) => self.driver.rules_fetched(event)?,
                Woken::ServerKeys(learnt) => self.server_keys.keep(learnt)?,
                Woken::Ordered(ordered) => self.driver.ordered(ordered, &self.identified.0),
                Woken::Identified(found) => self.driver.identified(found),
                Woken::Rotated(rotated) => self.rotated((*rotated).map_err(RotationError::from)?),
                Woken::Guard(news) => self.driver.guarded(news).await?,
                Woken::Time => {
                    self.driver.rules_tick()?;
                    self.driver.take(Event::Tick).await?;
                }
                Woken::Stop => {
                    tracing::info!("the updater was told to stop, and stops its sensor");
                    self.driver.shut_down().await;
                    drop(self.driver);
                    // It ends with the driver, and takes the sensor's group away. If it failed, the group stays behind.
                    let _ = self.guarding.await;
                    return Ok(Ended::Told);
                }
            }
            if self.hands_over {
                return Ok(Ended::HandedOver);
            }
            self.driver.settle_order();
            self.notice_changes();
        }
    }

    /// Tells the clock what this process waits for; says until when to wait and how long a stepped clock is held.
    fn before_waiting(&mut self) -> (Timestamp, Option<Duration>) {
        let until = [self.check_in_at(), self.driver.wakes_at()].into_iter().flatten().min();
        let until = until.unwrap_or(Timestamp::from_millis(i64::MAX));
        let is_starting = self.driver.machine().report().service == ServiceState::Starting;
        let is_waiting = is_starting || self.driver.is_proving();
        let awaited = Awaited { turn: self.driver.sensor_turn(), is_starting };
        let (waits, instant) = (self.waits, self.clock.instant());
        self.waits = is_waiting.then(|| waits.filter(|(before, _)| *before == awaited).unwrap_or((awaited, instant)));
        let patience = self
            .waits
            .map(|(_, since)| PATIENCE.saturating_sub(instant.saturating_duration_since(since)))
            .filter(|left| !left.is_zero());
        let is_talking = self.sent.is_some() || self.rotation.is_none() || self.server_keys.is_learning();
        if is_talking || self.driver.is_busy() || patience.is_some() {
            self.clock.busy();
        } else {
            self.clock.idle_until(Some(until));
        }
        (until, patience)
    }

    async fn wait(&mut self, until: Timestamp, patience: Option<Duration>, stop: &mut Stop) -> Woken {
        let (clock, replies) = (&self.clock, &mut self.replies.1);
        tokio::select! {
            Some(answer) = replies.recv() => Woken::Answered(answer),
            Some(event) = self.prepared.recv() => Woken::Prepared(event),
            Some(heard) = self.heard.recv() => Woken::Heard(heard),
            Some(delivery) = self.delivered.recv() => Woken::Delivered(delivery),
            Some(event) = self.rules.recv() => Woken::Rules(event),
            Some(learnt) = self.server_keys.learnt() => Woken::ServerKeys(learnt),
            Some(ordered) = self.orders.recv() => Woken::Ordered(ordered),
            Some(found) = self.identified.1.recv() => Woken::Identified(found),
            Some(rotated) = self.rotating.join_next() => Woken::Rotated(Box::new(rotated)),
            Some(news) = self.guard.recv() => Woken::Guard(news),
            () = clock.sleep_until(until) => Woken::Time,
            () = patient(patience) => Woken::Time,
            () = stop.asked() => Woken::Stop,
        }
    }

    /// When the next report is due; `None` while one is on its way. The first one waits a moment for the sensor to say
    /// what it has, so that a restart of the updater does not look like a sensor without alerts.
    fn check_in_at(&self) -> Option<Timestamp> {
        let is_starting = self.driver.machine().report().service == ServiceState::Starting;
        let is_fresh = self.clock.instant().saturating_duration_since(self.opened) < PATIENCE;
        let is_held = is_starting && is_fresh && !self.driver.has_heard();
        // What is presented must not change between a report and its answer.
        (self.sent.is_none() && self.rotation.is_some() && !is_held).then(|| self.pace.next())
    }

    fn check_in_if_due(&mut self) {
        let now = self.clock.now();
        if self.check_in_at().is_none_or(|at| at > now) {
            return;
        }
        self.driver.look_at_host();
        self.connection.look();
        let (report, measurements) = (self.report(), self.driver.measurements());
        self.pace.began(now);
        self.sent = Some(report.clone());
        let (client, replies) = (self.client.clone(), self.replies.0.clone());
        tokio::spawn(async move {
            let answer = client.sync(&report, &measurements).await;
            // Nobody waits any more: the session has ended.
            let _ = replies.send(answer).await;
        });
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), DriverError> {
        let sent = self.sent.take();
        let now = self.clock.now();
        self.successor.checked_in(answer.is_ok(), self.is_watching())?;
        match answer {
            // It keeps watch first, and takes orders then.
            Ok(reply) if self.successor.is_on_trial() => {
                self.pace.answered(now, reply.come_back_after);
                Ok(())
            }
            Ok(mut reply) => {
                // What was said to an ask before this one is not for this one.
                let asked = sent.as_ref().and_then(|report| report.asked);
                reply.asked = reply.asked.filter(|_| asked == self.driver.asked());
                self.acknowledged = sent;
                self.connection.reached(now);
                self.pace.answered(now, reply.come_back_after);
                let standing = reply.standing.clone();
                if reply.learn_server_keys {
                    let is_established = self.driver.machine().report().version.is_some();
                    self.server_keys.learn(is_established, reply.server_time);
                }
                if self.rotation.as_mut().is_some_and(|rotation| rotation.is_due(standing.as_ref())) {
                    self.rotate(Occasion::Told(standing));
                }
                let desired = reply.desired.version;
                self.driver.answered(reply).await?;
                self.hand_over_if_due(desired)
            }
            Err(error) => {
                tracing::warn!("the check-in was not answered: {}", in_one_line(&error));
                self.connection.failed(&error, now);
                self.pace.failed(now, setback(&error), random());
                if let Some(occasion) = Occasion::of(&error) {
                    self.rotate(occasion);
                }
                Ok(())
            }
        }
    }

    /// Looks after the certificates, beside everything else.
    fn rotate(&mut self, occasion: Occasion) {
        let Some(rotation) = self.rotation.take() else { return };
        let was_refused = matches!(occasion, Occasion::Refused(_));
        self.rotating.spawn(async move {
            let (rotation, is_let_in) = rotation.run(occasion).await;
            (rotation, was_refused && is_let_in)
        });
    }

    fn rotated(&mut self, (rotation, is_mended): Rotated) {
        self.rotation = Some(rotation);
        if is_mended {
            self.pace.mended(self.clock.now());
        }
    }

    /// What this host reports.
    fn report(&self) -> Report {
        let (server_keys, connection) = (self.client.trusted(), self.connection.told());
        Report { server_keys, connection, updater: self.successor.report(), ..self.driver.report() }
    }

    /// A report that differs from the acknowledged one is sent soon.
    fn notice_changes(&mut self) {
        let Some(acknowledged) = &self.acknowledged else { return };
        if self.sent.is_none() && worth_telling(&self.report()) != worth_telling(acknowledged) {
            self.pace.changed(self.clock.now());
        }
    }
}

/// Holds a stepped clock for so long; for ever if it is not held.
async fn patient(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// A report without what changes all the time: how much of a download has arrived.
fn worth_telling(report: &Report) -> Report {
    let mut told = report.clone();
    if let UpdateProgress::Preparing { percent, .. } = &mut told.update {
        *percent = 0;
    }
    told
}

fn setback(error: &TransportError) -> Setback {
    if error.code() == Some(Code::SensorUnknown) {
        return Setback::Refused;
    }
    let retry_after = if let TransportError::Refused { retry_after, .. } = error { *retry_after } else { None };
    Setback::Unanswered { retry_after }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the pause is the shortest; the server's own limits hold.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

mod handover;
