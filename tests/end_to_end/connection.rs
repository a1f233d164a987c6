//! The way to the server: through a real proxy, and what a host says when it is closed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::Value;
use watchpost_tests::demo::word;
use watchpost_tests::site::{Site, has_own_mounts};
use watchpost_tests::tools;

const A: &str = "2.254.1.0";
/// A name that the proxy alone can resolve: who does not go through it goes nowhere.
const GATEWAY: &str = "gateway.watchpost.test";
const INSTALL: &str = "apt-get install tinyproxy-bin";

/// A tinyproxy that knows one name more than this host, and wants a user name and a password.
struct Proxy {
    child: Child,
    url: String,
}

impl Proxy {
    async fn start(site: &Site) -> anyhow::Result<Self> {
        let (port, gateway_port) = (tools::free_port()?, site.gateway_port());
        let (hosts, config) = (site.path("hosts"), site.path("tinyproxy.conf"));
        std::fs::write(&hosts, format!("127.0.0.1 localhost {GATEWAY}\n"))?;
        std::fs::set_permissions(&hosts, std::fs::Permissions::from_mode(0o644))?;
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\nBasicAuth clerk s3cret\n\
             ConnectPort {gateway_port}\nLogLevel Connect\n"
        );
        std::fs::write(&config, settings)?;
        let log = std::fs::File::create(site.path("tinyproxy.log"))?;
        let script = format!("mount --bind {hosts} /etc/hosts && exec tinyproxy -d -c {config}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context(INSTALL)?;
        let proxy = Self { child, url: format!("http://127.0.0.1:{port}") };
        tools::until_open(port).await.with_context(|| {
            format!(
                "tinyproxy does not listen; {INSTALL}: {}",
                std::fs::read_to_string(site.path("tinyproxy.log")).unwrap_or_default()
            )
        })?;
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        tools::signal(i32::try_from(self.child.id()).unwrap_or_default(), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn updater(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(tools::binary("watchpost-updater").unwrap());
    command.args(words).arg("--root").arg(root).stdin(Stdio::null()).output().unwrap()
}

/// The verdict of a check, and the exit code it came with.
fn verdict(root: &Path) -> (String, i32) {
    let output = updater(root, &["check-connection"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (word(&found, "verdict").to_owned(), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_a_proxy_goes_through_it_for_everything_and_says_what_is_wrong_when_it_cannot() {
    let name = "connection::a_host_behind_a_proxy_goes_through_it_for_everything_and_says_what_is_wrong_when_it_cannot";
    if !has_own_mounts(name).unwrap() {
        return;
    }
    let mut site = Site::found(96, 256).await.unwrap();
    let proxy = Proxy::start(&site).await.unwrap();
    site.publish(&site.release(A).unwrap()).unwrap();
    let (root, log, password) = (site.host(), site.path("audit.jsonl"), site.path("password"));
    std::fs::copy(tools::checkout().join("content/samples/samba-audit.jsonl"), &log).unwrap();
    site.call_gateway(GATEWAY);
    let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
    let by_proxy = ["--proxy-url", &proxy.url, "--proxy-user-name", "clerk", "--proxy-user-password-file", &password];

    // Enrolment: refused with the wrong password, by a reason that says whose, and done with the right one.
    std::fs::write(&password, "wrong\n").unwrap();
    let refused = site.set_up_host("DC01", &[&facts[..], &by_proxy].concat()).unwrap_err().to_string();
    assert!(refused.contains("refuses the user name and password") && refused.contains("status: 3"), "{refused}");
    std::fs::write(&password, "s3cret\n").unwrap();
    site.set_up_host("DC01", &[&facts[..], &by_proxy].concat()).unwrap();

    // Check-ins, metadata, the package, and evidence.
    let runs = |sensor: &Value| {
        word(sensor, "version") == A
            && word(sensor, "deploymentStatus") == "upToDate"
            && sensor["alertCount"].as_u64() > Some(0)
    };
    site.until("sensors/DC01", "release A and alerts", runs).await.unwrap();
    site.until("alerts?sensor=DC01", "the alerts themselves", |page| !page["value"][0].is_null()).await.unwrap();
    assert_eq!(verdict(&root), ("ok".to_owned(), 0));

    // Each fault by its own word, from the settings that the service itself uses.
    let set = |words: &[&str]| {
        let output = updater(&root, &[&["proxy"], words].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    set(&["--proxy-url", &proxy.url]);
    assert_eq!(verdict(&root), ("proxyAuthentication".to_owned(), 3));
    set(&["--clear"]);
    assert_eq!(verdict(&root), ("nameNotResolved".to_owned(), 1));
    set(&by_proxy);
    let port_of_proxy_only = site.point_host_at(&format!("{GATEWAY}:1")).unwrap();
    assert_eq!(verdict(&root), ("proxyRefused".to_owned(), 3), "a port that the proxy does not allow");
    site.point_host_at(&port_of_proxy_only).unwrap();
    drop(proxy);
    assert_eq!(verdict(&root), ("proxyUnreachable".to_owned(), 1));

    // Uninstalling waits for the service to be stopped, and takes everything but what is not ours.
    assert_eq!(updater(&root, &["uninstall", "--quiet"]).status.code(), Some(3));
    site.stop_host().unwrap();
    let gone = updater(&root, &["uninstall", "--quiet"]);
    assert!(gone.status.success() && gone.stdout.is_empty(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert!(!root.exists());
    assert_eq!(updater(&root, &["uninstall", "--quiet"]).status.code(), Some(4));
}
