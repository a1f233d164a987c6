//! The keys of its server that this host trusts: at first the one of its access key, later what the director signs.
//!
//! Never believes the server's word alone, and never trusts a key, or drops one, before that is durable.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};
use watchpost_core::server_keys::{ServerKey, ServerKeys};
use watchpost_core::time::Timestamp;

use super::error::{PrepareError, in_one_line};
use super::layout::Layout;
use super::prepare::Preparer;
use super::record_store::{RecordError, RecordStore};
use crate::host::disk::Disk;
use crate::host_config::HostConfig;
use crate::transport::Client;

/// What was verified, for the access key that the host was set up with. Another access key begins anew.
#[derive(Serialize, Deserialize)]
struct Verified {
    base: ServerKey,
    keys: ServerKeys,
}

fn store(layout: &Layout) -> RecordStore<Verified> {
    RecordStore::at(layout.server_keys_slots(), Disk::default())
}

/// The keys that the host in `root` trusts; `None`: its settings name none.
pub(crate) fn trusted(root: &Path, config: &HostConfig) -> Option<ServerKeys> {
    let base = config.server_key()?;
    let verified = store(&Layout::new(root)).read().filter(|verified| verified.base == base);
    Some(verified.map_or_else(|| ServerKeys::from([base]), |verified| verified.keys))
}

/// What looking at the director came to.
pub(super) type Learnt = Result<Result<ServerKeys, PrepareError>, JoinError>;

/// Learns keys, and makes them durable before anybody trusts them.
pub(super) struct ServerTrust {
    store: RecordStore<Verified>,
    base: ServerKey,
    client: Client,
    preparer: Preparer,
    /// The one look under way; it ends with the session.
    looking: JoinSet<Result<ServerKeys, PrepareError>>,
}

impl ServerTrust {
    /// For the host with this layout, whose access key named `base`; what is learnt, `client` and its clones trust.
    pub(super) fn new(layout: &Layout, base: ServerKey, client: Client, preparer: Preparer) -> Self {
        Self { store: store(layout), base, client, preparer, looking: JoinSet::new() }
    }

    /// Looks at the director, if that is not under way.
    pub(super) fn learn(&mut self, is_established: bool, server_time: Timestamp) {
        if self.looking.is_empty() {
            let preparer = self.preparer.clone();
            self.looking.spawn(async move { preparer.server_keys(is_established, server_time).await });
        }
    }

    /// Whether a look is under way.
    pub(super) fn is_learning(&self) -> bool {
        !self.looking.is_empty()
    }

    /// What a look came to; `None` while there is none.
    pub(super) async fn learnt(&mut self) -> Option<Learnt> {
        self.looking.join_next().await
    }

    /// Keeps what was learnt, and trusts it. What could not be learnt is looked for again after the next check-in.
    pub(super) fn keep(&self, learnt: Learnt) -> Result<(), RecordError> {
        let keys = match learnt {
            Ok(Ok(keys)) => keys,
            Ok(Err(error)) => {
                tracing::warn!("the server's keys could not be learnt: {}", in_one_line(&error));
                return Ok(());
            }
            Err(error) => {
                tracing::warn!("looking for the server's keys ended early: {error}");
                return Ok(());
            }
        };
        if keys != self.client.trusted() {
            self.store.write(&Verified { base: self.base, keys: keys.clone() })?;
            tracing::info!("the director names {} keys of the server; they are trusted from here on", keys.len());
            self.client.trust(keys);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: u8) -> HostConfig {
        let settings = serde_json::json!({
            "name": "DC01", "sensorType": "domainControllerIntegrated", "server": "gw.example:8443",
            "serverKeySha256": hex::encode([key; 32]), "directorRootSha256": "",
        });
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn what_was_verified_is_trusted_until_another_access_key_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.updater()).unwrap();
        let key = |byte: u8| ServerKey::from([byte; 32]);
        let trusted = |of: u8| trusted(dir.path(), &config(of)).unwrap();
        assert_eq!(trusted(1), [key(1)].into());
        store(&layout).write(&Verified { base: key(1), keys: [key(1), key(2)].into() }).unwrap();
        assert_eq!(trusted(1), [key(1), key(2)].into());
        store(&layout).write(&Verified { base: key(1), keys: [key(2)].into() }).unwrap();
        assert_eq!(trusted(1), [key(2)].into(), "the one of the access key was retired");
        assert_eq!(trusted(3), [key(3)].into(), "set up with another access key");
        // A torn slot: the record before it counts.
        std::fs::write(&layout.server_keys_slots()[1], b"torn").unwrap();
        assert_eq!(trusted(1), [key(1), key(2)].into());
    }
}
