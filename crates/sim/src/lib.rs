//! The engine on a simulated Kafka.
//!
//! A cluster in memory with transactional semantics ([`cluster`]), a virtual clock, instances with
//! workers that run the real `engine::member` through ports of their own, faults from a seed
//! ([`world`]), and checks of what they leave behind ([`check`]). The same seed gives the same run, to
//! the last byte.
//!
//! What is simulated, what is not, and how a seed is replayed: docs/simulation.md.

mod agenda;
pub mod campaign;
pub mod check;
pub mod cluster;
pub mod faults;
mod hand;
pub mod load;
mod log;
pub mod mutants;
mod place;
pub mod promotion;
mod random;
pub mod seed;
pub mod shop;
mod store;
pub mod time;
pub mod trace;
mod worker;
pub mod world;
