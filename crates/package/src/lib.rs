//! The release package and its trust: strict CAB, TUF repositories, verification, extraction.
