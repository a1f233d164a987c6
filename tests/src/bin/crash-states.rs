//! `cargo xtask scenario crash-states --states N --seed S`: power cuts at every step on a host's disk; prints JSON evidence.

use anyhow::Context as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| -> anyhow::Result<Option<u64>> {
        let Some(at) = words.iter().position(|word| word == flag) else { return Ok(None) };
        let word = words.get(at + 1).with_context(|| format!("{flag} wants a number"))?;
        word.parse().map(Some).with_context(|| format!("{flag} wants a number"))
    };
    let most = number("--states")?.map(usize::try_from).transpose()?;
    let evidence = watchpost_tests::crash_states::campaign(most, number("--seed")?.unwrap_or(1)).await?;
    println!("{evidence:#}");
    Ok(())
}
