//! Health issues of the documents, each by its real fault: real processes, a real cable, and a clock that may be stepped.

mod network;
mod sensor;

use std::time::Duration;

use watchpost_core::time::Timestamp;

/// Releases that are published.
const VERSION: &str = "2.254.1.0";
/// Disks of the control plane and of the host, in MiB.
const DISK: u32 = 1_024;
/// What the limits of the documents are counted in.
const MINUTE: Duration = Duration::from_secs(60);
/// What the kernel shows where most of the memory is taken: a test that took it would starve whoever else works here.
const SHORT_OF_MEMORY: &str = "MemTotal:       24684544 kB\nMemFree:          401232 kB\nMemAvailable:    1203984 kB\n";
