//! What stands behind the gateway under test: a real server's state in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;
use watchpost_clock::Clock;
use watchpost_core::access_key::AccessKey;
use watchpost_core::id::SensorId;
use watchpost_core::time::Timestamp;
use watchpost_package::{Director, SigningKey};
use watchpost_store::Store;

use crate::app::{App, Limits, Parts};
use crate::folder::Folder;
use crate::founding::{DIRECTOR_ONLINE, Plan, found};

/// The largest package such a server takes; none is published here.
const PACKAGE_BYTES: u64 = 1024;

/// A server's state, without doors and workers.
pub(super) struct Seat {
    app: App,
    store: Store,
    access_key: AccessKey,
    _folder: TempDir,
}

impl Seat {
    pub(super) async fn open(now: Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(now);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let data_dir = folder.path().join("server");
        let plan = Plan { data_dir: data_dir.clone(), image_root: None, portal: any, gateway: any };
        let founded = found(plan, &clock).await.unwrap();
        let server = Folder::new(data_dir);
        let store = Store::open(&server.database()).await.unwrap();
        let online = SigningKey::load(&server.key(DIRECTOR_ONLINE)).unwrap();
        let parts = Parts {
            workspace: store.first_workspace().await.unwrap().unwrap(),
            store: store.clone(),
            clock,
            director: Director::open(&server.director(), online).unwrap(),
            folder: server,
            limits: Limits { package_bytes: PACKAGE_BYTES },
            mirror: None,
            directories: Vec::new(),
            portal: None,
            places: watchpost_core::connection::Places {
                gateway: (None, 0),
                portal: (None, 0, false),
                directories: Vec::new(),
            },
        };
        let app = App::load(parts).await.unwrap();
        Self { app, store, access_key: founded.access_key.reveal().parse().unwrap(), _folder: folder }
    }

    pub(super) fn app(&self) -> App {
        self.app.clone()
    }

    pub(super) fn secret(&self) -> [u8; 32] {
        *self.access_key.secret.bytes()
    }

    /// Takes the database away, as a failing disk would.
    pub(super) async fn lose_store(&self) {
        self.store.close().await;
    }

    /// Forgets a sensor, as removing it will.
    pub(super) fn revoke(&self, id: SensorId) {
        self.app.forget_pin(id);
    }
}
