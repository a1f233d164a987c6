//! Starts, adopts, watches and stops the one sensor process of the host. Decides nothing.
//!
//! The sensor outlives its updater on purpose: detection goes on while the updater is replaced or restarted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use watchpost_core::updater::{Death, Release, Running};

use super::held::{Process, stop};
use super::launch::{Launch, start_unit};
use super::layout::Layout;
use super::versions::SENSOR_PROGRAM;
use crate::host::disk::read_limited;
use crate::host::{lock, process};
use crate::local::{Ask, LocalError, Say, SensorLink, SensorStatus};

/// The pause between two looks at the socket or the lock, in real time.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a sensor may take to take an ask from its socket, in real time.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// How long a sensor that systemd has started may take to take its lock, in real time.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The exit code of a sensor that refuses to run on this host (`EX_CONFIG`).
const REFUSED_CODE: i32 = 78;
/// The largest text of a lock file.
const LOCK_BYTES: u64 = 64;
/// The output of sensors that is kept before it is begun anew.
const OUTPUT_BYTES: u64 = 1024 * 1024;
/// The end of a sensor's output that is searched for its last words.
const LAST_WORDS_BYTES: u64 = 4096;
/// Orders that may wait for the tending task.
const ORDERS: usize = 16;

/// What was heard of a sensor process.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which process, counted from the updater's start: one that was stopped may still be heard of.
    pub(super) turn: u64,
    /// What it runs from.
    pub(super) release: Release,
    /// What was heard.
    pub(super) news: News,
}

/// What a sensor says, or what became of it.
#[derive(Debug)]
pub(super) enum News {
    /// Its status changed.
    Status(Box<SensorStatus>),
    /// A batch of evidence to be passed on; empty: nothing waits.
    Evidence(String),
    /// It is gone.
    Died(Death),
}

enum Order {
    Ask(Ask),
    Stop(oneshot::Sender<()>),
}

/// The sensor process of one host.
pub(super) struct Supervisor {
    layout: Layout,
    extra_arguments: Vec<String>,
    heard: mpsc::Sender<Heard>,
    /// Where the guard hears which process it is to hold.
    guarded: watch::Sender<Option<u32>>,
    launch: Launch,
    watched_unit: Option<String>,
    tended: Option<Tended>,
    turn: u64,
}

/// The process that a task of this updater stays with.
struct Tended {
    release: Release,
    orders: mpsc::Sender<Order>,
}

impl Supervisor {
    /// A supervisor that reports to `heard`, and tells `guarded` which process runs; every sensor gets `extra_arguments`
    /// too.
    #[must_use]
    pub(super) fn new(
        layout: Layout,
        extra_arguments: Vec<String>,
        heard: mpsc::Sender<Heard>,
        guarded: watch::Sender<Option<u32>>,
    ) -> Self {
        Self {
            layout,
            extra_arguments,
            heard,
            guarded,
            launch: Launch::default(),
            watched_unit: None,
            tended: None,
            turn: 0,
        }
    }

    /// The same, starting sensors this way.
    #[must_use]
    pub(super) fn launching(self, launch: Launch) -> Self {
        Self { launch, ..self }
    }

    /// The same, on a host that says in which unit of systemd what it watches runs.
    #[must_use]
    pub(super) fn watching(self, watched_unit: Option<String>) -> Self {
        Self { watched_unit, ..self }
    }

    /// The unit whose service is watched here.
    #[must_use]
    pub(super) fn watched_unit(&self) -> Option<String> {
        self.watched_unit.clone()
    }

    /// The host's folder.
    #[must_use]
    pub(super) fn root(&self) -> &Path {
        self.layout.root()
    }

    /// Which process is the one that counts; what is heard of another turn is of the past.
    #[must_use]
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether a sensor runs, and from where: its lock tells, whoever started it. The lock of a process that is tended
    /// is left alone, because looking at it at the wrong moment would keep the process from taking it.
    #[must_use]
    pub(super) fn running(&self) -> Running {
        if let Some(tended) = self.tended.as_ref().filter(|tended| !tended.orders.is_closed()) {
            return Running::Release(tended.release);
        }
        match lock::is_held(&self.layout.sensor_lock()) {
            Ok(false) => Running::Nothing,
            Ok(true) => pid_of(&self.layout)
                .and_then(|pid| release_of(&self.layout, pid))
                .map_or(Running::Unknown, Running::Release),
            Err(_) => Running::Unknown,
        }
    }

    /// Adopts the sensor that an earlier updater left, if there is one.
    pub(super) fn adopt(&mut self) -> Running {
        let found = self.running();
        let (Running::Release(release), Some(pid)) = (found, pid_of(&self.layout)) else { return found };
        tracing::info!(pid, %release, "the running sensor is adopted");
        self.tend(release, Process::adopted(pid, self.layout.sensor_lock()), pid, 0);
        found
    }

    /// Starts the sensor of a release, or adopts it: an updater that died between starting a sensor and the sensor's
    /// taking of its lock left one behind that nobody could see yet. Any other holder of the lock is stopped.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) async fn start(&mut self, release: Release) -> io::Result<()> {
        if lock::is_held(&self.layout.sensor_lock())? {
            if self.running() == Running::Release(release) {
                self.adopt();
                return Ok(());
            }
            self.stop_stranger().await;
        }
        if let Launch::Unit(unit) = self.launch.clone() {
            return self.start_in_unit(&unit, release).await;
        }
        let folder = self.layout.version(release);
        let (output, begins_at) = self.open_output()?;
        let mut command = self.launch.command(&folder.join(SENSOR_PROGRAM));
        command
            .arg("run")
            .arg("--root")
            .arg(self.layout.root())
            .arg("--release")
            .arg(&folder)
            .args(&self.extra_arguments)
            .current_dir(self.layout.root())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: what a terminal sends to the updater is not for the sensor.
            .process_group(0)
            .kill_on_drop(false);
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        tracing::info!(pid, %release, "the sensor is started");
        self.tend(release, Process::Child(Box::new(child)), pid, begins_at);
        Ok(())
    }

    /// Has systemd start the sensor from `current`, and adopts it once it has its lock.
    async fn start_in_unit(&mut self, unit: &str, release: Release) -> io::Result<()> {
        self.tended = None;
        start_unit(unit).await?;
        let taking = async {
            while self.running() != Running::Release(release) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let late = |_| {
            let limit = LOCK_PATIENCE.as_secs();
            io::Error::other(format!("{unit} runs no sensor of {release} after {limit} s; see: journalctl -u {unit}"))
        };
        tokio::time::timeout(LOCK_PATIENCE, taking).await.map_err(late)?;
        self.adopt();
        Ok(())
    }

    /// The file that takes what the sensor prints, and where its part begins.
    fn open_output(&self) -> io::Result<(File, u64)> {
        let path = self.layout.sensor_output();
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
        if length <= OUTPUT_BYTES {
            return Ok((file, length));
        }
        file.set_len(0)?;
        Ok((file, 0))
    }

    fn tend(&mut self, release: Release, process: Process, pid: u32, begins_at: u64) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        self.tended = Some(Tended { release, orders });
        self.turn += 1;
        self.guarded.send_replace(Some(pid));
        let tender = Tender {
            root: self.layout.root().to_owned(),
            output: self.layout.sensor_output(),
            begins_at,
            turn: self.turn,
            release,
            pid,
            process,
            has_ended: false,
            link: None,
            asks: Vec::new(),
            heard: self.heard.clone(),
        };
        tokio::spawn(tender.run(inbox));
    }

    /// Stops the sensor and waits until it is gone. Nothing is heard of it afterwards.
    pub(super) async fn stop(&mut self) {
        self.turn += 1;
        if let Some(tended) = self.tended.take() {
            let (done, is_done) = oneshot::channel();
            if tended.orders.send(Order::Stop(done)).await.is_ok() {
                // An error means that the sensor ended by itself at this very moment.
                let _ = is_done.await;
            }
        }
        self.stop_stranger().await;
        self.guarded.send_replace(None);
    }

    /// Ends whoever else holds the sensor's lock, if it can be told who that is: the process that answers on the
    /// sensor's socket, else the one the lock file names. Both lie in a folder that the sensor may write, so a process
    /// that is no sensor of this host is left alone: a sensor that was taken over must not have others ended.
    async fn stop_stranger(&self) {
        let lock = self.layout.sensor_lock();
        if !lock::is_held(&lock).unwrap_or(true) {
            return;
        }
        let answering = SensorLink::connect(self.layout.root()).await.ok().and_then(|link| link.pid());
        let candidates = [answering, pid_of(&self.layout)].into_iter().flatten();
        match candidates.into_iter().find(|pid| is_sensor_of(&self.layout, *pid)) {
            Some(pid) => {
                tracing::warn!(pid, "a sensor that should not run is stopped");
                stop(&mut Process::adopted(pid, lock), pid).await;
            }
            None => tracing::error!("the sensor's lock is held by a process that is no sensor of this host"),
        }
    }

    /// Asks something of the running sensor, if there is one.
    pub(super) fn ask(&self, ask: Ask) {
        if let Some(tended) = &self.tended {
            // A full inbox means that earlier asks are still to be answered; whoever asks, asks again.
            let _ = tended.orders.try_send(Order::Ask(ask));
        }
    }
}

/// The process id in the lock file. Only good while the lock is held.
fn pid_of(layout: &Layout) -> Option<u32> {
    let text = read_limited(&layout.sensor_lock(), LOCK_BYTES).ok().flatten()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// The release a process runs from: by its executable, else by the folder it was told.
fn release_of(layout: &Layout, pid: u32) -> Option<Release> {
    let runs = process::runs(pid)?;
    layout.release_of(&runs.executable).or_else(|| {
        let at = runs.arguments.iter().position(|argument| argument == Path::new("--release"))?;
        layout.release_of(runs.arguments.get(at + 1)?)
    })
}

/// Whether a process is a sensor of this host: it runs from one of its versions, or was told its folder.
fn is_sensor_of(layout: &Layout, pid: u32) -> bool {
    let is_told = |runs: process::Runs| {
        let at = runs.arguments.iter().position(|argument| argument == Path::new("--root"));
        at.and_then(|at| runs.arguments.get(at + 1)).is_some_and(|root| root == layout.root())
    };
    release_of(layout, pid).is_some() || process::runs(pid).is_some_and(is_told)
}

/// The task that stays with one sensor process until its end.
struct Tender {
    root: PathBuf,
    output: PathBuf,
    begins_at: u64,
    turn: u64,
    release: Release,
    pid: u32,
    process: Process,
    has_ended: bool,
    link: Option<SensorLink>,
    asks: Vec<Ask>,
    heard: mpsc::Sender<Heard>,
}

impl Tender {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let goes_on = tokio::select! {
                ending = self.process.ended() => {
                    self.has_ended = true;
                    let death = self.death(ending);
                    self.tell(&mut orders, News::Died(death)).await;
                    false
                }
                order = orders.recv() => self.obey(order).await,
                said = listen(&mut self.link, &self.root, self.pid) => match said {
                    Ok(Some(Say::Status(status))) => self.tell(&mut orders, News::Status(status)).await,
                    Ok(Some(Say::Evidence { evidence })) => self.tell(&mut orders, News::Evidence(evidence)).await,
                    Ok(Some(Say::Shown { .. })) => true,
                    Ok(None) => {
                        self.pass_on().await;
                        true
                    }
                    Err(error) => {
                        tracing::debug!(%self.release, "the sensor's socket: {}", super::error::in_one_line(&error));
                        self.link = None;
                        tokio::time::sleep(LOOK_AGAIN).await;
                        true
                    }
                },
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Does as it is told; whether it goes on after that.
    async fn obey(&mut self, order: Option<Order>) -> bool {
        match order {
            None => false,
            Some(Order::Ask(ask)) => {
                self.asks.push(ask);
                self.pass_on().await;
                true
            }
            Some(Order::Stop(done)) => {
                // Once it has ended, its number may be another's.
                if !self.has_ended {
                    stop(&mut self.process, self.pid).await;
                }
                let _ = done.send(());
                false
            }
        }
    }

    /// Tells news, and obeys while there is no room for them: whoever should hear them may be waiting for this very
    /// sensor to end. Whether it goes on after that.
    async fn tell(&mut self, orders: &mut mpsc::Receiver<Order>, news: News) -> bool {
        let heard = self.heard.clone();
        loop {
            tokio::select! {
                order = orders.recv() => {
                    if !self.obey(order).await {
                        return false;
                    }
                }
                room = heard.reserve() => {
                    // When nobody listens any more, the updater is going down.
                    if let Ok(room) = room {
                        room.send(Heard { turn: self.turn, release: self.release, news });
                    }
                    return true;
                }
            }
        }
    }

    /// Passes waiting asks on, if there is a link. A sensor that takes none is connected to anew.
    async fn pass_on(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut waiting = std::mem::take(&mut self.asks).into_iter();
        for ask in waiting.by_ref() {
            if !matches!(tokio::time::timeout(ASK_PATIENCE, link.ask(&ask)).await, Ok(Ok(()))) {
                self.asks.push(ask);
                self.link = None;
                break;
            }
        }
        self.asks.extend(waiting);
    }

    fn death(&self, ending: Option<ExitStatus>) -> Death {
        let Some(status) = ending else { return Death::Ended("it ended".to_owned()) };
        let words = self.last_words();
        let told = match &words {
            Some(words) => format!("{}: {words}", process::ending(status)),
            None => process::ending(status),
        };
        if status.code() == Some(REFUSED_CODE) { Death::Refused(words.unwrap_or(told)) } else { Death::Ended(told) }
    }

    /// The last line that the sensor printed.
    fn last_words(&self) -> Option<String> {
        let mut file = File::open(&self.output).ok()?;
        let end = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(self.begins_at.max(end.saturating_sub(LAST_WORDS_BYTES)))).ok()?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }
}

/// What the sensor says next; `None` once the link is made. Safe to cancel.
async fn listen(link: &mut Option<SensorLink>, root: &Path, pid: u32) -> Result<Option<Say>, LocalError> {
    if let Some(link) = link {
        let closed = || LocalError::Io(io::ErrorKind::UnexpectedEof.into());
        return link.next().await?.ok_or_else(closed).map(Some);
    }
    let mut fresh = SensorLink::connect(root).await?;
    if fresh.pid() != Some(pid) {
        return Err(LocalError::Io(io::ErrorKind::ConnectionRefused.into()));
    }
    fresh.ask(&Ask::Watch).await?;
    *link = Some(fresh);
    Ok(None)
}
