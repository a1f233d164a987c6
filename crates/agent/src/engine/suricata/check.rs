//! Suricata's own check (`suricata -T`) of a configuration and a rules file, before the running engine is touched.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::control::RuleCounts;
use super::place::Place;
use super::process::{ProcessError, Programs, errors_in};

/// How long a check may take: 30 000 rules were measured at 8.5 s.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the check said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether everything is right.
    pub is_clean: bool,
    /// What it would load; `None`: it did not come to the rules.
    pub rules: Option<RuleCounts>,
    /// Why it refuses a rule, by its line.
    pub reasons: HashMap<usize, String>,
    /// Its first errors.
    pub errors: Vec<String>,
}

/// Runs the check with the engine's rights.
///
/// # Errors
/// When it cannot be run, or does not end.
pub async fn check(programs: &Programs, place: &Place, config: &Path, rules: &Path) -> Result<Checked, ProcessError> {
    let mut command = programs.command(place, config);
    command.args(["-T", "-v", "-S"]).arg(rules).stdout(Stdio::piped()).stderr(Stdio::piped());
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.map_err(late)??;
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    Ok(read(&text, output.status.success()))
}

/// Reads what Suricata 7.0 prints.
fn read(text: &str, is_clean: bool) -> Checked {
    let mut reasons = HashMap::new();
    let mut failed: u32 = 0;
    let mut rules = None;
    let mut last = "";
    for line in text.lines() {
        if let Some(at) = line.strip_prefix("Error: detect: error parsing signature").and(line.rsplit(' ').next()) {
            failed = failed.saturating_add(1);
            if let Ok(at) = at.parse() {
                reasons.insert(at, last.to_owned());
            }
        } else if let Some(error) = line.strip_prefix("Error: ") {
            // A refusal of a duplicate repeats the whole rule.
            let error = error.split_once(": ").map_or(error, |(_, error)| error);
            last = error.split(" \"").next().unwrap_or(error).trim_end_matches('.');
        } else if line.contains("but no rules were loaded!") {
            rules = Some(0);
        } else if let Some((_, counts)) = line.split_once("rule files processed. ") {
            rules = counts.split(' ').next().and_then(|loaded| loaded.parse().ok());
        }
    }
    Checked {
        is_clean,
        rules: rules.map(|loaded| RuleCounts { loaded, failed }),
        reasons,
        errors: errors_in(text).into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suricata_7_0_10_printed_is_understood() {
        let text = "Info: log-pcap: using normal logging\n\
            Error: detect-parse: unknown rule keyword 'nosuchkw'.\n\
            Error: detect: error parsing signature \"alert x (msg:\"x\"; sid:9;)\" from file /r at line 7\n\
            Error: detect-parse: Duplicate signature \"alert y\"\n\
            Error: detect: error parsing signature \"alert y\" from file /r at line 9\n\
            Info: detect: 1 rule files processed. 6 rules successfully loaded, 2 rules failed, 0\n\
            Error: suricata: Loading signatures failed.\n";
        let checked = read(text, false);
        assert_eq!(checked.rules, Some(RuleCounts { loaded: 6, failed: 2 }));
        assert_eq!(checked.reasons[&7], "unknown rule keyword 'nosuchkw'");
        assert_eq!(checked.reasons[&9], "Duplicate signature");
        let none = read("Warning: detect: 1 rule files specified, but no rules were loaded!\n", true);
        assert_eq!(none.rules, Some(RuleCounts { loaded: 0, failed: 0 }));
        assert_eq!(read("Error: conf-yaml-loader: no\n", false).rules, None);
    }
}
