//! Rules are in force when the engine says so.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use watchpost_agent::engine::suricata::control::RuleCounts;
use watchpost_agent::engine::suricata::loading::Loader;
use watchpost_agent::engine::suricata::rules::Gathered;
use watchpost_agent::engine::suricata::{Expectation, LoadError, RulesLoaded, SuricataOptions};
use watchpost_clock::Clock;

use crate::lab::{CAPTURE, Lab, RULES, in_own_network, is_running};

const BROKEN: &str = "alert tcp any any -> any any (msg:\"x\"; nosuchkw:1; sid:1000009;)\n";
/// Three rules and the canary's.
const ALL: Expectation = Expectation { loaded_at_least: 4, failed_at_most: 0 };
const RELOAD: Duration = Duration::from_secs(30);

#[test]
fn ok_after_a_blind_reload() {
    in_own_network("loading::ok_after_a_blind_reload", async |lab: Lab| {
        let engine = lab.engine().await;
        let (clock, rules) = (Clock::system(), engine.place.rules());
        let whole = std::fs::read(&rules).unwrap();
        let mut control = engine.control().await;
        assert_eq!(control.rule_counts().await.unwrap(), RuleCounts { loaded: 4, failed: 0 });

        // The hazard itself: the file is gone, the reload is fine, and nothing is watched.
        std::fs::remove_file(&rules).unwrap();
        let mut loader = Loader { clock: &clock, control: &mut control, rules: &rules, patience: RELOAD };
        loader.reload().await.unwrap();
        assert_eq!(control.rule_counts().await.unwrap(), RuleCounts { loaded: 0, failed: 0 });
        let loaded = engine.handle.load_rules(lab.sources(), ALL).await.unwrap();
        assert_eq!((loaded.loaded, loaded.failed, loaded.by_engine), (4, 0, true));

        // Broken throughout, past the check: what the engine counts decides, and the rules before come back.
        lab.write("release/a.rules", BROKEN);
        let broken = Gathered::read(&lab.sources()).unwrap();
        let mut loader = Loader { clock: &clock, control: &mut control, rules: &rules, patience: RELOAD };
        let error = loader.load(&broken, &HashMap::new(), ALL).await.unwrap_err();
        assert!(matches!(&error, LoadError::PutBack(RulesLoaded { loaded: 1, failed: 1, .. })), "{error}");
        assert_eq!(control.rule_counts().await.unwrap(), RuleCounts { loaded: 4, failed: 0 });
        assert_eq!(std::fs::read(&rules).unwrap(), whole);

        // With the check, the engine is not even touched.
        let before = control.loaded_at().await.unwrap();
        let error = engine.handle.load_rules(lab.sources(), ALL).await.unwrap_err();
        assert!(matches!(&error, LoadError::Refused(RulesLoaded { loaded: 1, failed: 1, .. })), "{error}");
        assert_eq!(control.loaded_at().await.unwrap(), before);
    });
}

#[test]
fn missing_file() {
    in_own_network("loading::missing_file", async |lab: Lab| {
        let engine = lab.engine().await;
        std::fs::remove_dir_all(lab.path("package")).unwrap();
        let error = engine.handle.load_rules(lab.sources(), ALL).await.unwrap_err();
        assert!(matches!(error, LoadError::Source(_)), "{error}");
        assert_eq!(engine.control().await.rule_counts().await.unwrap(), RuleCounts { loaded: 4, failed: 0 });
    });
}

#[test]
fn partly_broken_file() {
    in_own_network("loading::partly_broken_file", async |lab: Lab| {
        let mut engine = lab.engine().await;
        lab.write("package/b.rules", &format!("# a comment\n{BROKEN}{}", RULES.replace("10000", "10001")));
        let error = engine.handle.load_rules(lab.sources(), ALL).await.unwrap_err();
        assert!(error.to_string().contains("package/b.rules:2"), "{error}");

        let seven = Expectation { loaded_at_least: 7, failed_at_most: 1 };
        let loaded = engine.handle.load_rules(lab.sources(), seven).await.unwrap();
        assert_eq!((loaded.loaded, loaded.failed), (7, 1));
        let complaint = &loaded.complaints[0];
        assert!(complaint.starts_with("package/b.rules:2: unknown rule keyword 'nosuchkw' in: alert"), "{complaint}");
        let status = engine.until("the facts say so", |status| status.rules.failed == 1).await;
        let facts = status.engine.unwrap();
        assert_eq!((facts.rules_loaded, facts.rules_failed, facts.complaints.len()), (7, 1, 1));
    });
}

#[test]
fn torn_rules_file() {
    in_own_network("loading::torn_rules_file", async |lab: Lab| {
        let engine = lab.engine().await;
        let mut before = std::fs::File::open(engine.place.rules()).unwrap();
        let whole = std::fs::read(engine.place.rules()).unwrap();
        lab.write("package/b.rules", &many(500));
        let expectation = Expectation { loaded_at_least: 504, failed_at_most: 0 };
        assert_eq!(engine.handle.load_rules(lab.sources(), expectation).await.unwrap().loaded, 504);
        // Whoever reads the file at that moment goes on reading the one that it opened.
        let mut read = Vec::new();
        before.rewind().unwrap();
        before.read_to_end(&mut read).unwrap();
        assert_eq!(read, whole);
    });
}

#[test]
fn reload_already_running() {
    in_own_network("loading::reload_already_running", async |lab: Lab| {
        let engine = lab.engine().await;
        lab.write("package/b.rules", &many(3_000));
        let expectation = Expectation { loaded_at_least: 3_004, failed_at_most: 0 };
        engine.handle.load_rules(lab.sources(), expectation).await.unwrap();
        let (clock, rules) = (Clock::system(), engine.place.rules());
        let mut control = engine.control().await;
        // The one that has just ended still cleans up after itself.
        while !control.begin_reload().await.unwrap() {
            tokio::task::yield_now().await;
        }
        assert!(!control.begin_reload().await.unwrap(), "a second one is refused");
        lab.write("package/b.rules", "");
        let gathered = Gathered::read(&lab.sources()).unwrap();
        let mut loader = Loader { clock: &clock, control: &mut control, rules: &rules, patience: RELOAD };
        let loaded = loader.load(&gathered, &HashMap::new(), ALL).await.unwrap();
        assert_eq!((loaded.loaded, loaded.failed), (4, 0), "the first reload was waited out");
    });
}

#[test]
fn looked_after_while_rules_are_checked() {
    in_own_network("loading::looked_after_while_rules_are_checked", async |lab: Lab| {
        // A Suricata whose check waits at a gate.
        let (gate, hold, program) = (lab.path("gate"), lab.path("hold"), lab.path("suricata"));
        assert!(std::process::Command::new("mkfifo").args(["-m", "666"]).arg(&gate).status().unwrap().success());
        let (at_gate, held) = (gate.display(), hold.display());
        let wait = format!("*' -T '*) if [ -e {held} ]; then cat {at_gate} > /dev/null; fi;;");
        lab.write("suricata", &format!("#!/bin/sh\ncase \" $* \" in {wait} esac\nexec /usr/bin/suricata \"$@\"\n"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut engine = lab.engine_with(SuricataOptions { program: Some(program), ..lab.options() }).await;
        std::fs::write(&hold, "").unwrap();
        let (pid, mut status) = (engine.pid(), engine.handle.status());
        let load = engine.handle.load_rules(lab.sources(), ALL);
        let meanwhile = async {
            let opening = move || std::fs::OpenOptions::new().write(true).open(gate).unwrap();
            let open = tokio::task::spawn_blocking(opening).await.unwrap();
            assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
            let again = status.wait_for(|status| is_running(status) && status.pid != Some(pid));
            tokio::time::timeout(RELOAD, again).await.expect("its death is noticed during the check").unwrap();
            drop(open);
        };
        let (loaded, ()) = tokio::join!(load, meanwhile);
        assert_eq!(loaded.unwrap().loaded, 4);
        engine.until("it runs", is_running).await;
    });
}

#[test]
fn taken_for_the_next_start_while_it_does_not_run() {
    in_own_network("loading::taken_for_the_next_start_while_it_does_not_run", async |lab: Lab| {
        let mut options = lab.options();
        options.patience.first_pause = Duration::from_secs(3_600);
        let mut engine = lab.engine_with(options).await;
        engine.signal("-KILL");
        engine.until("its death is noticed", |status| status.pid.is_none()).await;
        lab.write("package/b.rules", &RULES.replace("10000", "10001"));
        let seven = Expectation { loaded_at_least: 7, failed_at_most: 0 };
        let loaded = engine.handle.load_rules(lab.sources(), seven).await.unwrap();
        assert_eq!((loaded.loaded, loaded.failed, loaded.by_engine), (7, 0, false));
        // Settings that change start it at once.
        let home = BTreeSet::from(["10.77.0.0/24".to_owned()]);
        engine.handle.configure(BTreeSet::from([CAPTURE.to_owned()]), home).await.unwrap();
        let status = engine.until("it runs", is_running).await;
        assert_eq!((status.rules.loaded, status.rules.by_engine), (7, true));
    });
}

#[test]
fn a_rule_of_release_and_package_is_loaded_once() {
    in_own_network("loading::a_rule_of_release_and_package_is_loaded_once", async |lab: Lab| {
        let engine = lab.engine().await;
        lab.write("package/b.rules", &format!("{RULES}{}", RULES.replace("10000", "10001")));
        let ten = Expectation { loaded_at_least: 10, failed_at_most: 0 };
        let loaded = engine.handle.load_rules(lab.sources(), ten).await.unwrap();
        assert_eq!((loaded.loaded, loaded.superseded, loaded.failed), (7, 3, 0));
        assert_eq!(engine.status.borrow().engine.as_ref().unwrap().rules_loaded, 10, "as both promise");
    });
}

fn many(count: u32) -> String {
    let mut text = String::new();
    for n in 0..count {
        let _ = writeln!(
            text,
            "alert tcp any any -> any any (msg:\"M {n}\"; flow:established; content:\"mark-{n}-mark\"; sid:{};)",
            1_100_000 + n
        );
    }
    text
}
