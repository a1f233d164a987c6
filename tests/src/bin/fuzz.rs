//! `cargo xtask scenario fuzz --seconds 3600 --seed 1`: mutated inputs for whatever reads them; prints JSON evidence.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, default: u64| -> anyhow::Result<u64> {
        match words.iter().position(|word| word == flag) {
            None => Ok(default),
            Some(at) => {
                words.get(at + 1).with_context(|| format!("{flag} wants a number"))?.parse().context("a number")
            }
        }
    };
    println!("{:#}", watchpost_tests::fuzz::campaign(number("--seconds", 60)?, number("--seed", 1)?)?);
    Ok(())
}
