//! The packet engine against the real Suricata, with real traffic, once for every hazard that was seen.

mod lab;
mod life;
mod loading;
mod seeing;
