//! What an author asks of a control plane: take this package, and which releases are there.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use watchpost_core::time::Timestamp;
use watchpost_package::{MirrorError, verify_folder};

use super::{Publish, PublishMetadata, PublishRelease, PullBack, failed, refused};
use crate::cli::client::Connection;
use crate::cli::output::Output;
use crate::failure::Failure;

/// What is shown of a release: heading and field.
const COLUMNS: &[(&str, &str)] = &[
    ("VERSION", "version"),
    ("KIND", "kind"),
    ("PUBLISHED", "publishedDateTime"),
    ("STATE", "state"),
    ("NOTES", "notes"),
];
/// How often the bar on a terminal moves.
const TICK: Duration = Duration::from_millis(200);

pub(super) async fn publish(args: &PublishRelease, now: Timestamp) -> Result<(), Failure> {
    let PublishRelease { hold, publish } = args;
    publish.output.one(&send(publish, "releases", *hold, now).await?)
}

pub(super) async fn pull_back(args: &PullBack) -> Result<(), Failure> {
    let path = format!("releases/{}/pull-back", args.version);
    args.output.one(&args.connection.client()?.post(&path, Some(&json!({ "reason": args.reason }))).await?)
}

/// Sends a signed package, of a release or of rules, and has it published at `path` of the API.
pub(crate) async fn send(args: &Publish, path: &str, hold: bool, now: Timestamp) -> Result<Value, Failure> {
    if !args.package.is_file() {
        return Err(Failure::not_found(format!("there is no package {}; build it first", args.package.display())));
    }
    let target = args.package.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let metadata = vouched(&args.repository, &target, now)?;
    let client = args.connection.client()?;
    let file = tokio::fs::File::open(&args.package).await.map_err(failed)?;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_message(format!("sending {target}"));
    bar.enable_steady_tick(TICK);
    let sent = client.upload("packages", file).await;
    bar.finish_and_clear();
    sent?;
    let mut body = json!({ "metadata": metadata, "target": target });
    if hold && let Some(fields) = body.as_object_mut() {
        fields.insert("hold".to_owned(), Value::Bool(true));
    }
    client.post(path, Some(&body)).await
}

/// The files of a repository by which its keys vouch for `target`.
fn vouched(repository: &Path, target: &str, now: Timestamp) -> Result<BTreeMap<String, String>, Failure> {
    let published = verify_folder(repository, target, now).map_err(|error| match error {
        MirrorError::Io { .. } => failed(error),
        MirrorError::NotNamed(_) => Failure::not_found(super::line(&error)),
        MirrorError::Refused(_)
        | MirrorError::Rollback { .. }
        | MirrorError::Vanished(_)
        | MirrorError::FileName(_)
        | MirrorError::Package { .. } => refused(error),
    })?;
    let text = |(name, bytes): (&String, &Vec<u8>)| (name.clone(), String::from_utf8_lossy(bytes).into_owned());
    Ok(published.files().iter().map(text).collect())
}

/// Publishes a release once more that is there already: with it comes the metadata, and nothing is rolled out.
pub(super) async fn publish_metadata(args: &PublishMetadata, now: Timestamp) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let releases = client.list("releases").await?;
    let target = releases.iter().find_map(|release| release.get("packageName")?.as_str());
    let target = target.ok_or_else(|| {
        Failure::refused(
            "nothing was published yet; the metadata comes with the first `watchpost release publish`".to_owned(),
        )
    })?;
    let metadata = vouched(&args.repository, target, now)?;
    client.post("releases", Some(&json!({ "metadata": metadata, "target": target }))).await?;
    let image = client
        .list("trust")
        .await?
        .into_iter()
        .filter(|part| part.get("repository").is_some_and(|word| word == "image"));
    args.output.list(&image.collect::<Vec<_>>(), crate::cli::trust::COLUMNS)
}

pub(super) async fn list(connection: &Connection, output: Output) -> Result<(), Failure> {
    output.list(&connection.client()?.list("releases").await?, COLUMNS)
}
