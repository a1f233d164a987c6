//! The command line that scripts already have: `/quiet AccessKey="…" DelayedUpdate=true`, told in this program's own words.
//!
//! Only the documented switches are known, in any case; everything else is left as it is, for the parser to judge.

use std::ffi::OsString;

/// What a line means that names no verb.
const SETUP: &str = "setup";
/// The verbs that take documented switches beside their own.
const VERBS: [&str; 3] = [SETUP, "update", "uninstall"];

/// A documented parameter and the option that does the same; `None`: it asks for something that is not needed here.
const PARAMETERS: [(&str, Option<&str>); 10] = [
    ("AccessKey", Some("--access-key")),
    ("AccessKeyFile", Some("--access-key-file")),
    ("DelayedUpdate", Some("--delayed-update")),
    ("InstallationPath", Some("--installation-path")),
    ("LogsPath", Some("--logs-path")),
    ("NetFrameworkCommandLineArguments", None),
    ("ProxyUrl", Some("--proxy-url")),
    ("ProxyUserName", Some("--proxy-user-name")),
    ("ProxyUserPassword", Some("--proxy-user-password")),
    ("ProxyUserPasswordFile", Some("--proxy-user-password-file")),
];

/// What a command line with documented switches means. Its first word is the program and stays.
///
/// A line that begins with a switch means `setup`, or `uninstall` where `/uninstall` stands in it. A `setup` that names a
/// package means `update`: running the installer of a newer version where there is one already.
pub fn translate(line: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = line.into_iter();
    let program = words.next();
    let words: Vec<OsString> = words.collect();
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    let named = VERBS.iter().find(|verb| **verb == first).copied();
    if named.is_none() && !is_documented(&first) {
        return program.into_iter().chain(words).collect();
    }
    let is_switch = |word: &OsString, switch: &str| word.to_str().is_some_and(|text| text.eq_ignore_ascii_case(switch));
    let verb = match named.unwrap_or(SETUP) {
        SETUP if words.iter().any(|word| is_switch(word, "/uninstall")) => "uninstall",
        SETUP if words.iter().skip(1).any(is_package) => "update",
        verb => verb,
    };
    let rest = words.into_iter().skip(usize::from(named.is_some())).filter(|word| !is_switch(word, "/uninstall"));
    let rest = rest.flat_map(|word| match word.to_str().map(switch) {
        Some(Some(translated)) => translated,
        Some(None) | None => vec![word],
    });
    program.into_iter().chain([OsString::from(verb)]).chain(rest).collect()
}

/// Whether a word is the path of a package, and no value of a parameter.
fn is_package(word: &OsString) -> bool {
    let text = word.to_string_lossy().to_ascii_lowercase();
    text.ends_with(".cab") && switch(&text).is_none() && !text.starts_with('-')
}

fn is_documented(word: &str) -> bool {
    word.eq_ignore_ascii_case("/uninstall") || switch(word).is_some()
}

/// One documented switch in this program's words; `None`: it is none.
fn switch(word: &str) -> Option<Vec<OsString>> {
    match word.to_ascii_lowercase().as_str() {
        "/quiet" => return Some(vec!["--quiet".into()]),
        "/help" | "/?" => return Some(vec!["--help".into()]),
        _ => {}
    }
    let (name, value) = word.split_once('=')?;
    let (_, option) = PARAMETERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let Some(option) = option else { return Some(Vec::new()) };
    Some(match *option {
        "--delayed-update" => vec![format!("--delayed-update={}", value.to_ascii_lowercase()).into()],
        option => vec![option.into(), value.into()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &[&str]) -> Vec<String> {
        let program = ["watchpost-updater"];
        let words = program.iter().chain(line).map(OsString::from);
        translate(words).into_iter().skip(1).map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_documented_line_means_the_same_in_our_words() {
        // The silent installation as the documented product describes it (parameter table of its deployment page).
        let line = ["/quiet", "NetFrameworkCommandLineArguments=\"/q\"", "AccessKey=\"k.a.b\"", "DelayedUpdate=true"];
        let expected = ["setup", "--quiet", "--access-key", "k.a.b", "--delayed-update=true"];
        assert_eq!(told(&line), expected);
        let line = ["/QUIET", "accesskeyfile=/x/k", "INSTALLATIONPATH=/opt/w", "LogsPath=\"\"", "delayedupdate=FALSE"];
        let expected = [
            "setup",
            "--quiet",
            "--access-key-file",
            "/x/k",
            "--installation-path",
            "/opt/w",
            "--logs-path",
            "",
            "--delayed-update=false",
        ];
        assert_eq!(told(&line), expected);
        let line =
            ["setup", "ProxyUrl=\"http://p:80\"", "ProxyUserName=\"D\\u\"", "ProxyUserPassword=\"x=y\"", "/help"];
        let proxy = ["--proxy-url", "http://p:80", "--proxy-user-name", "D\\u", "--proxy-user-password", "x=y"];
        assert_eq!(told(&line), [&["setup"], &proxy[..], &["--help"]].concat());
        assert_eq!(told(&["/quiet", "/uninstall"]), ["uninstall", "--quiet"]);
        assert_eq!(
            told(&["/Uninstall", "/Quiet", "InstallationPath=/o"]),
            ["uninstall", "--quiet", "--installation-path", "/o"]
        );
        assert_eq!(told(&["/?"]), ["setup", "--help"]);
        let update = ["update", "--quiet", "/tmp/Watchpost-Sensor-2.255.1.0.CAB", "--installation-path", "/o"];
        assert_eq!(told(&["setup", "/Quiet", "/tmp/Watchpost-Sensor-2.255.1.0.CAB", "INSTALLATIONPATH=/o"]), update);
        assert_eq!(told(&["/quiet", "/tmp/Watchpost-Sensor-2.255.1.0.CAB", "InstallationPath=\"/o\""]), update);
        assert_eq!(
            told(&["update", "p.cab", "/QUIET", "NetFrameworkCommandLineArguments=x"]),
            ["update", "p.cab", "--quiet"]
        );
        assert_eq!(
            told(&["setup", "/quiet", "InstallationPath=/a.cab"]),
            ["setup", "--quiet", "--installation-path", "/a.cab"]
        );
    }

    #[test]
    fn what_is_not_documented_is_left_for_the_parser() {
        for line in [
            &["run", "--root", "/quiet"][..],
            &["status", "AccessKey=x"],
            &["--version"],
            &[],
            &["/unknown", "/quiet"],
            &["AccessKeys=x"],
        ] {
            assert_eq!(told(line), line);
        }
        assert_eq!(told(&["setup", "--root", "/opt/x", "Unknown=1"]), ["setup", "--root", "/opt/x", "Unknown=1"]);
    }
}
