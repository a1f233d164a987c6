//! The command line of `tuf-client`: the interface that the tuf-conformance suite asks of a client.

use std::path::PathBuf;

use watchpost_core::time::Timestamp;

use super::{TufClientError, Wanted, init, run};

/// The arguments of `tuf-client`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Folder of what is trusted (mandatory).
    #[arg(long)]
    metadata_dir: PathBuf,
    /// Where metadata is served, such as http://127.0.0.1:8000/metadata/.
    #[arg(long)]
    metadata_url: Option<String>,
    /// A target to download; may be repeated.
    #[arg(long = "target-name")]
    target_names: Vec<String>,
    /// Where targets are served.
    #[arg(long)]
    target_base_url: Option<String>,
    /// Folder for what is downloaded.
    #[arg(long)]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Begins to trust a repository by its first root.
    #[command(after_help = "Example: watchpost-updater tuf-client --metadata-dir trusted init 1.root.json")]
    Init {
        /// The first root.
        root: PathBuf,
    },
    /// Fetches and verifies the metadata.
    #[command(after_help = "Example: watchpost-updater tuf-client --metadata-dir trusted \
        --metadata-url http://127.0.0.1:8000/metadata/ refresh")]
    Refresh,
    /// Downloads and verifies targets.
    #[command(after_help = "Example: watchpost-updater tuf-client --metadata-dir trusted \
        --metadata-url http://127.0.0.1:8000/metadata/ --target-base-url http://127.0.0.1:8000/targets/ \
        --target-dir out --target-name a.cab download")]
    Download,
}

/// Does what the command line says.
///
/// # Errors
/// When an option is missing, or anything is wrong or not to be believed.
pub async fn act(arguments: Arguments, now: Timestamp) -> Result<(), TufClientError> {
    let Arguments { metadata_dir, metadata_url, target_names, target_base_url, target_dir, verb } = arguments;
    let wanted = match verb {
        Verb::Init { root } => return init(&metadata_dir, &root),
        Verb::Refresh => Wanted::Metadata,
        Verb::Download if target_names.is_empty() => return Err(TufClientError::Option("--target-name")),
        Verb::Download => Wanted::Targets {
            names: target_names,
            url: target_base_url.ok_or(TufClientError::Option("--target-base-url"))?,
            dir: target_dir.ok_or(TufClientError::Option("--target-dir"))?,
        },
    };
    let url = metadata_url.ok_or(TufClientError::Option("--metadata-url"))?;
    run(metadata_dir, &url, wanted, now).await
}
