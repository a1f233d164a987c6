//! Which address does what, and for whom.

use std::net::IpAddr;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use watchpost_core::clones::ASK_AGAIN_AFTER;
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;
use watchpost_protocol::limits::REQUEST_BYTES;
use watchpost_protocol::{
    Code, EnrollReply, EnrollRequest, EvidenceReply, EvidenceRequest, PingReply, SyncReply, SyncRequest, paths,
};

use super::reply::{Body, Refusal, message};
use super::tls::Pin;
use super::{Gateway, files, identity};
use crate::app::enrollment::{EnrollRefused, EnrollRequest as Facts};
use crate::app::evidence::{COME_BACK_AFTER, EvidenceRefused};
use crate::app::sensors::{CheckInRefused, CheckInReply, Heard};
use crate::auth::rate::network;

/// Bytes of a body beyond the limit that are still taken and thrown away, so that the refusal arrives and the
/// connection can go on. Whoever sends more is cut off.
const DISCARD_BYTES: usize = 1024 * 1024;

impl Gateway {
    /// Answers one request of the client with this pin.
    pub(super) async fn answer(&self, request: Request<Incoming>, pin: Pin, peer: IpAddr) -> Response<Body> {
        self.route(request, pin, peer).await.unwrap_or_else(|refusal| {
            tracing::debug!(%peer, code = %refusal.code, "a request was refused");
            refusal.into()
        })
    }

    /// What is rare is boxed: each request would move the room of the largest answer about.
    async fn route(&self, request: Request<Incoming>, pin: Pin, peer: IpAddr) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let body = self.read(body).await?;
        let path = head.uri.path();
        let is_post = head.method == Method::POST;
        if path == paths::ENROLL {
            return if is_post { Box::pin(self.enroll(&body, pin, peer)).await } else { Err(wrong_method()) };
        }
        if path == paths::PING {
            if head.method != Method::GET {
                return Err(wrong_method());
            }
            let is_enrolled = self.app.sensor_by_pin(&pin).is_some();
            return Ok(message(PingReply { server_time: self.clock.now(), is_enrolled }.to_bytes()));
        }
        // Looked up for each request, never remembered: a revoked sensor ends here on a live connection.
        let now = self.clock.now();
        let (sensor, admission) = self.app.admit(&pin, now).ok_or_else(unknown_sensor)?;
        if identity::is_here(path) {
            return Box::pin(self.identity(&head.method, path, &body, sensor, pin)).await;
        }
        identity::fully(admission)?;
        if path == paths::SYNC {
            if !is_post {
                return Err(wrong_method());
            }
            if self.app.may_remove_previous(sensor, &pin, now) {
                Box::pin(self.app.remove_previous(sensor, pin, now)).await;
            }
            return match self.hear(sensor, &body, now)? {
                Heard::Over(taken) => self.synced(sensor, taken),
                Heard::Changed(changed) => self.synced(sensor, Box::pin(self.app.keep(changed)).await),
            };
        }
        if path == paths::EVIDENCE {
            return if is_post { Box::pin(self.evidence(sensor, &body)).await } else { Err(wrong_method()) };
        }
        let file = self.file(path).ok_or_else(files::missing)?;
        if head.method != Method::GET {
            return Err(wrong_method());
        }
        Box::pin(files::serve(file, &head.headers)).await
    }

    /// The file of an address, if its name is one that is ever served.
    fn file(&self, path: &str) -> Option<std::path::PathBuf> {
        let inside = |folder: &str, file: &str| self.repositories.join(folder).join(file);
        if let Some(file) = path.strip_prefix(paths::IMAGE_METADATA) {
            return paths::is_metadata_name(file).then(|| inside("image/metadata", file));
        }
        if let Some(file) = path.strip_prefix(paths::DIRECTOR_METADATA) {
            return paths::is_metadata_name(file).then(|| inside("director/metadata", file));
        }
        let file = path.strip_prefix(paths::TARGETS)?;
        paths::split_target(file).map(|_| inside("director/targets", file))
    }

    /// Reads a body within its limits of size and time.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let too_large = |ends_connection| {
            let message = format!("a request may have {REQUEST_BYTES} bytes");
            Refusal { ends_connection, ..Refusal::new(Code::TooLarge, message) }
        };
        if body.size_hint().lower() > DISCARD_BYTES as u64 {
            return Err(too_large(true));
        }
        let read = async {
            let (mut bytes, mut discarded) = (Vec::new(), 0);
            while let Some(frame) = body.frame().await {
                let broken = |_| Refusal {
                    ends_connection: true,
                    ..Refusal::new(Code::Malformed, "the body of the request ended before its end")
                };
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                if discarded == 0 && bytes.len() + data.len() <= REQUEST_BYTES {
                    bytes.extend_from_slice(&data);
                } else {
                    discarded += data.len();
                }
                if discarded > DISCARD_BYTES {
                    return Err(too_large(true));
                }
            }
            if discarded == 0 { Ok(bytes.into()) } else { Err(too_large(false)) }
        };
        tokio::time::timeout(self.limits.body, read).await.unwrap_or_else(|_| {
            let message = "the body of the request did not arrive in time";
            Err(Refusal { ends_connection: true, ..Refusal::new(Code::TooSlow, message) })
        })
    }

    /// A check-in as far as memory alone can answer it: no part of it outlives this call, so that a connection carries
    /// no room for it.
    fn hear(&self, sensor: SensorId, body: &[u8], now: Timestamp) -> Result<Heard, Refusal> {
        let request = SyncRequest::from_bytes(body)?;
        Ok(self.app.hear(sensor, request.report, request.measurements, now))
    }

    fn synced(&self, sensor: SensorId, taken: Result<CheckInReply, CheckInRefused>) -> Result<Response<Body>, Refusal> {
        let reply = taken.map_err(|refused| match refused {
            CheckInRefused::Unknown => unknown_sensor(),
            CheckInRefused::Unavailable => Refusal::new(Code::Unavailable, refused.to_string()),
        })?;
        let reply = SyncReply {
            server_time: reply.server_time,
            come_back_after: reply.come_back_after,
            desired: reply.desired,
            standing: self.app.standing_at_check_in(sensor, reply.server_time),
            learn_server_keys: self.app.should_learn_server_keys(sensor),
            asked: self.app.answer_to_ask(sensor, reply.server_time),
        };
        Ok(message(reply.to_bytes()))
    }

    async fn evidence(&self, sensor: SensorId, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let batch = EvidenceRequest::from_bytes(body)?.batch;
        let stream = batch.stream.clone();
        let taken = self.app.take_evidence(sensor, batch, self.clock.now()).await;
        let taken_through = taken.map_err(|refused| match refused {
            EvidenceRefused::Malformed(why) => Refusal::new(Code::Malformed, why.to_string()),
            EvidenceRefused::TooMany(wait) => {
                Refusal { retry_after: Some(wait), ..Refusal::new(Code::TooManyRequests, refused.to_string()) }
            }
            EvidenceRefused::Unavailable => {
                Refusal { retry_after: Some(COME_BACK_AFTER), ..Refusal::new(Code::Unavailable, refused.to_string()) }
            }
        })?;
        Ok(message(EvidenceReply { stream, taken_through }.to_bytes()))
    }

    async fn enroll(&self, body: &[u8], pin: Pin, peer: IpAddr) -> Result<Response<Body>, Refusal> {
        let (asked, network) = (self.clock.instant(), network(peer));
        let wait = self.attempts.lock().unwrap_or_else(PoisonError::into_inner).must_wait(&network, asked);
        if let Some(wait) = wait {
            let message = "too many unknown access keys came from this address; wait and try again";
            return Err(Refusal { retry_after: Some(wait), ..Refusal::new(Code::TooManyRequests, message) });
        }
        let request = EnrollRequest::from_bytes(body)?;
        let facts = Facts { from: peer.to_string(), ..facts(request) };
        match self.app.enroll(facts, pin, self.clock.now()).await {
            Ok(enrolled) => {
                let reply = EnrollReply {
                    sensor_id: enrolled.sensor,
                    server_time: enrolled.server_time,
                    come_back_after: enrolled.come_back_after,
                };
                Ok(message(reply.to_bytes()))
            }
            Err(refused) => {
                let code = match &refused {
                    EnrollRefused::UnknownAccessKey => {
                        tracing::warn!(%peer, "a host tried to enrol with an unknown access key");
                        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).failed(network, asked);
                        Code::AccessKeyUnknown
                    }
                    EnrollRefused::Replayed => Code::EnrolmentReplayed,
                    EnrollRefused::PinInUse => Code::CertificateInUse,
                    EnrollRefused::PossibleClone => Code::PossibleClone,
                    EnrollRefused::Blocked => Code::EnrolmentBlocked,
                    EnrollRefused::Quarantined => {
                        let refusal = Refusal::new(Code::EnrolmentQuarantined, refused.to_string());
                        return Err(Refusal { retry_after: Some(ASK_AGAIN_AFTER), ..refusal });
                    }
                    EnrollRefused::Invalid { .. } => Code::EnrolmentInvalid,
                    EnrollRefused::Unavailable => Code::Unavailable,
                };
                Err(Refusal::new(code, refused.to_string()))
            }
        }
    }
}

/// What the use case wants to know of a host.
fn facts(request: EnrollRequest) -> Facts {
    Facts {
        secret: URL_SAFE_NO_PAD.encode(request.secret),
        enrolment_id: request.enrolment_id,
        host_id: request.host_id,
        from: String::new(),
        name: request.name,
        sensor_type: request.sensor_type,
        domain: request.domain.unwrap_or_default(),
        site: request.site.unwrap_or_default(),
        zone: request.zone.unwrap_or_default(),
        delayed: request.delayed,
        domain_controller_dns_names: request.domain_controllers,
        operating_system: request.operating_system,
    }
}

pub(super) fn unknown_sensor() -> Refusal {
    let message = "this certificate belongs to no enrolled sensor; enrol the host with the current access key";
    Refusal::new(Code::SensorUnknown, message)
}

pub(super) fn wrong_method() -> Refusal {
    Refusal::new(Code::MethodNotAllowed, "this address is not asked that way")
}
