//! Every bound on a message, by name. Both sides enforce them while reading.

use std::time::Duration;

/// Bytes of a request body the gateway reads (enrolment and check-in).
pub const REQUEST_BYTES: usize = 64 * 1024;
/// Bytes of a reply message a host reads.
pub const REPLY_BYTES: usize = 64 * 1024;
/// Characters of a sensor, site, zone or domain name.
pub const NAME_CHARS: usize = 256;
/// Characters of an API word such as `domainControllerIntegrated`.
pub const WORD_CHARS: usize = 64;
/// Characters of a host's own identity (its machine id).
pub const HOST_ID_CHARS: usize = 128;
/// Characters of the id one enrolment attempt carries.
pub const ENROLMENT_ID_CHARS: usize = 64;
/// Bytes of the secret of an access key.
pub const SECRET_BYTES: usize = 32;
/// Characters of a text for people: why an update failed, an error message, the operating system.
pub const TEXT_CHARS: usize = 1024;
/// Characters of the name of a target file.
pub const TARGET_NAME_CHARS: usize = 128;
/// Bytes of a package that may be named at all.
pub const TARGET_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Domain controllers that one sensor may watch from another server.
pub const DOMAIN_CONTROLLERS: usize = 64;
/// Versions a host remembers as bad.
pub const BAD_VERSIONS: usize = 256;
/// Health conditions in one report.
pub const CONDITIONS: usize = 64;
/// Bytes of the JSON form of how a host stands with rule packages.
pub const RULES_REPORT_BYTES: usize = 16 * 1024;
/// Bytes of the JSON form of a sensor's settings.
pub const SETTINGS_BYTES: usize = 16 * 1024;
/// Bytes of the JSON form of a small part of a message.
pub const SMALL_PART_BYTES: usize = 4 * 1024;
/// Certificates of one sensor: one active, one proposed, eight that retire, and room for more.
pub const CERTIFICATES: usize = 16;
/// The longest time a server may ask a host to stay away.
pub const COME_BACK_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The latest instant that may be named: 9999-12-30, the end of what a text form can say.
pub const LATEST_MILLIS: i64 = 253_402_207_200_000;
