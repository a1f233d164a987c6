//! CPU time, as the kernel counts it.

use std::time::Duration;

/// What this thread has spent so far.
pub(crate) fn own_cpu() -> Result<Duration, std::io::Error> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| std::io::Error::other("schedstat is not understood"))
}
