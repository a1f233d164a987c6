//! From the calls of a process to what they did to the files below one folder, in the order in which it took effect.
//!
//! A call that changes a file there and is not understood is an error: nothing that the product does may go unseen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::calls::Call;
use super::tree::{Id, Node, Tree};

/// What is taken from the permissions of everything that is made. The product changes it nowhere.
const UMASK: u32 = 0o022;

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Wrote into a file.
    Write {
        /// Which.
        id: Id,
        /// From which byte on.
        at: u64,
        /// What.
        bytes: Arc<Vec<u8>>,
    },
    /// Gave a file another length.
    Resize {
        /// Which.
        id: Id,
        /// Its length then.
        length: u64,
    },
    /// Made a file, folder or link with these permissions. It has no name yet, so that nobody can see it.
    Make {
        /// Which.
        id: Id,
        /// Its permissions.
        mode: u32,
    },
    /// Gave a file or folder other permissions.
    Allow {
        /// Which.
        id: Id,
        /// Its permissions then.
        mode: u32,
    },
    /// Gave something a name.
    Enter(Name),
    /// Took a name away.
    Leave(Name),
    /// Gave something another name.
    Move {
        /// The name before.
        from: Name,
        /// The name then.
        to: Name,
    },
    /// Put what a file holds, or what names a folder has, on the disk.
    Sync(Id),
    /// Opened a connection. Nothing on the disk changes.
    Connect,
}

/// A name in a folder, and what has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The folder.
    pub folder: Id,
    /// The name.
    pub name: String,
    /// What has it.
    pub id: Id,
}

/// A deed, and when it began and ended by the lines of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub deed: Deed,
    /// The path that it was done to, for people.
    pub path: String,
    /// When it began.
    pub begun: usize,
    /// When it ended.
    pub ended: usize,
}

/// What happened below a folder.
pub struct History {
    /// What was there before; what is made later lies here too, without a name.
    pub before: Tree,
    /// What happened.
    pub steps: Vec<Step>,
    /// What was there at the end.
    pub after: Tree,
}

/// An open file of a process.
#[derive(Clone, Copy)]
struct Open {
    id: Id,
    at: u64,
    appends: bool,
}

struct Reader<'a> {
    root: &'a Path,
    is_left_out: &'a dyn Fn(&str) -> bool,
    tree: Tree,
    steps: Vec<Step>,
    /// Which process a thread belongs to.
    processes: BTreeMap<i32, i32>,
    open: BTreeMap<(i32, i32), Open>,
}

impl History {
    /// What these calls did below `root`, where `before` was before; `is_left_out` names what is nobody's business.
    ///
    /// # Errors
    /// When a call is not understood.
    pub fn of(calls: &[Call], root: &Path, before: Tree, is_left_out: &dyn Fn(&str) -> bool) -> anyhow::Result<Self> {
        let (processes, open) = (BTreeMap::new(), BTreeMap::new());
        let mut reader = Reader { root, is_left_out, tree: before.clone(), steps: Vec::new(), processes, open };
        for call in calls.iter().filter(|call| call.name.contains("clone") && call.result > 0) {
            let child = i32::try_from(call.result)?;
            let is_thread = call.arguments.iter().any(|argument| argument.contains("CLONE_THREAD"));
            let process = if is_thread { reader.process(call.thread) } else { child };
            reader.processes.insert(child, process);
        }
        for call in calls.iter().filter(|call| call.result >= 0 || call.name == "connect") {
            reader.take(call).with_context(|| format!("line {} of the trace, {}", call.ended, call.name))?;
        }
        let mut before = before;
        // What is made on the way exists from the start: it only has no name yet.
        before.nodes.extend(reader.made(before.nodes.len()));
        Ok(Self { before, steps: reader.steps, after: reader.tree })
    }
}

impl Reader<'_> {
    fn process(&self, thread: i32) -> i32 {
        self.processes.get(&thread).copied().unwrap_or(thread)
    }

    /// Everything that was made, as it was when it was made.
    fn made(&self, from: usize) -> Vec<Node> {
        let fresh = |node: &Node| match node {
            Node::File { .. } => Node::File { mode: 0, bytes: Arc::default() },
            Node::Folder { .. } => Node::Folder { mode: 0, entries: BTreeMap::new() },
            Node::Link(to) => Node::Link(to.clone()),
        };
        self.tree.nodes.iter().skip(from).map(fresh).collect()
    }

    /// The path below the root, if it is there and somebody's business.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(self.root).ok()?;
        let text = below.to_str()?;
        (!(self.is_left_out)(text) && !text.ends_with(" (deleted)")).then(|| below.to_owned())
    }

    fn note(&mut self, call: &Call, path: &Path, deed: Deed) {
        apply(&mut self.tree, &deed);
        let path = path.to_string_lossy().into_owned();
        self.steps.push(Step { deed, path, begun: call.begun, ended: call.ended });
    }

    fn place(&self, path: &Path) -> anyhow::Result<(Id, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).context("a path without a name")?;
        let above = path.parent().unwrap_or(Path::new(""));
        let folder = self.tree.find(above).with_context(|| format!("{} is not known", above.display()))?;
        Ok((folder, name.to_owned()))
    }

    fn take(&mut self, call: &Call) -> anyhow::Result<()> {
        match call.name.as_str() {
            "connect" if call.argument(1).contains("AF_INET") => self.note(call, Path::new(""), Deed::Connect),
            "open" => self.open(call, None, 0)?,
            "openat" => self.open(call, Some(0), 1)?,
            "write" | "writev" => self.write(call, None)?,
            "pwrite64" => self.write(call, Some(call.number(3)?))?,
            "lseek" => self.seek(call),
            "close" => {
                let process = self.process(call.thread);
                call.file(0).and_then(|(file, _)| self.open.remove(&(process, file)));
            }
            "ftruncate" => self.on_file(call, |id| Ok(Deed::Resize { id, length: call.number(1)? }))?,
            "fchmod" => self.on_file(call, |id| Ok(Deed::Allow { id, mode: mode(call, 1)? }))?,
            "fsync" | "fdatasync" => self.on_file(call, |id| Ok(Deed::Sync(id)))?,
            "chmod" => self.allow(call, &call.path_in(None, 0)?, 1)?,
            "fchmodat" | "fchmodat2" => self.allow(call, &call.path_in(Some(0), 1)?, 2)?,
            "mkdir" => self.make(call, &call.path_in(None, 0)?, folder(mode(call, 1)?))?,
            "mkdirat" => self.make(call, &call.path_in(Some(0), 1)?, folder(mode(call, 2)?))?,
            "symlink" => self.make(call, &call.path_in(None, 1)?, Node::Link(call.path_in(None, 0)?))?,
            "symlinkat" => self.make(call, &call.path_in(Some(1), 2)?, Node::Link(call.path_in(None, 0)?))?,
            "rename" => self.rename(call, &call.path_in(None, 0)?, &call.path_in(None, 1)?)?,
            "renameat" | "renameat2" => {
                self.rename(call, &call.path_in(Some(0), 1)?, &call.path_in(Some(2), 3)?)?;
            }
            "link" => self.link(call, &call.path_in(None, 0)?, &call.path_in(None, 1)?)?,
            "linkat" => self.link(call, &call.path_in(Some(0), 1)?, &call.path_in(Some(2), 3)?)?,
            "unlink" | "rmdir" => self.unlink(call, &call.path_in(None, 0)?)?,
            "unlinkat" => self.unlink(call, &call.path_in(Some(0), 1)?)?,
            // Room is reserved beyond the end of the file: nothing that can be read changes.
            "fallocate" if call.argument(1).contains("KEEP_SIZE") => {}
            "truncate" | "fallocate" | "copy_file_range" | "sendfile" | "splice" | "pwritev" | "pwritev2"
            | "ftruncate64" | "creat" | "io_uring_enter" => {
                let is_ours = call
                    .arguments
                    .iter()
                    .enumerate()
                    .any(|(at, _)| call.file(at).is_some_and(|(_, path)| self.below(&path).is_some()));
                anyhow::ensure!(!is_ours, "a call that the enumerator does not understand changes a file: {call:?}");
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, call: &Call, folder: Option<usize>, at: usize) -> anyhow::Result<()> {
        let flags = call.argument(at + 1).to_owned();
        let path = call.path_in(folder, at)?;
        let Some(path) = self.below(&path) else { return Ok(()) };
        let file = i32::try_from(call.result)?;
        let id = match self.tree.find(&path) {
            Some(id) => id,
            None if flags.contains("O_CREAT") => {
                let node = Node::File { mode: 0, bytes: Arc::default() };
                self.enter(call, &path, node, mode(call, at + 2)?)?
            }
            None => return Ok(()),
        };
        if flags.contains("O_TRUNC") {
            self.note(call, &path, Deed::Resize { id, length: 0 });
        }
        let open = Open { id, at: 0, appends: flags.contains("O_APPEND") };
        self.open.insert((self.process(call.thread), file), open);
        Ok(())
    }

    /// A file that was opened here, or by the process that this one came from: known by its path then.
    fn opened(&self, call: &Call) -> Option<((i32, i32), Open, PathBuf)> {
        let (file, path) = call.file(0)?;
        let path = self.below(&path)?;
        let key = (self.process(call.thread), file);
        let found = self.open.get(&key).copied();
        let open = found.or_else(|| self.tree.find(&path).map(|id| Open { id, at: 0, appends: false }))?;
        Some((key, open, path))
    }

    fn write(&mut self, call: &Call, at: Option<u64>) -> anyhow::Result<()> {
        let Some((key, mut open, path)) = self.opened(call) else { return Ok(()) };
        let mut bytes = call.bytes(1)?;
        let length = u64::try_from(call.result)?;
        bytes.truncate(usize::try_from(length)?);
        let end = match self.tree.nodes.get(open.id) {
            Some(Node::File { bytes, .. }) => bytes.len() as u64,
            Some(Node::Folder { .. } | Node::Link(_)) | None => 0,
        };
        let begins = at.unwrap_or(if open.appends { end } else { open.at });
        if at.is_none() {
            open.at = begins + length;
            self.open.insert(key, open);
        }
        self.note(call, &path, Deed::Write { id: open.id, at: begins, bytes: Arc::new(bytes) });
        Ok(())
    }

    fn seek(&mut self, call: &Call) {
        if let Some((key, open, _)) = self.opened(call)
            && let Ok(at) = u64::try_from(call.result)
        {
            self.open.insert(key, Open { at, ..open });
        }
    }

    fn on_file(&mut self, call: &Call, deed: impl Fn(Id) -> anyhow::Result<Deed>) -> anyhow::Result<()> {
        let Some((_, open, path)) = self.opened(call) else { return Ok(()) };
        self.note(call, &path, deed(open.id)?);
        Ok(())
    }

    fn allow(&mut self, call: &Call, path: &Path, at: usize) -> anyhow::Result<()> {
        let Some(path) = self.below(path) else { return Ok(()) };
        let id = self.tree.find(&path).with_context(|| format!("{} is not known", path.display()))?;
        self.note(call, &path, Deed::Allow { id, mode: mode(call, at)? });
        Ok(())
    }

    fn make(&mut self, call: &Call, path: &Path, node: Node) -> anyhow::Result<()> {
        let Some(path) = self.below(path) else { return Ok(()) };
        let (mode, node) = match node {
            Node::Folder { mode, entries } => (mode, Node::Folder { mode: 0, entries }),
            node @ (Node::File { .. } | Node::Link(_)) => (0, node),
        };
        self.enter(call, &path, node, mode).map(drop)
    }

    /// Something new: it has its permissions from the start, and its name from here on.
    fn enter(&mut self, call: &Call, path: &Path, node: Node, mode: u32) -> anyhow::Result<Id> {
        let (folder, name) = self.place(path)?;
        let id = self.tree.add(node);
        self.note(call, path, Deed::Make { id, mode: mode & !UMASK });
        self.note(call, path, Deed::Enter(Name { folder, name, id }));
        Ok(id)
    }

    fn rename(&mut self, call: &Call, from: &Path, to: &Path) -> anyhow::Result<()> {
        let (Some(from), Some(to)) = (self.below(from), self.below(to)) else { return Ok(()) };
        let id = self.tree.find(&from).with_context(|| format!("{} is not known", from.display()))?;
        let named = |(folder, name)| Name { folder, name, id };
        let deed = Deed::Move { from: named(self.place(&from)?), to: named(self.place(&to)?) };
        self.note(call, &to, deed);
        Ok(())
    }

    fn link(&mut self, call: &Call, from: &Path, to: &Path) -> anyhow::Result<()> {
        let (Some(from), Some(to)) = (self.below(from), self.below(to)) else { return Ok(()) };
        let id = self.tree.find(&from).with_context(|| format!("{} is not known", from.display()))?;
        let (folder, name) = self.place(&to)?;
        self.note(call, &to, Deed::Enter(Name { folder, name, id }));
        Ok(())
    }

    fn unlink(&mut self, call: &Call, path: &Path) -> anyhow::Result<()> {
        let Some(path) = self.below(path) else { return Ok(()) };
        let id = self.tree.find(&path).with_context(|| format!("{} is not known", path.display()))?;
        let (folder, name) = self.place(&path)?;
        self.note(call, &path, Deed::Leave(Name { folder, name, id }));
        Ok(())
    }
}

fn mode(call: &Call, at: usize) -> anyhow::Result<u32> {
    Ok(u32::try_from(call.number(at)?)?)
}

fn folder(mode: u32) -> Node {
    Node::Folder { mode, entries: BTreeMap::new() }
}

/// Does a deed to a tree.
pub fn apply(tree: &mut Tree, deed: &Deed) {
    match deed {
        Deed::Write { id, at, bytes } => {
            if let Some(Node::File { bytes: held, .. }) = tree.nodes.get_mut(*id) {
                let held = Arc::make_mut(held);
                let begins = usize::try_from(*at).unwrap_or(usize::MAX);
                let ends = begins.saturating_add(bytes.len());
                if held.len() < ends {
                    held.resize(ends, 0);
                }
                held[begins..ends].copy_from_slice(bytes);
            }
        }
        Deed::Resize { id, length } => {
            if let Some(Node::File { bytes, .. }) = tree.nodes.get_mut(*id) {
                Arc::make_mut(bytes).resize(usize::try_from(*length).unwrap_or(0), 0);
            }
        }
        Deed::Make { id, mode: then } | Deed::Allow { id, mode: then } => match tree.nodes.get_mut(*id) {
            Some(Node::File { mode, .. } | Node::Folder { mode, .. }) => *mode = *then,
            Some(Node::Link(_)) | None => {}
        },
        Deed::Enter(name) => tree.enter(name.folder, &name.name, name.id),
        Deed::Leave(name) => tree.leave(name.folder, &name.name, name.id),
        Deed::Move { from, to } => {
            tree.leave(from.folder, &from.name, from.id);
            tree.enter(to.folder, &to.name, to.id);
        }
        Deed::Sync(_) | Deed::Connect => {}
    }
}
