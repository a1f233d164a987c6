//! `watchpost demo`: a control plane and five real hosts in a throw-away folder, and one rollout to watch (J1).
//!
//! It decides nothing and fakes nothing: it types the product's own commands, starts the product's own
//! processes again when they die, and moves their clock.

mod binaries;
mod commands;
mod control_plane;
mod fleet;
mod folder;
mod life;
mod process;
mod releases;
mod report;
mod screen;
mod stepping;
mod watch;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use watchpost_clock::Stepper;

use binaries::Binaries;
use commands::Tool;
use control_plane::ControlPlane;
use fleet::{HOSTS, RunningHost};
use folder::Folder;
use life::Life;
use screen::Screen;
use stepping::Pace;

/// The release every host starts on.
const RELEASE_A: &str = "2.254.1.0";
/// The release that is rolled out.
const RELEASE_B: &str = "2.255.1.0";
/// How often a demo that keeps running looks whether a rollout is under way.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Shows the main job on this machine: a signed release reaches five real sensors, one after another.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost demo\n  watchpost demo --exit-when-done --output json")]
pub(crate) struct Args {
    /// Stop everything and exit once every sensor is cleared or back on its old version
    #[arg(long)]
    exit_when_done: bool,
    /// How to print the result
    #[arg(long, value_enum)]
    output: Option<Output>,
    /// The folder to use; empty or absent. Otherwise a fresh one below the system's temporary folder
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The portal's port; otherwise a free one
    #[arg(long)]
    port: Option<u16>,
    /// How fast the demo's clock may run while a rollout is under way, in seconds per second
    /// [default: 60; with --exit-when-done as fast as the hosts follow]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    speed: Option<u64>,
}

/// How the result is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Table,
    Json,
}

/// A demo that runs.
struct Demo {
    folder: Folder,
    watchpost: Tool,
    control_plane: ControlPlane,
    hosts: Vec<RunningHost>,
    pace: Arc<Pace>,
}

/// Seconds of the clock per second of the wall while somebody watches a rollout.
const WATCHING_SPEED: u64 = 60;

/// Runs the demo.
///
/// # Errors
/// When a part of it cannot be started, or a stage takes far too long; whatever was started is stopped.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plain = if std::io::stdout().is_terminal() { Output::Table } else { Output::Json };
    let as_json = args.output.unwrap_or(plain) == Output::Json;
    let mut stop = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let screen = Screen::new(false);
    let binaries = Binaries::find()?;
    let folder = Folder::create(args.dir.clone())?;
    screen.say(&format!("Demo folder: {}", folder.root().display()));
    let mut started = Started::default();
    let outcome = tokio::select! {
        outcome = play(&args, as_json, screen, binaries, folder, &mut started) => outcome,
        _ = stop.0.recv() => Ok(()),
        _ = stop.1.recv() => Ok(()),
    };
    started.stop().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// What has to be stopped at the end, however the demo ends.
#[derive(Default)]
struct Started {
    processes: Vec<Arc<process::Process>>,
    host_folders: Vec<PathBuf>,
}

impl Started {
    async fn stop(&self) {
        for process in self.processes.iter().rev() {
            process.stop().await;
        }
        for folder in &self.host_folders {
            // A sensor outlives its updater on purpose; at the end of the demo nobody is left to adopt it.
            if let Some(pid) = fleet::sensor_pid(folder) {
                process::signal(pid, rustix::process::Signal::TERM);
            }
        }
    }
}

async fn play(
    args: &Args,
    as_json: bool,
    mut screen: Screen,
    binaries: Binaries,
    folder: Folder,
    started: &mut Started,
) -> anyhow::Result<()> {
    let logs = HOSTS.iter().map(|host| folder.audit_log(host.name)).collect();
    let (demo, stepper) = set_up(args, &mut screen, binaries, folder, started).await?;
    let stepping = tokio::spawn(stepping::run(stepper, demo.pace.clone(), Life::new(logs, fleet::RECORDED)));
    screen.step("Five hosts install release A");
    demo.pace.set(Pace::UNLIMITED);
    watch::installed(&demo.control_plane, &mut screen, HOSTS.len(), RELEASE_A).await?;
    let speed = args.speed.unwrap_or(if args.exit_when_done { Pace::UNLIMITED } else { WATCHING_SPEED });
    screen.step("Release B goes out, one sensor after another");
    releases::publish(&demo.folder, &demo.watchpost, &demo.folder.package(RELEASE_B)).await?;
    if !args.exit_when_done {
        screen.say(&report::farewell(&demo, true));
    }
    let rollout = watch::followed(&demo.control_plane, &mut screen, RELEASE_B, &demo.pace, speed).await?;
    screen.finish();
    let result = report::result(&demo, &rollout).await?;
    print(&demo, &result, as_json, args.exit_when_done)?;
    if !args.exit_when_done {
        keep_running(&demo, speed).await;
    }
    stepping.abort();
    Ok(())
}

/// Prints the result on standard output.
fn print(demo: &Demo, result: &Value, as_json: bool, ends_here: bool) -> anyhow::Result<()> {
    use std::io::Write as _;
    let text = match as_json {
        true => serde_json::to_string(result)?,
        false if ends_here => report::table(result) + &report::farewell(demo, false),
        false => report::table(result),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// From an empty folder to five running hosts: author, releases, control plane, hosts.
async fn set_up(
    args: &Args,
    screen: &mut Screen,
    binaries: Binaries,
    folder: Folder,
    started: &mut Started,
) -> anyhow::Result<(Demo, Arc<Stepper>)> {
    let stepper = Arc::new(Stepper::create(&folder.clock(), Duration::ZERO)?);
    let mut watchpost = Tool::new(&binaries.watchpost);
    screen.step("Building and signing releases A and B");
    releases::make_author(&folder, &watchpost).await?;
    releases::make(&folder, &binaries, &watchpost, RELEASE_A).await?;
    screen.step("Starting the control plane");
    let control_plane = ControlPlane::start(&folder, &watchpost, args.port, stepper.clone()).await?;
    started.processes.push(control_plane.process.clone());
    watchpost.environment = vec![
        ("WATCHPOST_URL".to_owned(), control_plane.portal.clone()),
        ("WATCHPOST_TOKEN".to_owned(), control_plane.api_token.clone()),
    ];
    releases::publish(&folder, &watchpost, &folder.package(RELEASE_A)).await?;
    releases::make(&folder, &binaries, &watchpost, RELEASE_B).await?;
    let updater = Tool::new(&binaries.updater);
    let mut hosts = Vec::new();
    for host in &HOSTS {
        screen.step(&format!("Enrolling {}", host.name));
        let running = fleet::bring_up(host, &folder, &updater, &control_plane, stepper.clone()).await?;
        started.processes.push(running.updater.clone());
        started.host_folders.push(running.folder.clone());
        hosts.push(running);
    }
    let pace = Pace::new(Pace::REAL_TIME);
    Ok((Demo { folder, watchpost, control_plane, hosts, pace }, stepper))
}

/// Runs in real time, and faster while a rollout is under way that does not only wait for its delayed ring.
async fn keep_running(demo: &Demo, speed: u64) {
    loop {
        let rollouts = demo.control_plane.list("rollouts").await;
        let is_moving = rollouts.is_ok_and(|rollouts| rollouts.iter().any(watch::is_moving));
        demo.pace.set(if is_moving { speed } else { Pace::REAL_TIME });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
