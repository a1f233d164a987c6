//! Does what `core::identity` decides: another certificate takes the place of the one that nears its end.
//!
//! Everything is on the disk before anything rests on it, and nothing is removed that the control plane may still want.
//! A rotation that is cut off goes on at the next check-in from what the disk and the control plane say.

use std::collections::BTreeMap;

use watchpost_clock::Clock;
use watchpost_core::identity::{Machine, Pin, Slots, Standing, Step};
use watchpost_protocol::Code;

use super::error::in_one_line;
use crate::identity::{Held, Identity, IdentityError, Keyring};
use crate::transport::{Client, TransportError};

/// Steps that are taken at one check-in: a whole rotation has nine.
const STEPS: usize = 16;

/// What the control plane said at a check-in.
#[derive(Debug)]
pub(super) enum Occasion {
    /// It let the host in.
    Told(Option<Standing>),
    /// It did not, for the certificate's sake.
    Refused(Code),
}

impl Occasion {
    /// What an error at a check-in means for certificates; `None`: nothing.
    pub(super) fn of(error: &TransportError) -> Option<Self> {
        error.code().filter(|code| is_about_certificates(*code)).map(Self::Refused)
    }
}

fn is_about_certificates(code: Code) -> bool {
    match code {
        Code::SensorUnknown | Code::CertificateUnconfirmed | Code::CertificateExpired => true,
        Code::AccessKeyUnknown
        | Code::EnrolmentReplayed
        | Code::PossibleClone
        | Code::EnrolmentQuarantined
        | Code::EnrolmentBlocked
        | Code::CertificateInUse
        | Code::EnrolmentInvalid
        | Code::TooManyCertificates
        | Code::Malformed
        | Code::TooLarge
        | Code::TooSlow
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::RangeNotSatisfiable
        | Code::ProtocolUnsupported
        | Code::TooManyRequests
        | Code::Unavailable
        | Code::Internal => false,
    }
}

/// Why a step could not be taken. What was there before holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum RotationError {
    /// The disk.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The control plane.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Looking after certificates ended early.
    #[error("looking after the certificates ended early")]
    Ended(#[from] tokio::task::JoinError),
}

/// The certificates of this host, and the client that presents one of them.
pub(super) struct Rotation {
    keyring: Keyring,
    identities: BTreeMap<Pin, Identity>,
    machine: Machine,
    client: Client,
    /// What `client` presents.
    presented: Pin,
    clock: Clock,
}

impl Rotation {
    /// Opens what the disk holds, and has `client` and its clones present the current certificate.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub(super) fn open(keyring: Keyring, client: Client, clock: Clock) -> Result<Self, RotationError> {
        let held = keyring.open()?.ok_or(IdentityError::NotEnrolled)?;
        client.present(held.cur()?)?;
        keyring.sweep();
        let Held { slots, identities } = held;
        Ok(Self { keyring, identities, machine: Machine::open(slots), client, presented: slots.cur, clock })
    }

    /// Whether something is to be done after a check-in to which the control plane said this of certificates.
    pub(super) fn is_due(&mut self, said: Option<&Standing>) -> bool {
        let ordered = self.keyring.ordered();
        if ordered.is_some_and(|pin| pin != self.machine.slots().cur) {
            self.keyring.forget_order();
        }
        self.machine.order(ordered);
        said.is_some() || self.machine.is_under_way()
    }

    /// Goes as far as it can without waiting. Tells whether the host is let in.
    pub(super) async fn run(mut self, occasion: Occasion) -> (Self, bool) {
        // No other one was presented since: that changes in here alone.
        let by = self.presented;
        let mut step = match occasion {
            Occasion::Told(Some(standing)) => self.machine.told(by, &standing),
            Occasion::Told(None) => Step::Ask { by },
            Occasion::Refused(Code::SensorUnknown) => self.machine.refused(by),
            Occasion::Refused(_) => Step::Ask { by },
        };
        let mut is_let_in = true;
        for _ in 0..STEPS {
            is_let_in = step != Step::LockedOut;
            if matches!(step, Step::Rest | Step::LockedOut) {
                break;
            }
            step = match self.take(step).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!("the certificate is not replaced yet: {}", in_one_line(&error));
                    self.machine.unheard();
                    is_let_in = false;
                    break;
                }
            };
        }
        if step == Step::LockedOut {
            tracing::error!("the control plane knows none of this host's certificates; they are all tried again");
        }
        (self, is_let_in)
    }

    async fn take(&mut self, step: Step) -> Result<Step, RotationError> {
        let by = match step {
            Step::Ask { by } => by,
            Step::Propose { over, .. } => over,
            Step::Confirm { with } => with,
            Step::Make => {
                let identity = self.keyring.make(self.clock.now())?;
                let pin = identity.named();
                tracing::info!(certificate = %pin, "another certificate was made");
                self.identities.insert(pin, identity);
                return self.keep(self.machine.with_made(pin));
            }
            Step::Keep(slots) => return self.keep(slots),
            Step::Rest | Step::LockedOut => return Ok(Step::Rest),
        };
        let client = self.client_for(by, step)?;
        let answer = match step {
            Step::Propose { pin, .. } => client.propose(pin).await,
            Step::Confirm { .. } => client.confirm().await,
            Step::Ask { .. } | Step::Make | Step::Keep(_) | Step::Rest | Step::LockedOut => client.standing().await,
        };
        match answer {
            Ok(standing) => {
                let next = self.machine.told(by, &standing);
                self.present()?;
                Ok(next)
            }
            Err(error) if error.code() == Some(Code::SensorUnknown) => Ok(self.machine.refused(by)),
            Err(error) => Err(error.into()),
        }
    }

    /// The usual client if it presents `by`; a confirmation has a connection of its own, which shows that the host
    /// holds the key.
    fn client_for(&self, by: Pin, step: Step) -> Result<Client, RotationError> {
        let is_usual = by == self.presented && !matches!(step, Step::Confirm { .. });
        let identity = self.identities.get(&by).ok_or(IdentityError::NotEnrolled)?;
        Ok(if is_usual { self.client.clone() } else { self.client.presenting(identity)? })
    }

    /// Makes the slots durable; only then are they true.
    fn keep(&mut self, slots: Slots) -> Result<Step, RotationError> {
        let before = self.machine.slots();
        self.keyring.keep(slots)?;
        let step = self.machine.kept(slots);
        self.present()?;
        if slots.cur != before.cur {
            tracing::info!(certificate = %slots.cur, "another certificate is the current one");
        }
        self.keyring.sweep();
        self.identities.retain(|pin, _| slots.all().any(|kept| kept == *pin));
        Ok(step)
    }

    /// Has the usual client present what the machine says.
    fn present(&mut self) -> Result<(), RotationError> {
        let wanted = self.machine.presents();
        if wanted != self.presented {
            self.client.present(self.identities.get(&wanted).ok_or(IdentityError::NotEnrolled)?)?;
            self.presented = wanted;
        }
        Ok(())
    }
}
