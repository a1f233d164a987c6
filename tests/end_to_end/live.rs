//! Nothing of the demo is canned: what a stranger does to it while it keeps running has its effect.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use watchpost_tests::demo::{Demo, word};
use watchpost_tests::tools;

/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(120);

/// A failed logon as Samba writes it, of an account nobody has.
fn failed_logon(account: &str) -> String {
    let sample = std::fs::read_to_string(tools::checkout().join("content/samples/samba-audit.jsonl")).unwrap();
    let line = sample.lines().find(|line| line.contains("\"eventId\": 4625") && line.contains("WRONG_PASSWORD"));
    let mut event: Value = serde_json::from_str(line.expect("the sample has a failed logon")).unwrap();
    event["Authentication"]["clientAccount"] = account.into();
    event["Authentication"]["mappedAccount"] = account.into();
    event["timestamp"] = "2026-11-20T23:59:59.000001+0000".into();
    event.to_string()
}

struct Api {
    portal: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    fn of(result: &Value) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            portal: word(result, "portal").to_owned(),
            token: word(result, "apiToken").to_owned(),
            client: reqwest::Client::new(),
        }
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/api/v1/{path}", self.portal);
        self.client.get(url).bearer_auth(&self.token).send().await.unwrap().json().await.unwrap()
    }

    /// Asks until `wanted` holds.
    async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let row = self.get(path).await;
                if wanted(&row) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(row) => row,
            Err(_) => panic!("{what} did not happen; {path} is {}", self.get(path).await),
        }
    }
}

fn append(log: &str, line: &str) {
    let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    writeln!(log, "{line}").unwrap();
}

/// Builds, signs and publishes a release with the commands of the README, from the demo's own source without `rule`.
fn publish_without(result: &Value, dir: &Path, version: &str, rule: &str) {
    let source = dir.join(format!("stranger-{version}"));
    let copy = Command::new("cp").arg("-r").arg(word(result, "releaseSource")).arg(&source).status().unwrap();
    assert!(copy.success());
    std::fs::remove_file(source.join("rules").join(rule)).unwrap();
    let package = dir.join(format!("{version}.cab"));
    let watchpost = |words: &[&str]| {
        let mut command = Command::new(tools::binary("watchpost").unwrap());
        command.arg("release").args(words);
        command.env("WATCHPOST_URL", word(result, "portal")).env("WATCHPOST_TOKEN", word(result, "apiToken"));
        tools::run(&mut command, "cargo build --release").unwrap();
    };
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (keys, repository) = (word(result, "authorKeys"), word(result, "authorRepository"));
    watchpost(&["build", "--from", &path(&source), "--version", version, "--out", &path(&package)]);
    watchpost(&["sign", "--keys", keys, "--repository", repository, &path(&package)]);
    watchpost(&["publish", "--repository", repository, &path(&package)]);
}

fn alerts(sensor: &Value) -> u64 {
    sensor["alertCount"].as_u64().expect("a sensor has a count of alerts")
}

#[tokio::test(flavor = "multi_thread")]
async fn detection_follows_the_rules_of_the_release_and_a_blind_release_never_clears() {
    let mut demo = Demo::start(&["--speed", "600"]).unwrap();
    let result = tokio::task::block_in_place(|| demo.result()).unwrap();
    let api = Api::of(&result);
    let host = &result["sensors"][0];
    let (path, log) = (format!("sensors/{}", word(host, "id")), word(host, "auditLog"));
    let alert_file = Path::new(word(host, "stateDir")).join("state/alerts.jsonl");

    // A failed logon is detected, its alert lies in the host's folder and is counted by the server.
    let before = alerts(&api.get(&path).await);
    append(log, &failed_logon("mallory-one"));
    api.until(&path, "the alert", |sensor| alerts(sensor) == before + 1).await;
    assert!(std::fs::read_to_string(&alert_file).unwrap().contains("mallory-one"));

    // Under a release without that rule the same event is not detected; another one, of another rule, still is.
    publish_without(&result, demo.dir(), "2.256.1.0", "failed-logon-wrong-password.yml");
    api.until(&path, "clearance of 2.256.1.0", |sensor| {
        word(sensor, "version") == "2.256.1.0" && word(sensor, "deploymentStatus") == "upToDate"
    })
    .await;
    let before = alerts(&api.get(&path).await);
    append(log, &failed_logon("mallory-two"));
    let sample = std::fs::read_to_string(tools::checkout().join("content/samples/samba-audit.jsonl")).unwrap();
    let reset =
        sample.lines().find(|line| line.contains("\"eventId\": 4724")).expect("the sample has a password reset");
    append(log, &reset.replace("\"transactionId\": \"", "\"transactionId\": \"f"));
    api.until(&path, "the alert of the other rule", |sensor| alerts(sensor) == before + 1).await;
    assert!(!std::fs::read_to_string(&alert_file).unwrap().contains("mallory-two"));

    // A release whose rules miss the canary never clears, and the host goes back to what detects.
    publish_without(&result, demo.dir(), "2.257.1.0", "watchpost-canary.yml");
    let ended = |rollout: &Value| rollout["failed"].as_u64().is_some_and(|failed| failed > 0);
    let rollout = api.until("rollouts/2.257.1.0", "the failure of 2.257.1.0", ended).await;
    assert_eq!(rollout["cleared"], 0, "{rollout}");
    api.until(&path, "the return to 2.256.1.0", |sensor| word(sensor, "version") == "2.256.1.0").await;
}
