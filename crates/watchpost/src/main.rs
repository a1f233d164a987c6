//! The `watchpost` binary: server, demo, operator's commands, rehearsal.
//!
//! It only reads the command line and says how things ended; the rooms do the work.

mod cli;
mod demo;
mod failure;
mod init;
mod rehearse;
mod release;
mod rules;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Control plane for a fleet of security sensors.
#[derive(Parser, Debug)]
#[command(version, propagate_version = true, after_help = "Example:\n  watchpost demo")]
struct Watchpost {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Makes a server's folder: keys, configuration, first administrator (printed once).
    Init(init::Args),
    /// Runs the control plane.
    Serve(serve::Args),
    /// Prints a fresh one-time sign-in link for the portal; run it on the server.
    #[command(visible_alias = "sign-in")]
    SignInLink(init::SignInArgs),
    /// Shows a signed release reaching five real hosts, in a throw-away folder.
    Demo(demo::Args),
    /// Packs, signs and publishes releases.
    #[command(
        after_help = "Example:\n  watchpost release build --from ./sensor --version 2.255.1.0 --out sensor-2.255.1.0.cab"
    )]
    Release(release::Args),
    /// Packs, signs, publishes, pulls back and pushes rule packages.
    #[command(
        after_help = "Example:\n  watchpost rules build --from ./rules --build 2026-11-25T12:00:00Z --out watchpost-rules-20261125t120000.cab"
    )]
    Rules(rules::Args),
    /// Plays a scenario in virtual time.
    Rehearse(rehearse::Args),
    /// Looks at sensors and sets how they work.
    #[command(subcommand, after_help = "Example:\n  watchpost sensors list")]
    Sensors(cli::sensors::Command),
    /// Looks at alerts and says what became of them.
    #[command(subcommand, after_help = "Example:\n  watchpost alerts list --status new --top 20")]
    Alerts(cli::alerts::Command),
    /// Looks at devices.
    #[command(subcommand, after_help = "Example:\n  watchpost devices list --search 10.0.0.")]
    Devices(cli::devices::Command),
    /// Looks at rollouts, pauses and resumes them.
    #[command(subcommand, after_help = "Example:\n  watchpost rollouts pause 2.255.1.0 --reason \"change freeze\"")]
    Rollouts(cli::rollouts::Command),
    /// Looks at health issues.
    #[command(subcommand, after_help = "Example:\n  watchpost health list")]
    Health(cli::health::Command),
    /// Looks at the directories that are asked whether domain controllers still exist.
    #[command(subcommand, after_help = "Example:\n  watchpost directory status")]
    Directory(cli::directory::Command),
    /// Replaces the client certificates of many sensors.
    #[command(subcommand, after_help = "Example:\n  watchpost certificates rotate --all --rehearse")]
    Certificates(cli::certificates::Command),
    /// Looks at hosts that say to be an enrolled one, and decides what they are.
    #[command(subcommand, after_help = "Example:\n  watchpost clones list")]
    Clones(cli::clones::Command),
    /// Says which places have to be reached, by whom and what for.
    #[command(subcommand, after_help = "Example:\n  watchpost endpoints list")]
    Endpoints(cli::endpoints::Command),
    /// Shows the access key, with which hosts enrol, or makes another one.
    #[command(subcommand, after_help = "Example:\n  watchpost access-key show --output table > access-key")]
    AccessKey(cli::access_key::Command),
    /// Makes, lists and revokes API tokens.
    #[command(subcommand, after_help = "Example:\n  watchpost tokens create --name ci --role viewer --days 90")]
    Tokens(cli::tokens::Command),
    /// Looks at the chain of trust, and renews the director's root.
    #[command(subcommand, after_help = "Example:\n  watchpost trust show")]
    Trust(cli::trust::Command),
    /// Looks at the audit log.
    #[command(subcommand, after_help = "Example:\n  watchpost audit list --top 20")]
    Audit(cli::audit::Command),
}

fn main() -> ExitCode {
    let command = Watchpost::parse().command;
    // The first provider stays; a second call of a test binary changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(anyhow::anyhow!("the runtime did not start: {error}; free some memory"))),
    };
    end(runtime.block_on(run(command)))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Init(args) => Ok(init::init(args).await.map(done)?),
        Command::SignInLink(args) => Ok(init::sign_in_link(args).await.map(done)?),
        Command::Serve(args) => Ok(serve::run(args).await.map(done)?),
        Command::Demo(args) => demo::run(args).await,
        Command::Release(args) => release::run(args).await,
        Command::Rules(args) => Ok(rules::run(args).await.map(done)?),
        Command::Rehearse(args) => rehearse::run(args).await,
        Command::Sensors(command) => Ok(cli::sensors::run(command).await.map(done)?),
        Command::Alerts(command) => Ok(cli::alerts::run(command).await.map(done)?),
        Command::Devices(command) => Ok(cli::devices::run(command).await.map(done)?),
        Command::Rollouts(command) => Ok(cli::rollouts::run(command).await.map(done)?),
        Command::Health(command) => Ok(cli::health::run(command).await.map(done)?),
        Command::Directory(command) => Ok(cli::directory::run(command).await.map(done)?),
        Command::Certificates(command) => Ok(cli::certificates::run(command).await.map(done)?),
        Command::Clones(command) => Ok(cli::clones::run(command).await.map(done)?),
        Command::Endpoints(command) => Ok(cli::endpoints::run(command).await.map(done)?),
        Command::AccessKey(command) => Ok(cli::access_key::run(command).await.map(done)?),
        Command::Tokens(command) => Ok(cli::tokens::run(command).await.map(done)?),
        Command::Trust(command) => Ok(cli::trust::run(command).await.map(done)?),
        Command::Audit(command) => Ok(cli::audit::run(command).await.map(done)?),
    }
}

/// Says how it ended, and gives the exit code.
fn end(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    let line = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    use std::io::Write as _;
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "watchpost: {line}");
    error.downcast_ref::<Failure>().map_or(ExitCode::FAILURE, Failure::exit_code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_well_formed_and_every_leaf_shows_an_example() {
        let mut tree = Watchpost::command();
        tree.build();
        tree.clone().debug_assert();
        let mut open = vec![&tree];
        while let Some(command) = open.pop() {
            let children: Vec<_> = command.get_subcommands().filter(|child| child.get_name() != "help").collect();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!children.is_empty() || help.contains("Example"), "{} has no example", command.get_name());
            open.extend(children);
        }
    }
}
