//! The developer commands: `cargo xtask test` is what CI runs, everything else is a part of it or a longer programme.
//!
//! Nothing here ships; it promises to leave the tree as it found it.

mod bench;
mod mutants;
mod pipeline;
mod properties;
mod run;
mod scenario;
mod setup;
mod tally;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Developer commands of Watchpost.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask test               what CI runs\n  cargo xtask test --only tidy   one step of it\n  \
                  cargo xtask scenario kill9 --kills 100"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need; quick when all of it is there.
    Setup,
    /// Run everything CI runs, in its order.
    Test {
        /// One step alone: setup, fmt, tidy, clippy, deny, build, test; any other word runs the tests whose name holds it.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Check the rules of the house that the compiler does not know.
    Tidy,
    /// Measure, and print each figure beside its bar.
    Bench,
    /// Put faults into a copy of the product on purpose, and see that a test finds each.
    Mutants {
        /// These alone, by the names of their files in tests/mutants.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
    },
    /// Run the property tests with fresh seeds, each printed, until one fails or the time is over.
    Properties {
        /// How long.
        #[arg(long, value_name = "N", default_value_t = 10)]
        minutes: u64,
        /// Begin with this seed, as it was printed.
        #[arg(long, value_name = "SEED")]
        seed: Option<u64>,
    },
    /// Run one long programme and print its evidence as JSON on standard output.
    Scenario(scenario::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match obey(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<()> {
    let root = workspace_root()?;
    match command {
        Command::Setup => setup::run(&root),
        Command::Test { only } => pipeline::run(&root, only.as_deref()),
        Command::Tidy => tidy::run(&root),
        Command::Bench => bench::run(&root),
        Command::Mutants { only } => mutants::run(&root, &only),
        Command::Properties { minutes, seed } => properties::run(&root, minutes, seed),
        Command::Scenario(arguments) => scenario::run(&root, &arguments),
    }
}

/// The folder of the workspace's `Cargo.toml`: the parent of this crate's own folder.
fn workspace_root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(Path::to_path_buf).context("xtask stands in no workspace: run it through `cargo xtask`")
}
