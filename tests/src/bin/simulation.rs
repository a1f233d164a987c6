//! `cargo xtask scenario simulation --sensors 200 --seeds 500`: fleets through two weeks of faults; prints JSON evidence.

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
    let (sensors, seeds) = (usize::try_from(number("--sensors", 200)?)?, number("--seeds", 20)?);
    println!("{:#}", watchpost_tests::simulation::campaign(sensors, number("--seed", 1)?, seeds)?);
    Ok(())
}
