//! A whole server in a temporary folder, an author beside it, and a small HTTP client; for the tests of this crate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use watchpost_clock::Clock;
use watchpost_core::content::{RulesManifest, rules_file_name};
use watchpost_core::evidence::{Alert, AlertLevel, Batch, Device};
use watchpost_core::facts::EngineKind;
use watchpost_core::id::SensorId;
use watchpost_core::release::ReleaseManifest;
use watchpost_core::sync::{DetectionProof, Report, ServiceState};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_package::{Contents, ImageAuthor, cab};

use crate::app::App;
use crate::app::enrollment::EnrollRequest;
use crate::config::Settings;
use crate::founding::{Founded, Plan, found};
use crate::lifecycle::{Running, Server, ServerError};

/// 2026-01-05T00:00:00Z.
pub(crate) const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);
pub(crate) const A: Version = Version::new(2, 254, 1, 0);
pub(crate) const B: Version = Version::new(2, 255, 1, 0);

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Clock,
    pub(crate) founded: Founded,
    author: ImageAuthor,
}

/// An answer of the portal or the API.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(T0);
        let (keys, repository) = (dir.path().join("author-keys"), dir.path().join("author"));
        ImageAuthor::make_keys(&keys).unwrap();
        let author = ImageAuthor::create(&keys, &repository, T0).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let image_root = Some(std::fs::read(repository.join("metadata/1.root.json")).unwrap());
        let plan = Plan { data_dir: dir.path().join("server"), image_root, portal: any, gateway: any };
        let founded = found(plan, &clock).await.unwrap();
        Self { dir, clock, founded, author }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::read(&self.founded.config).unwrap()
    }

    pub(crate) async fn start(&self) -> Running {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<Running, ServerError> {
        Server::start(self.settings(), self.clock.clone()).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A signed package of `version`, with `content` as its one rule.
    pub(crate) fn package(&mut self, version: Version, content: &str) -> PathBuf {
        self.package_of(ReleaseManifest::minor(version, 1), content)
    }

    /// A signed package of this release, with `content` as its one rule.
    pub(crate) fn package_of(&mut self, release: ReleaseManifest, content: &str) -> PathBuf {
        let version = release.version;
        let source = self.path(&format!("source-{version}-{}", content.len()));
        std::fs::create_dir_all(source.join("bin")).unwrap();
        std::fs::create_dir_all(source.join("rules")).unwrap();
        std::fs::write(source.join("bin/watchpost-sensor"), "#!/bin/sh\n").unwrap();
        std::fs::write(source.join("rules/canary.yml"), content).unwrap();
        let package = self.path(&format!("sensor-{version}-{}.cab", content.len()));
        cab::build(&source, &Contents::Release(release), &package).unwrap();
        self.author.sign(&package, self.clock.now()).unwrap();
        package
    }

    /// A signed rule package of `build`, with one Sigma rule.
    pub(crate) fn rules(&mut self, build: Timestamp) -> PathBuf {
        let source = self.path(&format!("rules-{}", build.millis()));
        std::fs::create_dir_all(source.join("sigma")).unwrap();
        std::fs::write(source.join("sigma/a.yml"), "title: a").unwrap();
        let rules = RulesManifest { build, notes: String::new(), sigma_expected: 1, suricata_expected: 0 };
        let package = self.path(&rules_file_name(build));
        cab::build(&source, &Contents::Rules(rules), &package).unwrap();
        self.author.sign(&package, self.clock.now()).unwrap();
        package
    }

    /// The author's metadata, by name.
    pub(crate) fn metadata(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.path("author/metadata")).unwrap().map(Result::unwrap);
        entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
    }

    /// What `POST /releases` takes for this package.
    pub(crate) fn publication(&self, package: &Path) -> Value {
        let text = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8(bytes).unwrap());
        let metadata: BTreeMap<_, _> = self.metadata().into_iter().map(text).collect();
        json!({ "metadata": metadata, "target": package.file_name().unwrap().to_str().unwrap() })
    }

    /// Uploads and publishes a package of `version`.
    pub(crate) async fn publish(&mut self, running: &Running, version: Version) -> Answer {
        let package = self.package(version, "canary");
        let bytes = std::fs::read(&package).unwrap();
        let uploaded = self.call(running, Method::POST, "/api/v1/packages", &bytes).await;
        assert_eq!(uploaded.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&uploaded.body));
        let body = self.publication(&package).to_string();
        self.call(running, Method::POST, "/api/v1/releases", body.as_bytes()).await
    }

    /// One call as the first administrator's token.
    pub(crate) async fn call(&self, running: &Running, method: Method, path: &str, body: &[u8]) -> Answer {
        let bearer = format!("Authorization: Bearer {}\r\n", self.founded.api_token.reveal());
        call(running, method, path, &bearer, body).await
    }

    /// The secret part of the access key.
    pub(crate) fn access_secret(&self) -> String {
        self.founded.access_key.reveal().split('.').next().unwrap().to_owned()
    }

    pub(crate) fn enrolment(&self, name: &str, delayed: bool) -> EnrollRequest {
        EnrollRequest {
            secret: self.access_secret(),
            enrolment_id: format!("enrolment-{name}"),
            host_id: format!("host-{name}"),
            from: "192.0.2.1".to_owned(),
            name: name.to_owned(),
            sensor_type: "domainControllerIntegrated".to_owned(),
            domain: "corp.example".to_owned(),
            site: "hq".to_owned(),
            zone: "core".to_owned(),
            delayed,
            domain_controller_dns_names: Vec::new(),
            operating_system: "Debian 12".to_owned(),
        }
    }

    /// A host that is enrolled and runs `version`.
    pub(crate) async fn host(&self, app: &App, number: u8, delayed: bool, version: Version) -> SensorId {
        let now = self.clock.now();
        let request = self.enrolment(&format!("DC{number:02}"), delayed);
        let id = app.enroll(request, [number; 32], now).await.unwrap().sensor;
        app.check_in(id, running(version), now).await.unwrap();
        id
    }
}

/// The report of a host on which `version` runs.
pub(crate) fn running(version: Version) -> Report {
    Report {
        version: Some(version),
        service: ServiceState::Running,
        pulled_configuration: true,
        operating_system: "Debian 12".to_owned(),
        ..Report::default()
    }
}

/// The same with the proof that it detects.
pub(crate) fn proven(version: Version, generation: u64, at: Timestamp) -> Report {
    let proof = DetectionProof {
        generation,
        version,
        detected_at: at,
        rules_loaded: 1,
        rules_failed: 0,
        engines: std::collections::BTreeMap::new(),
    };
    Report { proof: Some(proof), generation, ..running(version) }
}

/// A batch with the alerts and the devices of these numbers.
pub(crate) fn batch(alerts: &[u64], devices: &[u8], stream: &str, through: u64) -> Batch {
    let alert = |n: &u64| Alert {
        id: format!("{n:032x}"),
        at: T0,
        engine: if n.is_multiple_of(2) { EngineKind::Sigma } else { EngineKind::Suricata },
        rule_id: format!("rule-{n}"),
        rule_title: "Many failed logons".to_owned(),
        level: if n.is_multiple_of(2) { AlertLevel::High } else { AlertLevel::Low },
        event: json!({ "TargetUserName": "alice", "IpAddress": "10.0.0.7" }).as_object().unwrap().clone(),
        devices: ["10.0.0.7".to_owned()].into(),
        has_packets: n % 2 == 1,
    };
    let device = |n: &u8| Device {
        key: format!("02:00:00:00:00:{n:02x}"),
        addresses: vec![format!("10.0.0.{n}")],
        hardware: Some(format!("02:00:00:00:00:{n:02x}")),
        names: vec![format!("PLC-{n}")],
        serves: ["modbus".to_owned()].into(),
        first_seen: T0,
        last_seen: T0,
        ..Device::default()
    };
    let (alerts, devices) = (alerts.iter().map(alert).collect(), devices.iter().map(device).collect());
    Batch { stream: stream.to_owned(), through, alerts, devices }
}

/// One call over a connection of its own.
pub(crate) async fn call(running: &Running, method: Method, path: &str, head: &str, body: &[u8]) -> Answer {
    let mut stream = tokio::net::TcpStream::connect(running.portal_addr()).await.unwrap();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = bytes[split + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    Answer { status, head, body }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    body
}

/// Waits until the planner has run so often that `done` holds.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
