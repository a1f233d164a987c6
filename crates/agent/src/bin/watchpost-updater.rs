//! The updater service of a sensor host: setup, run, status.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, ArgGroup, Parser, Subcommand, ValueEnum};
use watchpost_agent::connection_check::{CheckError, Finding, Verdict, check};
use watchpost_agent::documented::translate;
use watchpost_agent::identity::{IdentityError, Keyring};
use watchpost_agent::launcher::{HANDED_OVER, LAUNCHED, end_with_launcher};
use watchpost_agent::proxy_config;
use watchpost_agent::setup::{KeySource, Setup, SetupError, set_up};
use watchpost_agent::transport::{Credentials, Timeouts};
use watchpost_agent::tuf_client;
use watchpost_agent::uninstall::{UninstallError, uninstall};
use watchpost_agent::unpack::{VERB, run_child};
use watchpost_agent::update_file::{UpdateError, update_from_file};
use watchpost_agent::updater::{Ended, HostStatus, Options, StatusError, in_one_line, run, status};
use watchpost_clock::Clock;

/// Exit codes of every Watchpost command: failed, refused, not found. Done is 0, wrong usage 2.
const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const NOT_FOUND: u8 = 4;

/// The updater service of a Watchpost sensor host.
#[derive(Parser)]
#[command(version, after_help = "Example: watchpost-updater run --root /var/lib/watchpost")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sets this host up and enrols it; safe to repeat.
    #[command(after_help = "Example: watchpost-updater setup --root /var/lib/watchpost --server gateway.example:8443 \
        --access-key-file key --image-root 1.root.json --name DC01 --type domainControllerIntegrated \
        --audit-log /var/log/samba/audit.json")]
    Setup(Box<SetupArguments>),
    /// Runs the service: checks in, updates, supervises the sensor.
    #[command(
        after_help = "Exit code: 0 it was told to end, 75 its launcher is to start the updater that takes its place.\n\
        Example: watchpost-updater run --root /var/lib/watchpost"
    )]
    Run {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        #[cfg(feature = "demo-clock")]
        #[command(flatten)]
        clock: ClockArguments,
    },
    /// Says what this host runs and where it is with an update.
    #[command(after_help = "Example: watchpost-updater status --root /var/lib/watchpost --output json")]
    Status {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        /// How to print; a table on a terminal, else JSON.
        #[arg(long)]
        output: Option<Output>,
    },
    /// Has the host's client certificate replaced; the updater does it at its next check-in.
    #[command(after_help = "Example: watchpost-updater rotate-certificate --root /var/lib/watchpost")]
    RotateCertificate {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
    },
    /// Says what stands between this host and its server: name, proxy, TLS, clock, or nothing.
    #[command(
        after_help = "Exit code: 0 all is right, 3 refused (by the server or the proxy), 4 not set up, 1 anything else.\n\
        Example: watchpost-updater check-connection --root /var/lib/watchpost"
    )]
    CheckConnection {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        /// How to print; a table on a terminal, else JSON.
        #[arg(long)]
        output: Option<Output>,
    },
    /// Sets or clears the proxy on the way to the server; the service takes it at its next start.
    #[command(group(ArgGroup::new("way").required(true).args(["clear", "proxy_url"])))]
    #[command(
        after_help = "Example: watchpost-updater proxy --root /var/lib/watchpost --proxy-url http://proxy.example:3128"
    )]
    Proxy {
        /// The host's folder (mandatory).
        #[arg(long)]
        root: PathBuf,
        /// Go to the server without a proxy.
        #[arg(long, conflicts_with_all = ["proxy_url", "proxy_user_name", "proxy_user_password_file"])]
        clear: bool,
        #[command(flatten)]
        proxy: ProxyArguments,
    },
    /// Follows a TUF repository on this machine as a host would, for conformance suites; installs nothing.
    #[command(after_help = "Example: watchpost-updater tuf-client --metadata-dir trusted init 1.root.json")]
    TufClient(tuf_client::Arguments),
    /// Updates this host from a package, without a question: as always, if both repositories and the control plane agree.
    #[command(after_help = "It waits for the running updater, for its turn and for clearance. It needs no key.\n\
        Exit code: 0 the version runs and is cleared, 1 it failed and the host runs what it ran, 2 wrong usage, \
        3 refused (not signed, halted, paused, pulled back, known bad here, delayed ring not open), \
        4 no such host or no such file.\n\
        Example: watchpost-updater update watchpost-sensor-2.255.1.0.cab --root /var/lib/watchpost --quiet\n\
        The same: watchpost-updater setup /quiet watchpost-sensor-2.255.1.0.cab InstallationPath=/var/lib/watchpost")]
    Update {
        /// The package of the release (mandatory).
        file: PathBuf,
        /// The host's folder (mandatory).
        #[arg(long, visible_alias = "installation-path")]
        root: PathBuf,
        /// Print nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
    /// Takes the product off this host; what somebody else put into its folder stays.
    #[command(after_help = "Example: watchpost-updater uninstall --root /var/lib/watchpost --quiet")]
    Uninstall {
        /// The host's folder (mandatory).
        #[arg(long, visible_alias = "installation-path")]
        root: PathBuf,
        /// Print nothing but errors.
        #[arg(long)]
        quiet: bool,
    },
}

#[derive(clap::Args)]
struct ProxyArguments {
    /// The HTTP proxy on the way to the server, http://host:port.
    #[arg(long, value_name = "URL")]
    proxy_url: Option<String>,
    /// Who this host is to the proxy; a domain may stand in it.
    #[arg(long, value_name = "NAME", requires = "proxy_url")]
    proxy_user_name: Option<String>,
    /// A file with the password for the proxy.
    #[arg(long, value_name = "FILE", requires = "proxy_user_name")]
    proxy_user_password_file: Option<PathBuf>,
    /// The password itself, for scripts that have it so; everybody on the host can read it while the command runs.
    #[arg(long, hide = true, requires = "proxy_user_name", conflicts_with = "proxy_user_password_file")]
    proxy_user_password: Option<String>,
}

impl ProxyArguments {
    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let password = match &self.proxy_user_password_file {
            Some(path) => Some(proxy_config::read_password(path)?),
            None => self.proxy_user_password.clone(),
        };
        Ok(proxy_config::credentials(self.proxy_user_name.clone(), password)?)
    }
}

#[derive(clap::Args)]
struct SetupArguments {
    /// The host's folder (mandatory).
    #[arg(long, visible_alias = "installation-path")]
    root: PathBuf,
    /// The gateway, host:port (mandatory).
    #[arg(long)]
    server: String,
    /// The access key (mandatory, this or --access-key-file).
    #[arg(long, required_unless_present = "access_key_file", conflicts_with = "access_key_file")]
    access_key: Option<String>,
    /// A file with the access key; keeps it out of the list of processes.
    #[arg(long)]
    access_key_file: Option<PathBuf>,
    /// The first root of the image repository, as shipped with the installer (mandatory).
    #[arg(long)]
    image_root: PathBuf,
    /// The sensor's name (mandatory).
    #[arg(long)]
    name: String,
    /// The sensor type, such as domainControllerIntegrated (mandatory).
    #[arg(long = "type")]
    sensor_type: String,
    /// The domain it watches.
    #[arg(long)]
    domain: Option<String>,
    /// DNS name of a domain controller to ask, for a sensor on another kind of server; may be repeated.
    #[arg(long = "domain-controller")]
    domain_controllers: Vec<String>,
    /// The site it joins.
    #[arg(long)]
    site: Option<String>,
    /// The zone of that site.
    #[arg(long)]
    zone: Option<String>,
    /// The audit log (JSON lines) it watches (mandatory for sensors on domain controllers, AD FS, AD CS and Entra
    /// Connect servers).
    #[arg(long)]
    audit_log: Option<PathBuf>,
    /// Where the sensor writes its logs; below its folder if not named.
    #[arg(long)]
    logs_path: Option<PathBuf>,
    /// The user that Suricata runs as where the sensor runs as root.
    #[arg(long, value_name = "USER")]
    engine_user: Option<String>,
    /// The user that the sensor runs as, with the right to capture and no other; by default the updater's own.
    #[arg(long, value_name = "USER")]
    sensor_user: Option<String>,
    /// The unit of systemd that runs the sensor; by default it is a child of the updater.
    #[arg(long, value_name = "UNIT", requires = "sensor_user")]
    sensor_unit: Option<String>,
    /// The unit of systemd whose service is watched, such as samba-ad-dc.service; a major release may need it restarted.
    #[arg(long, value_name = "UNIT")]
    watched_unit: Option<String>,
    /// Take updates 72 hours after the others.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value = "false", action = ArgAction::Set)]
    delayed_update: bool,
    #[command(flatten)]
    proxy: ProxyArguments,
    /// If this host is held in quarantine, because another one is enrolled in its name: wait until that is decided.
    #[arg(long)]
    wait: bool,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
    #[cfg(feature = "demo-clock")]
    #[command(flatten)]
    clock: ClockArguments,
}

/// A clock that another process steps, for the demo.
#[cfg(feature = "demo-clock")]
#[derive(clap::Args)]
struct ClockArguments {
    /// The folder of the clock.
    #[arg(long, hide = true, requires = "clock_party")]
    clock: Option<PathBuf>,
    /// This process's name on it.
    #[arg(long, hide = true, requires = "clock")]
    clock_party: Option<String>,
    /// Hold the sensor to what its host has left, as without such a clock.
    #[arg(long, hide = true, requires = "clock")]
    guard: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> ExitCode {
    // Before anything else: this process is to give up its rights, and needs nothing that they are good for.
    if std::env::args_os().nth(1).is_some_and(|word| word == VERB) {
        return run_child();
    }
    let arguments = Arguments::parse_from(translate(std::env::args_os()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("the service cannot start").and_then(|runtime| runtime.block_on(act(arguments.verb)));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchpost-updater: {}", in_one_line(error.as_ref()));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let is_refusal = error.downcast_ref::<SetupError>().is_some_and(SetupError::is_refusal)
        || error.downcast_ref::<UninstallError>().is_some_and(|e| matches!(e, UninstallError::Running(_)))
        || error.downcast_ref::<UpdateError>().is_some_and(|e| matches!(e, UpdateError::Refused(_)));
    let is_absent = error.downcast_ref::<StatusError>().is_some_and(|e| matches!(e, StatusError::NoHost(_)))
        || error.downcast_ref::<UninstallError>().is_some_and(|e| matches!(e, UninstallError::NoHost(_)))
        || matches!(error.downcast_ref::<UpdateError>(), Some(UpdateError::NoHost(_) | UpdateError::NoPackage(_)))
        || error.downcast_ref::<CheckError>().is_some_and(|e| matches!(e, CheckError::Config(_)))
        || error.downcast_ref::<IdentityError>().is_some_and(|e| matches!(e, IdentityError::NotEnrolled));
    if is_refusal {
        REFUSED
    } else if is_absent {
        NOT_FOUND
    } else {
        FAILED
    }
}

/// The hash of this program if a launcher has started it; without the launcher it ends at once.
fn launched_program() -> anyhow::Result<Option<String>> {
    let program = std::env::var(LAUNCHED).ok();
    if program.is_some() {
        end_with_launcher().context("this process cannot be bound to its launcher")?;
    }
    Ok(program)
}

fn code_of(ended: Ended) -> ExitCode {
    match ended {
        Ended::Told => ExitCode::SUCCESS,
        Ended::HandedOver => ExitCode::from(HANDED_OVER),
    }
}

async fn act(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::TufClient(arguments) => tuf_client::act(arguments, Clock::system().now()).await?,
        Verb::Setup(arguments) => set_host_up(*arguments).await?,
        #[cfg(feature = "demo-clock")]
        Verb::Run { root, clock } => {
            let (sensor_arguments, guards) = (clock.for_the_sensor(), clock.guards());
            let (root, clock, program) = (std::path::absolute(root)?, clock.open()?, launched_program()?);
            let options = Options { root, clock, sensor_arguments, guards, program };
            return Ok(code_of(run(options).await?));
        }
        #[cfg(not(feature = "demo-clock"))]
        Verb::Run { root } => {
            let (root, program) = (std::path::absolute(root)?, launched_program()?);
            let (clock, sensor_arguments, guards) = (Clock::system(), Vec::new(), true);
            return Ok(code_of(run(Options { root, clock, sensor_arguments, guards, program }).await?));
        }
        Verb::Status { root, output } => print_status(&status(&root).await?, is_table(output))?,
        Verb::CheckConnection { root, output } => {
            let finding = check(&root, &Clock::system(), Timeouts::default()).await?;
            return print_finding(&finding, is_table(output));
        }
        Verb::Proxy { root, clear: _, proxy } => {
            let credentials = proxy.credentials()?;
            proxy_config::set_proxy(&root, proxy.proxy_url.as_deref(), credentials.as_ref())?;
        }
        Verb::Uninstall { root, quiet } => {
            let left = uninstall(&root)?;
            if !quiet {
                println!("Watchpost is gone from {}", root.display());
                left.iter().for_each(|path| println!("left, because it is not ours: {}", path.display()));
            }
        }
        Verb::Update { file, root, quiet } => {
            let tell = |what: &str| {
                if !quiet {
                    println!("waiting for {what}");
                }
            };
            let version = update_from_file(&std::path::absolute(root)?, &file, tell).await?;
            if !quiet {
                println!("{version} runs and is cleared");
            }
        }
        Verb::RotateCertificate { root } => {
            let replaced = Keyring::of_host(&std::path::absolute(root)?).order()?;
            println!("the certificate {replaced} is replaced at the updater's next check-in");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_table(output: Option<Output>) -> bool {
    output.map_or_else(|| std::io::stdout().is_terminal(), |output| output == Output::Table)
}

/// Prints what a check of the connection came to, and says with which code to end.
fn print_finding(finding: &Finding, is_table: bool) -> anyhow::Result<ExitCode> {
    if is_table {
        let verdict = serde_json::to_value(finding.verdict)?;
        println!("server    {}", finding.server);
        println!("proxy     {}", finding.proxy.as_deref().unwrap_or("none"));
        if let Some(ahead) = finding.clock_ahead_seconds {
            println!("clock     {ahead} s ahead of the server's");
        }
        println!("verdict   {}", verdict.as_str().unwrap_or_default());
        println!("          {}", finding.message);
    } else {
        println!("{}", serde_json::to_string_pretty(finding)?);
    }
    let code = if finding.verdict.is_refusal() { REFUSED } else { FAILED };
    Ok(if finding.verdict == Verdict::Ok { ExitCode::SUCCESS } else { ExitCode::from(code) })
}

async fn set_host_up(arguments: SetupArguments) -> anyhow::Result<()> {
    #[cfg(feature = "demo-clock")]
    let clock = arguments.clock.open()?;
    #[cfg(not(feature = "demo-clock"))]
    let clock = Clock::system();
    let key = match (arguments.access_key, arguments.access_key_file) {
        (Some(text), _) => KeySource::Text(text),
        (None, Some(path)) => KeySource::File(path),
        (None, None) => anyhow::bail!("name an access key: --access-key or --access-key-file"),
    };
    let proxy_credentials = arguments.proxy.credentials()?;
    let setup = Setup {
        root: arguments.root,
        server: arguments.server,
        key,
        image_root: arguments.image_root,
        name: arguments.name,
        sensor_type: arguments.sensor_type,
        domain: arguments.domain,
        domain_controllers: arguments.domain_controllers,
        site: arguments.site,
        zone: arguments.zone,
        audit_log: arguments.audit_log,
        logs_path: arguments.logs_path,
        engine_user: arguments.engine_user,
        sensor_user: arguments.sensor_user,
        sensor_unit: arguments.sensor_unit,
        watched_unit: arguments.watched_unit,
        delayed: arguments.delayed_update,
        waits: arguments.wait,
        proxy_url: arguments.proxy.proxy_url,
        proxy_credentials,
    };
    let sensor = set_up(&setup, &clock).await?;
    if !arguments.quiet {
        println!("{} is enrolled as {sensor}", setup.name);
    }
    Ok(())
}

#[cfg(feature = "demo-clock")]
impl ClockArguments {
    fn open(&self) -> anyhow::Result<Clock> {
        match (&self.clock, &self.clock_party) {
            (Some(folder), Some(party)) => Clock::stepped(folder, party)
                .with_context(|| format!("the clock in {} cannot be joined", folder.display())),
            _ => Ok(Clock::system()),
        }
    }

    /// The hosts of a demo share one machine, which none of them may have for itself.
    fn guards(&self) -> bool {
        self.clock.is_none() || self.guard
    }

    /// The sensor lives by the same clock, as a party of its own.
    fn for_the_sensor(&self) -> Vec<String> {
        match (&self.clock, &self.clock_party) {
            (Some(folder), Some(party)) => vec![
                "--clock".to_owned(),
                folder.to_string_lossy().into_owned(),
                "--clock-party".to_owned(),
                format!("{party}-sensor"),
            ],
            _ => Vec::new(),
        }
    }
}

fn print_status(status: &HostStatus, is_table: bool) -> anyhow::Result<()> {
    let text = if is_table { status.in_words() } else { serde_json::to_string_pretty(status)? };
    println!("{text}");
    Ok(())
}
