//! A control plane and one host with small releases and rule packages, one after the other: the stage of every programme
//! that plays a host's paths again and again.
//!
//! Whatever is read here is read as a stranger reads it, while the updater works.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use watchpost_agent::host::disk::Disk;
use watchpost_agent::identity::Keyring;
use watchpost_agent::updater::{Layout, Programs, RecordStore};
use watchpost_core::content::{RulesRecord, RulesSet, rules_file_name};
use watchpost_core::identity::Slots;
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::updater::{Phase, Record, Release};
use watchpost_core::version::Version;

use crate::site::Site;
use crate::tools::{self, binary};

/// How long an effect on the host may take to show.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Open files that every release asks for.
const OPEN_FILES: u32 = 64;
/// The first build date of the rule packages; each later one is a day younger.
const FIRST_BUILD: &str = "2026-01-05T00:00:00Z";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer than a certificate that was replaced stays accepted.
pub const GRACE: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What is special about a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kind {
    /// Its sensor does not run on this host, and says so.
    pub refuses: bool,
    /// So many files more than it needs.
    pub more_files: u32,
    /// It brings an updater, which is the one of these tests under another hash.
    pub brings_updater: bool,
}

/// Control plane, host, and what was built.
pub struct Stage {
    /// The processes.
    pub site: Site,
    targets: BTreeMap<Version, TargetRef>,
    rule_packages: u32,
}

/// What is nobody's business: logs, locks, sockets, and what belongs to the sensor.
#[must_use]
pub fn is_left_out(path: &str) -> bool {
    let is_the_sensors = path
        .strip_prefix("state/")
        .is_some_and(|name| !name.starts_with("rules.json") && !name.starts_with(".replacing-"));
    let endings = [".log", ".lock", ".sock"];
    is_the_sensors || endings.iter().any(|ending| path.ends_with(ending)) || path == "updater/guard.json"
}

/// Whether the host runs this release and has nothing under way.
#[must_use]
pub fn is_committed(record: &Record, release: Release) -> bool {
    record.phase == Phase::Committed && record.committed == Some(release)
}

/// Whatever was half done is swept away.
///
/// # Errors
/// When something stays; says what.
pub fn no_rubbish(layout: &Layout) -> anyhow::Result<()> {
    let (identity, state, programs) = (layout.updater().join("identity"), layout.state(), layout.programs());
    let folders = [layout.root().to_owned(), layout.versions(), layout.rules(), layout.downloads(), layout.trust()];
    for folder in folders.into_iter().chain([identity, state, programs]) {
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_half_done = name.starts_with('.') || name.ends_with(".unfinished");
            anyhow::ensure!(!is_half_done, "{name} stays in {}", folder.display());
        }
    }
    Ok(())
}

impl Stage {
    /// A control plane without hosts.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn found() -> anyhow::Result<Self> {
        Ok(Self { site: Site::without_small_disks().await?, targets: BTreeMap::new(), rule_packages: 0 })
    }

    /// A host that runs this release.
    ///
    /// # Errors
    /// When it does not come about.
    pub async fn bring_up(&mut self, release: Release) -> anyhow::Result<()> {
        self.publish(release)?;
        let log = self.site.path("audit.jsonl");
        std::fs::write(&log, "")?;
        let facts = ["--type", "domainControllerIntegrated", "--domain", "corp.example", "--audit-log", &log];
        self.site.enrol_host("DC01", &facts)?;
        self.site.start_host()?;
        self.until(&format!("{release} is committed"), |record| is_committed(record, release)).await
    }

    /// Builds the release 2.MINOR.1.0. Its program is a script that becomes the sensor: what happens on the disk stays small.
    ///
    /// # Errors
    /// When the product's own commands refuse.
    pub fn build(&mut self, minor: u32, kind: Kind) -> anyhow::Result<Release> {
        let (sensor, updater) = (binary("watchpost-sensor")?, binary("watchpost-updater")?);
        let version = Version::new(2, minor, 1, 0);
        let small = |source: &Path| {
            let program = source.join("bin/watchpost-sensor");
            let becomes = format!("exec '{}' \"$@\"", sensor.display());
            let refuses = "echo 'this host does not suit me' >&2; exit 78".to_owned();
            std::fs::write(&program, format!("#!/bin/sh\n{}\n", if kind.refuses { refuses } else { becomes }))?;
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
            if kind.brings_updater {
                let path = source.join("bin/watchpost-updater");
                std::fs::write(&path, format!("#!/bin/sh\n# of {minor}\nexec '{}' \"$@\"\n", updater.display()))?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
            }
            for number in 0..kind.more_files {
                std::fs::create_dir_all(source.join("more"))?;
                std::fs::write(source.join(format!("more/{number}.txt")), format!("{number} of {minor}\n"))?;
            }
            std::fs::write(source.join("release-notes.txt"), format!("release {minor}\n"))
        };
        let package = PathBuf::from(self.site.release_with(&version.to_string(), OPEN_FILES, small)?);
        let name = package.file_name().and_then(|name| name.to_str()).context("a package has a name")?.to_owned();
        let target = TargetRef { name, sha256: tools::sha256(&package)?, length: package.metadata()?.len() };
        self.targets.insert(version, target);
        self.release(version)
    }

    /// Builds the release after the newest one.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_next(&mut self, kind: Kind) -> anyhow::Result<Release> {
        let newest = self.targets.keys().next_back().context("there is no release yet")?.to_string();
        let minor: u32 = newest.split('.').nth(1).context("a version has four parts")?.parse()?;
        self.build(minor + 1, kind)
    }

    /// What was built, by version.
    #[must_use]
    pub fn targets(&self) -> &BTreeMap<Version, TargetRef> {
        &self.targets
    }

    /// The release of this version.
    ///
    /// # Errors
    /// When it was not built.
    pub fn release(&self, version: Version) -> anyhow::Result<Release> {
        Release::new(version, &self.target(version)?.sha256).context("a hash has eight digits")
    }

    /// The package of this version.
    ///
    /// # Errors
    /// When it was not built.
    pub fn target(&self, version: Version) -> anyhow::Result<&TargetRef> {
        self.targets.get(&version).with_context(|| format!("{version} was not built"))
    }

    /// Publishes a release.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub fn publish(&self, release: Release) -> anyhow::Result<()> {
        self.site.publish(&self.site.path(&self.target(release.version)?.name)).map(drop)
    }

    /// Builds, signs and publishes a rule package that is a day younger than the one before.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub fn publish_rules(&mut self) -> anyhow::Result<RulesSet> {
        let build = FIRST_BUILD.parse::<Timestamp>()? + DAY * self.rule_packages;
        self.rule_packages += 1;
        let from = self.site.path(&format!("rules-{}", build.millis()));
        std::fs::create_dir_all(Path::new(&from).join("sigma"))?;
        let rule = tools::checkout().join("content/rules/password-reset.yml");
        std::fs::copy(rule, Path::new(&from).join("sigma/password-reset.yml"))?;
        let (package, stamp) = (self.site.path(&rules_file_name(build)), build.to_string());
        let (keys, author) = (self.site.path("keys"), self.site.path("author"));
        self.site.watchpost(&["rules", "build", "--from", &from, "--build", &stamp, "--out", &package])?;
        self.site.watchpost(&["rules", "sign", "--keys", &keys, "--repository", &author, &package])?;
        self.site.watchpost(&["rules", "publish", "--repository", &author, &package])?;
        Ok(RulesSet { build, sha256: tools::sha256(Path::new(&package))? })
    }

    /// Somebody on the host orders that its certificate be replaced.
    ///
    /// # Errors
    /// When the command fails.
    pub fn order_certificate(&self) -> anyhow::Result<()> {
        let mut order = std::process::Command::new(binary("watchpost-updater")?);
        tools::run(order.arg("rotate-certificate").arg("--root").arg(self.site.host()), "cargo build").map(drop)
    }

    /// Where everything of the host lies.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.site.host())
    }

    /// The updater's record, if one can be read.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        RecordStore::new(&self.layout(), Disk::default()).read()
    }

    /// The record of rule packages; an empty one before there was any.
    #[must_use]
    pub fn rules_record(&self) -> RulesRecord {
        RecordStore::at(self.layout().rules_record_slots(), Disk::default()).read().unwrap_or_default()
    }

    /// The programs of updaters that came with releases.
    #[must_use]
    pub fn programs(&self) -> Programs {
        Programs::new(&self.layout(), Disk::default())
    }

    /// Which certificate is which.
    ///
    /// # Errors
    /// When the host holds none.
    pub fn slots(&self) -> anyhow::Result<Slots> {
        Ok(Keyring::of_host(&self.site.host()).open()?.context("the host holds no certificate")?.slots)
    }

    /// Nothing older than what is committed is approved any more.
    ///
    /// # Errors
    /// When a floor lags behind; says which.
    pub fn check_floors(&self, runs: Release) -> anyhow::Result<()> {
        let floor = self.layout().trust().join("floor.0");
        let text = std::fs::read_to_string(&floor).with_context(|| floor.display().to_string())?;
        let floor: Value = serde_json::from_str(text.split_once('\n').context("a floor has a checksum before it")?.1)?;
        let signed_before = self.targets.keys().filter(|version| **version <= runs.version).count();
        let at_least = |field: &str, wanted: usize| {
            let is = floor[field].as_u64().unwrap_or(0);
            anyhow::ensure!(is >= wanted as u64, "{field} of the floor is {is}, not {wanted}");
            Ok(())
        };
        at_least("release_counter", signed_before)?;
        let rules = self.rules_record().in_effect.map_or(0, |_| self.rule_packages);
        at_least("rules_counter", usize::try_from(rules)?)
    }

    /// Waits until the updater's record says so.
    ///
    /// # Errors
    /// When it never does; says what the host wrote down.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Record) -> bool) -> anyhow::Result<()> {
        self.until_holds(what, || self.record().is_some_and(|record| wanted(&record))).await
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it never does; says what the host wrote down.
    pub async fn until_holds(&self, what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
        let looking = async {
            while !holds() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.with_context(|| format!("never: {what}; the host says, newest first:\n{}", self.newest_words()))
    }

    /// The last lines that the host wrote down, newest first.
    #[must_use]
    pub fn newest_words(&self) -> String {
        let log = self.site.host_log();
        log.lines().rev().take(12).collect::<Vec<_>>().join("\n")
    }
}
