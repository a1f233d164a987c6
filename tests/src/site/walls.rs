//! A root file system of a host's own, on which every change outside the site's folder is seen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Site;

/// The machine's own root file system below a layer of the host's, which holds nothing but what was changed.
#[derive(Clone, Debug)]
pub struct Walls {
    folder: PathBuf,
}

impl Walls {
    /// The layer that takes every change.
    fn changes(&self) -> PathBuf {
        self.folder.join("changes")
    }

    /// Writes a file into the host's root before it starts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let path = self.changes().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(std::fs::write(path, content)?)
    }

    /// Every path below the host's root that was made, changed or removed, folders on the way to them left out.
    ///
    /// # Errors
    /// When the layer cannot be read.
    pub fn changed(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut changed = BTreeSet::new();
        let (top, mut open) = (self.changes(), vec![self.changes()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                // A folder that was replaced is one whose content shows; what was removed is a device of its own kind.
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                } else {
                    let path = entry.path();
                    changed.insert(format!("/{}", path.strip_prefix(&top)?.display()));
                }
            }
        }
        Ok(changed)
    }

    /// A command that runs `program` inside; the site's folder and the program's are the same in there.
    pub(super) fn command(&self, program: &Path, site: &Path) -> anyhow::Result<Command> {
        let folder = self.folder.display();
        let shared = [site, program.parent().context("a program has a folder")?];
        let binds = shared.map(|path| {
            let path = path.display();
            format!("mkdir -p {folder}/root{path} && mount --rbind {path} {folder}/root{path}")
        });
        let script = format!(
            "mount -t overlay overlay -o lowerdir=/,upperdir={folder}/changes,workdir={folder}/work {folder}/root && \
             mount --rbind /proc {folder}/root/proc && mount --rbind /dev {folder}/root/dev && {} && {} && \
             exec chroot {folder}/root \"$@\"",
            binds[0], binds[1],
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(program);
        Ok(command)
    }
}

impl Site {
    /// Hosts that are started from here on have a root file system of their own.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub fn wall_in(&mut self) -> anyhow::Result<Walls> {
        let walls = Walls { folder: self.dir.path().join("walls") };
        for name in ["changes", "work", "root"] {
            std::fs::create_dir_all(walls.folder.join(name))?;
        }
        self.walls = Some(walls.clone());
        Ok(walls)
    }
}
