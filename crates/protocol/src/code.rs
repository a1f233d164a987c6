//! The stable words by which a refusal is told.

use std::fmt;

/// Why the gateway refused. The word is stable; the message beside it is for people and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No such access key, or one that was regenerated.
    AccessKeyUnknown,
    /// This enrolment was used before, by another certificate.
    EnrolmentReplayed,
    /// The same host is enrolled with another certificate, and so many others say to be it that this one is not noted.
    PossibleClone,
    /// The same host is enrolled with another certificate: this one waits until somebody has decided what it is.
    EnrolmentQuarantined,
    /// Somebody has decided that this certificate is never let in.
    EnrolmentBlocked,
    /// The certificate belongs to another sensor already.
    CertificateInUse,
    /// A fact of the enrolment is not one that may be.
    EnrolmentInvalid,
    /// The client certificate belongs to no enrolled sensor, or no longer does.
    SensorUnknown,
    /// The client certificate was proposed and must be confirmed before anything else.
    CertificateUnconfirmed,
    /// The client certificate expired too long ago for anything but its own renewal.
    CertificateExpired,
    /// Too many certificates of this sensor wait for their end.
    TooManyCertificates,
    /// The message could not be read, or broke a limit.
    Malformed,
    /// The body was larger than is read.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// There is no such file or address.
    NotFound,
    /// The address exists; the method is wrong.
    MethodNotAllowed,
    /// The range that was asked for lies outside the file.
    RangeNotSatisfiable,
    /// The protocol version is not one this server speaks.
    ProtocolUnsupported,
    /// Too many attempts; come back later.
    TooManyRequests,
    /// The server is starting, stopping or full; come back later.
    Unavailable,
    /// The server failed; its log says more.
    Internal,
}

impl Code {
    /// Every code, for reading them back and for documents.
    pub const ALL: [Self; 21] = [
        Self::AccessKeyUnknown,
        Self::EnrolmentReplayed,
        Self::PossibleClone,
        Self::EnrolmentQuarantined,
        Self::EnrolmentBlocked,
        Self::CertificateInUse,
        Self::EnrolmentInvalid,
        Self::SensorUnknown,
        Self::CertificateUnconfirmed,
        Self::CertificateExpired,
        Self::TooManyCertificates,
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RangeNotSatisfiable,
        Self::ProtocolUnsupported,
        Self::TooManyRequests,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AccessKeyUnknown => "access_key_unknown",
            Self::EnrolmentReplayed => "enrolment_replayed",
            Self::PossibleClone => "possible_clone",
            Self::EnrolmentQuarantined => "enrolment_quarantined",
            Self::EnrolmentBlocked => "enrolment_blocked",
            Self::CertificateInUse => "certificate_in_use",
            Self::EnrolmentInvalid => "enrolment_invalid",
            Self::SensorUnknown => "sensor_unknown",
            Self::CertificateUnconfirmed => "certificate_unconfirmed",
            Self::CertificateExpired => "certificate_expired",
            Self::TooManyCertificates => "too_many_certificates",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::ProtocolUnsupported => "protocol_unsupported",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status it travels with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::AccessKeyUnknown
            | Self::SensorUnknown
            | Self::CertificateUnconfirmed
            | Self::CertificateExpired
            | Self::EnrolmentBlocked => 403,
            Self::EnrolmentReplayed
            | Self::PossibleClone
            | Self::EnrolmentQuarantined
            | Self::CertificateInUse
            | Self::TooManyCertificates => 409,
            Self::Malformed | Self::EnrolmentInvalid | Self::ProtocolUnsupported => 400,
            Self::TooLarge => 413,
            Self::TooSlow => 408,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RangeNotSatisfiable => 416,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Whether the same request may succeed later with nothing changed by a person.
    #[must_use]
    pub const fn is_worth_retrying(self) -> bool {
        matches!(self, Self::TooSlow | Self::TooManyRequests | Self::Unavailable | Self::Internal)
    }

    /// The code of a word, or `None` if a newer server said something this build does not know.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.word() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_word(code.word()), Some(code));
            assert!((400..600).contains(&code.status()));
        }
        assert_eq!(Code::from_word("nope"), None);
    }
}
