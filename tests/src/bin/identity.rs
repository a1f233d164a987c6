//! `cargo xtask scenario identity`: a real Samba domain, sensors and a control plane; prints JSON evidence.

use std::process::ExitCode;

use watchpost_tests::{identity, samba};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if samba::has_own_machine(&words)? {
        println!("{:#}", identity::play().await?);
    }
    Ok(ExitCode::SUCCESS)
}
