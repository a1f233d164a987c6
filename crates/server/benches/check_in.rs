//! What an unchanged check-in costs the server: no SQL, and little more CPU than an answer without any thought.
//!
//! Both sides run over TLS on kept-alive connections, each on a thread of its own; the reference is hyper and tokio-rustls
//! that read the same request and send an answer of the same length. Rounds take turns; the cheapest of each side counts, because noise only ever adds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;
use watchpost_clock::Clock;
use watchpost_core::access_key::AccessKey;
use watchpost_core::facts::Measurements;
use watchpost_core::sync::{Report, ServiceState};
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;
use watchpost_fleet_sim::SimSensor;
use watchpost_protocol::{CONTENT_TYPE, SyncRequest};
use watchpost_server::config::Settings;
use watchpost_server::founding::{Plan, found};
use watchpost_server::gateway::GatewayCertificate;
use watchpost_server::lifecycle::Server;

/// Unchanged check-ins of which none may run SQL: four from each sensor in each round.
const CHECK_INS: u32 = 10_240;
/// Turns of both sides.
const ROUNDS: u32 = 40;
/// Sensors, each on its own connection, that check in at once: a server that must be woken for each of them would
/// measure the kernel.
const SENSORS: usize = 64;
/// CPU of a check-in over that of the reference. More is a step back.
const BAR: f64 = 1.6;
/// What the design asks for: a check-in at 80 % of the rate of an echo. Not reached yet, so it does not fail the bench.
const GOAL: f64 = 1.0 / 0.8;
/// The core on which both servers answer.
const SERVERS_CORE: u32 = 0;
/// The core from which they are asked.
const CLIENTS_CORE: u32 = 1;
/// The clock stands still: last contacts, which are written behind every 30 s in one statement, are none of a check-in's.
const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// A server on a thread of its own.
struct Side {
    at: SocketAddr,
    key: AccessKey,
    thread: u32,
    statements: Box<dyn Fn() -> u64 + Send + Sync>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> anyhow::Result<bool> {
    let dir = tempfile::tempdir()?;
    let ours = gateway(dir.path().to_owned())?;
    stay_on(CLIENTS_CORE)?;
    let client = Builder::new_current_thread().enable_all().build()?;
    let sensors = client.block_on(fleet(&ours, true))?;
    let reply = client.block_on(sensors.first().context("no sensor")?.sync())?.to_bytes();
    let request = SyncRequest::encode(&report(), &Measurements::default()).len();
    println!("{:<34} {:>9} bytes, answer {} bytes", "request", request, reply.len());
    let echo = echo(ours.key.clone(), reply)?;
    let strangers = client.block_on(fleet(&echo, false))?;

    let (mut statements, mut cheapest, mut floor) = (0, f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let before = (ours.statements)();
        let cost = client.block_on(cost(&ours, &sensors))?;
        statements += (ours.statements)() - before;
        cheapest = cheapest.min(cost);
        floor = floor.min(client.block_on(self::cost(&echo, &strangers))?);
    }
    let ratio = cheapest / floor;
    println!("{:<34} {statements:>9}   (bar 0)", format!("SQL statements in {CHECK_INS} check-ins"));
    println!("{:<34} {cheapest:>9.1} us CPU", "check-in at the gateway");
    println!("{:<34} {floor:>9.1} us CPU", "reference: hyper + rustls echo");
    println!("{:<34} {ratio:>9.2}   (bar {BAR:.2}, goal {GOAL:.2})", "ratio");
    Ok(statements == 0 && ratio <= BAR)
}

fn report() -> Report {
    Report {
        version: Some(Version::new(2, 254, 1, 0)),
        service: ServiceState::Running,
        operating_system: "Debian GNU/Linux 12".to_owned(),
        pulled_configuration: true,
        ..Report::default()
    }
}

/// Sensors whose first two check-ins, which change something or open the connection, are over.
async fn fleet(side: &Side, enrol: bool) -> anyhow::Result<Vec<SimSensor>> {
    let mut sensors = Vec::new();
    for n in 0..SENSORS {
        let mut sensor = SimSensor::new(&side.at.to_string(), &side.key, &format!("DC{n:02}"), NOW)?;
        sensor.report = report();
        if enrol {
            sensor.enroll().await?;
        }
        sensor.sync_times(2, Duration::ZERO).await?;
        sensors.push(sensor);
    }
    // The planner has the last word on what is new; it must be done before anything is counted.
    let mut before = u64::MAX;
    while before != (side.statements)() {
        before = (side.statements)();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(sensors)
}

/// CPU microseconds of the server per check-in, over one round.
async fn cost(side: &Side, sensors: &[SimSensor]) -> anyhow::Result<f64> {
    let before = cpu_time(side.thread)?;
    let turns = CHECK_INS / (ROUNDS * u32::try_from(SENSORS)?);
    for _ in 0..turns {
        try_join_all(sensors.iter().map(SimSensor::sync)).await?;
    }
    let check_ins = f64::from(turns) * SENSORS as f64;
    Ok((cpu_time(side.thread)? - before).as_secs_f64() * 1e6 / check_ins)
}

/// The real server, founded in `dir`.
fn gateway(dir: std::path::PathBuf) -> anyhow::Result<Side> {
    on_a_thread(move |ready| async move {
        let any: SocketAddr = "127.0.0.1:0".parse()?;
        let clock = Clock::fixed(NOW);
        let plan = Plan { data_dir: dir.join("server"), image_root: None, portal: any, gateway: any };
        let founded = found(plan, &clock).await?;
        let running = Server::start(Settings::read(&founded.config)?, clock).await?;
        let app = running.app().clone();
        ready.send(Side {
            at: running.gateway_addr(),
            key: founded.access_key.reveal().parse()?,
            thread: this_thread()?,
            statements: Box::new(move || app.statements()),
        })?;
        std::future::pending().await
    })
}

/// The reference: it reads the whole request and answers with `reply`, whatever was asked.
fn echo(key: AccessKey, reply: Vec<u8>) -> anyhow::Result<Side> {
    on_a_thread(move |ready| async move {
        let certificate = GatewayCertificate::generate(NOW)?;
        let chain = vec![certificate.certificate().to_vec().into()];
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.key().to_vec()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let key = AccessKey { server_key: certificate.key_hash()?, ..key };
        ready.send(Side { at, key, thread: this_thread()?, statements: Box::new(|| 0) })?;
        let reply = Bytes::from(reply);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (tls, reply) = (tls.clone(), reply.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let answer = service_fn(move |request| answer(request, reply.clone()));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, reply: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(reply));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

fn on_a_thread<F>(serve: impl FnOnce(mpsc::Sender<Side>) -> F + Send + 'static) -> anyhow::Result<Side>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let (ready, side) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = || Ok(Builder::new_current_thread().enable_all().build()?);
        let served = stay_on(SERVERS_CORE).and_then(|()| runtime());
        if let Err(error) = served.and_then(|runtime| runtime.block_on(serve(ready))) {
            eprintln!("a server ended: {error:#}");
        }
    });
    side.recv().context("a server did not start")
}

/// Keeps this thread, and what it starts, on one core: who is moved about pays for it, and not on both sides alike.
fn stay_on(core: u32) -> anyhow::Result<()> {
    let mut taskset = Command::new("taskset");
    taskset.args(["-p", "-c", &core.to_string(), &this_thread()?.to_string()]).stdout(Stdio::null());
    let status = taskset.status().context("taskset cannot be started; install it: apt-get install util-linux")?;
    anyhow::ensure!(status.success(), "taskset refused; this bench needs two cores");
    Ok(())
}

fn this_thread() -> anyhow::Result<u32> {
    let link = std::fs::read_link("/proc/thread-self")?;
    Ok(link.file_name().and_then(|name| name.to_str()).context("no thread id")?.parse()?)
}

/// CPU time of a thread of this process, as the kernel counts it.
fn cpu_time(thread: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    Ok(Duration::from_nanos(text.split_whitespace().next().context("an empty schedstat")?.parse()?))
}
