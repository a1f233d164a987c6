//! `cargo xtask scenario identity`: a real domain, a control plane that asks its directory, and sensors on real hosts.
//!
//! Time is the system's: what the domain controller writes down, what its tombstones say and what the control plane
//! says are to be compared by others.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use watchpost_clock::Clock;

use crate::samba::{DOMAIN, Domain, Entry, READER, READER_PASSWORD, SERVER};
use crate::tools::{self, binary, checkout};

/// How long an effect may take to show: hosts check in once a minute.
const PATIENCE: Duration = Duration::from_secs(240);
/// The version of the release that is installed.
const VERSION: &str = "2.254.1.0";
/// Wrong passwords that are tried, over Kerberos and over SMB each.
const WRONG_PASSWORDS: u32 = 3;
/// Where portal and gateway listen, on a network without any other machine.
const PORTAL: &str = "127.0.0.1:8080";
const GATEWAY: &str = "127.0.0.1:8443";

/// A control plane and its hosts beside a domain, as processes.
struct Lab {
    domain: Domain,
    token: String,
    access_key: String,
    client: reqwest::Client,
    processes: Vec<Child>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn now() -> String {
    Clock::system().now().to_string()
}

/// Progress, for who watches.
fn say(what: &str) {
    use std::io::Write as _;
    // Nobody watches when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{} {what}", now());
}

impl Lab {
    fn path(&self, name: &str) -> String {
        text(&self.domain.path(name))
    }

    fn watchpost(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(binary("watchpost")?);
        command.args(words).env("WATCHPOST_URL", format!("http://{PORTAL}")).env("WATCHPOST_TOKEN", &self.token);
        tools::run(&mut command, "cargo build")
    }

    fn start(&mut self, program: &str, words: &[&str], log: &str) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.path(log))?;
        let mut command = Command::new(binary(program)?);
        command.args(words).stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
        self.processes.push(command.spawn()?);
        Ok(())
    }

    /// A control plane that asks the directory of the domain, with one release published.
    async fn found(domain: Domain) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let (token, access_key) = (String::new(), String::new());
        let mut lab = Self { domain, token, access_key, client, processes: Vec::new() };
        let (keys, repository, data) = (lab.path("keys"), lab.path("author"), lab.path("server"));
        lab.watchpost(&["release", "keys", "--keys", &keys, "--repository", &repository])?;
        let root = format!("{repository}/metadata/1.root.json");
        let init = ["init", "--data-dir", &data, "--image-root", &root, "--portal-addr", PORTAL];
        let made = lab.watchpost(&[&init[..], &["--gateway-addr", GATEWAY, "--output", "json"]].concat())?;
        let made: Value = serde_json::from_str(&made)?;
        let field = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("init gave no {name}"));
        (lab.access_key, lab.token) = (field("accessKey")?, field("apiToken")?);
        let config = field("config")?;
        std::fs::write(lab.path("password"), READER_PASSWORD)?;
        let section = format!(
            "\n[[directory]]\ndomain = \"{DOMAIN}\"\nservers = [\"{SERVER}:636\"]\ntls = \"ldaps\"\nca_file = \"{}\"\n\
             bind_dn = \"{READER}\"\npassword_file = \"{}\"\ncheck_every = \"PT5S\"\n",
            lab.domain.ca_file().display(),
            lab.path("password")
        );
        std::fs::write(&config, std::fs::read_to_string(&config)? + &section)?;
        lab.start("watchpost", &["serve", "--config", &config], "control-plane.log")?;
        lab.until("status", "the control plane answers", |_| true).await?;
        lab.release(&keys, &repository)?;
        Ok(lab)
    }

    /// Builds, signs and publishes a release with the product's own commands.
    fn release(&self, keys: &str, repository: &str) -> anyhow::Result<()> {
        let source = self.domain.path("source");
        std::fs::create_dir_all(source.join("bin"))?;
        std::fs::copy(binary("watchpost-sensor")?, source.join("bin/watchpost-sensor"))?;
        let rules = checkout().join("content/rules");
        let mut copy = Command::new("cp");
        tools::run(copy.arg("-r").arg(&rules).arg(source.join("rules")), "apt-get install coreutils")?;
        let release = json!({
            "version": VERSION, "kind": "minor", "notes": "", "minimumBaseVersion": null,
            "rulesExpected": std::fs::read_dir(rules)?.count(), "needs": { "fileDescriptors": 64 },
        });
        std::fs::write(source.join("release.json"), release.to_string())?;
        let package = self.path("sensor.cab");
        self.watchpost(&["release", "build", "--from", &text(&source), "--version", VERSION, "--out", &package])?;
        self.watchpost(&["release", "sign", "--keys", keys, "--repository", repository, &package])?;
        self.watchpost(&["release", "publish", "--repository", repository, &package]).map(drop)
    }

    /// Sets a host up on an audit log and starts its updater; waits until its sensor watches. Gives its row.
    async fn host(&mut self, name: &str, audit_log: &str) -> anyhow::Result<Value> {
        let (root, key) = (self.path(&format!("host-{name}")), self.path("access-key"));
        std::fs::write(&key, &self.access_key)?;
        let mut setup = Command::new(binary("watchpost-updater")?);
        setup.args(["setup", "--quiet", "--root", &root, "--server", GATEWAY, "--access-key-file", &key]);
        setup.args(["--image-root", &self.path("author/metadata/1.root.json"), "--audit-log", audit_log]);
        setup.args(["--name", name, "--type", "domainControllerIntegrated", "--domain", DOMAIN]);
        tools::run(&mut setup, "cargo build")?;
        self.start("watchpost-updater", &["run", "--root", &root], &format!("host-{name}.log"))?;
        let watches = |row: &Value| row["isWatching"] == true && row["deploymentStatus"] == "upToDate";
        self.until(&format!("sensors/{name}"), "the sensor watches", watches).await
    }

    /// One GET of the API; `None` while there is no answer, or none that is a success.
    async fn get(&self, path: &str) -> Option<Value> {
        let asked =
            self.client.get(format!("http://{PORTAL}/api/v1/{path}")).bearer_auth(&self.token).send().await.ok()?;
        if asked.status().is_success() { asked.json().await.ok() } else { None }
    }

    async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let asking = async {
            loop {
                if let Some(found) = self.get(path).await {
                    last = found;
                    if holds(&last) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        let log = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        asked.with_context(|| {
            format!("never: {what}; {path} is {last}; the server says:\n{}", log("control-plane.log"))
        })?;
        Ok(last)
    }

    /// How many alerts the control plane has of a sensor, and the alerts themselves where it lists them.
    async fn alerts(&self, name: &str) -> (u64, Value) {
        let row = self.get(&format!("sensors/{name}")).await.unwrap_or_default();
        let count = row["alertCount"].as_u64().unwrap_or_default();
        match self.get("alerts").await {
            Some(list) => {
                let ours = |alert: &&Value| alert["sensorId"] == row["id"];
                let alerts: Vec<_> = list["value"].as_array().into_iter().flatten().filter(ours).cloned().collect();
                (u64::try_from(alerts.len()).unwrap_or(u64::MAX).max(count), json!(alerts))
            }
            None => (count, Value::Null),
        }
    }

    /// Waits until the control plane has so many alerts of this sensor at least.
    async fn more_alerts(&self, name: &str, least: u64, what: &str) -> anyhow::Result<(u64, Value)> {
        let waiting = async {
            loop {
                let (count, alerts) = self.alerts(name).await;
                if count >= least {
                    return (count, alerts);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.with_context(|| format!("{what} raised too few alerts: {name} has less than {least}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Real failed logons, and what came of them.
async fn failed_logons(lab: &Lab) -> anyhow::Result<Value> {
    let (before, _) = lab.alerts("DC1").await;
    let mut tried = Vec::new();
    for _ in 0..WRONG_PASSWORDS {
        let at = now();
        let is_in = lab.domain.kerberos_logon("clerk1", "wrong")?;
        tried.push(json!({ "at": at, "over": "kerberos", "user": "clerk1", "letIn": is_in }));
        let at = now();
        let is_in = lab.domain.smb_logon("clerk1", "wrong")?;
        tried.push(json!({ "at": at, "over": "smb", "user": "clerk1", "letIn": is_in }));
    }
    anyhow::ensure!(tried.iter().all(|one| one["letIn"] == false), "a wrong password was taken: {tried:?}");
    // One for each, so that none of them is taken for what comes next.
    let (after, alerts) = lab.more_alerts("DC1", before + 2 * u64::from(WRONG_PASSWORDS), "failed logons").await?;
    Ok(json!({ "tried": tried, "alertsBefore": before, "alertsAfter": after, "seenAt": now(), "alerts": alerts }))
}

/// A user becomes a domain administrator, and what came of it.
async fn group_change(lab: &Lab) -> anyhow::Result<Value> {
    // The rule's own alert is looked for on the host too.
    let file = lab.domain.path("host-DC1").join("state/alerts.jsonl");
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    let named =
        |text: &str| text.lines().filter(|line| line.contains("rivileged")).map(str::to_owned).collect::<Vec<_>>();
    let (before, known) = (lab.alerts("DC1").await.0, named(&lines()).len());
    let at = now();
    lab.domain.make_domain_administrator("clerk1")?;
    let (after, alerts) = lab.more_alerts("DC1", before + 1, "a new domain administrator").await?;
    let found = named(&lines());
    anyhow::ensure!(found.len() > known, "no alert of the rule for privileged groups: {}", lines());
    let found: Vec<Value> = found.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(json!({
        "at": at, "user": "clerk1", "group": "Domain Admins", "alertsBefore": before, "alertsAfter": after,
        "seenAt": now(), "alerts": alerts, "onTheHost": found,
    }))
}

fn facts(entry: &Entry) -> Value {
    let first = |name: &str| entry.get(name).and_then(|values| values.first());
    json!({
        "dn": first("dn"), "objectGUID": first("objectGUID"), "isDeleted": first("isDeleted"),
        "uSNChanged": first("uSNChanged"), "sAMAccountName": first("sAMAccountName"),
        "lastKnownParent": first("lastKnownParent"),
    })
}

/// A domain controller's object is deleted, and what became of its sensor.
async fn deletion(lab: &Lab) -> anyhow::Result<Value> {
    let known = |row: &Value| row["deploymentStatus"] == "upToDate";
    let before = lab.until("sensors/DC2", "DC2 is up to date", known).await?;
    let is_asked = |answer: &Value| answer["value"][0]["askedAbout"].as_u64() >= Some(2);
    lab.until("directories", "both domain controllers were looked up", is_asked).await?;
    let there = facts(&lab.domain.machine("DC2")?);
    let at = now();
    lab.domain.delete_domain_controller_object("DC2")?;
    let gone = |row: &Value| row["deploymentStatus"] == "unreachable";
    let after = lab.until("sensors/DC2", "DC2 is unreachable", gone).await?;
    let seen_at = now();
    let tombstone = facts(&lab.domain.machine("DC2")?);
    anyhow::ensure!(tombstone["isDeleted"] == "TRUE", "the directory shows no tombstone: {tombstone}");
    anyhow::ensure!(tombstone["objectGUID"] == there["objectGUID"], "{tombstone} is of another object than {there}");
    let other = lab.until("sensors/DC1", "DC1 stays", known).await?;
    let audit = lab.get("audit?$top=50").await.unwrap_or_default();
    let rows = audit["value"].as_array().cloned().unwrap_or_default();
    let rows: Vec<_> = rows.into_iter().filter(|row| row["action"] == "sensor.directory").collect();
    Ok(json!({
        "at": at, "seenAt": seen_at, "sensorId": before["id"], "statusBefore": before["deploymentStatus"],
        "statusAfter": after["deploymentStatus"], "why": after["why"]["deploymentStatus"],
        "ldapBefore": there, "ldapAfter": tombstone, "stays": { "DC1": other["deploymentStatus"] }, "audit": rows,
    }))
}

/// Plays everything and gives the evidence; only in the process of [`crate::samba::has_own_machine`].
///
/// # Errors
/// When anything does not hold.
pub async fn play() -> anyhow::Result<Value> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let began = now();
    say("a domain is provisioned");
    let domain = Domain::provision()?;
    domain.samba_tool(&["user", "create", "clerk1", "First!pass99"])?;
    domain.add_domain_controller_object("DC2")?;
    say("a control plane asks its directory");
    let audit_log = text(&domain.audit_log());
    let mut lab = Lab::found(domain).await?;
    say("a sensor on the domain controller's audit log");
    let first = lab.host("DC1", &audit_log).await?;
    let quiet = lab.path("quiet.jsonl");
    std::fs::write(&quiet, "")?;
    say("a sensor on a domain controller that will be deleted");
    let second = lab.host("DC2", &quiet).await?;
    say("wrong passwords");
    let logons = failed_logons(&lab).await?;
    say("a domain administrator too many");
    let group = group_change(&lab).await?;
    say("a domain controller is deleted");
    let deletion = deletion(&lab).await?;
    say("everything holds");
    let directories = lab.get("directories").await;
    Ok(json!({
        "scenario": "identity", "began": began, "ended": now(), "domain": DOMAIN, "version": VERSION,
        "sensors": [
            { "name": "DC1", "id": first["id"], "createdDateTime": first["createdDateTime"] },
            { "name": "DC2", "id": second["id"], "createdDateTime": second["createdDateTime"] },
        ],
        "failedLogons": logons, "groupChange": group, "deletion": deletion,
        "directories": directories.unwrap_or_default()["value"],
    }))
}
