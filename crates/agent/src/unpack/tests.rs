//! The child against the real kernel: what it may, what it must not, and what becomes of it when it fails.
//!
//! The child is the test program itself, started again in the role that the last word of its command line names.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Command as Started, ExitCode};

use rustix::process::{Pid, test_kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use watchpost_core::release::{Needs, ReleaseManifest, SignedRelease};
use watchpost_core::version::Version;
use watchpost_package::manifest::MANIFEST;
use watchpost_package::{cab, inspect};

use super::confine::confine;
use super::*;

/// The role of a child that extracts.
const UNPACKS: &str = "watchpost-unpacks";
/// The role of a child that tries what it must not do.
const PROBES: &str = "watchpost-probes";
/// The test that takes these roles.
const CHILD: &str = "unpack::tests::is_a_child_where_it_is_told_to_be";
/// What seccomp answers (EPERM), and what Landlock answers (EACCES).
const CALL_DENIED: i32 = 1;
const PATH_DENIED: i32 = 13;
/// No such descriptor.
const CLOSED: i32 = 9;

pub(super) fn child_of_tests() -> (PathBuf, Vec<OsString>) {
    role(UNPACKS)
}

fn role(name: &str) -> (PathBuf, Vec<OsString>) {
    let words = ["--exact", "--nocapture", CHILD, name];
    (std::env::current_exe().unwrap(), words.iter().map(OsString::from).collect())
}

#[test]
fn is_a_child_where_it_is_told_to_be() {
    match std::env::args().next_back().as_deref() {
        Some(UNPACKS) => std::process::exit(i32::from(run_child() != ExitCode::SUCCESS)),
        Some(PROBES) => probe(),
        _ => {}
    }
}

/// The number of the error that the kernel gave, or none if it did as it was asked.
fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().map(|error| error.raw_os_error().unwrap())
}

/// Tries everything once, and says of each what came of it.
fn probe() {
    let package = File::open("/proc/self/exe").unwrap();
    let parent = Pid::from_raw(std::os::unix::process::parent_id().cast_signed()).unwrap();
    let inherited = File::open("/etc/passwd").unwrap().into_raw_fd();
    let confinement = confine(&package);
    let make_folder = |path: &str| rustix::fs::mkdirat(rustix::fs::CWD, path, 0o700.into()).map_err(io::Error::from);
    let make_file = |path: &str| File::options().write(true).create_new(true).open(path);
    let set_user_id = |file: File| file.set_permissions(fs::Permissions::from_mode(0o4755));
    let tried = json!({
        "confinement": confinement,
        "inherited": nix::unistd::close(inherited).err().map(|error| error as i32),
        "network": errno(std::net::TcpListener::bind("127.0.0.1:0")),
        "localSocket": errno(UnixDatagram::unbound()),
        "program": errno(Started::new("/bin/true").status()),
        "signal": errno(test_kill_process(parent).map_err(io::Error::from)),
        "link": errno(symlink("/etc", "link")),
        "secondName": errno(fs::hard_link("here", "twin")),
        "newName": errno(fs::rename("here", "there")),
        "removal": errno(fs::remove_file("here")),
        "file": errno(File::open("/etc/passwd")),
        "fileHere": errno(File::open("here")),
        "overwriting": errno(File::options().write(true).open("here")),
        "setUserId": errno(make_file("mine").and_then(set_user_id)),
        "folder": errno(fs::read_dir("/etc")),
        "above": errno(make_file("../outside")),
        "elsewhere": errno(make_folder("../elsewhere")),
        "allowed": errno(make_folder("mine.d").and_then(|()| make_file("mine.d/file"))),
    });
    println!("{tried}");
    io::stdout().flush().unwrap();
    std::process::exit(0);
}

/// What a probe says that runs in a folder of its own.
fn probed() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join("staging");
    fs::create_dir(&staging).unwrap();
    fs::write(staging.join("here"), "here").unwrap();
    let (program, words) = role(PROBES);
    let output = Started::new(program).args(words).env_clear().current_dir(&staging).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(said.lines().last().unwrap()).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn a_confined_process_can_write_below_its_folder_and_do_nothing_else() {
    let said = probed();
    let all = json!({ "landlock": "fully", "systemCalls": "fully", "limits": "fully" });
    assert_eq!(said["confinement"], all, "this test wants a kernel with Landlock");
    assert_eq!((&said["inherited"], &said["allowed"]), (&json!(CLOSED), &Value::Null), "{said}");
    let calls = ["network", "localSocket", "program", "signal", "link", "secondName", "newName", "removal"];
    let opened = ["file", "fileHere", "overwriting", "setUserId"];
    for tried in calls.into_iter().chain(opened) {
        assert_eq!(said[tried], CALL_DENIED, "{tried}: {said}");
    }
    for tried in ["folder", "above", "elsewhere"] {
        assert_eq!(said[tried], PATH_DENIED, "{tried}: {said}");
    }
}

/// Runs `act` where the kernel answers Landlock's first call as one that does not know it.
fn without_landlock<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let (create, unknown) = (libc::SYS_landlock_create_ruleset, libc::ENOSYS.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let answer = SeccompAction::Errno(unknown);
    let filter = SeccompFilter::new([(create, Vec::new())].into(), SeccompAction::Allow, answer, arch).unwrap();
    let filter = BpfProgram::try_from(filter).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccompiler::apply_filter(&filter).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

#[test]
fn without_landlock_the_other_rules_hold_and_it_is_said() {
    let said = without_landlock(probed);
    assert_eq!(said["confinement"], json!({ "landlock": "not", "systemCalls": "fully", "limits": "fully" }));
    for tried in ["network", "program", "signal", "link", "file", "fileHere", "overwriting", "setUserId"] {
        assert_eq!(said[tried], CALL_DENIED, "{tried}: {said}");
    }
    let scene = Scene::new();
    without_landlock(|| scene.unpack(&scene.unpacker())).unwrap();
    let told = Confinement::read(&scene.note()).unwrap();
    assert_eq!((told.landlock, told.is_whole()), (Enforced::Not, false));
}

/// Bytes that pack no better than those of a program.
fn content() -> Vec<u8> {
    (0..300_000_u32).map(|n| (n.wrapping_mul(n).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A package that was approved, and a folder to extract it into.
struct Scene {
    dir: tempfile::TempDir,
    approved: Approved<SignedRelease>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/watchpost-sensor"), content()).unwrap();
        fs::set_permissions(from.join("bin/watchpost-sensor"), fs::Permissions::from_mode(0o755)).unwrap();
        let needs = Needs { file_descriptors: 64 };
        let release = ReleaseManifest { needs, ..ReleaseManifest::minor(Version::new(2, 255, 1, 0), 1) };
        let path = dir.path().join("package.cab");
        cab::build(&from, &Contents::Release(release.clone()), &path).unwrap();
        let info = inspect(&path, None).unwrap();
        let custom = release.signed(1);
        let approved = Approved { name: "package.cab".to_owned(), length: info.length, sha256: info.sha256, custom };
        Self { dir, approved }
    }

    fn note(&self) -> PathBuf {
        self.dir.path().join("unpack.json")
    }

    fn unpacker(&self) -> Unpacker {
        Unpacker::new(self.note())
    }

    /// One whose child is a script.
    fn scripted(&self, script: &str) -> Unpacker {
        let arguments = ["-c", script].iter().map(OsString::from).collect();
        Unpacker { program: "/bin/sh".into(), arguments, patience: Duration::from_secs(10), ..self.unpacker() }
    }

    fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    fn unpack(&self, unpacker: &Unpacker) -> Result<Contents, UnpackError> {
        fs::create_dir(self.staging()).unwrap();
        let staging = Staging::of(self.staging());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let package = self.dir.path().join("package.cab");
        let unpacked = runtime.block_on(unpacker.unpack(&self.approved, &package, staging.path()));
        if unpacked.is_ok() {
            fs::rename(staging.path(), self.dir.path().join("done")).unwrap();
        }
        unpacked
    }

    fn fails(&self, unpacker: &Unpacker) -> UnpackError {
        let error = self.unpack(unpacker).unwrap_err();
        assert!(!self.staging().exists(), "something was left behind: {error}");
        error
    }
}

#[test]
fn a_package_is_extracted_by_a_child_that_can_do_nothing_else() {
    let scene = Scene::new();
    let contents = scene.unpack(&scene.unpacker()).unwrap();
    assert_eq!(contents.release().unwrap().version, Version::new(2, 255, 1, 0));
    let program = scene.dir.path().join("done/bin/watchpost-sensor");
    assert_eq!(fs::read(&program).unwrap(), content());
    assert_eq!(fs::metadata(program).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(Confinement::read(&scene.note()).unwrap().is_whole());
}

#[test]
fn a_package_that_is_not_the_approved_one_reaches_no_child() {
    let mut scene = Scene::new();
    scene.approved.length -= 1;
    let unpacker = Unpacker { program: "/nonexistent".into(), ..scene.unpacker() };
    assert!(matches!(scene.fails(&unpacker), UnpackError::Trust(VerifyError::Package(_))));
}

#[test]
fn what_an_approved_package_must_not_be_is_refused_by_the_child() {
    let mut scene = Scene::new();
    let package = scene.dir.path().join("package.cab");
    let mut bytes = fs::read(&package).unwrap();
    bytes.extend_from_slice(b"more");
    fs::write(&package, &bytes).unwrap();
    scene.approved.length = bytes.len() as u64;
    scene.approved.sha256 = watchpost_package::Sha256Hex::of(&bytes);
    let error = scene.fails(&scene.unpacker());
    assert!(matches!(&error, UnpackError::Refused(reason) if reason.contains("refused")), "{error}");
    assert!(!error.is_retryable());
}

#[test]
fn a_child_that_fails_is_told_by_how_it_failed() {
    let scene = Scene::new();
    let mut hangs = scene.scripted("echo x > half; exec sleep 1000");
    hangs.patience = Duration::from_millis(200);
    assert!(matches!(scene.fails(&hangs), UnpackError::Late(_)));
    let killed = scene.fails(&scene.scripted("echo x > half; kill -9 $$"));
    assert!(matches!(&killed, UnpackError::Ended(how) if how == "was ended by signal 9"), "{killed}");
    let code = scene.fails(&scene.scripted("exit 7"));
    assert!(matches!(&code, UnpackError::Ended(how) if how == "ended with code 7"), "{code}");
    assert!(killed.is_retryable() && matches!(scene.fails(&scene.scripted("echo hello")), UnpackError::Garbled));
    let missing = Unpacker { program: "/nonexistent".into(), ..scene.unpacker() };
    assert!(matches!(scene.fails(&missing), UnpackError::Start(_)));
    let report = |outcome: &str| {
        let line = format!(
            r#"{{"confinement":{{"landlock":"fully","systemCalls":"fully","limits":"fully"}},"outcome":"{outcome}"}}"#
        );
        format!("echo '{line}'")
    };
    assert!(matches!(scene.fails(&scene.scripted(&report("diskFull"))), UnpackError::DiskFull(_)));
    // It says "done" and did nothing.
    assert!(matches!(scene.fails(&scene.scripted(&report("done"))), UnpackError::Trust(_)));
}

#[test]
fn a_child_that_is_not_waited_for_any_more_is_ended_and_leaves_nothing() {
    let scene = Scene::new();
    let (pid, package) = (scene.dir.path().join("pid"), scene.dir.path().join("package.cab"));
    fs::create_dir(scene.staging()).unwrap();
    let unpacker = scene.scripted("echo x > half; echo $$ > ../pid.new; mv ../pid.new ../pid; exec sleep 1000");
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (approved, folder) = (scene.approved.clone(), scene.staging());
        let task = tokio::spawn(async move {
            let staging = Staging::of(folder);
            unpacker.unpack(&approved, &package, staging.path()).await.map(drop)
        });
        let is_there = || fs::read_to_string(&pid).ok();
        while is_there().is_none() {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let process = format!("/proc/{}/stat", is_there().unwrap().trim());
        // Ended, and perhaps not yet buried.
        let is_alive = || fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() {
            tokio::task::yield_now().await;
        }
    });
    assert!(!scene.staging().exists());
}

#[test]
fn a_child_that_lies_is_found_out() {
    let honest = Scene::new();
    honest.unpack(&honest.unpacker()).unwrap();
    let good = honest.dir.path().join("done");
    let report =
        r#"echo '{"confinement":{"landlock":"fully","systemCalls":"fully","limits":"fully"},"outcome":"done"}'"#;
    let (copy, program) = (format!("cp -a '{}/.' .", good.display()), "bin/watchpost-sensor");
    for (lie, is_found) in [
        ("true".to_owned(), false),
        (format!("printf x | dd of={program} conv=notrunc"), true),
        (format!("chmod u+s {program}"), true),
        ("echo x > bin/more".to_owned(), true),
        (format!("mv {program} elsewhere; ln -s ../elsewhere {program}"), true),
        (format!("rm {MANIFEST}; mkfifo {MANIFEST}"), true),
        (format!("cp {MANIFEST} m; rm {MANIFEST}; ln -s m {MANIFEST}"), true),
        ("sed -i s/minor/major/ release.json".to_owned(), true),
    ] {
        let scene = Scene { dir: tempfile::tempdir().unwrap(), approved: honest.approved.clone() };
        fs::copy(honest.dir.path().join("package.cab"), scene.dir.path().join("package.cab")).unwrap();
        let script = format!("export PATH=/usr/bin:/bin; {copy} && {lie} && {report}");
        let unpacked = scene.unpack(&scene.scripted(&script));
        let is_caught = matches!(unpacked, Err(UnpackError::Trust(_) | UnpackError::Altered(_)));
        assert_eq!(is_caught, is_found, "{lie}: {unpacked:?}");
        assert!(is_found || unpacked.is_ok(), "{lie}: {unpacked:?}");
    }
}
