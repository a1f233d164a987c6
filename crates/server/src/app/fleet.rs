//! The fleet as it is held in memory (decision 20): loaded at start, changed only after the store was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use watchpost_core::catalogue::{Catalogue, Release};
use watchpost_core::clones::{Newcomer, Quarantine};
use watchpost_core::content::{DesiredRules, RulePlaces, RulesBoard};
use watchpost_core::facts::Measurements;
use watchpost_core::health::{Issue, IssueType};
use watchpost_core::id::{IssueId, SensorId, SiteId, ZoneId};
use watchpost_core::identity::{Pin, Pins};
use watchpost_core::policy::{CertificatePolicy, Policy, RulesPolicy};
use watchpost_core::rollout::{Fleet as Sensors, Planner, RolloutSettings};
use watchpost_core::sensor::Sensor;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_store::{
    Contact, GlobalIssueRow, IssueRow, ReleaseRow, RulePackageRow, SensorRow, SiteRow, Transaction, ZoneRow,
};

use super::AppError;
use super::global::Globals;

/// What the store says of a sensor beside the sensor itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) zone: ZoneId,
    pub(crate) revision: u64,
}

/// Everything about the fleet that requests are answered from.
pub(crate) struct Fleet {
    pub(super) sensors: Sensors,
    pub(super) catalogue: Catalogue,
    pub(super) planner: Planner,
    /// The numbers, with what people have set about rollouts.
    pub(super) policy: Policy,
    rollout_settings: RolloutSettings,
    rollout_revisions: BTreeMap<Version, u64>,
    kept: BTreeMap<SensorId, Kept>,
    by_pin: HashMap<[u8; 32], SensorId>,
    pins: BTreeMap<SensorId, Pins>,
    releases: Vec<ReleaseRow>,
    pub(super) rules: RulesBoard,
    /// Who may load other rules at this moment.
    pub(super) places: RulePlaces,
    rule_packages: Vec<RulePackageRow>,
    issue_ids: BTreeMap<(SensorId, IssueType), IssueId>,
    /// Health issues that are not of one sensor.
    pub(super) globals: Globals,
    /// Hosts that say to be enrolled ones.
    quarantine: Quarantine,
    sites: BTreeMap<SiteId, SiteRow>,
    zones: BTreeMap<ZoneId, ZoneRow>,
    /// Sensors whose last contact is newer in memory than in the store.
    heard: BTreeSet<SensorId>,
    /// What each sensor measured last, and when; in memory alone, gone when the server starts again.
    measured: BTreeMap<SensorId, (Timestamp, Measurements)>,
    /// Counts changes other than contacts; for views that are kept.
    changes: u64,
}

/// A release as the catalogue knows it.
pub(super) fn catalogued(row: &ReleaseRow) -> Release {
    Release {
        version: row.manifest.version,
        kind: row.manifest.kind,
        published_at: row.published_at,
        pulled_back_at: row.pulled_back_at,
        minimum_base: row.manifest.minimum_base_version,
        restart: row.manifest.restart,
        systems: row.manifest.operating_systems.clone(),
        target: Some(row.target.clone()),
    }
}

impl Fleet {
    pub(crate) async fn load(tx: &mut Transaction, policy: &CertificatePolicy) -> Result<Self, AppError> {
        let mut certificates = tx.certificates().await?;
        let rollouts = tx.rollouts().await?;
        let mut fleet = Self {
            sensors: Sensors::new(),
            catalogue: Catalogue::default(),
            rollout_revisions: rollouts.iter().map(|row| (row.rollout.version, row.revision)).collect(),
            planner: Planner::over(rollouts.into_iter().map(|row| row.rollout)),
            policy: Policy::default(),
            rollout_settings: RolloutSettings::default(),
            kept: BTreeMap::new(),
            by_pin: HashMap::new(),
            pins: BTreeMap::new(),
            releases: tx.releases().await?,
            rules: RulesBoard::new(RulesPolicy::default()),
            places: RulePlaces::default(),
            rule_packages: Vec::new(),
            issue_ids: BTreeMap::new(),
            globals: Globals::over(tx.global_issues().await?),
            quarantine: Quarantine::of(tx.newcomers().await?),
            sites: tx.sites().await?.into_iter().map(|row| (row.id, row)).collect(),
            zones: tx.zones().await?.into_iter().map(|row| (row.id, row)).collect(),
            heard: BTreeSet::new(),
            measured: BTreeMap::new(),
            changes: 0,
        };
        fleet.take_rollout_settings(tx.rollout_settings().await?);
        for release in &fleet.releases {
            fleet.catalogue.insert(catalogued(release));
        }
        for row in tx.rule_packages().await? {
            fleet.put_rule_package(row);
        }
        for row in tx.sensors().await? {
            let pins = certificates.remove(&row.sensor.id);
            fleet.insert(row, pins, policy);
        }
        for sensor in fleet.sensors.values_mut() {
            sensor.newcomers = fleet.quarantine.waiting_for(sensor.id);
        }
        for row in tx.issues().await? {
            fleet.issue_ids.insert((row.sensor, row.kind), row.id);
            if let Some(sensor) = fleet.sensors.get_mut(&row.sensor) {
                sensor.issues.insert(row.kind, row.issue);
            }
        }
        Ok(fleet)
    }

    fn insert(&mut self, row: SensorRow, pins: Option<Pins>, policy: &CertificatePolicy) {
        let SensorRow { sensor, zone, pin, revision } = row;
        let id = sensor.id;
        let pins = pins.unwrap_or_else(|| Pins::enrolled(Pin::from(pin), sensor.created_at));
        self.kept.insert(id, Kept { zone, revision });
        self.rules.note(id, &sensor.report.rules);
        self.sensors.insert(id, sensor);
        self.take_pins(id, pins, policy);
    }

    /// Takes the saved certificates of a sensor over.
    pub(crate) fn take_pins(&mut self, id: SensorId, pins: Pins, policy: &CertificatePolicy) {
        self.changes += 1;
        for held in self.pins.get(&id).map(Pins::rows).unwrap_or_default() {
            self.by_pin.remove(held.pin.bytes());
        }
        self.by_pin.extend(pins.rows().iter().map(|held| (*held.pin.bytes(), id)));
        if let Some(sensor) = self.sensors.get_mut(&id) {
            sensor.certificate.expires_at = Some(pins.expires_at(policy));
        }
        self.pins.insert(id, pins);
    }

    /// Hosts that say to be enrolled ones.
    pub(crate) fn quarantine(&self) -> &Quarantine {
        &self.quarantine
    }

    /// Takes a saved newcomer over, and forgets those.
    pub(crate) fn take_newcomer(&mut self, newcomer: Newcomer, forgotten: &[Pin]) {
        let gone = forgotten.iter().filter_map(|pin| self.quarantine.get(pin).cloned()).collect::<Vec<_>>();
        gone.iter().for_each(|newcomer| self.drop_newcomer(newcomer));
        let sensor = newcomer.sensor;
        self.quarantine.put(newcomer);
        self.count_newcomers(sensor);
    }

    /// Forgets a newcomer.
    pub(crate) fn drop_newcomer(&mut self, newcomer: &Newcomer) {
        self.quarantine.remove(&newcomer.pin);
        self.count_newcomers(newcomer.sensor);
    }

    fn count_newcomers(&mut self, sensor: SensorId) {
        self.changes += 1;
        let waiting = self.quarantine.waiting_for(sensor);
        if let Some(sensor) = self.sensors.get_mut(&sensor) {
            sensor.newcomers = waiting;
        }
    }

    /// The certificates of a sensor.
    pub(crate) fn pins(&self, id: SensorId) -> Option<&Pins> {
        self.pins.get(&id)
    }

    /// Forgets whose this sensor's pin is.
    #[cfg(test)]
    pub(crate) fn forget_pin(&mut self, id: SensorId) {
        self.by_pin.retain(|_, known| *known != id);
    }

    /// How often anything but a last contact has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn by_pin(&self, pin: &[u8; 32]) -> Option<SensorId> {
        self.by_pin.get(pin).copied()
    }

    /// A sensor by its id or, for people, by its name in any spelling.
    pub(crate) fn find(&self, text: &str) -> Option<&Sensor> {
        match text.parse() {
            Ok(id) => self.sensors.get(&id),
            Err(_) => self.sensors.values().find(|sensor| sensor.name.eq_ignore_ascii_case(text)),
        }
    }

    pub(crate) fn kept(&self, id: SensorId) -> Option<Kept> {
        self.kept.get(&id).copied()
    }

    pub(crate) fn releases(&self) -> &[ReleaseRow] {
        &self.releases
    }

    pub(crate) fn issue_id(&self, sensor: SensorId, kind: IssueType) -> Option<IssueId> {
        self.issue_ids.get(&(sensor, kind)).copied()
    }

    pub(crate) fn site_by_name(&self, name: &str) -> Option<&SiteRow> {
        self.sites.values().find(|site| site.name == name)
    }

    pub(crate) fn zone_by_name(&self, site: SiteId, name: &str) -> Option<&ZoneRow> {
        self.zones.values().find(|zone| zone.site == site && zone.name == name)
    }

    /// How many sites and zones there are, whichever are more.
    pub(crate) fn places(&self) -> usize {
        self.sites.len().max(self.zones.len())
    }

    /// Names of the site and the zone a sensor stands in.
    pub(crate) fn place_names(&self, sensor: SensorId) -> (&str, &str) {
        let zone = self.kept.get(&sensor).and_then(|kept| self.zones.get(&kept.zone));
        let site = zone.and_then(|zone| self.sites.get(&zone.site));
        (site.map_or("", |site| &site.name), zone.map_or("", |zone| &zone.name))
    }

    pub(crate) fn add_sensor(&mut self, row: SensorRow, site: SiteRow, zone: ZoneRow, policy: &CertificatePolicy) {
        self.sites.insert(site.id, site);
        self.zones.insert(zone.id, zone);
        self.insert(row, None, policy);
    }

    pub(crate) fn add_release(&mut self, release: ReleaseRow, planner: Planner) {
        self.changes += 1;
        self.rollout_revisions.insert(release.manifest.version, 1);
        self.catalogue.insert(catalogued(&release));
        self.releases.push(release);
        self.planner = planner;
    }

    /// Notes that a release was pulled back.
    pub(crate) fn pull_back_release(&mut self, version: Version, at: Timestamp) {
        self.changes += 1;
        self.catalogue.pull_back(version, at);
        for release in self.releases.iter_mut().filter(|release| release.manifest.version == version) {
            release.pulled_back_at = release.pulled_back_at.or(Some(at));
        }
    }

    /// What people have set about rollouts.
    pub(crate) fn rollout_settings(&self) -> &RolloutSettings {
        &self.rollout_settings
    }

    /// Takes saved settings of rollouts over.
    pub(crate) fn take_rollout_settings(&mut self, settings: RolloutSettings) {
        self.changes += 1;
        settings.apply(&mut self.policy);
        self.rollout_settings = settings;
    }

    /// Grows with every fact about sensors and rollouts that was saved, also over a restart.
    pub(crate) fn facts_revision(&self) -> u64 {
        let sensors = self.kept.values().map(|kept| kept.revision);
        sensors.chain(self.rollout_revisions.values().copied()).fold(0, u64::saturating_add)
    }

    /// All rule packages, oldest build first.
    pub(crate) fn rule_packages(&self) -> &[RulePackageRow] {
        &self.rule_packages
    }

    /// Whether the zone of a sensor can spare it while it loads other rules.
    pub(crate) fn has_rules_place(&self, sensor: &Sensor) -> bool {
        self.places.may_load(sensor, &self.policy.rollout.coverage)
    }

    /// The rules that a sensor is told to have.
    pub(crate) fn rules_for(&self, sensor: &Sensor) -> Option<DesiredRules> {
        if self.has_rules_place(sensor) {
            self.rules.desired(sensor, self.sensors.len())
        } else {
            self.rules.as_it_is(sensor)
        }
    }

    /// Adds a rule package, or replaces what is known of it.
    pub(crate) fn put_rule_package(&mut self, row: RulePackageRow) {
        self.changes += 1;
        self.rules.insert(super::rules::known(&row));
        self.rule_packages.retain(|known| known.manifest.build != row.manifest.build);
        self.rule_packages.push(row);
        self.rule_packages.sort_by_key(|known| known.manifest.build);
    }

    /// Takes a saved sensor over: the store holds it at the next revision. A contact that was heard of meanwhile stays.
    pub(crate) fn take_saved(&mut self, saved: Sensor) {
        let id = saved.id;
        self.changes += 1;
        self.rules.note(id, &saved.report.rules);
        let Some(kept) = self.kept.get_mut(&id) else { return };
        kept.revision = kept.revision.saturating_add(1);
        let Some(sensor) = self.sensors.get_mut(&id) else { return };
        let (contact, pull) = (sensor.last_contact, sensor.last_config_pull);
        let contacts = std::mem::take(&mut sensor.contacts);
        *sensor = saved;
        sensor.contacts = contacts;
        if contact > sensor.last_contact || pull > sensor.last_config_pull {
            sensor.last_contact = sensor.last_contact.max(contact);
            sensor.last_config_pull = sensor.last_config_pull.max(pull);
        } else {
            self.heard.remove(&id);
        }
    }

    /// The revision at which the store holds a rollout.
    pub(crate) fn rollout_revision(&self, version: Version) -> u64 {
        self.rollout_revisions.get(&version).copied().unwrap_or(0)
    }

    /// Notes that a rollout was saved once more.
    pub(crate) fn rollout_was_saved(&mut self, version: Version) {
        self.changes += 1;
        let revision = self.rollout_revisions.entry(version).or_default();
        *revision = revision.saturating_add(1);
    }

    /// Takes the health issues of a sensor over that is otherwise as it was.
    pub(crate) fn take_issues(&mut self, id: SensorId, issues: BTreeMap<IssueType, Issue>) {
        self.changes += 1;
        if let Some(sensor) = self.sensors.get_mut(&id) {
            sensor.issues = issues;
        }
    }

    pub(crate) fn take_saved_issue(&mut self, saved: &IssueRow) {
        self.issue_ids.insert((saved.sensor, saved.kind), saved.id);
    }

    /// Takes one saved issue of a sensor over.
    pub(super) fn take_issue(&mut self, saved: IssueRow) {
        self.changes += 1;
        if let Some(sensor) = self.sensors.get_mut(&saved.sensor) {
            sensor.issues.insert(saved.kind, saved.issue);
        }
    }

    /// Takes saved issues of the workspace over.
    pub(super) fn take_saved_global(&mut self, saved: Vec<GlobalIssueRow>) {
        self.changes += 1;
        saved.into_iter().for_each(|row| self.globals.take(row));
    }

    /// Notes in memory whether a network sensor's check-in is late; says so. Silence before the control plane was
    /// ready is its own.
    pub(crate) fn note_lateness(&mut self, id: SensorId, ready_at: Timestamp, now: Timestamp, policy: &Policy) -> bool {
        let Some(sensor) = self.sensors.get_mut(&id).filter(|sensor| sensor.kind.is_network()) else { return false };
        let Some(before) = sensor.last_contact else { return false };
        sensor.contacts.heard(before.max(ready_at), now, policy)
    }

    /// Notes a contact in memory alone.
    pub(crate) fn hear(&mut self, id: SensorId, now: Timestamp, has_pulled: bool) {
        let Some(sensor) = self.sensors.get_mut(&id) else { return };
        sensor.last_contact = sensor.last_contact.max(Some(now));
        if has_pulled {
            sensor.last_config_pull = sensor.last_config_pull.max(Some(now));
        }
        self.heard.insert(id);
    }

    /// Notes what a sensor measured, in memory alone.
    pub(crate) fn measure(&mut self, id: SensorId, measurements: Measurements, now: Timestamp) {
        if self.sensors.contains_key(&id) {
            self.measured.insert(id, (now, measurements));
        }
    }

    /// What a sensor measured last, and when.
    pub(crate) fn measured(&self, id: SensorId) -> Option<&(Timestamp, Measurements)> {
        self.measured.get(&id)
    }

    /// The contacts that are not in the store yet.
    pub(crate) fn take_heard(&mut self) -> Vec<Contact> {
        let heard = std::mem::take(&mut self.heard);
        let contact = |sensor: &Sensor| Contact {
            sensor: sensor.id,
            seen_at: sensor.last_contact,
            pulled_at: sensor.last_config_pull,
        };
        heard.iter().filter_map(|id| self.sensors.get(id)).map(contact).collect()
    }

    /// Puts contacts back that could not be saved.
    pub(crate) fn put_heard_back(&mut self, contacts: &[Contact]) {
        self.heard.extend(contacts.iter().map(|contact| contact.sensor));
    }
}
