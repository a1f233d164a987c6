//! A host in memory that carries out the machine's commands and checks what must always hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Command, Death, DiskView, Event, Machine, Phase, Policy, Record, Release, Running, recover};
use crate::restart::RestartNeed;
use crate::sync::{Desired, DetectionProof, TargetRef};
use crate::time::Timestamp;
use crate::version::Version;

/// How a release behaves on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Behaviour {
    #[default]
    Ok,
    /// Dies at start.
    Crash,
    /// Refuses with exit code 78.
    Refuse,
    /// Never says that it is ready.
    Hang,
    /// Lives and does not detect.
    Unhealthy,
    /// The download never ends.
    Stall,
    /// The package is not what was signed.
    Forged,
}

/// What comes of a restart that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum OnRestart {
    #[default]
    Comes,
    /// It is refused.
    Fails,
    /// Nothing happens.
    Never,
}

pub(super) const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);

pub(super) fn version(minor: u32) -> Version {
    Version::new(2, minor, 1, 0)
}

pub(super) fn target(minor: u32) -> TargetRef {
    TargetRef { name: format!("sensor-{minor}.cab"), sha256: format!("{minor:08x}").repeat(8), length: 1 }
}

pub(super) fn release(minor: u32) -> Release {
    Release::new(version(minor), &target(minor).sha256).unwrap()
}

pub(super) struct Host {
    pub(super) machine: Machine,
    pub(super) now: Timestamp,
    pub(super) behaviours: BTreeMap<Version, Behaviour>,
    pub(super) disk: DiskView,
    pub(super) durable: Option<Record>,
    pub(super) log: Vec<String>,
    pub(super) desired: Desired,
    /// Events the commands lead to, oldest first.
    due: VecDeque<Event>,
    /// Stop carrying out commands after so many: the updater was killed.
    pub(super) dies_after: Option<usize>,
    /// The restart that a release's manifest declares.
    pub(super) needs: BTreeMap<Version, RestartNeed>,
    /// What comes of a restart that is asked for.
    pub(super) on_restart: OnRestart,
    pub(super) restarts_asked: u32,
    /// So many switches fail because the disk does.
    pub(super) failing_switches: u32,
    /// So many canaries pass undetected: an engine is still starting.
    pub(super) missed_proofs: u32,
    /// How often a canary was asked for.
    pub(super) proofs_asked: u32,
}

impl Host {
    /// A host that runs release `minor`.
    pub(super) fn running(minor: u32) -> Self {
        let at = release(minor);
        Self::over(Some(Record::committed(at)), DiskView::of(at))
    }

    pub(super) fn over(record: Option<Record>, disk: DiskView) -> Self {
        let (machine, commands) = recover(record.clone(), &disk, Policy::default(), START);
        let mut host = Self {
            machine,
            now: START,
            behaviours: BTreeMap::new(),
            disk,
            durable: record,
            log: Vec::new(),
            desired: Desired::default(),
            due: VecDeque::new(),
            dies_after: None,
            needs: BTreeMap::new(),
            on_restart: OnRestart::default(),
            restarts_asked: 0,
            failing_switches: 0,
            missed_proofs: 0,
            proofs_asked: 0,
        };
        host.greet();
        host.carry_out(commands);
        host.settle();
        host
    }

    fn behaviour(&self, release: Release) -> Behaviour {
        self.behaviours.get(&release.version).copied().unwrap_or_default()
    }

    /// The server wants release `minor`, under the next generation.
    pub(super) fn want(&mut self, minor: u32) {
        self.desired = Desired {
            generation: self.desired.generation + 1,
            version: Some(version(minor)),
            target: Some(target(minor)),
            ..Desired::default()
        };
    }

    pub(super) fn clear(&mut self) {
        self.desired.generation += 1;
        self.desired.cleared = true;
    }

    /// What the planner does: clear what waits and has detected under the newest generation.
    pub(super) fn clear_if_proven(&mut self) {
        let Phase::AwaitingClearance { to, .. } = self.machine.record().phase else { return };
        let report = self.machine.report();
        let is_proven = report.proof.is_some_and(|proof| proof.version == to.version);
        if is_proven && self.desired.version == Some(to.version) && !self.desired.cleared {
            self.clear();
        }
    }

    pub(super) fn check_in(&mut self) {
        self.give(Event::DesiredReceived(self.desired.clone()));
    }

    /// One event and everything it leads to at once.
    pub(super) fn give(&mut self, event: Event) {
        let commands = self.machine.handle(event, self.now);
        self.carry_out(commands);
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            let Some(event) = self.due.pop_front() else { return };
            let commands = self.machine.handle(event, self.now);
            self.carry_out(commands);
        }
        panic!("the machine spins: {:?}", self.log);
    }

    /// Lets `span` pass, waking when the machine wants to.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..10_000 {
            match self.machine.wakes_at() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.give(Event::Tick);
                }
                Some(_) | None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the machine wakes for ever: {:?}", self.log);
    }

    /// A minute at a time with a check-in after each.
    pub(super) fn minutes(&mut self, minutes: u32, is_clearing: bool) {
        for _ in 0..minutes {
            self.pass(Duration::from_secs(60));
            if is_clearing {
                self.clear_if_proven();
            }
            self.check_in();
        }
    }

    /// The updater is killed and starts again; the sensor lives on.
    pub(super) fn restart(&mut self) {
        self.due.clear();
        self.dies_after = None;
        let (machine, commands) = recover(self.durable.clone(), &self.disk, Policy::default(), self.now);
        self.machine = machine;
        self.greet();
        self.carry_out(commands);
        self.settle();
    }

    pub(super) fn kill_sensor(&mut self) {
        if self.disk.running != Running::Nothing {
            self.disk.running = Running::Nothing;
            self.give(Event::SensorDied(Death::Ended("it was killed".into())));
        }
    }

    /// Power comes back: nothing runs.
    pub(super) fn power_cut(&mut self) {
        self.disk.running = Running::Nothing;
        self.restart();
    }

    /// An adopted sensor says what it is.
    fn greet(&mut self) {
        if let Running::Release(release) = self.disk.running {
            self.answer_start(release);
        }
    }

    fn answer_start(&mut self, release: Release) {
        match self.behaviour(release) {
            Behaviour::Ok | Behaviour::Unhealthy | Behaviour::Stall | Behaviour::Forged => {
                self.due.push_back(Event::SensorReady(release));
            }
            Behaviour::Crash => self.die(Death::Ended("it ended with code 1".into())),
            Behaviour::Refuse => self.die(Death::Refused("too few file descriptors".into())),
            Behaviour::Hang => {}
        }
    }

    fn die(&mut self, death: Death) {
        self.disk.running = Running::Nothing;
        self.due.push_back(Event::SensorDied(death));
    }

    fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            if let Some(left) = &mut self.dies_after {
                if *left == 0 {
                    return self.restart();
                }
                *left -= 1;
            }
            if let Command::Restart(need) = command {
                self.log.push(format!("restart {}", need.word()));
                self.restarts_asked += 1;
                assert_eq!(self.durable.as_ref(), Some(self.machine.record()), "restarted before it was durable");
                match (self.on_restart, need) {
                    (OnRestart::Comes, RestartNeed::Host) => return self.reboot(),
                    (OnRestart::Comes, _) => self.due.push_back(Event::Restarted),
                    (OnRestart::Fails, _) => self.due.push_back(Event::RestartFailed("it is refused".into())),
                    (OnRestart::Never, _) => {}
                }
                continue;
            }
            self.carry_out_one(command);
        }
    }

    /// The whole host goes down and comes up again.
    pub(super) fn reboot(&mut self) {
        self.disk.boot.push('x');
        self.power_cut();
    }

    fn carry_out_one(&mut self, command: Command) {
        match command {
            Command::Persist(record) => {
                let floor = self.durable.as_ref().map_or(0, |record| record.generation);
                assert!(record.generation >= floor, "the generation went back");
                self.durable = Some(record);
            }
            Command::Prepare { release, target } => {
                self.log.push(format!("prepare {}", release.version));
                assert_eq!(Release::new(release.version, &target.sha256), Some(release));
                match self.behaviour(release) {
                    Behaviour::Stall => {}
                    Behaviour::Forged => self.due.push_back(Event::PrepareFailed {
                        release,
                        reason: "the hash is wrong".into(),
                        retryable: false,
                    }),
                    Behaviour::Ok | Behaviour::Crash | Behaviour::Refuse | Behaviour::Hang | Behaviour::Unhealthy => {
                        self.disk.versions.insert(release);
                        let restart = self.needs.get(&release.version).copied().unwrap_or_default();
                        self.due.push_back(Event::Prepared { release, restart });
                    }
                }
            }
            Command::Restart(_) => unreachable!("carried out above"),
            Command::AbandonPrepare => self.log.push("abandon".into()),
            Command::SwitchTo(release) => {
                self.log.push(format!("switch {}", release.version));
                self.assert_decision_is_durable(release);
                if self.failing_switches > 0 {
                    self.failing_switches -= 1;
                    let reason = "the disk is full".into();
                    self.due.push_back(Event::SwitchFailed { release, reason, retryable: true });
                } else if self.disk.versions.contains(&release) {
                    self.disk.link = Some(release);
                    self.due.push_back(Event::Switched(release));
                } else {
                    self.due.push_back(Event::SwitchFailed {
                        release,
                        reason: "its folder is gone".into(),
                        retryable: false,
                    });
                }
            }
            Command::StartSensor(release) => {
                self.log.push(format!("start {}", release.version));
                assert_eq!(self.disk.running, Running::Nothing, "a second sensor");
                assert_eq!(self.durable.as_ref(), Some(self.machine.record()), "started before it was durable");
                self.disk.running = Running::Release(release);
                self.answer_start(release);
            }
            Command::StopSensor => {
                self.disk.running = Running::Nothing;
                let is_of_the_stopped = |event: &Event| matches!(event, Event::SensorReady(_) | Event::SensorDied(_));
                self.due.retain(|event| !is_of_the_stopped(event));
            }
            Command::Prove { generation } => self.answer_proof(generation),
            Command::CollectGarbage { keep } => self.collect(&keep),
        }
    }

    fn assert_decision_is_durable(&self, to: Release) {
        let record = self.durable.as_ref().expect("switched without a record");
        assert!(record.in_use().contains(&to), "switched before it was decided durably");
    }

    fn answer_proof(&mut self, generation: u64) {
        self.proofs_asked += 1;
        let Running::Release(release) = self.disk.running else { return };
        if self.behaviour(release) == Behaviour::Unhealthy {
            return;
        }
        if self.missed_proofs > 0 {
            self.missed_proofs -= 1;
            return;
        }
        self.due.push_back(Event::ProofSeen(DetectionProof {
            generation,
            version: release.version,
            detected_at: self.now,
            rules_loaded: 6,
            rules_failed: 0,
            engines: std::collections::BTreeMap::new(),
        }));
    }

    fn collect(&mut self, keep: &BTreeSet<Release>) {
        assert_eq!(
            self.durable.as_ref().map(|record| &record.phase),
            Some(&Phase::Committed),
            "collected outside Committed"
        );
        for needed in self.durable.iter().flat_map(Record::in_use).chain(self.disk.link) {
            assert!(keep.contains(&needed), "{needed} would have been deleted");
        }
        if let Running::Release(release) = self.disk.running {
            assert!(keep.contains(&release), "the running release would have been deleted");
        }
        self.disk.versions.retain(|release| keep.contains(release));
    }
}
