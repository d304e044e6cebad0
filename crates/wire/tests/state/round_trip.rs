//! What is written is read again as it was, and writes the same bytes again.

use domain::event::Event;
use domain::money::Minor;
use domain::orders::DayTotals;
use domain::profile::Profile;
use domain::time::{DAY_MS, Day, TimeMs};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::meta::{MetaReader, MetaWriter};
use wire::routed::Routed;
use wire::state::{
    armed_timer, day_key, decode_day, decode_profile, derived_timer, encode_day, from_sortable,
    sortable, split_day_key, split_timer_key, timer_key,
};

use crate::RECORD_TIME;
use crate::events::event;
use crate::profiles::{advance, bytes, definitions, grow, shop, take};

#[track_caller]
fn check(profile: &Profile) {
    let written = bytes(profile);
    let read = decode_profile(&written, &definitions().into()).unwrap();
    assert_eq!(&read, profile);
    assert_eq!(bytes(&read), written);
    let armed = armed_timer(&written).unwrap_or(TimeMs::MAX);
    assert_eq!(armed, profile.armed);
    let derived = derived_timer(b"c1", &written);
    let expected = (armed != TimeMs::MAX).then(|| timer_key(armed, b"c1"));
    assert_eq!(derived, expected);
}

#[test]
fn profiles_of_a_shop_whose_events_come_in_disorder() {
    let definitions = definitions();
    for disorder_ms in [0, 8 * 60_000, 2 * DAY_MS] {
        for events in shop(11, 30, 200, disorder_ms).values() {
            let mut at = 0;
            let grown = grow(events, &definitions, |profile| {
                at += 1;
                if at % 7 < 2 {
                    check(profile);
                }
            });
            check(&grown);
        }
    }
}

#[test]
fn a_profile_that_nothing_is_known_of() {
    check(&Profile::default());
}

proptest! {
    /// Events with every field there is, some of them near each other, few of them in order.
    #[test]
    fn profiles_of_any_events(
        events in vec((event(), any::<bool>(), 0..90_i64), 1..14),
    ) {
        let definitions = definitions();
        let (mut profile, mut latest) = (Profile::default(), TimeMs::MIN);
        for (mut event, is_near, minutes) in events {
            if is_near {
                event.time = RECORD_TIME.minus(minutes * 60_000);
            }
            latest = latest.max(event.time);
            take(&mut profile, &event, latest.minus(definitions.grace_ms), &definitions);
            check(&profile);
        }
        advance(&mut profile, RECORD_TIME.plus(DAY_MS), &definitions);
        check(&profile);
    }

    #[test]
    fn routed_records(routed in routed()) {
        let written = routed.encode();
        prop_assert_eq!(Routed::decode(&written), Ok(routed));
    }

    #[test]
    fn bookkeeping_records(fields in vec((any::<u64>(), any::<i64>(), "\\PC{0,30}"), 0..9)) {
        let mut out = MetaWriter::new();
        for (number, time, text) in &fields {
            out.number(*number);
            out.time(TimeMs(*time));
            out.text(text);
        }
        let written = out.finish();
        let mut from = MetaReader::new(&written).unwrap();
        for (number, time, text) in &fields {
            prop_assert_eq!(from.number(), Ok(*number));
            prop_assert_eq!(from.time(), Ok(TimeMs(*time)));
            prop_assert_eq!(from.text(), Ok(text.into()));
        }
        prop_assert_eq!(from.finish(), Ok(()));
    }

    #[test]
    fn days(counts in any::<[i64; 6]>(), day in any::<i32>()) {
        let totals = day_totals(counts);
        prop_assert_eq!(decode_day(&encode_day(&totals)), Ok(totals));
        prop_assert_eq!(split_day_key(&day_key(Day(day))), Some(Day(day)));
    }

    #[test]
    fn keys_sort_as_what_they_stand_for(a in any::<i64>(), b in any::<i64>(), day in any::<[i32; 2]>()) {
        prop_assert_eq!(sortable(TimeMs(a)).cmp(&sortable(TimeMs(b))), a.cmp(&b));
        prop_assert_eq!(from_sortable(sortable(TimeMs(a))), TimeMs(a));
        prop_assert_eq!(day_key(Day(day[0])).cmp(&day_key(Day(day[1]))), day[0].cmp(&day[1]));
        let key = timer_key(TimeMs(a), b"anon:v");
        prop_assert_eq!(split_timer_key(&key), Some((TimeMs(a), b"anon:v".as_slice())));
    }
}

pub(crate) fn day_totals(counts: [i64; 6]) -> DayTotals {
    let [lines, orders, cancellations, customers, gross, returns] = counts;
    DayTotals {
        lines,
        orders,
        cancellations,
        customers,
        gross: Minor(gross),
        returns: Minor(returns),
    }
}

pub(crate) fn routed() -> impl Strategy<Value = Routed> {
    let time = || any::<i64>().prop_map(TimeMs);
    prop_oneof![
        4 => (any::<u32>(), time(), event()).prop_map(|(from, upstream_time, event): (_, _, Event)| {
            let event = Box::new(event);
            Routed::Event { from, upstream_time, event }
        }),
        1 => (any::<u32>(), time())
            .prop_map(|(from, upstream_time)| Routed::Clock { from, upstream_time }),
        1 => time().prop_map(|now| Routed::Tick { now }),
        1 => time().prop_map(|until| Routed::EndOfReplay { until }),
        1 => prop::collection::vec(("[a-zé.]{0,9}", any::<u32>()), 0..4).prop_map(|inputs| {
            let inputs = inputs.into_iter().map(|(topic, partition)| (topic.into(), partition));
            Routed::Silent { inputs: inputs.collect() }
        }),
    ]
}
