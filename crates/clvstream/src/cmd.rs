//! The commands, one module each: what can be typed for it, and what it does.

pub mod config;
pub mod demo;
pub mod export;
pub mod mapping;
pub mod model;
pub mod profile;
pub mod repartition;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod status;
pub mod tail;
pub mod topics;
pub mod verify;
