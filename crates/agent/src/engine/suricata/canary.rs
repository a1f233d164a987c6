//! The canary of the packet engine: a frame that goes out on a capture interface and must come back as an alert.
//!
//! The frame is made by hand and goes from the interface to itself, between documentation addresses (RFC 5737): nobody on
//! the wire is meant by it. Its mark is chance that comes in as a parameter.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use std::os::fd::AsRawFd as _;
use tokio::sync::oneshot;

use super::evidence::CanarySeen;

/// The signature of the canary's rule, the last of the local range.
pub const SID: u32 = 1_999_999;
/// The canary's rule, built in: a release without it could not be proved.
pub const RULE: &str = "alert udp any any -> any 9 (msg:\"Watchpost canary\"; content:\"watchpost-canary-\"; depth:17; \
     sid:1999999; rev:1;)";
/// What stands before the mark.
const PREFIX: &[u8] = b"watchpost-canary-";
/// Bytes of a mark.
pub const NONCE_BYTES: usize = 16;
/// Where the canary comes from and goes to (TEST-NET-1, RFC 5737).
const ENDS: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];
const ENDS_AS_TEXT: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
/// The discard port (RFC 863).
const PORT: u16 = 9;
const SOURCE_PORT: u16 = 40_009;

/// Whether an alert is of the canary's rule.
#[must_use]
pub fn is_canary(generator: u32, signature: u32) -> bool {
    generator == 1 && signature == SID
}

/// Whether a flow is the canary's.
#[must_use]
pub fn is_own_traffic(source: &str, destination: &str, port: Option<u16>) -> bool {
    port == Some(PORT) && [source, destination] == ENDS_AS_TEXT
}

/// The mark in the payload of an alert, which is written as base64.
#[must_use]
pub fn nonce_in(payload: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(payload).ok()?;
    let mark = bytes.strip_prefix(PREFIX)?.get(..NONCE_BYTES * 2)?;
    let is_hex = mark.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    is_hex.then(|| String::from_utf8_lossy(mark).into_owned())
}

/// The frame with this mark, from the hardware address to itself.
#[must_use]
pub fn frame(hardware: [u8; 6], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let mut payload = PREFIX.to_vec();
    payload.extend_from_slice(hex::encode(nonce).as_bytes());
    let udp_length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(20 + udp_length).to_be_bytes());
    // Identification, flags, time to live 1 (it must not be forwarded), UDP, room for the checksum.
    ip.extend_from_slice(&[0, 1, 0, 0, 1, 17, 0, 0]);
    ip.extend(ENDS.iter().flatten());
    let checksum = internet_checksum(&ip).to_be_bytes();
    for (place, byte) in ip.iter_mut().skip(10).zip(checksum) {
        *place = byte;
    }
    let mut frame = Vec::with_capacity(14 + ip.len() + usize::from(udp_length));
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&hardware);
    frame.extend_from_slice(&[0x08, 0x00]);
    frame.append(&mut ip);
    // No checksum over UDP: allowed over IPv4 (RFC 768).
    for field in [SOURCE_PORT, PORT, udp_length, 0] {
        frame.extend_from_slice(&field.to_be_bytes());
    }
    frame.append(&mut payload);
    frame
}

/// The checksum of RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            [] | [..] => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Sends a frame out of the interface that `link` is the address of.
///
/// # Errors
/// When the system refuses: this needs the right to send raw packets (`CAP_NET_RAW`).
pub fn send(link: &LinkAddr, frame: &[u8]) -> std::io::Result<()> {
    let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let sent = sendto(raw.as_raw_fd(), frame, link, MsgFlags::MSG_DONTWAIT)?;
    if sent == frame.len() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) }
}

/// Canaries that are out and have not come back.
#[derive(Debug, Default)]
pub struct Expected(Mutex<HashMap<String, (String, oneshot::Sender<()>)>>);

impl Expected {
    /// Waits for the canary with this mark on this interface.
    pub fn expect(&self, nonce: String, interface: String) -> oneshot::Receiver<()> {
        let (seen, is_seen) = oneshot::channel();
        self.open().insert(nonce, (interface, seen));
        is_seen
    }

    /// Gives up on a canary.
    pub fn forget(&self, nonce: &str) {
        self.open().remove(nonce);
    }

    /// A canary's alert came out; says whether it was expected, there and with this mark.
    pub fn settle(&self, canary: &CanarySeen) -> bool {
        let mut out = self.open();
        let Some(nonce) = canary.nonce.as_ref() else { return false };
        let is_expected = out.get(nonce).is_some_and(|(interface, _)| *interface == canary.interface);
        if is_expected && let Some((_, seen)) = out.remove(nonce) {
            // Whoever waited may have given up at this moment.
            let _ = seen.send(());
        }
        is_expected
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, oneshot::Sender<()>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_what_the_standards_say() {
        let frame = frame([2, 0, 0, 0, 0, 7], [0xab; 16]);
        assert_eq!(&frame[..14], [2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 7, 8, 0]);
        // 20 bytes of IP, 8 of UDP, 17 of prefix, 32 of mark.
        assert_eq!(u16::from_be_bytes([frame[16], frame[17]]), 77);
        assert_eq!(frame.len(), 14 + 77);
        assert_eq!(internet_checksum(&frame[14..34]), 0, "a header with its checksum sums up to zero (RFC 1071)");
        assert_eq!(&frame[26..34], [192, 0, 2, 1, 192, 0, 2, 2]);
        assert_eq!(&frame[42..], format!("watchpost-canary-{}", "ab".repeat(16)).as_bytes());
    }

    #[test]
    fn the_checksum_is_that_of_the_example() {
        // RFC 1071, section 3: the sum of these is ddf2.
        assert_eq!(internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn only_a_whole_mark_is_one() {
        let coded = |text: &str| BASE64_STANDARD.encode(text);
        let mark = "0123456789abcdef".repeat(2);
        assert_eq!(nonce_in(&coded(&format!("watchpost-canary-{mark}"))), Some(mark.clone()));
        for bad in [
            "watchpost-canary-",
            "watchpost-canary-0123",
            &mark,
            &format!("watchpost-canary-{}", mark.replace('a', "A")),
        ] {
            assert_eq!(nonce_in(&coded(bad)), None, "{bad}");
        }
        assert_eq!(nonce_in("%%%"), None);
    }

    #[test]
    fn a_canary_counts_only_where_it_was_sent_and_once() {
        let expected = Expected::default();
        let mut seen = expected.expect("n".to_owned(), "eth1".to_owned());
        let canary = |interface: &str| CanarySeen { nonce: Some("n".to_owned()), interface: interface.to_owned() };
        assert!(!expected.settle(&canary("eth2")));
        assert!(!expected.settle(&CanarySeen { nonce: None, interface: "eth1".to_owned() }));
        assert!(expected.settle(&canary("eth1")));
        assert!(!expected.settle(&canary("eth1")));
        assert_eq!(seen.try_recv(), Ok(()));
    }
}
