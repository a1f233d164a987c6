//! Writing behind what check-ins leave in memory, forgetting old evidence, and signing the director's short-lived
//! metadata anew.

use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use crate::app::App;

/// How often last contacts and the use of sessions are written behind; a crash may lose as much of them.
const WRITE_BEHIND: Duration = Duration::from_secs(30);
/// The least real time between two writes, however fast a demo's clock steps.
const WRITE_BEHIND_LEAST: Duration = Duration::from_secs(1);
/// How often evidence that was kept for long enough is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// The least real time between two turns of forgetting.
const FORGET_LEAST: Duration = Duration::from_secs(5);
/// How often it is looked whether a signature is due.
const SIGNATURE_CHECK: Duration = Duration::from_secs(3600);
/// The least real time between two looks.
const SIGNATURE_CHECK_LEAST: Duration = Duration::from_millis(200);

/// Waits `span` of the clock and `least` of real time; `false` when the server stops first.
pub(super) async fn wait(app: &App, span: Duration, least: Duration, stopped: &mut watch::Receiver<bool>) -> bool {
    let clock = app.clock();
    let both = async {
        clock.sleep_until(clock.now() + span).await;
        tokio::time::sleep(least).await;
    };
    tokio::select! {
        () = both => true,
        _ = stopped.wait_for(|stop| *stop) => false,
    }
}

/// Writes behind until the server stops; the last time is the server's own business.
pub(super) async fn write_behind(app: App, mut stopped: watch::Receiver<bool>) {
    while wait(&app, WRITE_BEHIND, WRITE_BEHIND_LEAST, &mut stopped).await {
        let written = app.write_behind().await;
        app.note_work("saving last contacts", &written);
        if let Err(failure) = written {
            error!("last contacts were not saved and stay in memory: {}", failure.chain());
        }
        if let Err(failure) = app.tidy_sessions().await {
            error!("sessions were not saved: {}", failure.chain());
        }
    }
}

/// Forgets evidence that was kept for long enough, until the server stops.
pub(super) async fn forget_evidence(app: App, mut stopped: watch::Receiver<bool>) {
    while wait(&app, FORGET, FORGET_LEAST, &mut stopped).await {
        let forgotten = tokio::select! {
            forgotten = app.forget_evidence() => forgotten,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match forgotten {
            Ok(0) => {}
            Ok(count) => info!(count, "alerts and devices that were kept for long enough are forgotten"),
            Err(failure) => error!("old evidence was not forgotten: {}", failure.chain()),
        }
    }
}

/// Signs the director's timestamp anew whenever it is due, a day after the last time.
pub(super) async fn sign_anew(app: App, mut stopped: watch::Receiver<bool>) {
    loop {
        let signed = app.resign_director().await;
        app.note_work("signing the director's metadata", &signed);
        match signed {
            Ok(true) => info!("the director's metadata was signed anew"),
            Ok(false) => {}
            Err(failure) => error!("the director's metadata could not be signed anew: {}", failure.chain()),
        }
        if !wait(&app, SIGNATURE_CHECK, SIGNATURE_CHECK_LEAST, &mut stopped).await {
            return;
        }
    }
}
