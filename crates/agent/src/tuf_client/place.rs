//! Where a downloaded target goes: one file in one folder, whatever the target is called; whole or as it was before.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use watchpost_package::trust::LoneTarget;

use super::http::quoted;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// The place of one target.
pub(super) struct Place(PathBuf);

impl Place {
    /// The place of the target `name` in the folder `dir`.
    pub(super) fn of(dir: &Path, name: &str) -> Self {
        // A dot in front would make `..` of two dots, and hide the rest.
        let name = quoted(name, false);
        let name = name.strip_prefix('.').map_or_else(|| name.clone(), |rest| format!("%2E{rest}"));
        Self(dir.join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether the target lies there already.
    pub(super) fn holds(&self, target: &LoneTarget) -> io::Result<bool> {
        let mut file = match File::open(&self.0) {
            Ok(file) => file.take(target.length.saturating_add(1)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let (mut weigher, mut piece) = (target.weigh(), vec![0; PIECE]);
        loop {
            let read = file.read(&mut piece)?;
            match piece.get(..read) {
                Some([]) | None => return Ok(weigher.is_it()),
                Some(bytes) => weigher.add(bytes),
            }
        }
    }

    /// A file beside it, which is gone unless it is kept.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        let dir = self.0.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let file = tempfile::Builder::new().prefix(".draft-").tempfile_in(dir)?;
        Ok(Draft { file, place: self.0.clone() })
    }
}

/// What has come of a target so far.
pub(super) struct Draft {
    file: NamedTempFile,
    place: PathBuf,
}

impl Draft {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts it into its place.
    pub(super) fn keep(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.place).map_err(|error| error.error)?;
        let dir = self.place.parent().unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["../../x", "..", ".", "/etc/passwd", ".hidden", "a/b", "a b"] {
            let place = Place::of(Path::new("/out"), name);
            assert_eq!(place.path().parent(), Some(Path::new("/out")), "{name}");
            assert!(place.path().file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')), "{name}");
        }
    }
}
