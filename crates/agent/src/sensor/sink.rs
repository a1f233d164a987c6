//! The end of the pipeline: alerts, what correlations have counted and the place in the audit log become durable together.
//!
//! Alerts first, then the counts in a file of their own, then the place, which names that file: a death between two of
//! them makes the events be read again from the counts that belong to the place, and ids tell which of their alerts are
//! already there. So none is lost and none is written twice.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use watchpost_core::evidence::Alert as Foreign;

use super::alert::{Alert, Raised};
use super::canary::{self, Verdict};
use super::line::Place;

/// When `alerts.jsonl` has reached this size it is set aside.
const ROTATE_AT: u64 = 16 * 1024 * 1024;
/// How many files that were set aside are kept.
const KEEP_ROTATED: u32 = 3;
/// The largest `cursor` file that is read.
const CURSOR_LIMIT: u64 = 64 * 1024;
/// The largest file of counts that is read.
const COUNTS_LIMIT: u64 = 64 * 1024 * 1024;
/// The longest tail of alerts after the last commit that is read back: one batch, generously.
const RECOVER_LIMIT: u64 = 64 * 1024 * 1024;

/// `state/cursor`: what is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Cursor {
    /// Up to where the audit log has been dealt with.
    place: Option<Place>,
    /// Alerts raised up to there.
    alert_count: u64,
    /// Which `alerts.jsonl` the next number counts in.
    alerts_inode: u64,
    /// How much of it is settled; what follows may be raised again by a replay.
    alerts_bytes: u64,
    /// What correlations have counted up to `place`.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

/// Which file holds what correlations have counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// The number in its name.
    number: u64,
    /// SHA-256 of it in hex.
    sha256: String,
}

/// What a commit settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Generations whose canary came out.
    pub proofs: Vec<u64>,
    /// Real alerts that were new.
    pub raised: u64,
}

/// Where alerts end up.
pub struct Sink {
    folder: PathBuf,
    rotate_at: u64,
    file: File,
    inode: u64,
    bytes: u64,
    count: u64,
    settled: Cursor,
    /// Ids of alerts that are on disk, but not settled.
    unsettled: HashSet<String>,
    /// Whether events may be read again whose alerts an earlier run has written.
    is_replaying: bool,
}

impl Sink {
    /// Opens the sink in `folder`, and finds out what of it an earlier run has settled.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let settled = read_cursor(folder)?;
        let path = folder.join("alerts.jsonl");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let metadata = file.metadata()?;
        let is_same = settled.alerts_inode == metadata.ino() && settled.alerts_bytes <= metadata.len();
        let from = if is_same { settled.alerts_bytes } else { 0 };
        let (ids, bytes) = read_back(&mut file, from)?;
        if bytes < metadata.len() {
            file.set_len(bytes)?; // The last line was torn by a death; its event is read again.
        }
        let count = settled.alert_count.saturating_add(ids.len() as u64);
        let settled = Cursor { alerts_inode: metadata.ino(), alerts_bytes: from, ..settled };
        Ok(Self {
            folder: folder.to_owned(),
            rotate_at: ROTATE_AT,
            file,
            inode: metadata.ino(),
            bytes,
            count,
            settled,
            is_replaying: !ids.is_empty(),
            unsettled: ids.into_iter().collect(),
        })
    }

    /// Where to go on reading the audit log.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.settled.place.clone()
    }

    /// Alerts since the sensor was installed, canaries left out.
    #[must_use]
    pub fn alert_count(&self) -> u64 {
        self.count
    }

    /// Writes what is new of `raised`, then `counts` as they are at `place` (`None`: as they were), then `place`.
    /// `is_caught_up` says that no replay is under way any more.
    ///
    /// # Errors
    /// When the disk refuses; calling again with the same values is right and repeats nothing.
    pub fn commit(
        &mut self,
        raised: &[Raised],
        place: Option<&Place>,
        counts: Option<&[u8]>,
        is_caught_up: bool,
    ) -> io::Result<Committed> {
        let mut committed = Committed::default();
        let mut lines = Vec::new();
        let mut ids = Vec::new();
        for raised in raised {
            match canary::judge(raised) {
                Verdict::Proof(generation) => committed.proofs.push(generation),
                Verdict::Echo => {}
                Verdict::Real if self.unsettled.contains(&raised.alert.id) => {}
                Verdict::Real => {
                    ids.push(raised.alert.id.clone());
                    write_alert(&mut lines, &raised.alert)?;
                }
            }
        }
        committed.raised = ids.len() as u64;
        self.append(&lines)?;
        self.count = self.count.saturating_add(committed.raised);
        self.unsettled.extend(ids);
        self.settle(place, counts, is_caught_up, !committed.proofs.is_empty())?;
        Ok(committed)
    }

    /// Appends alerts of another engine, which keeps its own place: one line each, counted like the others.
    ///
    /// # Errors
    /// When the disk refuses; nothing of them is there then.
    pub fn feed(&mut self, alerts: &[Foreign]) -> io::Result<()> {
        let mut lines = Vec::new();
        for alert in alerts {
            serde_json::to_writer(&mut lines, alert)?;
            lines.push(b'\n');
        }
        self.append(&lines)?;
        self.count = self.count.saturating_add(alerts.len() as u64);
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.bytes >= self.rotate_at && !self.is_replaying {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            // Half a batch must not stay: the whole of it is tried again.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(lines.len() as u64);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let name = |number: u32| self.folder.join(format!("alerts.{number}.jsonl"));
        for number in (1..KEEP_ROTATED).rev() {
            if name(number).exists() {
                std::fs::rename(name(number), name(number.saturating_add(1)))?;
            }
        }
        let path = self.folder.join("alerts.jsonl");
        if path.exists() {
            std::fs::rename(&path, name(1))?;
        }
        self.file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        self.inode = self.file.metadata()?.ino();
        self.bytes = 0;
        File::open(&self.folder)?.sync_all()
    }

    /// What correlations had counted at [`Self::place`]; empty if nothing, or if the file is damaged.
    #[must_use]
    pub fn counts(&self) -> Vec<u8> {
        let Some(counts) = &self.settled.counts else { return Vec::new() };
        let mut bytes = Vec::new();
        let read = File::open(counts_path(&self.folder, counts.number))
            .and_then(|file| file.take(COUNTS_LIMIT).read_to_end(&mut bytes));
        if read.is_ok() && hex::encode(digest(&SHA256, &bytes)) == counts.sha256 {
            return bytes;
        }
        tracing::error!("what correlation rules had counted cannot be read; they start counting anew");
        Vec::new()
    }

    /// Makes the place durable. While a replay is under way the alerts of it stay unsettled: a second death must
    /// find them again. A proof is written for even when nothing else changed: it stands for the disk too.
    fn settle(
        &mut self,
        place: Option<&Place>,
        counts: Option<&[u8]>,
        is_caught_up: bool,
        is_proof: bool,
    ) -> io::Result<()> {
        let mut next = Cursor { place: place.cloned(), ..self.settled.clone() };
        if let Some(counts) = counts {
            next.counts = Some(self.write_counts(counts)?);
        }
        self.is_replaying &= !is_caught_up;
        if !self.is_replaying {
            next = Cursor { alert_count: self.count, alerts_inode: self.inode, alerts_bytes: self.bytes, ..next };
        }
        if is_proof || next != self.settled {
            write_cursor(&self.folder, &next)?;
            self.settled = next;
        }
        if !self.is_replaying {
            self.unsettled.clear();
        }
        Ok(())
    }
}

impl Sink {
    /// Writes a file of counts beside the one that is settled; the cursor, written next, chooses between them.
    fn write_counts(&self, counts: &[u8]) -> io::Result<Counts> {
        let number = self.settled.counts.as_ref().map_or(1, |settled| settled.number % 2 + 1);
        let mut file = File::create(counts_path(&self.folder, number))?;
        file.write_all(counts)?;
        file.sync_data()?;
        Ok(Counts { number, sha256: hex::encode(digest(&SHA256, counts)) })
    }
}

fn counts_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("correlation.{number}"))
}

fn write_alert(lines: &mut Vec<u8>, alert: &Alert) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, alert)?;
    lines.push(b'\n');
    Ok(())
}

/// The ids of the whole lines after `from`, and where the last of them ends.
fn read_back(file: &mut File, from: u64) -> io::Result<(Vec<String>, u64)> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(RECOVER_LIMIT).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
    let lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    let ids = lines.filter_map(|line| serde_json::from_slice::<Id>(line).ok()).map(|line| line.id).collect();
    Ok((ids, from.saturating_add(whole as u64)))
}

/// What an earlier run has settled. A cursor that cannot be understood counts as none: the whole log is read again,
/// and the ids in `alerts.jsonl` keep its alerts from being written twice.
fn read_cursor(folder: &Path) -> io::Result<Cursor> {
    let mut bytes = Vec::new();
    match File::open(folder.join("cursor")) {
        Ok(file) => file.take(CURSOR_LIMIT).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cursor::default()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn write_cursor(folder: &Path, cursor: &Cursor) -> io::Result<()> {
    let temporary = folder.join("cursor.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(cursor)?)?;
    file.sync_data()?;
    std::fs::rename(&temporary, folder.join("cursor"))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
