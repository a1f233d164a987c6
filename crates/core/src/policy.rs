//! Every number that may change, with its default and where it comes from. One file, so that none hides in the code.
//!
//! In the docs of the fields, S: a sentence of the product documents fixes it; L: a linked public page gives it;
//! P: this project's choice. A value here decides nothing by itself; the rooms that use it do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::health::systems::{SYSTEMS, SystemSupport};
use crate::restart::RestartSwitch;

mod resources;

pub use resources::ResourcePolicy;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const GIBIBYTE: u64 = 1 << 30;
const MEBIBYTE: u64 = 1 << 20;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * MINUTE)
}
const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * HOUR)
}
const fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

/// All policy values.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Policy {
    /// Check-ins and silence.
    pub contact: ContactPolicy,
    /// Releases on their way through the fleet.
    pub rollout: RolloutPolicy,
    /// Health issues.
    pub health: HealthPolicy,
    /// Client certificates.
    pub certificate: CertificatePolicy,
    /// What a sensor leaves to its host.
    pub resources: ResourcePolicy,
    /// From generation 2 to 3.
    pub migration: MigrationPolicy,
    /// Network sensors.
    pub network: NetworkPolicy,
    /// Rule packages.
    pub rules: RulesPolicy,
    /// What is kept how long.
    pub retention: RetentionPolicy,
    /// What the control plane takes from one sensor.
    pub intake: IntakePolicy,
    /// Directories that are asked.
    pub directory: DirectoryPolicy,
    /// The control plane's own health.
    pub own_health: OwnHealthPolicy,
}

/// Check-ins and what silence means. All silence counts from the later of the last contact and one interval after the
/// server was ready again (L).
#[derive(Clone, Debug, PartialEq)]
pub struct ContactPolicy {
    /// Time between two check-ins of a host (P).
    pub check_in: Duration,
    /// Share by which a check-in is moved to and fro, in percent (P).
    pub check_in_jitter_percent: u32,
    /// Silence that opens “stopped communicating” (L: 5 min).
    pub stopped_communicating_after: Duration,
    /// Silence after which a sensor is Disconnected and its service status Unknown (S: “any communication from this
    /// sensor in 10 minutes”).
    pub disconnected_after: Duration,
    /// More than this without pulling configuration is Start failed (S: “more than 30 minutes”).
    pub start_failed_after: Duration,
}

impl Default for ContactPolicy {
    fn default() -> Self {
        Self {
            check_in: minutes(1),
            check_in_jitter_percent: 10,
            stopped_communicating_after: minutes(5),
            disconnected_after: minutes(10),
            start_failed_after: minutes(30),
        }
    }
}

/// How many sensors of a ring may fail before the rollout halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureBudget {
    /// Share of the ring in hundredths of a percent.
    pub share: u32,
    /// At least so many, however small the ring.
    pub at_least: u32,
}

impl FailureBudget {
    /// Failures a ring of so many sensors bears: max(at least, floor(share of the ring)).
    #[must_use]
    pub fn tolerated(self, ring: u32) -> u32 {
        let share = u64::from(self.share) * u64::from(ring) / 10_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.at_least)
    }
}

/// How a release goes through the fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutPolicy {
    /// From publication to the start in the delayed ring (S: “a delay of 72 hours”).
    pub delayed_ring: Duration,
    /// A hard cap over all rollouts, set by somebody. `None`: one at a time, or the adaptive pace for a long ring (S, P).
    pub max_in_flight: Option<u32>,
    /// A ring that would take longer than this one at a time uses the adaptive pace (P: 24 h).
    pub longest_serial_ring: Duration,
    /// The widest step of the adaptive pace in percent of the ring (P: 10 %).
    pub adaptive_widest_percent: u32,
    /// The widest step of the adaptive pace in sensors (P: 500).
    pub adaptive_widest: u32,
    /// What one sensor is expected to take from hand-out to clearance: two check-ins, for the plan's end date (P).
    pub expected_step: Duration,
    /// From hand-out to switch (P: 30 min).
    pub staging_deadline: Duration,
    /// From the switch to clearance, and the longest silence of a sensor in flight (P: 10 min).
    pub clearance_deadline: Duration,
    /// Failures a ring bears (P: the larger of 1 and 2 %).
    pub failure_budget: FailureBudget,
    /// Sensors that must stay watching, per zone name (none unless declared).
    pub coverage: BTreeMap<String, u32>,
    /// Releases behind from which a sensor is Outdated (S: “at least three versions behind”).
    pub outdated_from: u32,
    /// Whether more than the sensor may be restarted for a major package; off: staged, waiting for restart (S, P).
    pub restart_for_major: RestartSwitch,
    /// A host that restarts for an update is given so much more time, to switch and to be heard of again (P: 30 min).
    pub restart_takes: Duration,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            delayed_ring: hours(72),
            max_in_flight: None,
            longest_serial_ring: hours(24),
            adaptive_widest_percent: 10,
            adaptive_widest: 500,
            expected_step: minutes(2),
            staging_deadline: minutes(30),
            clearance_deadline: minutes(10),
            failure_budget: FailureBudget { share: 200, at_least: 1 },
            coverage: BTreeMap::new(),
            outdated_from: 3,
            restart_for_major: RestartSwitch::Off,
            restart_takes: minutes(30),
        }
    }
}

/// Health issues and the conditions behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPolicy {
    /// How long an issue stays suppressed (L: 7 days).
    pub suppressed_for: Duration,
    /// How often the configuration of a host is audited (L: once a day).
    pub configuration_audit_every: Duration,
    /// Failed name resolutions above this share open an issue, in percent (L: 90 %).
    pub name_resolution_failures_percent: u32,
    /// A directory password that expires sooner opens an issue (L: 30 days).
    pub password_expiry_within: Duration,
    /// A host's clock may differ from the server's by so much (L: “within 5 min” of domain controllers).
    pub clock_skew: Duration,
    /// An audit log that does not grow for so long is silent (P: 30 min).
    pub audit_log_silent_after: Duration,
    /// An engine that was started must answer within this (P: 5 min).
    pub engine_answers_within: Duration,
    /// The end of an operating system's support is announced so long before (P: 180 days).
    pub system_ends_within: Duration,
    /// Until when operating systems are supported (L: their makers' pages).
    pub systems: Vec<SystemSupport>,
    /// From so many sensors of a domain with the same issue on, the domain has one too that lists them (P: 2).
    pub domain_issue_from: usize,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            suppressed_for: days(7),
            configuration_audit_every: days(1),
            name_resolution_failures_percent: 90,
            password_expiry_within: days(30),
            clock_skew: minutes(5),
            audit_log_silent_after: minutes(30),
            engine_answers_within: minutes(5),
            system_ends_within: days(180),
            systems: SYSTEMS.to_vec(),
            domain_issue_from: 2,
        }
    }
}

/// Client certificates of hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificatePolicy {
    /// How long one is valid (S: 2 years).
    pub validity: Duration,
    /// How long before expiry renewal begins (P: 60 days).
    pub renewal_before: Duration,
    /// Over how long the renewals of a fleet are spread (P: 14 days).
    pub renewal_spread: Duration,
    /// Less validity than this opens an issue (L: 21 days).
    pub issue_before: Duration,
    /// When the one before is removed after the next was first used, if it was used again (P: 7 days).
    pub previous_kept: Duration,
    /// How long one that has expired is still accepted for everything; after that for its own renewal alone (P: 90
    /// days).
    pub expired_accepted: Duration,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        Self {
            validity: days(2 * 365),
            renewal_before: days(60),
            renewal_spread: days(14),
            issue_before: days(21),
            previous_kept: days(7),
            expired_accepted: days(90),
        }
    }
}

/// The way from generation 2 to 3.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationPolicy {
    /// What one usually takes (S: 20 min).
    pub usual: Duration,
    /// When it is reverted by itself (S: 2 h).
    pub deadline: Duration,
    /// How long it can be rolled back before it is committed (S: 7 days).
    pub observation: Duration,
    /// The oldest platform agent that can host generation 3 (S: 10.8735).
    pub platform_agent_minimum: (u32, u32),
    /// The oldest build of the operating system per line; a line that is not named is Not ready (S, P).
    pub build_minimum: BTreeMap<u32, u32>,
}

impl Default for MigrationPolicy {
    fn default() -> Self {
        Self {
            usual: minutes(20),
            deadline: hours(2),
            observation: days(7),
            platform_agent_minimum: (10, 8735),
            build_minimum: BTreeMap::from([(20_348, 4893)]),
        }
    }
}

/// Network sensors, their files and their releases.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkPolicy {
    /// Silence that shows the “disconnected” message (L: 5 min).
    pub disconnected_message_after: Duration,
    /// No packet on any monitored interface for so long is “no traffic” (P: 10 min).
    pub no_traffic_after: Duration,
    /// The stretch over which unstable traffic is judged (P: 15 min).
    pub unstable_within: Duration,
    /// Reconnects in that stretch that make it unstable (P: 3).
    pub unstable_reconnects: u32,
    /// Late check-ins in that stretch that make it unstable, in percent (P: 20 %).
    pub unstable_late_percent: u32,
    /// Sensors in one remote update request at most (L: 10).
    pub remote_update_bulk: u32,
    /// How long a release is supported after its month (L: 1 year).
    pub supported_for: Duration,
    /// An activation file must be uploaded so soon after it was made (L: 14 days).
    pub activation_file_valid: Duration,
    /// How long an activation command's token may be used (P: 14 days).
    pub activation_command_valid: Duration,
    /// How long a password recovery file may be used, once (P: 24 h).
    pub recovery_file_valid: Duration,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            disconnected_message_after: minutes(5),
            no_traffic_after: minutes(10),
            unstable_within: minutes(15),
            unstable_reconnects: 3,
            unstable_late_percent: 20,
            remote_update_bulk: 10,
            supported_for: days(365),
            activation_file_valid: days(14),
            activation_command_valid: days(14),
            recovery_file_valid: hours(24),
        }
    }
}

/// Rule packages on their way to the engines.
#[derive(Clone, Debug, PartialEq)]
pub struct RulesPolicy {
    /// The first pause after a package could not be fetched; it doubles from there (P: 30 s).
    pub fetch_retry: Duration,
    /// The longest such pause (P: 10 min).
    pub fetch_retry_longest: Duration,
    /// From the first attempt until it is told as failed (P: 30 min).
    pub fetch_deadline: Duration,
    /// From then until the next round of attempts (P: 1 h).
    pub fetch_again_after: Duration,
    /// From handing a package to the sensor until its engines must have it (P: 10 min; 50,000 rules take half a minute).
    pub load_deadline: Duration,
    /// The first pause before a sensor that could not load a package just then is asked again; it doubles (P: 30 s).
    pub load_retry: Duration,
    /// From a load that ended without a verdict until the package is tried again; it doubles (P: 1 h).
    pub load_again_after: Duration,
    /// The longest such pause (P: 24 h).
    pub load_again_longest: Duration,
    /// Sensor processes that may end while they load one package before it is taken for bad (P: 3).
    pub load_attempts: u32,
    /// Bad builds that a host remembers (P: 32).
    pub bad_remembered: usize,
    /// From offering a package until a sensor that says nothing of it is no longer “in progress” (P: 1 h).
    pub offer_deadline: Duration,
    /// Sensors a build may fail on before it is handed to no further one: one more than 2 % stops it (P).
    pub brake: FailureBudget,
}

impl Default for RulesPolicy {
    fn default() -> Self {
        Self {
            fetch_retry: Duration::from_secs(30),
            fetch_retry_longest: minutes(10),
            fetch_deadline: minutes(30),
            fetch_again_after: hours(1),
            load_deadline: minutes(10),
            load_retry: Duration::from_secs(30),
            load_again_after: hours(1),
            load_again_longest: hours(24),
            load_attempts: 3,
            bad_remembered: 32,
            offer_deadline: hours(1),
            brake: FailureBudget { share: 200, at_least: 0 },
        }
    }
}

/// What a sensor and the control plane keep, and how long.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionPolicy {
    /// Devices, from their last activity (L: 90 days).
    pub devices: Duration,
    /// Alerts, from their first detection (L: 90 days).
    pub alerts: Duration,
    /// Size of one log file in bytes (L: 50 MB).
    pub log_file: u64,
    /// Log files that are kept (L: 10).
    pub log_files: u32,
    /// Captured packets that were fetched to the control plane (L: 48 h).
    pub fetched_capture: Duration,
    /// Entries of a sensor's timeline; the oldest are dropped (L: 10 million on the large appliances).
    pub timeline_events: u64,
    /// Disk of a sensor's evidence without packets: alerts, devices, timeline, with the database's own log (P: 2 GiB,
    /// room for that timeline at 100 bytes an entry, and as much again).
    pub evidence_bytes: u64,
    /// Disk of a sensor's captured packets; the oldest files are dropped (L: 2.5 GB, the smallest appliance).
    pub capture_bytes: u64,
    /// Devices of one sensor; the one that was silent longest is dropped (L: 12,000, the largest appliance).
    pub devices_at_most: usize,
    /// A device that shows nothing but that it is there goes up to the control plane this often (P: 1 h).
    pub device_told_every: Duration,
}

impl RetentionPolicy {
    /// The largest share of a disk that evidence takes, in percent (P: the host comes first).
    const EVIDENCE_PERCENT: u64 = 10;
    /// The largest share of a disk that captured packets take, in percent (P).
    const CAPTURE_PERCENT: u64 = 20;

    /// The same on a disk of so many bytes: a small one is not filled with evidence.
    #[must_use]
    pub fn on_disk(mut self, bytes: u64) -> Self {
        let share = |percent: u64| (bytes / 100).saturating_mul(percent);
        self.evidence_bytes = self.evidence_bytes.min(share(Self::EVIDENCE_PERCENT));
        self.capture_bytes = self.capture_bytes.min(share(Self::CAPTURE_PERCENT));
        self
    }
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            devices: days(90),
            alerts: days(90),
            log_file: 50 * MEBIBYTE,
            log_files: 10,
            fetched_capture: hours(48),
            timeline_events: 10_000_000,
            evidence_bytes: 2 * GIBIBYTE,
            capture_bytes: GIBIBYTE * 5 / 2,
            devices_at_most: 12_000,
            device_told_every: hours(1),
        }
    }
}

/// What the control plane takes from one sensor, however much it sends.
#[derive(Clone, Debug, PartialEq)]
pub struct IntakePolicy {
    /// How far ahead of the server's clock an instant of a sensor may lie (P: 5 min).
    pub clock_tolerance: Duration,
    /// The stretch over which batches of evidence are counted (P: 1 min).
    pub window: Duration,
    /// Batches of one sensor that are taken in that stretch (P: 600, which is 2,000 alerts a second).
    pub batches: u32,
    /// Alerts of one sensor that are kept, the oldest going first (P: 200,000).
    pub alerts: u64,
    /// Devices of one sensor that are kept, the longest unseen going first (P: 100,000).
    pub devices: u64,
}

impl Default for IntakePolicy {
    fn default() -> Self {
        Self { clock_tolerance: minutes(5), window: minutes(1), batches: 600, alerts: 200_000, devices: 100_000 }
    }
}

/// Directories that are asked whether domain controllers still exist.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryPolicy {
    /// How often, unless the configuration says otherwise (P: 5 min).
    pub check_every: Duration,
    /// When a password that was refused is tried again, so that asking does not lock the account out (P: 30 min).
    pub refused_again_after: Duration,
}

impl Default for DirectoryPolicy {
    fn default() -> Self {
        Self { check_every: minutes(5), refused_again_after: minutes(30) }
    }
}

/// What the control plane says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnHealthPolicy {
    /// How often it looks at itself (P: 1 min).
    pub checked_every: Duration,
    /// Less free than this share of the disk is low, in percent (P: 10 %).
    pub disk_free_percent: u32,
    /// Less free than this is low, in bytes (P: 1 GiB).
    pub disk_free_bytes: u64,
    /// Less validity of a certificate than this opens an issue (L: “in < 3 weeks”).
    pub certificate_before: Duration,
    /// The same for a document of a repository that a person signs (P: 21 days).
    pub signed_by_hand_before: Duration,
    /// The same for one that the server signs every day for a week (P: 3 days, so four signatures have failed).
    pub signed_daily_before: Duration,
    /// From here on a certificate or a document can be renewed at leisure (P: 90 days, the first of the usual reminders).
    pub trust_due_before: Duration,
    /// The same for what is signed every day for a week (P: 5 days, so two signatures have failed).
    pub signed_daily_due_before: Duration,
    /// How long work must fail before that is an issue (P: 1 min).
    pub failing_for: Duration,
}

impl Default for OwnHealthPolicy {
    fn default() -> Self {
        Self {
            checked_every: minutes(1),
            disk_free_percent: 10,
            disk_free_bytes: GIBIBYTE,
            certificate_before: days(21),
            signed_by_hand_before: days(21),
            signed_daily_before: days(3),
            trust_due_before: days(90),
            signed_daily_due_before: days(5),
            failing_for: minutes(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_bears_two_percent_and_at_least_one() {
        let budget = RolloutPolicy::default().failure_budget;
        for (ring, tolerated) in [(0, 1), (1, 1), (99, 1), (100, 2), (149, 2), (150, 3), (1_000, 20)] {
            assert_eq!(budget.tolerated(ring), tolerated, "ring of {ring}");
        }
    }
}
