//! Why a use case did not do what it was asked.

use watchpost_store::StoreError;

use crate::auth::access::Denied;
use crate::auth::secret::NoRandomness;

/// A use case that was not carried out. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        id: String,
    },
    /// The principal may not.
    #[error("not allowed")]
    Denied(#[from] Denied),
    /// It cannot be done as things stand.
    #[error("{why}")]
    Refused {
        /// Stable word for programs.
        code: &'static str,
        /// What is in the way and what would change it.
        why: String,
    },
    /// A value is not one it may be.
    #[error("{field}: {why}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Something that was sent is larger than allowed.
    #[error("{why}")]
    TooLarge {
        /// How large it may be, and who could change that.
        why: String,
    },
    /// The store failed.
    #[error("the change could not be saved")]
    Store(#[from] StoreError),
    /// The system gave no random bytes.
    #[error("no id could be drawn")]
    Random(#[from] NoRandomness),
    /// A file of the server could not be read or written.
    #[error("a file of the server could not be used while trying to {doing}")]
    Files {
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl AppError {
    /// Whether the disk was full: nothing was kept, and some free space is all it takes.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let is_full = match error.downcast_ref::<std::io::Error>() {
                Some(error) => error.kind() == std::io::ErrorKind::StorageFull,
                None => matches!(error.downcast_ref(), Some(StoreError::DiskFull(_))),
            };
            if is_full {
                return true;
            }
            // An io::Error that wraps another error does not name it as its source, but that error's source.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            cause = wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        false
    }

    /// The error with its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
