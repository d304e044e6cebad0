//! What the engine's tests drive it with: a log and a store in memory, a rig around a worker, a group,
//! and short ways to write events.

pub(crate) mod events;
pub(crate) mod group;
pub(crate) mod map_store;
pub(crate) mod memory_log;
pub(crate) mod rig;
