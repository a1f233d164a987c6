//! People, their sessions, and API tokens. Held in memory; changes go to the store first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::json;
use watchpost_core::id::{SessionId, TokenId, UserId};
use watchpost_core::time::Timestamp;
use watchpost_store::{SessionRow, TokenRow, Transaction, UserRow};

use super::{App, AppError};
use crate::auth::access::{Action, Actor, Principal, Resource, Role, authorize};
use crate::auth::rate::RateLimit;
use crate::auth::secret::{Secret, random_bits, sha256};

/// A session ends after so long without use.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after so long, used or not.
pub const SESSION_ABSOLUTE: Duration = Duration::from_secs(12 * 3600);
/// A one-time sign-in secret that was not used works for so long.
pub const SIGN_IN_SECRET_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Sign-in attempts per peer and minute.
pub const SIGN_IN_ATTEMPTS: u32 = 5;
/// The window of [`SIGN_IN_ATTEMPTS`].
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(60);
/// What every API token begins with.
pub const TOKEN_PREFIX: &str = "wp_";
/// Most characters in the name of a token.
const MAX_TOKEN_NAME: usize = 100;
/// Most API tokens of a workspace that work at the same time.
const MAX_TOKENS: usize = 1_000;

/// People, sessions and tokens, as they are held in memory.
pub(crate) struct Accounts {
    users: BTreeMap<UserId, UserRow>,
    sessions: BTreeMap<[u8; 32], SessionRow>,
    touched: BTreeSet<SessionId>,
    tokens: BTreeMap<[u8; 32], TokenRow>,
    sign_ins: RateLimit,
}

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who, and what they may do.
    pub principal: Principal,
    /// Their name, for the top bar.
    pub name: String,
    /// The token that every form must carry back.
    pub form_token: String,
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefused {
    /// Unknown, used or too old.
    #[error("that sign-in secret is not valid (any more): it works once; print another with `watchpost sign-in-link`")]
    Unknown,
    /// Too many attempts.
    #[error("too many attempts from there: wait {} s and try again", .0.as_secs().max(1))]
    TooMany(Duration),
    /// The server's fault.
    #[error("signing in failed on the server's side")]
    Failed(#[from] AppError),
}

impl Accounts {
    pub(crate) async fn load(tx: &mut Transaction) -> Result<Self, AppError> {
        Ok(Self {
            users: tx.users().await?.into_iter().map(|user| (user.id, user)).collect(),
            sessions: tx.sessions().await?.into_iter().map(|(session, reference)| (reference, session)).collect(),
            touched: BTreeSet::new(),
            tokens: tx.tokens().await?.into_iter().map(|token| (token.secret, token)).collect(),
            sign_ins: RateLimit::new(SIGN_IN_ATTEMPTS, SIGN_IN_WINDOW),
        })
    }
}

fn is_alive(session: &SessionRow, now: Timestamp) -> bool {
    now.since(session.used_at) < SESSION_IDLE && now.since(session.created_at) < SESSION_ABSOLUTE
}

/// The token a form of this session must carry: it follows from the reference and does not give it away.
fn form_token(reference: &Secret) -> String {
    hex::encode(sha256(format!("form token of {}", reference.reveal()).as_bytes()))
}

impl App {
    /// Who carries this API token, if it is one that works.
    #[must_use]
    pub fn token_principal(&self, text: &str) -> Option<Principal> {
        let hash = Secret::from_text(text).filter(|secret| secret.reveal().starts_with(TOKEN_PREFIX))?.hash();
        let accounts = self.0.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let token = accounts.tokens.get(&hash)?;
        verify_slices_are_equal(&token.secret, &hash).ok()?;
        let is_over = token.revoked_at.is_some() || token.expires_at.is_some_and(|at| self.0.clock.wall() >= at);
        if is_over {
            return None;
        }
        Some(Principal {
            actor: Actor::Token { token: token.id, name: token.name.clone() },
            role: token.role.parse().ok()?,
            scopes: token.scopes.iter().map(|word| word.parse()).collect::<Result<_, _>>().ok()?,
        })
    }

    /// Whose session this reference opens, if it is alive. Counts as a use of it.
    #[must_use]
    pub fn session_visitor(&self, reference: &str) -> Option<Visitor> {
        let reference = Secret::from_text(reference)?;
        let now = self.0.clock.wall();
        let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
        let session = accounts.sessions.get_mut(&reference.hash()).filter(|session| is_alive(session, now))?;
        session.used_at = session.used_at.max(now);
        let (id, user) = (session.id, session.user);
        accounts.touched.insert(id);
        let user = accounts.users.get(&user).filter(|user| user.is_enabled)?;
        let actor = Actor::Person { user: user.id, name: user.name.clone(), session: id };
        let principal = Principal { actor, role: user.role.parse().ok()?, scopes: Vec::new() };
        Some(Visitor { principal, name: user.name.clone(), form_token: form_token(&reference) })
    }

    /// Uses a one-time secret up and opens a session: the answer is its reference, for the cookie.
    ///
    /// # Errors
    /// When the secret does not work, or there were too many attempts from this peer.
    pub async fn sign_in(&self, secret: &str, peer: IpAddr) -> Result<Secret, SignInRefused> {
        let now = self.0.clock.wall();
        {
            let accounts = self.0.accounts.read().unwrap_or_else(PoisonError::into_inner);
            accounts.sign_ins.attempt(peer, now).map_err(SignInRefused::TooMany)?;
        }
        let secret = Secret::from_text(secret.trim()).ok_or(SignInRefused::Unknown)?;
        let reference = Secret::draw("").map_err(AppError::from)?;
        let mut tx = self.begin().await?;
        let used = tx.use_sign_in_secret(&secret.hash(), now).await.map_err(AppError::from)?;
        let (user, _) =
            used.filter(|(_, made)| now.since(*made) < SIGN_IN_SECRET_LIFE).ok_or(SignInRefused::Unknown)?;
        let id = SessionId::from_parts(now, random_bits().map_err(AppError::from)?);
        let session = SessionRow { id, user, created_at: now, used_at: now };
        tx.insert_session(&session, &reference.hash()).await.map_err(AppError::from)?;
        let actor = Actor::Person { user, name: self.user_name(user), session: id };
        self.audit(&mut tx, &actor, "session.open", &user.to_string(), None, Some(json!({ "session": id })), None)
            .await?;
        tx.commit().await.map_err(AppError::from)?;
        let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.sessions.insert(reference.hash(), session);
        accounts.sign_ins.forgive(peer);
        Ok(reference)
    }

    fn user_name(&self, user: UserId) -> String {
        let accounts = self.0.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.users.get(&user).map(|user| user.name.clone()).unwrap_or_default()
    }

    /// Ends the session of a signed-in person.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sign_out(&self, principal: &Principal) -> Result<(), AppError> {
        let Actor::Person { session, user, .. } = &principal.actor else { return Ok(()) };
        let mut tx = self.begin().await?;
        tx.delete_session(*session).await?;
        self.audit(&mut tx, &principal.actor, "session.close", &user.to_string(), None, None, None).await?;
        tx.commit().await?;
        let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.sessions.retain(|_, row| row.id != *session);
        Ok(())
    }

    /// All API tokens, without their secrets.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenRow> {
        let accounts = self.0.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut tokens: Vec<_> = accounts.tokens.values().cloned().collect();
        tokens.sort_by_key(|token| (token.created_at, token.id));
        tokens
    }

    /// Makes an API token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the principal may not, the name is empty or too long, or the store fails.
    pub async fn create_token(
        &self,
        principal: &Principal,
        name: &str,
        role: Role,
        scopes: &[Action],
        life: Option<Duration>,
    ) -> Result<(TokenRow, Secret), AppError> {
        authorize(principal, Action::ManageTokens, Resource::Workspace)?;
        if name.trim().is_empty() || name.chars().count() > MAX_TOKEN_NAME {
            return Err(AppError::Invalid { field: "name", why: format!("write 1 to {MAX_TOKEN_NAME} characters") });
        }
        let now = self.0.clock.wall();
        let is_over = |token: &TokenRow| token.revoked_at.is_some() || token.expires_at.is_some_and(|at| now >= at);
        if self.tokens().iter().filter(|token| !is_over(token)).count() >= MAX_TOKENS {
            let why = format!("there are {MAX_TOKENS} API tokens already: revoke one that is not needed");
            return Err(AppError::Refused { code: "tooManyTokens", why });
        }
        let secret = Secret::draw(TOKEN_PREFIX)?;
        let token = TokenRow {
            id: TokenId::from_parts(now, random_bits()?),
            name: name.trim().to_owned(),
            role: role.to_string(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            secret: secret.hash(),
            created_at: now,
            expires_at: life.map(|life| now + life),
            revoked_at: None,
        };
        let mut tx = self.begin().await?;
        tx.insert_token(&token).await?;
        let after = json!({ "name": token.name, "role": token.role, "scopes": token.scopes, "expiresDateTime": token.expires_at });
        self.audit(&mut tx, &principal.actor, "token.create", &token.id.to_string(), None, Some(after), None).await?;
        tx.commit().await?;
        let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.tokens.insert(token.secret, token.clone());
        Ok((token, secret))
    }

    /// Revokes an API token at once.
    ///
    /// # Errors
    /// When the principal may not, there is no such token, or the store fails.
    pub async fn revoke_token(&self, principal: &Principal, id: TokenId) -> Result<(), AppError> {
        authorize(principal, Action::ManageTokens, Resource::Workspace)?;
        let now = self.0.clock.wall();
        let mut tx = self.begin().await?;
        if !tx.revoke_token(id, now).await? {
            return Err(AppError::NotFound { what: "working API token", id: id.to_string() });
        }
        self.audit(&mut tx, &principal.actor, "token.revoke", &id.to_string(), None, None, None).await?;
        tx.commit().await?;
        let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
        for token in accounts.tokens.values_mut().filter(|token| token.id == id) {
            token.revoked_at = Some(now);
        }
        Ok(())
    }

    /// Writes behind when sessions were used, and drops those that ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tidy_sessions(&self) -> Result<(), AppError> {
        let now = self.0.clock.wall();
        let (used, has_ended) = {
            let mut accounts = self.0.accounts.write().unwrap_or_else(PoisonError::into_inner);
            let before = accounts.sessions.len();
            accounts.sessions.retain(|_, session| is_alive(session, now));
            let touched = std::mem::take(&mut accounts.touched);
            let used = accounts.sessions.values().filter(|session| touched.contains(&session.id));
            let used: Vec<_> = used.map(|session| (session.id, session.used_at)).collect();
            (used, before != accounts.sessions.len())
        };
        if used.is_empty() && !has_ended {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        if !used.is_empty() {
            tx.touch_sessions(&used).await?;
        }
        if has_ended {
            tx.delete_old_sessions(now - SESSION_ABSOLUTE, now - SESSION_IDLE).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
