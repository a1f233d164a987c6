//! A folder with everything in it, in memory: files are one thing and their names another, as on a disk.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

/// Which file, folder or link it is, whatever its names.
pub type Id = usize;

/// The folder that everything lies in.
pub const TOP: Id = 0;

/// A file, a folder or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
        /// What it holds.
        bytes: Arc<Vec<u8>>,
    },
    /// A folder.
    Folder {
        /// Its permissions.
        mode: u32,
        /// What lies in it, by name.
        entries: BTreeMap<String, Id>,
    },
    /// A symbolic link.
    Link(PathBuf),
}

/// Everything below one folder.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
}

/// Paths with what lies there; what two trees are compared by.
pub type Listing = BTreeMap<String, Node>;

impl Tree {
    /// What lies below `root`, but for what `is_left_out` names by its path below `root`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(root: &Path, is_left_out: &dyn Fn(&str) -> bool) -> anyhow::Result<Self> {
        let mut tree = Self { nodes: Vec::new() };
        let top = tree.read_node(root, "", is_left_out)?;
        anyhow::ensure!(top == TOP, "the top is {top}");
        Ok(tree)
    }

    fn read_node(&mut self, path: &Path, name: &str, is_left_out: &dyn Fn(&str) -> bool) -> anyhow::Result<Id> {
        let found = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
        let mode = found.permissions().mode() & 0o7777;
        if found.is_symlink() {
            return Ok(self.add(Node::Link(fs::read_link(path)?)));
        }
        if found.is_file() {
            return Ok(self.add(Node::File { mode, bytes: Arc::new(fs::read(path)?) }));
        }
        let id = self.add(Node::Folder { mode, entries: BTreeMap::new() });
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let own = entry.file_name().to_string_lossy().into_owned();
            let below = if name.is_empty() { own.clone() } else { format!("{name}/{own}") };
            let kind = entry.file_type()?;
            if is_left_out(&below) || !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
                continue;
            }
            let child = self.read_node(&entry.path(), &below, is_left_out)?;
            self.enter(id, &own, child);
        }
        Ok(id)
    }

    /// A new thing without a name.
    pub fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn enter(&mut self, folder: Id, name: &str, id: Id) {
        if let Some(Node::Folder { entries, .. }) = self.nodes.get_mut(folder) {
            entries.insert(name.to_owned(), id);
        }
    }

    pub(super) fn leave(&mut self, folder: Id, name: &str, id: Id) {
        if let Some(Node::Folder { entries, .. }) = self.nodes.get_mut(folder)
            && entries.get(name) == Some(&id)
        {
            entries.remove(name);
        }
    }

    /// What has this path below the top.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<Id> {
        path.components().try_fold(TOP, |at, part| match (self.nodes.get(at)?, part) {
            (Node::Folder { entries, .. }, Component::Normal(name)) => entries.get(name.to_str()?).copied(),
            (Node::Folder { .. }, Component::CurDir) => Some(at),
            _ => None,
        })
    }

    /// Everything that can be reached from the top.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let (mut listing, mut open) = (Listing::new(), vec![(String::new(), TOP)]);
        while let Some((path, id)) = open.pop() {
            let Some(node) = self.nodes.get(id) else { continue };
            let plain = match node {
                Node::Folder { mode, entries } => {
                    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                    open.extend(entries.iter().map(|(name, id)| (below(name), *id)));
                    Node::Folder { mode: *mode, entries: BTreeMap::new() }
                }
                Node::File { .. } | Node::Link(_) => node.clone(),
            };
            listing.insert(path, plain);
        }
        listing
    }

    /// What lies in one folder, by paths below it.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Option<Listing> {
        let top = self.find(folder)?;
        let mut tree = self.clone();
        tree.nodes.swap(TOP, top);
        Some(tree.listing())
    }
}

/// A number that two different listings hardly share.
#[must_use]
pub fn digest(listing: &Listing) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, node) in listing {
        path.hash(&mut hasher);
        match node {
            Node::File { mode, bytes } => (0, mode, bytes).hash(&mut hasher),
            Node::Folder { mode, .. } => (1, mode).hash(&mut hasher),
            Node::Link(to) => (2, to).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Puts it on the disk, below a folder that is not there yet.
///
/// # Errors
/// When it cannot be written.
pub fn write(listing: &Listing, root: &Path) -> anyhow::Result<()> {
    for (path, node) in listing {
        let path = if path.is_empty() { root.to_owned() } else { root.join(path) };
        let mode = match node {
            Node::Link(to) => {
                symlink(to, &path)?;
                continue;
            }
            Node::File { mode, bytes } => {
                fs::write(&path, bytes.as_slice())?;
                mode
            }
            Node::Folder { mode, .. } => {
                fs::create_dir(&path)?;
                mode
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    Ok(())
}
