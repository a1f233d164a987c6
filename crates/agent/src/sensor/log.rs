//! The sensor's own log: JSON lines in `logs/sensor.log`, never more than two files of a fixed size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use watchpost_clock::Clock;

/// When the log has reached this size it is set aside as `sensor.log.1`.
const ROTATE_AT: u64 = 4 * 1024 * 1024;

struct ByClock(Clock);

impl FormatTime for ByClock {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{}", self.0.now())
    }
}

/// Starts logging to the host folder `root`. A host whose log cannot be written is still watched.
pub(super) fn start(root: &Path, clock: Clock) {
    write_to(root.join("logs").join("sensor.log"), clock);
}

/// Starts logging to the file at `path`, and to nowhere if it cannot be opened.
pub(crate) fn write_to(path: PathBuf, clock: Clock) {
    let Ok(file) = BoundedFile::open(path, ROTATE_AT) else { return };
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_timer(ByClock(clock))
        .with_max_level(tracing::Level::INFO)
        .with_writer(Mutex::new(file))
        .finish();
    // Only the first subscriber of a process counts; a test may have set one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A file that starts anew when it is full, and keeps the one before.
struct BoundedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotate_at: u64,
}

impl BoundedFile {
    fn open(path: PathBuf, rotate_at: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, rotate_at })
    }

    fn rotate(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for BoundedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes >= self.rotate_at {
            self.rotate()?;
        }
        let count = self.file.write(line)?;
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_never_takes_more_than_two_files() {
        let root = tempfile::tempdir().unwrap();
        let mut log = BoundedFile::open(root.path().join("logs").join("sensor.log"), 100).unwrap();
        for _ in 0..50 {
            log.write_all(&[b'x'; 30]).unwrap();
        }
        let sizes: Vec<u64> = std::fs::read_dir(root.path().join("logs"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 130), "{sizes:?}");
    }
}
