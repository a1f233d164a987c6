//! Where the updater's asks end up: settings, rule packages, proofs and evidence, each passed to the part it is for.
//!
//! Takes one change of settings or rules at a time, and never says that one is in effect before its part has said so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use watchpost_clock::Clock;
use watchpost_core::content::{BUILT_IN_SURICATA_RULES, RulesFailure, RulesManifest};
use watchpost_core::evidence::Device;
use watchpost_core::facts::EngineState;
use watchpost_core::release::ReleaseManifest;
use watchpost_core::settings::SensorSettings;
use watchpost_core::time::Timestamp;

use super::board::Notes;
use super::reload::{Expectation as EventsExpected, Reload, Reloaded};
use super::settings::InEffect;
use super::vault::Vault;
use super::worker::Command;
use crate::engine::suricata::{Expectation as PacketsExpected, LoadError, RuleSources, SuricataHandle, SuricataStatus};
use crate::evidence::{Evidence, EvidenceError, TimelineQuery};
use crate::host::disk::read_limited;
use crate::local::{Ask, Kept, SHOWN_LIMIT};
use crate::updater::in_one_line;

/// The largest description of a rule package that is read.
const DESCRIPTION_BYTES: u64 = 64 * 1024;
/// How long an engine that is being started may take before a proof is given up.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// The pause before settings of an earlier run are tried again.
const BEGIN_AGAIN: Duration = Duration::from_secs(30);
/// The description within a rule package.
const DESCRIPTION: &str = "rules.json";

/// An ask, and where its answer goes if it has one of its own.
pub(super) enum Order {
    /// Whatever is answered by the next status.
    Ask(Ask),
    /// A batch of evidence.
    Evidence(oneshot::Sender<String>),
    /// What is kept.
    Show(Kept, u32, oneshot::Sender<Vec<Value>>),
}

/// Everything the desk passes asks to.
pub(super) struct Desk {
    pub(super) state: PathBuf,
    pub(super) release_folder: PathBuf,
    pub(super) release: ReleaseManifest,
    pub(super) worker: SyncSender<Command>,
    pub(super) suricata: SuricataHandle,
    pub(super) vault: Vault,
    pub(super) board: watch::Sender<Notes>,
    pub(super) clock: Clock,
    pub(super) changing: tokio::sync::Mutex<()>,
}

/// The folders of the Suricata rules of a release and of a rule package.
pub(super) fn sources(release: &Path, package: Option<&Path>) -> RuleSources {
    let there = |folder: PathBuf| folder.is_dir().then_some(folder);
    RuleSources {
        release: there(release.join("suricata")),
        package: package.and_then(|folder| there(folder.join("suricata"))),
    }
}

/// The folders of the Sigma rules of a release and of a rule package.
pub(super) fn folders(release: &Path, package: Option<&Path>) -> Vec<PathBuf> {
    let package = package.map(|folder| folder.join("sigma")).filter(|folder| folder.is_dir());
    [release.join("rules")].into_iter().chain(package).collect()
}

/// Passes orders on until nobody gives any.
pub(super) async fn serve(desk: Arc<Desk>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let desk = Arc::clone(&desk);
        // A proof must not wait for rules that take their time, nor evidence for a proof.
        tokio::spawn(async move {
            desk.board.send_modify(|board| board.in_hand = board.in_hand.saturating_add(1));
            desk.obey(order).await;
            desk.board.send_modify(|board| board.in_hand = board.in_hand.saturating_sub(1));
        });
    }
}

impl Desk {
    async fn obey(&self, order: Order) {
        match order {
            Order::Evidence(to) => self.hand_out(to).await,
            Order::Show(kind, limit, to) => {
                let shown = self.in_vault(move |vault| vault.with(|kept| show(kept, kind, limit)).unwrap_or_default());
                // Whoever asked may have gone.
                let _ = to.send(shown.await);
            }
            Order::Ask(Ask::EvidenceTaken { stream, through }) => {
                self.in_vault(move |vault| vault.with(|evidence| evidence.taken(&stream, through)).is_ok()).await;
            }
            Order::Ask(Ask::Prove { generation }) => self.prove(generation).await,
            Order::Ask(Ask::Configure { generation, settings }) => {
                let _one_at_a_time = self.changing.lock().await;
                self.configure(InEffect { generation, settings }).await;
            }
            Order::Ask(Ask::LoadRules { build, folder }) => {
                let _one_at_a_time = self.changing.lock().await;
                self.load(Some((build, folder))).await;
            }
            Order::Ask(Ask::DropRules) => {
                let _one_at_a_time = self.changing.lock().await;
                self.load(None).await;
            }
            Order::Ask(Ask::Watch | Ask::Evidence | Ask::Show { .. }) => {}
        }
    }

    /// Puts the settings of an earlier run in effect, again and again until they are or others have come.
    pub(super) async fn begin(&self, kept: InEffect) {
        while kept.generation > 0 && self.board.borrow().settings_generation == 0 {
            self.board.send_modify(|board| board.in_hand = board.in_hand.saturating_add(1));
            let one_at_a_time = self.changing.lock().await;
            self.configure(kept.clone()).await;
            drop(one_at_a_time);
            self.board.send_modify(|board| board.in_hand = board.in_hand.saturating_sub(1));
            if self.board.borrow().settings_refused.is_none() {
                return;
            }
            tokio::time::sleep(BEGIN_AGAIN).await;
        }
    }

    async fn in_vault<T: Default + Send + 'static>(&self, act: impl FnOnce(&Vault) -> T + Send + 'static) -> T {
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || act(&vault)).await.unwrap_or_default()
    }

    async fn hand_out(&self, to: oneshot::Sender<String>) {
        let next = |vault: &Vault| vault.with(Evidence::next_batch).ok().flatten();
        let batch = self.in_vault(next).await.map(|(batch, _)| batch).unwrap_or_default();
        // Whoever asked may have gone; it is handed out again.
        let _ = to.send(batch);
    }

    /// Both engines prove at once; the board tells when they have.
    async fn prove(&self, generation: u64) {
        if self.worker.try_send(Command::Prove(generation)).is_err() {
            tracing::warn!(generation, "too many canaries are asked for; this one is dropped");
        }
        if !self.board.borrow().captures {
            return;
        }
        let mut status = self.suricata.status();
        let runs =
            |status: &SuricataStatus| status.engine.as_ref().is_some_and(|engine| engine.state == EngineState::Running);
        // One that does not get there is told by the proof that fails.
        let _ = tokio::time::timeout(STARTS_WITHIN, status.wait_for(runs)).await;
        let proof = self.suricata.prove().await;
        self.board.send_modify(|board| match proof {
            Ok(proof) => board.packets = Some((generation, proof)),
            Err(error) => tracing::warn!(generation, "packets were not proven: {}", in_one_line(&error)),
        });
    }

    /// Puts settings in effect, and keeps them for the next start once they are.
    pub(super) async fn configure(&self, wanted: InEffect) {
        let refused = match self.apply(&wanted.settings).await {
            Ok(()) => wanted.keep(&self.state).err().map(|error| format!("the settings cannot be kept: {error}")),
            Err(why) => Some(why),
        };
        if let Some(why) = &refused {
            tracing::error!(generation = wanted.generation, "settings are not in effect: {why}");
        }
        self.board.send_modify(|board| {
            // Packets are to be proven from here on, whether the settings could be put in effect or not.
            board.captures |= !wanted.settings.capture_interfaces.is_empty();
            if refused.is_none() {
                board.settings_generation = wanted.generation;
                board.captures = !wanted.settings.capture_interfaces.is_empty();
            }
            board.settings_refused = refused;
        });
    }

    async fn apply(&self, settings: &SensorSettings) -> Result<(), String> {
        settings.validate().map_err(|error| error.to_string())?;
        let (interfaces, home) = (settings.capture_interfaces.clone(), settings.home_networks.clone());
        self.suricata.configure(interfaces, home).await.map_err(|error| in_one_line(&error))
    }

    /// Has both engines load the rules of the release and of this package, and says what they say of it.
    async fn load(&self, package: Option<(Timestamp, PathBuf)>) {
        let build = package.as_ref().map(|(build, _)| *build);
        self.board.send_modify(|board| board.rules.loading = build);
        let loaded = self.load_both(package.as_ref().map(|(_, folder)| folder.as_path())).await;
        let at = self.clock.now();
        self.board.send_modify(|board| {
            board.rules.loading = None;
            match (loaded, build) {
                (Ok(()), build) => {
                    board.rules.build = build;
                    board.rules.failed = None;
                }
                (Err(NotLoaded::Refused(reason)), Some(build)) => {
                    tracing::error!(%build, "a rule package is not in effect: {reason}");
                    board.rules.failed = Some(RulesFailure { build, reason, at });
                }
                // The updater asks again.
                (Err(NotLoaded::NotNow(why)), build) => tracing::warn!(?build, "rules could not be loaded now: {why}"),
                (Err(NotLoaded::Refused(reason)), None) => {
                    tracing::error!("the rules of the release alone are not in effect: {reason}");
                }
            }
        });
    }

    async fn load_both(&self, package: Option<&Path>) -> Result<(), NotLoaded> {
        let promise = package.map(promise).transpose().map_err(NotLoaded::Refused)?;
        let (events, packets) = promise.map_or((0, 0), |promise| (promise.sigma_expected, promise.suricata_expected));
        let before = self.board.borrow().rules.build;
        let expected = PacketsExpected {
            loaded_at_least: self
                .release
                .suricata_rules_expected
                .saturating_add(packets)
                .saturating_add(BUILT_IN_SURICATA_RULES),
            failed_at_most: 0,
        };
        let captures = self.board.borrow().captures;
        match self.suricata.load_rules(sources(&self.release_folder, package), expected).await {
            Ok(_) => {}
            // Without interfaces there is nothing to load; it starts with these rules once there are.
            Err(LoadError::NotRunning) if !captures => {}
            Err(error) => return Err(NotLoaded::of(&error)),
        }
        let expectation = EventsExpected { loaded: self.release.rules_expected.saturating_add(events), failed: 0 };
        let (reply, answer) = oneshot::channel();
        let reload = Reload { folders: folders(&self.release_folder, package), expectation, reply };
        let refused = match self.worker.try_send(Command::Reload(reload)) {
            Ok(()) => match answer.await {
                Ok(Reloaded::Swapped(_)) => None,
                Ok(Reloaded::Refused { why, .. }) => Some(NotLoaded::Refused(why)),
                Err(_) => Some(NotLoaded::NotNow("the event engine did not answer".to_owned())),
            },
            Err(_) => Some(NotLoaded::NotNow("the event engine is too busy".to_owned())),
        };
        let Some(why) = refused else { return Ok(()) };
        // One engine has the package and the other refused it: the first goes back, too.
        let root = self.state.parent().unwrap_or(&self.state);
        let back = crate::rules::committed_rules(root).filter(|committed| Some(committed.build) == before);
        let sources = sources(&self.release_folder, back.as_ref().map(|committed| committed.folder.as_path()));
        let anything = PacketsExpected { loaded_at_least: 0, failed_at_most: u32::MAX };
        if let Err(error) = self.suricata.load_rules(sources, anything).await
            && captures
        {
            tracing::error!("the packet engine could not be put back: {}", in_one_line(&error));
        }
        Err(why)
    }
}

/// Why rules are not in effect; those before are.
enum NotLoaded {
    /// They are worse than they promise.
    Refused(String),
    /// Something else stood in the way; another time they may be taken.
    NotNow(String),
}

impl NotLoaded {
    fn of(error: &LoadError) -> Self {
        let why = in_one_line(error);
        if error.is_passing() { Self::NotNow(why) } else { Self::Refused(why) }
    }
}

/// What is kept of a kind, newest first.
fn show(kept: &mut Evidence, kind: Kept, limit: u32) -> Result<Vec<Value>, EvidenceError> {
    let limit = limit.min(SHOWN_LIMIT);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (from, until) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
    match kind {
        Kept::Alerts => json(kept.alerts(from, until, u64::from(limit))?),
        Kept::Devices => {
            let mut devices: Vec<Device> = kept.devices().cloned().collect();
            devices.sort_by(|one, other| (other.last_seen, &one.key).cmp(&(one.last_seen, &other.key)));
            devices.truncate(most);
            json(devices)
        }
        Kept::Timeline => {
            let query = TimelineQuery { from, until, before: None, limit: most };
            json(kept.timeline(&query)?.into_iter().map(|(_, entry)| entry))
        }
        Kept::Captures => json(kept.captures()?.into_iter().rev().take(most)),
        Kept::Logs => json(kept.logs()?.into_iter().take(most)),
    }
}

fn json<T: serde::Serialize>(items: impl IntoIterator<Item = T>) -> Result<Vec<Value>, EvidenceError> {
    Ok(items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// What a rule package says of itself.
fn promise(package: &Path) -> Result<RulesManifest, String> {
    let path = package.join(DESCRIPTION);
    let unreadable = |why: String| format!("{} cannot be read: {why}", path.display());
    let text =
        read_limited(&path, DESCRIPTION_BYTES).map_err(|error| unreadable(error.to_string()))?.unwrap_or_default();
    RulesManifest::from_slice(&text).map_err(|error| unreadable(in_one_line(&error)))
}
