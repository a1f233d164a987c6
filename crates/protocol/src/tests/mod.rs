//! What the messages promise, from outside.

mod limits;
mod version_1;
