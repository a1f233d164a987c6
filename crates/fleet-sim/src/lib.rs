//! Simulated sensors over the real protocol: load generator and test double.
