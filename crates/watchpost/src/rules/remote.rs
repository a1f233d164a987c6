//! What an operator asks of a control plane about rule packages.

use serde_json::json;
use watchpost_core::time::Timestamp;

use super::{Publish, PullBack, Push, SetMode};
use crate::cli::client::Connection;
use crate::cli::client::encoded;
use crate::cli::output::Output;
use crate::failure::Failure;
use crate::release::remote::send;

/// What is shown of a package: heading and field.
const COLUMNS: &[(&str, &str)] = &[
    ("BUILD", "build"),
    ("STATE", "state"),
    ("SIGMA", "sigmaExpected"),
    ("SURICATA", "suricataExpected"),
    ("LOADED ON", "loadedCount"),
    ("FAILED ON", "failedCount"),
    ("PUBLISHED", "publishedDateTime"),
    ("NOTES", "notes"),
];

pub(super) async fn publish(args: &Publish, now: Timestamp) -> Result<(), Failure> {
    args.output.one(&send(args, "rule-packages", false, now).await?)
}

pub(super) async fn list(connection: &Connection, output: Output) -> Result<(), Failure> {
    output.list(&connection.client()?.list("rule-packages").await?, COLUMNS)
}

pub(super) async fn pull_back(args: &PullBack) -> Result<(), Failure> {
    let path = format!("rule-packages/{}/pull-back", args.build);
    args.output.one(&args.connection.client()?.post(&path, Some(&json!({ "reason": args.reason }))).await?)
}

pub(super) async fn push(args: &Push) -> Result<(), Failure> {
    let body = json!({ "build": args.build, "reason": args.reason });
    let path = format!("sensors/{}/rules/push", encoded(&args.sensor));
    args.output.one(&args.connection.client()?.post(&path, Some(&body)).await?)
}

pub(super) async fn set_mode(args: &SetMode) -> Result<(), Failure> {
    let body = json!({ "mode": args.mode, "reason": args.reason });
    let path = format!("sensors/{}/rules/mode", encoded(&args.sensor));
    args.output.one(&args.connection.client()?.post(&path, Some(&body)).await?)
}
