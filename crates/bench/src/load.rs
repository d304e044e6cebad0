//! The load: the synthetic shop of `clvstream simulate`, written to the input topics either at once,
//! or at a pace with the wall clock's time in every event.
//!
//! Invariant: a paced event's id says when it was due, not when it was sent, so that a producer which
//! falls behind makes latencies longer rather than fewer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::event::{Body, Event, OrderCompleted};
use domain::money::Minor;
use domain::time::{DAY_MS, TimeMs};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use smol_str::format_smolstr;
use traffic::{ShopConfig, ShopTraffic};
use wire::{Encoder, Format, SchemaSet, partition_of};

use crate::error::BenchError;
use crate::sending::send;
use crate::setup::Setup;

/// What a paced event's id begins with; when it was due follows, see [`DUE_DIGITS`].
const MARK: &[u8] = b"due-";
/// Hexadecimal digits of the microseconds since 1970 at which an event was due.
const DUE_DIGITS: usize = 16;
/// Due events are looked for this often.
const TICK: Duration = Duration::from_micros(500);
/// How long the paced load's producer waits for fuller batches: part of what is measured, so little;
/// without it the broker is kept busy with requests of a record each.
const PACED_LINGER_MS: &str = "1";
/// When the first of the customers with one order each ordered: 2024-01-01.
const FIRST_ORDER: TimeMs = TimeMs(1_704_067_200_000);
/// For everything to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

/// How well a pace was kept.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Kept {
    /// When the first event was due, in microseconds since 1970.
    pub(crate) first_due: u64,
    /// Events a second, from the first due one to the delivery of the last.
    pub(crate) per_second: f64,
    /// The latest that an event was handed over.
    pub(crate) late: Duration,
}

/// Writes `events` events as fast as possible; answers their bytes.
///
/// # Errors
/// They cannot be written.
pub(crate) fn fill(setup: &Setup, events: u64) -> Result<u64, BenchError> {
    let writer = Writer::new(setup, None)?;
    let mut bytes = 0;
    for event in shop(setup, events, 1)? {
        bytes += writer.write(&event)? as u64;
    }
    writer.finish()?;
    Ok(bytes)
}

/// Writes `each` orders, a day apart, of each of the customers number `first` to before `first + customers`.
/// One each is the least input that makes so many profiles.
///
/// # Errors
/// They cannot be written.
pub(crate) fn orders(
    setup: &Setup,
    first: u64,
    customers: u64,
    each: u32,
) -> Result<(), BenchError> {
    let writer = Writer::new(setup, None)?;
    for number in first..first + customers {
        for nth in 0..each {
            writer.write(&order(number, nth))?;
        }
    }
    writer.finish()
}

fn order(number: u64, nth: u32) -> Event {
    // Ids as shops have them: nothing that compresses, nothing in order.
    let mixed = |what: u64, round: u64| {
        what.wrapping_add(round << 60)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let own = |round| mixed((number << 8) + u64::from(nth), round);
    let total = Minor(i64::try_from(own(1) % 20_000).unwrap_or(0) + 100);
    let order = OrderCompleted {
        order_id: format_smolstr!("o-{:016x}", own(2)),
        partial: false,
        subtotal: Some(total),
        discount: Minor::ZERO,
        coupon: None,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        total: Some(total),
        cogs: None,
        lines: Vec::new(),
    };
    Event {
        id: format_smolstr!("e-{:016x}", own(3)),
        time: FIRST_ORDER
            .plus(i64::try_from(number).unwrap_or(0))
            .plus(i64::from(nth) * DAY_MS),
        customer_id: Some(format_smolstr!("c-{:016x}{number:08x}", mixed(number, 4))),
        anonymous_id: None,
        session_id: None,
        channel: None,
        campaign: None,
        country: None,
        body: Body::OrderCompleted(Box::new(order)),
    }
}

/// Writes `rate` events a second for `span`, evenly. Each `seed` is a shop with other customers.
///
/// # Errors
/// They cannot be written.
pub(crate) fn pace(
    setup: &Setup,
    rate: f64,
    span: Duration,
    seed: u64,
) -> Result<Kept, BenchError> {
    let total = (rate * span.as_secs_f64()).ceil() as u64;
    let writer = Writer::new(setup, Some(PACED_LINGER_MS))?;
    let mut events = shop(setup, total, seed)?;
    let start = Instant::now();
    let epoch = now_micros();
    let mut late = Duration::ZERO;
    for number in 0..total {
        let due = Duration::from_secs_f64(number as f64 / rate);
        while start.elapsed() < due {
            writer.producer.poll(Duration::ZERO);
            std::thread::sleep(TICK.min(due.saturating_sub(start.elapsed())));
        }
        let Some(mut event) = events.next() else {
            return Err(BenchError::failed("the shop has made too few events"));
        };
        let due_micros = epoch + u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
        event.id = format_smolstr!("due-{due_micros:0DUE_DIGITS$x}-{number:x}");
        event.time = TimeMs(i64::try_from(due_micros / 1_000).unwrap_or(i64::MAX));
        writer.write(&event)?;
        late = late.max(start.elapsed().saturating_sub(due));
    }
    writer.finish()?;
    Ok(Kept {
        first_due: epoch,
        per_second: total as f64 / start.elapsed().as_secs_f64(),
        late,
    })
}

/// When the event that is named in `value` was due, in microseconds since 1970: a paced event, or an
/// output that it caused.
pub(crate) fn due_in(value: &[u8]) -> Option<u64> {
    let at = value.windows(MARK.len()).position(|four| four == MARK)?;
    let digits = value.get(at + MARK.len()..)?.get(..DUE_DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

fn shop(
    setup: &Setup,
    events: u64,
    seed: u64,
) -> Result<impl Iterator<Item = Event> + use<>, BenchError> {
    let wrong = |problems: Vec<traffic::ConfigError>| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        BenchError::failed(all.join("; "))
    };
    let shop = ShopConfig {
        seed,
        decimals: setup.currency.decimals,
        ..ShopConfig::default()
    };
    let shop = shop.sized_for(events).map_err(wrong)?;
    let limit = usize::try_from(events).unwrap_or(usize::MAX);
    Ok(ShopTraffic::new(&shop).map_err(wrong)?.take(limit))
}

/// Writes events as `clvstream simulate` does: same bytes, same topics, same partitions.
struct Writer<'a> {
    setup: &'a Setup,
    encoder: Encoder,
    producer: BaseProducer,
}

impl<'a> Writer<'a> {
    fn new(setup: &'a Setup, linger_ms: Option<&str>) -> Result<Writer<'a>, BenchError> {
        let schemas =
            SchemaSet::embedded().map_err(|error| BenchError::failed(error.to_string()))?;
        let encoder = Encoder::new(setup.currency, &schemas)
            .map_err(|error| BenchError::failed(error.to_string()))?;
        let mut config = setup.producer(None);
        if let Some(linger_ms) = linger_ms {
            config.set("queue.buffering.max.ms", linger_ms);
        }
        let producer = config
            .create()
            .map_err(BenchError::kafka("making the load's producer"))?;
        Ok(Writer {
            setup,
            encoder,
            producer,
        })
    }

    /// Answers how many bytes it has.
    fn write(&self, event: &Event) -> Result<usize, BenchError> {
        let owner = event.owner();
        let key = owner.map(|owner| owner.key()).unwrap_or_default();
        let value = self
            .encoder
            .encode(event, Format::Avro)
            .map_err(|error| BenchError::failed(error.to_string()))?;
        let partition = partition_of(key.as_bytes(), self.setup.partitions);
        let topic = self.setup.input(input_topic(&event.body));
        let record = BaseRecord::to(&topic)
            .key(key.as_bytes())
            .payload(value.as_slice())
            .partition(i32::try_from(partition).unwrap_or(0));
        send(&self.producer, record)?;
        Ok(key.len() + value.len())
    }

    fn finish(self) -> Result<(), BenchError> {
        self.producer
            .flush(PATIENCE)
            .map_err(BenchError::kafka("delivering the load"))
    }
}

/// The input topic, of the default ones, that an event of this kind belongs to.
fn input_topic(body: &Body) -> &'static str {
    match body {
        Body::OrderCompleted(_)
        | Body::OrderCancelled { .. }
        | Body::OrderRefunded(_)
        | Body::OrderDelivered { .. } => "orders",
        Body::NpsAnswered { .. } => "care",
        Body::ProductReviewed { .. }
        | Body::ProductShared { .. }
        | Body::ReferralConverted { .. } => "loyalty",
        Body::MessageOpened | Body::MessageClicked => "marketing",
        _ => "clickstream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_an_event_was_due_is_found_anywhere_in_a_value() {
        let id = format!("due-{:0DUE_DIGITS$x}-1f", 1_790_000_000_123_456_u64);
        let cases: [(Vec<u8>, Option<u64>); 5] = [
            (id.clone().into_bytes(), Some(1_790_000_000_123_456)),
            (
                [b"\0\x01\x02abc", id.as_bytes(), b"xyz"].concat(),
                Some(1_790_000_000_123_456),
            ),
            (id.as_bytes()[..10].to_vec(), None),
            (b"due-to-the-weather-and-so-on".to_vec(), None),
            (Vec::new(), None),
        ];
        for (value, expected) in cases {
            assert_eq!(due_in(&value), expected, "{value:?}");
        }
    }
}
