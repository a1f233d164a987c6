//! What the clock does: each worker takes no input, is woken by a timer or a poke, and may run at any time.

mod directory;
mod own_health;
mod planner;
mod upkeep;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;

/// Starts all workers; they end when `stopped` says so.
pub(crate) fn spawn(app: &App, stopped: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    tasks.spawn(planner::run(app.clone(), stopped.clone()));
    tasks.spawn(upkeep::write_behind(app.clone(), stopped.clone()));
    tasks.spawn(upkeep::forget_evidence(app.clone(), stopped.clone()));
    tasks.spawn(upkeep::sign_anew(app.clone(), stopped.clone()));
    tasks.spawn(own_health::run(app.clone(), stopped.clone()));
    for settings in app.directory_settings() {
        tasks.spawn(directory::run(app.clone(), settings.clone(), stopped.clone()));
    }
}
