//! The life of the engine: started, looked at, started again, stopped. Runs on the engine's own thread.
//!
//! It believes neither a process that is alive nor a list of interfaces: it asks on the control socket, and looks at the
//! interfaces itself, because Suricata spins on one that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use watchpost_clock::Clock;
use watchpost_core::evidence::TimelineEntry;
use watchpost_core::facts::{EngineFacts, EngineState, InterfaceFacts};
use watchpost_core::time::Timestamp;

use super::canary::Expected;
use super::config::{SuricataSettings, render};
use super::control::Control;
use super::evidence::{Evidence, Mapper};
use super::handle::{ConfigureError, Order};
use super::home::Home;
use super::intake::Intake;
use super::interfaces::{self, Interface, Windows};
use super::loading::{self, RulesLoaded};
use super::place::{self, Place, PlaceError};
use super::process::{Process, Programs};
use super::rules::{Gathered, replace, write_beside};
use super::running::{Running, Sent};
use super::{SuricataOptions, SuricataStatus};
use crate::host::process::ending;
use crate::sensor::one_line;

/// How often an engine that starts is asked, in real time.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// An engine that ran so long is started again without a longer pause.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// What the engine works with on this host.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) place: Place,
    pub(super) programs: Programs,
}

/// What is wanted of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) interfaces: BTreeSet<String>,
    pub(super) home: BTreeSet<String>,
}

/// The engine's keeper.
pub(super) struct Supervisor {
    pub(super) options: SuricataOptions,
    pub(super) clock: Clock,
    status: watch::Sender<SuricataStatus>,
    hand_out: mpsc::Sender<Evidence>,
    pub(super) intake: Intake,
    serving: Option<JoinHandle<()>>,
    pub(super) expected: Arc<Expected>,
    pub(super) sent: Arc<Sent>,
    pub(super) wanted: Wanted,
    /// The rules in force, as text; `None`: not gathered yet.
    pub(super) gathered: Option<Gathered>,
    pub(super) rules: RulesLoaded,
    pub(super) running: Option<Running>,
    windows: Windows,
    pub(super) there: BTreeMap<String, Interface>,
    told: BTreeMap<String, InterfaceFacts>,
    engine: Option<EngineFacts>,
    next_start: Instant,
    pause: Duration,
    window_ends: Timestamp,
    starts: u64,
}

impl Supervisor {
    pub(super) fn new(
        options: SuricataOptions,
        clock: Clock,
        status: watch::Sender<SuricataStatus>,
        hand_out: mpsc::Sender<Evidence>,
    ) -> Self {
        let expected = Arc::new(Expected::default());
        let mapper = Mapper::new(Home::new(&BTreeSet::new()));
        Self {
            intake: Intake::new(clock.clone(), mapper, expected.clone(), hand_out.clone()),
            status,
            hand_out,
            serving: None,
            expected,
            sent: Arc::default(),
            wanted: Wanted::default(),
            gathered: None,
            rules: RulesLoaded::default(),
            running: None,
            windows: Windows::default(),
            there: BTreeMap::new(),
            told: BTreeMap::new(),
            engine: None,
            next_start: clock.instant(),
            pause: options.patience.first_pause,
            window_ends: clock.now(),
            starts: 0,
            options,
            clock,
        }
    }

    /// Lives until told to stop, or until nobody is left to tell.
    pub(super) async fn live(mut self, mut inbox: mpsc::Receiver<Order>, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work(&mut inbox) => {}
            // An error says that the handle was dropped, which means the same.
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        self.stop_engine().await;
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Order>) {
        loop {
            self.look().await;
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                status = ended(self.running.as_mut()) => self.note_death(status),
                () = tokio::time::sleep(self.options.patience.look) => {}
            }
        }
    }

    /// One look at the interfaces and the engine, and what follows from it.
    pub(super) async fn look(&mut self) {
        match interfaces::look() {
            Ok(there) => self.there = there,
            Err(error) => tracing::warn!("the network interfaces cannot be listed: {error}"),
        }
        let present: BTreeSet<String> =
            self.wanted.interfaces.iter().filter(|name| self.there.contains_key(*name)).cloned().collect();
        if self.running.as_ref().is_some_and(|running| running.interfaces != present) {
            self.stop_engine().await;
            self.next_start = self.clock.instant();
        }
        if self.running.is_some() {
            self.check_alive().await;
        } else if self.wanted.interfaces.is_empty() {
            self.engine = None;
        } else if present.is_empty() {
            let missing: Vec<&str> = self.wanted.interfaces.iter().map(String::as_str).collect();
            let reason = format!("no capture interface is there ({}); it starts when one is", missing.join(", "));
            self.set_state(EngineState::NotRunning, reason);
        } else if self.clock.instant() >= self.next_start {
            self.start(present).await;
        }
        self.end_window().await;
        self.publish();
    }

    /// What the engine works with, once it is all there.
    pub(super) fn tools(&self) -> Result<Tools, ConfigureError> {
        let programs = Programs::find(self.options.program.as_deref())?;
        let place = Place::new(&self.options.folder, &self.options.user)?;
        place.prepare()?;
        Ok(Tools { place, programs })
    }

    pub(super) fn settings(&self, place: &Place, wanted: &Wanted, interfaces: BTreeSet<String>) -> SuricataSettings {
        SuricataSettings {
            interfaces,
            home_networks: wanted.home.clone(),
            log_folder: place.log.clone(),
            rules_file: place.rules(),
            eve_socket: place.eve(),
            control_socket: place.control(),
            packet_bytes: self.options.packet_bytes,
            packet_files: self.options.packet_files,
            threads: self.options.threads,
        }
    }

    async fn start(&mut self, interfaces: BTreeSet<String>) {
        let reason = match self.try_start(interfaces).await {
            Ok(()) => return,
            Err(reason) => reason,
        };
        if let Some(running) = self.running.take() {
            running.process.kill().await;
        }
        tracing::error!(%reason, "Suricata does not start");
        self.put_off();
        self.set_state(EngineState::StartFailed, reason);
    }

    async fn try_start(&mut self, interfaces: BTreeSet<String>) -> Result<(), String> {
        let tools = self.tools().map_err(|error| one_line(&error))?;
        let gathered = match self.gathered.take() {
            Some(gathered) => gathered,
            None => Gathered::read(&self.options.rules).map_err(|error| one_line(&error))?,
        };
        let yaml = render(&self.settings(&tools.place, &self.wanted, interfaces.clone()));
        for (path, text) in [(tools.place.rules(), gathered.text()), (tools.place.config(), yaml.as_bytes())] {
            let written = write_beside(&path, text).and_then(|beside| replace(&beside, &path));
            written.map_err(|error| one_line(&error))?;
        }
        self.gathered = Some(gathered);
        self.listen(&tools.place).map_err(|error| one_line(&error))?;
        let process = Process::start(&tools.programs, &tools.place).map_err(|error| one_line(&error))?;
        tracing::info!(pid = process.pid(), ?interfaces, "Suricata is started");
        self.starts += 1;
        let started = self.clock.instant();
        self.running = Some(Running { process, interfaces, started, since: self.clock.now(), answers: false });
        self.set_state(EngineState::Starting, String::new());
        self.publish();
        self.wait_for_answer(&tools.place).await
    }

    /// A fresh socket for events: whatever lay there is of an earlier life.
    fn listen(&mut self, place: &Place) -> Result<(), PlaceError> {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        let path = place.eve();
        place::remove(&path)?;
        let listener = UnixListener::bind(&path).map_err(|source| PlaceError::Io { path, source })?;
        place.hand_over_eve()?;
        self.serving = Some(tokio::spawn(self.intake.clone().serve(listener)));
        Ok(())
    }

    async fn wait_for_answer(&mut self, place: &Place) -> Result<(), String> {
        let patience = self.options.patience;
        let Some(running) = self.running.as_mut() else { return Err("it was not started".to_owned()) };
        let deadline = running.started + patience.start;
        let mut control = loop {
            if let Ok(control) = running.control(place, patience.answer).await {
                break control;
            }
            if let Ok(status) = tokio::time::timeout(ASK_EVERY, running.process.ended()).await {
                return Err(death(status, running));
            }
            if self.clock.instant() >= deadline {
                return Err(format!(
                    "it did not answer within {} s; {}",
                    patience.start.as_secs(),
                    death(None, running)
                ));
            }
        };
        self.take_over(&mut control).await
    }

    /// The engine answers: from here on it counts.
    async fn take_over(&mut self, control: &mut Control) -> Result<(), String> {
        let gathered = self.gathered.clone().unwrap_or_default();
        let rules = loading::read_back(control, &gathered, &std::collections::HashMap::new()).await;
        self.rules = rules.map_err(|error| one_line(&error))?;
        let now = self.clock.now();
        let Some(running) = self.running.as_mut() else { return Err("it was stopped".to_owned()) };
        running.answers = true;
        running.since = now;
        let interfaces = running.interfaces.clone();
        self.windows.engine_started(&interfaces, now);
        self.window_ends = now + self.options.patience.window;
        self.set_state(EngineState::Running, String::new());
        let names: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        self.tell("engine", format!("Suricata listens on {}", names.join(", ")));
        Ok(())
    }

    /// An engine that does not answer is as good as none: it is ended and started again.
    async fn check_alive(&mut self) {
        let patience = self.options.patience;
        let Some(running) = self.running.as_ref() else { return };
        let Ok(tools) = self.tools_of_running() else { return };
        let answer = match running.control(&tools, patience.answer).await {
            Ok(mut control) => control.uptime().await.map(|_| ()),
            Err(error) => Err(error),
        };
        running.process.trim_output();
        let Err(error) = answer else { return };
        let Some(mut running) = self.running.take() else { return };
        let has_ended = tokio::time::timeout(ASK_EVERY, running.process.ended()).await;
        if let Ok(status) = has_ended {
            self.running = Some(running);
            return self.note_death(status);
        }
        running.process.kill().await;
        self.put_off();
        self.lost(one_line(&error));
    }

    pub(super) fn tools_of_running(&self) -> Result<Place, PlaceError> {
        Place::new(&self.options.folder, &self.options.user)
    }

    fn note_death(&mut self, status: Option<ExitStatus>) {
        let Some(running) = self.running.take() else { return };
        if self.clock.instant().saturating_duration_since(running.started) >= STEADY_AFTER {
            self.pause = self.options.patience.first_pause;
        }
        self.put_off();
        self.lost(death(status, &running));
    }

    fn lost(&mut self, reason: String) {
        tracing::warn!(%reason, "Suricata is gone and is started again");
        self.tell("engine", format!("Suricata no longer watches: {reason}"));
        self.set_state(EngineState::NotRunning, reason);
        self.publish();
    }

    /// The next start waits, each time longer.
    fn put_off(&mut self) {
        self.next_start = self.clock.instant() + self.pause;
        self.pause = (self.pause * 2).min(self.options.patience.longest_pause);
    }

    /// The next start is at once.
    pub(super) fn start_soon(&mut self) {
        self.pause = self.options.patience.first_pause;
        self.next_start = self.clock.instant();
    }

    pub(super) async fn stop_engine(&mut self) {
        let Some(running) = self.running.take() else { return };
        match self.tools_of_running() {
            Ok(place) => running.process.stop(&place).await,
            Err(_) => running.process.kill().await,
        }
        tracing::info!("Suricata is stopped");
    }

    async fn end_window(&mut self) {
        let now = self.clock.now();
        let (Some(running), Ok(place)) = (self.running.as_ref(), self.tools_of_running()) else { return };
        if now < self.window_ends {
            return;
        }
        // An engine that does not answer is found out by the next look.
        if let Ok(counters) = running.count(&place, self.options.patience.answer).await {
            self.windows.sample(&counters, &self.sent.take(), now);
            self.window_ends = now + self.options.patience.window;
        }
    }

    pub(super) fn set_state(&mut self, state: EngineState, reason: String) {
        let since = match &self.engine {
            Some(engine) if engine.state == state => engine.since,
            Some(_) | None => self.clock.now(),
        };
        self.engine = Some(EngineFacts {
            state,
            since,
            reason,
            rules_loaded: 0,
            rules_failed: 0,
            rules_superseded: 0,
            complaints: Vec::new(),
        });
    }

    pub(super) fn tell(&self, kind: &str, text: String) {
        let entry = TimelineEntry { at: self.clock.now(), kind: kind.to_owned(), text, devices: BTreeSet::new() };
        // The intake counts what finds no room; what the engine does is also in its facts.
        let _ = self.hand_out.try_send(Evidence::Timeline(entry));
    }

    /// What became of the capture interfaces since it was last told.
    fn tell_of_interfaces(&mut self, facts: &BTreeMap<String, InterfaceFacts>) {
        for (name, fact) in facts.iter().filter(|(_, fact)| fact.selected) {
            let before = self.told.get(name);
            let is_other = before.is_none_or(|before| (before.present, before.up) != (fact.present, fact.up));
            if is_other && (before.is_some() || !fact.up) {
                let word = match (fact.present, fact.up) {
                    (false, _) => "is gone",
                    (true, false) => "has no link",
                    (true, true) => "is up",
                };
                self.tell("interface", format!("the capture interface {name} {word}"));
            }
        }
        self.told = facts.clone();
    }

    pub(super) fn publish(&mut self) {
        let nothing = BTreeSet::new();
        let listened = self.running.as_ref().filter(|running| running.answers);
        let listened_on = listened.map_or(&nothing, |running| &running.interfaces);
        let interfaces = self.windows.facts(&self.there, &self.wanted.interfaces, listened_on);
        let mut engine = self.engine.clone();
        if let Some(engine) = engine.as_mut().filter(|engine| engine.state == EngineState::Running) {
            engine.rules_loaded = self.rules.loaded;
            engine.rules_failed = self.rules.failed;
            engine.complaints = self.rules.complaints.iter().take(EngineFacts::MAX_COMPLAINTS).cloned().collect();
        }
        let tally = self.intake.tally();
        let status = SuricataStatus {
            engine,
            counters: self.windows.counters(),
            rules: self.rules.clone(),
            events_read: tally.events.load(Ordering::Relaxed),
            events_not_understood: tally.not_understood.load(Ordering::Relaxed),
            evidence_lost: tally.lost.load(Ordering::Relaxed),
            memory_bytes: self.running.as_ref().map_or(0, |running| running.process.memory_bytes()),
            pid: self.running.as_ref().map(|running| running.process.pid()),
            starts: self.starts,
            interfaces,
        };
        self.tell_of_interfaces(&status.interfaces);
        self.status.send_if_modified(|before| std::mem::replace(before, status) != *before);
    }
}

/// The end of the engine; never, without one.
async fn ended(running: Option<&mut Running>) -> Option<ExitStatus> {
    match running {
        Some(running) => running.process.ended().await,
        None => std::future::pending().await,
    }
}

/// How it ended, with its last errors.
fn death(status: Option<ExitStatus>, running: &Running) -> String {
    let how = status.map_or_else(|| "it was ended".to_owned(), ending);
    match running.process.last_words() {
        words if words.is_empty() => how,
        words => format!("{how}: {words}"),
    }
}
