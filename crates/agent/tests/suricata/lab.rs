//! A sensor and a peer at the two ends of a cable (veth), each in a network namespace that ends with the test.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use watchpost_agent::engine::suricata::control::Control;
use watchpost_agent::engine::suricata::place::Place;
use watchpost_agent::engine::suricata::{
    Evidence, Patience, RuleSources, Suricata, SuricataHandle, SuricataOptions, SuricataStatus,
};
use watchpost_clock::Clock;
use watchpost_core::facts::EngineState;

/// Set in the process that has a network of its own.
const INSIDE: &str = "WATCHPOST_TEST_HAS_OWN_NETWORK";
/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(40);
/// The capture interface.
pub(crate) const CAPTURE: &str = "sens0";

/// Rules of these tests; with the canary's, four.
pub(crate) const RULES: &str = concat!(
    "alert http any any -> any any (msg:\"T http\"; http.uri; content:\"/watchpost-test\"; ",
    "classtype:web-application-attack; sid:1000001; rev:1;)\n",
    "alert dns any any -> any any (msg:\"T dns\"; dns.query; content:\"hmi.lab.test\"; sid:1000002; rev:1;)\n",
    "alert modbus any any -> any any (msg:\"T modbus\"; modbus: function 5; sid:1000003; rev:1;)\n",
);

/// Runs `test` in a network of its own: this very test once more, under `unshare`.
pub(crate) fn in_own_network<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Lab) -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        return runtime.block_on(async { test(Lab::new()).await });
    }
    assert!(
        Path::new("/usr/bin/suricata").exists(),
        "suricata is not installed; on Debian 12: apt-get install -t bookworm-backports suricata"
    );
    let program = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(program)
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare is missing: apt-get install util-linux");
    assert!(status.success(), "{name} failed in a network of its own (which only root may have); see above");
}

pub(crate) fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().expect("apt-get install iproute2");
    assert!(status.success(), "ip {line}");
}

/// The two ends.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    peer: Child,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.peer.kill();
        let _ = self.peer.wait();
    }
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        for part in ["release", "package"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        std::fs::write(folder.path().join("release/a.rules"), RULES).unwrap();
        let peer = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
        let lab = Self { folder, peer };
        lab.wait_for_peer();
        ip("link set lo up");
        lab.plug_in();
        lab
    }

    /// The peer has left this network once its link to it differs.
    fn wait_for_peer(&self) {
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let peer = self.peer.id().to_string();
        while network(&peer).is_none() || network(&peer) == network("self") {
            std::thread::yield_now();
        }
    }

    /// Puts the cable in.
    pub(crate) fn plug_in(&self) {
        ip(&format!("link add {CAPTURE} type veth peer name plc0 netns {}", self.peer.id()));
        ip(&format!("addr add 10.77.0.1/24 dev {CAPTURE}"));
        ip(&format!("link set {CAPTURE} up"));
        self.peer("ip addr add 10.77.0.2/24 dev plc0").status().unwrap();
        self.peer("ip link set plc0 up").status().unwrap();
    }

    /// A command at the other end.
    pub(crate) fn peer(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.peer.id().to_string(), "-n"]).args(line.split(' '));
        command
    }

    pub(crate) fn script() -> String {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suricata/traffic.py").to_string_lossy().into_owned()
    }

    /// Starts the servers at the other end and waits until they answer.
    pub(crate) fn serve(&self) -> Served {
        let child = self.peer(&format!("python3 {} serve", Self::script())).spawn().expect("apt-get install python3");
        while std::net::TcpStream::connect("10.77.0.2:502").is_err() {
            std::thread::yield_now();
        }
        Served(child)
    }

    /// Real traffic from this end.
    pub(crate) fn send(what: &str) {
        let status = Command::new("python3").args([&Self::script(), what]).status().unwrap();
        assert!(status.success(), "{what}");
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    pub(crate) fn write(&self, part: &str, text: &str) {
        std::fs::write(self.path(part), text).unwrap();
    }

    pub(crate) fn sources(&self) -> RuleSources {
        RuleSources { release: Some(self.path("release")), package: Some(self.path("package")) }
    }

    pub(crate) fn options(&self) -> SuricataOptions {
        let millis = Duration::from_millis;
        let patience = Patience {
            answer: millis(2_000),
            look: millis(100),
            window: millis(400),
            quiet: millis(400),
            loss: millis(400),
            canary: millis(1_000),
            proof: millis(5_000),
            first_pause: millis(100),
            ..Patience::default()
        };
        SuricataOptions { patience, ..SuricataOptions::new(self.path("engine"), self.sources()) }
    }

    /// An engine that listens on the cable.
    pub(crate) async fn engine(&self) -> Engine {
        self.engine_with(self.options()).await
    }

    /// An engine that listens on the cable, with options of its own.
    pub(crate) async fn engine_with(&self, options: SuricataOptions) -> Engine {
        let mut engine = self.idle_engine_with(options);
        engine.handle.configure(BTreeSet::from([CAPTURE.to_owned()]), BTreeSet::new()).await.unwrap();
        engine.until("it runs", is_running).await;
        engine
    }

    /// An engine that listens on nothing.
    pub(crate) fn idle_engine(&self) -> Engine {
        self.idle_engine_with(self.options())
    }

    fn idle_engine_with(&self, options: SuricataOptions) -> Engine {
        let mut handle = Suricata::spawn(options, Clock::system()).unwrap();
        let (status, evidence) = (handle.status(), handle.take_evidence().unwrap());
        Engine { handle, status, evidence, place: Place::new(&self.path("engine"), "nobody").unwrap() }
    }
}

/// Servers that end with the test.
pub(crate) struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn is_running(status: &SuricataStatus) -> bool {
    status.engine.as_ref().is_some_and(|engine| engine.state == EngineState::Running)
}

/// A running engine and everything that comes out of it.
pub(crate) struct Engine {
    pub(crate) handle: SuricataHandle,
    pub(crate) status: watch::Receiver<SuricataStatus>,
    pub(crate) evidence: mpsc::Receiver<Evidence>,
    pub(crate) place: Place,
}

impl Engine {
    /// Waits for a status.
    pub(crate) async fn until(&mut self, what: &str, is_so: impl Fn(&SuricataStatus) -> bool) -> SuricataStatus {
        let waited = tokio::time::timeout(PATIENCE, self.status.wait_for(&is_so)).await;
        if let Some(found) = waited.ok().map(|found| found.unwrap().clone()) {
            return found;
        }
        panic!("{what}: waited in vain; {:#?}\n{}", *self.status.borrow(), self.output());
    }

    /// Takes evidence until `is_it` says that the last one is it; hands back all of it.
    pub(crate) async fn evidence_until(&mut self, what: &str, is_it: impl Fn(&[Evidence]) -> bool) -> Vec<Evidence> {
        let mut taken = Vec::new();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_it(&taken) {
                taken.push(self.evidence.recv().await.unwrap());
            }
        });
        assert!(waited.await.is_ok(), "{what}: waited in vain; {taken:#?}\n{}", self.output());
        taken
    }

    pub(crate) fn pid(&self) -> u32 {
        self.status.borrow().pid.expect("the engine has a process")
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success());
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.place.output()).unwrap_or_default()
    }

    /// A connection of one's own.
    pub(crate) async fn control(&self) -> Control {
        Control::connect(&self.place.control(), None, Duration::from_secs(10)).await.unwrap()
    }
}
