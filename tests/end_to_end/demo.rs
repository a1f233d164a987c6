//! The README's first command, and what a stranger checks about it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use watchpost_tests::demo::{Demo, version_on_disk, word};
use watchpost_tests::tools;

const OLD: &str = "2.254.1.0";
const NEW: &str = "2.255.1.0";

/// Seconds between two instants of the timeline, as `date` reads them.
fn seconds(at: &str) -> i64 {
    let out = tools::run(Command::new("date").args(["-u", "+%s", "-d", at]), "apt-get install coreutils").unwrap();
    out.trim().parse().unwrap()
}

fn at<'a>(timeline: &'a [Value], sensor: &str, event: &str) -> Option<&'a str> {
    timeline.iter().find(|e| word(e, "sensor") == sensor && word(e, "event") == event).map(|e| word(e, "at"))
}

#[test]
fn a_release_reaches_five_real_sensors_one_after_another() {
    let mut demo = Demo::start(&["--exit-when-done"]).unwrap();
    let result = demo.result().unwrap();
    let hosts = result["sensors"].as_array().unwrap().clone();
    let timeline = result["timeline"].as_array().unwrap().clone();

    let by_name = |name: &str| hosts.iter().find(|s| word(s, "name") == name).unwrap();
    for name in ["DC01", "DC02", "DC04", "DC05"] {
        assert_eq!(word(by_name(name), "version"), NEW, "{name}");
        assert_eq!(word(by_name(name), "sensorStatus"), "upToDate", "{name}");
        assert_eq!(word(by_name(name), "serviceStatus"), "running", "{name}");
        assert_eq!(word(by_name(name), "healthStatus"), "healthy", "{name}");
        assert_eq!(version_on_disk(Path::new(word(by_name(name), "stateDir"))).unwrap(), NEW, "{name}");
    }
    let broken = by_name("DC03");
    assert_eq!(word(broken, "version"), OLD);
    assert_eq!(word(broken, "sensorStatus"), "updateFailed");
    assert_eq!(word(broken, "serviceStatus"), "running");
    assert_eq!(word(broken, "healthStatus"), "notHealthyMedium");
    assert_eq!(broken["openHealthIssues"], serde_json::json!(["sensorOutdated"]));
    assert_eq!(version_on_disk(Path::new(word(broken, "stateDir"))).unwrap(), OLD);

    let rollout = &result["rollout"];
    assert_eq!(
        (
            word(rollout, "version"),
            word(rollout, "state"),
            &rollout["cleared"],
            &rollout["failed"],
            &rollout["peakInFlight"]
        ),
        (NEW, "completed", &4.into(), &1.into(), &1.into())
    );

    one_at_a_time(&timeline);
    let published = at(&timeline, "", "planned").expect("the rollout says when its release was published");
    let delayed = at(&timeline, "DC05", "started").expect("the delayed one was started");
    assert!(seconds(delayed) - seconds(published) >= 72 * 3600, "{published} … {delayed}");
    assert!(at(&timeline, "DC03", "reverted").is_some(), "{timeline:?}");

    anyone_can_check(&result);
    let (code, rest) = demo.end().unwrap();
    assert_eq!((code, rest.trim()), (Some(0), ""), "one JSON object, exit 0");
}

/// Between a sensor's start and its end no other sensor starts.
fn one_at_a_time(timeline: &[Value]) {
    let mut in_flight: Option<&str> = None;
    for event in timeline {
        let sensor = word(event, "sensor");
        match word(event, "event") {
            "started" if !sensor.is_empty() => {
                assert_eq!(in_flight, None, "{sensor} was started too early");
                in_flight = Some(sensor);
            }
            "cleared" | "reverted" | "failed" if in_flight == Some(sensor) => in_flight = None,
            _ => {}
        }
    }
    assert_eq!(in_flight, None);
}

/// `cabextract` opens the package, and python-tuf verifies both repositories and downloads it.
fn anyone_can_check(result: &Value) {
    let package = word(result, "package");
    let tested = tools::run(Command::new("cabextract").arg("-t").arg(package), "apt-get install cabextract").unwrap();
    assert!(tested.contains("manifest.json"), "{tested}");
    for repository in ["imageRepository", "directorRepository"] {
        let python = tools::checkout().join("target/venv/bin/python");
        let mut check = Command::new(python);
        check.arg(tools::checkout().join("scripts/verify-with-python-tuf.py")).arg(word(result, repository));
        tools::run(&mut check, "cargo xtask setup").unwrap();
    }
}
