//! A service's own log: JSON lines in `logs/sensor.log`, never more files, nor larger ones, than the policy has it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use watchpost_clock::Clock;
use watchpost_core::policy::RetentionPolicy;

/// The sensor's log within its folder.
const FILE: &str = "sensor.log";

struct ByClock(Clock);

impl FormatTime for ByClock {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{}", self.0.now())
    }
}

/// The folder of logs that is written: the one asked for, else that of the host folder `root`.
pub(super) struct Folder {
    /// Where.
    pub(super) path: PathBuf,
    /// Whether another one was asked for and cannot be written.
    pub(super) is_second_choice: bool,
}

/// Starts logging to the folder that was asked for, or to that of the host folder `root`. A host whose log cannot be
/// written is still watched.
pub(super) fn start(root: &Path, wanted: Option<&Path>, clock: &Clock) -> Folder {
    if let Some(wanted) = wanted
        && write_to(wanted.join(FILE), clock.clone())
    {
        return Folder { path: wanted.to_owned(), is_second_choice: false };
    }
    let path = root.join("logs");
    write_to(path.join(FILE), clock.clone());
    Folder { path, is_second_choice: wanted.is_some() }
}

/// Starts logging to the file at `path`; `false`, and nothing is logged, if it cannot be opened.
pub(crate) fn write_to(path: PathBuf, clock: Clock) -> bool {
    let policy = RetentionPolicy::default();
    let Ok(file) = BoundedFile::open(path, policy.log_file, policy.log_files) else { return false };
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_timer(ByClock(clock))
        .with_max_level(tracing::Level::INFO)
        .with_writer(Mutex::new(file))
        .finish();
    // Only the first subscriber of a process counts; a test may have set one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    true
}

/// A file that starts anew when it is full; those before are `….log.1`, the youngest, to `….log.9`.
struct BoundedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    most_bytes: u64,
    most_files: u32,
}

impl BoundedFile {
    fn open(path: PathBuf, most_bytes: u64, most_files: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, most_bytes, most_files })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: u32| self.path.with_extension(format!("log.{number}"));
        for number in (1..self.most_files.saturating_sub(1)).rev() {
            match std::fs::rename(aside(number), aside(number.saturating_add(1))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, aside(1))?;
        self.file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for BoundedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_full = self.bytes.saturating_add(line.len() as u64) > self.most_bytes;
        if is_full && self.bytes > 0 {
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
    fn ten_files_of_a_bounded_size_are_kept_and_the_oldest_goes() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("logs");
        let mut log = BoundedFile::open(folder.join("sensor.log"), 100, 10).unwrap();
        for number in 0..50 {
            log.write_all(format!("{number:>32}\n").as_bytes()).unwrap();
        }
        // Three lines of 33 bytes fit a file: 48 are in sixteen full ones, of which the last nine are kept.
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = std::iter::once("sensor.log".to_owned()).chain((1..10).map(|n| format!("sensor.log.{n}")));
        assert_eq!(names, expected.collect::<Vec<_>>());
        let first_of = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap()[..32].trim().to_owned();
        assert_eq!(
            (first_of("sensor.log"), first_of("sensor.log.1"), first_of("sensor.log.9")),
            ("48".into(), "45".into(), "21".into())
        );
        assert!(names.iter().all(|name| std::fs::metadata(folder.join(name)).unwrap().len() <= 100));
    }

    #[test]
    fn the_policy_is_fifty_megabytes_times_ten() {
        let policy = RetentionPolicy::default();
        assert_eq!((policy.log_file, policy.log_files), (50 << 20, 10));
    }
}
