//! Every rule: what opens it, what closes it, and its limit to the second.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::catalogue::{Catalogue, Release, ReleaseKind};
use crate::health::{Issue, catalogue};
use crate::id::{SensorId, WorkspaceId};
use crate::identity::Certificate;
use crate::policy::Policy;
use crate::rollout::Failure;
use crate::sensor::SensorKind;
use crate::sync::{Report, ServiceState};
use crate::version::Version;

const DC: SensorKind = SensorKind::DomainControllerIntegrated;
const OT: SensorKind = SensorKind::OtCloudConnected;
/// 2026-01-05T00:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const V2: Version = Version::new(2, 254, 1, 0);
const V3: Version = Version::new(3, 0, 7, 0);

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START.millis() + seconds * 1_000)
}

/// A sensor that checked in at `seconds` with these facts.
fn sensor(kind: SensorKind, version: Version, facts: &Value, seconds: i64) -> Sensor {
    let (id, workspace) = (SensorId::from_parts(START, 1), WorkspaceId::from_parts(START, 1));
    let mut sensor = Sensor::new(id, workspace, "S1".to_owned(), kind, START);
    say(&mut sensor, version, facts, seconds);
    sensor
}

fn say(sensor: &mut Sensor, version: Version, facts: &Value, seconds: i64) {
    let report = Report {
        version: Some(version),
        service: ServiceState::Running,
        pulled_configuration: true,
        facts: serde_json::from_value(facts.clone()).unwrap(),
        ..Report::default()
    };
    sensor.checked_in(report, after(seconds));
}

/// What is open after a look at `seconds`, in words.
fn open(sensor: &mut Sensor, seconds: i64) -> Vec<&'static str> {
    open_with(sensor, &Catalogue::default(), seconds)
}

fn open_with(sensor: &mut Sensor, catalogue: &Catalogue, seconds: i64) -> Vec<&'static str> {
    let policy = Policy::default();
    review(sensor, &Context { policy: &policy, catalogue, ready_at: None, now: after(seconds) });
    sensor.issues.iter().filter(|(_, issue)| issue.is_open()).map(|(kind, _)| kind.word()).collect()
}

fn wakes(sensor: &Sensor, seconds: i64) -> Option<Timestamp> {
    let (policy, catalogue) = (Policy::default(), Catalogue::default());
    next_change(sensor, &Context { policy: &policy, catalogue: &catalogue, ready_at: None, now: after(seconds) })
}

/// Facts of a host that observes, and did not look at anything of interest.
fn nothing_looked_at() -> Value {
    json!({ "host": { "system": { "id": "nixos", "version": "24.05" } } })
}

/// What facts open at once on a sensor that has just been heard of.
fn opened_by(kind: SensorKind, version: Version, facts: &Value) -> Vec<&'static str> {
    open(&mut sensor(kind, version, facts, 0), 0)
}

fn at(seconds: i64) -> String {
    after(seconds).to_string()
}

fn interface(up: bool, silent_since: Option<i64>) -> Value {
    json!({ "selected": true, "present": true, "up": up, "silentSince": silent_since.map(at) })
}

#[test]
fn facts_that_hold_at_once_open_their_issue_and_a_report_without_them_closes_it() {
    let engine = |state: &str| json!({ "engines": { "suricata": { "state": state, "since": at(-1), "reason": "x" } } });
    let refused = json!({ "engines": { "sigma":
        { "state": "running", "since": at(-1), "rulesLoaded": 5, "rulesFailed": 1, "complaints": ["bad.yml"] } } });
    for (word, facts) in [
        ("engineNotRunning", engine("notRunning")),
        ("engineStartFailed", engine("startFailed")),
        ("rulesFailed", refused),
        ("auditLogUnreadable", json!({ "events": { "unreadableSince": at(-1) } })),
        ("someEventsNotAnalyzed", json!({ "events": { "droppingSince": at(-1) } })),
        ("captureInterfacesUnavailable", json!({ "interfaces": { "eth1": interface(false, None) } })),
        (
            "someNetworkTrafficNotAnalyzed",
            json!({ "interfaces": { "eth1":
            { "selected": true, "present": true, "up": true, "losingSince": at(-1) } } }),
        ),
        (
            "someNetworkTrafficNotAnalyzed",
            json!({ "engines": { "suricata": { "state": "running", "since": at(-9), "eventsLostSince": at(-1) } } }),
        ),
        ("diskLow", json!({ "host": { "diskLowSince": at(-1) } })),
        ("processorLimitReached", json!({ "host": { "processorShortSince": at(-1) } })),
        ("customLogPathFailed", json!({ "host": { "logPathFailsSince": at(-1) } })),
        ("settingsRefused", json!({ "host": { "settingsRefused": "there is no eth9" } })),
        ("evidenceNotWritten", json!({ "host": { "evidenceFailsSince": at(-1) } })),
    ] {
        let mut sensor = sensor(DC, V2, &facts, 0);
        assert_eq!(open(&mut sensor, 0), [word]);
        say(&mut sensor, V2, &json!({ "host": {} }), 60);
        assert_eq!(open(&mut sensor, 60), Vec::<&str>::new(), "{word} closes");
    }
}

#[test]
fn limits_are_exact_to_the_second() {
    let silent = |since| json!({ "interfaces": { "eth1": interface(true, Some(since)) } });
    let starting = json!({ "engines": { "suricata": { "state": "starting", "since": at(0) } } });
    for (word, kind, facts, limit) in [
        ("noTrafficFromDomainController", DC, silent(0), 10 * 60),
        ("noTrafficDetected", OT, silent(0), 10 * 60),
        ("auditLogSilent", DC, json!({ "events": { "silentSince": at(0) } }), 30 * 60),
        ("engineNotRunning", DC, starting, 5 * 60),
        ("memoryLimitReached", DC, json!({ "host": { "memoryShortSince": at(0) } }), 30),
        ("sensorOverloaded", OT, json!({ "host": { "memoryShortSince": at(0) } }), 30),
    ] {
        let mut sensor = sensor(kind, V2, &facts, limit - 1);
        assert_eq!(open(&mut sensor, limit - 1), Vec::<&str>::new(), "{word} one second before");
        assert_eq!(wakes(&sensor, limit - 1), Some(after(limit)), "{word} is looked at in time");
        assert_eq!(open(&mut sensor, limit), [word]);
        assert_eq!(open(&mut sensor, limit + 1), [word]);
    }
}

#[test]
fn an_engine_that_is_only_started_again_keeps_its_issue_until_it_answers() {
    let engine = |state: &str, since| json!({ "engines": { "suricata": { "state": state, "since": at(since) } } });
    for (state, word) in [("notRunning", "engineNotRunning"), ("startFailed", "engineStartFailed")] {
        let mut sensor = sensor(DC, V2, &engine(state, 0), 0);
        assert_eq!(open(&mut sensor, 0), [word]);
        say(&mut sensor, V2, &engine("starting", 60), 60);
        assert_eq!(open(&mut sensor, 60), [word], "a start is no answer");
        say(&mut sensor, V2, &engine("running", 61), 61);
        assert_eq!(open(&mut sensor, 61), Vec::<&str>::new());
    }
    let mut fresh = sensor(DC, V2, &engine("starting", 0), 0);
    assert_eq!(open(&mut fresh, 1), Vec::<&str>::new(), "a first start opens nothing");
}

#[test]
fn losses_of_the_engine_and_of_the_kernel_are_told_apart() {
    let facts =
        json!({ "engines": { "suricata": { "state": "running", "since": at(-9), "eventsLostSince": at(-1) } } });
    let mut sensor = sensor(OT, V2, &facts, 0);
    open(&mut sensor, 0);
    let reason = &sensor.issues[&IssueType::SomeNetworkTrafficNotAnalyzed].reason;
    assert!(reason.starts_with("what suricata said of the traffic is lost or not understood since"), "{reason}");
}

#[test]
fn silence_opens_at_five_minutes_and_old_facts_then_change_nothing() {
    for (kind, word) in [(DC, "sensorStoppedCommunicating"), (OT, "networkDisconnected")] {
        // Silent for 4 minutes at the last contact: 10 minutes would be over at 360 s, a minute after it fell silent.
        let facts = json!({ "interfaces": { "eth1": interface(true, Some(-240)) }, "host": { "diskLowSince": at(0) } });
        let mut sensor = sensor(kind, V2, &facts, 0);
        assert_eq!(open(&mut sensor, 299), ["diskLow"]);
        assert_eq!(wakes(&sensor, 299), Some(after(300)));
        let mut wanted = vec!["diskLow", word];
        wanted.sort_by_key(|word| IssueType::from_word(word));
        for seconds in [300, 301, 360, 361, 86_400] {
            assert_eq!(open(&mut sensor, seconds), wanted, "at {seconds}");
        }
        say(&mut sensor, V2, &facts, 86_400);
        let wanted: BTreeSet<_> = open(&mut sensor, 86_400).into_iter().collect();
        assert!(!wanted.contains(word) && wanted.len() == 2, "heard again, and silent for long: {wanted:?}");
    }
}

#[test]
fn more_than_thirty_minutes_without_a_pull_open_and_disconnecting_closes() {
    let mut sensor = sensor(DC, V2, &json!({}), 0);
    sensor.last_contact = Some(after(1_700));
    assert_eq!(open(&mut sensor, 1_800), Vec::<&str>::new());
    assert_eq!(wakes(&sensor, 1_800), Some(Timestamp::from_millis(after(1_800).millis() + 1)));
    assert_eq!(open(&mut sensor, 1_801), ["sensorServiceFailedToStart"]);
    assert_eq!(open(&mut sensor, 1_700 + 599), ["sensorServiceFailedToStart", "sensorStoppedCommunicating"]);
    assert_eq!(wakes(&sensor, 1_700 + 599), Some(after(1_700 + 600)));
    assert_eq!(open(&mut sensor, 1_700 + 600), ["sensorStoppedCommunicating"]);
}

#[test]
fn one_silent_interface_among_others_is_an_issue_of_its_own() {
    let facts = json!({ "interfaces": { "eth1": interface(true, Some(-600)), "eth2": interface(true, None) } });
    assert_eq!(opened_by(OT, V2, &facts), ["interfaceSilent"]);
    // The other is down: what is left is silent, so nothing is seen at all.
    let facts = json!({ "interfaces": { "eth1": interface(true, Some(-600)), "eth2": interface(false, None) } });
    let mut sensor = sensor(OT, V2, &facts, 0);
    assert_eq!(open(&mut sensor, 0), ["captureInterfaceDown", "noTrafficDetected"]);
    let reason = &sensor.issues[&IssueType::CaptureInterfaceDown].reason;
    assert_eq!(reason, "some of the 2 selected: eth2 is down or has no link");
    // An interface that nobody selected concerns nobody.
    assert_eq!(opened_by(OT, V2, &json!({ "interfaces": { "eth3": { "present": true } } })), Vec::<&str>::new());
    let gone = json!({ "interfaces": { "eth1": { "selected": true } } });
    assert_eq!(opened_by(DC, V2, &gone), ["captureInterfacesUnavailable"]);
}

#[test]
fn name_resolution_opens_above_ninety_percent_and_stays_when_nobody_looks() {
    let names = |failures| json!({ "nameResolution": { "attempts": 100, "failures": failures } });
    assert_eq!(opened_by(DC, V2, &names(90)), Vec::<&str>::new());
    let mut sensor = sensor(DC, V2, &names(91), 0);
    assert_eq!(open(&mut sensor, 0), ["lowNameResolutionSuccess"]);
    say(&mut sensor, V2, &nothing_looked_at(), 60);
    assert_eq!(open(&mut sensor, 60), ["lowNameResolutionSuccess"], "nobody looked");
    say(&mut sensor, V2, &json!({ "nameResolution": { "attempts": 0, "failures": 0 } }), 120);
    assert_eq!(open(&mut sensor, 120), ["lowNameResolutionSuccess"], "nobody asked");
    say(&mut sensor, V2, &names(90), 180);
    assert_eq!(open(&mut sensor, 180), Vec::<&str>::new());
    assert_eq!(opened_by(OT, V2, &names(100)), Vec::<&str>::new(), "a type of identity sensors");
}

#[test]
fn a_clock_may_be_off_by_five_minutes() {
    for (seconds, is_open) in [(300, false), (301, true), (-300, false), (-301, true), (i64::MIN, true)] {
        let opened = opened_by(DC, V2, &json!({ "host": { "clockAheadSeconds": seconds } }));
        assert_eq!(opened == ["clockSkew"], is_open, "{seconds}: {opened:?}");
    }
}

#[test]
fn an_operating_system_is_announced_180_days_before_its_end() {
    // Debian 11 is supported through 2026-08-31: unsupported from 239 days after the start, announced from 59 days on.
    let facts = json!({ "host": { "system": { "id": "debian", "version": "11" } } });
    let day = 86_400;
    for (seconds, word) in [
        (59 * day - 1, None),
        (59 * day, Some("operatingSystemSoonUnsupported")),
        (239 * day - 1, Some("operatingSystemSoonUnsupported")),
        (239 * day, Some("operatingSystemUnsupported")),
    ] {
        let mut sensor = sensor(DC, V2, &facts, seconds);
        assert_eq!(open(&mut sensor, seconds), word.into_iter().collect::<Vec<_>>(), "at {seconds}");
    }
    let mut v3 = sensor(DC, V3, &facts, 59 * day);
    assert_eq!(open(&mut v3, 59 * day), Vec::<&str>::new(), "announced to generation 2 alone");
    let other = json!({ "host": { "system": { "id": "nixos", "version": "24.05" } } });
    assert_eq!(opened_by(DC, V2, &other), Vec::<&str>::new(), "a system nobody listed is not judged");
}

#[test]
fn a_sensor_process_that_is_down_closes_nothing_and_settings_do() {
    let facts = json!({ "engines": { "suricata": { "state": "notRunning", "since": at(-1), "reason": "x" } } });
    let mut sensor = sensor(DC, V2, &facts, 0);
    assert_eq!(open(&mut sensor, 0), ["engineNotRunning"]);
    say(&mut sensor, V2, &nothing_looked_at(), 60);
    sensor.report.service = ServiceState::Stopped;
    assert_eq!(open(&mut sensor, 60), ["engineNotRunning"], "nobody can look");
    sensor.report.service = ServiceState::Running;
    assert_eq!(open(&mut sensor, 61), Vec::<&str>::new(), "the settings ask for it no longer");
}

#[test]
fn the_door_opens_closes_and_leaves_alone_what_was_not_looked_at() {
    let wrong = json!({ "problems": ["it is wrong"] });
    for (field, word, kind, version) in [
        ("vmwareOffload", "networkOffloadMisconfigured", DC, V2),
        ("etwEvents", "someEtwEventsNotAnalyzed", DC, V2),
        ("ntlmAuditing", "ntlmAuditingDisabled", DC, V3),
        ("advancedAuditing", "advancedAuditingIncomplete", DC, V2),
        ("adcsAuditing", "adcsAuditingIncomplete", SensorKind::AdcsIntegrated, V2),
        ("powerMode", "powerModeNotOptimal", DC, V2),
        ("entraConnect", "entraConnectConfigurationUnreadable", SensorKind::AdConnectIntegrated, V2),
        ("rpcAudit", "rpcAuditMisconfigured", DC, V3),
        ("auditingReverted", "auditingRepeatedlyReverted", DC, V3),
        ("unreachableDomainControllers", "domainControllerUnreachable", DC, V2),
        ("backup", "backupFailed", OT, V2),
        ("sanity", "sanityFailed", OT, V2),
    ] {
        let mut sensor = sensor(kind, version, &json!({ "door": { field: wrong } }), 0);
        assert_eq!(open(&mut sensor, 0), [word], "{field}");
        assert_eq!(sensor.issues[&IssueType::from_word(word).unwrap()].details, ["it is wrong"]);
        say(&mut sensor, version, &nothing_looked_at(), 60);
        assert_eq!(open(&mut sensor, 60), [word], "{field} was not looked at");
        say(&mut sensor, version, &json!({ "door": { field: {} } }), 120);
        assert_eq!(open(&mut sensor, 120), Vec::<&str>::new(), "{field} is all right");
    }
    let since = json!({ "door": { "overloaded": { "since": at(-60) } } });
    assert_eq!(opened_by(OT, V2, &since), ["sensorOverloaded"]);
    let path = json!({ "door": { "customLogPath": { "problems": ["E:\\logs is gone"] } } });
    assert_eq!(opened_by(DC, V2, &path), ["customLogPathFailed"]);
}

#[test]
fn packet_drivers_and_endpoints_say_which_and_how() {
    let driver = |kind: &str, version: &str, problems: &[&str]| json!({ "door": { "packetDriver": { "kind": kind, "version": version, "problems": problems } } });
    assert_eq!(opened_by(DC, V2, &driver("winpcap", "4.1.3", &[])), ["captureDriverWinPcap"]);
    assert_eq!(opened_by(DC, V2, &driver("npcap", "0.9995", &[])), ["captureDriverTooOld"]);
    assert_eq!(opened_by(DC, V2, &driver("npcap", "1.00", &[])), Vec::<&str>::new());
    assert_eq!(opened_by(DC, V2, &driver("npcap", "1.79", &["loopback is on"])), ["captureDriverMisconfigured"]);
    let endpoints =
        json!([{ "name": "a:443", "failure": "certificate" }, { "name": "b", "failure": "proxyCredentialsNeeded" }]);
    let mut sensor = sensor(OT, V2, &json!({ "door": { "endpoints": endpoints } }), 0);
    assert_eq!(open(&mut sensor, 0), ["partiallyConnected"]);
    let details = &sensor.issues[&IssueType::PartiallyConnected].details;
    assert_eq!(details, &["a:443: its certificate is not trusted", "b: the proxy wants other credentials"]);
}

#[test]
fn updates_of_network_sensors_have_messages_of_their_own() {
    let failure = |reverted| Failure { version: V2, reverted, is_of_updater: false, reason: "x".to_owned(), at: START };
    for (kind, reverted, word) in [
        (DC, true, "sensorOutdated"),
        (DC, false, "sensorOutdated"),
        (OT, true, "updateInstallFailed"),
        (OT, false, "updateSendFailed"),
    ] {
        let mut sensor = sensor(kind, V2, &json!({}), 0);
        sensor.update.failures.insert(V2, failure(reverted));
        assert_eq!(open(&mut sensor, 0), [word]);
        sensor.update.failures.clear();
        assert_eq!(open(&mut sensor, 0), Vec::<&str>::new());
    }
    let mut catalogue = Catalogue::default();
    for minor in 254..=257 {
        let version = Version::new(2, minor, 1, 0);
        let published_at = after(i64::from(minor));
        let kind = ReleaseKind::Minor;
        catalogue.insert(Release {
            version,
            kind,
            published_at,
            pulled_back_at: None,
            minimum_base: None,
            restart: crate::restart::RestartNeed::None,
            systems: Vec::new(),
            target: None,
        });
    }
    let mut behind = sensor(OT, V2, &json!({}), 250);
    assert_eq!(open_with(&mut behind, &catalogue, 256), Vec::<&str>::new(), "two behind");
    assert_eq!(open_with(&mut behind, &catalogue, 257), ["sensorOutdated"]);
}

#[test]
fn a_rule_package_that_was_put_back_stands_until_another_is_loaded() {
    let mut sensor = sensor(DC, V2, &json!({}), 0);
    let failed = crate::content::RulesFailure { build: after(-10), reason: "3 of 50 rules failed".into(), at: START };
    sensor.report.rules.failed = Some(failed);
    assert_eq!(open(&mut sensor, 0), ["rulePackageFailed"]);
    sensor.report.rules.build = Some(after(-20));
    assert_eq!(open(&mut sensor, 0), ["rulePackageFailed"], "an older one runs, as before");
    sensor.report.rules.build = Some(after(-5));
    assert_eq!(open(&mut sensor, 0), Vec::<&str>::new());
}

#[test]
fn a_rule_package_that_failed_is_of_the_past_once_a_person_has_another_one_loaded_instead() {
    use crate::content::RulesMode;
    let mut sensor = sensor(DC, V2, &json!({}), 0);
    let failed = crate::content::RulesFailure { build: after(-10), reason: "3 of 50 rules failed".into(), at: START };
    (sensor.report.rules.failed, sensor.report.rules.build) = (Some(failed), Some(after(-30)));
    sensor.rules.set_mode(RulesMode::Manual, Some(after(-10)), START);
    assert_eq!(open(&mut sensor, 0), ["rulePackageFailed"], "the one that failed is the one that is ordered");
    sensor.rules.push(after(-20), START);
    assert_eq!(open(&mut sensor, 0), ["rulePackageFailed"], "the one that is ordered is not loaded");
    sensor.report.rules.build = Some(after(-20));
    assert_eq!(open(&mut sensor, 0), Vec::<&str>::new());
    // Pulled back: the host has forgotten it.
    sensor.rules.set_mode(RulesMode::Automatic, None, START);
    assert_eq!(open(&mut sensor, 0), ["rulePackageFailed"]);
    sensor.report.rules.failed = None;
    assert_eq!(open(&mut sensor, 0), Vec::<&str>::new());
}

#[test]
fn late_check_ins_of_a_network_sensor_are_unstable_traffic() {
    let policy = Policy::default();
    let mut sensor = sensor(OT, V2, &json!({}), 0);
    for back in [120, 240, 360] {
        sensor.contacts.heard(after(back - 120), after(back), &policy);
        sensor.last_contact = Some(after(back));
    }
    assert_eq!(open(&mut sensor, 360), ["unstableTraffic"]);
    sensor.last_contact = Some(after(1_000));
    assert_eq!(wakes(&sensor, 1_019), Some(after(1_020)), "15 minutes after the first return");
    assert_eq!(open(&mut sensor, 1_019), ["unstableTraffic"]);
    assert_eq!(open(&mut sensor, 1_020), Vec::<&str>::new());
    sensor.kind = DC;
    assert_eq!(open(&mut sensor, 360), Vec::<&str>::new(), "a message of network sensors");
}

#[test]
fn a_suppression_that_ends_while_nobody_looks_opens_again() {
    let names = json!({ "nameResolution": { "attempts": 10, "failures": 10 } });
    let mut sensor = sensor(DC, V2, &names, 0);
    assert_eq!(open(&mut sensor, 0), ["lowNameResolutionSuccess"]);
    sensor.issues.get_mut(&IssueType::LowNameResolutionSuccess).unwrap().suppress(after(100), after(1));
    say(&mut sensor, V2, &nothing_looked_at(), 60);
    assert_eq!(open(&mut sensor, 99), Vec::<&str>::new());
    assert_eq!(open(&mut sensor, 100), ["lowNameResolutionSuccess"]);
}

#[test]
fn a_host_cannot_claim_what_is_not_of_a_sensor() {
    let mut sensor = sensor(DC, V2, &json!({}), 0);
    for word in ["directoryCredentialsIncorrect", "serverDiskLow", "nonsense", "memoryLimitReached"] {
        sensor.report.conditions.insert(word.to_owned());
    }
    assert_eq!(open(&mut sensor, 0), ["memoryLimitReached"]);
}

#[test]
fn texts_of_hosts_are_cut_and_become_one_line() {
    let long = "a\nb\u{1b}".repeat(1_000);
    let mut sensor = sensor(DC, V2, &json!({ "host": { "settingsRefused": long } }), 0);
    open(&mut sensor, 0);
    let reason = &sensor.issues[&IssueType::SettingsRefused].reason;
    assert!(reason.chars().count() <= 300 && !reason.contains(['\n', '\u{1b}']), "{reason}");
}

#[test]
fn what_counts_as_healthy_makes_nobody_less_healthy() {
    let mut sensor = sensor(OT, V2, &json!({}), 0);
    let issue = Issue {
        status: IssueStatus::Open,
        opened_at: START,
        changed_at: START,
        reason: String::new(),
        details: Vec::new(),
        hold: crate::health::Hold::None,
    };
    sensor.issues.insert(IssueType::PendingActivation, issue.clone());
    assert_eq!(crate::health::health_status(&sensor), crate::health::HealthStatus::Healthy);
    sensor.issues.insert(IssueType::UnstableTraffic, issue);
    assert_eq!(crate::health::health_status(&sensor), crate::health::HealthStatus::NotHealthyMedium);
}

#[test]
fn every_type_that_is_said_to_come_through_the_door_names_a_field_of_it() {
    let known = "vmwareOffload packetDriver etwEvents ntlmAuditing advancedAuditing adcsAuditing objectAuditing \
        configurationContainerAuditing adfsContainerAuditing powerMode radiusAccounting entraConnect rpcAudit \
        auditingReverted unreachableDomainControllers customLogPath backup sanity overloaded endpoints";
    for entry in catalogue::entries() {
        if let catalogue::Measured::Door(field) = entry.measured {
            let field = field.split('.').next().unwrap();
            assert!(known.split_whitespace().any(|name| name == field), "{}: {field}", entry.word);
        }
    }
}

#[test]
fn a_certificate_that_was_not_renewed_is_told_from_less_than_21_days_before_its_end() {
    const DAY: i64 = 86_400;
    let mut seen = sensor(DC, V2, &json!({}), 700 * DAY);
    seen.certificate = Certificate { expires_at: Some(after(730 * DAY)), ordered_at: None };
    let mut open_at = |seconds: i64| {
        say(&mut seen, V2, &json!({}), seconds);
        open(&mut seen, seconds)
    };
    assert!(open_at(709 * DAY).is_empty(), "21 days are not less than 21 days");
    assert_eq!(open_at(709 * DAY + 1), ["certificateExpiring"]);
    assert_eq!(open_at(730 * DAY - 1), ["certificateExpiring"]);
    assert_eq!(open_at(730 * DAY), ["certificateExpired"]);
    seen.certificate.expires_at = Some(after(1460 * DAY));
    assert!(open(&mut seen, 730 * DAY).is_empty(), "it was renewed");
    seen.certificate.expires_at = None;
    assert!(open(&mut seen, 730 * DAY).is_empty(), "nobody knows");
}
