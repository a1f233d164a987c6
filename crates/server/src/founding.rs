//! How a server comes to be: its folder, keys, repositories, first administrator, first token.
//!
//! Secrets made here are printed once by `init`; what is kept of them is a hash, or a file only the server may read.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use watchpost_clock::Clock;
use watchpost_core::access_key::{AccessKey, AccessSecret};
use watchpost_core::id::{AuditId, SiteId, TokenId, UserId, WorkspaceId, ZoneId};
use watchpost_core::time::Timestamp;
use watchpost_package::{Director, Mirror, MirrorError, RepositoryError, SigningKey};
use watchpost_store::{AuditEntry, SiteRow, Store, StoreError, TokenRow, Transaction, UserRow, ZoneRow};

use crate::app::accounts::TOKEN_PREFIX;
use crate::auth::access::{Actor, Role};
use crate::auth::secret::{NoRandomness, Secret, random_bits, random_bytes, sha256};
use crate::config::{Settings, starting_text};
use crate::folder::{Folder, FolderError};
use crate::gateway::{GatewayCertificate, GatewayError};

/// The gateway's certificate among the keys, DER.
pub(crate) const GATEWAY_CERTIFICATE: &str = "gateway-certificate.der";
/// The gateway's private key among the keys, PKCS #8 DER.
pub(crate) const GATEWAY_KEY: &str = "gateway-key.der";
/// The director's online key among the keys.
pub(crate) const DIRECTOR_ONLINE: &str = "director-online.pem";
/// The whole current access key among the keys, for showing it.
pub(crate) const ACCESS_KEY: &str = "access-key";
/// The first root of the image repository among the keys.
pub(crate) const IMAGE_ROOT: &str = "image-1.root.json";
/// Root keys of the director.
const DIRECTOR_ROOT_KEYS: usize = 3;
/// Largest image root that is taken.
const MAX_IMAGE_ROOT: usize = 512_000;

/// What a server is founded with.
pub struct Plan {
    /// Its folder; empty or absent.
    pub data_dir: PathBuf,
    /// First root of the image repository.
    pub image_root: Option<Vec<u8>>,
    /// Where portal and API will listen.
    pub portal: SocketAddr,
    /// Where sensor hosts will call.
    pub gateway: SocketAddr,
}

/// What is told once about a new server.
#[derive(Debug)]
pub struct Founded {
    /// Its configuration.
    pub config: PathBuf,
    /// Its keys.
    pub keys: PathBuf,
    /// Where the portal will be.
    pub portal_url: String,
    /// Admits hosts.
    pub access_key: Secret,
    /// Signs the first administrator in, once.
    pub sign_in_secret: Secret,
    /// Lets scripts in as administrator.
    pub api_token: Secret,
}

/// Why a server was not founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// Its folder cannot be used.
    #[error("the server's folder cannot be used")]
    Folder(#[from] FolderError),
    /// Its database cannot be used.
    #[error("the server's database cannot be used")]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error("no keys could be made")]
    Random(#[from] NoRandomness),
    /// The gateway's certificate could not be made.
    #[error("the gateway's certificate could not be made")]
    Gateway(#[from] GatewayError),
    /// A signing key could not be made or written.
    #[error("a signing key of the director could not be made")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The director could not be made.
    #[error("the director repository could not be made")]
    Director(#[from] RepositoryError),
    /// The copy of the image repository could not be made.
    #[error("the image repository could not be made")]
    Mirror(#[from] MirrorError),
    /// The given image root is no root at all.
    #[error("the image root is {0}; give the file 1.root.json of the author's repository")]
    ImageRoot(&'static str),
    /// The database has no workspace or no administrator.
    #[error("the database has no {0}; it was not made by `watchpost init`, or is damaged: restore a backup")]
    Incomplete(&'static str),
    /// The access key read back is damaged.
    #[error("an access key could not be made from these parts")]
    AccessKey,
}

/// Makes a new server.
///
/// # Errors
/// When the folder holds one already, or a part cannot be made.
pub async fn found(plan: Plan, clock: &Clock) -> Result<Founded, FoundingError> {
    let now = clock.now();
    if let Some(root) = &plan.image_root {
        check_image_root(root)?;
    }
    let folder = Folder::new(std::path::absolute(&plan.data_dir).unwrap_or(plan.data_dir));
    folder.found()?;
    let gateway = GatewayCertificate::generate(now)?;
    folder.write_private(&folder.key(GATEWAY_CERTIFICATE), gateway.certificate())?;
    folder.write_private(&folder.key(GATEWAY_KEY), gateway.key())?;
    let director = make_director(&folder, now)?;
    if let Some(root) = plan.image_root {
        folder.write_private(&folder.key(IMAGE_ROOT), &root)?;
        Mirror::open(&folder.image(), root)?;
    }
    let secret = AccessSecret::new(random_bytes()?);
    let access_key = AccessKey {
        secret: secret.clone(),
        server_key: gateway.key_hash()?,
        director_root: *director.root_sha256()?.bytes(),
    };
    let access_key = Secret::from_key_text(access_key.to_string()).ok_or(FoundingError::AccessKey)?;
    folder.write_private(&folder.key(ACCESS_KEY), access_key.reveal().as_bytes())?;
    let (sign_in_secret, api_token) = (Secret::draw("")?, Secret::draw(TOKEN_PREFIX)?);
    // Made before the store opens it, which would let everybody read it where the folder was there before.
    folder.write_private(&folder.database(), b"")?;
    let store = Store::open(&folder.database()).await?;
    fill(&store, &secret, &sign_in_secret, &api_token, now).await?;
    store.close().await;
    folder.write_private(&folder.config(), starting_text(plan.portal, plan.gateway).as_bytes())?;
    let (config, keys) = (folder.config(), folder.keys());
    Ok(Founded { config, keys, portal_url: format!("http://{}", plan.portal), access_key, sign_in_secret, api_token })
}

/// A root is recognised by what it says of itself; whether its signatures hold is judged at every publication.
fn check_image_root(root: &[u8]) -> Result<(), FoundingError> {
    if root.len() > MAX_IMAGE_ROOT {
        return Err(FoundingError::ImageRoot("too large"));
    }
    let document: serde_json::Value = serde_json::from_slice(root).map_err(|_| FoundingError::ImageRoot("no JSON"))?;
    let kind = document.get("signed").and_then(|signed| signed.get("_type")).and_then(serde_json::Value::as_str);
    if kind == Some("root") { Ok(()) } else { Err(FoundingError::ImageRoot("not the root of a TUF repository")) }
}

fn make_director(folder: &Folder, now: Timestamp) -> Result<Director, FoundingError> {
    let draw = |name: &str| -> Result<SigningKey, FoundingError> {
        let key = SigningKey::generate().map_err(|error| FoundingError::Key(Box::new(error)))?;
        key.save(&folder.key(name)).map_err(|error| FoundingError::Key(Box::new(error)))?;
        Ok(key)
    };
    let mut roots = Vec::with_capacity(DIRECTOR_ROOT_KEYS);
    for number in 1..=DIRECTOR_ROOT_KEYS {
        roots.push(draw(&format!("director-root-{number}.pem"))?);
    }
    Ok(Director::create(&folder.director(), &roots, draw(DIRECTOR_ONLINE)?, now)?)
}

/// The first rows of a new database.
async fn fill(
    store: &Store,
    access: &AccessSecret,
    sign_in: &Secret,
    token: &Secret,
    now: Timestamp,
) -> Result<(), FoundingError> {
    let mut tx = store.begin(WorkspaceId::from_parts(now, random_bits()?)).await?;
    tx.insert_workspace("main", now).await?;
    let site = SiteRow { id: SiteId::from_parts(now, random_bits()?), name: "default".to_owned() };
    tx.insert_site(&site, now).await?;
    let zone = ZoneRow { id: ZoneId::from_parts(now, random_bits()?), site: site.id, name: "default".to_owned() };
    tx.insert_zone(&zone, now).await?;
    let role = Role::Administrator.to_string();
    let user = UserId::from_parts(now, random_bits()?);
    let person = UserRow { id: user, name: "administrator".to_owned(), role: role.clone(), is_enabled: true };
    tx.insert_user(&person, now).await?;
    tx.replace_sign_in_secret(user, &sign_in.hash(), now).await?;
    tx.replace_access_key(&sha256(access.bytes()), now).await?;
    let token = TokenRow {
        id: TokenId::from_parts(now, random_bits()?),
        name: "first token".to_owned(),
        role,
        scopes: Vec::new(),
        secret: token.hash(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    tx.insert_token(&token).await?;
    let subject = tx.workspace().to_owned();
    note(&mut tx, "server.init", &subject, now).await?;
    Ok(tx.commit().await?)
}

async fn note(tx: &mut Transaction, action: &str, subject: &str, now: Timestamp) -> Result<(), FoundingError> {
    let entry = AuditEntry {
        id: AuditId::from_parts(now, random_bits()?),
        at: now,
        actor: Actor::Console.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        before: None,
        after: Some(json!({})),
        reason: None,
    };
    Ok(tx.append_audit(&entry).await?)
}

/// A fresh one-time sign-in for the first administrator; the one before stops working. The server may be running.
///
/// # Errors
/// When the database cannot be used.
pub async fn new_sign_in_secret(settings: &Settings, clock: &Clock) -> Result<(String, Secret), FoundingError> {
    let folder = Folder::new(settings.data_dir.clone());
    if !folder.database().exists() {
        return Err(FolderError::NotFounded(settings.data_dir.clone()).into());
    }
    let store = Store::open(&folder.database()).await?;
    let workspace = store.first_workspace().await?.ok_or(FoundingError::Incomplete("workspace"))?;
    let (now, secret) = (clock.wall(), Secret::draw("")?);
    let mut tx = store.begin(workspace).await?;
    let administrator = Role::Administrator.to_string();
    let person = tx.users().await?.into_iter().find(|user| user.is_enabled && user.role == administrator);
    let person = person.ok_or(FoundingError::Incomplete("administrator"))?;
    tx.replace_sign_in_secret(person.id, &secret.hash(), now).await?;
    note(&mut tx, "signInSecret.create", &person.id.to_string(), now).await?;
    tx.commit().await?;
    store.close().await;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    Ok((format!("{scheme}://{}", settings.portal), secret))
}
