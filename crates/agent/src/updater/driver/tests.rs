//! What becomes of everything the sensor was asked when it is stopped on purpose.

use std::time::Duration;

use watchpost_core::content::{DesiredRules, RulesPromise, RulesSet, rules_file_name};
use watchpost_core::facts::{EngineFacts, EngineKind, InterfaceFacts};
use watchpost_core::policy::RulesPolicy;
use watchpost_package::Sha256Hex;

use super::*;
use crate::host::disk::Disk;
use crate::identity::Identity;
use crate::transport::{Client, Timeouts};
use crate::updater::tests::host::{START, installed, release, version};

/// A driver whose sensor says nothing, and whose control plane is not there.
async fn driver(root: &std::path::Path) -> Driver {
    let layout = installed(root, 254, "#!/bin/sh\nexec sleep 600\n");
    let identity = Identity::generate(START).unwrap();
    let client = Client::new("[::1]:1", [[0; 32].into()].into(), &identity, Timeouts::default()).unwrap();
    let installation = Installation::new(&layout, Disk::default());
    let supervisor =
        Supervisor::new(layout.clone(), Vec::new(), mpsc::channel(64).0, tokio::sync::watch::Sender::new(None));
    let anchor = Sha256Hex::of(b"");
    let preparer = Preparer::new(client.clone(), layout.clone(), installation.versions.clone(), anchor);
    let courier = Courier::new(client, mpsc::channel(1).0);
    let rules = Rules::open(&layout, Disk::default(), &preparer, mpsc::channel(1).0, START).unwrap();
    let (prepared, clock) = (mpsc::channel(64).0, Clock::fixed(START));
    Driver::open(installation, supervisor, preparer, prepared, courier, rules, clock).await.unwrap()
}

fn saying() -> SensorStatus {
    let mut status = SensorStatus { ready: true, ..SensorStatus::starting(version(254), 1) };
    let engine = EngineFacts {
        state: EngineState::Running,
        since: START,
        reason: String::new(),
        rules_loaded: 6,
        rules_failed: 0,
        rules_superseded: 0,
        complaints: Vec::new(),
        events_lost_since: None,
    };
    status.facts.engines.insert(EngineKind::Sigma, engine);
    status.measurements.evidence_waiting = 3;
    status
}

async fn say(driver: &mut Driver, status: SensorStatus) {
    let news = News::Status(Box::new(status));
    let heard = Heard { turn: driver.sensor_turn(), release: release(254), news };
    driver.heard(heard).await.unwrap();
}

#[tokio::test]
async fn a_sensor_that_is_stopped_on_purpose_is_waited_for_no_more() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path()).await;
    say(&mut driver, saying()).await;
    assert_eq!(driver.courier.waiting(3), None, "it was asked for a batch");
    // A rule package is handed over just before a switch.
    let set = RulesSet { build: START, sha256: "0".repeat(64) };
    let target = TargetRef { name: rules_file_name(START), sha256: set.sha256.clone(), length: 9 };
    let order = DesiredRules { build: START, target, push: 0, withdrawn: None };
    driver.rules.desired(Some(order), START, START).unwrap();
    driver.rules_fetched(RulesEvent::Fetched { set, promise: RulesPromise::default() }).unwrap();
    let deadline = START + RulesPolicy::default().load_deadline;
    assert!(driver.rules.wakes_at().is_some_and(|at| at <= deadline), "it waits for the load");

    driver.act(Command::StopSensor).await.unwrap();
    let report = driver.report();
    assert_eq!(report.facts.engines[&EngineKind::Sigma].state, EngineState::NotRunning);
    assert_eq!(driver.measurements().evidence_waiting, 0);
    assert_eq!(driver.rules.wakes_at(), None);
    driver.rules.tick(deadline + Duration::from_secs(1)).unwrap();
    assert_eq!(driver.rules.report().failed, None, "the package was not put back");
    assert_eq!(driver.courier.waiting(3), Some(Ask::Evidence), "the next sensor is asked for the batch");
    driver.shut_down().await;
}

#[tokio::test]
async fn a_host_with_a_thousand_interfaces_can_check_in() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path()).await;
    let mut status = saying();
    for number in 0..1_000 {
        status.facts.interfaces.insert(format!("eth{number}"), InterfaceFacts::default());
    }
    say(&mut driver, status).await;
    let text = serde_json::to_string(&driver.report().facts).unwrap();
    assert!(text.len() <= watchpost_core::facts::MAX_FACTS_BYTES, "{} bytes", text.len());
    driver.shut_down().await;
}
