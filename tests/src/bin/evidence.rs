//! `cargo xtask scenario evidence --hours 24 --rate 500 --budget-mb 512`: a day of evidence, printed as JSON.

use anyhow::Context as _;
use watchpost_tests::evidence::{Load, run};

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
    let load =
        Load { hours: number("--hours", 24)?, rate: number("--rate", 500)?, budget_mb: number("--budget-mb", 512)? };
    let root = tempfile::tempdir()?;
    println!("{:#}", run(load, root.path())?);
    Ok(())
}
