//! Counts what a host does to its files while it does it: the instants that matter to a path are between two of these.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::sync::watch;

use crate::stage::is_left_out;

/// What is counted.
const COUNTED: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::DELETE).union(WatchFlags::MODIFY).union(WatchFlags::MOVED_TO);
/// Room for what is told at once.
const TOLD_BYTES: usize = 16 * 1024;

/// What a host has done since it is watched.
pub(super) struct Operations {
    count: watch::Receiver<u64>,
    known: u64,
}

impl Operations {
    /// Those below `root` from here on.
    pub(super) fn below(root: &Path) -> anyhow::Result<Self> {
        let mut watcher =
            Watcher { kernel: inotify::init(CreateFlags::CLOEXEC)?, root: root.to_owned(), folders: BTreeMap::new() };
        watcher.watch(root.to_owned());
        let (counted, count) = watch::channel(0);
        std::thread::spawn(move || watcher.count(&counted));
        Ok(Self { count, known: 0 })
    }

    /// How many there were since the last call; waits until there are some. Safe to cancel.
    pub(super) async fn more(&mut self) -> anyhow::Result<u64> {
        self.count.changed().await.context("nobody watches the host's files")?;
        let before = std::mem::replace(&mut self.known, *self.count.borrow_and_update());
        Ok(self.known - before)
    }
}

/// The folders of a host, as the kernel names them. A thread of its own waits for the kernel.
struct Watcher {
    kernel: OwnedFd,
    root: PathBuf,
    folders: BTreeMap<i32, PathBuf>,
}

impl Watcher {
    /// A folder that is gone already has nothing to tell.
    fn watch(&mut self, top: PathBuf) {
        let mut open = vec![top];
        while let Some(folder) = open.pop() {
            let Ok(number) = inotify::add_watch(&self.kernel, &folder, COUNTED) else { continue };
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            open.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
            self.folders.insert(number, folder);
        }
    }

    /// Counts until nobody wants to know: that the host's folder is taken away is heard too.
    fn count(mut self, counted: &watch::Sender<u64>) {
        let mut room = [MaybeUninit::uninit(); TOLD_BYTES];
        let Ok(kernel) = self.kernel.try_clone() else { return };
        let mut told = inotify::Reader::new(kernel, &mut room);
        while let Ok(event) = told.next() {
            if counted.is_closed() {
                return;
            }
            let (kind, name) = (event.events(), event.file_name().map(|name| name.to_string_lossy().into_owned()));
            let Some(folder) = self.folders.get(&event.wd()).filter(|_| !kind.contains(ReadFlags::IGNORED)) else {
                continue;
            };
            let path = folder.join(name.unwrap_or_default());
            let below = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
            if kind.contains(ReadFlags::ISDIR) && !kind.contains(ReadFlags::DELETE) {
                self.watch(path);
            }
            if !is_left_out(&below) {
                counted.send_modify(|count| *count += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_to_files_is_counted_and_logs_are_not() {
        let root = tempfile::tempdir().unwrap();
        let mut operations = Operations::below(root.path()).unwrap();
        std::fs::write(root.path().join("a.log"), "x").unwrap();
        std::fs::create_dir(root.path().join("b")).unwrap();
        assert_eq!(operations.more().await.unwrap(), 1, "the folder");
        let (made, named) = (root.path().join("c"), root.path().join("d"));
        std::fs::write(&made, "x").unwrap();
        std::fs::rename(&made, &named).unwrap();
        std::fs::remove_file(&named).unwrap();
        let mut count = 0;
        while count < 4 {
            count += operations.more().await.unwrap();
        }
        assert_eq!(count, 4, "made, written, named, removed");
    }
}
