//! The Suricata process: started with the least rights it can work with, and ended for certain.
//!
//! No code of ours runs between fork and exec: `setpriv` (util-linux) drops the rights. The process dies with the thread
//! that started it, so that thread has to live as long as the engine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::control::Control;
use super::place::Place;
use crate::host::process::{ask_to_end, memory_bytes};

/// The rights that capturing needs: raw sockets, promiscuous mode, the ring's memory.
const RIGHTS: &str = "-all,+net_raw,+net_admin,+ipc_lock";
/// Where programs are looked for beside `PATH`.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// What the engine may find in its environment.
const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";
/// The end of the engine's output that is searched for its last words.
const LAST_WORDS_BYTES: u64 = 8 * 1024;
/// The output that is kept before it is begun anew.
const OUTPUT_BYTES: u64 = 1024 * 1024;
/// How long it may take to end after it was asked to on its socket, and again after it was asked by a signal.
const STOP_PATIENCE: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(3)];
/// How long it may take to answer that it will.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// Why the engine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not installed.
    #[error("{program} is not installed; on Debian 12: {install}")]
    Missing {
        /// Which program.
        program: &'static str,
        /// How to install it.
        install: &'static str,
    },
    /// The system does not start it.
    #[error("Suricata cannot be started")]
    Io(#[from] io::Error),
}

/// The two programs.
#[derive(Clone, Debug)]
pub struct Programs {
    suricata: PathBuf,
    setpriv: PathBuf,
}

impl Programs {
    /// Finds them; `suricata` may be named.
    ///
    /// # Errors
    /// When one is not installed.
    pub fn find(suricata: Option<&Path>) -> Result<Self, ProcessError> {
        let install = "apt-get install -t bookworm-backports suricata";
        let named = suricata.filter(|path| is_program(path)).map(Path::to_owned);
        let suricata = if suricata.is_some() { named } else { find("suricata") };
        let suricata = suricata.ok_or(ProcessError::Missing { program: "suricata", install })?;
        let install = "apt-get install util-linux";
        let setpriv = find("setpriv").ok_or(ProcessError::Missing { program: "setpriv", install })?;
        Ok(Self { suricata, setpriv })
    }

    /// Suricata with the rights of the engine, its output not yet decided on.
    #[must_use]
    pub fn command(&self, place: &Place, config: &Path) -> Command {
        let mut command = Command::new(&self.setpriv);
        if let Some(user) = &place.user {
            command
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .arg("--clear-groups")
                .arg(format!("--inh-caps={RIGHTS}"))
                .arg(format!("--ambient-caps={RIGHTS}"))
                .arg(format!("--bounding-set={RIGHTS}"));
        }
        command
            .args(["--no-new-privs", "--pdeathsig", "KILL"])
            .arg(&self.suricata)
            .arg("-c")
            .arg(config)
            .arg("-l")
            .arg(&place.log)
            .current_dir(&place.log)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(PROGRAM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The running engine.
pub struct Process {
    child: Child,
    pid: u32,
    output: File,
}

impl Process {
    /// Starts it on the interfaces of its configuration.
    ///
    /// # Errors
    /// When the system does not start it.
    pub fn start(programs: &Programs, place: &Place) -> Result<Self, ProcessError> {
        // Appended to, so that it may be cut while it is written.
        let output = OpenOptions::new().create(true).append(true).read(true).mode(0o640).open(place.output())?;
        output.set_len(0)?;
        let mut command = programs.command(place, &place.config());
        command.arg("--af-packet").stdout(output.try_clone()?).stderr(output.try_clone()?);
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child, pid, output })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended. Safe to cancel.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Memory that it has in use.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(self.pid)
    }

    /// Cuts its output when it has become long.
    pub fn trim_output(&self) {
        if self.output.metadata().is_ok_and(|found| found.len() > OUTPUT_BYTES) {
            // What cannot be cut now is cut at the next look.
            let _ = self.output.set_len(0);
        }
    }

    /// The last errors that it printed, in one line.
    #[must_use]
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        let mut file = &self.output;
        let length = file.metadata().map_or(0, |found| found.len());
        let begin = file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)));
        if begin.and_then(|_| file.take(LAST_WORDS_BYTES).read_to_string(&mut text)).is_err() {
            return String::new();
        }
        errors_in(&text).join("; ")
    }

    /// Ends it: politely, then by a signal, then by force. Afterwards it is gone.
    pub async fn stop(mut self, place: &Place) {
        if let Ok(mut control) = Control::connect(&place.control(), Some(self.pid), ANSWER_PATIENCE).await
            && control.shut_down().await.is_ok()
            && tokio::time::timeout(STOP_PATIENCE[0], self.child.wait()).await.is_ok()
        {
            return;
        }
        ask_to_end(self.pid);
        if tokio::time::timeout(STOP_PATIENCE[1], self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it by force.
    pub async fn kill(mut self) {
        // It may have ended a moment ago.
        let _ = self.child.kill().await;
    }
}

/// Most errors that are told.
const ERRORS_TOLD: usize = 3;

/// The errors in what Suricata printed, without its own words before them, at most a few.
pub(super) fn errors_in(text: &str) -> Vec<&str> {
    let error = |line: &'_ str| -> Option<usize> {
        ["E: ", "Error: ", "setpriv: "].iter().find(|mark| line.starts_with(**mark)).map(|mark| mark.len())
    };
    let errors = text.lines().filter_map(|line| line.get(error(line)?..));
    errors.take(ERRORS_TOLD).collect()
}
