//! Follows an audit log by its path: through rotation, truncation and absence, without losing or repeating a line.
//!
//! Only reads, never locks and never writes what it watches.

use std::fs::{File, Metadata};
use std::io::{self, BufRead as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::line::{AUDIT_LINE_LIMIT, Origin, Place, RawLine};
use super::rotated;

/// The most bytes taken by one poll; it bounds the batch, and with it memory and the time to stop.
const POLL_BYTES: usize = 1024 * 1024;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How many bytes before a place, and at the beginning, are remembered to recognise the file by: a whole line or more.
const ANCHOR: usize = 1024;
/// After how many polls without a file at the path the log counts as gone.
const GONE_POLLS: u32 = 20;
/// How many quiet polls a rotated log is kept for: its writers may not all have opened the next one yet.
const GRACE_POLLS: u32 = 10;

/// What one poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Whole lines, in order.
    pub lines: Vec<RawLine>,
    /// Lines may have been lost: the place where reading stopped is in no file any more.
    pub gap: bool,
    /// Everything that is in the log has been read.
    pub caught_up: bool,
    /// Bytes were read, whether or not they made a line: there may be more at once.
    pub read_any: bool,
}

/// A log being followed.
pub struct Tail {
    path: PathBuf,
    resume: Option<Place>,
    open: Option<OpenLog>,
    epoch: u64,
    quiet_polls: u32,
    /// Polls in a row that found nothing at the path: more of them than a rotation leaves.
    missing_polls: u32,
}

struct OpenLog {
    file: File,
    place: Place,
    /// What was dealt with last: at least [`ANCHOR`] bytes, if there were so many.
    recent: Vec<u8>,
    /// What the file begins with.
    head: Vec<u8>,
    /// Bytes after `place.offset` that are not yet a whole line.
    partial: Vec<u8>,
}

impl Tail {
    /// Follows the log at `path` from `place`, or from its beginning.
    #[must_use]
    pub fn new(path: PathBuf, place: Option<Place>) -> Self {
        let epoch = place.as_ref().map_or(0, |place| place.epoch);
        Self { path, resume: place, open: None, epoch, quiet_polls: 0, missing_polls: 0 }
    }

    /// Up to where lines have been handed out.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.open.as_ref().map(OpenLog::place).or_else(|| self.resume.clone())
    }

    /// Whether a log is open and still there: one that was deleted can be read, and gets no more lines.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some() && self.missing_polls < GONE_POLLS
    }

    /// Reads what has been appended since the last poll, up to a limit.
    ///
    /// # Errors
    /// When a file cannot be read; the next poll tries again from the same place.
    pub fn poll(&mut self) -> io::Result<Polled> {
        let mut polled = Polled::default();
        if self.open.is_none() && !self.open_first(&mut polled)? {
            polled.caught_up = true;
            return Ok(polled);
        }
        let Some(log) = self.open.as_mut() else { return Ok(polled) };
        if log.was_rewritten()? {
            let place = log.place();
            // Rotated by copy and truncate: what came after the last look is in the copy.
            match rotated::holding(&self.path, &place)? {
                Some(file) if !place.head.is_empty() => *log = OpenLog::resume(file, &place)?,
                Some(_) | None => {
                    self.epoch = self.epoch.saturating_add(1);
                    log.restart(self.epoch);
                }
            }
        }
        polled.read_any = log.read(&mut polled.lines)?;
        if polled.read_any {
            self.quiet_polls = 0;
        } else {
            polled.caught_up = true;
            self.follow_rotation(&mut polled)?;
        }
        Ok(polled)
    }

    /// Opens the file that holds the place to resume at, else the log from its beginning.
    fn open_first(&mut self, polled: &mut Polled) -> io::Result<bool> {
        if let Some(place) = &self.resume {
            if let Some(file) = rotated::holding(&self.path, place)? {
                self.open = Some(OpenLog::resume(file, place)?);
                self.resume = None;
                return Ok(true);
            }
            if !self.path.exists() {
                return Ok(false);
            }
            polled.gap = place.offset > 0;
            self.epoch = self.epoch.saturating_add(1);
        }
        let Some(file) = open_if_there(&self.path)? else { return Ok(false) };
        self.open = Some(OpenLog::begin(file, self.epoch)?);
        self.resume = None;
        Ok(true)
    }

    /// Once the open file is read to its end and stays quiet: goes on with the file that replaced it, if any.
    fn follow_rotation(&mut self, polled: &mut Polled) -> io::Result<()> {
        let Some(log) = self.open.as_mut() else { return Ok(()) };
        let at_path = std::fs::metadata(&self.path);
        self.missing_polls = if at_path.is_ok() { 0 } else { self.missing_polls.saturating_add(1) };
        let is_current = at_path.map_or(true, |at_path| log.is(&at_path) || at_path.len() == 0);
        if is_current {
            self.quiet_polls = 0;
            return Ok(());
        }
        polled.caught_up = false;
        self.quiet_polls = self.quiet_polls.saturating_add(1);
        // Opened before the folder is listed: a log that is set aside in between is then found there, and not passed over.
        let at_path = open_if_there(&self.path)?;
        let place = log.place();
        let next = rotated::successor(&self.path, &place)?;
        // Once the next file has been set aside, too, every writer has long opened another.
        if next == self.path && self.quiet_polls < GRACE_POLLS {
            return Ok(());
        }
        let opened = if next == self.path { at_path } else { open_if_there(&next)? };
        let Some(file) = opened else { return Ok(()) };
        if place.offset > 0 && rotated::has_read(&file, &place)? {
            // This was a copy, and the log itself has not been cut yet.
            self.open = Some(OpenLog::resume(file, &place)?);
        } else {
            log.finish(&mut polled.lines);
            self.epoch = self.epoch.saturating_add(1);
            self.open = Some(OpenLog::begin(file, self.epoch)?);
        }
        self.quiet_polls = 0;
        polled.read_any = true;
        Ok(())
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl OpenLog {
    fn begin(file: File, epoch: u64) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let place = Place { device: metadata.dev(), inode: metadata.ino(), epoch, ..Place::default() };
        let mut head = vec![0; ANCHOR];
        let count = file.read_at(&mut head, 0)?;
        head.truncate(count);
        Ok(Self { file, place, recent: Vec::new(), head, partial: Vec::new() })
    }

    fn resume(file: File, place: &Place) -> io::Result<Self> {
        let mut log = Self::begin(file, place.epoch)?;
        log.place.offset = place.offset;
        log.place.in_oversized_line = place.in_oversized_line;
        log.recent = hex::decode(&place.anchor).unwrap_or_default();
        log.head = hex::decode(&place.head).unwrap_or_default();
        Ok(log)
    }

    fn place(&self) -> Place {
        Place { anchor: hex::encode(self.anchor()), head: hex::encode(&self.head), ..self.place.clone() }
    }

    fn anchor(&self) -> &[u8] {
        self.recent.get(self.recent.len().saturating_sub(ANCHOR)..).unwrap_or_default()
    }

    fn is(&self, other: &Metadata) -> bool {
        self.place.device == other.dev() && self.place.inode == other.ino()
    }

    /// Whether the file has become shorter than what was read, or holds something else there.
    fn was_rewritten(&self) -> io::Result<bool> {
        let read = self.place.offset.saturating_add(self.partial.len() as u64);
        let is_there = || {
            Ok::<_, io::Error>(begins(&self.file, &self.head)? && holds(&self.file, self.anchor(), self.place.offset)?)
        };
        Ok(self.file.metadata()?.len() < read || !is_there()?)
    }

    fn restart(&mut self, epoch: u64) {
        self.place = Place { offset: 0, epoch, in_oversized_line: false, ..self.place.clone() };
        self.recent.clear();
        self.head.clear();
        self.partial.clear();
    }

    /// Reads up to [`POLL_BYTES`]; says whether anything was there.
    fn read(&mut self, lines: &mut Vec<RawLine>) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK];
        let mut total: usize = 0;
        while total < POLL_BYTES {
            let at = self.place.offset.saturating_add(self.partial.len() as u64);
            let count = self.file.read_at(&mut chunk, at)?;
            if count == 0 {
                break;
            }
            total = total.saturating_add(count);
            self.take(chunk.get(..count).unwrap_or_default(), lines);
        }
        Ok(total > 0)
    }

    fn take(&mut self, mut bytes: &[u8], lines: &mut Vec<RawLine>) {
        while !bytes.is_empty() {
            bytes = self.skip_hole(bytes);
            // A slice is always read; this finds the line's end faster than a look at each byte.
            let _ = bytes.read_until(b'\n', &mut self.partial);
            if self.partial.last() == Some(&b'\n') {
                self.hand_out(lines);
            } else if self.partial.len() > AUDIT_LINE_LIMIT {
                self.drop_oversized(lines);
            }
        }
    }

    /// Passes over NULs before a line: a log that was cut under a writer that does not append has a hole up to where it
    /// goes on writing.
    fn skip_hole<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if !self.partial.is_empty() || piece.first() != Some(&0) {
            return piece;
        }
        let end = piece.iter().position(|byte| *byte != 0).unwrap_or(piece.len());
        let (hole, rest) = piece.split_at(end);
        self.partial.extend_from_slice(hole);
        self.consume();
        rest
    }

    /// The end of a file that gets no more: what has no line end is a line too.
    fn finish(&mut self, lines: &mut Vec<RawLine>) {
        if !self.partial.is_empty() {
            self.hand_out(lines);
        }
    }

    fn hand_out(&mut self, lines: &mut Vec<RawLine>) {
        let was_oversized = self.place.in_oversized_line;
        let origin = self.origin();
        let mut text = self.consume();
        self.place.in_oversized_line = false;
        if was_oversized {
            return;
        }
        while matches!(text.last(), Some(b'\n' | b'\r')) {
            text.pop();
        }
        let is_blank = text.iter().all(u8::is_ascii_whitespace);
        if !is_blank {
            let is_short = text.len() <= AUDIT_LINE_LIMIT;
            lines.push(RawLine { origin, text: is_short.then_some(text) });
        }
    }

    /// Reports the line once, forgets what has been read of it, and skips to its end from here on.
    fn drop_oversized(&mut self, lines: &mut Vec<RawLine>) {
        let origin = self.origin();
        self.consume();
        if !self.place.in_oversized_line {
            lines.push(RawLine { origin, text: None });
        }
        self.place.in_oversized_line = true;
    }

    fn origin(&self) -> Origin {
        Origin::Log { epoch: self.place.epoch, inode: self.place.inode, offset: self.place.offset }
    }

    fn consume(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.partial);
        let missing = ANCHOR.saturating_sub(self.head.len());
        if missing > 0 {
            let known = (self.head.len() as u64).saturating_sub(self.place.offset);
            let more = text.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
            self.head.extend(more.iter().take(missing));
        }
        self.place.offset = self.place.offset.saturating_add(text.len() as u64);
        if self.recent.len() > CHUNK {
            self.recent.drain(..self.recent.len().saturating_sub(ANCHOR));
        }
        self.recent.extend_from_slice(text.get(text.len().saturating_sub(ANCHOR)..).unwrap_or_default());
        text
    }
}

/// Whether `file` begins with the bytes `head`.
pub(super) fn begins(file: &File, head: &[u8]) -> io::Result<bool> {
    holds(file, head, head.len() as u64)
}

/// Whether `file` holds the bytes `anchor` just before `offset`.
pub(super) fn holds(file: &File, anchor: &[u8], offset: u64) -> io::Result<bool> {
    let Some(start) = offset.checked_sub(anchor.len() as u64) else { return Ok(false) };
    let mut there = vec![0; anchor.len()];
    match file.read_exact_at(&mut there, start) {
        Ok(()) => Ok(there == anchor),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
