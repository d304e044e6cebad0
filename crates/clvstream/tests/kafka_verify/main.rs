//! `verify` on real Kafka: it passes what the service made, beside it and after it; and of copies of its
//! topics in which one record was removed, doubled or altered it says which.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod copy;
mod scene;

use copy::Damage;
use scene::try_copies;

#[test]
fn an_undamaged_deployment_passes_and_damaged_copies_are_named() {
    try_copies(&[
        ("clv.updates", Damage::Removed),
        ("internal.changelog", Damage::Doubled),
        ("orders", Damage::Altered),
    ]);
}
