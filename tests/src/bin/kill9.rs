//! `cargo xtask scenario kill9 --path all --kills 1000 --seed 1`: kills processes at random instants and prints JSON evidence.

use anyhow::Context as _;

/// Whole demos, if nobody says what.
const PATH: &str = "fleet";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |flag: &str| -> anyhow::Result<Option<&str>> {
        let Some(at) = words.iter().position(|word| word == flag) else { return Ok(None) };
        words.get(at + 1).map(|word| Some(word.as_str())).with_context(|| format!("{flag} wants a word"))
    };
    let kills = option("--kills")?.unwrap_or("20").parse().context("--kills wants a number")?;
    let seed = option("--seed")?.unwrap_or("1").parse().context("--seed wants a number")?;
    let evidence = watchpost_tests::kill::campaign(option("--path")?.unwrap_or(PATH), kills, seed).await?;
    println!("{evidence:#}");
    Ok(())
}
