//! The director's root at the server's console: signed anew while no server runs on the folder.
//!
//! The keys of the root may lie anywhere; they are read for this one signature and never kept here.

use std::path::Path;

use watchpost_core::time::Timestamp;
use watchpost_package::RepositoryError;
use watchpost_package::tuf::{Rotated, rotate_director};

use crate::config::Settings;
use crate::folder::{Folder, FolderError};

/// Why the director's root was not signed anew.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The server's folder cannot be had.
    #[error("the director's root is signed while the server is stopped; hosts go on meanwhile")]
    Folder(#[from] FolderError),
    /// It cannot be signed.
    #[error("the director's root was not signed anew")]
    Director(#[from] RepositoryError),
}

/// Signs the next root of the director with the keys in `keys`, and gives new keys to those of `replaced`.
///
/// # Errors
/// When the server runs, too few keys are at hand, or the disk refuses. Done again it goes on where it was cut off.
pub fn rotate_director_root(
    settings: &Settings,
    keys: Option<&Path>,
    replaced: &[String],
    now: Timestamp,
) -> Result<Rotated, RotateError> {
    let folder = Folder::new(settings.data_dir.clone());
    let _held = folder.hold()?;
    let own = folder.keys();
    Ok(rotate_director(&folder.director(), keys.unwrap_or(&own), &own, replaced, now)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{House, T0};

    #[tokio::test]
    async fn the_directors_root_is_signed_anew_while_no_server_runs() {
        let house = House::new().await;
        let server = house.start().await;
        let online = ["director-online".to_owned()];
        let rotate = |replaced: &[String]| rotate_director_root(&house.settings(), None, replaced, T0);
        assert!(matches!(rotate(&[]), Err(RotateError::Folder(FolderError::Held(_)))));
        let access_key = server.app().access_key().unwrap();
        server.stop().await.unwrap();
        let rotated = rotate(&online).unwrap();
        assert_eq!((rotated.version, rotated.retired.len()), (2, 1));
        let elsewhere = house.path("nowhere");
        let refused = rotate_director_root(&house.settings(), Some(&elsewhere), &[], T0);
        assert!(matches!(refused, Err(RotateError::Director(RepositoryError::TooFewKeys { .. }))), "{refused:?}");
        let server = house.start().await;
        assert_eq!(server.app().access_key().unwrap(), access_key, "hosts enrol by the first root for ever");
        server.stop().await.unwrap();
    }
}
