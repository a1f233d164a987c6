//! `cargo xtask scenario network`: a network sensor on a real cable, with every fault; prints JSON evidence.

use std::process::ExitCode;

use watchpost_tests::network;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if network::has_own_network(&words)? {
        println!("{:#}", network::play().await?);
    }
    Ok(ExitCode::SUCCESS)
}
