//! The pure core: what an event does to a customer's profile, and what changes because of it.
//!
//! No clock, no randomness, no IO: the same profile, event and definitions give the same profile
//! and the same changes, byte for byte. Nothing here fails: bad input never becomes an
//! [`event::Event`].

pub mod behaviour;
pub mod change;
pub mod definitions;
pub mod event;
pub mod money;
pub mod orders;
pub mod prediction;
pub mod profile;
pub mod purchases;
pub mod rules;
pub mod sums;
pub mod time;
pub mod value;
mod view;
