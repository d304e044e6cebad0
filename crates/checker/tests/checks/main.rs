//! The checker on histories that the real engine made of random shops: it passes them, and of every
//! record that is removed, doubled or altered it says which.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../../../engine/tests/suite/generate.rs"]
#[allow(dead_code, reason = "the engine's own; not all of it is needed here")]
mod generate;
#[path = "../../../engine/tests/support/mod.rs"]
#[allow(dead_code, reason = "the engine's own; not all of it is needed here")]
mod support;

mod damaged;
mod histories;
mod made_up;
mod retained;
mod stores;
mod topics;
mod undamaged;
