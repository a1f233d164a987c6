//! The planner's turn: `core` looks at the fleet, what it decides is saved in one transaction, then hosts may see it.

use std::collections::{BTreeMap, BTreeSet};

use watchpost_core::content::RulePlaces;
use watchpost_core::health::{next_change, review};
use watchpost_core::id::{IssueId, SensorId};
use watchpost_core::rollout::{Event as Decision, Fleet as Sensors, Planner, Wake};
use watchpost_core::sensor::{Context, Sensor, sensor_status};
use watchpost_core::sync::Desired;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_store::{IssueRow, RolloutRow, Transaction};

use super::fleet::Fleet;
use super::{App, AppError};
use crate::auth::access::Actor;
use crate::auth::secret::random_bits;
use crate::events::Event;

/// What a look came to, before any of it is saved.
struct Look {
    sensors: Sensors,
    planner: Planner,
    /// Who may load other rules; in memory alone.
    places: RulePlaces,
    wake: Wake,
    /// Sensors whose health issues changed.
    reviewed: BTreeSet<SensorId>,
    wakes_at: Option<Timestamp>,
}

/// Lets `core` look at a copy of the fleet.
fn look(fleet: &Fleet, context: &Context<'_>, is_trust_expired: bool) -> Look {
    let (mut sensors, mut planner) = (fleet.sensors.clone(), fleet.planner.clone());
    // Updates and rule loads draw on one coverage: first what is free again, then updates, then rules.
    let mut places = fleet.places.clone();
    places.release(&sensors, &fleet.rules, context);
    planner.count_as_away(places.away());
    planner.is_trust_expired = is_trust_expired;
    let wake = planner.wake(&mut sensors, context);
    places.grant(&sensors, &fleet.rules, context);
    planner.count_as_away(places.away());
    let mut reviewed = BTreeSet::new();
    let mut wakes_at = [wake.wakes_at, places.wakes_at(context)].into_iter().flatten().min();
    for (id, sensor) in &mut sensors {
        review(sensor, context);
        if fleet.sensors.get(id).is_none_or(|before| before.issues != sensor.issues) {
            reviewed.insert(*id);
        }
        let changes_at = [sensor_status(sensor, context).changes_at, next_change(sensor, context)];
        wakes_at = changes_at.into_iter().chain([wakes_at]).flatten().min();
    }
    Look { sensors, planner, places, wake, reviewed, wakes_at }
}

impl App {
    /// What a host should be: the planner's last word, what a person has set, and the rule package that it is offered.
    pub(super) fn desired(fleet: &Fleet, sensor: &Sensor) -> Desired {
        Desired {
            settings_generation: sensor.settings_generation,
            settings: sensor.settings.clone(),
            rules: fleet.rules_for(sensor),
            ..sensor.update.desired.clone()
        }
    }

    /// Looks at everything, saves what `core` decided, and says when to look again.
    ///
    /// # Errors
    /// When the store fails; nothing of the look is kept then, and the next one decides anew.
    pub(crate) async fn plan(&self) -> Result<Option<Timestamp>, AppError> {
        let _gate = self.0.gate.lock().await;
        let now = self.0.clock.now();
        let sensors = self.plan_sensors(now).await?;
        self.observe_domains();
        let wakes = [sensors, self.settle_global(now).await?];
        Ok(wakes.into_iter().flatten().min())
    }

    async fn plan_sensors(&self, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
        let is_trust_expired = self.is_trust_expired(now);
        let look = self.fleet_ref(|fleet| look(fleet, &self.context(fleet, now), is_trust_expired));
        if look.wake.sensors.is_empty()
            && look.wake.rollouts.is_empty()
            && look.wake.events.is_empty()
            && look.reviewed.is_empty()
        {
            self.fleet_mut(|fleet| {
                fleet.planner = look.planner;
                fleet.places = look.places;
            });
            return Ok(look.wakes_at);
        }
        let issues = self.changed_issues(&look, now)?;
        let mut tx = self.begin().await?;
        self.save_look(&mut tx, &look, &issues).await?;
        tx.commit().await?;
        let Look { mut sensors, planner, places, wake, reviewed, wakes_at } = look;
        self.fleet_mut(|fleet| {
            fleet.planner = planner;
            fleet.places = places;
            issues.iter().for_each(|issue| fleet.take_saved_issue(issue));
            for id in reviewed.iter().filter(|id| !wake.sensors.contains(id)) {
                let issues = sensors.get_mut(id).map(|sensor| std::mem::take(&mut sensor.issues));
                fleet.take_issues(*id, issues.unwrap_or_default());
            }
            wake.sensors.iter().filter_map(|id| sensors.remove(id)).for_each(|sensor| fleet.take_saved(sensor));
            wake.rollouts.iter().for_each(|version| fleet.rollout_was_saved(*version));
        });
        let seen: BTreeSet<_> = wake.events.iter().filter_map(|event| event.sensor).collect();
        for id in wake.sensors.iter().chain(&reviewed).chain(&seen).collect::<BTreeSet<_>>() {
            self.0.bus.announce(Event::Sensor(*id));
        }
        for version in wake.events.iter().map(|event| event.version).chain(wake.rollouts).collect::<BTreeSet<_>>() {
            self.0.bus.announce(Event::Rollout(version));
        }
        Ok(wakes_at)
    }

    /// The health issues that a look changed, each with its id.
    fn changed_issues(&self, look: &Look, now: Timestamp) -> Result<Vec<IssueRow>, AppError> {
        let mut rows = Vec::new();
        for id in &look.reviewed {
            let Some(sensor) = look.sensors.get(id) else { continue };
            for (kind, issue) in &sensor.issues {
                let (known, is_same) = self.fleet_ref(|fleet| {
                    let before = fleet.sensors.get(id).and_then(|sensor| sensor.issues.get(kind));
                    (fleet.issue_id(*id, *kind), before == Some(issue))
                });
                if is_same {
                    continue;
                }
                let issue_id = match known {
                    Some(known) => known,
                    None => IssueId::from_parts(now, random_bits()?),
                };
                rows.push(IssueRow { id: issue_id, sensor: *id, kind: *kind, issue: issue.clone() });
            }
        }
        Ok(rows)
    }

    async fn save_look(&self, tx: &mut Transaction, look: &Look, issues: &[IssueRow]) -> Result<(), AppError> {
        let revisions: BTreeMap<SensorId, u64> = self.fleet_ref(|fleet| {
            let kept = look.wake.sensors.iter().filter_map(|id| Some((*id, fleet.kept(*id)?.revision)));
            kept.collect()
        });
        let changed: Vec<_> =
            revisions.iter().filter_map(|(id, revision)| Some((look.sensors.get(id)?, *revision))).collect();
        tx.save_sensors(&changed).await?;
        tx.save_issues(issues).await?;
        for version in &look.wake.rollouts {
            self.save_rollout(tx, &look.planner, *version).await?;
        }
        tx.append_rollout_events(&look.wake.events).await?;
        for event in look.wake.events.iter().filter(|event| event.sensor.is_none()) {
            self.audit_decision(tx, event).await?;
        }
        Ok(())
    }

    pub(super) async fn save_rollout(
        &self,
        tx: &mut Transaction,
        planner: &Planner,
        version: Version,
    ) -> Result<(), AppError> {
        let Some(state) = planner.rollouts.get(&version) else { return Ok(()) };
        let revision = self.fleet_ref(|fleet| fleet.rollout_revision(version));
        Ok(tx.save_rollout(&RolloutRow { rollout: state.clone(), revision }).await?)
    }

    /// A rollout's own turning points belong into the audit log too; a sensor's steps are in its timeline.
    async fn audit_decision(&self, tx: &mut Transaction, event: &Decision) -> Result<(), AppError> {
        let (action, subject) = (format!("rollout.{}", event.what.word()), event.version.to_string());
        let reason = event.what.reason().map(str::to_owned);
        self.audit(tx, &Actor::Server, &action, &subject, None, None, reason).await
    }
}
