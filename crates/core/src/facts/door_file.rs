//! The files in which collectors leave facts: read as text that was already fetched, checked, and merged.
//!
//! A file that is too large, cannot be read, is stale or says too much is passed over with a complaint; it never takes
//! another file down with it.

use serde::Deserialize;

use super::door::DoorFacts;
use crate::time::Timestamp;

/// The folder of the files, below the host's root.
pub const DOOR_FOLDER: &str = "facts.d";
/// Most files that are read, in the order of their names.
pub const MAX_DOOR_FILES: usize = 16;
/// Most bytes of one file.
pub const MAX_DOOR_FILE_BYTES: usize = 64 * 1024;
/// Most bytes that all files together may add to a report.
pub const MAX_DOOR_BYTES: usize = 12 * 1024;
/// A file cannot claim to hold for longer than this: audits run once a day.
pub const MAX_VALIDITY: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 60 * 60);

/// One file as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorFile {
    /// Its name, for the order and for complaints.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// What all files together say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DoorReading {
    /// The facts.
    pub facts: DoorFacts,
    /// What was passed over, and why; for the log.
    pub complaints: Vec<String>,
    /// When the first of the files that count goes stale.
    pub stale_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    valid_until: Timestamp,
    facts: serde_json::Map<String, serde_json::Value>,
}

/// Reads files of facts; of two that say something of the same, the one whose name is later counts.
#[must_use]
pub fn read_door(mut files: Vec<DoorFile>, now: Timestamp) -> DoorReading {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut reading = DoorReading::default();
    if files.len() > MAX_DOOR_FILES {
        reading.complaints.push(format!("there are {} files; only {MAX_DOOR_FILES} are read", files.len()));
    }
    for file in files.into_iter().take(MAX_DOOR_FILES) {
        if let Err(why) = take(&mut reading, &file, now) {
            reading.complaints.push(format!("{} is passed over: {why}", file.name));
        }
    }
    reading
}

fn take(reading: &mut DoorReading, file: &DoorFile, now: Timestamp) -> Result<(), String> {
    if file.text.len() > MAX_DOOR_FILE_BYTES {
        return Err(format!("it is larger than {MAX_DOOR_FILE_BYTES} bytes"));
    }
    let form: Form = serde_json::from_str(&file.text).map_err(|error| error.to_string())?;
    if form.valid_until <= now {
        return Err(format!("it was valid until {}", form.valid_until));
    }
    if form.valid_until > now + MAX_VALIDITY {
        return Err(format!("it claims to hold until {}; at most a week is believed", form.valid_until));
    }
    let names: Vec<String> = form.facts.keys().cloned().collect();
    let facts: DoorFacts =
        serde_json::from_value(serde_json::Value::Object(form.facts)).map_err(|error| error.to_string())?;
    let mut both = reading.facts.clone();
    both.merge(facts.clean());
    let known = serde_json::to_value(&both).map_err(|error| error.to_string())?;
    if known.to_string().len() > MAX_DOOR_BYTES {
        return Err(format!("with it the facts would be larger than {MAX_DOOR_BYTES} bytes"));
    }
    for name in names.iter().filter(|name| known.get(name.as_str()).is_none()) {
        reading.complaints.push(format!("{}: there is no fact called “{}”", file.name, crate::health::line(name)));
    }
    reading.facts = both;
    reading.stale_at = Some(reading.stale_at.map_or(form.valid_until, |at| at.min(form.valid_until)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::facts::door::{Check, MAX_DOOR_TEXT, MAX_PROBLEMS};

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

    fn file(name: &str, valid_for: u64, facts: &str) -> DoorFile {
        let valid_until = NOW + Duration::from_secs(valid_for);
        DoorFile { name: name.to_owned(), text: format!(r#"{{"validUntil":"{valid_until}","facts":{facts}}}"#) }
    }

    #[test]
    fn later_files_win_field_by_field_and_domain_by_domain() {
        let first = r#"{"powerMode":{"problems":["balanced"]},"ntlmAuditing":{},
            "objectAuditing":{"CORP.example":{"problems":["user"]},"b.example":{}}}"#;
        let second = r#"{"powerMode":{},"objectAuditing":{"corp.example":{}}}"#;
        let reading = read_door(vec![file("20.json", 60, second), file("10.json", 30, first)], NOW);
        assert_eq!(reading.complaints, Vec::<String>::new());
        assert_eq!(reading.facts.power_mode, Some(Check::default()));
        assert_eq!(reading.facts.ntlm_auditing, Some(Check::default()));
        assert_eq!(reading.facts.object_auditing["corp.example"], Check::default());
        assert_eq!(reading.facts.object_auditing.len(), 2);
        assert_eq!(reading.stale_at, Some(NOW + Duration::from_secs(30)));
    }

    #[test]
    fn a_bad_file_is_passed_over_alone() {
        let good = || file("z.json", 60, r#"{"sanity":{}}"#);
        for (bad, why) in [
            (file("a.json", 0, "{}"), "it was valid until"),
            (file("a.json", 8 * 86_400, "{}"), "at most a week"),
            (DoorFile { name: "a.json".into(), text: "{".into() }, "EOF"),
            (DoorFile { name: "a.json".into(), text: " ".repeat(MAX_DOOR_FILE_BYTES + 1) }, "larger than"),
            (file("a.json", 60, r#"{"sanity":"yes"}"#), "invalid type"),
            (DoorFile { name: "a.json".into(), text: r#"{"facts":{}}"#.into() }, "validUntil"),
        ] {
            let reading = read_door(vec![bad, good()], NOW);
            assert_eq!(reading.facts.sanity, Some(Check::default()), "{why}");
            assert!(reading.complaints.len() == 1 && reading.complaints[0].contains(why), "{:?}", reading.complaints);
        }
        let reading = read_door(vec![file("a.json", 60, r#"{"sanety":{}}"#)], NOW);
        assert_eq!(reading.complaints, ["a.json: there is no fact called “sanety”"]);
    }

    #[test]
    fn lists_and_texts_are_cut_and_the_whole_is_bounded() {
        let long = "x\u{1b}".repeat(MAX_DOOR_TEXT);
        let problems: Vec<_> = (0..20).map(|_| long.clone()).collect();
        let facts = serde_json::json!({ "ntlmAuditing": { "problems": problems } }).to_string();
        let check = read_door(vec![file("a.json", 60, &facts)], NOW).facts.ntlm_auditing.unwrap();
        assert_eq!(check.problems.len(), MAX_PROBLEMS);
        assert_eq!(check.problems[0].chars().count(), MAX_DOOR_TEXT);
        assert!(!check.problems[0].contains('\u{1b}'));
        let names =
            "ntlmAuditing advancedAuditing adcsAuditing powerMode rpcAudit sanity backup etwEvents entraConnect";
        let many: Vec<_> = names
            .split(' ')
            .map(|name| file(name, 60, &serde_json::json!({ name: { "problems": problems } }).to_string()))
            .chain([file("zz", 60, r#"{"overloaded":{}}"#)])
            .collect();
        let reading = read_door(many, NOW);
        assert!(serde_json::to_string(&reading.facts).unwrap().len() <= MAX_DOOR_BYTES);
        assert!(reading.complaints.iter().any(|line| line.contains("larger than")));
        assert!(reading.facts.overloaded.is_some(), "a small file still counts");
    }

    #[test]
    fn the_example_of_the_guide_is_taken_whole() {
        let guide = include_str!("../../../../docs/operators/fact-door.md");
        let example = guide.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let valid_until: serde_json::Value = serde_json::from_str(example).unwrap();
        let until: Timestamp = valid_until["validUntil"].as_str().unwrap().parse().unwrap();
        let file = DoorFile { name: "windows.json".to_owned(), text: example.to_owned() };
        let reading = read_door(vec![file], until - Duration::from_secs(60));
        assert_eq!(reading.complaints, Vec::<String>::new());
        let shown = serde_json::to_value(&reading.facts).unwrap();
        assert_eq!(shown, valid_until["facts"], "nothing was cut or passed over");
        assert_eq!(shown.as_object().unwrap().len(), 20, "every field is shown");
        for field in shown.as_object().unwrap().keys() {
            assert!(guide.contains(&format!("| `{field}`")), "{field} is explained");
        }
    }
}
