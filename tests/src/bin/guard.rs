//! `cargo xtask scenario guard --seconds 60`: what a sensor leaves to a busy host, printed as JSON.
//!
//! Also the other process of that host: `--burn PERCENT`, `--hold BYTES`.

use anyhow::Context as _;
use watchpost_tests::{guard, site};

/// How long each load lasts.
const SECONDS: u64 = 60;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| -> anyhow::Result<Option<u64>> {
        let Some(at) = words.iter().position(|word| word == flag) else { return Ok(None) };
        Ok(Some(words.get(at + 1).with_context(|| format!("{flag} wants a number"))?.parse().context("a number")?))
    };
    if let Some(percent) = number("--burn")? {
        return guard::burn(u32::try_from(percent)?).await;
    }
    if let Some(bytes) = number("--hold")? {
        return guard::hold(bytes);
    }
    let seconds = number("--seconds")?.unwrap_or(SECONDS);
    if site::programme_has_own_mounts(&words)? {
        println!("{:#}", guard::play(seconds).await?);
    }
    Ok(())
}
