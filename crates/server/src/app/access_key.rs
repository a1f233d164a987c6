//! The access key: shown to who may enrol hosts, and replaced by another one. Sensors that are enrolled know nothing of it.
//!
//! The database knows its hash, a file its text. The next text lies beside it before the hash changes, so that whoever
//! starts after a crash has the text that the database means.

use std::fs::File;
use std::io;

use serde_json::json;
use watchpost_core::access_key::{AccessKey, AccessSecret};
use watchpost_store::Transaction;

use super::{App, AppError};
use crate::auth::access::{Action, Principal, Resource, authorize};
use crate::auth::secret::{random_bytes, sha256};
use crate::folder::{Folder, FolderError};
use crate::founding::ACCESS_KEY;

/// The text of the next access key, until the database means it.
const NEXT: &str = "access-key.next";

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AppError {
    AppError::Files { doing: "keep the access key", source: io::Error::other(error) }
}

fn read(folder: &Folder, name: &str) -> Result<AccessKey, AppError> {
    let bytes = folder.read_key(name).map_err(failed)?;
    String::from_utf8_lossy(&bytes).parse().map_err(failed)
}

/// Puts the next text in its place, durably.
fn promote(folder: &Folder) -> Result<(), AppError> {
    std::fs::rename(folder.key(NEXT), folder.key(ACCESS_KEY)).map_err(failed)?;
    File::open(folder.keys()).and_then(|keys| keys.sync_all()).map_err(failed)
}

fn discard(folder: &Folder) -> Result<(), AppError> {
    match std::fs::remove_file(folder.key(NEXT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Ends a replacement that was cut off, whichever way it went.
pub(super) async fn finish(tx: &mut Transaction, folder: &Folder) -> Result<(), AppError> {
    let Ok(next) = read(folder, NEXT) else { return discard(folder) };
    let is_meant = tx.access_key().await? == Some(sha256(next.secret.bytes()));
    if is_meant { promote(folder) } else { discard(folder) }
}

impl App {
    /// The whole current access key, for showing it to who may enrol hosts.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn access_key(&self) -> Result<String, AppError> {
        // The file was written with the key that served then.
        Ok(self.with_serving_key(read(&self.0.folder, ACCESS_KEY)?).to_string())
    }

    /// Makes another access key and gives it. The one before admits nobody from here on; who is enrolled stays so.
    ///
    /// # Errors
    /// When the principal may not, or it cannot be saved; the one before holds then.
    pub async fn regenerate_access_key(
        &self,
        principal: &Principal,
        reason: Option<String>,
    ) -> Result<String, AppError> {
        authorize(principal, Action::ManageAccessKey, Resource::Workspace)?;
        let _busy = self.busy();
        let _gate = self.0.gate.lock().await;
        let folder = &self.0.folder;
        let before = read(folder, ACCESS_KEY)?;
        let next = self.with_serving_key(AccessKey { secret: AccessSecret::new(random_bytes()?), ..before });
        discard(folder)?;
        let keep = |error: FolderError| failed(error);
        folder.write_private(&folder.key(NEXT), next.to_string().as_bytes()).map_err(keep)?;
        let mut tx = self.begin().await?;
        tx.replace_access_key(&sha256(next.secret.bytes()), self.0.clock.now()).await?;
        let after = Some(json!({}));
        self.audit(&mut tx, &principal.actor, "accessKey.regenerate", "accessKey", None, after, reason).await?;
        tx.commit().await?;
        promote(folder)?;
        Ok(next.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::Value;

    use super::*;
    use crate::app::enrollment::{EnrollRefused, EnrollRequest};
    use crate::testing::{A, House, T0, call, running};

    fn secret(text: &str) -> String {
        text.split('.').next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn another_access_key_admits_and_the_one_before_does_not_and_who_is_enrolled_goes_on() {
        let house = House::new().await;
        let server = house.start().await;
        let host = house.host(server.app(), 1, false, A).await;
        let old = server.app().access_key().unwrap();
        let answer =
            house.call(&server, Method::POST, "/api/v1/access-key/regenerate", br#"{"reason":"leaked"}"#).await;
        let new = answer.json()["accessKey"].as_str().unwrap().to_owned();
        assert_eq!(server.app().access_key().unwrap(), new);
        // The same server, another secret.
        assert_ne!(secret(&new), secret(&old));
        assert_eq!(new.split_once('.').unwrap().1, old.split_once('.').unwrap().1);
        for round in 0..2 {
            assert_eq!(server.app().sensor_by_pin(&[1; 32]), Some(host));
            server.app().check_in(host, running(A), T0).await.unwrap();
            let refused = server.app().enroll(house.enrolment("DC02", false), [2; 32], T0).await;
            assert!(matches!(refused, Err(EnrollRefused::UnknownAccessKey)), "{refused:?} in round {round}");
        }
        let with_new = EnrollRequest { secret: secret(&new), ..house.enrolment("DC02", false) };
        server.app().enroll(with_new, [2; 32], T0).await.unwrap();
        let audit = server.app().audit_log(0, 100).await.unwrap();
        let row = audit.iter().find(|row| row.entry.action == "accessKey.regenerate").unwrap();
        assert_eq!(row.entry.reason.as_deref(), Some("leaked"));
        assert!(!format!("{row:?}").contains(&secret(&new)), "the audit log tells the secret");
        server.stop().await.unwrap();
        let server = house.start().await;
        assert_eq!(server.app().access_key().unwrap(), new);
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn an_administrator_alone_replaces_the_access_key() {
        let house = House::new().await;
        let server = house.start().await;
        let made = br#"{"displayName":"ci","role":"user"}"#;
        let made: Value = house.call(&server, Method::POST, "/api/v1/tokens", made).await.json();
        let user = format!("Authorization: Bearer {}\r\n", made["token"].as_str().unwrap());
        let refused = call(&server, Method::POST, "/api/v1/access-key/regenerate", &user, b"").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_replacement_that_was_cut_off_is_ended_as_the_database_means_it() {
        let house = House::new().await;
        let server = house.start().await;
        let text = server.app().access_key().unwrap();
        server.stop().await.unwrap();
        let keys = house.path("server/keys");
        // Cut off before the database was changed: another text waits that it does not mean.
        let other: AccessKey = text.parse().unwrap();
        let other = AccessKey { secret: AccessSecret::new([5; 32]), ..other }.to_string();
        std::fs::write(keys.join(NEXT), &other).unwrap();
        let server = house.start().await;
        assert_eq!(server.app().access_key().unwrap(), text);
        assert!(!keys.join(NEXT).exists());
        server.stop().await.unwrap();
        // Cut off after it: the text that it means waits, and the old one stands in its place.
        std::fs::write(keys.join(NEXT), &text).unwrap();
        std::fs::write(keys.join(ACCESS_KEY), &other).unwrap();
        let server = house.start().await;
        assert_eq!(server.app().access_key().unwrap(), text);
        server.stop().await.unwrap();
    }
}
