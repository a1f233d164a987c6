//! One look at one server: log on, see that it answers for the domain, and look every object up.
//!
//! Whatever is put into a filter is escaped: names come from hosts. Every operation has a deadline.

use std::time::Duration;

use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, StdStream, ldap_escape};
use watchpost_core::directory::{Answer, Lookup, instant};
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;

use super::{Failure, Looked, Password, Question, channel, in_full, shown};
use crate::config::{DirectoryServer, DirectorySettings};

/// How long one operation may take.
const OPERATION_DEADLINE: Duration = Duration::from_secs(10);
/// How long a whole look may take.
const SESSION_DEADLINE: Duration = Duration::from_secs(180);
/// Most entries of one search. Each is for one object, and two would be a fault.
const MAX_ENTRIES: i32 = 8;
/// Shows tombstones too.
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// The bit of `userAccountControl` of a domain controller's account.
const SERVER_TRUST_ACCOUNT: u32 = 0x2000;
/// The primary groups of domain controllers and of read-only ones.
const DOMAIN_CONTROLLER_GROUPS: [&str; 2] = ["516", "521"];
/// Results that mean that the account was not let in: no such account, wrong password, or no name of one.
const REFUSALS: [u32; 4] = [32, 34, 48, 49];
/// The result of a search that found more than was asked for.
const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// Bytes of an object id.
const OBJECT_ID: usize = 16;

/// Reads everything that is asked from this server.
pub(super) async fn look(
    settings: &DirectorySettings,
    server: &DirectoryServer,
    password: &Password,
    questions: &[Question],
) -> Looked {
    let looking = async {
        let (stream, _gate) =
            channel::open(settings, server).await.map_err(|error| Failure::Unreachable(in_full(&error)))?;
        let plain = LdapConnSettings::new().set_std_stream(StdStream::Unix(stream));
        let (connection, ldap) = LdapConnAsync::with_settings(plain, "ldapi:///").await.map_err(lost)?;
        let driver = tokio::spawn(connection.drive());
        let mut session = Session { ldap, base: base(&settings.domain) };
        let looked = session.run(&settings.bind_dn, password, questions).await;
        driver.abort();
        looked
    };
    let late = |_| Failure::Unreachable(format!("it took longer than {} s", SESSION_DEADLINE.as_secs()));
    tokio::time::timeout(SESSION_DEADLINE, looking).await.map_err(late)?
}

struct Session {
    ldap: Ldap,
    /// The domain as a DN.
    base: String,
}

/// The DN of a domain.
fn base(domain: &str) -> String {
    domain.split('.').map(|label| format!("DC={label}")).collect::<Vec<_>>().join(",")
}

fn lost(error: ldap3::LdapError) -> Failure {
    Failure::Unreachable(format!("the connection was lost: {}", shown(&in_full(&error))))
}

impl Session {
    async fn run(&mut self, account: &str, password: &Password, questions: &[Question]) -> Looked {
        self.log_on(account, password).await?;
        self.check_authority().await?;
        let expires_at = self.password_expires_at(account).await?;
        let mut answers: Vec<(SensorId, Answer)> = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push((question.sensor, self.answer(question).await?));
        }
        if answers.iter().any(|(_, answer)| answer.about == Lookup::Absent) {
            self.check_sight().await?;
        }
        // What was asked has been answered; how the connection ends is of no interest.
        let _ = self.ldap.unbind().await;
        Ok((expires_at, answers))
    }

    async fn log_on(&mut self, account: &str, password: &Password) -> Result<(), Failure> {
        let bound = self.ldap.with_timeout(OPERATION_DEADLINE).simple_bind(account, &password.0).await.map_err(lost)?;
        match bound.rc {
            0 => Ok(()),
            code if REFUSALS.contains(&code) => {
                let (why, is_expired) = refusal(&bound.text);
                Err(Failure::Refused { reason: format!("{account} was not let in: {why}"), is_expired })
            }
            code => Err(Failure::Unreachable(format!("logging on failed with result {code}: {}", shown(&bound.text)))),
        }
    }

    /// Sees that this server holds the domain, and holds it whole: else “not found” would say nothing.
    async fn check_authority(&mut self) -> Result<(), Failure> {
        let attributes = ["defaultNamingContext", "isSynchronized"];
        let root = self.search("", Scope::Base, "(objectClass=*)", &attributes, false).await?;
        let first = |name| root.first().and_then(|entry| text(entry, name));
        let held = first("defaultNamingContext").unwrap_or_default();
        if !held.eq_ignore_ascii_case(&self.base) {
            return Err(Failure::Unreachable(format!("it answers for “{}”, not for {}", shown(&held), self.base)));
        }
        if first("isSynchronized").is_some_and(|word| word.eq_ignore_ascii_case("FALSE")) {
            return Err(Failure::Unreachable("it has not copied the whole domain yet".to_owned()));
        }
        Ok(())
    }

    /// Sees that the account can read domain controllers at all. Every domain has one.
    async fn check_sight(&mut self) -> Result<(), Failure> {
        let base = self.base.clone();
        let found = self.search(&base, Scope::Subtree, "(primaryGroupID=516)", &["objectGUID"], false).await?;
        if found.is_empty() {
            let why = "the account sees no domain controller at all; let it read the whole domain";
            return Err(Failure::Unreachable(why.to_owned()));
        }
        Ok(())
    }

    /// When the password of the account expires by which we ask.
    async fn password_expires_at(&mut self, account: &str) -> Result<Option<Timestamp>, Failure> {
        const COMPUTED: &str = "msDS-UserPasswordExpiryTimeComputed";
        let (base, scope, filter) = if account.contains('=') {
            (account.to_owned(), Scope::Base, "(objectClass=*)".to_owned())
        } else {
            (self.base.clone(), Scope::Subtree, account_filter(account))
        };
        let found = self.search(&base, scope, &filter, &[COMPUTED], false).await?;
        let units = found.first().and_then(|entry| text(entry, COMPUTED)).and_then(|text| text.parse().ok());
        Ok(units.and_then(instant))
    }

    async fn answer(&mut self, question: &Question) -> Result<Answer, Failure> {
        let Some(object) = question.object.as_deref().and_then(object_filter) else {
            let found = self.by_name(&question.account).await?;
            let about = found.map_or(Lookup::Absent, |(object, name)| Lookup::Present { object, name });
            return Ok(Answer { about, namesake: None });
        };
        let found = self.search(&self.base.clone(), Scope::Subtree, &object, &ATTRIBUTES, true).await?;
        let about = found.iter().find_map(lookup).unwrap_or(Lookup::Absent);
        let is_there = matches!(about, Lookup::Present { .. });
        let namesake = if is_there { None } else { self.by_name(&question.account).await?.map(|(object, _)| object) };
        Ok(Answer { about, namesake })
    }

    /// The domain controller with this account name: its object and its name.
    async fn by_name(&mut self, account: &str) -> Result<Option<(String, String)>, Failure> {
        let filter = format!("(&(objectClass=computer)(sAMAccountName={}))", ldap_escape(account));
        let found = self.search(&self.base.clone(), Scope::Subtree, &filter, &ATTRIBUTES, false).await?;
        let controllers = found.iter().filter(|entry| is_domain_controller(entry)).filter_map(lookup);
        let mut there = controllers.filter_map(|lookup| match lookup {
            Lookup::Present { object, name } => Some((object, name)),
            Lookup::Deleted { .. }
            | Lookup::Absent
            | Lookup::Unreachable { .. }
            | Lookup::CredentialsRefused { .. } => None,
        });
        Ok(there.next())
    }

    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        with_deleted: bool,
    ) -> Result<Vec<SearchEntry>, Failure> {
        let seconds = i32::try_from(OPERATION_DEADLINE.as_secs()).unwrap_or(i32::MAX);
        let options = SearchOptions::new().sizelimit(MAX_ENTRIES).timelimit(seconds);
        self.ldap.with_timeout(OPERATION_DEADLINE).with_search_options(options);
        if with_deleted {
            self.ldap.with_controls(vec![RawControl { ctype: SHOW_DELETED.to_owned(), crit: true, val: None }]);
        }
        let found = self.ldap.search(base, scope, filter, attributes).await.map_err(lost)?;
        if found.1.rc != 0 && found.1.rc != SIZE_LIMIT_EXCEEDED {
            let why = format!("a search failed with result {}: {}", found.1.rc, shown(&found.1.text));
            return Err(Failure::Unreachable(why));
        }
        let entries = found.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(entries.map(SearchEntry::construct).collect())
    }
}

/// What is read of a machine's object.
const ATTRIBUTES: [&str; 5] = ["objectGUID", "isDeleted", "sAMAccountName", "primaryGroupID", "userAccountControl"];

/// The first value of an attribute that is a text.
fn text(entry: &SearchEntry, name: &str) -> Option<String> {
    let values = entry.attrs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, values)| values);
    values.and_then(|values| values.first()).cloned()
}

/// The id of an entry's object, in hex. Sixteen bytes may be a text by chance, so both kinds are looked through.
fn object_id(entry: &SearchEntry) -> Option<String> {
    const NAME: &str = "objectGUID";
    let raw = entry.bin_attrs.iter().find(|(key, _)| key.eq_ignore_ascii_case(NAME));
    let bytes = match raw.and_then(|(_, values)| values.first()) {
        Some(bytes) => bytes.clone(),
        None => text(entry, NAME)?.into_bytes(),
    };
    (bytes.len() == OBJECT_ID).then(|| hex::encode(bytes))
}

fn is_domain_controller(entry: &SearchEntry) -> bool {
    let is_in_group = text(entry, "primaryGroupID").is_some_and(|id| DOMAIN_CONTROLLER_GROUPS.contains(&id.as_str()));
    let control = text(entry, "userAccountControl").and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    is_in_group || control & SERVER_TRUST_ACCOUNT != 0
}

fn lookup(entry: &SearchEntry) -> Option<Lookup> {
    let object = object_id(entry)?;
    if text(entry, "isDeleted").is_some_and(|word| word.eq_ignore_ascii_case("TRUE")) {
        return Some(Lookup::Deleted { object });
    }
    let name = text(entry, "sAMAccountName").unwrap_or_default();
    Some(Lookup::Present { object, name: shown(name.trim_end_matches('$')) })
}

/// The filter for the object with this id; `None` if that is no id.
fn object_filter(object: &str) -> Option<String> {
    let bytes = hex::decode(object).ok().filter(|bytes| bytes.len() == OBJECT_ID)?;
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    Some(format!("(objectGUID={escaped})"))
}

/// The filter for the account `user@domain` or `DOMAIN\user`.
fn account_filter(account: &str) -> String {
    let user = match account.split_once('\\') {
        Some((_, user)) => user,
        None => account.split('@').next().unwrap_or(account),
    };
    let (whole, user) = (ldap_escape(account), ldap_escape(user));
    format!("(&(objectClass=user)(|(userPrincipalName={whole})(sAMAccountName={user})))")
}

/// What a refusal means in words, and whether it is that the password has expired. Active Directory and Samba put the
/// Windows error behind “data”, in hex.
fn refusal(text: &str) -> (String, bool) {
    let data = text.split("data ").nth(1).and_then(|rest| rest.split([',', ' ', '\0']).next()).unwrap_or_default();
    let (why, is_expired) = match data.to_ascii_lowercase().as_str() {
        "525" => ("there is no such user", false),
        "52e" => ("user name or password is wrong", false),
        "530" | "531" => ("the account may not log on at this time or from here", false),
        "532" => ("its password has expired", true),
        "533" => ("the account is disabled", false),
        "701" => ("the account has expired", false),
        "773" => ("its password must be changed first", true),
        "775" => ("the account is locked out", false),
        _ => return (format!("user name or password is wrong ({})", shown(text)), false),
    };
    (why.to_owned(), is_expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_dn_and_an_id_a_filter() {
        assert_eq!(base("lab.test"), "DC=lab,DC=test");
        let id = "00112233445566778899aabbccddeeff";
        let filter = r"(objectGUID=\00\11\22\33\44\55\66\77\88\99\aa\bb\cc\dd\ee\ff)";
        assert_eq!(object_filter(id).as_deref(), Some(filter));
        assert_eq!([object_filter("0011"), object_filter("*)(objectClass=*")], [None, None]);
    }

    #[test]
    fn names_cannot_change_a_filter() {
        let filter = account_filter(r"LAB\*)(objectClass=*");
        let name = r"\2a\29\28objectClass=\2a";
        assert_eq!(filter, format!(r"(&(objectClass=user)(|(userPrincipalName=LAB\5c{name})(sAMAccountName={name})))"));
        let filter = account_filter("watch@lab.test");
        assert_eq!(filter, "(&(objectClass=user)(|(userPrincipalName=watch@lab.test)(sAMAccountName=watch)))");
    }

    #[test]
    fn a_refusal_says_why() {
        let text = |data| {
            format!("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {data}, v1db1")
        };
        assert_eq!(refusal(&text("52e")), ("user name or password is wrong".to_owned(), false));
        assert_eq!(refusal(&text("532")), ("its password has expired".to_owned(), true));
        assert!(refusal(&text("773")).1);
        assert!(refusal("anything\u{1b}[2J").0.ends_with("(anything[2J)"));
    }
}
