//! A network sensor on two cables: every message of the documents that a Linux host can cause.
