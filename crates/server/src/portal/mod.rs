//! The portal: pages for people, rendered on the server. It shows what the use cases answer and decides nothing.
//!
//! Every page works without JavaScript; `live.js` only saves the reload. No inline script, no inline style.

pub mod assets;
pub mod grid;
pub mod mark;
pub mod page;
pub mod pages;
pub mod view;
pub mod when;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
