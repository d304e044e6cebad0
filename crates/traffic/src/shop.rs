//! A synthetic shop, from the first visitor to the last refund, as a stream in event-time order.
//!
//! Customers and visitors arrive over the whole span; each comes back at a rate of his own until
//! he does not (module `person`), walks through the funnel (module `session`), and orders are
//! cancelled, delivered, given back, reviewed and talked about (module `after`). Activity follows
//! the hour, the weekday and the season (module `calendar`).
//!
//! Invariants:
//! - Events come in non-decreasing time, from the start up to, not including, the end of the span.
//!   What would fall later is left out, as in any extract of a shop that goes on.
//! - Event, session, order and refund ids are unique; with another seed they are others.
//! - An `order_completed` follows a `checkout_started` of its session and carries the customer; a
//!   refund, cancellation or delivery follows its order; an order is cancelled or delivered, never
//!   both; at most one refund per order, of at most what was paid for its goods.
//! - What is held: those who will come again, visits under way, orders of the last five weeks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use domain::event::{Body, Event, Text};
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, TimeMs};
use slab::Slab;
use smol_str::SmolStr;

use crate::after::Placed;
use crate::calendar::Calendar;
use crate::catalogue::Catalogue;
use crate::config::{ConfigError, ShopConfig};
use crate::ids::Ids;
use crate::person::{Person, country_of};
use crate::random::Random;
use crate::session::{Session, Step, Visitor};

/// What happens next outside of visits.
enum Pending {
    /// Someone comes for the first time.
    Arrival,
    /// A person (by slot) comes again.
    Visit(usize),
    /// Fates of an order (by slot).
    Cancel(usize),
    Deliver(usize),
    Refund(usize),
    /// What a customer (by number) says.
    Review {
        person: u32,
        product: u32,
    },
    Share {
        person: u32,
        product: u32,
    },
    Answer {
        person: u32,
    },
    Referral {
        person: u32,
    },
}

/// The stream of a shop's events. See the module's header for what holds of it.
pub struct ShopTraffic {
    seed: u64,
    decimals: u8,
    end: TimeMs,
    ids: Ids,
    calendar: Calendar,
    catalogue: Catalogue,
    random: Random,
    /// Visits under way: (instant, order of adding, slot). Few and busy, so a heap of its own.
    visits: BinaryHeap<Reverse<(TimeMs, u64, usize)>>,
    sessions: Slab<Session>,
    /// Everything else, by the same order.
    later: BinaryHeap<Reverse<(TimeMs, u64, usize)>>,
    pending: Slab<Pending>,
    people: Slab<Person>,
    orders: Slab<Placed>,
    arrivals: Arrivals,
    counts: Counts,
    newest_customer: Option<u32>,
}

/// Who has yet to come for the first time.
struct Arrivals {
    customers: u32,
    visitors: u32,
    /// Activity time of the last arrival, and of the end.
    at: i64,
    end: i64,
}

/// How many of each have been made: the next number of each.
#[derive(Default)]
struct Counts {
    added: u64,
    events: u64,
    sessions: u64,
    orders: u64,
    refunds: u64,
    people: u32,
}

impl ShopTraffic {
    /// The traffic of that shop.
    ///
    /// # Errors
    /// The fields that are out of range.
    pub fn new(config: &ShopConfig) -> Result<ShopTraffic, Vec<ConfigError>> {
        config.check()?;
        let end = config.start.plus(i64::from(config.days) * DAY_MS);
        let calendar = Calendar::new(config.start, end);
        let share = u64::from(config.visitors_per_mille);
        let visitors = u64::from(config.customers) * share / (1000 - share);
        let arrivals = Arrivals {
            customers: config.customers,
            visitors: u32::try_from(visitors).unwrap_or(u32::MAX - config.customers),
            at: calendar.activity_at(config.start),
            end: calendar.activity_at(end),
        };
        let mut traffic = ShopTraffic {
            seed: config.seed,
            decimals: config.decimals,
            end,
            ids: Ids::new(config.seed),
            calendar,
            catalogue: Catalogue::new(config.products, config.decimals),
            random: Random::new(config.seed, STREAM),
            visits: BinaryHeap::new(),
            sessions: Slab::new(),
            later: BinaryHeap::new(),
            pending: Slab::new(),
            people: Slab::new(),
            orders: Slab::new(),
            arrivals,
            counts: Counts::default(),
            newest_customer: None,
        };
        traffic.expect_arrival();
        Ok(traffic)
    }

    /// Adds something to come, unless it lies beyond the span.
    fn expect(&mut self, at: TimeMs, what: Pending) {
        if at < self.end {
            let slot = self.pending.insert(what);
            self.counts.added += 1;
            self.later.push(Reverse((at, self.counts.added, slot)));
        }
    }

    fn expect_visit_event(&mut self, at: TimeMs, slot: usize) {
        self.counts.added += 1;
        self.visits.push(Reverse((at, self.counts.added, slot)));
    }

    /// Arrivals are uniform in activity time; the least of the n that are left is drawn from its
    /// own distribution, so that none need be kept.
    fn expect_arrival(&mut self) {
        let left = u64::from(self.arrivals.customers) + u64::from(self.arrivals.visitors);
        if left == 0 {
            return;
        }
        let span = (self.arrivals.end - self.arrivals.at) as f64;
        let share = -libm::expm1(libm::log(self.random.unit()) / left as f64);
        self.arrivals.at += (span * share) as i64;
        if let Some(at) = self.calendar.instant_of(self.arrivals.at) {
            self.expect(at, Pending::Arrival);
        }
    }

    fn arrive(&mut self, at: TimeMs) {
        let left = u64::from(self.arrivals.customers) + u64::from(self.arrivals.visitors);
        let number = self.counts.people;
        self.counts.people += 1;
        let person = if self.random.below(left) < u64::from(self.arrivals.customers) {
            self.arrivals.customers -= 1;
            Person::customer(number, &mut self.random)
        } else {
            self.arrivals.visitors -= 1;
            Person::visitor(number, &mut self.random)
        };
        let slot = self.people.insert(person);
        self.begin_visit(at, slot);
        self.expect_arrival();
    }

    fn begin_visit(&mut self, at: TimeMs, slot: usize) {
        let Some(person) = self.people.get(slot) else {
            return;
        };
        let logged_in = person.known && self.random.chance(850);
        let number = person.number;
        let who = Visitor {
            slot,
            session_id: self.ids.make(b's', self.counts.sessions),
            customer_id: logged_in.then(|| self.customer_id(number)),
            anonymous_id: self.ids.make(b'a', number.into()),
            country: country_of(self.seed, number),
        };
        self.counts.sessions += 1;
        let session = self.sessions.insert(Session::begin(who, &mut self.random));
        self.expect_visit_event(at, session);
    }

    fn customer_id(&self, person: u32) -> Text {
        self.ids.make(b'c', person.into())
    }

    fn order_id(&self, order: u64) -> Text {
        self.ids.make(b'o', order)
    }

    fn next_event_id(&mut self) -> Text {
        let id = self.ids.make(b'e', self.counts.events);
        self.counts.events += 1;
        id
    }

    /// The next event of a visit, and what it leads to.
    fn visit_event(&mut self, at: TimeMs, slot: usize) -> Option<Event> {
        let id = self.next_event_id();
        let session = self.sessions.get_mut(slot)?;
        let person = self.people.get_mut(session.person)?;
        let number = person.number;
        if matches!(session.step, Step::LeaveContact | Step::CheckOut) && !person.visitor {
            person.known = true;
            if session.customer_id.is_none() {
                session.customer_id = Some(self.ids.make(b'c', number.into()));
            }
        }
        let campaign = session.campaign();
        let body = session.act(person, &self.catalogue, &mut self.random);
        let body = body.or_else(|| self.place_order(at, slot))?;
        let session = self.sessions.get_mut(slot)?;
        let event = Event {
            id,
            time: at,
            customer_id: session.customer_id.clone(),
            anonymous_id: Some(session.anonymous_id.clone()),
            session_id: Some(session.id.clone()),
            channel: Some(session.channel()),
            campaign,
            country: Some(session.country.clone()),
            body,
        };
        let person = self.people.get(session.person)?;
        let next = session
            .advance(person, &mut self.random)
            .map(|wait| at.plus(wait));
        match next.filter(|&next| next < self.end) {
            Some(next) => self.expect_visit_event(next, slot),
            None => self.end_visit(at, slot),
        }
        Some(event)
    }

    fn end_visit(&mut self, at: TimeMs, slot: usize) {
        let Some(session) = self.sessions.try_remove(slot) else {
            return;
        };
        let Some(person) = self.people.get(session.person) else {
            return;
        };
        let again = person
            .next_gap_ms(session.ordered, &mut self.random)
            .and_then(|gap| {
                self.calendar
                    .instant_of(self.calendar.activity_at(at) + gap)
            })
            // A night's hour of activity takes long, an evening's less than 30 minutes.
            .map(|next| next.max(at.plus(45 * MINUTE_MS)));
        match again.filter(|&next| next < self.end) {
            Some(next) => self.expect(next, Pending::Visit(session.person)),
            None => {
                self.people.try_remove(session.person);
            }
        }
    }

    fn place_order(&mut self, at: TimeMs, slot: usize) -> Option<Body> {
        let session = self.sessions.get_mut(slot)?;
        session.ordered = true;
        let person = self.people.get_mut(session.person)?;
        let number = self.counts.orders;
        self.counts.orders += 1;
        let mut placed = Placed::new(number, person, session.cart(), &self.catalogue);
        let order_id = self.ids.make(b'o', number);
        let order = placed.complete(
            order_id,
            person,
            &self.catalogue,
            self.decimals,
            &mut self.random,
        );
        if person.orders == 0 {
            self.newest_customer = Some(person.number);
        }
        person.orders += 1;
        let cancelled = self.random.chance(25);
        let wait = if cancelled {
            2 * MINUTE_MS + self.random.wait_ms(5 * HOUR_MS).min(47 * HOUR_MS)
        } else {
            self.delivery_wait(at)
        };
        let order_slot = self.orders.insert(placed);
        let fate = if cancelled {
            Pending::Cancel(order_slot)
        } else {
            Pending::Deliver(order_slot)
        };
        self.expect(at.plus(wait), fate);
        Some(Body::OrderCompleted(Box::new(order)))
    }

    /// One to seven days, to between 8:00 and 18:00 of that day.
    fn delivery_wait(&mut self, at: TimeMs) -> i64 {
        let days = 2 + self.random.weighted(&[30, 34, 18, 9, 6]) as i64;
        let at_day = at.day().start();
        let hour = self.random.between(8 * HOUR_MS, 18 * HOUR_MS);
        at_day.plus(days * DAY_MS + hour).since(at)
    }

    /// Something outside of visits; `None` when it shows in no event of its own.
    fn later_event(&mut self, at: TimeMs, what: Pending) -> Option<Event> {
        let (person, body) = match what {
            Pending::Arrival => {
                self.arrive(at);
                return None;
            }
            Pending::Visit(slot) => {
                self.begin_visit(at, slot);
                return None;
            }
            Pending::Cancel(slot) => {
                let order = self.orders.try_remove(slot)?;
                (
                    order.person,
                    Body::OrderCancelled {
                        order_id: self.order_id(order.number),
                    },
                )
            }
            Pending::Deliver(slot) => self.deliver(at, slot)?,
            Pending::Refund(slot) => self.refund(slot)?,
            Pending::Review { person, product } => {
                let rating = 1 + self.random.weighted(&[5, 5, 12, 30, 48]) as u8;
                let product_id = Some(self.catalogue.id(product));
                (person, Body::ProductReviewed { product_id, rating })
            }
            Pending::Share { person, product } => (
                person,
                Body::ProductShared {
                    product_id: Some(self.catalogue.id(product)),
                },
            ),
            Pending::Answer { person } => {
                let score = self.random.weighted(&[2, 1, 2, 2, 2, 6, 6, 13, 22, 22, 22]) as u8;
                (person, Body::NpsAnswered { score })
            }
            Pending::Referral { person } => {
                let referee = self.newest_customer.filter(|&newest| newest != person);
                let referee = referee.map(|newest| self.customer_id(newest));
                (person, Body::ReferralConverted { referee })
            }
        };
        let by_mail = matches!(
            body,
            Body::ProductReviewed { .. } | Body::NpsAnswered { .. }
        );
        Some(Event {
            id: self.next_event_id(),
            time: at,
            customer_id: Some(self.customer_id(person)),
            anonymous_id: None,
            session_id: None,
            channel: by_mail.then_some(SmolStr::new_static("email")),
            campaign: None,
            country: Some(country_of(self.seed, person)),
            body,
        })
    }

    fn deliver(&mut self, at: TimeMs, slot: usize) -> Option<(u32, Body)> {
        let order = self.orders.get(slot)?;
        let (number, person) = (order.number, order.person);
        let product = order.some_product(&mut self.random);
        let fates = [
            (65, 6, Pending::Review { person, product }),
            (45, 9, Pending::Answer { person }),
            (12, 3, Pending::Share { person, product }),
            (9, 20, Pending::Referral { person }),
        ];
        for (per_mille, mean_days, what) in fates {
            if self.random.chance(per_mille) {
                let wait = HOUR_MS + self.random.wait_ms(mean_days * DAY_MS);
                self.expect(at.plus(wait), what);
            }
        }
        let refunded_at = at.plus(DAY_MS + self.random.wait_ms(8 * DAY_MS).min(27 * DAY_MS));
        if self.random.chance(75) && refunded_at < self.end {
            self.expect(refunded_at, Pending::Refund(slot));
        } else {
            self.orders.try_remove(slot);
        }
        Some((
            person,
            Body::OrderDelivered {
                order_id: self.order_id(number),
            },
        ))
    }

    fn refund(&mut self, slot: usize) -> Option<(u32, Body)> {
        let order = self.orders.try_remove(slot)?;
        let refund_id = self.ids.make(b'r', self.counts.refunds);
        self.counts.refunds += 1;
        let order_id = self.order_id(order.number);
        let refund = order.refund(refund_id, order_id, &self.catalogue, &mut self.random);
        Some((order.person, Body::OrderRefunded(Box::new(refund))))
    }
}

const STREAM: u64 = 0x7368_6f70;

impl Iterator for ShopTraffic {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let in_visit = match (self.visits.peek(), self.later.peek()) {
                (None, None) => return None,
                (Some(visit), Some(later)) => visit.0 < later.0,
                (visit, _) => visit.is_some(),
            };
            let event = if in_visit {
                let Reverse((at, _, slot)) = self.visits.pop()?;
                self.visit_event(at, slot)
            } else {
                let Reverse((at, _, slot)) = self.later.pop()?;
                let what = self.pending.try_remove(slot)?;
                self.later_event(at, what)
            };
            if event.is_some() {
                return event;
            }
        }
    }
}
