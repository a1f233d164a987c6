//! Restarts more than the sensor, because a release needs it (E4): the watched service or the host, through systemd.
//!
//! Only ever on the machine's word, which rests on the signed package and on the control plane's leave.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use watchpost_core::restart::RestartNeed;

/// How long a watched service may take to stop and start, in real time. A domain controller takes a minute or two.
const SERVICE_PATIENCE: Duration = Duration::from_secs(8 * 60);
/// How long systemd may take to accept a restart of the host, in real time.
const HOST_PATIENCE: Duration = Duration::from_secs(60);
/// What the kernel calls this boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why nothing was restarted.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestartError {
    /// Nobody said which service is watched.
    #[error(
        "this host does not say which service it watches; run setup once more with --watched-unit UNIT, then retry"
    )]
    NoUnit,
    /// `systemctl` cannot be run, or does not end.
    #[error("`systemctl {what}` cannot be run; restart by hand, then retry")]
    NotRun {
        /// What it was asked.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It refuses.
    #[error("`systemctl {what}` failed: {said}")]
    Refused {
        /// What it was asked.
        what: String,
        /// What it said, in one line.
        said: String,
    },
}

/// What the kernel calls this boot of the host; empty where it does not say.
pub(super) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Restarts what a release needs restarted. A watched service has restarted when this returns; a host goes down soon after.
pub(super) async fn restart(need: RestartNeed, watched_unit: Option<&str>) -> Result<(), RestartError> {
    match need {
        RestartNeed::None => Ok(()),
        RestartNeed::WatchedService => {
            let unit = watched_unit.ok_or(RestartError::NoUnit)?;
            systemctl(&["restart", "--", unit], SERVICE_PATIENCE).await
        }
        RestartNeed::Host => systemctl(&["reboot"], HOST_PATIENCE).await,
    }
}

async fn systemctl(words: &[&str], patience: Duration) -> Result<(), RestartError> {
    let what = words.iter().filter(|word| **word != "--").copied().collect::<Vec<_>>().join(" ");
    let mut command = Command::new("systemctl");
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(patience, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(RestartError::NotRun { what, source }),
        Err(late) => return Err(RestartError::NotRun { what, source: late.into() }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(RestartError::Refused { what, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_that_names_no_watched_service_says_how_to_name_one() {
        let error = restart(RestartNeed::WatchedService, None).await.unwrap_err();
        assert!(error.to_string().contains("--watched-unit"), "{error}");
        assert!(restart(RestartNeed::None, None).await.is_ok());
    }

    #[test]
    fn every_boot_has_a_name() {
        assert_eq!(boot_id().len(), 36, "a UUID as random(4) says");
    }
}
