//! A rule package from a folder to both repositories, with the product's own commands, checked by tools that are not ours.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use watchpost_tests::tools::{self, binary};

const BUILD: &str = "2026-01-05T00:00:00Z";
const NAME: &str = "watchpost-rules-20260105t000000.cab";
/// How long the control plane may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

struct Place {
    dir: tempfile::TempDir,
    address: String,
    token: String,
    server: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Place {
    async fn new() -> anyhow::Result<Self> {
        let (dir, address) = (tempfile::tempdir()?, free_address());
        let mut place = Self { dir, address, token: String::new(), server: None };
        let (keys, author, data) = (place.path("keys"), place.path("author"), place.path("data"));
        place.watchpost(&["release", "keys", "--keys", &keys, "--repository", &author])?;
        let root = format!("{author}/metadata/1.root.json");
        let addresses = ["--portal-addr", &place.address, "--gateway-addr", &free_address()];
        let made = [&["init", "--data-dir", &data, "--image-root", &root, "--output", "json"], &addresses[..]].concat();
        let made: Value = serde_json::from_str(&place.watchpost(&made)?)?;
        place.token = made["apiToken"].as_str().context("init gave no token")?.to_owned();
        let config = made["config"].as_str().context("init gave no configuration")?.to_owned();
        let mut serve = Command::new(binary("watchpost")?);
        serve.args(["serve", "--config", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = serve.spawn()?;
        let said = server.stderr.take().context("no standard error")?;
        place.server = Some(server);
        // Its log is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || BufReader::new(said).lines().for_each(drop));
        let answers = async {
            while tokio::net::TcpStream::connect(&place.address).await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.context("the control plane does not answer")?;
        Ok(place)
    }

    fn path(&self, name: &str) -> String {
        text(&self.dir.path().join(name))
    }

    fn watchpost(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(binary("watchpost")?);
        let url = format!("http://{}", self.address);
        tools::run(command.args(words).env("WATCHPOST_URL", url).env("WATCHPOST_TOKEN", &self.token), "cargo build")
    }

    fn rules(&self) -> anyhow::Result<PathBuf> {
        let from = self.dir.path().join("rules");
        std::fs::create_dir_all(from.join("suricata"))?;
        std::fs::create_dir_all(from.join("sigma"))?;
        std::fs::copy(
            tools::checkout().join("content/rules/password-reset.yml"),
            from.join("sigma/password-reset.yml"),
        )?;
        let rule = "alert tcp any any -> any any (msg:\"example\"; content:\"x\"; sid:9000001; rev:1;)\n";
        std::fs::write(from.join("suricata/example.rules"), rule)?;
        Ok(from)
    }
}

/// python-tuf verifies a repository and downloads the package from it.
fn python_tuf_takes(repository: &str) -> anyhow::Result<()> {
    let mut check = Command::new(tools::checkout().join("target/venv/bin/python"));
    check.arg(tools::checkout().join("scripts/verify-with-python-tuf.py")).args([repository, "--target", NAME]);
    let said: Value = serde_json::from_str(&tools::run(&mut check, "cargo xtask setup")?)?;
    anyhow::ensure!(said["targets"][0]["name"] == NAME, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_rule_package_is_built_signed_published_and_verified_by_others() -> anyhow::Result<()> {
    let place = Place::new().await?;
    let (from, package, author) = (text(&place.rules()?), place.path(NAME), place.path("author"));
    let built = place.watchpost(&["rules", "build", "--from", &from, "--build", BUILD, "--out", &package])?;
    let built: Value = serde_json::from_str(&built)?;
    assert_eq!((&built["sigmaExpected"], &built["suricataExpected"]), (&1.into(), &1.into()));
    assert_eq!(built["sha256"].as_str(), Some(tools::sha256(Path::new(&package))?.as_str()));
    let listed = tools::run(Command::new("cabextract").arg("-t").arg(&package), "apt-get install cabextract")?;
    assert!(listed.contains("rules.json") && listed.contains("suricata"), "{listed}");
    place.watchpost(&["rules", "sign", "--keys", &place.path("keys"), "--repository", &author, &package])?;
    place.watchpost(&["rules", "publish", "--repository", &author, &package])?;
    let listed: Value = serde_json::from_str(&place.watchpost(&["rules", "list"])?)?;
    assert_eq!((listed[0]["build"].as_str(), listed[0]["state"].as_str()), (Some(BUILD), Some("offered")));
    // As a sensor it is refused.
    let refused = place.watchpost(&["release", "publish", "--repository", &author, &package]).unwrap_err().to_string();
    assert!(refused.contains("the package holds rules, not a sensor"), "{refused}");
    python_tuf_takes(&author)?;
    for repository in ["image", "director"] {
        python_tuf_takes(&place.path(&format!("data/repositories/{repository}")))?;
    }
    let pulled = place.watchpost(&["rules", "pull-back", BUILD, "--reason", "a test"])?;
    assert_eq!(serde_json::from_str::<Value>(&pulled)?["state"].as_str(), Some("pulledBack"));
    Ok(())
}
