//! A control plane in miniature: real TLS, real signed repositories, and any lie that a test asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use watchpost_clock::Clock;
use watchpost_core::sync::{Desired, Report, TargetRef, UpdateProgress};
use watchpost_package::cab;
use watchpost_package::{Director, ImageAuthor, SigningKey};
use watchpost_protocol::{EnrollReply, EnrollRequest, SyncReply, SyncRequest};

use super::host::{version, write_source};

/// What the control plane does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// Every check-in is answered with bytes that mean nothing.
    Garbage,
    /// Downloads break off after so many bytes, each time.
    Truncates(usize),
    /// The package has one wrong byte.
    WrongByte,
    /// Metadata files are empty objects.
    ForgedMetadata,
}

/// What the control plane knows and wants.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) desired: Desired,
    pub(super) fault: Fault,
    /// Nobody is cleared meanwhile.
    pub(super) withholds: bool,
    pub(super) reports: Vec<Report>,
    pub(super) downloads: u32,
    pub(super) enrolments: Vec<String>,
}

/// A control plane with its release author.
pub(super) struct Gateway {
    pub(super) address: String,
    pub(super) key_sha256: [u8; 32],
    pub(super) director_root: [u8; 32],
    pub(super) plan: Arc<Mutex<Plan>>,
    folder: PathBuf,
    author: ImageAuthor,
    director: Director,
    clock: Clock,
}

impl Gateway {
    pub(super) async fn open(folder: &Path, clock: &Clock) -> Self {
        let now = clock.now();
        let (keys, image) = (folder.join("keys"), folder.join("image"));
        ImageAuthor::make_keys(&keys).unwrap();
        let author = ImageAuthor::create(&keys, &image, now).unwrap();
        let roots: Vec<SigningKey> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        let online = SigningKey::generate().unwrap();
        let director = Director::create(&folder.join("director"), &roots, online, now).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["any.test".to_owned()]).unwrap();
        let spki = rustls::server::ParsedCertificate::try_from(made.cert.der()).unwrap().subject_public_key_info();
        let mut key_sha256 = [0; 32];
        key_sha256.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki).as_ref());
        let signer = any_supported_type(&PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into()).unwrap();
        let certified = SingleCertAndKey::from(CertifiedKey::new(vec![made.cert.der().clone()], signer));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let door = Door { plan: Arc::clone(&plan), folder: folder.to_owned(), clock: clock.clone() };
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, door) = (acceptor.clone(), door.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        door.serve(stream).await;
                    }
                });
            }
        });
        let director_root = *director.root_sha256().unwrap().bytes();
        let (folder, clock) = (folder.to_owned(), clock.clone());
        Self { address, key_sha256, director_root, plan, folder, author, director, clock }
    }

    pub(super) fn image_root(&self) -> PathBuf {
        self.folder.join("image/metadata/1.root.json")
    }

    /// Builds, signs and offers release `minor`, and wants it on the host.
    pub(super) fn publish(&mut self, minor: u32, program: &str) {
        let (source, name) = (self.folder.join(format!("source-{minor}")), format!("sensor-{minor}.cab"));
        let release = write_source(&source, minor, program);
        let package = self.folder.join(&name);
        cab::build(&source, &watchpost_package::Contents::Release(release), &package).unwrap();
        let now = self.clock.now();
        let target = self.author.sign(&package, now).unwrap();
        self.director.add_target(&target, &package, now).unwrap();
        let target = TargetRef { name: target.name, sha256: target.sha256.to_string(), length: target.length };
        let mut plan = self.plan.lock().unwrap();
        let generation = plan.desired.generation + 1;
        plan.desired =
            Desired { generation, version: Some(version(minor)), target: Some(target), ..Desired::default() };
    }
}

#[derive(Clone)]
struct Door {
    plan: Arc<Mutex<Plan>>,
    folder: PathBuf,
    clock: Clock,
}

impl Door {
    async fn serve(&self, mut stream: TlsStream<TcpStream>) {
        while let Some((head, body)) = read_request(&mut stream).await {
            let path = head.split_whitespace().nth(1).unwrap().to_owned();
            let (bytes, cut) = self.answer(&path, &head, &body);
            let whole = cut.is_none();
            let part = cut.map_or(bytes.as_slice(), |cut| &bytes[..cut.min(bytes.len())]);
            if stream.write_all(part).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            if !whole {
                return;
            }
        }
    }

    /// The bytes of the answer, and after how many the connection breaks.
    fn answer(&self, path: &str, head: &str, body: &[u8]) -> (Vec<u8>, Option<usize>) {
        let mut plan = self.plan.lock().unwrap();
        let now = self.clock.now();
        if path == "/v1/enroll" {
            let request = EnrollRequest::from_bytes(body).unwrap();
            if request.secret != [7; 32] {
                let refused = watchpost_protocol::ErrorReply::new(
                    watchpost_protocol::Code::AccessKeyUnknown,
                    "the access key is not known here",
                );
                return (reply(403, "application/x-protobuf", "", &refused.to_bytes()), None);
            }
            plan.enrolments.push(request.enrolment_id);
            let sensor_id = watchpost_core::id::SensorId::from_parts(now, 1);
            return (
                reply(
                    200,
                    "application/x-protobuf",
                    "",
                    &EnrollReply { sensor_id, server_time: now, come_back_after: Duration::from_secs(60) }.to_bytes(),
                ),
                None,
            );
        }
        if path == "/v1/sync" {
            if plan.fault == Fault::Garbage {
                return (reply(200, "application/x-protobuf", "", b"\xff\xff\xff garbage"), None);
            }
            plan.take(SyncRequest::from_bytes(body).unwrap().report);
            let come_back_after = Duration::from_secs(60);
            let desired = plan.desired.clone();
            let message = SyncReply {
                server_time: now,
                come_back_after,
                desired,
                standing: None,
                learn_server_keys: false,
                asked: None,
            }
            .to_bytes();
            return (reply(200, "application/x-protobuf", "", &message), None);
        }
        let (file, is_target) = match path.strip_prefix("/v1/targets/") {
            Some(name) => (self.folder.join("director/targets").join(name), true),
            None => (self.folder.join(path.trim_start_matches("/v1/")), false),
        };
        let Ok(mut bytes) = fs::read(file) else {
            let message = watchpost_protocol::ErrorReply::new(watchpost_protocol::Code::NotFound, "no such file");
            return (reply(404, "application/x-protobuf", "", &message.to_bytes()), None);
        };
        if !is_target {
            if plan.fault == Fault::ForgedMetadata {
                bytes = b"{}".to_vec();
            }
            return (reply(200, "application/json", "", &bytes), None);
        }
        plan.downloads += 1;
        if plan.fault == Fault::WrongByte {
            bytes[500] ^= 1;
        }
        let whole = bytes.len();
        let from = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
        let from: usize = from.unwrap_or(0);
        let range = format!("content-range: bytes {from}-{}/{whole}\r\n", whole - 1);
        let answer = reply(206, "application/octet-stream", &range, &bytes[from..]);
        let cut = match plan.fault {
            Fault::Truncates(after) => Some(answer.len() - (whole - from) + after),
            Fault::None | Fault::Garbage | Fault::WrongByte | Fault::ForgedMetadata => None,
        };
        (answer, cut)
    }
}

impl Plan {
    /// Clears what waits and has shown that it detects, as the planner does.
    fn take(&mut self, report: Report) {
        let waits = matches!(report.update, UpdateProgress::AwaitingClearance { version, .. } if Some(version) == self.desired.version);
        let detects = report.proof.as_ref().is_some_and(|proof| {
            Some(proof.version) == self.desired.version && proof.generation == self.desired.generation
        });
        if waits && detects && !self.withholds && !self.desired.cleared {
            self.desired.cleared = true;
            self.desired.generation += 1;
        }
        self.reports.push(report);
    }
}

fn reply(status: u16, kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{more}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((lower, body))
}
