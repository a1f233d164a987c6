//! Health issues of the documents, each by its real fault: real processes, a real cable, and a clock that may be stepped.

mod network;
mod sensor;

use std::time::Duration;

/// Releases that are published.
const VERSION: &str = "2.254.1.0";
/// Disks of the control plane and of the host, in MiB.
const DISK: u32 = 1_024;
/// A check-in with its jitter: within this the control plane knows what a host knows.
const CHECK_IN: Duration = Duration::from_secs(75);
/// A minute and more of them.
const MINUTE: Duration = Duration::from_secs(60);
