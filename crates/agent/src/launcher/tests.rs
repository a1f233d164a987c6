//! The launcher with programs that prove themselves, end, hang, hand over or cannot be started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use watchpost_core::version::Version;
use watchpost_package::Sha256Hex;

use super::*;

/// Far longer than a script needs to end by itself.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

struct Host {
    folder: tempfile::TempDir,
    programs: Programs,
}

impl Host {
    /// A host on which the installed updater ends with code 7.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        layout.folders().iter().for_each(|path| fs::create_dir_all(path).unwrap());
        let host = Self { folder, programs: Programs::new(&layout, Disk::default()) };
        host.write(&host.installed(), "installed", "exit 7");
        host
    }

    fn installed(&self) -> PathBuf {
        self.folder.path().join("installed")
    }

    fn write(&self, path: &Path, name: &str, then: &str) -> String {
        let log = self.folder.path().join("log");
        let script = format!("#!/bin/sh\necho {name} ${LAUNCHED} \"$@\" >> '{}'\n{then}\n", log.display());
        fs::write(path, &script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        Sha256Hex::of(script.as_bytes()).to_string()
    }

    /// A program that lies ready, under the name that belongs to it.
    fn program(&self, minor: u32, then: &str) -> Program {
        let beside = self.folder.path().join("beside");
        let sha256 = self.write(&beside, &format!("v{minor}"), then);
        let program = Program { version: Version::new(2, minor, 1, 0), sha256 };
        fs::rename(beside, self.programs.path(&program).unwrap()).unwrap();
        program
    }

    /// A program of the test that is on trial after one that has settled.
    fn trial(&self, then: &str) -> Program {
        let (settled, program) = (self.program(1, "exit 3"), self.program(2, then));
        let mut succession = Succession { settled: Some(settled), ..Succession::default() };
        succession.begin(program.clone());
        self.programs.keep(&succession).unwrap();
        program
    }

    fn options(&self, patience: Duration) -> Options {
        let arguments = vec!["run".into(), "--root".into()];
        let options = Options::new(self.folder.path().to_owned(), self.installed(), arguments);
        Options { patience, pause: Duration::from_millis(1), ..options }
    }

    async fn launch(&self, patience: Duration) -> Result<u8, LauncherError> {
        launch(&self.options(patience), &mut Stop::listen().unwrap()).await
    }

    /// Who was started, in order.
    fn started(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    fn reason(&self) -> String {
        self.programs.succession().given_up.last().unwrap().reason.clone()
    }
}

#[tokio::test]
async fn what_was_installed_runs_where_nothing_came_with_a_release() {
    let host = Host::new();
    assert_eq!(host.launch(LONG).await.unwrap(), 7, "its exit code is the launcher's");
    let log = fs::read_to_string(host.folder.path().join("log")).unwrap();
    let hash = Sha256Hex::of(&fs::read(host.installed()).unwrap());
    assert_eq!(log, format!("installed {hash} run --root\n"), "it is told what to do, and as what it was started");
}

#[tokio::test]
async fn three_starts_that_end_by_themselves_bring_back_what_ran_before() {
    let host = Host::new();
    host.trial("exit 1");
    assert_eq!(host.launch(LONG).await.unwrap(), 3);
    assert_eq!(host.started(), ["v2", "v2", "v2", "v1"]);
    assert_eq!(host.reason(), "it was started 3 times: exit status: 1");
}

#[tokio::test]
async fn one_that_hangs_is_ended_when_its_time_is_over_and_nothing_is_said_against_it_yet() {
    let host = Host::new();
    host.trial("exec sleep 1000");
    assert_eq!(host.launch(SHORT).await.unwrap(), 3);
    assert_eq!(host.started(), ["v2", "v2", "v2", "v1"]);
    assert!(host.programs.succession().given_up[0].in_doubt);
}

#[tokio::test]
async fn one_that_has_proved_itself_has_all_the_time_it_wants_and_its_end_is_its_own() {
    let host = Host::new();
    let go = host.folder.path().join("go");
    let program = host.trial(&format!("while [ ! -e '{}' ]; do sleep 0.01; done; exit 5", go.display()));
    let proves = async {
        while host.started().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut succession = host.programs.succession();
        succession.proved(&program.sha256);
        host.programs.keep(&succession).unwrap();
        // Longer than a start on trial may take.
        sleep(SHORT * 3).await;
        fs::write(&go, "").unwrap();
    };
    let (code, ()) = tokio::join!(host.launch(SHORT), proves);
    assert_eq!(code.unwrap(), 5);
    assert_eq!(host.started(), ["v2"]);
}

#[tokio::test]
async fn one_that_hands_over_is_followed_at_once() {
    let host = Host::new();
    let once = host.folder.path().join("once");
    let hands_over = format!("[ -e '{0}' ] && exit 7; touch '{0}'; exit {HANDED_OVER}", once.display());
    host.write(&host.installed(), "installed", &hands_over);
    assert_eq!(host.launch(LONG).await.unwrap(), 7);
    assert_eq!(host.started(), ["installed", "installed"]);
}

#[tokio::test]
async fn a_damaged_program_and_one_that_cannot_be_started_leave_the_installed_one() {
    let host = Host::new();
    let program = host.trial("exit 1");
    for path in fs::read_dir(Layout::new(host.folder.path()).programs()).unwrap() {
        let path = path.unwrap().path();
        let flipped = fs::read_to_string(&path).unwrap().replace("exit", "exec");
        fs::write(&path, flipped).unwrap();
    }
    assert_eq!(host.launch(LONG).await.unwrap(), 7);
    assert_eq!(host.reason(), "its file is damaged");
    // Whole, settled, and of no kind that this host can run.
    let path = host.programs.path(&program).unwrap();
    fs::write(&path, "#!/nowhere/at/all\n").unwrap();
    let sha256 = Sha256Hex::of(b"#!/nowhere/at/all\n").to_string();
    let stranger = Program { sha256, ..program };
    fs::rename(path, host.programs.path(&stranger).unwrap()).unwrap();
    host.programs.keep(&Succession { settled: Some(stranger), ..Succession::default() }).unwrap();
    assert_eq!(host.launch(LONG).await.unwrap(), 7);
    assert_eq!(host.started(), ["installed", "installed"]);
}

#[tokio::test]
async fn without_a_record_what_was_installed_runs() {
    let host = Host::new();
    host.trial("exit 1");
    for slot in Layout::new(host.folder.path()).succession_slots() {
        let _ = fs::write(slot, vec![0; 4096]);
    }
    assert_eq!(host.launch(LONG).await.unwrap(), 7);
    assert_eq!(host.started(), ["installed"]);
}

#[tokio::test]
async fn a_second_launcher_is_refused_and_uses_up_no_start() {
    let host = Host::new();
    host.trial("exit 1");
    let _held = lock::take(&Layout::new(host.folder.path()).launcher_lock()).unwrap().unwrap();
    let refused = host.launch(LONG).await.unwrap_err();
    assert!(refused.to_string().contains("another launcher"), "{refused}");
    assert_eq!(host.programs.succession().trial.unwrap().starts, 0);
}
