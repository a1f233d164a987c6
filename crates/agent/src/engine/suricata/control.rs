//! The socket on which Suricata is asked: JSON lines, protocol 0.2, one command after the other.
//!
//! Every answer has a deadline and a limit. A reload is started and then looked after; nothing here waits for one.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use watchpost_core::facts::InterfaceCounters;

/// The version of the protocol that is spoken.
const PROTOCOL: &str = "0.2";
/// The longest answer: the list of refused rules of a large set.
const ANSWER_LIMIT: u64 = 16 * 1024 * 1024;

/// Why Suricata did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed or was closed.
    #[error("Suricata's control socket failed; it is not running, or is about to end")]
    Io(#[from] std::io::Error),
    /// The other end is not the process that was started.
    #[error("another process answers on Suricata's control socket; stop the Suricata that was started by hand")]
    Stranger,
    /// No answer in time.
    #[error("Suricata did not answer within {} s; it hangs or is overloaded", .0.as_secs())]
    Late(Duration),
    /// The answer is no answer.
    #[error("Suricata's answer to “{0}” is not understood; is it another version than 7.0?")]
    NotUnderstood(&'static str),
    /// It says no.
    #[error("Suricata refuses “{command}”: {message}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// What it said.
        message: String,
    },
}

/// What it says about its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RuleCounts {
    /// In force.
    pub loaded: u32,
    /// Refused.
    pub failed: u32,
}

/// A rule that it refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FailedRule {
    /// Its text.
    #[serde(default)]
    pub rule: String,
    /// The line of the one rules file.
    #[serde(default)]
    pub line: usize,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    verdict: String,
    #[serde(default)]
    message: Value,
}

/// One connection.
pub struct Control {
    answers: BufReader<OwnedReadHalf>,
    commands: OwnedWriteHalf,
    patience: Duration,
}

impl Control {
    /// Connects and agrees on the protocol. Each answer may take `patience`. With `pid`, only that process will do.
    ///
    /// # Errors
    /// When nobody, a stranger, or nobody in time answers.
    pub async fn connect(path: &Path, pid: Option<u32>, patience: Duration) -> Result<Self, ControlError> {
        let stream = within(patience, UnixStream::connect(path)).await??;
        let peer = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        if pid.is_some() && peer != pid {
            return Err(ControlError::Stranger);
        }
        let (read, commands) = stream.into_split();
        let mut control = Self { answers: BufReader::new(read), commands, patience };
        control.exchange("version", &json!({"version": PROTOCOL})).await?;
        Ok(control)
    }

    async fn ask(&mut self, command: &'static str) -> Result<Value, ControlError> {
        self.exchange(command, &json!({"command": command})).await
    }

    async fn exchange(&mut self, command: &'static str, line: &Value) -> Result<Value, ControlError> {
        let patience = self.patience;
        let answer = within(patience, self.send_and_read(line)).await??;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| ControlError::NotUnderstood(command))?;
        if answer.verdict == "OK" {
            return Ok(answer.message);
        }
        let message = answer.message.as_str().unwrap_or_default().to_owned();
        Err(ControlError::Refused { command, message })
    }

    async fn send_and_read(&mut self, line: &Value) -> std::io::Result<Vec<u8>> {
        self.commands.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        (&mut self.answers).take(ANSWER_LIMIT).read_until(b'\n', &mut answer).await?;
        if answer.ends_with(b"\n") { Ok(answer) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Seconds since it started. That it answers is what matters.
    ///
    /// # Errors
    /// When it does not.
    pub async fn uptime(&mut self) -> Result<u64, ControlError> {
        self.ask("uptime").await?.as_u64().ok_or(ControlError::NotUnderstood("uptime"))
    }

    /// What it listens on, whether that is there or not.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn interfaces(&mut self) -> Result<Vec<String>, ControlError> {
        let answer = self.ask("iface-list").await?;
        let names = answer.get("ifaces").and_then(Value::as_array).ok_or(ControlError::NotUnderstood("iface-list"))?;
        Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What it counted on one interface.
    ///
    /// # Errors
    /// When it does not answer, or does not listen there.
    pub async fn interface(&mut self, name: &str) -> Result<InterfaceCounters, ControlError> {
        let line = json!({"command": "iface-stat", "arguments": {"iface": name}});
        let answer = self.exchange("iface-stat", &line).await?;
        let number = |key: &str| answer.get(key).and_then(Value::as_u64);
        let (Some(received), Some(dropped)) = (number("pkts"), number("drop")) else {
            return Err(ControlError::NotUnderstood("iface-stat"));
        };
        Ok(InterfaceCounters { packets: received, dropped })
    }

    /// All its counters; refused within its first seconds.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn counters(&mut self) -> Result<Value, ControlError> {
        self.ask("dump-counters").await
    }

    /// How many rules it has loaded and refused.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn rule_counts(&mut self) -> Result<RuleCounts, ControlError> {
        let answer = self.ask("ruleset-stats").await?;
        let number = |key: &str| answer.get(0).and_then(|first| first.get(key)).and_then(Value::as_u64);
        let count = |key: &str| number(key).and_then(|count| u32::try_from(count).ok());
        match (count("rules_loaded"), count("rules_failed")) {
            (Some(loaded), Some(failed)) => Ok(RuleCounts { loaded, failed }),
            (_, _) => Err(ControlError::NotUnderstood("ruleset-stats")),
        }
    }

    /// The rules that it refused.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn failed_rules(&mut self) -> Result<Vec<FailedRule>, ControlError> {
        let answer = self.ask("ruleset-failed-rules").await?;
        serde_json::from_value(answer).map_err(|_| ControlError::NotUnderstood("ruleset-failed-rules"))
    }

    /// When it loaded its rules, in its own words; another word after every reload.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn loaded_at(&mut self) -> Result<String, ControlError> {
        let answer = self.ask("ruleset-reload-time").await?;
        let word = answer.get(0).and_then(|first| first.get("last_reload")).and_then(Value::as_str);
        word.map(str::to_owned).ok_or(ControlError::NotUnderstood("ruleset-reload-time"))
    }

    /// Begins to load the rules again. `false`: it is at it already.
    ///
    /// # Errors
    /// When it does not answer, or refuses for another reason.
    pub async fn begin_reload(&mut self) -> Result<bool, ControlError> {
        match self.ask("ruleset-reload-nonblocking").await {
            Ok(_) => Ok(true),
            Err(ControlError::Refused { message, .. }) if message.contains("in progress") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn shut_down(&mut self) -> Result<(), ControlError> {
        self.ask("shutdown").await.map(|_| ())
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T, ControlError> {
    tokio::time::timeout(patience, work).await.map_err(|_| ControlError::Late(patience))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// A Suricata that answers each line with the next of `answers`, then says nothing more.
    fn played(answers: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let answers: Vec<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            for answer in answers {
                lines.next_line().await.unwrap();
                write.write_all(answer.as_bytes()).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        (folder, path)
    }

    const PATIENCE: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn answers_are_read_as_the_real_one_writes_them() {
        let (_folder, path) = played(&[
            r#"{"return": "OK"}"#,
            r#"{"message": [{"id": 0, "rules_loaded": 6, "rules_failed": 3, "rules_skipped": 0}], "return": "OK"}"#,
            r#"{"message": {"pkts": 49, "invalid-checksums": 0, "drop": 2, "bypassed": 0}, "return": "OK"}"#,
            r#"{"message": "Reload already in progress", "return": "NOK"}"#,
            r#"{"message": "Unknown command", "return": "NOK"}"#,
            "no json",
        ]);
        let mut control = Control::connect(&path, None, PATIENCE).await.unwrap();
        assert_eq!(control.rule_counts().await.unwrap(), RuleCounts { loaded: 6, failed: 3 });
        assert_eq!(control.interface("x").await.unwrap(), InterfaceCounters { packets: 49, dropped: 2 });
        assert!(!control.begin_reload().await.unwrap());
        assert!(matches!(control.uptime().await, Err(ControlError::Refused { .. })));
        assert!(matches!(control.uptime().await, Err(ControlError::NotUnderstood("uptime"))));
        assert!(matches!(control.uptime().await, Err(ControlError::Late(_))));
    }

    #[tokio::test]
    async fn only_the_process_that_was_started_is_believed() {
        let (_folder, path) = played(&[r#"{"return": "OK"}"#]);
        assert!(matches!(Control::connect(&path, Some(1), PATIENCE).await, Err(ControlError::Stranger)));
    }
}
