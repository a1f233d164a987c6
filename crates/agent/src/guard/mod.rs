//! The resource guard of a host: measures, has `core::guard` judge, and sets the sensor's limits (F1).
//!
//! Decides nothing. Time is real here whatever the clock of the updater says: processors and memory know no other.

mod hold;
mod kernel;
mod levels;
mod measured;
mod mounts;
mod status;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use watchpost_clock::Clock;
use watchpost_core::guard::{Guard, Reading, Used, Verdict};
use watchpost_core::policy::ResourcePolicy;

use hold::Hold;
use kernel::Kernel;
pub use status::{GuardState, Means};

/// Judgements that may wait for the updater.
const NEWS: usize = 8;

/// What the updater has to know of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Memory is short, or it is not any more.
    MemoryIsShort(bool),
    /// The sensor is to be stopped, and started again after a pause.
    Restart,
}

/// The two ends of a running guard.
pub(crate) struct Guarding {
    /// Where it is told which process the sensor is.
    pub(crate) sensor: watch::Sender<Option<u32>>,
    /// Where it says what the updater has to know.
    pub(crate) news: mpsc::Receiver<News>,
    /// Ends once nobody holds the other two any more.
    pub(crate) task: JoinHandle<()>,
}

/// What a guard works with.
pub(crate) struct Options {
    /// The name of the group that it makes, unique on this host.
    pub(crate) group: String,
    /// Where it writes down how things are.
    pub(crate) state: PathBuf,
    /// The clock, for real time.
    pub(crate) clock: Clock,
    /// Whether it sets limits. If not it does not look either, and says nothing.
    pub(crate) acts: bool,
}

impl Guarding {
    /// Starts a guard, which lives as long as somebody may tell it of a sensor.
    pub(crate) fn start(options: Options) -> Self {
        let (sensor, told) = watch::channel(None);
        let (to, news) = mpsc::channel(NEWS);
        let task = if options.acts {
            tokio::spawn(Watcher::new(options, to).run(told))
        } else {
            tokio::spawn(std::future::ready(()))
        };
        Self { sensor, news, task }
    }
}

/// The name of the group for the host in this folder: several hosts may stand on one machine.
#[must_use]
pub(crate) fn group_name(root: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, root.as_os_str().as_encoded_bytes());
    format!("watchpost-sensor-{}", hex::encode(digest).get(..8).unwrap_or_default())
}

struct Watcher {
    options: Options,
    policy: ResourcePolicy,
    kernel: Kernel,
    guard: Guard,
    begun: Instant,
    state: GuardState,
    /// What the running sensor is held by.
    hold: Option<Hold>,
    told_short: bool,
    /// When the state was written down last.
    checked: Option<Duration>,
    before: Option<levels::Counters>,
    to: mpsc::Sender<News>,
}

impl Watcher {
    fn new(options: Options, to: mpsc::Sender<News>) -> Self {
        let policy = ResourcePolicy::default();
        Self {
            kernel: Kernel::default(),
            begun: options.clock.instant(),
            guard: Guard::new(policy.clone()),
            policy,
            state: GuardState::default(),
            hold: None,
            told_short: false,
            checked: None,
            before: None,
            options,
            to,
        }
    }

    async fn run(mut self, mut sensor: watch::Receiver<Option<u32>>) {
        let mut looks = tokio::time::interval(self.policy.limited_every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = sensor.changed() => {
                    let Ok(()) = changed else { break };
                    let pid = *sensor.borrow_and_update();
                    self.takes(pid);
                }
                _ = looks.tick() => {
                    if !self.look().await {
                        break;
                    }
                }
                () = Hold::turn(&mut self.hold) => {}
            }
        }
        if let Some(hold) = self.hold.take() {
            hold.let_go();
        }
    }

    /// Another sensor process runs, or none.
    fn takes(&mut self, pid: Option<u32>) {
        if let Some(before) = self.hold.take() {
            before.let_go();
        }
        self.before = None;
        self.hold = pid.map(|pid| Hold::take(&self.kernel, pid, &self.options.group));
        if let Some(hold) = &self.hold {
            self.state.means = Some(hold.means());
            self.state.why = hold.why().map(str::to_owned);
            tracing::info!(means = ?hold.means(), why = ?hold.why(), "the sensor is held to its limits");
        }
        self.checked = None;
    }

    /// Looks, judges, sets limits, tells. Whether anybody still listens.
    async fn look(&mut self) -> bool {
        let at = self.options.clock.instant().saturating_duration_since(self.begun);
        let (reading, now) = levels::read(&self.kernel, self.hold.as_ref(), self.before.as_ref(), at);
        self.before = Some(now);
        let verdict = self.guard.look(&reading, at);
        if let Some(hold) = &mut self.hold {
            hold.set(verdict.limits, reading.used.unwrap_or_default());
        }
        self.write_down(&reading, verdict, at);
        if verdict.memory_is_short != self.told_short {
            self.told_short = verdict.memory_is_short;
            tracing::warn!(short = self.told_short, "memory of the host, against its reserve");
            if self.to.send(News::MemoryIsShort(self.told_short)).await.is_err() {
                return false;
            }
        }
        if verdict.restart {
            self.state.restarts = self.state.restarts.saturating_add(1);
            tracing::warn!(reading = ?reading.memory, used = ?reading.used, "the host needs the sensor's memory");
            return self.to.send(News::Restart).await.is_ok();
        }
        true
    }

    /// As often as memory is checked: people look at it, and nothing rests on it.
    fn write_down(&mut self, reading: &Reading, verdict: Verdict, at: Duration) {
        if self.checked.is_some_and(|before| at.saturating_sub(before) < self.policy.checked_every) {
            return;
        }
        self.checked = Some(at);
        let used: Used = reading.used.unwrap_or_default();
        self.state.processor_limit_thousandths = verdict.limits.processor;
        self.state.memory_limit_bytes = verdict.limits.memory;
        self.state.processor_used_thousandths = used.processor;
        self.state.memory_used_bytes = used.memory;
        self.state.memory_is_short = verdict.memory_is_short;
        self.state.updated_at = Some(self.options.clock.now());
        if let Err(error) = self.state.write(&self.options.state) {
            tracing::debug!("the guard's state cannot be written down: {error}");
        }
    }
}
