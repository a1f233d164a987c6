//! `watchpost init` and `watchpost sign-in-link`: what is done at the server's own console.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use watchpost_clock::Clock;
use watchpost_server::config::{DEFAULT_GATEWAY, DEFAULT_PORTAL, Settings};
use watchpost_server::founding::{Plan, found, new_sign_in_secret};

use crate::cli::output::{Format, Output, print};
use crate::failure::Failure;
use crate::serve::chain;

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost init --data-dir /var/lib/watchpost --image-root 1.root.json")]
pub(crate) struct Args {
    /// The server's folder; empty or absent
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The first root of the image repository, from the author of your releases; needed to publish
    #[arg(long, value_name = "FILE")]
    image_root: Option<PathBuf>,
    /// Where portal and API listen
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_PORTAL)]
    portal_addr: SocketAddr,
    /// Where sensor hosts call
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_GATEWAY)]
    gateway_addr: SocketAddr,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `sign-in-link`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  watchpost sign-in-link --config /var/lib/watchpost/watchpost.toml")]
pub(crate) struct SignInArgs {
    /// Configuration written by `watchpost init`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Makes a server's folder.
pub(crate) async fn init(args: Args) -> Result<(), Failure> {
    let image_root = match &args.image_root {
        Some(file) => Some(
            std::fs::read(file)
                .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?,
        ),
        None => None,
    };
    let plan = Plan { data_dir: args.data_dir, image_root, portal: args.portal_addr, gateway: args.gateway_addr };
    let founded = found(plan, &Clock::system()).await.map_err(|error| Failure::failed(chain(&error)))?;
    let config = founded.config.display();
    let (key, secret, token) =
        (founded.access_key.reveal(), founded.sign_in_secret.reveal(), founded.api_token.reveal());
    match args.output.format() {
        Format::Json => args.output.one(&json!({
            "config": config.to_string(), "accessKey": key, "signInSecret": secret, "apiToken": token,
            "portal": founded.portal_url,
        })),
        Format::Table => print(&format!(
            "Made {config}. Printed once, kept nowhere in this form:\n\n\
             Sign in     {url}/sign-in#{secret}\n\
             API token   {token}\n\
             Access key  {key}\n\n\
             Next: watchpost serve --config {config}\n\
             Then take the keys of the director's root, {keys}/director-root-*, off this machine.\n",
            url = founded.portal_url,
            keys = founded.keys.display(),
        )),
    }
}

/// Prints a fresh one-time sign-in; the one before stops working.
pub(crate) async fn sign_in_link(args: SignInArgs) -> Result<(), Failure> {
    let settings = Settings::read(&args.config).map_err(|error| Failure::usage(chain(&error)))?;
    let (url, secret) =
        new_sign_in_secret(&settings, &Clock::system()).await.map_err(|error| Failure::failed(chain(&error)))?;
    match args.output.format() {
        Format::Json => args.output.one(&json!({ "portal": url, "signInSecret": secret.reveal() })),
        Format::Table => print(&format!("{url}/sign-in#{}  (works once, for a day)\n", secret.reveal())),
    }
}
