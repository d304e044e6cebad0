//! The imperative shell around the engine on this machine: a deployment's log and state, the worker
//! threads, loading of history, tables of what is known.

pub mod configured;
mod control;
pub mod demo;
pub mod deployment;
pub mod error;
pub mod export;
pub mod kafka;
mod leases;
pub mod load;
pub mod log;
pub mod models;
pub mod observe;
mod occupation;
pub mod outline;
mod placement;
mod progress;
mod restore;
pub mod retention;
mod state;
pub mod status;
pub mod summary;
pub mod workers;

pub use deployment::Deployment;
pub use error::RuntimeError;
pub use outline::Outline;
