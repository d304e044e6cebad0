//! Browsing made up around real orders, for a demo on data that has orders only.
//!
//! Everything made up says so: event ids, session ids, anonymous ids and channels begin with
//! `sim-`, and so do products and categories that no order names. The orders themselves are
//! neither changed nor yielded; the caller merges both streams by time.

use domain::event::{Body, Event, Product, Text};
use domain::money::Units;
use domain::time::{DAY_MS, TimeMs};
use smol_str::SmolStr;

use crate::calendar::time_of_day;
use crate::ids::base32;
use crate::queue::TimeQueue;
use crate::random::{Random, hash_text, mix};

/// Days before an order within which browsing around it begins.
const DAYS_BEFORE: i64 = 14;
/// Days after it within which browsing around it begins.
const DAYS_AFTER: i64 = 30;
/// No browsing around an order is earlier than this before it: the days before, counted from the
/// start of its day.
const EARLIEST_MS: i64 = (DAYS_BEFORE + 1) * DAY_MS;
/// Lines of an order that show in the visit before it.
const LINES_SHOWN: usize = 3;

/// The simulated browsing around an iterator of orders in time order.
///
/// Around each `order_completed` (other events are passed over) there is:
/// - a visit of the same customer that ends with `checkout_started` seconds to two minutes before
///   the order: pages, lists, searches, product views, and its lines (three at most) put into the
///   cart;
/// - for a third of the orders, one or two visits without an order within two weeks before and a
///   month after it, some of which leave something in the cart;
/// - for a quarter of the orders, an anonymous visitor who never buys, with one to six visits.
///
/// Invariants:
/// - Events come in non-decreasing time, none later than the last order: a replay of both streams
///   ends where the orders end.
/// - What is made up around an order depends on the seed and that order alone (its event id, time,
///   customer and lines): without one order, all else stays the same.
/// - Event ids are unique if those of the orders are.
/// - Memory is bounded by the browsing around six weeks of orders.
///
/// On average there are about eight events per order.
pub struct DemoBrowsing<I> {
    orders: I,
    seed: u64,
    waiting: TimeQueue<Event>,
    /// Time of the latest order read.
    read_up_to: TimeMs,
    exhausted: bool,
}

impl<I: Iterator<Item = Event>> DemoBrowsing<I> {
    /// Browsing around those orders, which come in time order.
    #[must_use]
    pub fn new(orders: I, seed: u64) -> DemoBrowsing<I> {
        DemoBrowsing {
            orders,
            seed,
            waiting: TimeQueue::new(),
            read_up_to: TimeMs::MIN,
            exhausted: false,
        }
    }

    fn take_in(&mut self, order: &Event) {
        self.read_up_to = self.read_up_to.max(order.time);
        if let Body::OrderCompleted(_) = order.body {
            for event in browsing_around(order, self.seed) {
                self.waiting.push(event.time, event);
            }
        }
    }
}

impl<I: Iterator<Item = Event>> Iterator for DemoBrowsing<I> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let due = self.waiting.next_at();
            if self.exhausted {
                due.filter(|&due| due <= self.read_up_to)?;
                return self.waiting.pop();
            }
            // Orders read later are no earlier, so that nothing around them can come before this.
            if due.is_some_and(|due| due < self.read_up_to.minus(EARLIEST_MS)) {
                return self.waiting.pop();
            }
            match self.orders.next() {
                Some(order) => self.take_in(&order),
                None => self.exhausted = true,
            }
        }
    }
}

/// All that is made up around one order, in no particular order of time.
fn browsing_around(order: &Event, seed: u64) -> Vec<Event> {
    let own = mix(seed ^ hash_text(&order.id));
    let mut script = Script {
        random: Random::new(own, STREAM),
        own: base32(own),
        events: Vec::new(),
        sessions: 0,
    };
    script.visit_before(order);
    for _ in 0..script.random.weighted(&[65, 25, 10]) {
        script.visit_without_order(order, order.customer_id.clone());
    }
    if script.random.chance(250) {
        let visits = [1, 2, 3, 6][script.random.weighted(&[75, 15, 6, 4])];
        for _ in 0..visits {
            script.visit_without_order(order, None);
        }
    }
    script.events
}

const STREAM: u64 = 0x6465_6d6f;

/// What is being made up around one order.
struct Script {
    random: Random,
    /// The order's part of every id.
    own: String,
    events: Vec<Event>,
    sessions: u32,
}

impl Script {
    fn visit_before(&mut self, order: &Event) {
        let bought = self.bought(order);
        let mut steps = vec![self.page()];
        for (product, quantity) in bought {
            if self.random.chance(500) {
                let category = product.category.clone();
                steps.push(Body::ProductListViewed { category });
            }
            if self.random.chance(350) {
                steps.push(Body::ProductViewed(self.other_product()));
            }
            steps.push(Body::ProductViewed(product.clone()));
            steps.push(Body::ProductAdded { product, quantity });
        }
        if self.random.chance(600) {
            steps.push(Body::CartViewed);
        }
        steps.push(Body::CheckoutStarted);
        let mut waits = self.waits(steps.len());
        let before_order = self.random.between(20_000, 120_000);
        waits[0] = -before_order - waits[1..].iter().sum::<i64>();
        self.visit(order, order.customer_id.clone(), order.time, steps, &waits);
    }

    fn visit_without_order(&mut self, order: &Event, customer_id: Option<Text>) {
        let mut steps = vec![self.page()];
        while steps.len() < 12 && self.random.chance(680) {
            let product = self.other_product();
            let next = match self.random.weighted(&[55, 25, 8, 5, 7]) {
                0 => Body::ProductViewed(product),
                1 => Body::ProductListViewed {
                    category: product.category,
                },
                2 => Body::ProductsSearched {
                    query: "sim-query".into(),
                },
                3 => Body::WishlistAdded(product),
                _ => Body::ProductAdded {
                    product,
                    quantity: Units::ONE,
                },
            };
            steps.push(next);
        }
        let day = self.random.between(-DAYS_BEFORE, DAYS_AFTER - 1);
        let start = order
            .time
            .day()
            .start()
            .plus(day * DAY_MS + time_of_day(&mut self.random));
        let waits = self.waits(steps.len());
        self.visit(order, customer_id, start, steps, &waits);
    }

    /// The lines that show in the visit: as the order names them, or made up where it has none.
    fn bought(&mut self, order: &Event) -> Vec<(Product, Units)> {
        let lines = match &order.body {
            Body::OrderCompleted(order) => order.lines.as_slice(),
            _ => &[],
        };
        // A line that takes something off an order (a correction) was never put into a cart.
        let shown: Vec<(Product, Units)> = lines
            .iter()
            .filter(|line| line.quantity.0 > 0)
            .take(LINES_SHOWN)
            .map(|line| {
                let (product_id, category) = (line.product_id.clone(), line.category.clone());
                (
                    Product {
                        product_id,
                        category,
                        price: None,
                    },
                    line.quantity,
                )
            })
            .collect();
        if shown.is_empty() {
            vec![(self.other_product(), Units::ONE)]
        } else {
            shown
        }
    }

    fn page(&mut self) -> Body {
        let url = ["/", "/new", "/sale"][self.random.weighted(&[70, 20, 10])];
        Body::PageViewed {
            url: Some(SmolStr::new_static(url)),
        }
    }

    /// One of 144 made-up products in 12 made-up categories, the first ones more often.
    fn other_product(&mut self) -> Product {
        let (category, item) = (self.low(12), self.low(12));
        Product {
            product_id: SmolStr::from(format!("sim-p-{category:02}-{item:02}")),
            category: Some(SmolStr::from(format!("sim-category-{category:02}"))),
            price: None,
        }
    }

    /// The lesser of two numbers below `end`.
    fn low(&mut self, end: u64) -> u64 {
        self.random.below(end).min(self.random.below(end))
    }

    /// Milliseconds before each step since the step before it; 0 before the first.
    fn waits(&mut self, steps: usize) -> Vec<i64> {
        let mut waits: Vec<i64> = (0..steps)
            .map(|_| self.random.between(4_000, 90_000))
            .collect();
        if let Some(first) = waits.first_mut() {
            *first = 0;
        }
        waits
    }

    fn visit(
        &mut self,
        order: &Event,
        customer_id: Option<Text>,
        start: TimeMs,
        steps: Vec<Body>,
        waits: &[i64],
    ) {
        let anonymous_id = customer_id
            .is_none()
            .then(|| SmolStr::from(format!("sim-a-{}", self.own)));
        let session_id = SmolStr::from(format!("sim-{}-s{}", self.own, self.sessions));
        self.sessions += 1;
        let channel = ["sim-direct", "sim-organic", "sim-email", "sim-paid"]
            [self.random.weighted(&[45, 30, 15, 10])];
        let mut time = start;
        for (body, wait) in steps.into_iter().zip(waits) {
            time = time.plus(*wait);
            self.events.push(Event {
                id: SmolStr::from(format!("sim-{}-{}", self.own, self.events.len())),
                time,
                customer_id: customer_id.clone(),
                anonymous_id: anonymous_id.clone(),
                session_id: Some(session_id.clone()),
                channel: Some(SmolStr::new_static(channel)),
                campaign: None,
                country: order.country.clone(),
                body,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use domain::event::{Line, OrderCompleted};
    use domain::money::Minor;
    use domain::time::HOUR_MS;

    use super::*;

    const NOON: TimeMs = TimeMs(852_076_800_000 + 12 * HOUR_MS); // 1997-01-01

    fn order(number: u64, day: i64) -> Event {
        let line = Line {
            line_id: "0".into(),
            product_id: "cd".into(),
            category: None,
            quantity: Units(2_000),
            amount: Minor(2_954),
        };
        Event {
            id: format!("order-{number}").into(),
            time: NOON.plus(day * DAY_MS),
            customer_id: Some(format!("{}", number * 7 % 2_000).into()),
            anonymous_id: None,
            session_id: None,
            channel: None,
            campaign: None,
            country: None,
            body: Body::OrderCompleted(Box::new(OrderCompleted {
                order_id: format!("o{number}").into(),
                partial: false,
                subtotal: None,
                discount: Minor::ZERO,
                coupon: None,
                tax: Minor::ZERO,
                shipping: Minor::ZERO,
                total: None,
                cogs: None,
                lines: vec![line],
            })),
        }
    }

    fn orders() -> Vec<Event> {
        (0..6_000)
            .map(|number| order(number, number as i64 / 12))
            .collect()
    }

    fn around(orders: Vec<Event>) -> Vec<Event> {
        DemoBrowsing::new(orders.into_iter(), 1).collect()
    }

    #[test]
    fn in_time_order_unique_marked_and_as_many_as_promised() {
        let events = around(orders());
        assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));
        assert!(events.last().unwrap().time <= NOON.plus(499 * DAY_MS));
        let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(ids.len(), events.len());
        for event in &events {
            let sim = |text: &Option<Text>| text.as_ref().is_some_and(|t| t.starts_with("sim-"));
            assert!(
                event.id.starts_with("sim-") && event.id.len() <= 23,
                "{}",
                event.id
            );
            assert!(sim(&event.session_id) && sim(&event.channel), "{event:?}");
            assert!(
                event.customer_id.is_some() != sim(&event.anonymous_id),
                "{event:?}"
            );
            assert!(!event.body.is_order_fact(), "{event:?}");
        }
        let per_order = events.len() as f64 / 6_000.0;
        assert!((7.0..9.0).contains(&per_order), "{per_order}");
    }

    #[test]
    fn every_order_has_a_visit_just_before_it() {
        let events = around(orders());
        let mut checkouts: BTreeMap<(&Text, i32), Vec<&Event>> = BTreeMap::new();
        for event in events.iter().filter(|e| e.body == Body::CheckoutStarted) {
            let key = (event.customer_id.as_ref().unwrap(), event.time.day().0);
            checkouts.entry(key).or_default().push(event);
        }
        let mut sessions: BTreeMap<&Text, Vec<&Event>> = BTreeMap::new();
        for event in &events {
            sessions
                .entry(event.session_id.as_ref().unwrap())
                .or_default()
                .push(event);
        }
        for order in orders() {
            let key = (order.customer_id.as_ref().unwrap(), order.time.day().0);
            let found = &checkouts[&key];
            assert_eq!(found.len(), 1, "{order:?}");
            let before = order.time.since(found[0].time);
            assert!((20_000..=120_000).contains(&before), "{before} ms");
            let visit = &sessions[found[0].session_id.as_ref().unwrap()];
            let added = visit.iter().filter(|event| {
                matches!(&event.body, Body::ProductAdded { product, quantity }
                    if product.product_id == "cd" && quantity.0 == 2_000)
            });
            assert_eq!(added.count(), 1);
            assert!(
                visit
                    .iter()
                    .all(|event| order.time.since(event.time) < HOUR_MS)
            );
        }
    }

    #[test]
    fn some_visit_without_ordering_and_some_never_identify() {
        let events = around(orders());
        let sessions = |of: &dyn Fn(&Event) -> bool| {
            let ids: BTreeSet<_> = events
                .iter()
                .filter(|e| of(e))
                .map(|e| e.session_id.clone())
                .collect();
            ids.len()
        };
        let identified = sessions(&|event| event.customer_id.is_some());
        assert!((8_000..9_000).contains(&identified), "{identified}");
        let visitors: BTreeSet<_> = events
            .iter()
            .filter_map(|event| event.anonymous_id.clone())
            .collect();
        assert!(
            (1_300..1_700).contains(&visitors.len()),
            "{}",
            visitors.len()
        );
        assert!(sessions(&|event| event.customer_id.is_none()) > visitors.len() * 5 / 4);
    }

    #[test]
    fn without_one_order_all_else_stays() {
        let whole = around(orders());
        let mut fewer = orders();
        let gone = fewer.remove(2_500);
        let rest: BTreeSet<Text> = around(fewer).into_iter().map(|event| event.id).collect();
        let lost: Vec<&Event> = whole
            .iter()
            .filter(|event| !rest.contains(&event.id))
            .collect();
        assert_eq!(lost.len(), browsing_around(&gone, 1).len());
        assert_eq!(rest.len() + lost.len(), whole.len());
    }

    #[test]
    fn depends_on_the_seed_and_tolerates_what_is_missing() {
        assert_eq!(around(orders()), around(orders()));
        let other: Vec<Event> = DemoBrowsing::new(orders().into_iter(), 2).collect();
        assert_ne!(around(orders()).first(), other.first());
        assert!(around(Vec::new()).is_empty());
        let mut bare = order(1, 0);
        bare.customer_id = None;
        if let Body::OrderCompleted(order) = &mut bare.body {
            order.lines.clear();
        }
        let events = around(vec![bare]);
        assert!(events.iter().all(|event| event.anonymous_id.is_some()));
        assert!(
            events
                .iter()
                .any(|event| event.body == Body::CheckoutStarted)
        );
        let mut cancelled = order(1, 0);
        cancelled.body = Body::OrderCancelled {
            order_id: "o1".into(),
        };
        assert!(around(vec![cancelled]).is_empty());
    }

    #[test]
    fn holds_six_weeks_of_orders_at_most() {
        let mut browsing = DemoBrowsing::new(orders().into_iter(), 1);
        let mut most_held = 0;
        while browsing.next().is_some() {
            most_held = most_held.max(browsing.waiting.len());
        }
        // Of 500 days; most of the browsing around an order is right before it.
        assert!(most_held < 6_000, "{most_held} held");
    }
}
