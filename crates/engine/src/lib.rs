//! The sans-IO partition task.
pub mod port;
