//! Profiles as they come about: by events, in whatever order these arrive.

use std::collections::BTreeMap;

use domain::definitions::Definitions;
use domain::event::{Event, Text};
use domain::profile::Profile;
use domain::time::{DAY_MS, TimeMs};
use traffic::{Disorder, ShopConfig, ShopTraffic};
use wire::currency_by_code;
use wire::state::encode_profile;

pub(crate) fn definitions() -> Definitions {
    Definitions::preset(currency_by_code("USD", None).unwrap())
}

pub(crate) fn bytes(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_profile(profile, &mut bytes);
    bytes
}

/// Takes in one event as an engine does: what was told is numbered, and the timer armed.
pub(crate) fn take(profile: &mut Profile, event: &Event, frontier: TimeMs, d: &Definitions) {
    let mut told = Vec::new();
    profile.take(event, frontier, d, &mut told);
    number(profile, told);
}

/// Advances a profile as an engine does when its timer is due.
pub(crate) fn advance(profile: &mut Profile, frontier: TimeMs, d: &Definitions) {
    if profile.armed <= frontier {
        profile.armed = TimeMs::MAX;
    }
    let mut told = Vec::new();
    profile.advance(frontier, d, &mut told);
    number(profile, told);
}

fn number(profile: &mut Profile, told: Vec<domain::change::Change>) {
    for mut change in told {
        profile.number(&mut change);
    }
    profile.armed = profile.armed.min(profile.next_timer());
}

/// Some days of a small shop, each owner's events in order of arrival.
pub(crate) fn shop(
    seed: u64,
    customers: u32,
    days: u32,
    disorder_ms: i64,
) -> BTreeMap<Text, Vec<Event>> {
    let config = ShopConfig {
        seed,
        days,
        customers,
        ..ShopConfig::default()
    };
    let traffic = ShopTraffic::new(&config).unwrap();
    let mut owners: BTreeMap<Text, Vec<Event>> = BTreeMap::new();
    for event in Disorder::new(traffic, seed, disorder_ms, 50) {
        let owner = event.owner().unwrap();
        owners.entry(owner.key()).or_default().push(event);
    }
    owners
}

/// The profile that `events` lead to, with `look` at it after every event. Stream time is what the
/// events themselves say.
pub(crate) fn grow(events: &[Event], d: &Definitions, mut look: impl FnMut(&Profile)) -> Profile {
    let (mut profile, mut latest) = (Profile::default(), TimeMs::MIN);
    for event in events {
        latest = latest.max(event.time);
        take(&mut profile, event, latest.minus(d.grace_ms), d);
        look(&profile);
    }
    advance(&mut profile, latest.plus(DAY_MS), d);
    profile
}
