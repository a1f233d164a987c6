//! What this host says of itself: its operating system in words, and who it is.

use std::path::Path;

use watchpost_core::facts::OperatingSystem;

use super::disk::read_limited;

/// The largest file with such a fact that is read.
const FACT_BYTES: u64 = 16 * 1024;

/// The operating system in words, for people: `Debian GNU/Linux 12 (bookworm)`.
#[must_use]
pub fn operating_system() -> String {
    let text = read_text(Path::new("/etc/os-release")).unwrap_or_default();
    pretty_name(&text).unwrap_or_else(|| {
        let name = rustix::system::uname();
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    })
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches('"');
    (!name.is_empty()).then(|| name.to_owned())
}

/// The operating system in its own words, for the table of what is supported.
#[must_use]
pub fn system() -> Option<OperatingSystem> {
    named(&read_text(Path::new("/etc/os-release")).unwrap_or_default())
}

fn named(os_release: &str) -> Option<OperatingSystem> {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(name))?.trim().trim_matches('"');
        (!value.is_empty()).then(|| value.to_owned())
    };
    Some(OperatingSystem { id: field("ID=")?, version: field("VERSION_ID=").unwrap_or_default() })
}

/// Who this installation is: a hash over the machine's id and the folder it is installed in, in hex.
///
/// Two hosts that report the same one are clones of each other.
#[must_use]
pub fn host_id(root: &Path) -> String {
    let machine = read_text(Path::new("/etc/machine-id")).unwrap_or_default();
    let mut text = machine.trim().as_bytes().to_vec();
    text.push(0);
    text.extend_from_slice(root.as_os_str().as_encoded_bytes());
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text))
}

fn read_text(path: &Path) -> Option<String> {
    read_limited(path, FACT_BYTES).ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_for_people_is_read_from_os_release() {
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Some Linux 1\"\n"), Some("Some Linux 1".to_owned()));
        assert_eq!(pretty_name("ID=x\n"), None);
        let debian = OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() };
        assert_eq!(named("PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"), Some(debian));
        assert_eq!(named("NAME=x\n"), None);
        assert!(!operating_system().is_empty());
    }

    #[test]
    fn two_folders_on_one_machine_are_two_hosts() {
        let id = host_id(Path::new("/a"));
        assert_eq!((id.len(), &id), (64, &host_id(Path::new("/a"))));
        assert_ne!(id, host_id(Path::new("/b")));
    }
}
