//! Who may do what: one seam, [`authorize`], and everything not named here is refused.

use std::fmt;
use std::str::FromStr;

use watchpost_core::id::{SensorId, SessionId, TokenId, UserId};
use watchpost_core::version::Version;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.to_string() == text).ok_or_else(|| UnknownWord {
                    text: text.chars().take(40).collect(),
                    what: $what,
                    known: Self::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A text that is none of the words it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{text}” is no {what}; use one of {known}")]
pub struct UnknownWord {
    text: String,
    what: &'static str,
    known: String,
}

words! {
    /// What a person or a token may do in general. Each includes the one before.
    Role: "role" {
        /// Looks.
        Viewer = "viewer",
        /// Looks, pauses and resumes rollouts, and says what became of alerts.
        User = "user",
        /// Everything.
        Administrator = "administrator",
    }
}

words! {
    /// Something a principal asks for. Its word is also the scope of a token.
    Action: "action" {
        /// Look at sensors, sites, alerts, devices, health issues, releases, rollouts and the server's own state.
        ReadFleet = "fleet.read",
        /// Close, reopen and suppress health issues.
        ManageHealth = "health.manage",
        /// Look at the audit log.
        ReadAudit = "audit.read",
        /// Pause and resume rollouts.
        SteerRollouts = "rollouts.steer",
        /// Say what became of an alert.
        ManageAlerts = "alerts.manage",
        /// Change the settings of sensors.
        ManageSensors = "sensors.manage",
        /// Upload a package and publish a release.
        PublishReleases = "releases.publish",
        /// See the access key that admits hosts.
        ReadAccessKey = "accessKey.read",
        /// Replace the access key by another one.
        ManageAccessKey = "accessKey.manage",
        /// Renew the key that hosts know this server by.
        ManageTrust = "trust.manage",
        /// See, make and revoke API tokens.
        ManageTokens = "tokens.manage",
        /// Sign oneself in and out.
        OwnSession = "session.own",
    }
}

/// What an action is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The workspace as a whole.
    Workspace,
    /// One sensor.
    Sensor(SensorId),
    /// One rollout or release.
    Version(Version),
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in person.
    Person {
        /// Who.
        user: UserId,
        /// Their name.
        name: String,
        /// Their session.
        session: SessionId,
    },
    /// A script with a token.
    Token {
        /// Which token.
        token: TokenId,
        /// What it is for.
        name: String,
    },
    /// The person at the server's own console (`init`, `sign-in-link`).
    Console,
    /// The server itself: its planner and its health rules.
    Server,
    /// A sensor host.
    Sensor(SensorId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { user, name, .. } => write!(f, "{name} ({user})"),
            Self::Token { token, name } => write!(f, "token “{name}” ({token})"),
            Self::Console => f.write_str("console"),
            Self::Server => f.write_str("server"),
            Self::Sensor(id) => write!(f, "sensor {id}"),
        }
    }
}

/// An actor with what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub actor: Actor,
    /// Its role.
    pub role: Role,
    /// What it is limited to within the role; empty: no further limit.
    pub scopes: Vec<Action>,
}

impl Principal {
    /// The person at the server's own console, who owns its disk.
    #[must_use]
    pub fn console() -> Self {
        Self { actor: Actor::Console, role: Role::Administrator, scopes: Vec::new() }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} needs the role {needed}, and this {holder}; ask an administrator")]
pub struct Denied {
    action: Action,
    needed: Role,
    holder: String,
}

/// The least role an action needs.
fn needed(action: Action) -> Role {
    match action {
        Action::ReadFleet | Action::OwnSession => Role::Viewer,
        Action::SteerRollouts | Action::ManageAlerts => Role::User,
        Action::ManageHealth
        | Action::ReadAudit
        | Action::ManageSensors
        | Action::PublishReleases
        | Action::ReadAccessKey
        | Action::ManageAccessKey
        | Action::ManageTrust
        | Action::ManageTokens => Role::Administrator,
    }
}

/// Whether `principal` may do `action` to `resource`. Every resource belongs to the one workspace of this server;
/// scopes by site narrow it here when they come.
///
/// # Errors
/// When it may not.
pub fn authorize(principal: &Principal, action: Action, resource: Resource) -> Result<(), Denied> {
    match resource {
        Resource::Workspace | Resource::Sensor(_) | Resource::Version(_) => {}
    }
    let needed = needed(action);
    let holder = if principal.role < needed {
        format!("one is {}", principal.role)
    } else if !principal.scopes.is_empty() && !principal.scopes.contains(&action) {
        "token is limited to other actions".to_owned()
    } else {
        return Ok(());
    };
    Err(Denied { action, needed, holder })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, scopes: &[Action]) -> Principal {
        Principal { actor: Actor::Console, role, scopes: scopes.to_vec() }
    }

    #[test]
    fn each_role_may_do_exactly_this() {
        let allowed = |role| {
            let may = |action: &&Action| authorize(&principal(role, &[]), **action, Resource::Workspace).is_ok();
            Action::ALL.iter().filter(may).map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(allowed(Role::Viewer), "fleet.read session.own");
        assert_eq!(allowed(Role::User), "fleet.read rollouts.steer alerts.manage session.own");
        assert_eq!(
            allowed(Role::Administrator),
            "fleet.read health.manage audit.read rollouts.steer alerts.manage sensors.manage releases.publish accessKey.read accessKey.manage trust.manage tokens.manage session.own"
        );
    }

    #[test]
    fn a_scope_narrows_and_never_widens() {
        let publisher = principal(Role::Administrator, &[Action::PublishReleases]);
        assert!(authorize(&publisher, Action::PublishReleases, Resource::Workspace).is_ok());
        assert!(authorize(&publisher, Action::ReadFleet, Resource::Workspace).is_err());
        let viewer = principal(Role::Viewer, &[Action::ManageTokens]);
        assert!(authorize(&viewer, Action::ManageTokens, Resource::Workspace).is_err());
    }

    #[test]
    fn words_read_back() {
        for action in Action::ALL {
            assert_eq!(action.to_string().parse::<Action>().as_ref(), Ok(action));
        }
        assert_eq!(
            "root".parse::<Role>().unwrap_err().to_string(),
            "“root” is no role; use one of viewer, user, administrator"
        );
    }
}
