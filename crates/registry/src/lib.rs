//! A schema registry over HTTP (Confluent's API): fetches the schemas that records name by id, and
//! holds records back until theirs is there.
//!
//! Invariants:
//! - What works on records never waits for the network: [`Registry::lookup`] answers from memory, and
//!   a thread of its own asks.
//! - An id is immutable: what the registry has said about it once holds. That it does not know an id
//!   holds for a while only. What is no clear answer (down, slow, garbage) is asked again and never
//!   taken for one.
//! - Memory is bounded, whatever ids come with records and whatever the registry answers.

mod client;
mod ids;
mod resolving;
mod service;
mod settings;
mod subjects;

pub use client::RegistryError;
pub use ids::Lookup;
pub use resolving::{Held, Resolving};
pub use service::{Health, Registry, Waking};
pub use settings::Settings;
pub use subjects::{Compatibility, Subjects};
