//! The demo's throw-away folder and where everything in it lives. It is kept, and named at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The folder of one demo run.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Uses `chosen`, which must be empty or absent, or makes a fresh folder.
    pub(super) fn create(chosen: Option<PathBuf>) -> anyhow::Result<Self> {
        let dir = match chosen {
            Some(dir) => dir,
            None => tempfile::Builder::new().prefix("watchpost-demo-").tempdir()?.keep(),
        };
        fs::create_dir_all(&dir).with_context(|| format!("cannot make the demo's folder {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        anyhow::ensure!(
            fs::read_dir(&dir)?.next().is_none(),
            "the folder {} is not empty: name one that is, or leave --dir out",
            dir.display()
        );
        // Keys, tokens and audit logs lie in here: for its owner alone, whoever made the folder.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for sub in ["clock", "hosts", "audit", "logs", "author", "home"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        Ok(Self(dir))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }
    pub(super) fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }
    /// The control plane's data.
    pub(super) fn server(&self) -> PathBuf {
        self.0.join("server")
    }
    pub(super) fn host(&self, name: &str) -> PathBuf {
        self.0.join("hosts").join(name)
    }
    /// The audit log that the host `name` watches.
    pub(super) fn audit_log(&self, name: &str) -> PathBuf {
        self.0.join("audit").join(format!("{name}.jsonl"))
    }
    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.0.join("logs").join(format!("{process}.log"))
    }
    /// What the author of releases keeps: keys and the signed image repository.
    pub(super) fn author_keys(&self) -> PathBuf {
        self.0.join("author").join("keys")
    }
    pub(super) fn author_repository(&self) -> PathBuf {
        self.0.join("author").join("repository")
    }
    /// The files of one release before they are packed.
    pub(super) fn source(&self, version: &str) -> PathBuf {
        self.0.join("author").join(format!("source-{version}"))
    }
    pub(super) fn package(&self, version: &str) -> PathBuf {
        self.0.join("author").join(format!("watchpost-sensor-{version}.cab"))
    }
}
