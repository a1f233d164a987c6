//! Power fails, or the updater is killed, at every single step on the disk: the host mends itself, without a hand.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchpost_core::restart::RestartNeed;
use watchpost_core::sync::{DetectionProof, UpdateProgress};
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Command, Death, Event, Machine, Phase, Running};

use super::host::{START, installed, release, version, wanting, write_version};
use crate::host::disk::Disk;
use crate::host::disk::tests::Power;
use crate::updater::versions::Look;
use crate::updater::{Installation, Layout};

/// How release 255 behaves on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
    Good,
    Refuses,
}

/// One life of an updater: a machine over a disk that may fail, and a sensor that may outlive it.
struct Life {
    installation: Installation,
    layout: Layout,
    machine: Machine,
    running: Running,
    now: Timestamp,
    new: New,
}

/// The power is gone, or the updater was killed.
struct Cut;

impl Life {
    fn begin(layout: &Layout, disk: Disk, running: Running, now: Timestamp, new: New) -> Result<Self, (Running, Cut)> {
        let installation = Installation::new(layout, disk);
        let (machine, commands) = installation.recover(running, now).map_err(|_| (running, Cut))?;
        let mut life = Self { installation, layout: layout.clone(), machine, running, now, new };
        let adopted = match running {
            Running::Release(adopted) => vec![Event::SensorReady(adopted)],
            Running::Nothing | Running::Unknown => Vec::new(),
        };
        match life.carry_out(commands, adopted) {
            Ok(()) => Ok(life),
            Err(cut) => Err((life.running, cut)),
        }
    }

    fn give(&mut self, event: Event) -> Result<(), Cut> {
        let commands = self.machine.handle(event, self.now);
        self.carry_out(commands, Vec::new())
    }

    fn carry_out(&mut self, commands: Vec<Command>, events: Vec<Event>) -> Result<(), Cut> {
        let mut commands = VecDeque::from(commands);
        let mut events = VecDeque::from(events);
        loop {
            while let Some(command) = commands.pop_front() {
                match self.installation.carry_out(&command, self.running).map_err(|_| Cut)? {
                    Some(follows) => events.extend(follows),
                    None => self.act(command, &mut events)?,
                }
            }
            let Some(event) = events.pop_front() else { return Ok(()) };
            commands.extend(self.machine.handle(event, self.now));
        }
    }

    fn act(&mut self, command: Command, events: &mut VecDeque<Event>) -> Result<(), Cut> {
        match command {
            Command::Prepare { release, .. } => {
                let staging = self.installation.versions.staging().map_err(|_| Cut)?;
                write_version(&staging, release.version.to_string()[2..5].parse().unwrap(), "program");
                self.installation.versions.install(&staging, release).map_err(|_| Cut)?;
                events.push_back(Event::Prepared { release, restart: RestartNeed::None });
            }
            Command::StartSensor(at) => {
                assert_eq!(self.running, Running::Nothing, "a second sensor");
                self.installation.versions.verify(at, Look::Full).unwrap();
                if at == release(255) && self.new == New::Refuses {
                    events.push_back(Event::SensorDied(Death::Refused("not here".into())));
                } else {
                    self.running = Running::Release(at);
                    events.push_back(Event::SensorReady(at));
                }
            }
            Command::Restart(_) => events.push_back(Event::Restarted),
            Command::StopSensor => self.running = Running::Nothing,
            Command::Prove { generation } => {
                if let Running::Release(at) = self.running {
                    let (version, detected_at) = (at.version, self.now);
                    let proof = DetectionProof {
                        generation,
                        version,
                        detected_at,
                        rules_loaded: 6,
                        rules_failed: 0,
                        engines: std::collections::BTreeMap::new(),
                    };
                    events.push_back(Event::ProofSeen(proof));
                }
            }
            Command::AbandonPrepare | Command::Persist(_) | Command::SwitchTo(_) | Command::CollectGarbage { .. } => {}
        }
        Ok(())
    }

    /// Check-ins as the control plane answers them: 255 wanted, cleared once it has shown that it detects.
    fn be_updated(&mut self) -> Result<(), Cut> {
        for _ in 0..6 {
            self.now = self.now + Duration::from_secs(60);
            self.give(Event::Tick)?;
            let mut desired = wanting(3, 255);
            let report = self.machine.report();
            if report.proof.is_some_and(|proof| proof.version == version(255)) {
                desired.generation = 4;
                desired.cleared = true;
            }
            if desired.generation >= self.machine.record().generation {
                self.give(Event::DesiredReceived(desired))?;
            }
        }
        Ok(())
    }

    /// What must hold at every moment at which nothing is half done.
    fn assert_watches(&self) {
        let Running::Release(runs) = self.running else { panic!("nothing watches: {:?}", self.machine.record()) };
        let link = fs::read_link(self.layout.current()).unwrap();
        assert_eq!(link, Layout::link_target(runs), "the link and the process differ");
        self.installation.versions.verify(runs, Look::Full).unwrap();
    }
}

/// Runs the update on a disk that fails at step `cut`; then again on a sound one. `None`: the disk never failed.
fn cut_at(cut: usize, new: New, outlives: bool) -> Option<(tempfile::TempDir, Life)> {
    let root = tempfile::tempdir().unwrap();
    let layout = installed(root.path(), 254, "program");
    let power = Power::failing_at(cut);
    let failing = Disk { power: Some(Arc::clone(&power)) };
    let running = match Life::begin(&layout, failing, Running::Release(release(254)), START, new) {
        Err((running, Cut)) => running,
        Ok(mut life) => {
            let _ = life.be_updated();
            life.running
        }
    };
    if !power.is_off() {
        return None;
    }
    let running = if outlives { running } else { Running::Nothing };
    let later = START + Duration::from_secs(700);
    let life = Life::begin(&layout, Disk::default(), running, later, new).unwrap_or_else(|_| panic!("cut at {cut}"));
    Some((root, life))
}

#[test]
fn an_update_cut_at_any_step_is_finished_after_the_restart() {
    for outlives in [true, false] {
        let mut steps = 0;
        while let Some((_root, mut life)) = cut_at(steps, New::Good, outlives) {
            life.assert_watches();
            assert!(life.be_updated().is_ok());
            life.assert_watches();
            assert_eq!(life.machine.record().phase, Phase::Committed, "cut at {steps}");
            assert_eq!(life.machine.record().committed, Some(release(255)), "cut at {steps}");
            assert_eq!(life.running, Running::Release(release(255)));
            assert_no_rubbish(&life.layout);
            steps += 1;
        }
        assert!(steps >= 20, "only {steps} steps were cut");
    }
}

#[test]
fn a_way_back_cut_at_any_step_ends_on_the_old_version() {
    for outlives in [true, false] {
        let mut steps = 0;
        while let Some((_root, mut life)) = cut_at(steps, New::Refuses, outlives) {
            assert!(life.be_updated().is_ok());
            life.assert_watches();
            assert_eq!(life.machine.record().committed, Some(release(254)), "cut at {steps}");
            assert!(life.machine.record().bad_versions.contains_key(&version(255)), "cut at {steps}");
            assert!(matches!(life.machine.progress(), UpdateProgress::Failed { reverted: true, .. }));
            assert_no_rubbish(&life.layout);
            steps += 1;
        }
        assert!(steps >= 20, "only {steps} steps were cut");
    }
}

#[test]
fn a_second_cut_during_the_recovery_from_the_first_is_mended_too() {
    for first in 0..40 {
        for second in (0..12).step_by(3) {
            let root = tempfile::tempdir().unwrap();
            let layout = installed(root.path(), 254, "program");
            for cut in [first, second] {
                let failing = Disk { power: Some(Power::failing_at(cut)) };
                if let Ok(mut life) = Life::begin(&layout, failing, Running::Nothing, START, New::Good) {
                    let _ = life.be_updated();
                }
            }
            let mut life = Life::begin(&layout, Disk::default(), Running::Nothing, START, New::Good)
                .unwrap_or_else(|_| panic!("cuts at {first} and {second}"));
            life.assert_watches();
            assert!(life.be_updated().is_ok());
            assert_eq!(life.machine.record().committed, Some(release(255)), "cuts at {first} and {second}");
            life.assert_watches();
        }
    }
}

/// Nothing unfinished stays, once an updater has started over it.
fn assert_no_rubbish(layout: &Layout) {
    Installation::new(layout, Disk::default()).versions.tidy().unwrap();
    for folder in [layout.root(), &layout.versions(), &layout.downloads()] {
        assert!(names(folder).iter().all(|name| !name.starts_with('.')), "{:?}", names(folder));
    }
    assert!(names(&layout.versions()).len() <= 2, "{:?}", names(&layout.versions()));
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
