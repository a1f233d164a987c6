//! A sensor that says more than anybody can hear.

use std::time::Duration;

use tokio::sync::mpsc;
use watchpost_core::updater::Running;

use super::super::supervisor::Supervisor;
use super::fake_sensor::program;
use super::host::{installed, release};

/// Real time within which a stop must come to its end; it takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_sensor_that_floods_its_updater_can_be_stopped_while_nobody_listens() {
    let root = tempfile::tempdir().unwrap();
    let layout = installed(root.path(), 254, &program("flood"));
    let (to_heard, mut heard) = mpsc::channel(2);
    let mut supervisor = Supervisor::new(layout, Vec::new(), to_heard, tokio::sync::watch::Sender::new(None));
    supervisor.start(release(254)).await.unwrap();
    tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    // From here on nobody listens. It goes on speaking, so the room is used up, and then whoever stays with it waits.
    while heard.len() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(PATIENCE, supervisor.stop()).await.expect("the sensor could not be stopped");
    assert_eq!(supervisor.running(), Running::Nothing);
}
