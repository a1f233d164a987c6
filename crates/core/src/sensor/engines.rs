//! The engines that a sensor should run: whether they run, see packets, and have shown that they detect.
//!
//! Judges by what was asked for and what was observed, never by what is usual: absent facts say nothing against a host.

use std::collections::BTreeSet;

use super::Sensor;
use crate::facts::{EngineKind, EngineState};
use crate::sync::DetectionProof;

/// Whether the host says that every engine runs, and that packets could be seen wherever they should be.
pub(crate) fn all_detect(sensor: &Sensor) -> bool {
    sensor.report.facts.engines.values().all(|engine| engine.state == EngineState::Running) && !is_cut_off(sensor)
}

/// Whether a sensor that should listen on interfaces says that it cannot: none of them is up, or the engine does not
/// run. Whatever it is handed, it could not prove anything.
pub(crate) fn cannot_capture(sensor: &Sensor) -> bool {
    let is_down = |kind| sensor.report.facts.engines.get(&kind).is_some_and(|e| e.state != EngineState::Running);
    !sensor.settings.capture_interfaces.is_empty() && (is_cut_off(sensor) || is_down(EngineKind::Suricata))
}

/// Whether interfaces should be captured, the host lists its interfaces, and not one of the former is up.
fn is_cut_off(sensor: &Sensor) -> bool {
    let (interfaces, named) = (&sensor.report.facts.interfaces, &sensor.settings.capture_interfaces);
    let is_wanted = !named.is_empty() || interfaces.values().any(|interface| interface.selected);
    let mut wanted = interfaces.iter().filter(|(name, interface)| interface.selected || named.contains(*name));
    is_wanted && !interfaces.is_empty() && !wanted.any(|(_, interface)| interface.present && interface.up)
}

/// Whether every engine that should run has a canary of its own in `proof`, and has refused no rule.
pub(crate) fn all_are_proven(sensor: &Sensor, proof: &DetectionProof) -> bool {
    let Some(engines) = wanted(sensor) else { return false };
    let is_proven = |kind| match proof.engines.get(&kind) {
        Some(engine) => engine.rules_failed == 0,
        // A host that says nothing of engines proved `sigma`.
        None => kind == EngineKind::Sigma && proof.engines.is_empty(),
    };
    proof.engines.values().all(|engine| engine.rules_failed == 0) && engines.into_iter().all(is_proven)
}

/// The engines that should run; `None` while nobody can say: settings that name interfaces are still on their way.
///
/// Settings that the host refuses never arrive. It is judged by what it runs, and has a health issue of its own.
fn wanted(sensor: &Sensor) -> Option<BTreeSet<EngineKind>> {
    let report = &sensor.report;
    let mut engines: BTreeSet<EngineKind> = report.facts.engines.keys().copied().collect();
    if !sensor.settings.capture_interfaces.is_empty() {
        if report.settings_generation == sensor.settings_generation {
            engines.insert(EngineKind::Suricata);
        } else if report.facts.host.settings_refused.is_none() {
            return None;
        }
    }
    Some(engines)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::facts::{EngineFacts, InterfaceFacts};
    use crate::id::{SensorId, WorkspaceId};
    use crate::sensor::SensorKind;
    use crate::sync::EngineProof;
    use crate::time::Timestamp;
    use crate::version::Version;

    const AT: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn listening_on(names: &[&str]) -> Sensor {
        let (id, workspace) = (SensorId::from_parts(AT, 1), WorkspaceId::from_parts(AT, 1));
        let mut sensor = Sensor::new(id, workspace, "TAP1".to_owned(), SensorKind::OtCloudConnected, AT);
        sensor.settings.capture_interfaces = names.iter().map(|name| (*name).to_owned()).collect();
        (sensor.settings_generation, sensor.report.settings_generation) = (3, 3);
        sensor
    }

    fn run(sensor: &mut Sensor, kind: EngineKind, state: EngineState) {
        let engine = EngineFacts {
            state,
            since: AT,
            reason: String::new(),
            rules_loaded: 1,
            rules_failed: 0,
            rules_superseded: 0,
            complaints: vec![],
            events_lost_since: None,
        };
        sensor.report.facts.engines.insert(kind, engine);
    }

    fn interface(sensor: &mut Sensor, name: &str, selected: bool, present: bool, up: bool) {
        let facts = InterfaceFacts { selected, present, up, ..InterfaceFacts::default() };
        sensor.report.facts.interfaces.insert(name.to_owned(), facts);
    }

    /// A proof with so many refused rules of each engine.
    fn proof(engines: &[(EngineKind, u32)]) -> DetectionProof {
        let engine = |failed| EngineProof { detected_at: AT, rules_loaded: 5, rules_failed: failed };
        DetectionProof {
            generation: 1,
            version: Version::new(2, 255, 1, 0),
            detected_at: AT,
            rules_loaded: 5,
            rules_failed: 0,
            engines: engines.iter().map(|(kind, failed)| (*kind, engine(*failed))).collect::<BTreeMap<_, _>>(),
        }
    }

    use EngineKind::{Sigma, Suricata};

    #[test]
    fn who_should_listen_is_proven_by_packets_too() {
        let sensor = listening_on(&["eth1"]);
        assert!(all_are_proven(&sensor, &proof(&[(Sigma, 0), (Suricata, 0)])));
        assert!(!all_are_proven(&sensor, &proof(&[(Sigma, 0)])), "packets were not proven");
        assert!(!all_are_proven(&sensor, &proof(&[])), "a host that says nothing of engines proved sigma alone");
        assert!(!all_are_proven(&sensor, &proof(&[(Sigma, 0), (Suricata, 1)])), "a rule was refused");
        assert!(!all_are_proven(&sensor, &proof(&[(Sigma, 2), (Suricata, 0)])), "a rule was refused");
    }

    #[test]
    fn who_listens_on_nothing_is_proven_by_events_alone_as_before() {
        let mut sensor = listening_on(&[]);
        assert!(all_are_proven(&sensor, &proof(&[])));
        assert!(all_are_proven(&sensor, &proof(&[(Sigma, 0)])));
        run(&mut sensor, Suricata, EngineState::Running);
        assert!(!all_are_proven(&sensor, &proof(&[(Sigma, 0)])), "the host says that it should run suricata");
        assert!(all_are_proven(&sensor, &proof(&[(Sigma, 0), (Suricata, 0)])));
    }

    #[test]
    fn settings_on_their_way_are_waited_for_and_refused_ones_are_not() {
        let mut sensor = listening_on(&["eth1"]);
        sensor.settings_generation = 4;
        for engines in [&[(Sigma, 0)][..], &[(Sigma, 0), (Suricata, 0)]] {
            assert!(!all_are_proven(&sensor, &proof(engines)), "what it will run is not what it proved");
        }
        sensor.report.facts.host.settings_refused = Some("there is no eth1".to_owned());
        assert!(all_are_proven(&sensor, &proof(&[(Sigma, 0)])));
        run(&mut sensor, Suricata, EngineState::Running);
        assert!(!all_are_proven(&sensor, &proof(&[(Sigma, 0)])), "by the settings before, it runs suricata");
        let mut quieter = listening_on(&[]);
        quieter.settings_generation = 4;
        assert!(all_are_proven(&quieter, &proof(&[(Sigma, 0)])), "a new description proves nothing and hides nothing");
    }

    #[test]
    fn one_interface_that_is_up_is_enough_and_none_is_not() {
        for (eth1, eth2, is_fine) in [
            ((true, true), (true, true), true),
            ((true, false), (true, true), true),
            ((false, false), (true, false), false),
            ((true, false), (true, false), false),
        ] {
            let mut sensor = listening_on(&["eth1", "eth2"]);
            interface(&mut sensor, "eth0", false, true, true);
            interface(&mut sensor, "eth1", true, eth1.0, eth1.1);
            interface(&mut sensor, "eth2", true, eth2.0, eth2.1);
            assert_eq!((all_detect(&sensor), cannot_capture(&sensor)), (is_fine, !is_fine), "{eth1:?} {eth2:?}");
        }
        let mut absent = listening_on(&["eth9"]);
        interface(&mut absent, "eth0", false, true, true);
        assert!(cannot_capture(&absent), "the host lists what is there, and eth9 is not");
    }

    #[test]
    fn an_engine_that_does_not_run_detects_nothing() {
        for state in [EngineState::Starting, EngineState::NotRunning, EngineState::StartFailed] {
            let mut sensor = listening_on(&["eth1"]);
            run(&mut sensor, Sigma, EngineState::Running);
            run(&mut sensor, Suricata, state);
            assert!(!all_detect(&sensor) && cannot_capture(&sensor), "{state:?}");
            run(&mut sensor, Suricata, EngineState::Running);
            assert!(all_detect(&sensor) && !cannot_capture(&sensor));
            run(&mut sensor, Sigma, state);
            assert!(!all_detect(&sensor) && !cannot_capture(&sensor), "{state:?}");
        }
    }

    #[test]
    fn a_host_that_reports_no_facts_is_judged_as_before() {
        for names in [&[][..], &["eth1"]] {
            let sensor = listening_on(names);
            assert!(all_detect(&sensor) && !cannot_capture(&sensor));
        }
    }
}
