//! One control plane and one host on which a path is played again and again, each time with one kill; and what must be true
//! of the host after it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use watchpost_agent::updater::Layout;
use watchpost_clock::Clock;
use watchpost_core::time::Timestamp;
use watchpost_core::updater::Release;

use super::Chance;
use super::operations::Operations;
use super::paths::{Path, Progress};
use crate::demo::{Program, processes_in, version_on_disk, word};
use crate::stage::{Kind, Stage, is_committed, no_rubbish};

/// Within this time the host must be where the path leads, as the wall counts. It takes a second, or a few on a busy machine.
const BOUND: Duration = Duration::from_secs(60);
/// So often the updater is started again after a kill, by what stands for the service manager. The first time is for the kill.
const MOST_RESTARTS: u32 = 3;
/// How often is looked when nothing happens on the disk.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The shares of a path that are told apart when an instant is drawn.
const SHARES: u64 = 1_000_000;
/// What the first release is called, as everywhere in these tests.
const FIRST: u32 = 254;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// What has started the updater, which ends with it.
    Launcher,
    Updater,
    Sensor,
}

/// When, counted from when the path shows on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    /// After so much time.
    Time(Duration),
    /// After so many operations on files.
    Operation(u64),
}

/// How long a path took from its first trace to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    time: Duration,
    operations: u64,
}

impl Span {
    /// Any instant in it, by time or by operation: time passes mostly in waiting, operations come thick and fast.
    pub(super) fn instant(self, chance: &mut Chance) -> Drawn {
        let (is_time, share) = (chance.below(2) == 0, chance.below(SHARES));
        if is_time {
            let micros = u64::try_from(self.time.as_micros()).unwrap_or(u64::MAX);
            Drawn::Time(Duration::from_micros(micros.saturating_mul(share) / SHARES))
        } else {
            Drawn::Operation(self.operations.saturating_mul(share) / SHARES)
        }
    }

    /// One that was seen later counts as much as all before it.
    pub(super) fn between(self, late: Self) -> Self {
        Self { time: (self.time + late.time) / 2, operations: u64::midpoint(self.operations, late.operations) }
    }
}

/// What came of one kill.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) drawn: Drawn,
    /// What the host was at; `None`: the path had ended, or nothing was there to be killed.
    pub(super) within: Option<&'static str>,
    /// How long the path took, where it ended before its kill.
    pub(super) too_late: Option<Span>,
    pub(super) restarts: u32,
    /// From the kill until the host was well.
    pub(super) recovered_in: Duration,
    /// The same on the host's clock, without what was let pass.
    pub(super) recovered_in_here: Duration,
    /// Why the host is stuck.
    pub(super) stuck: Option<String>,
}

/// A host that lives.
pub(super) struct Life {
    /// Gone before the host's folder is: what happens to it then is of no interest.
    operations: Operations,
    stage: Stage,
    runs: Release,
    rounds: u32,
    /// Time that was let pass since the last kill.
    passed: Duration,
    clock: Clock,
}

impl Life {
    /// A host that has had two releases.
    pub(super) async fn begin() -> anyhow::Result<Self> {
        let mut stage = Stage::found().await?;
        stage.site.launch_host(true);
        let (first, second) = (stage.build(FIRST, Kind::default())?, stage.build(FIRST + 1, Kind::default())?);
        stage.bring_up(first).await?;
        stage.publish(second)?;
        stage.until("the second release is committed", |record| is_committed(record, second)).await?;
        let operations = Operations::below(&stage.site.host())?;
        Ok(Self { stage, operations, runs: second, rounds: 0, passed: Duration::ZERO, clock: Clock::system() })
    }

    /// Kills until now.
    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// How long a path takes without a kill.
    pub(super) async fn measure(&mut self, path: &mut dyn Path) -> anyhow::Result<Span> {
        for _ in 1..path.warm_ups() {
            self.warm_up(path).await?;
        }
        self.warm_up(path).await
    }

    async fn warm_up(&mut self, path: &mut dyn Path) -> anyhow::Result<Span> {
        let since = self.stage.site.now();
        self.runs = path.order(&mut self.stage, self.runs)?;
        let span = self.play(path, None).await?.context("nobody was to be killed")?;
        let settled = self.settle(path, since).await;
        settled.map(|_| span).with_context(|| format!("{} without any kill", path.name()))
    }

    /// Plays a path, kills at this instant, and waits until the host is where the path leads.
    pub(super) async fn round(&mut self, path: &mut dyn Path, drawn: Drawn, victim: Victim) -> anyhow::Result<Round> {
        self.rounds += 1;
        self.runs = path.order(&mut self.stage, self.runs)?;
        let too_late = self.play(path, Some(drawn)).await?;
        let (killed_at, killed_at_here) = (self.clock.instant(), self.stage.site.now());
        let is_killed = self.kill(victim)?;
        self.passed = Duration::ZERO;
        let progress = path.progress(&self.stage);
        if victim == Victim::Launcher {
            self.stage.site.start_host()?;
        }
        let within = match progress {
            Progress::Within(at) if is_killed => Some(at),
            Progress::Within(_) | Progress::NotBegun | Progress::Done => None,
        };
        let settled = self.settle(path, killed_at_here).await;
        let restarts = u32::from(victim == Victim::Launcher) + settled.as_ref().copied().unwrap_or(0);
        let stuck = settled.err().map(|error| {
            let words = self.stage.newest_words();
            format!(
                "{victim:?} killed at {drawn:?}, within {within:?}: {error:#}; the host says, newest first:\n{words}"
            )
        });
        Ok(Round {
            drawn,
            within,
            too_late,
            restarts,
            recovered_in: self.since(killed_at),
            recovered_in_here: self.stage.site.now().since(killed_at_here).saturating_sub(self.passed),
            stuck,
        })
    }

    fn since(&self, instant: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(instant)
    }

    /// Waits for this instant of a path; gives how long the path took, if it ended before.
    async fn play(&mut self, path: &mut dyn Path, drawn: Option<Drawn>) -> anyhow::Result<Option<Span>> {
        let ordered = self.clock.instant();
        let (mut begun, mut operations) = (None::<Instant>, 0);
        loop {
            let elapsed = begun.map_or(Duration::ZERO, |begun| self.since(begun));
            match (begun, drawn) {
                (Some(_), Some(Drawn::Time(time))) if elapsed >= time => return Ok(None),
                (Some(_), Some(Drawn::Operation(number))) if operations >= number => return Ok(None),
                (Some(_) | None, Some(_) | None) => {}
            }
            let rest = match (begun, drawn) {
                (Some(_), Some(Drawn::Time(time))) => time.saturating_sub(elapsed).min(LOOK_EVERY),
                (Some(_) | None, Some(_) | None) => LOOK_EVERY,
            };
            tokio::select! {
                more = self.operations.more() => operations += more?,
                () = tokio::time::sleep(rest) => {}
            }
            self.passed += path.pass(&self.stage)?;
            match path.progress(&self.stage) {
                Progress::NotBegun => operations = 0,
                Progress::Within(_) => begun = begun.or_else(|| Some(self.clock.instant())),
                Progress::Done => {
                    let time = begun.map_or(Duration::ZERO, |begun| self.since(begun));
                    return Ok(Some(Span { time, operations }));
                }
            }
            let waited = self.since(ordered);
            ensure!(waited < BOUND, "{} did not end: {}", path.name(), self.stage.newest_words());
        }
    }

    /// Whether there was somebody to be killed.
    fn kill(&mut self, victim: Victim) -> anyhow::Result<bool> {
        match victim {
            Victim::Launcher => self.stage.site.kill_host().map(|()| true),
            // Its launcher ends too, or starts it again.
            Victim::Updater => self.stage.site.kill_updater(),
            Victim::Sensor if self.sensor_lives() => self.stage.site.kill_sensor().map(|_| true),
            // Between two of them there is none.
            Victim::Sensor => Ok(false),
        }
    }

    /// Whether the process that the sensor's lock names is one of this host: the lock outlives it.
    fn sensor_lives(&self) -> bool {
        let Some(pid) = self.stage.site.sensor_pid() else { return false };
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&*self.stage.site.host().to_string_lossy())
    }

    /// Waits until the host is where the path leads; gives how often the updater had to be started meanwhile.
    async fn settle(&mut self, path: &mut dyn Path, since: Timestamp) -> anyhow::Result<u32> {
        let (begun, mut restarts) = (self.clock.instant(), 0);
        loop {
            if self.stage.site.host_has_ended()? {
                restarts += 1;
                ensure!(restarts < MOST_RESTARTS, "the updater ends again and again");
                self.stage.site.start_host()?;
            }
            self.passed += path.pass(&self.stage)?;
            let Err(why) = self.look(path, since).await else { return Ok(restarts) };
            ensure!(self.since(begun) < BOUND, "not within {} s: {why:#}", BOUND.as_secs());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether the host is where the path leads, and well.
    async fn look(&self, path: &dyn Path, since: Timestamp) -> anyhow::Result<()> {
        let progress = path.progress(&self.stage);
        ensure!(progress == Progress::Done, "the path is not at its end: {progress:?}");
        let layout = self.stage.layout();
        let record = self.stage.record().context("no record can be read")?;
        ensure!(is_committed(&record, self.runs), "the record is not settled: {record:?}");
        let link = std::fs::read_link(layout.current())?;
        ensure!(link == Layout::link_target(self.runs), "the link leads to {}", link.display());
        self.processes()?;
        no_rubbish(&layout)?;
        let row = self.stage.site.get("sensors/DC01").await?;
        self.heard(&row, since)?;
        path.check(&self.stage, &row)?;
        self.stage.check_floors(self.runs)?;
        let on_disk = version_on_disk(&self.stage.site.host())?;
        ensure!(on_disk == self.runs.version.to_string(), "the files are those of {on_disk}");
        Ok(())
    }

    /// One updater, and one sensor of the right version.
    fn processes(&self) -> anyhow::Result<()> {
        let found = processes_in(&self.stage.site.host());
        let of = |wanted: Program| found.iter().filter(move |(program, _)| *program == wanted).map(|(_, pid)| *pid);
        ensure!(of(Program::Updater).count() == 1, "there is not one updater: {found:?}");
        let sensors: Vec<i32> = of(Program::Sensor).collect();
        let [sensor] = sensors.as_slice() else { anyhow::bail!("there is not one sensor: {found:?}") };
        let words = std::fs::read(format!("/proc/{sensor}/cmdline"))?;
        let folder = self.stage.layout().version(self.runs);
        let is_right = words.split(|byte| *byte == 0).any(|word| word == folder.as_os_str().as_encoded_bytes());
        ensure!(is_right, "the sensor runs from elsewhere: {}", String::from_utf8_lossy(&words));
        Ok(())
    }

    /// The control plane has heard of the host since then, by the certificate that it holds.
    fn heard(&self, row: &Value, since: Timestamp) -> anyhow::Result<()> {
        let seen: Timestamp = word(row, "lastSeenDateTime").parse().context("it was never seen")?;
        ensure!(seen > since, "the control plane has not heard of it since the kill");
        let version = word(row, "version");
        ensure!(version == self.runs.version.to_string(), "the control plane takes it to run {version}");
        ensure!(word(row, "serviceStatus") == "running", "its service is {}", word(row, "serviceStatus"));
        ensure!(row["isWatching"] == true, "it does not watch");
        let (accepted, held) = (word(&row["certificate"], "sha256"), self.stage.slots()?.cur.to_string());
        ensure!(accepted == held, "the control plane takes {accepted} for its certificate, and it holds {held}");
        Ok(())
    }
}
