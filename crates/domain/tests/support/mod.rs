//! Builders and drivers that the crate's tests share.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(
    unreachable_pub,
    reason = "a module of test binaries, not of a library"
)]
#![allow(missing_docs, reason = "a module of test binaries, not of a library")]

use domain::change::{Change, What};
use domain::definitions::Definitions;
use domain::event::{Body, Event, Line, OrderCompleted, OrderRefunded, Product, Text};
use domain::money::{Currency, Minor, Units};
use domain::profile::{Outcome, Profile};
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, TimeMs};

/// 2011-01-03T00:00:00Z, a Monday: instants in tests count from here.
pub const T0: i64 = 1_294_012_800_000;

pub fn days(n: i64) -> i64 {
    n * DAY_MS
}

pub fn hours(n: i64) -> i64 {
    n * HOUR_MS
}

pub fn minutes(n: i64) -> i64 {
    n * MINUTE_MS
}

/// The instant `ms` after [`T0`].
pub fn t(ms: i64) -> TimeMs {
    TimeMs(T0 + ms)
}

/// So many random cases; what fails is reported, not written to a file.
pub fn cases(n: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: n,
        failure_persistence: None,
        ..Default::default()
    }
}

pub fn text(s: &str) -> Text {
    Text::from(s)
}

pub fn preset() -> Definitions {
    Definitions::preset(Currency {
        code: *b"USD",
        decimals: 2,
    })
}

pub fn event(id: &str, time: TimeMs, body: Body) -> Event {
    Event {
        id: text(id),
        time,
        customer_id: Some(text("c1")),
        anonymous_id: None,
        session_id: None,
        channel: None,
        campaign: None,
        country: None,
        body,
    }
}

/// An event at `ms` after [`T0`], with an id made of the instant and its type.
pub fn ev(ms: i64, body: Body) -> Event {
    let id = format!("{ms}:{body:?}");
    event(&id, t(ms), body)
}

pub fn line(id: &str, product: &str, units: i64, amount: i64) -> Line {
    Line {
        line_id: text(id),
        product_id: text(product),
        category: None,
        quantity: Units(units),
        amount: Minor(amount),
    }
}

/// A whole order with nothing but a subtotal.
pub fn plain_order(id: &str, amount: i64) -> OrderCompleted {
    OrderCompleted {
        order_id: text(id),
        partial: false,
        subtotal: Some(Minor(amount)),
        discount: Minor::ZERO,
        coupon: None,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        total: None,
        cogs: None,
        lines: Vec::new(),
    }
}

pub fn order(id: &str, amount: i64) -> Body {
    Body::OrderCompleted(Box::new(plain_order(id, amount)))
}

pub fn discounted(id: &str, amount: i64, discount: i64) -> Body {
    Body::OrderCompleted(Box::new(OrderCompleted {
        discount: Minor(discount),
        ..plain_order(id, amount)
    }))
}

pub fn with_coupon(id: &str, amount: i64) -> Body {
    Body::OrderCompleted(Box::new(OrderCompleted {
        coupon: Some(text("WELCOME")),
        ..plain_order(id, amount)
    }))
}

pub fn order_lines(id: &str, partial: bool, lines: Vec<Line>) -> Body {
    Body::OrderCompleted(Box::new(OrderCompleted {
        partial,
        subtotal: None,
        lines,
        ..plain_order(id, 0)
    }))
}

pub fn refund(id: &str, order_id: Option<&str>, amount: i64) -> Body {
    Body::OrderRefunded(Box::new(OrderRefunded {
        refund_id: text(id),
        order_id: order_id.map(text),
        partial: false,
        amount: Minor(amount),
        lines: Vec::new(),
    }))
}

pub fn refund_lines(id: &str, partial: bool, lines: Vec<Line>) -> Body {
    Body::OrderRefunded(Box::new(OrderRefunded {
        refund_id: text(id),
        order_id: None,
        partial,
        amount: lines.iter().map(|l| l.amount).sum(),
        lines,
    }))
}

pub fn cancel(order_id: &str) -> Body {
    Body::OrderCancelled {
        order_id: text(order_id),
    }
}

pub fn delivered(order_id: &str) -> Body {
    Body::OrderDelivered {
        order_id: text(order_id),
    }
}

pub fn page() -> Body {
    Body::PageViewed { url: None }
}

pub fn product(id: &str) -> Product {
    Product {
        product_id: text(id),
        category: None,
        price: None,
    }
}

pub fn add(id: &str) -> Body {
    Body::ProductAdded {
        product: product(id),
        quantity: Units::ONE,
    }
}

pub fn remove(id: &str) -> Body {
    Body::ProductRemoved {
        product: product(id),
        quantity: Units::ONE,
    }
}

pub fn review(rating: u8) -> Body {
    Body::ProductReviewed {
        product_id: None,
        rating,
    }
}

pub fn share() -> Body {
    Body::ProductShared { product_id: None }
}

pub fn referral() -> Body {
    Body::ReferralConverted { referee: None }
}

pub fn nps(score: u8) -> Body {
    Body::NpsAnswered { score }
}

/// A profile, what it was driven with and what it told, numbered.
pub struct Run {
    pub definitions: Definitions,
    pub profile: Profile,
    pub told: Vec<(u64, Change)>,
    pub outcomes: Vec<Outcome>,
}

impl Run {
    pub fn new(definitions: Definitions) -> Run {
        Run {
            definitions,
            profile: Profile::default(),
            told: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn number(&mut self, changes: Vec<Change>) {
        for mut change in changes {
            let sequence = self.profile.number(&mut change);
            self.told.push((sequence, change));
        }
    }

    pub fn take(&mut self, event: &Event, frontier: TimeMs) -> Outcome {
        let mut out = Vec::new();
        let outcome = self
            .profile
            .take(event, frontier, &self.definitions, &mut out);
        self.number(out);
        self.outcomes.push(outcome);
        outcome
    }

    pub fn advance(&mut self, frontier: TimeMs) {
        let mut out = Vec::new();
        self.profile.advance(frontier, &self.definitions, &mut out);
        self.number(out);
    }

    /// Takes `events` in the given order, the frontier a grace behind the latest seen, and advances
    /// to `until`.
    pub fn all(definitions: Definitions, events: &[Event], until: TimeMs) -> Run {
        let mut run = Run::new(definitions);
        let grace = run.definitions.grace_ms;
        let mut latest = TimeMs::MIN;
        for event in events {
            latest = latest.max(event.time);
            run.take(event, latest.minus(grace));
        }
        run.advance(until);
        run
    }

    pub fn changes(&self) -> Vec<Change> {
        self.told.iter().map(|(_, change)| change.clone()).collect()
    }

    /// Transitions of `model` as `(ms after T0, "from>to", cause)`.
    pub fn transitions(&self, model: &str) -> Vec<(i64, String, &'static str)> {
        let told = self
            .told
            .iter()
            .filter_map(|(_, change)| match &change.what {
                What::Stage(s) if s.model == model => Some((
                    change.as_of.0 - T0,
                    format!("{}>{}", s.from.as_deref().unwrap_or(""), s.to),
                    s.reason.cause.as_str(),
                )),
                _ => None,
            });
        told.collect()
    }

    /// Changes of `segment` as `(ms after T0, "entered" or "exited", cause)`.
    pub fn membership(&self, segment: &str) -> Vec<(i64, &'static str, &'static str)> {
        use domain::change::Action;
        let told = self
            .told
            .iter()
            .filter_map(|(_, change)| match &change.what {
                What::Segment(s) if s.segment == segment => Some((
                    change.as_of.0 - T0,
                    match s.action {
                        Action::Entered => "entered",
                        Action::Exited => "exited",
                    },
                    s.reason.cause.as_str(),
                )),
                _ => None,
            });
        told.collect()
    }

    /// Every `clv.updates` told, with its instant.
    pub fn values(&self) -> Vec<(i64, domain::change::ClvUpdate)> {
        let told = self
            .told
            .iter()
            .filter_map(|(_, change)| match &change.what {
                What::Clv(update) => Some((change.as_of.0 - T0, update.clone())),
                _ => None,
            });
        told.collect()
    }
}
