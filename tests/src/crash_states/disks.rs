//! Every disk that a power cut may leave: what was not made durable is there or not, each alone, and torn.
//!
//! The rules are those of ALICE (Pillai et al., OSDI 2014): what a file holds is durable once the file was synced, a name
//! once its folder was. The order of two changes of one name is kept, nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Deed, History, Name, Step, apply};
use super::tree::{Id, Tree};
use crate::kill::Chance;

/// Disks by pure chance, of each instant.
const BY_CHANCE: usize = 3;

/// What became of a step that was not durable; nothing said: it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    /// The first half of what was written.
    Half,
    /// As long as what was written, and zeros.
    Zeros,
}

type Fates = BTreeMap<usize, Fate>;

/// The disks of one history.
pub struct Disks<'a> {
    history: &'a History,
    /// By step: after how many steps it is durable.
    durable_after: Vec<usize>,
}

/// One disk.
pub struct Disk {
    /// The power fails after so many steps.
    pub cut: usize,
    /// What was lost, for people.
    pub what: String,
    /// What is left.
    pub tree: Tree,
}

impl<'a> Disks<'a> {
    /// Those of this history.
    #[must_use]
    pub fn of(history: &'a History) -> Self {
        let steps = &history.steps;
        let durable = |(number, step): (usize, &Step)| {
            let later = steps.iter().enumerate().skip(number + 1);
            let mut syncs = later.filter(|(_, sync)| sync.begun > step.ended && makes_durable(&sync.deed, &step.deed));
            syncs.next().map_or(usize::MAX, |(at, _)| at + 1)
        };
        Self { history, durable_after: steps.iter().enumerate().map(durable).collect() }
    }

    /// Hands every disk that a cut after `cut` steps may leave to `see`.
    pub fn after(&self, cut: usize, chance: &mut Chance, see: &mut dyn FnMut(Disk)) {
        let steps = &self.history.steps[..cut];
        let open: Vec<usize> =
            (0..cut).filter(|at| self.durable_after[*at] > cut && can_be_lost(&steps[*at].deed)).collect();
        for (what, fates) in self.fates(&open, chance) {
            let mut tree = self.history.before.clone();
            for (at, step) in steps.iter().enumerate() {
                match fates.get(&at) {
                    None => apply(&mut tree, &step.deed),
                    Some(Fate::Lost) => {}
                    Some(fate) => apply(&mut tree, &torn(&step.deed, *fate)),
                }
            }
            see(Disk { cut, what, tree });
        }
    }

    fn fates(&self, open: &[usize], chance: &mut Chance) -> Vec<(String, Fates)> {
        let all_lost: Fates = open.iter().map(|at| (*at, Fate::Lost)).collect();
        let mut found = vec![("everything is there".to_owned(), Fates::new())];
        found.push(("only what was synced is there".to_owned(), all_lost.clone()));
        for at in open {
            let step = self.name(*at);
            found.push((format!("all but step {step}"), self.with_followers(open, *at)));
            let mut alone = all_lost.clone();
            self.needed_by(open, *at).iter().for_each(|kept| {
                alone.remove(kept);
            });
            found.push((format!("only step {step} and what was synced"), alone.clone()));
            if matches!(self.history.steps[*at].deed, Deed::Write { .. }) {
                for fate in [Fate::Half, Fate::Zeros] {
                    found.push((format!("all, step {step} as {fate:?}"), Fates::from([(*at, fate)])));
                    let mut torn = alone.clone();
                    torn.insert(*at, fate);
                    found.push((format!("only step {step} as {fate:?}"), torn));
                }
            }
        }
        for (file, steps) in self.writes_by_file(open) {
            for fate in [Fate::Lost, Fate::Zeros] {
                let fates = steps.iter().map(|at| (*at, fate)).collect();
                found.push((format!("all, what was written to {file} as {fate:?}"), fates));
            }
        }
        for _ in 0..if open.len() > 1 { BY_CHANCE } else { 0 } {
            let lost: Vec<usize> = open.iter().copied().filter(|_| chance.below(2) == 0).collect();
            let fates: Fates = lost.iter().flat_map(|at| self.with_followers(open, *at)).collect();
            found.push((format!("without {:?}", fates.keys().collect::<Vec<_>>()), fates));
        }
        found
    }

    fn name(&self, at: usize) -> String {
        let step = &self.history.steps[at];
        let verb = match step.deed {
            Deed::Write { .. } => "write",
            Deed::Resize { .. } => "resize",
            Deed::Allow { .. } | Deed::Make { .. } => "permissions",
            Deed::Enter(_) => "name",
            Deed::Leave(_) => "remove",
            Deed::Move { .. } => "rename",
            Deed::Sync(_) => "sync",
            Deed::Connect => "connect",
        };
        format!("{at} ({verb} {})", step.path)
    }

    /// A lost step, and those that changed the same names after it.
    fn with_followers(&self, open: &[usize], at: usize) -> Fates {
        let mut lost = BTreeSet::from([at]);
        for later in open.iter().copied().filter(|later| *later > at) {
            if lost.iter().any(|lost| self.share_a_name(*lost, later)) {
                lost.insert(later);
            }
        }
        lost.into_iter().map(|at| (at, Fate::Lost)).collect()
    }

    /// A step that is there, and those that changed the same names before it.
    fn needed_by(&self, open: &[usize], at: usize) -> BTreeSet<usize> {
        let mut kept = BTreeSet::from([at]);
        for earlier in open.iter().rev().copied().filter(|earlier| *earlier < at) {
            if kept.iter().any(|kept| self.share_a_name(earlier, *kept)) {
                kept.insert(earlier);
            }
        }
        kept
    }

    fn share_a_name(&self, one: usize, other: usize) -> bool {
        let of = |at: usize| names(&self.history.steps[at].deed);
        of(one)
            .iter()
            .any(|name| of(other).iter().any(|other| (name.folder, &name.name) == (other.folder, &other.name)))
    }

    fn writes_by_file(&self, open: &[usize]) -> BTreeMap<String, Vec<usize>> {
        let mut files: BTreeMap<Id, (String, Vec<usize>)> = BTreeMap::new();
        for at in open {
            let step = &self.history.steps[*at];
            if let Deed::Write { id, .. } = &step.deed {
                files.entry(*id).or_insert_with(|| (step.path.clone(), Vec::new())).1.push(*at);
            }
        }
        files.into_values().collect()
    }
}

fn can_be_lost(deed: &Deed) -> bool {
    !matches!(deed, Deed::Sync(_) | Deed::Connect | Deed::Make { .. })
}

fn names(deed: &Deed) -> Vec<&Name> {
    match deed {
        Deed::Enter(name) | Deed::Leave(name) => vec![name],
        Deed::Move { from, to } => vec![from, to],
        Deed::Write { .. }
        | Deed::Resize { .. }
        | Deed::Make { .. }
        | Deed::Allow { .. }
        | Deed::Sync(_)
        | Deed::Connect => Vec::new(),
    }
}

fn makes_durable(sync: &Deed, deed: &Deed) -> bool {
    let Deed::Sync(synced) = sync else { return false };
    match deed {
        Deed::Write { id, .. } | Deed::Resize { id, .. } | Deed::Allow { id, .. } => id == synced,
        Deed::Enter(name) | Deed::Leave(name) => name.folder == *synced,
        // One change of the file system, whichever folder is synced.
        Deed::Move { from, to } => [from.folder, to.folder].contains(synced),
        Deed::Make { .. } | Deed::Sync(_) | Deed::Connect => false,
    }
}

fn torn(deed: &Deed, fate: Fate) -> Deed {
    let Deed::Write { id, at, bytes } = deed else { return deed.clone() };
    let left = match fate {
        Fate::Lost => Vec::new(),
        Fate::Half => bytes[..bytes.len() / 2].to_vec(),
        Fate::Zeros => vec![0; bytes.len()],
    };
    Deed::Write { id: *id, at: *at, bytes: Arc::new(left) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::calls;
    use super::super::tree::{Listing, Node, digest};
    use super::*;

    /// The disks after all of these calls below `/r`, which is empty before.
    fn disks_after(trace: &str) -> Vec<Listing> {
        let hexed = |text: &str| text.bytes().map(|b| format!("\\x{b:02x}")).collect::<String>();
        let mut text = String::new();
        for line in trace.lines() {
            // What is in quotation marks or angle brackets is written as strace writes it.
            let mut is_inside = false;
            for part in line.split_inclusive(['"', '<', '>']) {
                let (body, mark) = part.split_at(part.len() - usize::from(part.ends_with(['"', '<', '>'])));
                let is_form = body.starts_with("unfinished") || body.starts_with("... ");
                text += &if is_inside && !is_form { hexed(body) } else { body.to_owned() };
                text += mark;
                is_inside = match mark {
                    "<" => true,
                    "\"" => !is_inside,
                    _ => false,
                };
            }
            text.push('\n');
        }
        let top = Node::Folder { mode: 0o755, entries: BTreeMap::new() };
        let mut before = Tree::read(tempfile::tempdir().unwrap().path(), &|_| false).unwrap();
        before.nodes[0] = top;
        let calls = calls::read(&text).unwrap();
        let history = History::of(&calls, Path::new("/r"), before, &|_| false).unwrap();
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        Disks::of(&history).after(history.steps.len(), &mut Chance::new(1), &mut |disk| {
            let listing = disk.tree.listing();
            if seen.insert(digest(&listing)) {
                found.push(listing);
            }
        });
        found
    }

    fn holds(listing: &Listing, path: &str) -> Option<Vec<u8>> {
        match listing.get(path)? {
            Node::File { bytes, .. } => Some(bytes.to_vec()),
            Node::Folder { .. } | Node::Link(_) => None,
        }
    }

    const MADE: &str =
        "7 openat(AT_FDCWD</r>, \"/r/a\", O_WRONLY|O_CREAT, 0600) = 3</r/a>\n7 write(3</r/a>, \"0123\", 4) = 4\n";

    #[test]
    fn what_was_never_synced_may_be_whole_torn_empty_or_absent() {
        let found = disks_after(MADE);
        let contents: BTreeSet<_> = found.iter().map(|listing| holds(listing, "a")).collect();
        let wanted = [None, Some(b"0123".to_vec()), Some(b"01".to_vec()), Some(vec![]), Some(vec![0; 4])];
        assert_eq!(contents, BTreeSet::from(wanted));
    }

    #[test]
    fn a_synced_file_has_its_bytes_whenever_it_has_its_name() {
        let synced = format!("{MADE}7 fsync(3</r/a>) = 0\n");
        let contents: BTreeSet<_> = disks_after(&synced).iter().map(|listing| holds(listing, "a")).collect();
        assert_eq!(contents, BTreeSet::from([None, Some(b"0123".to_vec())]));
        let named = format!("{synced}7 openat(AT_FDCWD</r>, \"/r\", O_RDONLY) = 4</r>\n7 fsync(4</r>) = 0\n");
        assert_eq!(disks_after(&named).len(), 1, "everything is durable");
    }

    #[test]
    fn a_file_renamed_without_a_sync_may_be_empty_under_its_name() {
        let found = disks_after(&format!("{MADE}7 rename(\"/r/a\", \"/r/b\") = 0\n"));
        assert!(found.iter().any(|listing| holds(listing, "b").is_some_and(|bytes| bytes.is_empty())));
        assert!(found.iter().all(|listing| !(listing.contains_key("a") && listing.contains_key("b"))));
    }

    #[test]
    fn what_another_thread_writes_during_a_sync_is_not_made_durable_by_it() {
        let during = "7 fsync(3</r/a> <unfinished ...>\n8 write(3</r/a>, \"45\", 2) = 2\n7 <... fsync resumed>) = 0\n";
        let found = disks_after(&format!("7 clone(flags=CLONE_THREAD) = 8\n{MADE}{during}"));
        assert!(found.iter().any(|listing| holds(listing, "a") == Some(b"0123".to_vec())));
    }
}
