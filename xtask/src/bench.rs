//! Measuring: every `[[bench]]` of the workspace, one after another, each printing its figures beside their bars.
//!
//! A bench compares within one run (a ratio), so that its verdict does not depend on the machine.

use std::path::Path;

use anyhow::{Result, bail};
use cargo_metadata::{MetadataCommand, TargetKind};

use crate::run;

/// Runs them all; a bench that misses its bar exits with another code than 0.
///
/// # Errors
/// When a bench failed or there is none.
pub(crate) fn run(root: &Path) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let mut missed = Vec::new();
    let mut count = 0;
    for package in &metadata.packages {
        for target in package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bench)) {
            count += 1;
            println!("==> {} of {}", target.name, package.name);
            let words = ["bench", "--quiet", "--workspace", "--exclude", "xtask", "--bench", target.name.as_str()];
            if run::succeed(&mut run::cargo(root, &words)).is_err() {
                missed.push(target.name.clone());
            }
        }
    }
    match (count, missed.is_empty()) {
        (0, _) => bail!("no crate has a [[bench]] yet"),
        (_, true) => Ok(()),
        (_, false) => bail!("missed a bar: {}", missed.join(", ")),
    }
}
