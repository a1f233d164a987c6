//! The status of a host as a table for people.

use std::fmt::Write as _;

use watchpost_core::succession::Succession;
use watchpost_core::updater::Record;

use super::status::HostStatus;
use crate::guard::{GuardState, Means};

impl HostStatus {
    /// The table, without its last line's end.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut table = String::new();
        let mut row = |head: &str, what: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(table, "{head:<11} {what}");
        };
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        row("sensor", &self.name);
        row("server", &self.server);
        row("updater", &updater_in_words(self.updater_running, &self.succession));
        row("current", &or_none(&self.current));
        row("running", &or_none(&self.running));
        row("versions", &self.versions.join(", "));
        if let Some(held) = self.certificates {
            row("certificate", &held.cur.to_string());
            held.next.iter().for_each(|next| row("  to come", &next.to_string()));
            held.prev.iter().for_each(|prev| row("  before", &prev.to_string()));
        }
        row("phase", &self.record.as_ref().map_or_else(|| "no record can be read".to_owned(), phase_in_words));
        if let Some(failure) = self.record.as_ref().and_then(|record| record.last_failure.as_ref()) {
            row("failure", &format!("{} at {}: {}", failure.version, failure.at, failure.reason));
        }
        if let Some(tried) = self.succession.refused() {
            row("given up", &format!("the updater of {} at {}: {}", tried.program.version, tried.at, tried.reason));
        }
        self.guard.iter().for_each(|guard| row("guard", &guard_in_words(guard)));
        self.unpacking.iter().for_each(|confinement| row("unpacking", &confinement.to_string()));
        self.sensor.iter().for_each(|sensor| row("alerts", &sensor.alert_count.to_string()));
        table.trim_end().to_owned()
    }
}

/// Whether it runs, and which one is to.
fn updater_in_words(is_running: bool, succession: &Succession) -> String {
    let which = match (&succession.trial, &succession.settled) {
        (Some(trial), _) => format!("that of {}, on trial", trial.program.version),
        (None, Some(program)) => format!("that of {}", program.version),
        (None, None) => "as installed".to_owned(),
    };
    format!("{}, {which}", if is_running { "running" } else { "not running" })
}

/// A phase of the record, such as `awaitingClearance (to 2.255.1.0-928ea7e4)`.
fn phase_in_words(record: &Record) -> String {
    let phase = serde_json::to_value(&record.phase).unwrap_or_default();
    let text = |key: &str| phase.get(key).and_then(serde_json::Value::as_str);
    let word = text("phase").unwrap_or("unknown");
    text("to").map_or_else(|| word.to_owned(), |to| format!("{word} (to {to})"))
}

/// What holds the sensor, its limits and what it uses of them.
fn guard_in_words(guard: &GuardState) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    let means = match guard.means {
        None => return "no sensor has run yet".to_owned(),
        Some(Means::CgroupV1) => "cgroup v1",
        Some(Means::CgroupV2) => "cgroup v2",
        Some(Means::Measured) => "measured, without a group",
    };
    let of = |used: u64, limit: Option<u64>, unit: &str| match limit {
        Some(limit) => format!("{used} of {limit} {unit}"),
        None => format!("{used} {unit}"),
    };
    let percent = guard.processor_limit_thousandths.map(|limit| limit / 10);
    let processor = of(guard.processor_used_thousandths / 10, percent, "% of a processor");
    let memory = of(guard.memory_used_bytes / MEBIBYTE, guard.memory_limit_bytes.map(|limit| limit / MEBIBYTE), "MiB");
    let mut words = format!("{means}: {processor}, {memory}, {} restarts", guard.restarts);
    if guard.memory_is_short {
        words.push_str("; the host is short of memory");
    }
    if let Some(why) = &guard.why {
        words.push_str(&format!(" ({why})"));
    }
    words
}
