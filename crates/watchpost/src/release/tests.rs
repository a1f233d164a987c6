//! An author's day: keys, a package, a signature, and each way of being told no.

use std::fs;
use std::path::Path;

use super::*;

fn start() -> watchpost_core::time::Timestamp {
    "2026-01-05T00:00:00Z".parse().unwrap()
}

/// What a script sees: the exit code.
fn code(result: Result<(), Failure>) -> String {
    result.map_or_else(|failure| format!("{:?}", failure.exit_code()), |()| format!("{:?}", ExitCode::SUCCESS))
}

fn exit(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

/// The arguments of a command as a person types them.
fn typed(words: &[&str]) -> Command {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    <Line as clap::Parser>::try_parse_from([&["release"], words].concat()).unwrap().args.command
}

fn run_local(words: &[&str]) -> String {
    code(match typed(words) {
        Command::Keys(args) => local::keys(&args, start()),
        Command::Build(args) => local::build(&args),
        Command::Sign(args) => local::sign(&args, start()),
        Command::Signed { repository, output } => local::signed(&repository, output),
        Command::Publish(_) | Command::List { .. } => panic!("asks a server"),
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn keys_build_sign_and_list() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| text(&dir.path().join(name));
    fs::create_dir_all(dir.path().join("from/rules")).unwrap();
    fs::write(dir.path().join("from/rules/a.yml"), "title: a").unwrap();
    let (from, keys, repository) = (place("from"), place("keys"), place("repository"));
    let package = place("sensor-2.255.1.0.cab");
    let make = ["keys", "--keys", &keys, "--repository", &repository];
    let build = |version: &str, out: &str| run_local(&["build", "--from", &from, "--version", version, "--out", out]);
    let sign = |package: &str| run_local(&["sign", "--keys", &keys, "--repository", &repository, package]);
    assert_eq!(run_local(&make), exit(0));
    assert_eq!(run_local(&make), exit(3), "keys are never overwritten");
    assert_eq!(build("2.255.1.0", &package), exit(0));
    let first = fs::read(&package).unwrap();
    assert_eq!(build("2.255.1.0", &package), exit(0));
    assert_eq!(fs::read(&package).unwrap(), first, "the same folder gives the same bytes");
    assert_eq!(sign(&package), exit(0));
    assert_eq!(sign(&package), exit(0), "signing again changes nothing");
    assert_eq!(build("2.255.2.0", &package), exit(0));
    assert_eq!(sign(&package), exit(3), "a signed release is never replaced");
    assert_eq!(sign(&place("none.cab")), exit(4));
    assert_eq!(run_local(&["signed", "--repository", &repository]), exit(0));
    assert_eq!(run_local(&["signed", "--repository", &from]), exit(4));
}

#[test]
fn a_folder_that_contradicts_the_command_line_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("p.cab"));
    let from = text(dir.path());
    let build = |from: &str| run_local(&["build", "--from", from, "--version", "2.255.1.0", "--out", &out]);
    assert_eq!(build(&text(&dir.path().join("none"))), exit(4));
    assert_eq!(build(&from), exit(3), "no rules: such a release could never prove that it detects");
    let describe = |version: &str| {
        let release = serde_json::json!({ "version": version, "rulesExpected": 1 });
        fs::write(dir.path().join("release.json"), release.to_string()).unwrap();
    };
    describe("2.255.2.0");
    assert_eq!(build(&from), exit(2));
    describe("2.255.1.0");
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
    assert_eq!(build(&from), exit(3));
    fs::remove_file(dir.path().join("link")).unwrap();
    assert_eq!(build(&from), exit(0));
}
