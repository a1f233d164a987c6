//! The rules of the release on recorded events, broken rules, and what narrows rules down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn content(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content").join(part)
}

/// The recording was read by hand; line numbers count from 1. Every other line must raise nothing.
#[test]
fn every_rule_fires_on_the_recorded_events_it_should_and_on_no_other() {
    let expected: BTreeMap<&str, &[usize]> = BTreeMap::from([
        ("domain-controller-account-changed.yml", [50, 52, 55].as_slice()),
        ("failed-logon-unknown-account.yml", &[6, 22]),
        ("failed-logon-wrong-password.yml", &[5, 21, 23]),
        // The fifth failed logon from 10.88.0.1 within seconds, of whatever account: lines 5, 6, 21, 22 and 23.
        ("failed-logons-from-one-address.yml", &[23]),
        ("password-reset.yml", &[11, 17, 25]),
        ("privileged-group-member-added.yml", &[33, 40]),
    ]);
    let mut sigma = Sigma::load(&content("rules")).unwrap();
    let recorded = std::fs::read_to_string(content("samples/samba-audit.jsonl")).unwrap();
    let mut fired: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, line) in (1..).zip(recorded.lines()) {
        for found in sigma.evaluate(&AuditEvent::parse(line.as_bytes()).unwrap(), true) {
            fired.entry(found.rule_file).or_default().push(number);
        }
    }
    let fired: BTreeMap<&str, &[usize]> = fired.iter().map(|(file, lines)| (file.as_str(), lines.as_slice())).collect();
    assert_eq!(fired, expected);
}

#[test]
fn the_release_loads_as_many_rules_as_it_announces() {
    let sigma = Sigma::load(&content("rules")).unwrap();
    assert_eq!(sigma.rules().complaints, Vec::<String>::new());
    let release = std::fs::read(content("release/release.json")).unwrap();
    let release = watchpost_core::release::ReleaseManifest::from_slice(&release).unwrap();
    assert_eq!(sigma.rules().loaded, release.rules_expected);
    assert_eq!(sigma.rules().failed, 0);
}

const RULE: &str = "title: T\nid: ID\nlogsource:\n  product: samba\ndetection:\n  s:\n    a: 1\n  condition: s\n";

#[test]
fn broken_rules_are_counted_and_the_rest_loads() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yml", &RULE.replace("ID", "one"));
    write("b.yml", "title: [");
    write("c.yml", &RULE.replace("condition: s", "condition: nothing"));
    write("d.yml", &RULE.replace("ID", "one"));
    write("e.yml", &RULE.replace("id: ID\n", ""));
    write("f.yml", "- a list\n");
    std::fs::write(folder.path().join("g.yml"), [0xff, 0xfe, 0x00]).unwrap();
    write("h.yml", &" ".repeat(300 * 1024));
    write("notes.txt", "not a rule");
    let mut sigma = Sigma::load(folder.path()).unwrap();
    assert_eq!((sigma.rules().loaded, sigma.rules().failed), (1, 7), "{:#?}", sigma.rules().complaints);
    assert_eq!(sigma.evaluate(&AuditEvent::parse(br#"{"a": 1}"#).unwrap(), true).len(), 1);
}

#[test]
fn of_a_rule_that_the_release_and_a_package_have_the_release_wins_and_nothing_failed() {
    let (release, package) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(release.path().join("a.yml"), RULE.replace("ID", "one")).unwrap();
    std::fs::write(package.path().join("a.yml"), RULE.replace("ID", "one").replace("a: 1", "a: 2")).unwrap();
    std::fs::write(package.path().join("b.yml"), RULE.replace("ID", "two")).unwrap();
    let folders = [release.path().to_owned(), package.path().to_owned()];
    let mut sigma = Sigma::load_all(&folders).unwrap();
    let rules = sigma.rules();
    assert_eq!((rules.loaded, rules.failed, rules.superseded), (2, 0, 1), "{:#?}", rules.complaints);
    let mut fired = |text: &str| sigma.evaluate(&AuditEvent::parse(text.as_bytes()).unwrap(), true).len();
    assert_eq!((fired(r#"{"a": 1}"#), fired(r#"{"a": 2}"#)), (2, 0));
    // Twice within the package is an error of the package.
    std::fs::write(package.path().join("c.yml"), RULE.replace("ID", "two")).unwrap();
    let sigma = Sigma::load_all(&folders).unwrap();
    assert_eq!((sigma.rules().failed, sigma.rules().superseded), (1, 1));
}

#[test]
fn the_hash_changes_with_names_and_contents() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(one.path().join("a.yml"), RULE).unwrap();
    std::fs::write(two.path().join("b.yml"), RULE).unwrap();
    let hash = |folder: &tempfile::TempDir| Sigma::load(folder.path()).unwrap().rules().sha256.clone();
    assert_eq!(hash(&one), hash(&one));
    assert_ne!(hash(&one), hash(&two));
    assert!(Sigma::load(&one.path().join("missing")).is_err());
}

/// Hand-made events, see content/samples/README.md: spraying in lines 2 to 6, one account from five addresses in 7 to 11.
#[test]
fn the_rules_for_windows_fire_on_its_events_in_every_form_and_on_no_other() {
    let expected: BTreeMap<&str, &[usize]> = BTreeMap::from([
        ("failed-logons-from-one-address.yml", [6].as_slice()),
        ("failed-logons-of-one-account.yml", &[11]),
        ("password-spraying.yml", &[6]),
        ("windows-audit-log-cleared.yml", &[16]),
        ("windows-directory-replication-requested.yml", &[17]),
        ("windows-password-reset.yml", &[15]),
        ("windows-privileged-group-member-added.yml", &[12, 13]),
    ]);
    let mut sigma = Sigma::load(&content("rules")).unwrap();
    let made = std::fs::read_to_string(content("samples/windows-security.jsonl")).unwrap();
    let mut fired: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, line) in (1..).zip(made.lines()) {
        for found in sigma.evaluate(&AuditEvent::parse(line.as_bytes()).unwrap(), true) {
            fired.entry(found.rule_file).or_default().push(number);
        }
    }
    let fired: BTreeMap<&str, &[usize]> = fired.iter().map(|(file, lines)| (file.as_str(), lines.as_slice())).collect();
    assert_eq!(fired, expected);
}

#[test]
fn a_rule_for_one_product_is_not_tried_on_events_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |product: &str, id: &str| RULE.replace("samba", product).replace("ID", id);
    for (name, product) in [("a", "samba"), ("b", "windows"), ("c", "linux")] {
        std::fs::write(folder.path().join(format!("{name}.yml")), rule(product, name)).unwrap();
    }
    let mut sigma = Sigma::load(folder.path()).unwrap();
    for (text, expected) in [
        (r#"{"type":"dsdbChange","dsdbChange":{},"a":1}"#, vec!["a"]),
        (r#"{"EventID":1,"a":1}"#, vec!["b"]),
        (r#"{"a":1}"#, vec!["a", "b", "c"]),
    ] {
        let found = sigma.evaluate(&AuditEvent::parse(text.as_bytes()).unwrap(), true);
        assert_eq!(found.iter().map(|rule| rule.rule_id.as_str()).collect::<Vec<_>>(), expected, "{text}");
    }
}

/// Conditions of every shape over the fields that narrow rules down.
fn any_rules() -> Vec<rsigma_eval::CompiledRule> {
    let ids = ["4624", "[4624, 4625]", "'4625'", "['4624', '46*']", "4624.5", "null"];
    let conditions = [
        "s",
        "not s",
        "s or t",
        "s and t",
        "s and not t",
        "1 of s*",
        "all of them",
        "all of x*",
        "1 of them",
        "not 1 of t",
    ];
    let mut engine = rsigma_eval::Engine::new();
    for (number, condition) in conditions.iter().cycle().take(ids.len() * conditions.len()).enumerate() {
        let id = ids[number % ids.len()];
        let product = ["windows", "samba", "windows\n  service: security", "other"][number / 7 % 4];
        let field = ["EventID", "Authentication.eventId", "type", "passwordChange.eventId"][number / 5 % 4];
        let value = if field == "type" { ["Authentication", "'authentic*'"][number % 2] } else { id };
        let text = format!(
            "title: R{number}\nid: r{number}\nlogsource:\n  product: {product}\ndetection:\n  s:\n    {field}: {value}\n  t:\n    \
             u|contains: x\n  condition: {condition}\n"
        );
        let collection = rsigma_parser::parse_sigma_yaml(&text).unwrap();
        engine.add_collection(&collection).unwrap();
    }
    engine.rules().to_vec()
}

proptest! {
    #[test]
    fn what_narrows_rules_down_leaves_none_out_that_matches(
        id in prop_oneof![
            Just("4624"), Just("4625"), Just("\"4625\""), Just("\"04624\""), Just("4624.0"), Just("\"4624.0\""), Just("null"),
            Just("[4624,1]"), Just("{\"#text\":4624}"), Just("true"), Just("4699"), Just("\"4699\""),
        ],
        form in 0..7_usize,
        user in prop_oneof![Just("x"), Just("y")],
    ) {
        let text = match form {
            0 => format!(r#"{{"Event":{{"System":{{"EventID":{id},"Channel":"Security"}},"EventData":{{"u":"{user}"}}}}}}"#),
            1 => format!(r#"{{"EventID":{id},"u":"{user}","Channel":"System"}}"#),
            2 => format!(r#"{{"winlog":{{"event_id":{id},"event_data":{{"u":"{user}"}}}}}}"#),
            3 => format!(r#"{{"type":"Authentication","Authentication":{{"eventId":{id}}},"u":"{user}"}}"#),
            4 => format!(r#"{{"type":"passwordChange","passwordChange":{{}},"Authentication.eventId":{id},"u":"{user}"}}"#),
            5 => format!(r#"{{"type":"Authentication","Authentication":{{}},"Authentication.eventId":{id},"EventID":{id}}}"#),
            _ => format!(r#"{{"Event":{{"System":{{}}}},"EventID":{id},"type":"authentication","u":"{user}"}}"#),
        };
        let event = AuditEvent::parse(text.as_bytes()).unwrap();
        let rules = any_rules();
        let mut index = Index::of(rules.iter());
        let is_windows = matches!(event.kind(), event::Kind::Windows(_));
        let product = if is_windows { Some("windows") } else { event.kind().samba_type().map(|_| "samba") };
        let is_system = matches!(event.kind(), event::Kind::Windows(event::Channel::System));
        // The whole: every rule whose log source fits, tried in full.
        let fits = |rule: &CompiledRule| {
            let is_product = product.is_none() || rule.logsource.product.as_deref() == product;
            is_product && !(is_system && rule.logsource.service.is_some())
        };
        let full: Vec<&str> = rules.iter().filter(|rule| fits(rule) && evaluate_rule(rule, &event).is_some())
            .filter_map(|rule| rule.id.as_deref()).collect();
        let narrowed: Vec<&str> = index.candidates(&event).iter().map(|number| &rules[*number])
            .filter(|rule| evaluate_rule(rule, &event).is_some()).filter_map(|rule| rule.id.as_deref()).collect();
        prop_assert_eq!(narrowed, full, "{}", text);
    }
}
