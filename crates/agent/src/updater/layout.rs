//! Where everything of a host lies below its folder.

use std::path::{Path, PathBuf};

use watchpost_core::updater::Release;

/// The folder of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The host's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Version folders, and the staging folders of those to come.
    #[must_use]
    pub fn versions(&self) -> PathBuf {
        self.root.join("versions")
    }

    /// The folder of one release.
    #[must_use]
    pub fn version(&self, release: Release) -> PathBuf {
        self.versions().join(release.to_string())
    }

    /// Where the link `current` leads for a release; relative, so that the host's folder can be moved.
    #[must_use]
    pub fn link_target(release: Release) -> PathBuf {
        Path::new("versions").join(release.to_string())
    }

    /// Rule packages, each in a folder of its own.
    #[must_use]
    pub fn rules(&self) -> PathBuf {
        self.root.join("rules")
    }

    /// The two slots of the record of rule packages.
    #[must_use]
    pub fn rules_record_slots(&self) -> [PathBuf; 2] {
        [self.updater().join("rules.0"), self.updater().join("rules.1")]
    }

    /// What both repositories said about the rule package in the folder of this name when it was fetched.
    #[must_use]
    pub fn rules_note(&self, folder: &str) -> PathBuf {
        self.downloads().join(format!("rules-{folder}.approved.json"))
    }

    /// What tells a starting sensor which rule package to load.
    #[must_use]
    pub fn rules_pointer(&self) -> PathBuf {
        self.state().join("rules.json")
    }

    /// The link to the version in use: a consequence of the record.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// What belongs to the updater alone.
    #[must_use]
    pub fn updater(&self) -> PathBuf {
        self.root.join("updater")
    }

    /// The two slots of the record.
    #[must_use]
    pub fn record_slots(&self) -> [PathBuf; 2] {
        [self.updater().join("record.0"), self.updater().join("record.1")]
    }

    /// Packages on their way.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.updater().join("downloads")
    }

    /// What both repositories said about a release when it was prepared.
    #[must_use]
    pub fn approved(&self, release: Release) -> PathBuf {
        self.downloads().join(format!("{release}.approved.json"))
    }

    /// Trusted metadata of both repositories.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.updater().join("trust")
    }

    /// The two slots of the record of the server's keys.
    #[must_use]
    pub fn server_keys_slots(&self) -> [PathBuf; 2] {
        [self.updater().join("server-keys.0"), self.updater().join("server-keys.1")]
    }

    /// Programs of updaters that came with releases.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.updater().join("programs")
    }

    /// The two slots of the record of those programs.
    #[must_use]
    pub fn succession_slots(&self) -> [PathBuf; 2] {
        [self.updater().join("succession.0"), self.updater().join("succession.1")]
    }

    /// Held by the running launcher.
    #[must_use]
    pub fn launcher_lock(&self) -> PathBuf {
        self.updater().join("launcher.lock")
    }

    /// The root of the image repository that the installer shipped.
    #[must_use]
    pub fn image_root(&self) -> PathBuf {
        self.trust().join("shipped.image.root.json")
    }

    /// Held by the running updater.
    #[must_use]
    pub fn updater_lock(&self) -> PathBuf {
        self.updater().join("updater.lock")
    }

    /// What the last check of the connection by hand came to.
    #[must_use]
    pub fn connection_note(&self) -> PathBuf {
        self.updater().join("connection.json")
    }

    /// What the updater writes down for people.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.updater().join("updater.log")
    }

    /// How the resource guard stands, for people.
    #[must_use]
    pub fn guard_state(&self) -> PathBuf {
        self.updater().join("guard.json")
    }

    /// How the process that unpacked the last package was confined, for people.
    #[must_use]
    pub fn unpack_note(&self) -> PathBuf {
        self.updater().join("unpack.json")
    }

    /// What the sensor says on its standard output and error.
    #[must_use]
    pub fn sensor_output(&self) -> PathBuf {
        self.updater().join("sensor-output.log")
    }

    /// What belongs to the sensor.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Held by the running sensor; its text is the process id.
    #[must_use]
    pub fn sensor_lock(&self) -> PathBuf {
        self.state().join("sensor.lock")
    }

    /// Every folder the updater needs.
    #[must_use]
    pub fn folders(&self) -> [PathBuf; 7] {
        [self.versions(), self.rules(), self.updater(), self.downloads(), self.trust(), self.programs(), self.state()]
    }

    /// The release whose folder the path lies in, if it lies in one.
    #[must_use]
    pub fn release_of(&self, path: &Path) -> Option<Release> {
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        let below = [root.join("versions"), self.versions()]
            .iter()
            .find_map(|folder| path.strip_prefix(folder).ok().map(Path::to_owned))?;
        below.components().next()?.as_os_str().to_str()?.parse().ok()
    }
}
