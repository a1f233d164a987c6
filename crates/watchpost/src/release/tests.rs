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
        Command::Resign(args) => local::resign(&args, start()),
        Command::RotateRoot(args) => local::rotate_root(&args, start()),
        Command::Publish(_) | Command::PublishMetadata(_) | Command::PullBack(_) | Command::List { .. } => {
            panic!("asks a server")
        }
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
    let own = ["--keys", keys.as_str(), "--repository", repository.as_str()];
    let with = |verb: &'static str, more: &[&'static str]| run_local(&[&[verb], &own[..], more].concat());
    assert_eq!(with("resign", &[]), exit(0));
    assert_eq!(with("rotate-root", &[]), exit(0));
    assert_eq!(with("rotate-root", &["--replace", "root-2", "--replace", "online"]), exit(0));
    assert_eq!(with("rotate-root", &["--replace", "root-9"]), exit(4));
    assert_eq!(with("resign", &[]), exit(0), "with the key that is new");
    fs::write(format!("{keys}/online.next.pem"), "").unwrap();
    assert_eq!(with("resign", &[]), exit(3), "a rotation that was cut off comes first");
}

#[test]
fn the_command_line_wins_over_the_description_and_the_rules_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("p.cab");
    let from = dir.path().join("from");
    let build =
        |from: &Path| run_local(&["build", "--from", &text(from), "--version", "2.255.1.0", "--out", &text(&out)]);
    assert_eq!(build(&dir.path().join("none")), exit(4));
    fs::create_dir_all(from.join("rules")).unwrap();
    assert_eq!(build(&from), exit(3), "no rules: such a release could never prove that it detects");
    fs::write(from.join("rules/one.yml"), "title: one").unwrap();
    let description = serde_json::json!({ "version": "2.200.0.0", "kind": "hotfix", "rulesExpected": 7 });
    fs::write(from.join("release.json"), description.to_string()).unwrap();
    assert_eq!(build(&from), exit(0));
    let release = watchpost_package::inspect(&out, None).unwrap().contents.release().cloned().unwrap();
    assert_eq!((release.version.to_string().as_str(), release.rules_expected), ("2.255.1.0", 1));
    assert_eq!(release.suricata_rules_expected, 0);
    fs::create_dir_all(from.join("suricata")).unwrap();
    fs::write(from.join("suricata/a.rules"), "# sid:1\nalert ip any any -> any any (sid:2;)\n").unwrap();
    assert_eq!(build(&from), exit(0));
    let with = watchpost_package::inspect(&out, None).unwrap().contents.release().cloned().unwrap();
    assert_eq!(with.suricata_rules_expected, 1, "comments are no rules");
    assert_eq!(release.kind, watchpost_core::release::ReleaseKind::Hotfix, "what the options leave out stands");
}

#[test]
fn what_is_no_plain_file_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("rules")).unwrap();
    fs::write(from.join("rules/one.yml"), "title: one").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
    let out = text(&dir.path().join("p.cab"));
    assert_eq!(run_local(&["build", "--from", &text(&from), "--version", "2.255.1.0", "--out", &out]), exit(3));
}
