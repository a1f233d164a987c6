//! Looks at the server itself from time to time.

use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use super::upkeep::wait;
use crate::app::App;

/// The least real time between two looks, however fast a demo's clock steps.
const LEAST: Duration = Duration::from_millis(500);

/// Looks until the server stops.
pub(super) async fn run(app: App, mut stopped: watch::Receiver<bool>) {
    // Opening the database has shown that it can be written; from then on the look has to show it.
    let mut with_write = false;
    loop {
        if let Err(failure) = app.look_at_oneself(with_write).await {
            error!("what the server saw of itself was not kept: {}", failure.chain());
        }
        with_write = true;
        if !wait(&app, app.own_health_every(), LEAST, &mut stopped).await {
            return;
        }
    }
}
