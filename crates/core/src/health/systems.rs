//! Until when operating systems are supported: data with its sources, part of the policy.
//!
//! A system that is not listed is not judged.

use crate::facts::OperatingSystem;
use crate::time::Timestamp;

/// One line of an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemSupport {
    /// Its `ID` in `/etc/os-release`; `windows-server` for that.
    pub id: &'static str,
    /// Its version, or the part of it before the first dot.
    pub version: &'static str,
    /// The first instant at which it is not supported any longer.
    pub ends: Timestamp,
}

/// Midnight UTC after a day: a system is supported through its last day.
const fn after_day(year: i64, month: i64, day: i64) -> Timestamp {
    // Days since 1970-01-01 in the Gregorian calendar, with the year beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Timestamp::from_millis((days + 1) * 86_400_000)
}

const fn system(id: &'static str, version: &'static str, year: i64, month: i64, day: i64) -> SystemSupport {
    SystemSupport { id, version, ends: after_day(year, month, day) }
}

/// The lines that are known. Read in 2026 from: <https://wiki.debian.org/LTS> (end of long-term support);
/// <https://ubuntu.com/about/release-cycle> (end of standard support, the end of the month that is named);
/// <https://access.redhat.com/support/policy/updates/errata> (end of maintenance support);
/// <https://learn.microsoft.com/lifecycle/products> (end of extended support).
pub const SYSTEMS: &[SystemSupport] = &[
    system("debian", "10", 2024, 6, 30),
    system("debian", "11", 2026, 8, 31),
    system("debian", "12", 2028, 6, 30),
    system("debian", "13", 2030, 6, 30),
    system("ubuntu", "18.04", 2023, 5, 31),
    system("ubuntu", "20.04", 2025, 5, 31),
    system("ubuntu", "22.04", 2027, 5, 31),
    system("ubuntu", "24.04", 2029, 5, 31),
    system("rhel", "7", 2024, 6, 30),
    system("rhel", "8", 2029, 5, 31),
    system("rhel", "9", 2032, 5, 31),
    system("rhel", "10", 2035, 5, 31),
    system("windows-server", "2012", 2023, 10, 10),
    system("windows-server", "2012 R2", 2023, 10, 10),
    system("windows-server", "2016", 2027, 1, 12),
    system("windows-server", "2019", 2029, 1, 9),
    system("windows-server", "2022", 2031, 10, 14),
    system("windows-server", "2025", 2034, 11, 14),
];

impl SystemSupport {
    /// Whether `system` belongs to this line.
    #[must_use]
    pub fn covers(&self, system: &OperatingSystem) -> bool {
        system.is_of(self.id, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_supported_through_its_last_day() {
        let ends = |id: &str, version: &str| {
            let system = OperatingSystem { id: id.to_owned(), version: version.to_owned() };
            SYSTEMS.iter().find(|line| line.covers(&system)).map(|line| line.ends.to_string())
        };
        assert_eq!(ends("debian", "12").as_deref(), Some("2028-07-01T00:00:00Z"));
        assert_eq!(ends("debian", "12.5").as_deref(), Some("2028-07-01T00:00:00Z"));
        assert_eq!(ends("rhel", "9.4").as_deref(), Some("2032-06-01T00:00:00Z"));
        assert_eq!(ends("windows-server", "2012 R2").as_deref(), Some("2023-10-11T00:00:00Z"));
        assert_eq!(ends("windows-server", "2019").as_deref(), Some("2029-01-10T00:00:00Z"));
        assert_eq!(ends("debian", "1"), None);
        assert_eq!(ends("rhel", "90"), None);
        assert_eq!(ends("ubuntu", "24.10"), None);
        assert_eq!(ends("nixos", "24.05"), None);
    }
}
