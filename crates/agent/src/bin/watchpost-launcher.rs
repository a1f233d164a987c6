//! Starts the updater of a sensor host: the newest one that has proved itself there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use watchpost_agent::launcher::{Options, launch};
use watchpost_agent::updater::{Stop, in_one_line};

/// The installed updater's name; it lies beside this program.
const UPDATER: &str = "watchpost-updater";

/// Starts the updater of a Watchpost sensor host, and goes back to the one before when a new one does not prove itself.
#[derive(Parser)]
#[command(version, after_help = "Exit code: the updater's own.\nExample: watchpost-launcher --root /var/lib/watchpost")]
struct Arguments {
    /// The host's folder (mandatory).
    #[arg(long)]
    root: PathBuf,
    /// More words for `watchpost-updater run`.
    #[arg(last = true)]
    more: Vec<OsString>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done =
        runtime.context("the launcher cannot start").and_then(|runtime| runtime.block_on(act(Arguments::parse())));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("watchpost-launcher: {}", in_one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn act(arguments: Arguments) -> anyhow::Result<u8> {
    let own = std::env::current_exe().context("this program cannot tell where it lies")?;
    let root = std::path::absolute(arguments.root)?;
    let mut words = vec![OsString::from("run"), "--root".into(), root.clone().into_os_string()];
    words.extend(arguments.more);
    let options = Options::new(root, own.with_file_name(UPDATER), words);
    Ok(launch(&options, &mut Stop::listen()?).await?)
}
