//! The control plane's side: which certificates of one sensor are known, and for what.
//!
//! Never more than one is active or pending, and one always is active. What may still be needed is never removed: the
//! one before goes only after the active one was used again so long after its first use.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Pin, Role, Standing, expires_at, renewal_begins};
use crate::id::SensorId;
use crate::policy::CertificatePolicy;
use crate::time::Timestamp;

/// Certificates before the active one that are accepted at once. A sensor in order has one; each lost disk adds one.
pub const MAX_RETIRING: usize = 8;
/// Between two proposals that differ: a host makes another one only where it lost the one before, and one that was
/// taken over must not fill the audit log with them.
pub const PROPOSALS_EVERY: Duration = Duration::from_secs(60);

/// The certificates of one sensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pins {
    active: Pin,
    registered_at: Timestamp,
    first_used_at: Timestamp,
    /// The one that was proposed, and when.
    pending: Option<(Pin, Timestamp)>,
    /// Those before the active one, and when each was registered.
    retiring: BTreeMap<Pin, Timestamp>,
}

/// One certificate, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub pin: Pin,
    /// What for.
    pub role: Role,
    /// When the control plane heard of it first.
    pub registered_at: Timestamp,
    /// When the active one was used first; `None` of every other.
    pub first_used_at: Option<Timestamp>,
}

/// Rows that make no certificates of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sensor has {active} active and {pending} pending certificates, where it has one and at most one")]
pub struct PinsError {
    /// How many are active.
    pub active: usize,
    /// How many are pending.
    pub pending: usize,
}

/// What who presents a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Everything a sensor may.
    Full,
    /// Confirm it, and ask how it stands.
    ConfirmOnly,
    /// It expired too long ago: put another one in its place, and ask how it stands.
    RenewOnly,
}

/// Why a certificate is not taken as the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalRefused {
    /// The one that proposes it is not known.
    #[error("the certificate that proposes another one is not known")]
    Unknown,
    /// The one that proposes it was only proposed itself.
    #[error("a certificate that is not confirmed yet may not propose another one; confirm it first")]
    Unconfirmed,
    /// Another one was proposed a moment ago.
    #[error("another certificate was proposed a moment ago; wait a minute")]
    TooSoon,
    /// Too many wait for their end.
    #[error(
        "{MAX_RETIRING} certificates of this sensor wait for their end already, so its disk keeps losing the newest one; \
         mend the disk, or enrol the host anew"
    )]
    TooMany,
}

impl Pins {
    /// A sensor that has just enrolled over a connection that presented this certificate.
    #[must_use]
    pub fn enrolled(pin: Pin, now: Timestamp) -> Self {
        Self { active: pin, registered_at: now, first_used_at: now, pending: None, retiring: BTreeMap::new() }
    }

    /// The certificates of these rows.
    ///
    /// # Errors
    /// When there is not exactly one active and at most one pending among them.
    pub fn of_rows(rows: &[Held]) -> Result<Self, PinsError> {
        let of = |role| rows.iter().filter(move |row| row.role == role);
        let (active, pending) = (of(Role::Active).count(), of(Role::Pending).count());
        match (of(Role::Active).next(), active, pending) {
            (Some(row), 1, 0 | 1) => Ok(Self {
                active: row.pin,
                registered_at: row.registered_at,
                first_used_at: row.first_used_at.unwrap_or(row.registered_at),
                pending: of(Role::Pending).next().map(|row| (row.pin, row.registered_at)),
                retiring: of(Role::Retiring).map(|row| (row.pin, row.registered_at)).collect(),
            }),
            (Some(_) | None, _, _) => Err(PinsError { active, pending }),
        }
    }

    /// The rows to keep.
    #[must_use]
    pub fn rows(&self) -> Vec<Held> {
        let row = |pin, role, registered_at| Held { pin, role, registered_at, first_used_at: None };
        let active =
            Held { first_used_at: Some(self.first_used_at), ..row(self.active, Role::Active, self.registered_at) };
        let pending = self.pending.map(|(pin, at)| row(pin, Role::Pending, at));
        let retiring = self.retiring.iter().map(|(pin, at)| row(*pin, Role::Retiring, *at));
        std::iter::once(active).chain(pending).chain(retiring).collect()
    }

    /// The certificate in use.
    #[must_use]
    pub fn active(&self) -> Pin {
        self.active
    }

    /// When the control plane heard of it first.
    #[must_use]
    pub fn registered_at(&self) -> Timestamp {
        self.registered_at
    }

    /// When it was first used.
    #[must_use]
    pub fn first_used_at(&self) -> Timestamp {
        self.first_used_at
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self, policy: &CertificatePolicy) -> Timestamp {
        expires_at(self.registered_at, policy)
    }

    /// Whether the active one is the only one.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.pending.is_none() && self.retiring.is_empty()
    }

    /// What a certificate is taken for; `None`: it is not known.
    #[must_use]
    pub fn role(&self, pin: Pin) -> Option<Role> {
        if pin == self.active {
            Some(Role::Active)
        } else if self.pending.is_some_and(|(known, _)| known == pin) {
            Some(Role::Pending)
        } else {
            self.retiring.contains_key(&pin).then_some(Role::Retiring)
        }
    }

    /// What who presents this certificate may do; `None`: nothing, it is not known. One that expired is accepted for a
    /// while, and after that still for putting another one in its place: nobody is locked out by a clock.
    #[must_use]
    pub fn admit(&self, pin: Pin, now: Timestamp, policy: &CertificatePolicy) -> Option<Admission> {
        let registered_at = match self.role(pin)? {
            Role::Pending => return Some(Admission::ConfirmOnly),
            Role::Active => self.registered_at,
            Role::Retiring => self.retiring.get(&pin).copied()?,
        };
        let is_over = now >= expires_at(registered_at, policy) + policy.expired_accepted;
        Some(if is_over { Admission::RenewOnly } else { Admission::Full })
    }

    /// Whether the active one should be replaced: its end is near, or somebody ordered it since it was first used.
    #[must_use]
    pub fn should_renew(
        &self,
        sensor: SensorId,
        ordered_at: Option<Timestamp>,
        now: Timestamp,
        policy: &CertificatePolicy,
    ) -> bool {
        let is_ordered = ordered_at.is_some_and(|at| at > self.first_used_at);
        // The first is cheap, and false for almost all of its life.
        let is_near = now >= self.expires_at(policy) - policy.renewal_before;
        is_ordered || (is_near && now >= renewal_begins(sensor, self.registered_at, policy))
    }

    /// What the host is told.
    #[must_use]
    pub fn standing(&self, renew: bool) -> Standing {
        Standing { pins: self.rows().iter().map(|row| (row.pin, row.role)).collect(), renew }
    }

    /// The host, let in by `by`, proposes `pin` as its next certificate; tells whether anything changed. It takes the
    /// place of one that was proposed before. One that is known already stays what it is, so a repetition is harmless.
    ///
    /// # Errors
    /// When `by` may not propose.
    pub fn propose(&mut self, by: Pin, pin: Pin, now: Timestamp) -> Result<bool, ProposalRefused> {
        match self.role(by) {
            None => Err(ProposalRefused::Unknown),
            Some(Role::Pending) => Err(ProposalRefused::Unconfirmed),
            Some(Role::Active | Role::Retiring) if self.role(pin).is_some() => Ok(false),
            Some(Role::Active | Role::Retiring) if self.retiring.len() >= MAX_RETIRING => Err(ProposalRefused::TooMany),
            Some(Role::Active | Role::Retiring)
                if self.pending.is_some_and(|(_, at)| at <= now && now < at + PROPOSALS_EVERY) =>
            {
                Err(ProposalRefused::TooSoon)
            }
            Some(Role::Active | Role::Retiring) => {
                self.pending = Some((pin, now));
                Ok(true)
            }
        }
    }

    /// The host has opened a connection with `by`, and so has shown that it holds the key; tells whether anything
    /// changed. The one that was active is still accepted.
    pub fn confirm(&mut self, by: Pin, now: Timestamp) -> bool {
        let Some((pin, registered_at)) = self.pending.filter(|(pin, _)| *pin == by) else { return false };
        self.retiring.insert(self.active, self.registered_at);
        (self.active, self.registered_at, self.first_used_at) = (pin, registered_at, now);
        self.pending = None;
        true
    }

    /// Whether the certificates before the active one can go, which is in use at this instant: that long after its
    /// first use the host is sure to keep it, and every backup of the control plane knows it. No timer removes one.
    #[must_use]
    pub fn may_remove_previous(&self, by: Pin, now: Timestamp, policy: &CertificatePolicy) -> bool {
        by == self.active && !self.retiring.is_empty() && now >= self.first_used_at + policy.previous_kept
    }

    /// Removes the certificates before the active one.
    pub fn remove_previous(&mut self) {
        self.retiring.clear();
    }
}
