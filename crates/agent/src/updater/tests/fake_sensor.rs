//! A sensor that detects nothing: the test program itself, started again in another role.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::unix::OwnedWriteHalf;
use watchpost_core::sync::DetectionProof;
use watchpost_core::updater::Release;

use super::host::START;
use crate::host::lock;
use crate::local::{Ask, LineReader, SensorStatus, listen, write_line};

const ROOT: &str = "WATCHPOST_FAKE_SENSOR_ROOT";
const RELEASE: &str = "WATCHPOST_FAKE_SENSOR_RELEASE";
const MODE: &str = "WATCHPOST_FAKE_SENSOR_MODE";

/// A program for a version folder that behaves as `mode` says: `good`, `refuse`, `crash`, `hang`, `blind`, `stubborn`,
/// `flood`.
pub(super) fn program(mode: &str) -> String {
    let test = std::env::current_exe().unwrap();
    format!(
        "#!/bin/sh\n{ROOT}=\"$3\" {RELEASE}=\"$5\" {MODE}={mode} exec '{}' --exact --nocapture \
         updater::tests::fake_sensor::is_a_sensor_where_it_is_told_to_be -- \"$4\" \"$5\"\n",
        test.display()
    )
}

/// Where the alerts of the fake are counted.
pub(super) fn alerts(root: &Path) -> PathBuf {
    root.join("state").join("fake-alerts")
}

#[test]
fn is_a_sensor_where_it_is_told_to_be() {
    let (Ok(root), Ok(release), Ok(mode)) = (std::env::var(ROOT), std::env::var(RELEASE), std::env::var(MODE)) else {
        return;
    };
    let root = PathBuf::from(root);
    match mode.as_str() {
        "refuse" => {
            eprintln!("this host allows too few file descriptors");
            std::process::exit(78);
        }
        "crash" => std::process::exit(1),
        _ => {}
    }
    let path = root.join("state/sensor.lock");
    let Ok(Some(_lock)) = lock::take(&path) else { std::process::exit(75) };
    fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    write!(fs::OpenOptions::new().write(true).open(&path).unwrap(), "{}", std::process::id()).unwrap();
    let release: Release = Path::new(&release).file_name().unwrap().to_str().unwrap().parse().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(watch(&root, release, &mode));
}

async fn watch(root: &Path, release: Release, mode: &str) {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    let listener = listen(root).unwrap();
    loop {
        tokio::select! {
            _ = term.recv() => {
                if mode != "stubborn" {
                    return;
                }
            }
            accepted = listener.accept() => {
                let (read, write) = accepted.unwrap().0.into_split();
                tokio::spawn(answer(LineReader::new(read), write, root.to_owned(), release, mode.to_owned()));
            }
        }
    }
}

async fn answer(
    mut asks: LineReader<tokio::net::unix::OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    root: PathBuf,
    release: Release,
    mode: String,
) {
    let mut status = SensorStatus {
        ready: mode != "hang",
        rules_loaded: 6,
        ..SensorStatus::starting(release.version, std::process::id())
    };
    loop {
        let counted = fs::read_to_string(alerts(&root)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let has_changed = counted != status.alert_count;
        status.alert_count = counted;
        let asked = tokio::time::timeout(Duration::from_millis(10), asks.next::<Ask>()).await;
        match asked {
            Err(_) if has_changed => {}
            Err(_) => continue,
            Ok(Ok(Some(Ask::Watch))) if mode == "flood" => {
                while write_line(&mut to, &status).await.is_ok() {}
                return;
            }
            Ok(Ok(Some(Ask::Watch))) => {}
            Ok(Ok(Some(Ask::Prove { generation }))) if mode != "blind" => {
                let (version, detected_at) = (release.version, START);
                status.proof = Some(DetectionProof {
                    generation,
                    version,
                    detected_at,
                    rules_loaded: 6,
                    rules_failed: 0,
                    engines: std::collections::BTreeMap::new(),
                });
            }
            Ok(Ok(Some(Ask::Configure { generation, .. }))) => status.settings_generation = generation,
            Ok(Ok(Some(
                Ask::Show { .. }
                | Ask::Prove { .. }
                | Ask::LoadRules { .. }
                | Ask::DropRules
                | Ask::Evidence
                | Ask::EvidenceTaken { .. },
            ))) => {}
            Ok(Ok(None) | Err(_)) => return,
        }
        if write_line(&mut to, &status).await.is_err() {
            return;
        }
    }
}
