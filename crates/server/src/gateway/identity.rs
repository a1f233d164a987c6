//! The doors of a rotation: how the certificates stand, a proposal, a confirmation. Open to every certificate that is
//! known, however it stands; that is how it gets to stand better.

use bytes::Bytes;
use http::{Method, Response};
use watchpost_core::id::SensorId;
use watchpost_core::identity::{Admission, PROPOSALS_EVERY, ProposalRefused, Standing};
use watchpost_protocol::{Code, ConfirmRequest, ProposeRequest, StandingReply, paths};

use super::Gateway;
use super::files::missing;
use super::reply::{Body, Refusal, message};
use super::routes::{unknown_sensor, wrong_method};
use super::tls::Pin;
use crate::app::evidence::COME_BACK_AFTER;
use crate::app::identity::RotationRefused;

/// Whether an address is one of these doors.
pub(super) fn is_here(path: &str) -> bool {
    path.starts_with(paths::IDENTITY)
}

/// Refuses what a certificate is not good for.
pub(super) fn fully(admission: Admission) -> Result<(), Refusal> {
    match admission {
        Admission::Full => Ok(()),
        Admission::ConfirmOnly => {
            let message = "this certificate was proposed and is not confirmed yet; confirm it first";
            Err(Refusal::new(Code::CertificateUnconfirmed, message))
        }
        Admission::RenewOnly => {
            let message = "this certificate expired too long ago; it is good for its own renewal alone";
            Err(Refusal::new(Code::CertificateExpired, message))
        }
    }
}

impl Gateway {
    /// Answers at one of these doors.
    pub(super) async fn identity(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
        sensor: SensorId,
        pin: Pin,
    ) -> Result<Response<Body>, Refusal> {
        let now = self.clock.now();
        let wanted = if path == paths::IDENTITY { Method::GET } else { Method::POST };
        let standing = match path {
            paths::IDENTITY | paths::PROPOSE | paths::CONFIRM if *method != wanted => return Err(wrong_method()),
            paths::IDENTITY => {
                if self.app.may_remove_previous(sensor, &pin, now) {
                    self.app.remove_previous(sensor, pin, now).await;
                }
                self.app.standing(sensor, now).ok_or(RotationRefused::Unknown)
            }
            paths::PROPOSE => {
                let proposed = ProposeRequest::from_bytes(body)?.pin;
                self.app.propose_certificate(sensor, pin, proposed, now).await
            }
            paths::CONFIRM => {
                ConfirmRequest::from_bytes(body)?;
                self.app.confirm_certificate(sensor, pin, now).await
            }
            _ => return Err(missing()),
        };
        told(standing)
    }
}

fn told(standing: Result<Standing, RotationRefused>) -> Result<Response<Body>, Refusal> {
    let standing = standing.map_err(|refused| {
        let code = match &refused {
            RotationRefused::Unknown | RotationRefused::Proposal(ProposalRefused::Unknown) => return unknown_sensor(),
            RotationRefused::Proposal(ProposalRefused::Unconfirmed) => Code::CertificateUnconfirmed,
            RotationRefused::Proposal(ProposalRefused::TooSoon) => {
                return Refusal {
                    retry_after: Some(PROPOSALS_EVERY),
                    ..Refusal::new(Code::TooManyRequests, refused.to_string())
                };
            }
            RotationRefused::Proposal(ProposalRefused::TooMany) => Code::TooManyCertificates,
            RotationRefused::InUse => Code::CertificateInUse,
            RotationRefused::Unavailable => {
                return Refusal {
                    retry_after: Some(COME_BACK_AFTER),
                    ..Refusal::new(Code::Unavailable, refused.to_string())
                };
            }
        };
        Refusal::new(code, refused.to_string())
    })?;
    Ok(message(StandingReply(standing).to_bytes()))
}
