//! The door to a directory: asks its servers in turn what became of the domain controllers that have sensors.
//!
//! It only reads, decides nothing, never speaks without TLS, and never writes a password down.

mod ber;
mod channel;
mod session;

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use watchpost_core::directory::{Access, Answer};
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;

use crate::config::DirectorySettings;

/// Largest password file.
const MAX_PASSWORD_BYTES: u64 = 4 * 1024;
/// Most characters of what a server says that are shown.
const MAX_SHOWN: usize = 200;

/// What is asked about one sensor's domain controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The sensor.
    pub(crate) sensor: SensorId,
    /// The account name of its machine.
    pub(crate) account: String,
    /// Its object, if known: 32 hex digits.
    pub(crate) object: Option<String>,
}

/// What a look at a directory brought.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The server that answered.
    pub(crate) server: Option<String>,
    /// How the account was received.
    pub(crate) access: Access,
    /// One per question, if a server answered all of them.
    pub(crate) answers: Vec<(SensorId, Answer)>,
}

/// A password. `Debug` hides it.
#[derive(Clone)]
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Password {
    /// Reads it from its file; the end of the line is not part of it.
    ///
    /// # Errors
    /// Says in words why there is none. An empty one is none: a directory takes it for a wish to ask as nobody.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let unreadable =
            |error: std::io::Error| format!("the password file {} cannot be read: {error}", file.display());
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(MAX_PASSWORD_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() || text.len() as u64 > MAX_PASSWORD_BYTES {
            return Err(format!("the password file {} is empty, or too large to be one", file.display()));
        }
        Ok(Self(password.to_owned()))
    }

    /// What tells it from another one.
    pub(crate) fn hash(&self) -> [u8; 32] {
        crate::auth::secret::sha256(self.0.as_bytes())
    }
}

/// Why a server gave no answers.
#[derive(Debug)]
enum Failure {
    /// It could not be asked, or not be understood.
    Unreachable(String),
    /// The account was not let in.
    Refused { reason: String, is_expired: bool },
}

/// Asks the servers in turn until one answers. A refused account is not tried on the next one: they share the count
/// after which it is locked out.
pub(crate) async fn ask(settings: &DirectorySettings, password: &Password, questions: &[Question]) -> Asked {
    let mut reasons = Vec::new();
    for server in &settings.servers {
        let (settings, password, questions, to) =
            (settings.clone(), password.clone(), questions.to_vec(), server.clone());
        // In a task of its own: a parser that gives up on what a server sent ends that task and nothing else.
        let mut looking = tokio::task::JoinSet::new();
        looking.spawn(async move { session::look(&settings, &to, &password, &questions).await });
        match looking.join_next().await {
            Some(Ok(Ok((password_expires_at, answers)))) => {
                let access = Access::Granted { password_expires_at };
                return Asked { server: Some(server.to_string()), access, answers };
            }
            Some(Ok(Err(Failure::Refused { reason, is_expired }))) => {
                let access = Access::Refused { reason: format!("{server}: {reason}"), is_expired };
                return Asked { server: Some(server.to_string()), access, answers: Vec::new() };
            }
            Some(Ok(Err(Failure::Unreachable(reason)))) => reasons.push(format!("{server}: {reason}")),
            Some(Err(_)) | None => reasons.push(format!("{server}: its answer cannot be understood")),
        }
    }
    Asked { server: None, access: Access::Unreachable { reason: reasons.join("; ") }, answers: Vec::new() }
}

type Looked = Result<(Option<Timestamp>, Vec<(SensorId, Answer)>), Failure>;

/// What a server said, short and without anything that could mislead whoever reads it.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_with_its_line_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, " Passw0rd! \r\n").unwrap();
        let password = Password::read(&file).unwrap();
        assert_eq!(password.0, " Passw0rd! ");
        assert_eq!(format!("{password:?}"), "…");
        std::fs::write(&file, "\n").unwrap();
        assert!(Password::read(&file).unwrap_err().contains("is empty"));
        std::fs::write(&file, "x".repeat(5_000)).unwrap();
        assert!(Password::read(&file).is_err());
        assert!(Password::read(&dir.path().join("absent")).unwrap_err().contains("cannot be read"));
    }
}
