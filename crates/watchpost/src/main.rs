//! The one binary of the control plane.
fn main() {}
