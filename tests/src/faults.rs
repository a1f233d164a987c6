//! A fault that a test makes, and the issue that it opens and that closes by itself: looked at through the API alone.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use watchpost_core::time::Timestamp;

use crate::cable::engine_pid;
use crate::site::Site;
use crate::tools;

/// Within this an issue must be open that is reported at once.
pub const AT_ONCE: Duration = Duration::from_secs(5);

/// A check-in with its jitter: within this the control plane knows what a host knows.
const CHECK_IN: Duration = Duration::from_secs(75);

/// A site whose one sensor is watched for issues.
pub struct Watch {
    /// The site.
    pub site: Site,
    sensor: &'static str,
}

/// The instant in a field of a row.
fn instant(row: &Value, field: &str) -> Option<Timestamp> {
    row[field].as_str()?.parse().ok()
}

fn rows(answer: &Value) -> &[Value] {
    answer["value"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Says what was seen, for who watches.
fn say(line: &str) {
    // Nobody watches when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Watch {
    /// Watches the sensor of this name.
    #[must_use]
    pub fn new(site: Site, sensor: &'static str) -> Self {
        Self { site, sensor }
    }

    /// The sensor as the API shows it, once this holds.
    ///
    /// # Errors
    /// When it never does.
    pub async fn sensor(&self, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.site.until(&format!("sensors/{}", self.sensor), what, holds).await
    }

    /// Waits until an issue of this type has opened that was not there at `fault`; gives how long after it.
    ///
    /// # Errors
    /// When it never opens.
    pub async fn opens(&self, kind: &str, fault: Timestamp) -> anyhow::Result<Duration> {
        let path = format!("healthIssues?sensor={}&type={kind}", self.sensor);
        let opened = |answer: &Value| {
            rows(answer).iter().filter_map(|row| instant(row, "createdDateTime")).find(|at| *at >= fault)
        };
        let answer = self.site.until(&path, &format!("{kind} opens"), |answer| opened(answer).is_some()).await?;
        let after = opened(&answer).context("it was there a moment ago")?.since(fault);
        let said = rows(&answer).first().map_or(&Value::Null, |row| &row["description"]);
        say(&format!("{kind} opened {:.3} s after the fault: {said}", after.as_secs_f64()));
        Ok(after)
    }

    /// Waits until an issue of this type has opened, within five seconds of the fault.
    ///
    /// # Errors
    /// When it never opens, or late.
    pub async fn opens_at_once(&self, kind: &str, fault: Timestamp) -> anyhow::Result<()> {
        let after = self.opens(kind, fault).await?;
        anyhow::ensure!(after <= AT_ONCE, "{kind} opened {} s after the fault", after.as_secs_f64());
        Ok(())
    }

    /// Waits until an issue of this type has opened, `limit` after the instant since when, as it says itself, its
    /// condition holds; not earlier, and later by one check-in at most.
    ///
    /// # Errors
    /// When it opens at another instant.
    pub async fn opens_after(&self, kind: &str, fault: Timestamp, limit: Duration) -> anyhow::Result<()> {
        self.opens(kind, fault).await?;
        let answer = self.site.get(&format!("healthIssues?sensor={}&type={kind}", self.sensor)).await?;
        let row = rows(&answer).first().context("it was there a moment ago")?;
        let said = row["description"].as_str().unwrap_or_default();
        // Of several parts it is the last one's condition that opened it.
        let instants = said.split([' ', ';']).filter_map(|word| word.parse::<Timestamp>().ok());
        let since = instants.max().with_context(|| format!("“{said}” names no instant"))?;
        let after = instant(row, "createdDateTime").context("no instant")?.since(since);
        let is_right = after >= limit && after <= limit + CHECK_IN;
        anyhow::ensure!(is_right, "{kind} opened {} s after {since}, not {} s", after.as_secs_f64(), limit.as_secs());
        say(&format!("{kind} opened {:.3} s after {since}", after.as_secs_f64()));
        Ok(())
    }

    /// Waits until no issue of this type is open.
    ///
    /// # Errors
    /// When it stays open.
    pub async fn closes(&self, kind: &str) -> anyhow::Result<()> {
        let path = format!("healthIssues?sensor={}&type={kind}&status=open", self.sensor);
        self.site.until(&path, &format!("{kind} closes"), |answer| rows(answer).is_empty()).await?;
        say(&format!("{kind} closed at {}", self.site.now()));
        Ok(())
    }

    /// Whether an issue of this type is open now.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn is_open(&self, kind: &str) -> anyhow::Result<bool> {
        let answer = self.site.get(&format!("healthIssues?sensor={}&type={kind}&status=open", self.sensor)).await?;
        Ok(!rows(&answer).is_empty())
    }

    /// Sets the capture interfaces, and waits until Suricata listens on them.
    ///
    /// # Errors
    /// When it never does.
    pub async fn capture(&self, interfaces: &[&str]) -> anyhow::Result<Value> {
        let settings = json!({ "settings": { "captureInterfaces": interfaces, "homeNetworks": ["10.0.0.0/8"] } });
        let (status, answer) = self.site.patch(&format!("sensors/{}", self.sensor), &settings).await?;
        anyhow::ensure!(status == 200, "the settings were refused: {answer}");
        self.listens().await
    }

    /// Waits until Suricata runs with the settings that were set.
    ///
    /// # Errors
    /// When it never does.
    pub async fn listens(&self) -> anyhow::Result<Value> {
        let holds = |row: &Value| {
            let is_said = row["facts"]["engines"]["suricata"]["state"] == "running";
            is_said && row["deploymentStatus"] == "upToDate" && engine_pid(&self.site).is_ok()
        };
        self.sensor("Suricata listens", holds).await
    }
}

/// A file in the place of another one, in this process's own mounts, until it is dropped.
pub struct InPlaceOf(&'static str);

impl InPlaceOf {
    /// Puts `file` in the place of `path`.
    ///
    /// # Errors
    /// When it cannot be mounted there.
    pub fn mount(file: &str, path: &'static str) -> anyhow::Result<Self> {
        tools::run(Command::new("mount").args(["--bind", file, path]), "apt-get install mount")?;
        Ok(Self(path))
    }

    /// Writes a file and puts it in the place of `path`.
    ///
    /// # Errors
    /// When it cannot be written or mounted.
    pub fn text(site: &Site, text: &str, path: &'static str) -> anyhow::Result<Self> {
        let file = site.path(&path.replace('/', "-"));
        std::fs::write(&file, text)?;
        Self::mount(&file, path)
    }
}

/// The processors as the kernel shows them on a machine that nobody uses, whoever else uses this one: since the look
/// before, so much time was spent and all of it idle.
///
/// # Errors
/// When it cannot be read or mounted.
pub fn idle_processors(site: &Site) -> anyhow::Result<InPlaceOf> {
    const HOURS: u64 = 10_000_000;
    let shown = std::fs::read_to_string("/proc/stat")?;
    let mut ticks: Vec<String> =
        shown.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let idle = ticks.get_mut(4).context("/proc/stat shows no idle time")?;
    *idle = idle.parse::<u64>()?.saturating_add(HOURS).to_string();
    InPlaceOf::text(site, &format!("{}\n", ticks.join(" ")), "/proc/stat")
}

impl Drop for InPlaceOf {
    fn drop(&mut self) {
        // Lazily: a program in the place of another one may run at this moment.
        let _ = Command::new("umount").args(["--lazy", self.0]).status();
    }
}
