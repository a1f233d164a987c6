//! The copy of the tree that faults are put into. What has not changed is not written again, so that it is not built again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Place;
use crate::run;

/// Below `target/`.
const FOLDER: &str = "mutants";

/// Makes the copy, or brings it up to date.
pub(super) fn make(root: &Path) -> Result<Place> {
    let folder = root.join("target").join(FOLDER);
    let place = Place { tree: folder.join("tree"), target: folder.join("build") };
    let words = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = run::output(&mut run::command(root, "git", &words))?;
    let mut wanted = BTreeSet::new();
    for name in listed.lines() {
        let (from, to) = (root.join(name), place.tree.join(name));
        // A file that was removed and not committed is still listed.
        let Ok(bytes) = fs::read(&from) else { continue };
        wanted.insert(to.clone());
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(&from, &to).with_context(|| name.to_owned())?;
    }
    remove_others(&place.tree, &wanted)?;
    Ok(place)
}

fn remove_others(folder: &Path, wanted: &BTreeSet<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
