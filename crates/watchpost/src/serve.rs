//! `watchpost serve`: the control plane, until it is told to stop.

use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use watchpost_clock::Clock;
use watchpost_server::config::Settings;
use watchpost_server::lifecycle::Server;

use crate::failure::Failure;

/// Open files for as many connections as both listeners take, and then some.
const OPEN_FILES: u64 = 22_000;

/// Arguments of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost serve --config /var/lib/watchpost/watchpost.toml")]
pub(crate) struct Args {
    /// Configuration written by `watchpost init`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of a stepped clock
    #[cfg(feature = "demo")]
    #[arg(long, hide = true, requires = "clock_party")]
    clock: Option<PathBuf>,
    /// Name under which the server takes part in the stepped clock
    #[cfg(feature = "demo")]
    #[arg(long, hide = true, requires = "clock")]
    clock_party: Option<String>,
}

#[cfg(feature = "demo")]
fn clock(args: &Args) -> Result<Clock, Failure> {
    let (Some(folder), Some(party)) = (&args.clock, &args.clock_party) else { return Ok(Clock::system()) };
    Clock::stepped(folder, party)
        .map_err(|error| Failure::failed(format!("the clock in {} cannot be used: {error}", folder.display())))
}

#[cfg(not(feature = "demo"))]
fn clock(_: &Args) -> Result<Clock, Failure> {
    Ok(Clock::system())
}

/// Runs the control plane.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_env("WATCHPOST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let settings = Settings::read(&args.config).map_err(|error| Failure::usage(chain(&error)))?;
    let clock = clock(&args)?;
    let files = allow_open_files();
    if files.is_some_and(|files| files < OPEN_FILES) {
        warn!(
            ?files,
            wanted = OPEN_FILES,
            "few open files are allowed, so fewer hosts can stay connected (RLIMIT_NOFILE)"
        );
    }
    let mut stop = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let running = Server::start(settings, clock).await.map_err(|error| Failure::failed(chain(&error)))?;
    info!(portal = %running.portal_url(), gateway = %running.gateway_addr(), "ready");
    tokio::select! {
        _ = stop.0.recv() => {}
        _ = stop.1.recv() => {}
    }
    info!("stopping");
    running.stop().await.map_err(|error| Failure::failed(chain(&error)))
}

/// Raises the limit of open files as far as it goes: the usual one is smaller than the gateway's number of
/// connections, and whoever used it up would keep people out of the portal too. `None`: there is no limit.
fn allow_open_files() -> Option<u64> {
    let allowed = getrlimit(Resource::Nofile);
    // Refused, the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, maximum: allowed.maximum });
    getrlimit(Resource::Nofile).current
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")))
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_open_files_are_allowed_as_the_system_lets() {
        let most = getrlimit(Resource::Nofile).maximum;
        assert_eq!(allow_open_files(), most);
    }
}
