//! What a seed's shop sends: two thousand records of orders and clicks, good and bad, in and out of
//! order, some of them twice, keyed rightly or not.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::event::{Body, Event, Text};
use domain::time::{DAY_MS, MINUTE_MS, TimeMs};
use engine::port::TopicPartition;
use traffic::{Disorder, ShopConfig, ShopTraffic};
use wire::partition_of;

use crate::cluster::partition::Content;
use crate::random::Random;
use crate::shop::{INPUTS, Shop, TASKS};

/// How many records there are, at least.
pub const RECORDS: usize = 2_000;
/// How many of a thousand records are bad.
const BAD: u64 = 6;

/// The value of a record that kills the process that decodes it, in a run with faults.
pub const POISON: &[u8] = b"\x07of this one dies";
/// In how many of a thousand loads there is one.
const POISONED: u64 = 60;

/// Which partition a record goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyed {
    /// Its owner's: nothing is forwarded.
    Rightly,
    /// Another one, the same for all events of a customer.
    Otherwise,
    /// Any: by the event's id.
    Anyhow,
}

/// In what order records come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// That of their events.
    InOrder,
    /// Displaced by less than the grace, some twice.
    Within,
    /// Displaced by days, some twice; some orders are restated with an earlier time.
    Beyond,
}

/// A record to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where to.
    pub at: TopicPartition,
    /// What.
    pub content: Content,
    /// Time of the event, if it is one.
    pub time: TimeMs,
    /// Whether it is no event.
    pub is_bad: bool,
}

/// Everything that a seed's shop sends, in the order of sending.
#[derive(Clone, Debug)]
pub struct Load {
    /// How records are keyed.
    pub keyed: Keyed,
    /// In what order they come.
    pub order: Order,
    /// The records.
    pub records: Vec<Sent>,
    /// Time of the latest event.
    pub latest: TimeMs,
    /// The owners of whom one fact of an order is told more than once.
    pub told_twice: BTreeSet<Text>,
}

impl Load {
    /// What the shop of `seed` sends.
    #[must_use]
    pub fn of(seed: u64, shop: &Shop) -> Load {
        let mut random = Random::new(seed, 2);
        let keyed = random.pick(&[Keyed::Rightly, Keyed::Otherwise, Keyed::Anyhow]);
        let order = random.pick(&[Order::InOrder, Order::Within, Order::Beyond]);
        let events = events(seed, order, &mut random);
        let latest = events.iter().map(|e| e.time).max().unwrap_or_default();
        let poisoned = random.chance(POISONED);
        let poisoned = poisoned.then(|| random.below(events.len() as u64) as usize);
        let mut records = Vec::with_capacity(events.len() + 32);
        // Every input has something from the beginning on: its clock counts from its first record.
        for event in heads(&events) {
            records.push(sent(shop, &event, keyed));
        }
        for (nth, event) in events.iter().enumerate() {
            if random.chance(BAD) {
                let value = rubbish(shop.encoded(event), &mut random);
                records.push(bad(event, value, &mut random));
            }
            if poisoned == Some(nth) {
                records.push(bad(event, Some(POISON.to_vec()), &mut random));
            }
            records.push(sent(shop, event, keyed));
        }
        Load {
            keyed,
            order,
            records,
            latest,
            told_twice: told_twice(&events),
        }
    }
}

fn told_twice(events: &[Event]) -> BTreeSet<Text> {
    let mut told = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for event in events {
        let fact = match &event.body {
            Body::OrderCompleted(order) => ("completed", &order.order_id),
            Body::OrderCancelled { order_id, .. } => ("cancelled", order_id),
            Body::OrderRefunded(refund) => ("refunded", &refund.refund_id),
            _ => continue,
        };
        if !told.insert(fact) {
            twice.extend(event.owner().map(|owner| owner.key()));
        }
    }
    twice
}

fn events(seed: u64, order: Order, random: &mut Random) -> Vec<Event> {
    let config = ShopConfig {
        seed,
        customers: 90,
        visitors_per_mille: 400,
        days: 150,
        products: 40,
        ..ShopConfig::default()
    };
    let Ok(traffic) = ShopTraffic::new(&config) else {
        return Vec::new();
    };
    let events = traffic.take(RECORDS);
    match order {
        Order::InOrder => events.collect(),
        Order::Within => Disorder::new(events, seed, 9 * MINUTE_MS, 60).collect(),
        Order::Beyond => {
            let displaced = Disorder::new(events, seed, 3 * DAY_MS, 60).displacing(300);
            let mut all = Vec::with_capacity(RECORDS + RECORDS / 8);
            for event in displaced {
                let restated = restated(&event, random);
                all.push(event);
                all.extend(restated);
            }
            all
        }
    }
}

/// An order that is told again as of some days earlier: that is when it was then, and the day on
/// which it was before may be no day of the shop any more.
fn restated(event: &Event, random: &mut Random) -> Option<Event> {
    if !matches!(event.body, Body::OrderCompleted(_)) || !random.chance(300) {
        return None;
    }
    let mut again = event.clone();
    again.id = Text::new(format!("{}-restated", event.id));
    again.time = event.time.minus((1 + random.below(40) as i64) * DAY_MS);
    Some(again)
}

/// A first record for every partition of every input, before all others.
fn heads(events: &[Event]) -> Vec<Event> {
    let Some(first) = events.iter().min_by_key(|event| event.time) else {
        return Vec::new();
    };
    let is_order = |event: &&Event| event.body.is_order_fact();
    let is_placed = |event: &&Event| matches!(event.body, Body::OrderCompleted(_));
    let order = events.iter().find(is_placed);
    let click = events.iter().find(|event| !is_order(event));
    let mut heads = Vec::new();
    for task in 0..TASKS {
        let name = (0_u32..).map(|n| format!("head-{task}-{n}"));
        let name = name
            .take(10_000)
            .find(|name| partition_of(name.as_bytes(), TASKS) == task);
        for (kind, event) in [("o", order), ("c", click)] {
            if let (Some(name), Some(event)) = (&name, event) {
                let mut head = event.clone();
                head.id = Text::new(format!("{name}-{kind}"));
                head.time = first.time.minus(MINUTE_MS);
                head.customer_id = Some(Text::new(name));
                head.anonymous_id = None;
                if let Body::OrderCompleted(order) = &mut head.body {
                    order.order_id = Text::new(format!("{name}-order"));
                }
                heads.push(head);
            }
        }
    }
    heads
}

fn sent(shop: &Shop, event: &Event, keyed: Keyed) -> Sent {
    let owner = event.owner().map(|owner| owner.key()).unwrap_or_default();
    let partition = match keyed {
        Keyed::Rightly => partition_of(owner.as_bytes(), TASKS),
        Keyed::Otherwise => partition_of(format!("other {owner}").as_bytes(), TASKS),
        Keyed::Anyhow => partition_of(event.id.as_bytes(), TASKS),
    };
    Sent {
        at: place(event, partition),
        content: Content {
            key: Some(owner.as_bytes().to_vec()),
            value: Some(shop.encoded(event)),
            headers: Vec::new(),
        },
        time: event.time,
        is_bad: false,
    }
}

fn rubbish(mut value: Vec<u8>, random: &mut Random) -> Option<Vec<u8>> {
    match random.below(4) {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(b"\x07what is this".to_vec()),
        _ => {
            value.truncate(9);
            Some(value)
        }
    }
}

/// A record that nobody can use.
fn bad(event: &Event, value: Option<Vec<u8>>, random: &mut Random) -> Sent {
    Sent {
        at: place(event, random.below(u64::from(TASKS)) as u32),
        content: Content {
            key: Some(b"bad".to_vec()),
            value,
            headers: Vec::new(),
        },
        time: TimeMs::MIN,
        is_bad: true,
    }
}

fn place(event: &Event, partition: u32) -> TopicPartition {
    let topic = INPUTS[usize::from(event.body.is_order_fact())];
    TopicPartition {
        topic: Arc::from(topic),
        partition,
    }
}
