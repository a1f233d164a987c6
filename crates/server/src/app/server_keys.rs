//! The server's own key, and how the next one takes its place: `core::server_keys` decides, here it is made durable.
//!
//! What is decided stands in the database, the keys lie in files of their own that are never written twice, and hosts are
//! told by the director. A step that is cut off is finished when the server starts, or at the director's next signature.

use std::sync::{Mutex, PoisonError, RwLock};

use serde_json::json;
use tokio::sync::watch;
use watchpost_core::access_key::AccessKey;
use watchpost_core::id::SensorId;
use watchpost_core::server_keys::{Holder, NumberedKey, Readiness, Renewal, RenewalRefused, ServerKey, ServerKeys};
use watchpost_core::time::Timestamp;
use watchpost_store::Transaction;

use super::shelves::{blocking, refused};
use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::events::Event;
use crate::folder::{Folder, FolderError};
use crate::founding::{GATEWAY_CERTIFICATE, GATEWAY_KEY};
use crate::gateway::{GatewayCertificate, GatewayError};

/// The name under which the renewal stands among the settings.
const SETTING: &str = "serverKey";
/// The number of the key that a server is founded with.
const FIRST: u32 = 1;

/// Where the server's key stands, as doors ask for it.
pub(super) struct ServerKeyRoom {
    renewal: RwLock<Renewal>,
    /// What the director tells hosts; `None` while they know the server by their access key alone.
    told: RwLock<Option<ServerKeys>>,
    /// The certificate that serves since a switch; `None` before the first one of this run.
    served: watch::Sender<Option<GatewayCertificate>>,
    /// One step at a time touches files.
    files: Mutex<()>,
}

/// The server's key for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeyView {
    /// Where its renewal stands.
    pub renewal: Renewal,
    /// Who is ready for what comes next; nobody is asked while no key was ever announced.
    pub readiness: Readiness,
}

/// The files of the key with this number: its certificate and its private key.
fn files(number: u32) -> (String, String) {
    if number == FIRST {
        return (GATEWAY_CERTIFICATE.to_owned(), GATEWAY_KEY.to_owned());
    }
    (format!("gateway-{number}-certificate.der"), format!("gateway-{number}-key.der"))
}

fn unusable(error: FolderError) -> AppError {
    AppError::Files { doing: "use the gateway's key", source: std::io::Error::other(error) }
}

fn broken(error: GatewayError) -> AppError {
    AppError::Files { doing: "use the gateway's key", source: std::io::Error::other(error) }
}

fn read(folder: &Folder, number: u32) -> Result<GatewayCertificate, AppError> {
    let (certificate, key) = files(number);
    let read = |name: &str| folder.read_key(name).map_err(unusable);
    Ok(GatewayCertificate::from_der(read(&certificate)?, read(&key)?))
}

/// The file with the certificate that serves under this renewal.
pub(super) fn certificate_file(renewal: &Renewal) -> String {
    files(renewal.serving().number).0
}

fn not_now(why: RenewalRefused) -> AppError {
    let code = match &why {
        RenewalRefused::Order { .. } => "notNext",
        RenewalRefused::LockedOut { .. } => "wouldLockOut",
    };
    refused(code, why.to_string())
}

impl ServerKeyRoom {
    /// What was decided; a server that never renewed its key has the one that it was founded with.
    pub(super) async fn load(tx: &mut Transaction, folder: &Folder) -> Result<Self, AppError> {
        let renewal = match tx.setting::<Renewal>(SETTING).await? {
            Some((renewal, _)) => renewal,
            None => {
                let key = ServerKey::from(read(folder, FIRST)?.key_hash().map_err(broken)?);
                Renewal::Settled { serving: NumberedKey { number: FIRST, key } }
            }
        };
        let served = watch::Sender::new(None);
        Ok(Self { renewal: RwLock::new(renewal), told: RwLock::default(), served, files: Mutex::default() })
    }

    pub(super) fn renewal(&self) -> Renewal {
        *self.renewal.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// The certificate that the gateway presents.
    ///
    /// # Errors
    /// When its files cannot be read, or hold another key than hosts were told of.
    pub fn gateway_certificate(&self) -> Result<GatewayCertificate, AppError> {
        let serving = self.0.server_keys.renewal().serving();
        let certificate = read(&self.0.folder, serving.number)?;
        let key = ServerKey::from(certificate.key_hash().map_err(broken)?);
        if key != serving.key {
            let why = format!(
                "{} holds another key than hosts trust; put the backup's file back, and renew the key with `watchpost \
                 trust server-key announce`",
                files(serving.number).0
            );
            return Err(refused("otherServerKey", why));
        }
        Ok(certificate)
    }

    /// Hears of every certificate that begins to serve from here on.
    pub(crate) fn served_certificates(&self) -> watch::Receiver<Option<GatewayCertificate>> {
        self.0.server_keys.served.subscribe()
    }

    /// The whole access key with this secret, for hosts that enrol now.
    pub(super) fn with_serving_key(&self, key: AccessKey) -> AccessKey {
        AccessKey { server_key: *self.0.server_keys.renewal().serving().key.bytes(), ..key }
    }

    /// Whether a sensor that checks in should look at the director for the server's keys. Memory only.
    #[must_use]
    pub fn should_learn_server_keys(&self, id: SensorId) -> bool {
        let told = self.0.server_keys.told.read().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = told.as_ref() else { return false };
        self.fleet_ref(|fleet| fleet.sensors.get(&id).is_some_and(|sensor| sensor.report.server_keys != *told))
    }

    /// Where the server's key stands, and who is ready for what comes next.
    #[must_use]
    pub fn server_key(&self, now: Timestamp) -> ServerKeyView {
        let renewal = self.0.server_keys.renewal();
        let is_told = self.0.server_keys.told.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let readiness = if is_told { self.readiness(renewal.needed(), now) } else { Readiness::default() };
        ServerKeyView { renewal, readiness }
    }

    fn readiness(&self, key: ServerKey, now: Timestamp) -> Readiness {
        let silence = self.0.policy.contact.stopped_communicating_after;
        self.fleet_ref(|fleet| {
            let holders = fleet.sensors.values().map(|sensor| Holder {
                name: &sensor.name,
                held: &sensor.report.server_keys,
                heard_at: sensor.last_contact.unwrap_or(sensor.created_at),
            });
            Readiness::of(holders, key, silence, self.0.ready_at, now)
        })
    }

    /// Makes the next key and has the director tell hosts of it. The one before goes on serving.
    ///
    /// # Errors
    /// When the principal may not, a renewal is under way, or it cannot be saved.
    pub async fn announce_server_key(&self, principal: &Principal, reason: Option<String>) -> Result<(), AppError> {
        authorize(principal, Action::ManageTrust, Resource::Workspace)?;
        let _busy = self.busy();
        let gate = self.0.gate.lock().await;
        let (now, before) = (self.0.clock.now(), self.0.server_keys.renewal());
        let number = before.next_number().map_err(not_now)?;
        let app = self.clone();
        let key = blocking(move || app.make_key(number, now)).await??;
        let after = before.announce(key, now).map_err(not_now)?;
        self.decide(principal, "serverKey.announce", (before, after), reason).await?;
        // A publication holds the repositories when it asks for the gate.
        drop(gate);
        self.publish_server_keys().await.map(drop)
    }

    /// Has the announced key serve from here on; connections made under the one before end.
    ///
    /// # Errors
    /// When the principal may not, none is announced, a connected sensor does not hold it, or it cannot be saved.
    pub async fn switch_server_key(
        &self,
        principal: &Principal,
        is_forced: bool,
        reason: Option<String>,
    ) -> Result<(), AppError> {
        authorize(principal, Action::ManageTrust, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let (now, before) = (self.0.clock.now(), self.0.server_keys.renewal());
        let readiness = self.readiness(before.needed(), now);
        let after = before.switch(&readiness, is_forced, now).map_err(not_now)?;
        // Read and matched before anything is decided: afterwards there is no way back to the old key.
        let certificate = read(&self.0.folder, after.serving().number)?;
        certificate.certified().map_err(broken)?;
        self.decide(principal, "serverKey.switch", (before, after), reason).await?;
        self.0.server_keys.served.send_replace(Some(certificate));
        Ok(())
    }

    /// Has hosts drop the key that served before.
    ///
    /// # Errors
    /// When the principal may not, there is none, or it cannot be saved.
    pub async fn retire_server_key(&self, principal: &Principal, reason: Option<String>) -> Result<(), AppError> {
        authorize(principal, Action::ManageTrust, Resource::Workspace)?;
        let _busy = self.busy();
        let gate = self.0.gate.lock().await;
        let before = self.0.server_keys.renewal();
        let after = before.retire().map_err(not_now)?;
        self.decide(principal, "serverKey.retire", (before, after), reason).await?;
        drop(gate);
        self.publish_server_keys().await.map(drop)
    }

    async fn decide(
        &self,
        principal: &Principal,
        action: &str,
        (before, after): (Renewal, Renewal),
        reason: Option<String>,
    ) -> Result<(), AppError> {
        let mut tx = self.begin().await?;
        tx.save_setting(SETTING, &after).await?;
        let (was, is) = (Some(json!(before)), Some(json!(after)));
        self.audit(&mut tx, &principal.actor, action, "serverKey", was, is, reason).await?;
        tx.commit().await?;
        *self.0.server_keys.renewal.write().unwrap_or_else(PoisonError::into_inner) = after;
        self.0.bus.announce(Event::Settings);
        Ok(())
    }

    /// A fresh key in files of its own. What an announcement that was cut off has left there, nobody was told of.
    fn make_key(&self, number: u32, now: Timestamp) -> Result<ServerKey, AppError> {
        let _one_at_a_time = self.0.server_keys.files.lock().unwrap_or_else(PoisonError::into_inner);
        let (certificate_file, key_file) = files(number);
        let made = GatewayCertificate::generate(now).map_err(broken)?;
        let folder = &self.0.folder;
        for (name, bytes) in [(certificate_file, made.certificate()), (key_file, made.key())] {
            let path = folder.key(&name);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(unusable(FolderError::File { path, source }));
                }
                Ok(()) | Err(_) => folder.write_private(&path, bytes).map_err(unusable)?,
            }
        }
        made.key_hash().map(ServerKey::from).map_err(broken)
    }

    /// Has the director name what was decided, if it does not yet. A key that was never renewed needs no telling: the
    /// access key names it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) async fn publish_server_keys(&self) -> Result<bool, AppError> {
        let renewal = || self.0.server_keys.renewal();
        let told = self.0.shelves.tell_server_keys(renewal, self.0.clock.now()).await?;
        let mut before = self.0.server_keys.told.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *before != told;
        *before = told;
        Ok(is_news)
    }
}
