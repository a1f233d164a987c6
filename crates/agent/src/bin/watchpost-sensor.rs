//! The sensor service of a sensor host.
fn main() {}
