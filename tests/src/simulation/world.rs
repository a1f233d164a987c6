//! A control plane and its fleet through days of faults: the product's planner, updaters, certificates and rule places.
//!
//! Time goes from event to event. A host with nothing under way is left alone; its contact is filled in before anybody
//! looks at it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use watchpost_core::catalogue::{Catalogue, Release};
use watchpost_core::content::{DesiredRules, RulePackage, RulePlaces, RulesBoard, rules_file_name};
use watchpost_core::id::{SensorId, WorkspaceId};
use watchpost_core::identity::Pins;
use watchpost_core::policy::Policy;
use watchpost_core::rehearsal::{Behaviour, SimulatedHost};
use watchpost_core::release::ReleaseKind;
use watchpost_core::rollout::{Fleet, Planner, Wake};
use watchpost_core::sensor::{Context, Sensor, SensorKind};
use watchpost_core::sync::{Desired, Report, ServiceState, TargetRef};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::member::{Member, Rules, Skew, enrolled, once_in, pin_of};
use super::story::{Deed, Story, restart_of};
use super::watch::Watch;
use crate::kill::Chance;

/// How long a late answer is under way at most, in seconds.
const LATEST_ANSWER: u64 = 300;
/// Once in so many messages one gets lost, comes late, or comes twice, while there are faults.
const LOST: u64 = 40;
const LATE: u64 = 30;
/// Things that may follow from one another on a host at one instant.
const MOST_AT_ONCE: usize = 64;

/// What wakes somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Deed(usize),
    Host(usize),
    CheckIn(usize),
    Plan,
}

/// What a control plane remembers, and a backup of it holds.
#[derive(Clone)]
pub struct Plane {
    /// Its releases.
    pub catalogue: Catalogue,
    /// Its rollouts.
    pub planner: Planner,
    /// Its sensors.
    pub fleet: Fleet,
    /// Their certificates.
    pub pins: BTreeMap<SensorId, Pins>,
    /// Its rule packages.
    pub packages: Vec<RulePackage>,
}

/// Everything.
pub struct World<'a> {
    /// What time it truly is.
    pub now: Timestamp,
    /// The values of this fleet.
    pub policy: Policy,
    /// What the control plane remembers.
    pub plane: Plane,
    board: RulesBoard,
    places: RulePlaces,
    ready_at: Option<Timestamp>,
    is_up: bool,
    backup: Option<Plane>,
    /// The hosts, in the order of the fleet.
    pub members: Vec<Member<'a>>,
    numbers: BTreeMap<SensorId, usize>,
    queue: BinaryHeap<Reverse<(Timestamp, Due)>>,
    plans_at: Option<Timestamp>,
    chance: Chance,
    story: &'a Story,
    /// What must hold, and is looked at after every event.
    pub watch: Watch,
}

impl<'a> World<'a> {
    /// The fleet of a story before anything happens.
    #[must_use]
    pub fn begin(story: &'a Story, behaviours: &'a [Behaviour]) -> Self {
        let start = story.start;
        let mut policy = Policy::default();
        story.settings.apply(&mut policy);
        let mut plane = Plane {
            catalogue: Catalogue::default(),
            planner: Planner::default(),
            fleet: Fleet::new(),
            pins: BTreeMap::new(),
            packages: Vec::new(),
        };
        plane.catalogue.insert(release(story.first, start));
        let (mut members, mut numbers) = (Vec::new(), BTreeMap::new());
        for (number, behaviour) in behaviours.iter().enumerate() {
            let sensor = sensor_of(story, number);
            let id = sensor.id;
            members.push(Member {
                id,
                host: SimulatedHost::running(story.first, behaviour, start, policy.contact.check_in),
                skew: Skew::default(),
                off_until: None,
                cut_off_until: None,
                next: start + Duration::from_secs(number as u64 % 60),
                acts_at: None,
                is_quiet: false,
                late: Vec::new(),
                identity: enrolled(id),
                made: 0,
                rules: Rules::new(start),
            });
            plane.pins.insert(id, Pins::enrolled(pin_of(id, 0), start));
            numbers.insert(id, number);
            plane.fleet.insert(id, sensor);
        }
        let board = RulesBoard::new(policy.rules.clone());
        let mut world = Self {
            now: start,
            policy,
            plane,
            board,
            places: RulePlaces::default(),
            ready_at: None,
            is_up: true,
            backup: None,
            members,
            numbers,
            queue: BinaryHeap::new(),
            plans_at: None,
            chance: Chance::new(story.seed),
            story,
            watch: Watch::default(),
        };
        world.queue.extend(story.deeds.iter().enumerate().map(|(at, (when, _))| Reverse((*when, Due::Deed(at)))));
        for number in 0..world.members.len() {
            let next = world.members[number].next;
            world.queue.push(Reverse((next, Due::CheckIn(number))));
        }
        world
    }

    /// Goes on until this instant.
    ///
    /// # Errors
    /// When something does not hold; says what and when.
    pub fn play_until(&mut self, end: Timestamp) -> anyhow::Result<()> {
        while let Some(Reverse((at, due))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.queue.pop();
            self.now = self.now.max(at);
            match due {
                Due::Deed(number) => self.perform(number),
                // What was planned anew meanwhile leaves its old place in the queue behind.
                Due::Host(number) if self.members[number].acts_at == Some(at) => self.wake_host(number),
                Due::Host(_) => {}
                Due::CheckIn(number) => self.check_in(number, at)?,
                Due::Plan if self.plans_at == Some(at) => self.plan()?,
                Due::Plan => {}
            }
        }
        self.now = end;
        self.fill_in_contacts();
        self.watch.holds(&self.plane, &self.members, &self.policy, self.now)
    }

    /// Whether messages get lost.
    fn is_stormy(&self) -> bool {
        self.now < self.story.calm
    }

    fn context<'c>(
        policy: &'c Policy,
        catalogue: &'c Catalogue,
        ready_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Context<'c> {
        Context { policy, catalogue, ready_at, now }
    }

    /// What quiet hosts have said meanwhile: that they are there.
    fn fill_in_contacts(&mut self) {
        (0..self.members.len()).for_each(|number| self.fill_in_contact(number));
    }

    fn fill_in_contact(&mut self, number: usize) {
        let member = &self.members[number];
        if let Some(sensor) = self.plane.fleet.get_mut(&member.id).filter(|_| self.is_up && member.is_quiet) {
            sensor.last_contact = Some(self.now);
            sensor.last_config_pull = Some(self.now);
        }
    }

    fn plan(&mut self) -> anyhow::Result<()> {
        if !self.is_up {
            return Ok(());
        }
        self.fill_in_contacts();
        let context = Self::context(&self.policy, &self.plane.catalogue, self.ready_at, self.now);
        self.places.release(&self.plane.fleet, &self.board, &context);
        self.plane.planner.count_as_away(self.places.away());
        let before = self.watch.before(&self.plane.fleet, &self.places.away(), &context);
        let wake = self.plane.planner.wake(&mut self.plane.fleet, &context);
        self.places.grant(&self.plane.fleet, &self.board, &context);
        let wakes_at = [wake.wakes_at, self.places.wakes_at(&context)].into_iter().flatten().min();
        self.watch.hears(&before, &wake, &self.plane, &context)?;
        self.announce(&wake);
        if let Some(at) = wakes_at {
            self.plan_at(at.max(self.now + Duration::from_secs(1)));
        }
        self.watch.holds(&self.plane, &self.members, &self.policy, self.now)
    }

    /// Whoever is to hear something new checks in again in earnest.
    fn announce(&mut self, wake: &Wake) {
        let mut roused: BTreeSet<usize> = wake.sensors.iter().filter_map(|id| self.numbers.get(id).copied()).collect();
        // Somebody may load other rules than it has.
        for (number, member) in self.members.iter().enumerate().filter(|(_, member)| member.is_quiet) {
            let sensor = &self.plane.fleet[&member.id];
            if self.rules_of(sensor).map(|rules| rules.build) != sensor.report.rules.build {
                roused.insert(number);
            }
        }
        for number in roused {
            self.rouse(number);
        }
    }

    fn rouse(&mut self, number: usize) {
        let wait = Duration::from_secs(1 + self.chance.below(60));
        let member = &mut self.members[number];
        if std::mem::take(&mut member.is_quiet) {
            member.next = self.now + wait;
            self.queue.push(Reverse((member.next, Due::CheckIn(number))));
        }
    }

    fn rules_of(&self, sensor: &Sensor) -> Option<DesiredRules> {
        let may_load = self.places.may_load(sensor, &self.policy.rollout.coverage);
        if may_load { self.board.desired(sensor, self.plane.fleet.len()) } else { self.board.as_it_is(sensor) }
    }

    fn wake_host(&mut self, number: usize) {
        let now = self.now;
        let member = &mut self.members[number];
        for _ in 0..MOST_AT_ONCE {
            member.wake(now);
            if member.wakes_at().is_none_or(|at| at > now) {
                break;
            }
        }
        self.expect(number);
    }

    /// Notes when a host is to be woken next.
    fn expect(&mut self, number: usize) {
        let at = self.members[number].wakes_at().map(|at| at.max(self.now + Duration::from_secs(1)));
        if at != self.members[number].acts_at {
            self.members[number].acts_at = at;
            self.queue.extend(at.map(|at| Reverse((at, Due::Host(number)))));
        }
    }

    fn check_in(&mut self, number: usize, at: Timestamp) -> anyhow::Result<()> {
        if self.members[number].next != at {
            return Ok(());
        }
        self.fill_in_contact(number);
        self.wake_host(number);
        let (now, is_stormy) = (self.now, self.is_stormy());
        let jitter = self.chance.below(12);
        let member = &mut self.members[number];
        member.is_quiet = false;
        member.next = now + self.policy.contact.check_in + Duration::from_secs(jitter) - Duration::from_secs(6);
        self.queue.push(Reverse((member.next, Due::CheckIn(number))));
        if !self.is_up || !member.talks(now) || (is_stormy && once_in(&mut self.chance, LOST)) {
            return Ok(());
        }
        self.certificates(number)?;
        let member = &self.members[number];
        let is_known = self.plane.pins[&member.id].role(member.identity.presents()).is_some();
        if !is_known {
            return Ok(());
        }
        let (id, report) = (member.id, member.report(now));
        let sensor = self.plane.fleet.get_mut(&id).ok_or_else(|| anyhow::anyhow!("the sensor is gone"))?;
        let was_away = sensor.last_contact.is_none_or(|last| now.since(last) > Duration::from_secs(120));
        let is_news = sensor.report != report || was_away;
        self.board.note(id, &report.rules);
        sensor.checked_in(report, now);
        if is_news {
            self.plan()?;
        }
        self.answer(number, id);
        Ok(())
    }

    fn certificates(&mut self, number: usize) -> anyhow::Result<()> {
        let (now, is_stormy) = (self.now, self.is_stormy());
        let member = &mut self.members[number];
        let (Some(pins), Some(sensor)) = (self.plane.pins.get_mut(&member.id), self.plane.fleet.get(&member.id)) else {
            return Ok(());
        };
        let renew = pins.should_renew(member.id, sensor.certificate.ordered_at, now, &self.policy.certificate);
        let is_refused = pins.role(member.identity.presents()).is_none();
        if renew || is_refused || member.identity.is_under_way() || !pins.are_settled() {
            let chance = &mut self.chance;
            member.look_after_certificates(pins, renew, &mut || is_stormy && once_in(chance, LOST), now);
        }
        anyhow::ensure!(member.is_let_in(pins), "{now}: {} holds no certificate that is accepted", sensor.name);
        Ok(())
    }

    fn answer(&mut self, number: usize, id: SensorId) {
        let (now, is_stormy) = (self.now, self.is_stormy());
        let sensor = &self.plane.fleet[&id];
        let desired = Desired { rules: self.rules_of(sensor), ..sensor.update.desired.clone() };
        let generation = desired.generation;
        let is_lost = is_stormy && once_in(&mut self.chance, LOST);
        let is_late = is_stormy && once_in(&mut self.chance, LATE);
        let delay = Duration::from_secs(1 + self.chance.below(LATEST_ANSWER));
        let member = &mut self.members[number];
        if is_late {
            member.late.push((now + delay, desired.clone()));
        }
        if !is_lost {
            member.answered(desired, now);
            self.wake_host(number);
        }
        if self.is_settled(number, id, generation) {
            let (member, pins) = (&mut self.members[number], &self.plane.pins[&id]);
            member.is_quiet = true;
            let goes_at = pins.first_used_at() + self.policy.certificate.previous_kept;
            // The certificate before goes at a check-in, and at no other moment.
            member.next = if pins.are_settled() { self.story.end + Duration::from_secs(1) } else { goes_at };
            self.queue.push(Reverse((member.next, Due::CheckIn(number))));
        }
        self.expect(number);
    }

    /// Whether nothing is under way with a host, so that its check-ins change nothing.
    fn is_settled(&self, number: usize, id: SensorId, generation: u64) -> bool {
        let (member, sensor, pins) = (&self.members[number], &self.plane.fleet[&id], &self.plane.pins[&id]);
        let policy = &self.policy.certificate;
        let renew = pins.should_renew(id, sensor.certificate.ordered_at, self.now, policy);
        let is_over = !pins.are_settled() && pins.first_used_at() + policy.previous_kept <= self.now;
        sensor.update.flight.is_none()
            && member.is_settled(generation)
            && member.certificates_rest(pins, renew)
            && !is_over
            && sensor.report == member.report(self.now)
    }

    fn perform(&mut self, number: usize) {
        let Some((_, deed)) = self.story.deeds.get(number) else { return };
        let (now, deed) = (self.now, deed.clone());
        self.fill_in_contacts();
        match deed {
            Deed::Stop => self.is_up = false,
            Deed::Start => self.start_plane(),
            Deed::BackUp => self.backup = Some(self.plane.clone()),
            Deed::Restore => {
                if let Some(backup) = self.backup.clone() {
                    self.plane = backup;
                    self.watch.was_put_back(now);
                    self.start_plane();
                    self.publish_again();
                }
            }
            Deed::CutOff(hosts, until) => hosts.iter().for_each(|host| {
                self.rouse(*host);
                self.members[*host].cut_off_until = Some(until);
            }),
            Deed::LosePower(host, until) => {
                self.rouse(host);
                self.members[host].lose_power(until, now);
                self.expect(host);
            }
            Deed::JumpClock(host, millis) => {
                self.rouse(host);
                self.members[host].skew = Skew(millis);
                self.wake_host(host);
            }
            Deed::Publish(version) => self.publish(version),
            Deed::PullBack(version) => drop(self.plane.catalogue.pull_back(version, now)),
            Deed::Pause(version) => drop(self.plane.planner.pause(version, now)),
            Deed::Resume(version) => drop(self.plane.planner.resume(version, &self.plane.fleet, now)),
            Deed::Abort(version) => drop(self.plane.planner.abort(version, now)),
            Deed::SetDelayed(host, is_delayed) => self.on_sensor(host, |sensor| sensor.delayed = is_delayed),
            Deed::OrderCertificate(host) => {
                self.rouse(host);
                self.on_sensor(host, |sensor| sensor.certificate.ordered_at = Some(now));
            }
            Deed::PublishRules(build) => self.publish_rules(build),
        }
        self.plan_at(now);
    }

    /// The planner looks again then, or before.
    fn plan_at(&mut self, at: Timestamp) {
        self.plans_at = Some(at);
        self.queue.push(Reverse((at, Due::Plan)));
    }

    fn on_sensor(&mut self, host: usize, change: impl FnOnce(&mut Sensor)) {
        let id = self.members[host].id;
        if let Some(sensor) = self.plane.fleet.get_mut(&id) {
            change(sensor);
        }
    }

    /// What was in memory alone is gone.
    fn start_plane(&mut self) {
        self.is_up = true;
        self.ready_at = Some(self.now);
        self.plane.planner = Planner::over(self.plane.planner.rollouts.values().cloned());
        self.places = RulePlaces::default();
        self.board = RulesBoard::new(self.policy.rules.clone());
        self.plane.packages.iter().for_each(|package| self.board.insert(package.clone()));
        for (id, sensor) in &self.plane.fleet {
            self.board.note(*id, &sensor.report.rules);
        }
        (0..self.members.len()).for_each(|number| self.rouse(number));
    }

    /// What was published since the backup is published again: the author still has it.
    fn publish_again(&mut self) {
        let told = self.story.deeds.iter().filter(|(at, _)| *at <= self.now).map(|(_, deed)| deed.clone());
        for deed in told.collect::<Vec<_>>() {
            match deed {
                Deed::Publish(version) => self.publish(version),
                Deed::PublishRules(build) => self.publish_rules(build),
                Deed::PullBack(version) => drop(self.plane.catalogue.pull_back(version, self.now)),
                _ => {}
            }
        }
    }

    fn publish(&mut self, version: Version) {
        self.plane.catalogue.insert(release(version, self.now));
        let _ = self.plane.planner.publish(version, self.now);
    }

    fn publish_rules(&mut self, build: Timestamp) {
        if self.plane.packages.iter().any(|package| package.build == build) {
            return;
        }
        let target = TargetRef { name: rules_file_name(build), sha256: format!("{:064x}", build.millis()), length: 1 };
        let package = RulePackage { build, target, published_at: self.now, pulled_back_at: None };
        self.board.insert(package.clone());
        self.plane.packages.push(package);
    }
}

fn release(version: Version, published_at: Timestamp) -> Release {
    Release {
        version,
        kind: ReleaseKind::Minor,
        published_at,
        pulled_back_at: None,
        minimum_base: None,
        restart: restart_of(version),
        systems: Vec::new(),
        target: Some(SimulatedHost::target_of(version)),
    }
}

fn sensor_of(story: &Story, number: usize) -> Sensor {
    let (start, plan) = (story.start, &story.sensors[number]);
    let id = SensorId::from_parts(start, number as u128);
    let workspace = WorkspaceId::from_parts(start, 0);
    let mut sensor = Sensor::new(id, workspace, format!("S{number}"), SensorKind::DomainControllerIntegrated, start);
    sensor.zone = Some(plan.zone.clone());
    sensor.delayed = plan.delayed;
    sensor.report = Report { version: Some(story.first), service: ServiceState::Running, ..Report::default() };
    sensor.last_contact = Some(start);
    let target = Some(SimulatedHost::target_of(story.first));
    sensor.update.desired = Desired { version: Some(story.first), target, cleared: true, ..Desired::default() };
    sensor
}
