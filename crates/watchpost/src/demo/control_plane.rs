//! The demo's control plane: initialised, served, and asked over its own API.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use watchpost_clock::Stepper;

use super::commands::{Tool, text, words};
use super::folder::Folder;
use super::process::{Process, Spec};

/// The control plane's name on the clock.
pub(super) const PARTY: &str = "control-plane";
/// How long one call of the API may take.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How often the API is asked anew.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long a control plane may take to answer after its start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A control plane that runs.
pub(super) struct ControlPlane {
    pub(super) portal: String,
    pub(super) gateway: String,
    pub(super) api_token: String,
    pub(super) sign_in: String,
    pub(super) process: Arc<Process>,
    client: reqwest::Client,
}

/// A port that is free at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl ControlPlane {
    /// Initialises a control plane in the demo's folder and serves it.
    pub(super) async fn start(
        folder: &Folder,
        watchpost: &Tool,
        port: Option<u16>,
        stepper: Arc<Stepper>,
    ) -> anyhow::Result<Self> {
        let portal = format!("127.0.0.1:{}", port.map_or_else(free_port, Ok)?);
        let gateway = format!("127.0.0.1:{}", free_port()?);
        let image_root = text(&folder.author_repository().join("metadata/1.root.json"));
        let data = text(&folder.server());
        let printed = watchpost
            .run(&words(&[
                "init",
                "--data-dir",
                &data,
                "--image-root",
                &image_root,
                "--portal-addr",
                &portal,
                "--gateway-addr",
                &gateway,
                "--output",
                "json",
            ]))
            .await?;
        let made: Value = serde_json::from_str(&printed).context("`watchpost init` printed no JSON")?;
        let field = |name: &str| {
            made.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("init gave no {name}"))
        };
        write_secret(folder, "access-key", &field("accessKey")?)?;
        write_secret(folder, "api-token", &field("apiToken")?)?;
        let spec = Spec {
            name: PARTY.to_owned(),
            program: watchpost.program.clone(),
            arguments: words(&[
                "serve",
                "--config",
                &field("config")?,
                "--clock",
                &text(&folder.clock()),
                "--clock-party",
                PARTY,
            ]),
            log: folder.log(PARTY),
            open_files: None,
        };
        let process = Process::keep_running(spec, stepper)?;
        let client = reqwest::Client::builder().timeout(CALL_PATIENCE).build()?;
        let made = Self {
            portal: format!("http://{portal}"),
            gateway: format!("https://{gateway}"),
            api_token: field("apiToken")?,
            sign_in: field("signInSecret")?,
            process,
            client,
        };
        let ready = async {
            while made.get("status").await.is_err() {
                tokio::time::sleep(ASK_EVERY).await
            }
        };
        tokio::time::timeout(START_PATIENCE, ready)
            .await
            .with_context(|| format!("the control plane does not answer: see {}", folder.log(PARTY).display()))?;
        Ok(made)
    }

    /// One GET of the API.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.portal);
        let answer = self.client.get(url).bearer_auth(&self.api_token).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    /// The rows of one list of the API.
    pub(super) async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let Value::Object(mut page) = self.get(path).await? else { anyhow::bail!("{path} is no list") };
        match page.remove("value") {
            Some(Value::Array(rows)) => Ok(rows),
            _ => anyhow::bail!("{path} has no rows"),
        }
    }
}

/// Keeps a secret in a file that only its owner reads.
fn write_secret(folder: &Folder, name: &str, secret: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.root().join("home").join(name);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}
