//! Lines that Suricata 7.0.10 wrote, and what they must come to.
