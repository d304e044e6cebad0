//! Bytes that stand in stores and changelogs: today's encoder writes exactly those, and today's
//! decoder reads them as what they were. `tests/golden/README.md` says what is in each file.
//!
//! A format that has been released never changes, and neither do its files. A new format gets files
//! of its own, and the old ones are then only read. With `CLVSTREAM_WRITE_GOLDEN=true` files that
//! are missing are written.

use std::path::Path;
use std::sync::Arc;

use domain::behaviour::{Behaviour, Bucket, CartItem, Counted, Session, Signal, Totals, Touch};
use domain::change::Predicted;
use domain::definitions::{Definitions, Tag};
use domain::event::{Body, Campaign, Event, Line, OrderCompleted, OrderRefunded, Product, Text};
use domain::money::{Minor, Units};
use domain::orders::{Entry, LineFact, OrderBook, WholeFact};
use domain::prediction::{
    Family, InForce, ModelParameters, Predict, SpendParameters, Told, Versions,
};
use domain::profile::{Membership, Profile, StageState, View};
use domain::purchases::Statistics;
use domain::time::{DAY_MS, Day, HOUR_MS, MINUTE_MS, TimeMs};
use wire::meta::{MetaReader, MetaWriter};
use wire::routed::Routed;
use wire::state::{decode_day, decode_model, decode_profile, encode_day, encode_model};

use crate::profiles::{bytes, definitions};
use crate::round_trip::day_totals;

/// 2011-03-01T08:26:00Z.
const T: TimeMs = TimeMs(1_298_967_960_000);

/// The bytes in `file`, which today's `written` must equal.
#[track_caller]
fn golden(file: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file);
    if !path.exists() && std::env::var("CLVSTREAM_WRITE_GOLDEN").as_deref() == Ok("true") {
        std::fs::write(&path, written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(
        golden == written,
        "{file} holds\n{}\nand this is written now:\n{}",
        hex(&golden),
        hex(written)
    );
    golden
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without models and segments: what is read must not depend on today's presets.
fn no_rules() -> Definitions {
    Definitions {
        models: Vec::new(),
        segments: Vec::new(),
        ..definitions()
    }
}

fn text(text: &str) -> Option<Text> {
    Some(text.into())
}

fn campaign() -> Option<Box<Campaign>> {
    Some(Box::new(Campaign {
        source: text("newsletter"),
        medium: None,
        name: text("spring"),
    }))
}

fn book() -> OrderBook {
    let entry = |id: &str| Entry {
        id: id.into(),
        lines: Vec::new(),
        whole: None,
        cancelled_at: None,
        delivered_at: None,
        of_order: None,
    };
    let whole = WholeFact {
        time: T.minus(200 * DAY_MS),
        amount: Minor(12_345),
        units: Units(3_000),
        lines: 2,
        discount: Minor(1_000),
        coupon: true,
        tax: Minor(1_900),
        shipping: Minor(495),
        cogs: Some(Minor(7_000)),
    };
    let plain = WholeFact {
        time: T.minus(40 * DAY_MS),
        amount: Minor(2_999),
        units: Units(-750),
        lines: 1,
        discount: Minor::ZERO,
        coupon: false,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        cogs: None,
    };
    let line = |key, hours, amount| LineFact {
        key,
        time: T.minus(100 * DAY_MS).plus(hours * HOUR_MS),
        units: Units(1_000),
        amount: Minor(amount),
    };
    OrderBook {
        orders: vec![
            Entry {
                whole: Some(whole),
                delivered_at: Some(T.minus(196 * DAY_MS)),
                ..entry("536365")
            },
            Entry {
                lines: vec![line(1, 0, 255), line(2, -1, -85), line(u64::MAX, 3, 0)],
                cancelled_at: Some(T.minus(99 * DAY_MS)),
                ..entry("536370")
            },
            Entry {
                delivered_at: Some(T.minus(DAY_MS)),
                ..entry("Bestellung é")
            },
            Entry {
                whole: Some(plain),
                ..entry("Bestellung è")
            },
        ],
        refunds: vec![Entry {
            whole: Some(WholeFact {
                time: T.minus(30 * DAY_MS),
                ..plain
            }),
            of_order: text("536365"),
            ..entry("r1")
        }],
        products: vec![1, 0x1234_5678_9abc, (1 << 48) - 1],
    }
}

fn touch(time: TimeMs, channel: &str) -> Touch {
    Touch {
        time,
        channel: text(channel),
        campaign: campaign(),
    }
}

fn behaviour() -> Behaviour {
    let bucket = |day, sessions, page_views, product_views| Bucket {
        day: Day(day),
        sessions,
        page_views,
        product_views,
    };
    let counted = |name: &str, count| Counted {
        name: name.into(),
        count,
    };
    Behaviour {
        totals: Totals {
            events: 300,
            late: 1,
            sessions: 9,
            page_views: 70,
            product_views: 50,
            searches: 3,
            cart_adds: 7,
            checkouts: 4,
            leads: 2,
        },
        days: vec![
            bucket(14_700, 2, 20, 5),
            bucket(15_033, 1, 14, 0),
            bucket(15_034, 1, 3, 1),
        ],
        session: Some(Session {
            start: T.minus(12 * MINUTE_MS),
            last: T,
        }),
        first_touch: Some(touch(T.minus(300 * DAY_MS), "email")),
        last_touch: Some(touch(T, "direct")),
        cart: vec![CartItem {
            product_id: "85123A".into(),
            quantity: Units(1_500),
        }],
        cart_changed_at: Some(T.minus(MINUTE_MS)),
        top_categories: vec![counted("lamps", 40), counted("vases", 2)],
        top_products: vec![
            counted("85123A", 9),
            counted("85123B", 8),
            counted("22423", 1),
        ],
        signals: vec![
            (T.minus(9 * DAY_MS), Signal::GoodReview),
            (T.minus(8 * DAY_MS), Signal::Share),
            (T.minus(7 * DAY_MS), Signal::ReferralConverted),
        ],
        nps: Some((T.minus(6 * DAY_MS), 9)),
        last_event: Some(T),
        last_country: Some((T, "United Kingdom".into())),
    }
}

/// Every field of everything that can stand in a profile.
fn full() -> Profile {
    let mut settled = View::default();
    settled.book = book();
    settled.behaviour = behaviour();
    settled.stages = vec![
        StageState {
            model: Tag(0xdead_beef),
            stage: Tag(7),
            since: T.minus(100 * DAY_MS),
            cycle: 0,
        },
        StageState {
            model: Tag(2),
            stage: Tag(u32::MAX),
            since: T,
            cycle: 3,
        },
    ];
    settled.segments = vec![Membership {
        segment: Tag(5),
        since: T.minus(5 * DAY_MS),
    }];
    settled.clock = T;
    settled.next_timer = T.plus(20 * DAY_MS);
    settled.restore_derived(&no_rules());
    let transitions = vec![(Tag(2), 17), (Tag(9), 300)];
    let (armed, reached) = (T.plus(DAY_MS), T.plus(9 * MINUTE_MS));
    let sequences = [1, 301, 44];
    Profile::restored(
        settled,
        pending(),
        reached,
        sequences,
        transitions,
        armed,
        &no_rules(),
    )
}

/// One event of every kind of body, a second apart.
fn pending() -> Vec<Event> {
    let product = || Product {
        product_id: "85123A".into(),
        category: text("lamps"),
        price: Some(Minor(255)),
    };
    let line = Line {
        line_id: "1".into(),
        product_id: "22423".into(),
        category: None,
        quantity: Units::ONE,
        amount: Minor(1_050),
    };
    let order = OrderCompleted {
        order_id: "536401".into(),
        partial: false,
        subtotal: Some(Minor(1_050)),
        discount: Minor(50),
        coupon: text("WELCOME"),
        tax: Minor(160),
        shipping: Minor(300),
        total: Some(Minor(1_300)),
        cogs: Some(Minor(400)),
        lines: vec![line.clone()],
    };
    let refund = OrderRefunded {
        refund_id: "r2".into(),
        order_id: text("536401"),
        partial: true,
        amount: Minor(1_050),
        lines: vec![line],
    };
    let quantity = Units(2_000);
    let bodies = vec![
        Body::PageViewed { url: text("/") },
        Body::ProductsSearched {
            query: "lamp".into(),
        },
        Body::ProductListViewed {
            category: text("lamps"),
        },
        Body::ProductViewed(product()),
        Body::ProductCompared(product()),
        Body::WishlistAdded(product()),
        Body::ProductAdded {
            product: product(),
            quantity,
        },
        Body::ProductRemoved {
            product: product(),
            quantity,
        },
        Body::CartViewed,
        Body::CheckoutStarted,
        Body::OrderCompleted(Box::new(order)),
        Body::OrderCancelled {
            order_id: "536365".into(),
        },
        Body::OrderRefunded(Box::new(refund)),
        Body::OrderDelivered {
            order_id: "536401".into(),
        },
        Body::LeadCaptured,
        Body::ProductReviewed {
            product_id: text("22423"),
            rating: 5,
        },
        Body::ProductShared { product_id: None },
        Body::ReferralConverted {
            referee: text("c2"),
        },
        Body::NpsAnswered { score: 10 },
        Body::MessageOpened,
        Body::MessageClicked,
    ];
    let numbered = bodies.into_iter().enumerate();
    numbered
        .map(|(at, body)| Event {
            id: format!("e{at:02}").into(),
            time: T.plus(1_000 * (at as i64 + 1)),
            customer_id: text("12583"),
            anonymous_id: (at == 0).then(|| "a1".into()),
            session_id: (at == 0).then(|| "s1".into()),
            channel: (at == 0).then(|| "email".into()),
            campaign: if at == 0 { campaign() } else { None },
            country: (at == 0).then(|| "France".into()),
            body,
        })
        .collect()
}

fn check_profile(file: &str, profile: &Profile) {
    let golden = golden(file, &bytes(profile));
    let versions = Versions::new(Arc::new(no_rules()), [version_of(model())]);
    assert_eq!(decode_profile(&golden, &versions).as_ref(), Ok(profile));
}

fn model() -> ModelParameters {
    ModelParameters {
        version: 300,
        family: Family::MbgNbd,
        r: 0.525,
        alpha: 43.28,
        a: 0.891,
        b: 1.614,
        spend: Some(SpendParameters {
            p: 6.25,
            q: 3.744,
            v: 15.44,
        }),
    }
}

/// A model that always says the same: how it scores is not what is written.
fn version_of(model: ModelParameters) -> InForce {
    #[derive(Debug)]
    struct Constant(u32);
    impl Predict for Constant {
        fn version(&self) -> u32 {
            self.0
        }

        fn predict(&self, _: &Statistics, _: TimeMs) -> Predicted {
            Predicted {
                model_version: self.0,
                horizon_days: 365,
                p_alive: 0.5,
                p_order: 0.25,
                orders: 1.0,
                value: None,
            }
        }

        fn falls_to(&self, _: &Statistics, _: u8) -> TimeMs {
            TimeMs::MAX
        }
    }
    InForce::new(Arc::new(Constant(model.version)))
}

#[test]
fn a_profile_under_a_model_of_value() {
    let versions = Versions::new(Arc::new(no_rules()), [version_of(model())]);
    let Profile {
        settled,
        pending,
        live,
        next_sequence,
        last_transition,
        armed,
        ..
    } = full();
    let mut settled = View::clone(&settled.expect("a settled view"));
    settled.told = Some(Told {
        model: 300,
        amount: -45_678,
        below: 2,
    });
    let scored = Profile::restored(
        settled,
        pending,
        live.clock,
        next_sequence,
        last_transition,
        armed,
        versions.current(),
    );
    assert_eq!(scored.model, 300);
    check_profile("profile_scored_v1.bin", &scored);
    // It cannot be read where its model is not known.
    let unknown = decode_profile(&bytes(&scored), &no_rules().into());
    assert!(unknown.is_err(), "{unknown:?}");
}

#[test]
fn a_model_of_value() {
    let golden = golden("model_v1.bin", &encode_model(&model()));
    assert_eq!(decode_model(&golden), Ok(model()));
    for cut in 0..golden.len() {
        assert!(decode_model(&golden[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn profiles() {
    check_profile("profile_v1.bin", &full());
    check_profile("profile_empty_v1.bin", &Profile::default());
    // A first session, of which nothing has settled yet.
    let first = pending().into_iter().take(3).collect();
    let (armed, sequences) = (TimeMs::MAX, [1, 2, 1]);
    let unsettled = Profile::restored(
        View::default(),
        first,
        T.plus(3_000),
        sequences,
        vec![(Tag(2), 1)],
        armed,
        &no_rules(),
    );
    check_profile("profile_unsettled_v1.bin", &unsettled);
    // At rest: both touches of one origin, the timer as armed.
    let mut settled = View::default();
    let (first_touch, last_touch) = (touch(T, "email"), touch(T.plus(9_000), "email"));
    settled.behaviour.first_touch = Some(first_touch);
    settled.behaviour.last_touch = Some(last_touch);
    settled.clock = T.plus(9_000);
    settled.next_timer = T.plus(DAY_MS);
    let armed = settled.next_timer;
    let at_rest = Profile::restored(
        settled,
        Vec::new(),
        T.plus(9_000),
        sequences,
        vec![(Tag(2), 1)],
        armed,
        &no_rules(),
    );
    check_profile("profile_at_rest_v1.bin", &at_rest);
}

#[test]
fn a_day() {
    let totals = day_totals([3_108, 143, 5, 98, 5_896_079, i64::MIN]);
    let golden = golden("day_v1.bin", &encode_day(&totals));
    assert_eq!(decode_day(&golden), Ok(totals));
}

#[test]
fn routed_records() {
    let event = Box::new(pending().remove(0));
    let upstream_time = T.minus(MINUTE_MS);
    for (file, routed) in [
        (
            "routed_event_v1.bin",
            Routed::Event {
                from: 3,
                upstream_time,
                event,
            },
        ),
        (
            "routed_clock_v1.bin",
            Routed::Clock {
                from: 200,
                upstream_time,
            },
        ),
        ("routed_tick_v1.bin", Routed::Tick { now: T }),
        (
            "routed_end_v1.bin",
            Routed::EndOfReplay { until: TimeMs::MAX },
        ),
        ("routed_idle_v1.bin", Routed::Idle),
        ("routed_alone_v1.bin", Routed::Alone),
        ("routed_model_v1.bin", Routed::Model(model())),
        ("routed_rescore_v1.bin", Routed::Rescore { profiles: 1_250 }),
        (
            "routed_silent_v1.bin",
            Routed::Silent {
                inputs: vec![("clickstream".into(), 3), ("orders é".into(), 200)],
            },
        ),
    ] {
        let golden = golden(file, &routed.encode());
        assert_eq!(Routed::decode(&golden), Ok(routed));
    }
}

#[test]
fn a_bookkeeping_record() {
    let mut out = MetaWriter::new();
    out.number(300);
    out.time(T);
    out.text("clickstream é");
    let golden = golden("meta_v1.bin", &out.finish());
    let mut from = MetaReader::new(&golden).unwrap();
    assert_eq!(from.small(), Ok(300));
    assert_eq!(from.time(), Ok(T));
    assert_eq!(from.text(), Ok("clickstream é".into()));
    assert_eq!(from.finish(), Ok(()));
}
