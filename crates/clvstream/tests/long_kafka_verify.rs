//! `verify` on real Kafka: a copy of a deployment's topics for each topic and each kind of damage.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "kafka_verify/copy.rs"]
mod copy;
#[path = "kafka_verify/scene.rs"]
mod scene;

use copy::Damage;
use scene::try_copies;

#[test]
fn whatever_is_damaged_is_named() {
    let topics = [
        "clv.updates",
        "dlq",
        "internal.routed",
        "internal.changelog",
        "internal.commits",
        "orders",
    ];
    let damages = [Damage::Removed, Damage::Doubled, Damage::Altered];
    let of_topic = |topic| damages.map(|damage| (topic, damage));
    let cases: Vec<_> = topics.into_iter().flat_map(of_topic).collect();
    try_copies(&cases);
}
