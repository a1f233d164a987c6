//! Rule packages: what is taken for one, what is judged good, what each sensor is offered, and how it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::facts::{EngineKind, EngineState};
use crate::id::{SensorId, WorkspaceId};
use crate::policy::RulesPolicy;
use crate::sensor::{Sensor, SensorKind};

const GOOD: &str = r#"{"build":"2026-11-25T12:00:00Z","notes":"n","sigmaExpected":2,"suricataExpected":3}"#;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(number: u64) -> Timestamp {
    at("2026-01-05T00:00:00Z") + Duration::from_secs(number * 86_400)
}

#[test]
fn a_description_reads_back_and_names_its_file() {
    let rules = RulesManifest::from_slice(GOOD.as_bytes()).unwrap();
    assert_eq!(RulesManifest::from_slice(&rules.to_vec()).unwrap(), rules);
    assert_eq!(rules_file_name(rules.build), "watchpost-rules-20261125t120000.cab");
    let set = RulesSet { build: rules.build, sha256: "1a2b3c4d5e".to_owned() };
    assert_eq!(set.folder(), "20261125t120000-1a2b3c4d");
    let signed = rules.signed(4);
    assert_eq!((signed.component.as_str(), signed.rules_counter), ("rules", 4));
    rules.matches(&signed).unwrap();
    assert!(rules.matches(&SignedRules { build: at("2026-11-25T12:00:01Z"), ..signed }).is_err());
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to) in [
        ("2026-11-25T12:00:00Z", "2026-11-25"),
        ("2026-11-25T12:00:00Z", "2026-11-25T12:00:00.5Z"),
        ("2026-11-25T12:00:00Z", "1999-12-31T23:59:59Z"),
        ("2026-11-25T12:00:00Z", "3000-01-01T00:00:00Z"),
        (":2,", ":-1,"),
        (":2,", ":4294967296,"),
        (":2,", ":100000,"),
        ("notes", "remarks"),
        ("}", "} x"),
    ] {
        let bad = GOOD.replacen(from, to, 1);
        assert_ne!(bad, GOOD);
        assert!(RulesManifest::from_slice(bad.as_bytes()).is_err(), "{bad} was taken");
    }
    let empty = r#"{"build":"2026-11-25T12:00:00Z"}"#;
    assert!(matches!(RulesManifest::from_slice(empty.as_bytes()), Err(RulesError::Rules(0))));
    let long = GOOD.replace("\"n\"", &format!("\"{}\"", "n".repeat(4_001)));
    assert!(matches!(RulesManifest::from_slice(long.as_bytes()), Err(RulesError::Notes(4_001))));
    let huge = vec![b' '; MAX_RULES_JSON + 1];
    assert!(matches!(RulesManifest::from_slice(&huge), Err(RulesError::TooLarge(_))));
}

#[test]
fn suricata_rules_are_the_lines_that_name_a_sid_and_are_no_comment() {
    let text =
        b"# alert tcp any any -> any any (sid:1;)\nalert tcp any any -> any any (msg:\"a\"; sid:2; rev:1;)\n\n  \
        # sid:3\nalert udp any any -> any any (\\\n  sid:4;)\r\nvar x\n";
    assert_eq!(count_suricata_rules(text), 2);
    assert_eq!(count_suricata_rules(b""), 0);
}

fn reading(state: EngineState, loaded: u32, failed: u32) -> EngineReading {
    EngineReading { state, loaded, failed, superseded: 0, complaint: Some("a.yml: no id".to_owned()) }
}

#[test]
fn a_package_is_kept_only_when_every_engine_that_runs_has_all_it_promises() {
    let promise = RulesPromise { sigma: 2, suricata: 3 };
    let (run, down, starts) = (EngineState::Running, EngineState::NotRunning, EngineState::Starting);
    let both = BTreeSet::from([EngineKind::Sigma, EngineKind::Suricata]);
    let judge = |before: &BTreeSet<_>, sigma: EngineReading, suricata: Option<EngineReading>| {
        let mut engines = BTreeMap::from([(EngineKind::Sigma, sigma)]);
        engines.extend(suricata.map(|reading| (EngineKind::Suricata, reading)));
        let baseline = Baseline { sigma: 6, suricata: 1 };
        judge_load(promise, before, &RulesView { engines, baseline, ..RulesView::default() })
    };
    let only = BTreeSet::from([EngineKind::Sigma]);
    assert_eq!(
        judge(&only, reading(run, 8, 0), None),
        Verdict::Kept,
        "an engine that does not run here does not count"
    );
    assert_eq!(judge(&both, reading(run, 8, 0), Some(reading(run, 4, 0))), Verdict::Kept);
    assert_eq!(judge(&only, reading(run, 8, 0), Some(reading(down, 0, 0))), Verdict::Kept);
    assert_eq!(judge(&both, reading(run, 8, 0), Some(reading(down, 0, 0))), Verdict::Wait, "it ran before");
    assert_eq!(judge(&both, reading(run, 8, 0), None), Verdict::Wait);
    assert_eq!(judge(&only, reading(run, 8, 0), Some(reading(starts, 0, 0))), Verdict::Wait);
    let broken = |verdict: Verdict| {
        let Verdict::Broken(why) = verdict else { panic!("{verdict:?}") };
        why
    };
    let few = broken(judge(&only, reading(run, 7, 0), None));
    assert_eq!(few, "sigma has loaded 7 rules; the release brings 6 and the package promises 2 more");
    let doubled = EngineReading { superseded: 1, ..reading(run, 7, 0) };
    assert_eq!(judge(&only, doubled, None), Verdict::Kept, "what the release has already counts");
    let refused = broken(judge(&both, reading(run, 8, 0), Some(reading(run, 9, 1))));
    assert_eq!(refused, "suricata refused 1 rules, the first: a.yml: no id");
}

/// A host whose sensor has what it was asked for, at once, until `tamed` is switched off.
fn machine() -> (RulesMachine, Vec<RulesCommand>) {
    recover_rules(None, &BTreeSet::new(), RulesPolicy::default(), day(0))
}

fn order(number: u64) -> DesiredRules {
    let target = TargetRef { name: rules_file_name(day(number)), sha256: format!("{number:064x}"), length: 9 };
    DesiredRules { build: day(number), target, push: 0, withdrawn: None }
}

fn set(number: u64) -> RulesSet {
    RulesSet { build: day(number), sha256: format!("{number:064x}") }
}

fn view(build: Option<Timestamp>, loaded: u32) -> RulesView {
    let engines = BTreeMap::from([(EngineKind::Sigma, reading(EngineState::Running, loaded, 0))]);
    RulesView { build, engines, baseline: Baseline { sigma: 6, suricata: 0 }, ..RulesView::default() }
}

/// Takes a package to the point where it is kept.
fn keep(machine: &mut RulesMachine, number: u64, now: Timestamp) {
    machine.handle(RulesEvent::Desired(Some(order(number))), now);
    let promise = RulesPromise { sigma: 2, suricata: 0 };
    machine.handle(RulesEvent::Fetched { set: set(number), promise }, now);
    machine.handle(RulesEvent::Heard(view(Some(day(number)), 8)), now);
    assert_eq!(machine.record().in_effect, Some(set(number)));
}

#[test]
fn a_package_is_fetched_loaded_judged_and_kept_in_that_order() {
    let (mut machine, first) = machine();
    assert_eq!(first, [RulesCommand::Persist(Box::default()), RulesCommand::Point(None)]);
    machine.handle(RulesEvent::Heard(view(None, 6)), day(1));
    assert_eq!(machine.handle(RulesEvent::Desired(Some(order(1))), day(1)), [RulesCommand::Fetch(order(1))]);
    assert_eq!(machine.report().loading, Some(day(1)));
    let promise = RulesPromise { sigma: 2, suricata: 0 };
    let loads = machine.handle(RulesEvent::Fetched { set: set(1), promise }, day(1));
    let [RulesCommand::Persist(_), RulesCommand::Persist(record), RulesCommand::Load(asked)] = loads.as_slice() else {
        panic!("{loads:?}")
    };
    assert_eq!((record.trial.as_ref().unwrap().handed_to, asked.as_ref()), (Some(0), Some(&set(1))));
    assert_eq!(machine.handle(RulesEvent::Heard(view(None, 6)), day(1)), [], "it has not answered yet");
    let kept = machine.handle(RulesEvent::Heard(view(Some(day(1)), 8)), day(1));
    let words: Vec<_> = kept.iter().map(|c| format!("{c:?}").split(['(', ' ']).next().unwrap().to_owned()).collect();
    assert_eq!(words, ["Persist", "Point", "RaiseFloor", "CollectGarbage"]);
    let report = machine.report();
    assert_eq!((report.build, report.loading, report.failed), (Some(day(1)), None, None));
    assert_eq!(machine.handle(RulesEvent::Desired(Some(order(1))), day(1)), [], "the same again is nothing to do");
}

#[test]
fn a_package_that_loads_worse_than_promised_is_put_back_and_not_tried_again_until_it_is_pushed() {
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(view(None, 6)), day(1));
    keep(&mut machine, 1, day(1));
    machine.handle(RulesEvent::Desired(Some(order(2))), day(2));
    machine.handle(RulesEvent::Fetched { set: set(2), promise: RulesPromise { sigma: 9, suricata: 0 } }, day(2));
    let back = machine.handle(RulesEvent::Heard(view(Some(day(2)), 8)), day(2));
    assert!(matches!(back.as_slice(), [RulesCommand::Persist(_), RulesCommand::Load(Some(old))] if *old == set(1)));
    let report = machine.report();
    assert_eq!(report.failed.unwrap().build, day(2));
    assert_eq!((report.loading, report.bad), (None, BTreeSet::from([day(2)])));
    machine.handle(RulesEvent::Heard(view(Some(day(1)), 8)), day(2));
    assert_eq!(machine.handle(RulesEvent::Desired(Some(order(2))), day(3)), []);
    let pushed = DesiredRules { push: 1, ..order(2) };
    assert_eq!(machine.handle(RulesEvent::Desired(Some(pushed.clone())), day(3)), [RulesCommand::Fetch(pushed)]);
}

#[test]
fn every_wait_ends_to_the_second() {
    let second = Duration::from_secs(1);
    let policy = RulesPolicy::default();
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(view(None, 6)), day(1));
    machine.handle(RulesEvent::Desired(Some(order(1))), day(1));
    assert_eq!(machine.wakes_at(), Some(day(1) + policy.fetch_deadline));
    assert_eq!(machine.handle(RulesEvent::Tick, day(1) + policy.fetch_deadline - second), []);
    let gave_up = machine.handle(RulesEvent::Tick, day(1) + policy.fetch_deadline);
    assert!(matches!(gave_up.as_slice(), [RulesCommand::AbandonFetch, RulesCommand::Persist(_)]));
    assert_eq!((machine.report().loading, machine.report().failed.unwrap().build), (None, day(1)));
    let again = day(1) + policy.fetch_deadline + policy.fetch_again_after;
    assert_eq!(machine.handle(RulesEvent::Tick, again - second), []);
    assert_eq!(machine.handle(RulesEvent::Tick, again), [RulesCommand::Fetch(order(1))]);
    machine.handle(RulesEvent::Fetched { set: set(1), promise: RulesPromise::default() }, again);
    machine.handle(RulesEvent::Heard(RulesView { loading: Some(day(1)), ..view(None, 6) }), again);
    assert_eq!(machine.handle(RulesEvent::Tick, again + policy.load_deadline - second), []);
    machine.handle(RulesEvent::Tick, again + policy.load_deadline);
    let failed = machine.report().failed.unwrap();
    assert_eq!(failed.reason, "the engines have not loaded it within 10 minutes; it is tried again");
}

#[test]
fn a_sensor_that_cannot_just_now_is_asked_again_and_the_package_is_not_called_bad() {
    let seconds = Duration::from_secs;
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(view(None, 6)), day(1));
    machine.handle(RulesEvent::Desired(Some(order(1))), day(1));
    let promise = RulesPromise { sigma: 2, suricata: 0 };
    let mut begins = day(1);
    // One hour, doubled each time, at most a day.
    for hours in [1, 2, 4, 8, 16, 24, 24] {
        machine.handle(RulesEvent::Fetched { set: set(1), promise }, begins);
        // Asked again after 30 s, 60 s, 120 s and 240 s; the next, after 480 s more, would lie beyond the ten minutes.
        for after in [30, 90, 210, 450] {
            machine.handle(RulesEvent::Heard(view(None, 6)), begins + seconds(after - 1));
            assert_eq!(machine.wakes_at(), Some(begins + seconds(after)));
            let asked = machine.handle(RulesEvent::Tick, begins + seconds(after));
            assert_eq!(asked, [RulesCommand::Load(Some(set(1)))], "{after}");
        }
        assert_eq!(machine.record().trial.as_ref().unwrap().ended, 0, "no process has ended");
        let ends = begins + seconds(600);
        assert_eq!(machine.wakes_at(), Some(ends));
        machine.handle(RulesEvent::Tick, ends);
        let report = machine.report();
        assert_eq!((report.loading, report.failed.unwrap().build, report.bad), (None, day(1), BTreeSet::new()));
        assert_eq!(machine.handle(RulesEvent::Desired(Some(order(1))), ends), []);
        begins = ends + seconds(hours * 3_600);
        assert_eq!(machine.wakes_at(), Some(begins));
        assert_eq!(machine.handle(RulesEvent::Tick, begins), [RulesCommand::Fetch(order(1))]);
    }
    machine.handle(RulesEvent::Fetched { set: set(1), promise }, begins);
    machine.handle(RulesEvent::Heard(view(Some(day(1)), 8)), begins + seconds(31));
    let report = machine.report();
    assert_eq!((report.build, report.failed), (Some(day(1)), None));
    // A person need not wait.
    machine.handle(RulesEvent::Desired(Some(order(2))), begins);
    machine.handle(RulesEvent::Fetched { set: set(2), promise }, begins);
    machine.handle(RulesEvent::Tick, begins + seconds(600));
    let pushed = DesiredRules { push: 1, ..order(2) };
    let fetched = machine.handle(RulesEvent::Desired(Some(pushed.clone())), begins + seconds(601));
    assert!(fetched.contains(&RulesCommand::Fetch(pushed)), "{fetched:?}");
}

#[test]
fn an_engine_that_does_not_come_back_with_a_package_is_a_verdict() {
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(view(None, 6)), day(1));
    machine.handle(RulesEvent::Desired(Some(order(1))), day(1));
    machine.handle(RulesEvent::Fetched { set: set(1), promise: RulesPromise::default() }, day(1));
    let engines = BTreeMap::from([(EngineKind::Sigma, reading(EngineState::NotRunning, 0, 0))]);
    machine.handle(RulesEvent::Heard(RulesView { engines, ..view(Some(day(1)), 0) }), day(1));
    machine.handle(RulesEvent::Tick, day(1) + RulesPolicy::default().load_deadline);
    let report = machine.report();
    assert_eq!(report.bad, BTreeSet::from([day(1)]));
    assert_eq!(report.failed.unwrap().reason, "an engine that ran before has not run with it for 10 minutes");
}

#[test]
fn a_fetch_is_tried_again_after_longer_and_longer_pauses() {
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Desired(Some(order(1))), day(1));
    let failed = || RulesEvent::FetchFailed { build: day(1), reason: "no route".to_owned(), retryable: true };
    let mut now = day(1);
    // 30 s, doubled each time, at most 10 min; the seventh would lie beyond the half hour.
    for pause in [30, 60, 120, 240, 480, 600] {
        assert_eq!(machine.handle(failed(), now), []);
        assert_eq!(machine.wakes_at(), Some(now + Duration::from_secs(pause)));
        now = now + Duration::from_secs(pause);
        assert_eq!(machine.handle(RulesEvent::Tick, now), [RulesCommand::Fetch(order(1))]);
    }
    machine.handle(failed(), now);
    assert_eq!(machine.report().failed.unwrap().reason, "no route");
    assert_eq!(machine.wakes_at(), Some(now + Duration::from_secs(3_600)));
}

#[test]
fn a_build_that_was_pulled_back_makes_room_for_the_one_before_and_no_other_old_one_is_fetched() {
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(view(None, 6)), day(9));
    keep(&mut machine, 1, day(9));
    keep(&mut machine, 3, day(9));
    let back = machine.handle(RulesEvent::Desired(Some(order(1))), day(9));
    assert!(back.contains(&RulesCommand::Point(Some(set(1)))) && back.contains(&RulesCommand::Load(Some(set(1)))));
    assert!(!back.iter().any(|command| matches!(command, RulesCommand::Fetch(_))));
    machine.handle(RulesEvent::Heard(view(Some(day(1)), 8)), day(9));
    // Build 2 was never here and is older than build 3, which was.
    let refused = machine.handle(RulesEvent::Desired(Some(order(2))), day(9));
    assert!(matches!(refused.as_slice(), [RulesCommand::Persist(_)]), "{refused:?}");
    assert!(machine.report().failed.unwrap().reason.contains("older than 2026-01-08T00:00:00Z"));
    // A host that had nothing before goes to the rules of the release.
    let (mut machine, _) = recover_rules(None, &BTreeSet::new(), RulesPolicy::default(), day(9));
    machine.handle(RulesEvent::Heard(view(None, 6)), day(9));
    keep(&mut machine, 3, day(9));
    machine.handle(RulesEvent::Desired(None), day(9));
    assert_eq!((machine.record().in_effect.clone(), machine.record().floor), (None, Some(day(3))));
}

#[test]
fn recovery_follows_from_the_disk_alone() {
    let record = RulesRecord { in_effect: Some(set(2)), previous: Some(set(1)), ..RulesRecord::default() };
    let policy = RulesPolicy::default;
    let whole = BTreeSet::from([set(1).folder(), set(2).folder()]);
    let (same, commands) = recover_rules(Some(record.clone()), &whole, policy(), day(3));
    assert_eq!(same.record(), &record);
    assert_eq!(commands, [RulesCommand::Point(Some(set(2))), RulesCommand::RaiseFloor(set(2))]);
    let (fallen, commands) = recover_rules(Some(record), &BTreeSet::from([set(1).folder()]), policy(), day(3));
    assert_eq!((&fallen.record().in_effect, &fallen.record().previous), (&Some(set(1)), &None));
    assert_eq!(fallen.report().failed.unwrap().build, day(2));
    assert!(matches!(commands.first(), Some(RulesCommand::Persist(_))));
}

fn sensor(number: u128) -> Sensor {
    let (id, workspace) = (SensorId::from_parts(day(0), number), WorkspaceId::from_parts(day(0), 1));
    Sensor::new(id, workspace, format!("DC{number}"), SensorKind::DomainControllerIntegrated, day(0))
}

fn board(builds: &[u64]) -> RulesBoard {
    let mut board = RulesBoard::new(RulesPolicy::default());
    for number in builds {
        let (build, target) = (day(*number), order(*number).target);
        board.insert(RulePackage { build, target, published_at: build, pulled_back_at: None });
    }
    board
}

#[test]
fn an_automatic_sensor_is_offered_the_newest_and_a_manual_one_what_was_pushed() {
    let mut board = board(&[1, 2]);
    let mut sensor = sensor(1);
    let offered = |board: &RulesBoard, sensor: &Sensor| board.desired(sensor, 10).map(|order| order.build);
    assert_eq!(offered(&board, &sensor), Some(day(2)));
    sensor.report.rules.bad.insert(day(2));
    assert_eq!(offered(&board, &sensor), Some(day(1)), "not what was put back there");
    sensor.rules.push(day(2), day(3));
    assert_eq!(board.desired(&sensor, 10).map(|order| (order.build, order.push)), Some((day(2), 1)));
    sensor.report.rules.bad.clear();
    sensor.rules = RulesOrder::default();
    sensor.rules.set_mode(RulesMode::Manual, Some(day(1)), day(3));
    assert_eq!(offered(&board, &sensor), Some(day(1)), "it stays with what it had");
    sensor.rules.push(day(2), day(3));
    assert_eq!(offered(&board, &sensor), Some(day(2)));
    let pulled = board.get(day(2)).cloned().unwrap();
    board.insert(RulePackage { pulled_back_at: Some(day(4)), ..pulled });
    assert_eq!(offered(&board, &sensor), Some(day(1)));
    sensor.report.rules.failed = Some(RulesFailure { build: day(2), reason: String::new(), at: day(3) });
    assert_eq!(board.desired(&sensor, 10).unwrap().withdrawn, Some(day(2)));
}

#[test]
fn a_build_that_failed_on_more_than_two_percent_goes_to_no_further_sensor() {
    // 2 % of 100 are 2, so the third failure stops it; of 49 none, so the first does.
    for (fleet, stops_at) in [(49, 1), (50, 2), (100, 3), (1_000, 21)] {
        let mut board = board(&[1, 2]);
        for number in 1..=stops_at {
            assert!(!board.is_braked(day(2), fleet), "{fleet}: {number}");
            let bad = BTreeSet::from([day(2)]);
            board.note(sensor(number).id, &RulesReport { bad, ..RulesReport::default() });
        }
        assert!(board.is_braked(day(2), fleet), "{fleet}");
        let (fresh, mut has) = (sensor(9_999), sensor(9_998));
        has.report.rules.build = Some(day(2));
        assert_eq!(board.desired(&fresh, fleet).unwrap().build, day(1));
        assert_eq!(board.desired(&has, fleet).unwrap().build, day(2), "who has it keeps it");
        let standing = board.standing(&sensor(9_999), fleet, true, day(9));
        assert_eq!(standing.offered, Some(day(1)));
        board.note(sensor(1).id, &RulesReport::default());
        assert!(!board.is_braked(day(2), fleet), "one of them has got over it");
    }
}

#[test]
fn a_host_that_could_not_fetch_a_build_says_nothing_about_it_and_forgets_it_with_the_order() {
    let mut board = board(&[1, 2]);
    let failure = RulesFailure { build: day(2), reason: "no route".to_owned(), at: day(2) };
    board.note(sensor(1).id, &RulesReport { failed: Some(failure), ..RulesReport::default() });
    assert_eq!((board.failures(day(2)), board.is_braked(day(2), 10)), (0, false));
    // On the host: build 1 cannot be had, and then another one, or none, is wanted.
    for wanted in [Some(order(2)), None] {
        let (mut machine, _) = machine();
        machine.handle(RulesEvent::Desired(Some(order(1))), day(1));
        let failed = RulesEvent::FetchFailed { build: day(1), reason: "gone".to_owned(), retryable: false };
        machine.handle(failed, day(1));
        assert_eq!(machine.report().failed.unwrap().build, day(1));
        machine.handle(RulesEvent::Desired(Some(order(1))), day(2));
        assert!(machine.report().failed.is_some(), "it is still wanted");
        machine.handle(RulesEvent::Desired(wanted), day(2));
        assert_eq!(machine.report().failed, None);
    }
}

#[test]
fn a_status_says_what_the_engines_have_and_why() {
    let board = board(&[1, 2]);
    let mut sensor = sensor(1);
    let status = |sensor: &Sensor, now| {
        let standing = board.standing(sensor, 10, true, now);
        (standing.status.value, standing.status.reason, standing.status.changes_at)
    };
    let hour = Duration::from_secs(3_600);
    let (value, _, changes_at) = status(&sensor, day(2));
    assert_eq!((value, changes_at), (RulesStatus::InProgress, Some(day(2) + hour)));
    assert_eq!(status(&sensor, day(2) + hour).0, RulesStatus::UpdateAvailable, "nothing is in progress for ever");
    sensor.report.rules.loading = Some(day(2));
    assert_eq!(status(&sensor, day(2) + hour).0, RulesStatus::InProgress);
    sensor.report.rules = RulesReport { build: Some(day(2)), ..RulesReport::default() };
    assert_eq!(status(&sensor, day(9)).0, RulesStatus::Ok);
    let failure = RulesFailure { build: day(2), reason: "sigma refused 1 rules".to_owned(), at: day(2) };
    let bad = BTreeSet::from([day(2)]);
    sensor.report.rules = RulesReport { build: Some(day(1)), failed: Some(failure), bad, loading: None };
    let (value, reason, _) = status(&sensor, day(9));
    assert_eq!(value, RulesStatus::Failed);
    assert_eq!(reason, "the package of 2026-01-07T00:00:00Z: sigma refused 1 rules");
    sensor.report.rules = RulesReport { build: Some(day(1)), ..RulesReport::default() };
    sensor.rules.set_mode(RulesMode::Manual, Some(day(1)), day(2));
    assert_eq!(status(&sensor, day(9)).0, RulesStatus::UpdateAvailable);
    let words = [RulesStatus::Ok, RulesStatus::InProgress, RulesStatus::UpdateAvailable, RulesStatus::Failed];
    assert_eq!(words.map(RulesStatus::word), ["ok", "inProgress", "updateAvailable", "failed"]);
}

/// The next updater of a host, and what it asks a sensor that says this.
fn next_updater(before: &RulesMachine, number: u64, says: RulesView) -> (RulesMachine, Vec<RulesCommand>) {
    let whole = BTreeSet::from([set(number).folder()]);
    let (mut machine, _) = recover_rules(Some(before.record().clone()), &whole, RulesPolicy::default(), day(1));
    let commands = machine.handle(RulesEvent::Heard(says), day(1));
    (machine, commands)
}

fn asks_for(commands: &[RulesCommand], number: u64) -> bool {
    commands.contains(&RulesCommand::Load(Some(set(number))))
}

/// A host whose sensor, in its first run, was just asked to load a package.
fn handed(number: u64) -> RulesMachine {
    let (mut machine, _) = machine();
    machine.handle(RulesEvent::Heard(RulesView { run: 1, ..view(None, 6) }), day(1));
    machine.handle(RulesEvent::Desired(Some(order(number))), day(1));
    let promise = RulesPromise { sigma: 2, suricata: 0 };
    let commands = machine.handle(RulesEvent::Fetched { set: set(number), promise }, day(1));
    assert!(asks_for(&commands, number), "{commands:?}");
    machine
}

#[test]
fn an_updater_that_ends_again_and_again_makes_no_package_bad() {
    let mut machine = handed(2);
    for loading in [None, None, None, None, Some(day(2)), Some(day(2)), Some(day(2)), Some(day(2))] {
        let says = RulesView { run: 1, loading, ..view(None, 6) };
        let commands;
        (machine, commands) = next_updater(&machine, 2, says);
        assert_eq!(asks_for(&commands, 2), loading.is_none(), "{commands:?}");
    }
    let trial = machine.record().trial.clone().unwrap();
    assert_eq!((trial.ended, machine.record().bad.len()), (0, 0));
    // In the end it is judged as ever.
    machine.handle(RulesEvent::Heard(RulesView { run: 1, ..view(Some(day(2)), 8) }), day(1));
    assert_eq!(machine.record().in_effect, Some(set(2)));
}

#[test]
fn a_package_that_ends_three_sensors_is_bad_whoever_ends_with_them() {
    // Beside the sensor: nobody, or the updater, too, so that it never hears of the end; or now the one, now the other.
    for with_updater in [[false; 3], [true; 3], [false, true, false], [true, false, true]] {
        let mut machine = handed(2);
        for (run, with_updater) in (2..).zip(with_updater) {
            assert!(machine.record().trial.is_some(), "run {run}: two sensors are not three");
            let says = RulesView { run, ..view(None, 6) };
            let commands = if with_updater {
                let commands;
                (machine, commands) = next_updater(&machine, 2, says);
                commands
            } else {
                machine.handle(RulesEvent::SensorGone, day(1));
                machine.handle(RulesEvent::Heard(says), day(1))
            };
            assert_eq!(asks_for(&commands, 2), run < 4, "{commands:?}");
        }
        let report = machine.report();
        assert_eq!((machine.record().trial.clone(), report.bad), (None, BTreeSet::from([day(2)])));
        assert_eq!(report.failed.unwrap().reason, "the sensor ended 3 times while it loaded this package");
    }
}

#[test]
fn a_sensor_that_ends_before_it_was_asked_says_nothing_about_a_package() {
    let mut machine = handed(2);
    // Only the first was asked; those after it end before they have said anything.
    for _ in 0..5 {
        machine.handle(RulesEvent::SensorGone, day(1));
        assert_eq!(machine.record().trial.as_ref().unwrap().ended, 1);
    }
}
