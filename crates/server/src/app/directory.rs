//! Asking a directory: what is asked, and what its answers change. The reasons are `core`'s and stand in the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use tokio::sync::Notify;
use tracing::{info, warn};
use watchpost_core::directory::{Access, Answer, Decision, Trouble, account_name, concerns, decide, trouble};
use watchpost_core::health::IssueType;
use watchpost_core::health::global::Condition;
use watchpost_core::id::SensorId;
use watchpost_core::sensor::Sensor;
use watchpost_core::time::Timestamp;

use super::{App, AppError};
use crate::auth::access::Actor;
use crate::config::DirectorySettings;
use crate::directory::{Asked, Question};
use crate::events::Event;

/// Who observes directories, among the observers of the server.
const SOURCE: &str = "directory";
/// Most domain controllers that one look asks about; the rest come first in the next.
const MAX_QUESTIONS: usize = 2_000;

/// What is known of one directory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DirectoryStatus {
    /// When it was asked last.
    pub asked_at: Option<Timestamp>,
    /// When it answered last.
    pub answered_at: Option<Timestamp>,
    /// The server that did.
    pub answered_by: Option<String>,
    /// What was wrong the last time, and why.
    pub trouble: Option<(Trouble, String)>,
    /// When the password of the account expires, as far as the directory says.
    pub password_expires_at: Option<Timestamp>,
    /// How many domain controllers were asked about the last time.
    pub asked_about: usize,
}

/// One directory as people see it.
#[derive(Clone, Debug)]
pub struct DirectoryRow {
    /// What is configured.
    pub settings: DirectorySettings,
    /// What is known.
    pub status: DirectoryStatus,
    /// Sensors on its domain controllers.
    pub sensors: usize,
    /// Those whose domain controller is gone.
    pub gone: usize,
}

/// All directories: what is configured, and what is known of each by domain.
pub(crate) struct Directories {
    settings: Vec<DirectorySettings>,
    statuses: Mutex<BTreeMap<String, DirectoryStatus>>,
    /// Wakes who asks one of them.
    pokes: BTreeMap<String, Notify>,
}

impl Directories {
    pub(crate) fn new(settings: Vec<DirectorySettings>) -> Self {
        let pokes = settings.iter().map(|one| (one.domain.clone(), Notify::new())).collect();
        Self { settings, statuses: Mutex::default(), pokes }
    }

    fn statuses<T>(&self, with: impl FnOnce(&mut BTreeMap<String, DirectoryStatus>) -> T) -> T {
        with(&mut self.statuses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl App {
    /// The directories that are configured.
    pub(crate) fn directory_settings(&self) -> &[DirectorySettings] {
        &self.0.directories.settings
    }

    /// Has the directory of this domain asked at once, if there is one.
    pub(crate) fn ask_directory(&self, domain: &str) {
        if let Some(poke) = self.0.directories.pokes.get(&domain.to_ascii_lowercase()) {
            poke.notify_one();
        }
    }

    /// Waits until somebody wants the directory of this domain to be asked.
    pub(crate) async fn directory_is_wanted(&self, domain: &str) {
        match self.0.directories.pokes.get(domain) {
            Some(poke) => poke.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Every directory with what is known of it.
    #[must_use]
    pub fn directories_view(&self) -> Vec<DirectoryRow> {
        let row = |settings: &DirectorySettings| {
            let status = self.0.directories.statuses(|all| all.get(&settings.domain).cloned().unwrap_or_default());
            let (sensors, gone) = self.with_sensors(|sensors| {
                let ours = sensors.filter(|sensor| concerns(sensor, &settings.domain));
                ours.fold((0, 0), |(all, gone), s| (all + 1, gone + usize::from(s.removed_from_directory)))
            });
            DirectoryRow { settings: settings.clone(), status, sensors, gone }
        };
        self.0.directories.settings.iter().map(row).collect()
    }

    /// What is to be asked about the domain controllers of this domain, from the sensor after `after` on and around.
    pub(crate) fn directory_questions(&self, domain: &str, after: Option<SensorId>) -> Vec<Question> {
        let question = |sensor: &Sensor| Question {
            sensor: sensor.id,
            account: account_name(&sensor.name),
            object: sensor.directory_object.clone(),
        };
        let mut all: Vec<_> =
            self.with_sensors(|sensors| sensors.filter(|s| concerns(s, domain)).map(question).collect());
        if all.len() > MAX_QUESTIONS {
            let next = all.iter().position(|question| Some(question.sensor) > after).unwrap_or(0);
            all.rotate_left(next);
            all.truncate(MAX_QUESTIONS);
        }
        all
    }

    /// Takes what a look brought: facts of sensors, what is known of the directory, and the issues about it.
    ///
    /// # Errors
    /// When the store fails; nothing of the look is kept then but that it was made.
    pub(crate) async fn take_directory_answers(&self, domain: &str, asked: Asked) -> Result<(), AppError> {
        let now = self.0.clock.now();
        let found = trouble(&asked.access, &self.0.policy.health, now);
        let password_expires_at = match asked.access {
            Access::Granted { password_expires_at } => password_expires_at,
            Access::Refused { .. } | Access::Unreachable { .. } => None,
        };
        self.0.directories.statuses(|all| {
            let status = all.entry(domain.to_owned()).or_default();
            if status.trouble.as_ref().map(|(t, _)| *t) != found.as_ref().map(|(t, _)| *t) {
                match &found {
                    Some((trouble, reason)) => warn!(domain, ?trouble, "trouble with a directory: {reason}"),
                    None => info!(domain, "the directory answers without trouble"),
                }
            }
            status.asked_at = Some(now);
            status.trouble = found;
            status.asked_about = asked.answers.len();
            if matches!(asked.access, Access::Granted { .. }) {
                status.answered_at = Some(now);
                status.answered_by = asked.server;
                status.password_expires_at = password_expires_at;
            }
        });
        self.decide_on_answers(&asked.answers, now).await?;
        self.observe_global(SOURCE, self.directory_conditions()).await
    }

    /// What is wrong with directories, all of them together.
    fn directory_conditions(&self) -> Vec<Condition> {
        let known = self.0.directories.statuses(|all| all.clone());
        let wrong = known.into_iter().filter_map(|(domain, status)| Some((domain, status.trouble?)));
        let condition = |(domain, (trouble, reason)): (String, (Trouble, String))| {
            let kind = match trouble {
                Trouble::Unreachable => IssueType::DirectoryUnreachable,
                Trouble::CredentialsIncorrect => IssueType::DirectoryCredentialsIncorrect,
                Trouble::PasswordToExpire => IssueType::DirectoryPasswordExpiresSoon,
                Trouble::PasswordExpired => IssueType::DirectoryPasswordExpired,
            };
            Condition::new(kind, &domain, &reason)
        };
        wrong.map(condition).collect()
    }

    /// Lets `core` decide on every answer, and saves what changed in one transaction.
    async fn decide_on_answers(&self, answers: &[(SensorId, Answer)], now: Timestamp) -> Result<(), AppError> {
        let _gate = self.0.gate.lock().await;
        let silence = self.0.policy.contact.disconnected_after;
        let mut changed: Vec<(Sensor, u64, Decision)> = Vec::new();
        self.fleet_ref(|fleet| {
            for (id, answer) in answers {
                let (Some(sensor), Some(kept)) = (fleet.sensors.get(id), fleet.kept(*id)) else { continue };
                let is_heard = sensor.last_contact.is_some_and(|at| now.since(at) < silence);
                let decision = decide(sensor, answer, is_heard);
                if decision.reason.is_some() {
                    changed.push((sensor.clone(), kept.revision, decision));
                }
            }
        });
        if changed.is_empty() {
            return Ok(());
        }
        let _busy = self.busy();
        let mut tx = self.begin().await?;
        for (sensor, _, decision) in &mut changed {
            let facts =
                |removed: bool, object: &Option<String>| json!({ "removedFromDirectory": removed, "object": object });
            let before = facts(sensor.removed_from_directory, &sensor.directory_object);
            let after = facts(decision.removed, &decision.object);
            sensor.removed_from_directory = decision.removed;
            sensor.directory_object.clone_from(&decision.object);
            let (subject, reason) = (sensor.id.to_string(), decision.reason.clone());
            self.audit(&mut tx, &Actor::Server, "sensor.directory", &subject, Some(before), Some(after), reason)
                .await?;
        }
        let rows: Vec<_> = changed.iter().map(|(sensor, revision, _)| (sensor, *revision)).collect();
        tx.save_sensors(&rows).await?;
        tx.commit().await?;
        let ids: BTreeSet<_> = changed.iter().map(|(sensor, ..)| sensor.id).collect();
        self.fleet_mut(|fleet| changed.into_iter().for_each(|(sensor, ..)| fleet.take_saved(sensor)));
        ids.into_iter().for_each(|id| self.0.bus.announce(Event::Sensor(id)));
        self.poke();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use watchpost_core::directory::Lookup;
    use watchpost_core::sensor::SensorStatus;

    use super::*;
    use crate::testing::{A, House};

    fn asked(id: SensorId, about: Lookup) -> Asked {
        let access = Access::Granted { password_expires_at: None };
        Asked { server: None, access, answers: vec![(id, Answer { about, namesake: None })] }
    }

    #[tokio::test]
    async fn a_deleted_domain_controller_is_unreachable_also_after_a_restart_and_the_audit_log_says_why() {
        let house = House::new().await;
        let server = house.start().await;
        let app = server.app();
        let id = house.host(app, 1, false, A).await;
        let object = "00112233445566778899aabbccddeeff".to_owned();
        let status = |app: &App| app.sensor("DC01", app.clock().now()).unwrap().0.status.value;
        assert_eq!(app.directory_questions("corp.example", None)[0].object, None);
        assert_eq!(app.directory_questions("other.example", None), []);
        let there = Lookup::Present { object: object.clone(), name: "DC01".to_owned() };
        app.take_directory_answers("corp.example", asked(id, there)).await.unwrap();
        assert_eq!(app.directory_questions("corp.example", None)[0].object, Some(object.clone()));
        assert_ne!(status(app), SensorStatus::Unreachable);
        let gone = || Lookup::Deleted { object: object.clone() };
        app.take_directory_answers("corp.example", asked(id, gone())).await.unwrap();
        assert_eq!(status(app), SensorStatus::Unreachable);
        app.plan().await.unwrap();
        let before = app.statements();
        app.take_directory_answers("corp.example", asked(id, gone())).await.unwrap();
        assert_eq!(app.statements(), before, "an answer that changes nothing ran SQL");
        server.stop().await.unwrap();
        let server = house.start().await;
        assert_eq!(status(server.app()), SensorStatus::Unreachable);
        let log = server.app().audit_log(0, 100).await.unwrap();
        let row = log.iter().find(|row| row.entry.action == "sensor.directory").unwrap();
        assert_eq!(
            row.entry.reason.as_deref(),
            Some(format!("object {object} was deleted from the directory").as_str())
        );
        server.stop().await.unwrap();
    }
}
