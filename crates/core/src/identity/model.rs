//! Every state that host and control plane can get into together, over their real machines.
//!
//! Faults: a crash of the host, a power cut that loses what was not synced, a lost request, a lost answer, a control
//! plane that is put back from a backup. In no state may the host hold no certificate that is accepted; and from each,
//! once faults stop, a rotation must end. What passes for time is a minute (between two
//! proposals) and a week (the grace): within it the system has written
//! to the disk what it held back, and backups from before it are not kept.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
/// Faults that may come together.
const FAULTS: u8 = 6;
/// Certificates that are made beside the first one.
const GENERATIONS: u8 = 4;
/// Steps within which a rotation must end once faults have stopped.
const STEPS_TO_SETTLE: u32 = 60;

/// How the host's disk behaves, and what else may happen.
#[derive(Clone, Copy)]
struct Rules {
    /// Whether what is synced is on the disk; if not, it lies.
    syncs: bool,
    power_cuts: bool,
    restores: bool,
    /// Every state of the last week may be put back, and not just the last backup.
    keeps_every_backup: bool,
    /// How long the certificate before is kept.
    grace: Duration,
}

const USUAL: Rules = Rules { syncs: true, power_cuts: true, restores: true, keeps_every_backup: true, grace: WEEK };

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    host: Machine,
    step: Step,
    /// What is left after a power cut.
    disk: Slots,
    server: Pins,
    /// States of the control plane within the last week that may be put back.
    backups: Vec<Pins>,
    made: u8,
}

fn pin(number: u8) -> Pin {
    Pin::from([number; 32])
}

/// The certificates with something else about each.
fn with(pins: &Pins, change: impl FnMut(&mut Held)) -> Pins {
    let mut rows = pins.rows();
    rows.iter_mut().for_each(change);
    Pins::of_rows(&rows).unwrap()
}

/// What came of a request.
enum Came {
    Through,
    RequestLost,
    AnswerLost,
}

impl World {
    fn start() -> Self {
        let slots = Slots::only(pin(0));
        let server = Pins::enrolled(pin(0), NOW);
        Self {
            host: Machine::open(slots),
            step: Step::Rest,
            disk: slots,
            backups: vec![server.clone()],
            server,
            made: 0,
        }
    }

    /// The host holds something that the control plane accepts.
    fn is_let_in(&self) -> bool {
        self.host.slots().all().any(|pin| self.server.role(pin).is_some())
    }

    fn restarted(&self, slots: Slots) -> Self {
        Self { host: Machine::open(slots), step: Step::Rest, disk: self.disk, ..self.clone() }
    }

    /// A minute passes: another certificate may be proposed.
    fn a_minute_later(&self) -> Self {
        let server = with(&self.server, |row| match row.role {
            Role::Pending => row.registered_at = NOW - PROPOSALS_EVERY,
            Role::Active | Role::Retiring => {}
        });
        Self { server, ..self.clone() }
    }

    /// A week passes in which nobody does anything.
    fn a_week_later(&self) -> Self {
        let later = self.a_minute_later();
        let server = with(&later.server, |row| row.first_used_at = row.first_used_at.map(|_| NOW - WEEK));
        Self { disk: self.host.slots(), backups: vec![server.clone()], server, ..self.clone() }
    }

    fn kept(mut self, slots: Slots, rules: Rules) -> Self {
        self.step = self.host.kept(slots);
        if rules.syncs {
            self.disk = slots;
        }
        self
    }

    /// The control plane hears a request over `by`; tells whether it knows `by`, or nothing where it refuses.
    fn serve(&mut self, rules: Rules) -> Option<(Pin, bool)> {
        let policy = CertificatePolicy { previous_kept: rules.grace, ..CertificatePolicy::default() };
        let by = match self.step {
            Step::Ask { by } => by,
            Step::Propose { over, .. } => over,
            Step::Confirm { with } => with,
            Step::Rest | Step::Make | Step::Keep(_) | Step::LockedOut => return None,
        };
        let is_known = self.server.admit(by, NOW, &policy).is_some();
        let is_refused = match self.step {
            Step::Propose { over, pin } => self.server.propose(over, pin, NOW).is_err(),
            Step::Confirm { with } => {
                self.server.confirm(with, NOW);
                false
            }
            Step::Ask { .. } | Step::Rest | Step::Make | Step::Keep(_) | Step::LockedOut => false,
        };
        // Only of a proposal does it matter here when it was registered.
        self.server = with(&self.server, |row| match row.role {
            Role::Pending => {}
            Role::Active | Role::Retiring => row.registered_at = NOW,
        });
        if self.server.may_remove_previous(by, NOW, &policy) {
            self.server.remove_previous();
        }
        if rules.keeps_every_backup && !self.backups.contains(&self.server) {
            self.backups.push(self.server.clone());
        }
        (!is_known || !is_refused).then_some((by, is_known))
    }

    /// The host does what it is to do next. `renew`: what the control plane says of the active certificate.
    fn act(&self, came: &Came, renew: bool, rules: Rules) -> Self {
        let mut after = self.clone();
        let unheard = |mut world: Self| {
            world.host.unheard();
            world.step = Step::Rest;
            world
        };
        match self.step {
            Step::Rest => after.step = Step::Ask { by: self.host.presents() },
            Step::LockedOut => after.step = Step::Rest,
            Step::Keep(slots) => return after.kept(slots, rules),
            Step::Make => {
                after.made += 1;
                let slots = self.host.with_made(pin(after.made));
                return after.kept(slots, rules);
            }
            Step::Ask { .. } | Step::Propose { .. } | Step::Confirm { .. } => {
                if matches!(came, Came::RequestLost) {
                    return unheard(after);
                }
                let Some((by, is_known)) = after.serve(rules) else { return unheard(after) };
                if matches!(came, Came::AnswerLost) {
                    return unheard(after);
                }
                let standing = after.server.standing(renew);
                after.step = if is_known { after.host.told(by, &standing) } else { after.host.refused(by) };
            }
        }
        after
    }

    /// Everything that may happen next, and whether it is a fault.
    fn next(&self, rules: Rules, may_make: bool) -> Vec<(bool, Self)> {
        let mut next = Vec::new();
        match self.step {
            Step::Ask { .. } | Step::Propose { .. } | Step::Confirm { .. } => {
                next.push((false, self.act(&Came::Through, false, rules)));
                next.push((false, self.act(&Came::Through, may_make, rules)));
                next.push((true, self.act(&Came::RequestLost, false, rules)));
                next.push((true, self.act(&Came::AnswerLost, false, rules)));
            }
            Step::Make if !may_make => {}
            Step::Rest | Step::Make | Step::Keep(_) | Step::LockedOut => {
                next.push((false, self.act(&Came::Through, false, rules)));
            }
        }
        next.push((true, self.restarted(self.host.slots())));
        next.push((false, Self { disk: self.host.slots(), ..self.clone() }));
        if rules.power_cuts {
            next.push((true, self.restarted(self.disk)));
        }
        if rules.restores {
            if !rules.keeps_every_backup {
                next.push((false, Self { backups: vec![self.server.clone()], ..self.clone() }));
            }
            next.extend(self.backups.iter().map(|backup| (true, Self { server: backup.clone(), ..self.clone() })));
        }
        if self.step == Step::Rest {
            next.push((false, self.a_minute_later()));
            next.push((false, self.a_week_later()));
        }
        next.retain(|(_, world)| world != self);
        next
    }

    /// Whether one more rotation ends, from here on, with nothing going wrong any more.
    fn settles(&self, rules: Rules) -> bool {
        let mut world = self.clone();
        for _ in 0..STEPS_TO_SETTLE {
            let is_over = world.step == Step::Rest
                && world.made > self.made
                && world.host.slots() == Slots::only(world.server.active())
                && world.server.are_settled();
            if is_over {
                return true;
            }
            if world.step == Step::Rest {
                world = world.a_week_later();
            }
            world = world.act(&Came::Through, world.made == self.made, rules);
        }
        false
    }
}

/// What a look at every state came to.
struct Seen {
    states: usize,
    locked_out: Vec<World>,
    unsettled: Vec<World>,
}

/// Visits every state once, with as many faults left as can be: states with fewer can do no more.
fn explore(rules: Rules, faults: u8, looks_at_liveness: bool) -> Seen {
    let start = World::start();
    let (mut seen, mut queue) = (HashSet::new(), VecDeque::from([(start, faults)]));
    let (mut locked_out, mut unsettled) = (Vec::new(), Vec::new());
    while let Some((world, left)) = queue.pop_front() {
        if seen.contains(&world) {
            continue;
        }
        if !world.is_let_in() {
            locked_out.push(world.clone());
            seen.insert(world);
            continue;
        }
        if looks_at_liveness && !world.settles(rules) {
            unsettled.push(world.clone());
        }
        for (is_fault, next) in world.next(rules, world.made < GENERATIONS) {
            match (is_fault, left) {
                (false, _) => queue.push_front((next, left)),
                (true, 1..) => queue.push_back((next, left - 1)),
                (true, 0) => {}
            }
        }
        seen.insert(world);
    }
    Seen { states: seen.len(), locked_out, unsettled }
}

#[test]
fn no_state_locks_a_host_out_and_from_each_a_rotation_ends() {
    for (what, faults, rules) in [
        ("every backup of a week", FAULTS, USUAL),
        ("the last backup", FAULTS, Rules { keeps_every_backup: false, ..USUAL }),
        ("the last backup, a disk that lies", FAULTS, Rules { keeps_every_backup: false, syncs: false, ..USUAL }),
        ("no backup, a disk that lies", FAULTS, Rules { restores: false, syncs: false, ..USUAL }),
        // More than is promised: the host syncs everything. Fewer faults, because there are so many states.
        ("every backup of a week, a disk that lies", 3, Rules { syncs: false, ..USUAL }),
    ] {
        let seen = explore(rules, faults, true);
        println!(
            "rotation, {what}: {} states with up to {faults} faults, {} locked out, {} that do not settle",
            seen.states,
            seen.locked_out.len(),
            seen.unsettled.len()
        );
        assert!(seen.locked_out.is_empty(), "{what}: {:?}", seen.locked_out.first());
        assert!(seen.unsettled.is_empty(), "{what}: {:?}", seen.unsettled.first());
        assert!(seen.states > 100, "{what}: hardly anything was looked at");
    }
}

#[test]
fn without_the_grace_the_search_finds_hosts_that_are_locked_out() {
    for rules in [USUAL, Rules { syncs: false, restores: false, ..USUAL }] {
        let seen = explore(Rules { grace: Duration::ZERO, ..rules }, 2, false);
        println!("rotation without the grace: {} of {} states locked out", seen.locked_out.len(), seen.states);
        assert!(!seen.locked_out.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// A long life with faults without number, and certificates without number.
    #[test]
    fn a_long_life_full_of_faults_locks_no_host_out(choices in prop::collection::vec(any::<u16>(), 2_000), syncs: bool) {
        let rules = Rules { syncs, ..USUAL };
        let mut world = World::start();
        for choice in choices {
            let next = world.next(rules, world.made < u8::MAX - 1);
            if next.is_empty() {
                break;
            }
            world = next[usize::from(choice) % next.len()].1.clone();
            prop_assert!(world.is_let_in(), "{world:?}");
        }
        prop_assert!(world.made == u8::MAX - 1 || world.settles(rules), "{world:?}");
    }
}
