//! A9 against a real Samba domain: deleted, renamed, silent, refused, expiring, untrusted; over LDAPS and StartTLS.
//!
//! The control plane runs in this process; what is in the directory is read independently with `ldapsearch`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use watchpost_clock::Clock;
use watchpost_core::directory::Trouble;
use watchpost_core::health::IssueType;
use watchpost_core::id::SensorId;
use watchpost_core::sensor::SensorStatus;
use watchpost_core::sync::Report;
use watchpost_server::app::App;
use watchpost_server::app::directory::DirectoryStatus;
use watchpost_server::app::enrollment::EnrollRequest;
use watchpost_server::config::Settings;
use watchpost_server::founding::{Plan, found};
use watchpost_server::lifecycle::{Running, Server};
use watchpost_tests::samba::{self, DOMAIN, Domain, READER, READER_PASSWORD, SERVER};

/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(40);

/// A control plane that asks the domain once a second.
struct Plane {
    config: PathBuf,
    password: PathBuf,
    access_secret: String,
    running: Option<Running>,
}

impl Plane {
    async fn new(domain: &Domain) -> anyhow::Result<Self> {
        let any = "127.0.0.1:0".parse()?;
        let plan = Plan { data_dir: domain.path("server"), image_root: None, portal: any, gateway: any };
        let founded = found(plan, &Clock::system()).await?;
        let password = domain.path("password");
        std::fs::write(&password, format!("{READER_PASSWORD}\n"))?;
        let access_secret = founded.access_key.reveal().split('.').next().unwrap_or_default().to_owned();
        Ok(Self { config: founded.config, password, access_secret, running: None })
    }

    /// Starts it, or starts it anew, with these settings of the directory.
    async fn start(&mut self, server: &str, tls: &str, ca: &Path) -> anyhow::Result<App> {
        if let Some(running) = self.running.take() {
            running.stop().await?;
        }
        let text = std::fs::read_to_string(&self.config)?;
        let plain = text.split("\n[[directory]]").next().unwrap_or_default();
        let section = format!(
            "\n[[directory]]\ndomain = \"{DOMAIN}\"\nservers = [\"{server}\"]\ntls = \"{tls}\"\nca_file = \"{}\"\n\
             bind_dn = \"{READER}\"\npassword_file = \"{}\"\ncheck_every = \"PT1S\"\n",
            ca.display(),
            self.password.display()
        );
        std::fs::write(&self.config, format!("{plain}{section}"))?;
        let running = Server::start(Settings::read(&self.config)?, Clock::system()).await?;
        let app = running.app().clone();
        self.running = Some(running);
        Ok(app)
    }

    /// A host of this name that checks in once.
    async fn enrol(&self, app: &App, name: &str, pin: u8) -> anyhow::Result<SensorId> {
        let request = EnrollRequest {
            secret: self.access_secret.clone(),
            enrolment_id: format!("enrolment-{name}"),
            host_id: format!("host-{name}"),
            from: String::new(),
            name: name.to_owned(),
            sensor_type: "domainControllerIntegrated".to_owned(),
            domain: DOMAIN.to_owned(),
            site: String::new(),
            zone: String::new(),
            delayed: false,
            domain_controller_dns_names: Vec::new(),
            operating_system: "Debian 12".to_owned(),
        };
        let id = app.enroll(request, [pin; 32], app.clock().now()).await?.sensor;
        let report = Report { pulled_configuration: true, ..Report::default() };
        app.check_in(id, report, app.clock().now()).await?;
        Ok(id)
    }
}

fn status(app: &App, name: &str) -> SensorStatus {
    app.sensor(name, app.clock().now()).expect("a sensor").0.status.value
}

fn object(app: &App, name: &str) -> Option<String> {
    app.sensor(name, app.clock().now()).expect("a sensor").1.directory_object
}

/// The object id as an independent client reads it, in hex.
fn object_in(domain: &Domain, name: &str) -> anyhow::Result<String> {
    let machine = domain.machine(name)?;
    let id = machine.get("objectGUID").and_then(|values| values.first()).context("no objectGUID")?;
    Ok(hex::encode(base64::engine::general_purpose::STANDARD.decode(id)?))
}

fn directory(app: &App) -> DirectoryStatus {
    app.directories_view().into_iter().next().expect("a directory").status
}

fn trouble(app: &App) -> Option<Trouble> {
    directory(app).trouble.map(|(trouble, _)| trouble)
}

/// Waits until the trouble is this one, and the issue of its kind and no other one of a directory is open.
async fn until_trouble(app: &App, what: &str, expected: Option<(Trouble, IssueType)>) -> anyhow::Result<()> {
    let kinds = [
        IssueType::DirectoryUnreachable,
        IssueType::DirectoryCredentialsIncorrect,
        IssueType::DirectoryPasswordExpiresSoon,
        IssueType::DirectoryPasswordExpired,
    ];
    let open = || {
        app.open_global_issues().into_iter().map(|row| row.kind).filter(|kind| kinds.contains(kind)).collect::<Vec<_>>()
    };
    let (trouble_expected, issue) = expected.unzip();
    let issues: Vec<_> = issue.into_iter().collect();
    until(app, what, || trouble(app) == trouble_expected && open() == issues).await
}

async fn until(app: &App, what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.with_context(|| format!("never: {what}; the directory: {:?}", directory(app)))
}

/// Waits for a look that began after this call.
async fn another_look(app: &App) -> anyhow::Result<()> {
    for _ in 0..2 {
        let before = directory(app).asked_at;
        until(app, "another look", || directory(app).asked_at > before).await?;
    }
    Ok(())
}

/// What the account may not see is not gone, and who has a namesake is judged by whether it is heard of: see `core`.
async fn objects_come_and_go(domain: &Domain, app: &App) -> anyhow::Result<()> {
    for name in ["DC7", "DC8", "DC9"] {
        until(app, "every object is known", || object(app, name).is_some()).await?;
        assert_eq!(object(app, name), Some(object_in(domain, name)?), "{name}");
        assert_eq!(status(app, name), SensorStatus::UpToDate, "{name}");
    }
    assert_eq!(object(app, "GHOST"), None, "what was never in the directory");
    domain.rename_domain_controller_object("DC8", "DC8NEW")?;
    domain.delete_domain_controller_object("DC9")?;
    until(app, "DC9 is unreachable", || status(app, "DC9") == SensorStatus::Unreachable).await?;
    another_look(app).await?;
    for name in ["DC7", "DC8", "GHOST"] {
        assert_eq!(status(app, name), SensorStatus::UpToDate, "{name}");
    }
    assert_eq!(object(app, "DC8"), Some(object_in(domain, "DC8NEW")?));
    assert_eq!(domain.machine("DC9")?.get("isDeleted").and_then(|values| values.first()), Some(&"TRUE".to_owned()));
    // Another object of the old name, while the sensor is heard of: the same host was promoted once more.
    domain.add_domain_controller_object("DC9")?;
    until(app, "DC9 is back", || status(app, "DC9") == SensorStatus::UpToDate).await?;
    Ok(())
}

/// Each trouble appears, changes nothing about the sensors, and goes.
async fn troubles_come_and_go(domain: &mut Domain, plane: &Plane, app: &App) -> anyhow::Result<()> {
    let statuses = || ["DC7", "DC8", "DC9"].map(|name| status(app, name));
    let before = statuses();
    domain.stop()?;
    until_trouble(app, "the directory is silent", Some((Trouble::Unreachable, IssueType::DirectoryUnreachable)))
        .await?;
    another_look(app).await?;
    assert_eq!(statuses(), before, "silence says nothing about domain controllers");
    domain.start()?;
    until_trouble(app, "the directory answers again", None).await?;
    std::fs::write(&plane.password, "not-the-password")?;
    until_trouble(
        app,
        "the account is refused",
        Some((Trouble::CredentialsIncorrect, IssueType::DirectoryCredentialsIncorrect)),
    )
    .await?;
    let (_, reason) = directory(app).trouble.context("trouble")?;
    assert!(reason.contains(READER) && !reason.contains("not-the-password"), "{reason}");
    assert_eq!(statuses(), before);
    std::fs::write(&plane.password, READER_PASSWORD)?;
    until_trouble(app, "the account is let in again", None).await?;
    domain.passwords_expire_after(10)?;
    until_trouble(
        app,
        "the password is about to expire",
        Some((Trouble::PasswordToExpire, IssueType::DirectoryPasswordExpiresSoon)),
    )
    .await?;
    let at = directory(app).password_expires_at.context("an instant")?;
    let days = at.since(app.clock().now()).as_secs_f64() / 86_400.0;
    assert!((9.9..=10.0).contains(&days), "{days} days");
    domain.passwords_expire_after(0)?;
    until_trouble(app, "passwords never expire", None).await?;
    domain.expire_password("watchpost")?;
    let expired = (Trouble::PasswordExpired, IssueType::DirectoryPasswordExpired);
    until_trouble(app, "the password has expired", Some(expired)).await?;
    domain.set_password("watchpost", "Another!One55")?;
    std::fs::write(&plane.password, "Another!One55")?;
    until_trouble(app, "another password is taken", None).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_says_which_domain_controllers_are_gone() -> anyhow::Result<()> {
    let name = "directory::a_directory_says_which_domain_controllers_are_gone";
    if !samba::has_own_machine(&[name, "--exact", "--nocapture"])? {
        return Ok(());
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut domain = Domain::provision()?;
    for name in ["DC7", "DC8", "DC9"] {
        domain.add_domain_controller_object(name)?;
    }
    let mut plane = Plane::new(&domain).await?;
    let app = plane.start(&format!("{SERVER}:636"), "ldaps", &domain.ca_file()).await?;
    for (pin, name) in (1..).zip(["DC7", "DC8", "DC9", "GHOST"]) {
        plane.enrol(&app, name, pin).await?;
    }
    objects_come_and_go(&domain, &app).await?;
    troubles_come_and_go(&mut domain, &plane, &app).await?;

    let app = plane.start(&format!("{SERVER}:389"), "starttls", &domain.ca_file()).await?;
    until(&app, "StartTLS is answered", || directory(&app).answered_at.is_some()).await?;
    domain.delete_domain_controller_object("DC7")?;
    until(&app, "DC7 is unreachable", || status(&app, "DC7") == SensorStatus::Unreachable).await?;

    for (tls, port, server) in [("ldaps", 636, SERVER), ("starttls", 389, SERVER), ("ldaps", 636, samba::ADDRESS)] {
        // The right name by another authority; then the right authority, which never signed for the address.
        let ca = if server == SERVER { domain.other_ca_file() } else { domain.ca_file() };
        let app = plane.start(&format!("{server}:{port}"), tls, &ca).await?;
        until_trouble(
            &app,
            "the certificate is refused",
            Some((Trouble::Unreachable, IssueType::DirectoryUnreachable)),
        )
        .await?;
        let (_, reason) = directory(&app).trouble.context("trouble")?;
        assert!(reason.contains("untrusted"), "{tls} to {server}: {reason}");
        assert_eq!(status(&app, "DC7"), SensorStatus::Unreachable);
        assert_eq!(status(&app, "DC8"), SensorStatus::UpToDate);
    }
    if let Some(running) = plane.running.take() {
        running.stop().await?;
    }
    Ok(())
}
