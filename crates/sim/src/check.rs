//! What must hold of what a run leaves behind.
use std::sync::Arc;
use crate::cluster::Violation;
use crate::shop::Shop;
use crate::world::Ran;
/// All.
pub fn all(_: &Ran, _: &Arc<Shop>) -> Vec<Violation> { Vec::new() }
/// Calm.
pub fn against_calm(_: &Ran, _: &Ran, _: &Arc<Shop>) -> Vec<Violation> { Vec::new() }
