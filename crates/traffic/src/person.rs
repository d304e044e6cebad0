//! Who comes to the shop: how often, how inclined to buy, and when for the last time.

use domain::event::Text;
use domain::time::{DAY_MS, HOUR_MS};
use smol_str::SmolStr;

use crate::catalogue::CATEGORIES;
use crate::random::{Random, mix, pick};

/// Countries and their weights.
const COUNTRIES: [(&str, u32); 8] = [
    ("DE", 46),
    ("AT", 12),
    ("CH", 9),
    ("NL", 9),
    ("FR", 8),
    ("GB", 8),
    ("US", 5),
    ("PL", 3),
];

/// Someone who may come again.
pub(crate) struct Person {
    /// Of customers and visitors together, in the order of their first visits.
    pub(crate) number: u32,
    /// Whether this is a visitor who never identifies and never buys.
    pub(crate) visitor: bool,
    /// Whether the shop knows who this is, once logged in.
    pub(crate) known: bool,
    /// Whether this is one of those who buy at a deep discount only.
    pub(crate) bargain_hunter: bool,
    /// Inclination to buy, in thousandths.
    pub(crate) intent: u32,
    /// Index of the preferred category.
    pub(crate) favourite: u8,
    /// Orders so far.
    pub(crate) orders: u32,
    /// Mean activity time from the end of a visit to the next.
    gap_ms: i64,
    /// Chance of never coming again, in thousandths, after a visit with and without an order.
    dropout: (u32, u32),
}

impl Person {
    /// A customer: visits are a Poisson process whose rate varies between customers by a gamma
    /// distribution; after each order the relation may end, with a probability that varies by a
    /// beta distribution. Orders are a thinning of the visits, so that they follow BG/NBD.
    pub(crate) fn customer(number: u32, random: &mut Random) -> Person {
        let rate = random.gamma(0.8).max(0.02);
        let bargain_hunter = random.chance(80);
        let dropout = random.beta_per_mille(0.8, 2.6);
        Person {
            number,
            visitor: false,
            known: false,
            bargain_hunter,
            intent: 100 + random.beta_per_mille(2.0, 4.0) * 9 / 10,
            favourite: random.below(CATEGORIES.len() as u64) as u8,
            orders: 0,
            gap_ms: ((8 * DAY_MS) as f64 / rate) as i64,
            dropout: (
                if bargain_hunter {
                    dropout.max(800)
                } else {
                    dropout
                },
                15,
            ),
        }
    }

    /// A visitor: most come once, some browse again and again.
    pub(crate) fn visitor(number: u32, random: &mut Random) -> Person {
        let frequent = random.chance(60);
        Person {
            number,
            visitor: true,
            known: false,
            bargain_hunter: false,
            intent: random.beta_per_mille(1.2, 8.0),
            favourite: random.below(CATEGORIES.len() as u64) as u8,
            orders: 0,
            gap_ms: if frequent { 6 * DAY_MS } else { 12 * DAY_MS },
            dropout: (1000, if frequent { 80 } else { 700 }),
        }
    }

    /// Activity time until the next visit; `None` when there is none.
    pub(crate) fn next_gap_ms(&self, ordered: bool, random: &mut Random) -> Option<i64> {
        let (after_order, otherwise) = self.dropout;
        let gone = random.chance(if ordered { after_order } else { otherwise });
        // Sessions are cut at 30 minutes without an event: the next visit is one of its own.
        (!gone).then(|| HOUR_MS + random.wait_ms(self.gap_ms))
    }
}

/// The country of a person, a property of the number, so that it need not be kept.
pub(crate) fn country_of(seed: u64, number: u32) -> Text {
    let weights = COUNTRIES.map(|country| country.1);
    let total: u32 = weights.iter().sum();
    let point = mix(seed ^ mix(u64::from(number))) % u64::from(total);
    SmolStr::new_static(COUNTRIES[pick(&weights, point)].0)
}
