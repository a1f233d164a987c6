//! `cargo xtask scenario halt --hosts 30`: a release that lives and does not detect; prints JSON evidence.

use anyhow::Context as _;

/// Hosts unless told otherwise.
const HOSTS: usize = 30;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let hosts = match words.iter().position(|word| word == "--hosts") {
        None => HOSTS,
        Some(at) => words.get(at + 1).context("--hosts wants a number")?.parse().context("--hosts wants a number")?,
    };
    println!("{:#}", watchpost_tests::halt::play(hosts).await?);
    Ok(())
}
