//! The planner's driver: runs after a poke and when the clock says so; the same code after a restart.

use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use crate::app::App;

/// How long the planner waits after it failed, for example on a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The least time between two runs that the timer starts.
const LEAST: Duration = Duration::from_millis(10);

/// Plans until the server stops.
pub(super) async fn run(app: App, mut stopped: watch::Receiver<bool>) {
    let clock = app.clock().clone();
    let mut wakes_at = None;
    loop {
        let timer = async {
            match wakes_at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let busy = tokio::select! {
            poked = app.poked() => poked.unwrap_or_else(|| app.busy()),
            () = timer => app.busy(),
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let planned = app.plan().await;
        app.note_work("planning", &planned);
        wakes_at = match planned {
            Ok(at) => at.map(|at| at.max(clock.now() + LEAST)),
            Err(failure) => {
                error!("the plan was not saved and is made again: {}", failure.chain());
                Some(clock.now() + RETRY_AFTER)
            }
        };
        app.wake_at(wakes_at);
        drop(busy);
    }
}
