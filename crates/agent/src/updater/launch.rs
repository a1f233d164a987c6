//! How a sensor is started: as the updater itself, as a user with the least rights, or by systemd in a unit of its own.
//!
//! No code of ours runs between fork and exec: `setpriv` (util-linux) drops the rights.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::process::Command;

use crate::host_config::HostConfig;

/// The one right that a sensor may need: raw sockets, for capturing.
const RIGHTS: &str = "-all,+net_raw";
/// How long systemd may take to start a unit, in real time.
const UNIT_PATIENCE: Duration = Duration::from_secs(30);

/// Why a sensor cannot be started as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such user.
    #[error("there is no user “{0}”; create it (useradd --system --shell /usr/sbin/nologin {0}) or name another one")]
    NoUser(String),
    /// Only root may start a process as somebody else.
    #[error("only root may start the sensor as “{0}”; run setup and updater as root, or name no sensor user")]
    NotRoot(String),
}

/// As whom the sensor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorUser {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl SensorUser {
    /// The user of this name.
    ///
    /// # Errors
    /// When there is none, or this process may not start anything as it.
    pub fn find(name: &str) -> Result<Self, LaunchError> {
        let found = User::from_name(name).ok().flatten().ok_or_else(|| LaunchError::NoUser(name.to_owned()))?;
        if !Uid::effective().is_root() {
            return Err(LaunchError::NotRoot(name.to_owned()));
        }
        Ok(Self { uid: found.uid.as_raw(), gid: found.gid.as_raw() })
    }
}

/// The way a sensor is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Launch {
    /// As a child with the updater's own rights.
    #[default]
    AsUs,
    /// As a child of this user, with raw sockets and nothing more.
    As(SensorUser),
    /// By systemd, in this unit. The updater adopts what runs there.
    Unit(String),
}

impl Launch {
    /// What the host's settings ask for.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn of(config: &HostConfig) -> Result<Self, LaunchError> {
        match (&config.sensor_unit, &config.sensor_user) {
            (Some(unit), _) => Ok(Self::Unit(unit.clone())),
            (None, Some(user)) => SensorUser::find(user).map(Self::As),
            (None, None) => Ok(Self::AsUs),
        }
    }

    /// The command that runs a program this way as a child.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let Self::As(user) = self else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups")
            .arg(format!("--inh-caps={RIGHTS}"))
            .arg(format!("--ambient-caps={RIGHTS}"))
            .arg(format!("--bounding-set={RIGHTS}"))
            .arg("--no-new-privs")
            .arg(program);
        command
    }
}

/// Has systemd start a unit, and waits until it has.
///
/// # Errors
/// When `systemctl` fails; says what it said.
pub(super) async fn start_unit(unit: &str) -> io::Result<()> {
    let mut command = Command::new("systemctl");
    command.args(["start", "--", unit]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(UNIT_PATIENCE, command.output()).await??;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("systemctl start {unit}: {}", said.trim().replace('\n', "; "))))
}
