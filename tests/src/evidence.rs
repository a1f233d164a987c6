//! A day of synthetic evidence, time-compressed, through the sensor's own store: within its disk at every look, and
//! what is missing at the end is the oldest of its kind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};
use watchpost_agent::evidence::{Evidence, Folders, Recorded, TimelineQuery};
use watchpost_core::evidence::{Alert, AlertLevel, Batch, Sighting, TimelineEntry};
use watchpost_core::facts::EngineKind;
use watchpost_core::policy::RetentionPolicy;
use watchpost_core::time::Timestamp;

/// Seconds of virtual time that are recorded together.
const STEP_SECONDS: u64 = 10;
/// Devices that are seen.
const DEVICES: u64 = 3_000;
/// One event in so many shows a device.
const PER_SIGHTING: u64 = 20;
/// One event in so many raises an alert.
const PER_ALERT: u64 = 1_000;
/// One file of captured packets in so many seconds, of so many bytes, in a budget of so many.
const CAPTURE: (u64, usize, u64) = (600, 64 * 1024, 512 * 1024);
/// In each of the day's quarters the control plane is away for the last part of so many.
const AWAY_PART: u64 = 4;
/// When it begins.
const MIDNIGHT_MILLIS: i64 = 1_767_571_200_000;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Hours of virtual time.
    pub hours: u64,
    /// Events in a second of it.
    pub rate: u64,
    /// Disk budget of the store.
    pub budget_mb: u64,
}

/// What was seen while it ran.
#[derive(Default)]
struct Seen {
    samples: u64,
    most_bytes: u64,
    events: u64,
    alerts: u64,
    delivered: BTreeSet<String>,
    delivered_twice: u64,
    most_waiting: u64,
    captures_dropped: Vec<String>,
}

fn instant(event: u64, rate: u64) -> anyhow::Result<Timestamp> {
    let millis = event.saturating_mul(1_000) / rate.max(1);
    Ok(Timestamp::from_millis(MIDNIGHT_MILLIS.saturating_add(i64::try_from(millis)?)))
}

fn address(event: u64) -> String {
    // One after another is glimpsed, by a stride that is prime to their number: all come in turn, and none in order.
    let device = (event / PER_SIGHTING).wrapping_mul(1_237) % DEVICES;
    format!("10.20.{}.{}", device / 250, device % 250 + 1)
}

fn text(event: u64) -> String {
    format!("event {event}: an account logged on over the network")
}

fn piece(from: u64, to: u64, rate: u64) -> anyhow::Result<Recorded> {
    let mut recorded = Recorded::default();
    for event in from..to {
        let (at, device) = (instant(event, rate)?, address(event));
        if event % PER_SIGHTING == 0 {
            let protocol = Some("kerberos".to_owned());
            let address = Some(device.clone());
            recorded.sightings.push(Sighting { at, address, protocol, ..Sighting::default() });
        }
        if event % PER_ALERT == 0 {
            recorded.alerts.push(Alert {
                id: format!("{event:032x}"),
                at,
                engine: EngineKind::Sigma,
                rule_id: "5c0c6f4c".to_owned(),
                rule_title: "An account was made an administrator".to_owned(),
                level: AlertLevel::High,
                event: Map::from_iter([("eventId".to_owned(), json!(4728)), ("source".to_owned(), json!(device))]),
                devices: BTreeSet::from([device.clone()]),
                has_packets: false,
            });
        }
        let kind = if event % PER_ALERT == 0 { "alert" } else { "logon" }.to_owned();
        recorded.timeline.push(TimelineEntry { at, kind, text: text(event), devices: BTreeSet::from([device]) });
    }
    Ok(recorded)
}

/// Records all of it in `root` and reads it back.
///
/// # Errors
/// When the store was over its budget at any look, lost what it should have kept, or failed.
pub fn run(load: Load, root: &Path) -> anyhow::Result<Value> {
    let budget = load.budget_mb << 20;
    let policy = RetentionPolicy { evidence_bytes: budget, capture_bytes: CAPTURE.2, ..RetentionPolicy::default() };
    let mut evidence = Evidence::open(Folders::of(root), policy.clone())?;
    std::fs::create_dir_all(root.join("engine/log"))?;
    let (mut seen, before) = (Seen::default(), cpu());
    let end = load.hours.saturating_mul(3_600);
    for second in (0..end).step_by(usize::try_from(STEP_SECONDS)?) {
        let to = second.saturating_add(STEP_SECONDS).min(end).saturating_mul(load.rate);
        let recorded = piece(seen.events, to, load.rate)?;
        seen.alerts += u64::try_from(evidence.record(&recorded)?.len())?;
        seen.events = to;
        if second % 60 == 0 {
            minute(&mut evidence, &mut seen, root, (second, end), instant(to, load.rate)?)?;
        }
        seen.samples += 1;
        seen.most_bytes = seen.most_bytes.max(evidence.bytes());
        ensure!(seen.most_bytes <= budget, "{} bytes after {second} s, of {budget}", seen.most_bytes);
        if second % 3_600 == 0 {
            eprintln!("evidence: hour {} of {}, {} MB", second / 3_600, load.hours, evidence.bytes() >> 20);
        }
    }
    deliver(&mut evidence, &mut seen)?;
    let recorded_in = cpu().saturating_sub(before);
    let kept = read_back(&mut evidence, &seen, &policy)?;
    ensure!(seen.delivered.len() as u64 == seen.alerts && seen.delivered_twice == 0, "alerts were lost or doubled");
    Ok(json!({
        "scenario": "evidence", "hours": load.hours, "rate": load.rate, "budgetBytes": budget,
        "events": seen.events, "alerts": seen.alerts, "samples": seen.samples, "mostBytes": seen.most_bytes,
        "bytesAtTheEnd": evidence.bytes(), "withinBudget": true,
        "delivered": { "alerts": seen.delivered.len(), "twice": seen.delivered_twice, "mostWaiting": seen.most_waiting },
        "kept": kept,
        "cpuSeconds": { "generateAndRecord": recorded_in.as_secs_f64(), "all": cpu().saturating_sub(before).as_secs_f64() },
        "eventsPerCpuSecond": seen.events as f64 / recorded_in.as_secs_f64(),
    }))
}

/// What a sensor does once a minute: retention, packets, and the control plane if it is there.
fn minute(
    evidence: &mut Evidence,
    seen: &mut Seen,
    root: &Path,
    (second, end): (u64, u64),
    now: Timestamp,
) -> anyhow::Result<()> {
    let (every, bytes, budget) = CAPTURE;
    if second % every == 0 {
        let begun = MIDNIGHT_MILLIS.unsigned_abs() / 1_000 + second;
        let path = root.join("engine/log").join(format!("alert.1.pcap.{begun}"));
        std::fs::write(&path, vec![0; bytes])?;
        let file = std::fs::File::options().write(true).open(path)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(begun + every - 1))?;
    }
    seen.captures_dropped.extend(evidence.retain(now)?.captures);
    ensure!(evidence.capture_bytes()? <= budget, "packets take more than {budget} bytes");
    let part = (end / 4 / AWAY_PART).max(1);
    let is_away = second / part % AWAY_PART == AWAY_PART - 1;
    if is_away {
        seen.most_waiting = seen.most_waiting.max(evidence.waiting()?);
    } else {
        deliver(evidence, seen)?;
    }
    Ok(())
}

/// The control plane takes all that waits.
fn deliver(evidence: &mut Evidence, seen: &mut Seen) -> anyhow::Result<()> {
    while let Some((json, through)) = evidence.next_batch()? {
        let batch: Batch = serde_json::from_str(&json)?;
        for alert in batch.alerts {
            seen.delivered_twice += u64::from(!seen.delivered.insert(alert.id));
        }
        evidence.taken(&batch.stream, through)?;
    }
    Ok(())
}

/// Per kind, what is there must be the newest of what was given, without a gap.
fn read_back(evidence: &mut Evidence, seen: &Seen, policy: &RetentionPolicy) -> anyhow::Result<Value> {
    let (from, until) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    let mut query = TimelineQuery { from, until, before: None, limit: 20_000 };
    let mut expected = seen.events;
    loop {
        let page = evidence.timeline(&query)?;
        let Some((last, _)) = page.last() else { break };
        query.before = Some(*last);
        for (_, entry) in &page {
            expected = expected.checked_sub(1).context("the timeline has more than was given")?;
            ensure!(entry.text == text(expected), "“{}” stands where event {expected} should", entry.text);
        }
    }
    let timeline = seen.events - expected;
    ensure!(timeline == evidence.timeline_events()? && timeline <= policy.timeline_events, "the count is wrong");
    let alerts = evidence.alerts(from, until, u64::MAX)?;
    for (alert, number) in alerts.iter().zip((0..seen.alerts).rev()) {
        ensure!(alert.id == format!("{:032x}", number * PER_ALERT), "{} stands where alert {number} should", alert.id);
    }
    let devices = evidence.devices().count();
    let expected_devices = (0..seen.events).step_by(usize::try_from(PER_SIGHTING)?).take(usize::try_from(DEVICES)?);
    ensure!(devices == expected_devices.map(address).collect::<BTreeSet<_>>().len(), "{devices} devices are there");
    let captures = evidence.captures()?;
    let newest_dropped = seen.captures_dropped.last();
    let oldest_kept = captures.first().map(|capture| &capture.name);
    ensure!(seen.captures_dropped.is_sorted() && newest_dropped < oldest_kept, "newer packets went before older ones");
    Ok(json!({
        "timeline": { "events": timeline, "dropped": expected, "isSuffix": true },
        "alerts": { "count": alerts.len(), "dropped": seen.alerts - alerts.len() as u64, "isSuffix": true },
        "devices": devices,
        "captures": { "files": captures.len(), "dropped": seen.captures_dropped.len(), "isSuffix": true },
    }))
}

/// Processor time of this process.
fn cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}
