//! The demo's result: one JSON object for scripts, a page of text for people.

use serde_json::{Value, json};

use super::Demo;
use super::commands::text;
use super::watch::word;

/// The result as the README documents it.
pub(super) async fn result(demo: &Demo, rollout: &Value) -> anyhow::Result<Value> {
    let rows = demo.control_plane.list("sensors").await?;
    let mut sensors = Vec::new();
    for running in &demo.hosts {
        let name = running.host.name;
        let Some(row) = rows.iter().find(|row| word(row, "displayName") == name) else { continue };
        let sensor = demo.control_plane.get(&format!("sensors/{}", word(row, "id"))).await?;
        sensors.push(json!({
            "id": word(row, "id"),
            "name": name,
            "version": word(&sensor, "version"),
            "sensorStatus": word(&sensor, "deploymentStatus"),
            "serviceStatus": word(&sensor, "serviceStatus"),
            "healthStatus": word(&sensor, "healthStatus"),
            "delayed": running.host.delayed,
            "openHealthIssues": sensor.get("openHealthIssues").cloned().unwrap_or_else(|| json!([])),
            "why": sensor.pointer("/why/deploymentStatus/reason").cloned().unwrap_or(Value::Null),
            "alertCount": sensor.get("alertCount").cloned().unwrap_or(Value::Null),
            "pids": { "updater": running.updater.pid(), "sensor": running.sensor_pid() },
            "stateDir": text(&running.folder),
            "auditLog": text(&running.audit_log),
        }));
    }
    let field = |name: &str| rollout.get(name).cloned().unwrap_or(Value::Null);
    let repositories = demo.folder.server().join("repositories");
    Ok(json!({
        "portal": demo.control_plane.portal,
        "signIn": demo.control_plane.sign_in,
        "apiToken": demo.control_plane.api_token,
        "pids": { "demo": std::process::id(), "server": demo.control_plane.process.pid() },
        "sensors": sensors,
        "rollout": {
            "version": field("version"), "state": field("state"), "cleared": field("cleared"),
            "failed": field("failed"), "skipped": field("skipped"), "peakInFlight": field("peakInFlight"),
        },
        "timeline": field("events"),
        "imageRepository": text(&repositories.join("image")),
        "directorRepository": text(&repositories.join("director")),
        "package": text(&demo.folder.package(super::RELEASE_B)),
        "releaseSource": text(&demo.folder.source(super::RELEASE_B)),
        "authorKeys": text(&demo.folder.author_keys()),
        "authorRepository": text(&demo.folder.author_repository()),
        "dir": text(demo.folder.root()),
    }))
}

/// The result as a person reads it: where every sensor ended, and the rollout in one line.
pub(super) fn table(result: &Value) -> String {
    let mut text = format!("\n  {:6} {:11} {:13} {:8} {:17} why\n", "NAME", "VERSION", "STATUS", "SERVICE", "HEALTH");
    for sensor in result.get("sensors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        let (name, version) = (word(sensor, "name"), word(sensor, "version"));
        let (status, service) = (word(sensor, "sensorStatus"), word(sensor, "serviceStatus"));
        let (health, why) = (word(sensor, "healthStatus"), word(sensor, "why"));
        text.push_str(&format!("  {name:6} {version:11} {status:13} {service:8} {health:17} {why}\n"));
    }
    let rollout = result.get("rollout").unwrap_or(&Value::Null);
    let count = |field: &str| rollout.get(field).and_then(Value::as_u64).unwrap_or(0);
    text.push_str(&format!(
        "\n  Rollout of {}: {}; {} cleared, {} failed, {} skipped, never more than {} in flight.\n",
        word(rollout, "version"),
        word(rollout, "state"),
        count("cleared"),
        count("failed"),
        count("skipped"),
        count("peakInFlight"),
    ));
    text
}

/// What a person may look at next.
pub(super) fn farewell(demo: &Demo, keeps_running: bool) -> String {
    let folder = demo.folder.root().display();
    if !keeps_running {
        return format!("Everything was stopped. The folder is kept: {folder}");
    }
    format!(
        "\nOpen   {portal}/sign-in#{secret}\n       (signs in once; `watchpost sign-in --config {config}` makes another)\n\n\
         Look at: DC03, back on {a} with a health issue that says why; DC05, which waited its 72 hours;\n\
         the rollout strip above the grid. The README lists what to try to break.\n\
         Folder (kept): {folder}\nStop with Ctrl-C.",
        portal = demo.control_plane.portal,
        secret = demo.control_plane.sign_in,
        config = demo.folder.server().join("watchpost.toml").display(),
        a = super::RELEASE_A,
    )
}
