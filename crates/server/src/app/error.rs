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
