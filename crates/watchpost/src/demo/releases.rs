//! The demo as the author of releases: builds, signs and publishes release A and release B.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use watchpost_clock::Clock;

use super::binaries::Binaries;
use super::commands::{Tool, text, words};
use super::folder::Folder;

/// A rule of the releases, built in, so that a demo needs no checkout.
macro_rules! rule {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../content/rules/", $name)))
    };
}

/// The rules every release of the demo carries.
const RULES: [(&str, &str); 6] = [
    rule!("domain-controller-account-changed.yml"),
    rule!("failed-logon-unknown-account.yml"),
    rule!("failed-logon-wrong-password.yml"),
    rule!("password-reset.yml"),
    rule!("privileged-group-member-added.yml"),
    rule!("watchpost-canary.yml"),
];

/// Lays out the folder that `watchpost release build` packs.
fn lay_out(folder: &Folder, binaries: &Binaries, version: &str) -> anyhow::Result<()> {
    let source = folder.source(version);
    fs::create_dir_all(source.join("bin"))?;
    fs::create_dir_all(source.join("rules"))?;
    fs::copy(&binaries.sensor, source.join("bin/watchpost-sensor"))?;
    for (name, rule) in RULES {
        fs::write(source.join("rules").join(name), rule)?;
    }
    let needs = super::fleet::NEEDS.iter().find(|(of, _)| *of == version).map_or(128, |(_, files)| *files);
    let release = json!({
        "version": version,
        "kind": "minor",
        "notes": format!("Demo release {version}"),
        "minimumBaseVersion": null,
        "rulesExpected": RULES.len(),
        "needs": { "fileDescriptors": needs },
    });
    fs::write(source.join("release.json"), serde_json::to_vec_pretty(&release)?)?;
    Ok(())
}

/// Makes the author's keys, and the signed image repository with nothing in it yet.
pub(super) async fn make_author(folder: &Folder, watchpost: &Tool) -> anyhow::Result<()> {
    let (keys, repository) = (text(&folder.author_keys()), text(&folder.author_repository()));
    watchpost.run(&words(&["release", "keys", "--keys", &keys, "--repository", &repository])).await?;
    Ok(())
}

/// Builds and signs one release.
pub(super) async fn make(folder: &Folder, binaries: &Binaries, watchpost: &Tool, version: &str) -> anyhow::Result<()> {
    lay_out(folder, binaries, version)?;
    let (source, package) = (text(&folder.source(version)), text(&folder.package(version)));
    let (keys, repository) = (text(&folder.author_keys()), text(&folder.author_repository()));
    watchpost.run(&words(&["release", "build", "--from", &source, "--version", version, "--out", &package])).await?;
    watchpost.run(&words(&["release", "sign", "--keys", &keys, "--repository", &repository, &package])).await?;
    Ok(())
}

/// How long publishing is tried: a control plane that was just killed is back in a moment.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two tries.
const PUBLISH_AGAIN: Duration = Duration::from_millis(200);

/// Publishes a signed release to the control plane. Publishing the same release again changes nothing, so it is
/// simply tried again.
pub(super) async fn publish(folder: &Folder, watchpost: &Tool, package: &Path) -> anyhow::Result<()> {
    let repository = text(&folder.author_repository());
    let arguments = words(&["release", "publish", "--repository", &repository, &text(package)]);
    let clock = Clock::system();
    let give_up = clock.instant() + PUBLISH_PATIENCE;
    loop {
        match watchpost.run(&arguments).await {
            Ok(_) => return Ok(()),
            Err(error) if clock.instant() >= give_up => return Err(error),
            Err(_) => tokio::time::sleep(PUBLISH_AGAIN).await,
        }
    }
}
