//! The updater service of a sensor host.
fn main() {}
