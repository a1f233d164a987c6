//! `cargo xtask scenario kill9 --kills 100 --seed 1`: kills processes of demo runs and prints JSON evidence.

use anyhow::Context as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, default: u64| -> anyhow::Result<u64> {
        match words.iter().position(|word| word == flag) {
            None => Ok(default),
            Some(at) => {
                words.get(at + 1).with_context(|| format!("{flag} wants a number"))?.parse().context("a number")
            }
        }
    };
    let kills = u32::try_from(number("--kills", 20)?)?;
    let evidence = watchpost_tests::kill::campaign(kills, number("--seed", 1)?).await?;
    println!("{evidence:#}");
    Ok(())
}
