//! An author of rules: what is counted, what is refused, what is signed.

use std::fs;
use std::path::Path;

use super::*;

const NAME: &str = "watchpost-rules-20260105t000000.cab";
const SIGMA: &str = "title: A\nid: 5f1c0f0e-6a51-4f8e-9b6c-0d3c5a3f0a01\nstatus: test\nlevel: low\nlogsource:\n  product: x\n\
    detection:\n  selection:\n    a: b\n  condition: selection\n";

fn build(dir: &Path, out: &str) -> Result<(), Failure> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let (from, out) = (dir.join("from").display().to_string(), dir.join(out).display().to_string());
    let words = ["rules", "build", "--from", &from, "--build", "2026-01-05T00:00:00Z", "--out", &out];
    let Command::Build(args) = <Line as clap::Parser>::try_parse_from(words).unwrap().args.command else {
        panic!("not a build")
    };
    local::build(&args)
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("from/sigma/a.yml", SIGMA),
        (
            "from/suricata/a.rules",
            "# sid:1\nalert ip any any -> any any (sid:2;)\nalert ip any any -> any any (sid:3;)\n",
        ),
    ] {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn why(result: Result<(), Failure>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn rules_are_counted_by_the_engine_and_by_their_sids() {
    let dir = folder();
    build(dir.path(), NAME).unwrap();
    let info = watchpost_package::inspect(&dir.path().join(NAME), None).unwrap();
    let rules = info.contents.rules().unwrap();
    assert_eq!((rules.sigma_expected, rules.suricata_expected), (1, 2));
}

#[test]
fn a_promise_of_more_than_there_is_and_rules_that_do_not_load_are_refused() {
    let dir = folder();
    fs::write(dir.path().join("from/rules.json"), r#"{"sigmaExpected":2}"#).unwrap();
    let lie = why(build(dir.path(), NAME));
    assert!(lie.contains("promises 2 rules for sigma and the folder holds 1"), "{lie}");
    fs::write(dir.path().join("from/rules.json"), r#"{"suricataExpected":4294967295}"#).unwrap();
    assert!(why(build(dir.path(), NAME)).contains("suricata"));
    fs::write(dir.path().join("from/rules.json"), r#"{"sigmaExpected":1,"notes":"n"}"#).unwrap();
    build(dir.path(), NAME).unwrap();
    fs::write(dir.path().join("from/sigma/b.yml"), "title: b").unwrap();
    assert!(why(build(dir.path(), NAME)).contains("do not load"));
    assert!(why(build(dir.path(), "other.cab")).contains(NAME));
}

#[test]
fn what_runs_or_lies_elsewhere_is_not_packed() {
    let dir = folder();
    fs::create_dir(dir.path().join("from/bin")).unwrap();
    fs::write(dir.path().join("from/bin/watchpost-sensor"), "x").unwrap();
    assert!(why(build(dir.path(), NAME)).contains("has no place in a rule package"));
    assert!(!dir.path().join(NAME).exists());
}
