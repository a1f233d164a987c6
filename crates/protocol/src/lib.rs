//! What a sensor host and the gateway say to each other.
