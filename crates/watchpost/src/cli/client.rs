//! The REST client of the operator's commands.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use crate::failure::Failure;

/// How long one call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// How long sending a file may take.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(3_600);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Where the server is and who asks.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Address of the portal and API, e.g. https://watchpost.example
    #[arg(long, env = "WATCHPOST_URL", value_name = "URL")]
    url: Url,
    /// API token
    #[arg(long, env = "WATCHPOST_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: String,
    /// File with the certificate authority of the server, PEM; only needed for one the system does not know
    #[arg(long, env = "WATCHPOST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The same where a command only sometimes asks a server.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct MaybeConnection {
    /// Address of the portal and API, e.g. https://watchpost.example
    #[arg(long, env = "WATCHPOST_URL", value_name = "URL")]
    url: Option<Url>,
    /// API token
    #[arg(long, env = "WATCHPOST_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with the certificate authority of the server, PEM; only needed for one the system does not know
    #[arg(long, env = "WATCHPOST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl MaybeConnection {
    /// The connection, if it is known where and as whom.
    pub(crate) fn known(&self) -> Option<Connection> {
        Some(Connection { url: self.url.clone()?, token: self.token.clone()?, ca: self.ca.clone() })
    }
}

impl std::fmt::Debug for MaybeConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaybeConnection").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("url", &self.url.as_str()).field("token", &"…").finish_non_exhaustive()
    }
}

/// Calls the API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Connection {
    /// A client for this server.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let is_local = match self.url.host_str() {
            Some("localhost") => true,
            Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            None => false,
        };
        if self.url.scheme() != "https" && !is_local {
            let why = "the token would cross the network in the clear; use https://, or http:// to this machine alone";
            return Err(Failure::usage(format!("{} is not https: {why}", self.url)));
        }
        let mut builder = reqwest::Client::builder().timeout(CALL_DEADLINE).redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &self.ca {
            let bytes = std::fs::read(file)
                .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?;
            let chain = Certificate::from_pem_bundle(&bytes)
                .map_err(|_| Failure::usage(format!("{} is no PEM certificate", file.display())))?;
            for certificate in chain {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Client { http, base: self.url.clone(), token: self.token.clone() })
    }
}

impl Client {
    /// `GET /api/v1/{path}`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    /// `GET /api/v1/{path}`, which answers with text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let (status, bytes) = self.exchange(Method::GET, path, |request| request).await?;
        if status.is_success() {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        let answer = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(refusal(status, &answer))
    }

    /// `POST /api/v1/{path}`.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.call(Method::POST, path, body).await
    }

    /// `PATCH /api/v1/{path}`.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// `POST /api/v1/{path}` with a file as its body.
    pub(crate) async fn upload(&self, path: &str, file: tokio::fs::File) -> Result<Value, Failure> {
        self.send(Method::POST, path, |request| request.timeout(UPLOAD_DEADLINE).body(file)).await
    }

    /// The rows of a list.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let answer = self.get(path).await?;
        match answer.get("value") {
            Some(Value::Array(rows)) => Ok(rows.clone()),
            _ => Err(Failure::failed(format!("{path}: the server did not answer with a list; is it a Watchpost?"))),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.send(method, path, |request| match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Value, Failure> {
        let (status, bytes) = self.exchange(method, path, with).await?;
        if status.is_success() && bytes.is_empty() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes)
            .map_err(|_| Failure::failed(format!("{path}: the server answered {status} and no JSON")))?;
        if status.is_success() { Ok(answer) } else { Err(refusal(status, &answer)) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let url = self.base.join(&format!("/api/v1/{path}"));
        let url = url.map_err(|error| Failure::usage(format!("{} is no usable address: {error}", self.base)))?;
        let request = with(self.http.request(method, url).bearer_auth(&self.token));
        let response = request.send().await.map_err(|error| {
            let why = root_cause(&error);
            Failure::failed(format!("{} cannot be reached: {why}; is the server running there?", self.base))
        })?;
        let status = response.status();
        Ok((status, read(response).await?))
    }
}

/// A part of an address, percent-encoded where it must be.
pub(crate) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let write = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}

/// The options of a query that are given.
pub(crate) fn query(options: &[(&str, Option<&String>)]) -> String {
    let given = options.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    given.collect::<Vec<_>>().join("&")
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| Failure::failed(format!("the answer broke off: {error}; try again")))?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::failed(format!("the answer is larger than {MAX_ANSWER_BYTES} bytes; ask for less")));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// What the server refused, with the exit code that says how.
fn refusal(status: StatusCode, answer: &Value) -> Failure {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let line = format!("{} ({}, operation {})", text("detail"), text("code"), text("operationId"));
    match status.as_u16() {
        404 => Failure::not_found(line),
        400 | 401 | 403 | 409 | 413 | 422 => Failure::refused(line),
        _ => Failure::failed(line),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
