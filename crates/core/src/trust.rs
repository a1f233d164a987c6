//! The trust clock: everything in the chain of trust that ends one day, how much of its time is left, and whose turn it is.
//!
//! It decides about no update: a host judges expiry by itself, and what has expired never stops a sensor.

use std::time::Duration;

use crate::policy::OwnHealthPolicy;
use crate::time::Timestamp;

/// One of the two repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repository {
    /// The release author's.
    Image,
    /// This control plane's.
    Director,
}

impl Repository {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Director => "director",
        }
    }
}

/// A role of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Says whose keys the others are.
    Root,
    /// Names packages.
    Targets,
    /// Says which targets belong together.
    Snapshot,
    /// Says that this is the newest.
    Timestamp,
}

impl Role {
    /// Its word, as in its file's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The certificate that hosts see.
    GatewayCertificate,
    /// The certificate that browsers see.
    PortalCertificate,
    /// The certificate of a host that ends before those of the others. It stops that host and nothing else, which has an
    /// issue of its own on the sensor.
    FirstHostCertificate,
    /// A signed document.
    Document(Repository, Role),
}

/// Who makes it last longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renewer {
    /// The release author, who has the keys.
    Author,
    /// Whoever runs this control plane.
    Operator,
    /// The control plane itself, every day.
    Itself,
    /// The host whose it is.
    Host,
}

impl Renewer {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Author => "releaseAuthor",
            Self::Operator => "operator",
            Self::Itself => "controlPlane",
            Self::Host => "host",
        }
    }
}

impl Subject {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::GatewayCertificate => "gateway certificate".to_owned(),
            Self::PortalCertificate => "portal certificate".to_owned(),
            Self::FirstHostCertificate => "host certificates, the first of all".to_owned(),
            Self::Document(repository, role) => format!("{} repository, {}", repository.word(), role.word()),
        }
    }

    /// Who makes it last longer.
    #[must_use]
    pub fn renewer(self) -> Renewer {
        match self {
            Self::Document(Repository::Image, _) => Renewer::Author,
            Self::Document(Repository::Director, Role::Targets | Role::Snapshot | Role::Timestamp) => Renewer::Itself,
            Self::Document(Repository::Director, Role::Root) => Renewer::Operator,
            Self::GatewayCertificate | Self::PortalCertificate => Renewer::Operator,
            Self::FirstHostCertificate => Renewer::Host,
        }
    }

    /// How it is made to last longer: a command, or what to do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Document(Repository::Image, Role::Root) => "watchpost release rotate-root",
            Self::Document(Repository::Image, Role::Targets | Role::Snapshot | Role::Timestamp) => {
                "watchpost release resign"
            }
            Self::Document(Repository::Director, Role::Root) => "watchpost trust rotate-director-root",
            Self::Document(Repository::Director, Role::Targets | Role::Snapshot | Role::Timestamp) => {
                "by itself, while the server runs and its disk takes a write"
            }
            Self::GatewayCertificate => "none: hosts judge the key and never the date",
            Self::FirstHostCertificate => "by the host, when it checks in; all at once: watchpost certificates rotate",
            Self::PortalCertificate => "put a new certificate in its place and start the server again",
        }
    }

    /// Whether it is signed anew every day, so that little time is left of it at any time.
    fn is_short_lived(self) -> bool {
        match self {
            Self::Document(Repository::Director, Role::Snapshot | Role::Timestamp) => true,
            Self::Document(Repository::Director, Role::Root | Role::Targets)
            | Self::Document(Repository::Image, _)
            | Self::GatewayCertificate
            | Self::FirstHostCertificate
            | Self::PortalCertificate => false,
        }
    }
}

/// Who has signed a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The document's version.
    pub version: u64,
    /// How many keys may sign it.
    pub keys: usize,
    /// How many of them must.
    pub threshold: usize,
}

/// One thing with an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// What it is.
    pub subject: Subject,
    /// When it ends.
    pub at: Timestamp,
    /// Who has signed it, of a document.
    pub signers: Option<Signers>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing to do.
    Fine,
    /// It can be renewed at leisure.
    Due,
    /// It must be renewed: an issue is open.
    Urgent,
    /// It has ended.
    Expired,
}

impl State {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Due => "due",
            Self::Urgent => "urgent",
            Self::Expired => "expired",
        }
    }
}

/// One line of the trust clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is about.
    pub dated: Dated,
    /// Whole days left; negative once it has ended.
    pub days_left: i64,
    /// How it stands.
    pub state: State,
}

const DAY_MILLIS: i64 = 86_400_000;

/// The trust clock at `now`: what ends first stands first.
#[must_use]
pub fn read(dated: &[Dated], policy: &OwnHealthPolicy, now: Timestamp) -> Vec<Reading> {
    let mut readings: Vec<Reading> = dated
        .iter()
        .map(|dated| Reading {
            days_left: dated.at.millis().saturating_sub(now.millis()).div_euclid(DAY_MILLIS),
            state: state(dated, policy, now),
            dated: dated.clone(),
        })
        .collect();
    readings.sort_by_key(|reading| (reading.dated.at, reading.dated.subject));
    readings
}

/// How it stands at `now`.
#[must_use]
pub fn state(dated: &Dated, policy: &OwnHealthPolicy, now: Timestamp) -> State {
    let left = dated.at.since(now);
    if dated.at <= now {
        State::Expired
    } else if left < urgent_before(dated.subject, policy) {
        State::Urgent
    } else if left < due_before(dated.subject, policy) {
        State::Due
    } else {
        State::Fine
    }
}

fn urgent_before(subject: Subject, policy: &OwnHealthPolicy) -> Duration {
    match subject {
        Subject::GatewayCertificate | Subject::PortalCertificate | Subject::FirstHostCertificate => {
            policy.certificate_before
        }
        Subject::Document(..) if subject.is_short_lived() => policy.signed_daily_before,
        Subject::Document(..) => policy.signed_by_hand_before,
    }
}

fn due_before(subject: Subject, policy: &OwnHealthPolicy) -> Duration {
    if subject.is_short_lived() { policy.signed_daily_due_before } else { policy.trust_due_before }
}

/// What ends first.
#[must_use]
pub fn earliest(dated: &[Dated]) -> Option<&Dated> {
    dated.iter().min_by_key(|dated| (dated.at, dated.subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const SECOND: Duration = Duration::from_secs(1);

    fn dated(subject: Subject, at: Timestamp) -> Dated {
        Dated { subject, at, signers: None }
    }

    #[test]
    fn each_state_begins_at_its_threshold() {
        let policy = OwnHealthPolicy::default();
        let by_hand = Subject::Document(Repository::Image, Role::Timestamp);
        let daily = Subject::Document(Repository::Director, Role::Timestamp);
        for (subject, due, urgent) in [
            (by_hand, 90, 21),
            (Subject::Document(Repository::Director, Role::Root), 90, 21),
            (Subject::Document(Repository::Director, Role::Targets), 90, 21),
            (Subject::PortalCertificate, 90, 21),
            (Subject::GatewayCertificate, 90, 21),
            (Subject::FirstHostCertificate, 90, 21),
            (daily, 5, 3),
        ] {
            let at = |left: Duration| state(&dated(subject, NOW + left), &policy, NOW);
            assert_eq!(at(DAY * due), State::Fine, "{subject:?}");
            assert_eq!(at(DAY * due - SECOND), State::Due, "{subject:?}");
            assert_eq!(at(DAY * urgent), State::Due, "{subject:?}");
            assert_eq!(at(DAY * urgent - SECOND), State::Urgent, "{subject:?}");
            assert_eq!(at(SECOND), State::Urgent, "{subject:?}");
            assert_eq!(at(Duration::ZERO), State::Expired, "{subject:?}");
        }
    }

    #[test]
    fn whole_days_are_counted_down_and_what_ends_first_stands_first() {
        let root = dated(Subject::Document(Repository::Image, Role::Root), NOW + DAY * 9 + SECOND);
        let gone = dated(Subject::PortalCertificate, NOW - SECOND);
        let last = dated(Subject::GatewayCertificate, NOW + DAY * 9 + DAY - SECOND);
        let all = [last.clone(), root.clone(), gone.clone()];
        let read = read(&all, &OwnHealthPolicy::default(), NOW);
        let days: Vec<_> = read.iter().map(|reading| (reading.dated.clone(), reading.days_left)).collect();
        assert_eq!(days, [(gone.clone(), -1), (root, 9), (last, 9)]);
        assert_eq!(earliest(&all), Some(&gone));
        assert_eq!(earliest(&[]), None);
    }

    #[test]
    fn everything_has_somebody_whose_turn_it_is() {
        let documents = [Repository::Image, Repository::Director].into_iter().flat_map(|repository| {
            [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp].map(|role| Subject::Document(repository, role))
        });
        for subject in documents.chain([Subject::GatewayCertificate, Subject::PortalCertificate]) {
            assert_eq!(subject.renewer() == Renewer::Itself, subject.remedy().starts_with("by itself"), "{subject:?}");
        }
    }
}
