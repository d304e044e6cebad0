//! Made-up traffic: a whole synthetic shop ([`ShopTraffic`]), browsing around real orders
//! ([`DemoBrowsing`]), and the disorder of real delivery ([`Disorder`]).
//!
//! Each is an iterator of [`domain::event::Event`], so that `.take(n)` limits it and nothing is
//! ever held whole in memory.
//!
//! Invariants:
//! - The same configuration gives the same events, on every platform: no clock, no global random
//!   numbers, no randomly ordered map. Random numbers are PCG's; the few logarithms are `libm`'s;
//!   everything else is integer arithmetic or exact IEEE 754 operations.
//! - Memory is bounded by who is active, or by the window of disorder, never by how many events
//!   have gone by.
//! - Amounts are exact integers of the shop's smallest accounting unit.
//!
//! What it does not do: fit itself to data, or claim to. The rates are plausible for a shop of
//! many small customers and are held by tests within tolerances.

mod after;
mod calendar;
mod catalogue;
mod config;
mod demo;
mod disorder;
mod ids;
mod person;
mod queue;
mod random;
mod session;
mod shop;

pub use config::{ConfigError, ShopConfig};
pub use demo::DemoBrowsing;

pub use disorder::{Disorder, Timed};
pub use shop::ShopTraffic;
