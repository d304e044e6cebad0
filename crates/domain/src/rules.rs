//! Conditions over a profile, as data: what the definitions of stages and segments are made of.
//!
//! A condition is evaluated as of an instant and answers two questions: does it hold, and from
//! which instant on might time alone change that. The second answer is what arms a profile's
//! timer, so that "nothing happened for 90 days" is noticed on the millisecond and nobody rescans.
//!
//! Invariant: [`Verdict::changes_at`] is later than the instant of evaluation, and no later than
//! the first instant at which the truth differs with no further event.

use smol_str::{SmolStr, format_smolstr};

use crate::behaviour::{Behaviour, leaves_window};
use crate::change::Evidence;
use crate::event::Text;
use crate::orders::{OrderBook, OrderStats};
use crate::prediction::InForce;
use crate::purchases::Statistics;
use crate::sums::BookSums;
use crate::time::{DAY_MS, TimeMs};

/// A number that a profile has at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Orders that were not cancelled.
    Orders,
    /// Orders that were not cancelled, nothing of which is left after refunds: 1 or 0.
    FullyRefunded,
    /// Orders at full price: no coupon and less than 20 % off.
    FullPriceOrders,
    /// Orders, cancelled ones included.
    OrdersPlaced,
    /// Orders placed after the present stage was entered.
    OrdersSinceStage,
    /// Orders placed after the present stage was entered or at that very instant: for stages that
    /// time alone leads to, so that no order of that instant can have led there.
    OrdersFromStage,
    /// Orders in the so many days before the last change of a cart that is not empty, or after it.
    OrdersAroundCart(u32),
    /// Whether an order was delivered: 1 or 0.
    Delivered,
    /// Days from first to last order.
    OrderSpanDays,
    /// Whether no interval between orders is above twice their mean: 1 or 0.
    RegularOrders,
    /// Orders in a rolling window of so many days.
    OrdersIn(u32),
    /// Sessions so far.
    Sessions,
    /// Pages viewed so far.
    PageViews,
    /// Leads captured so far.
    Leads,
    /// Sessions in a window of so many days.
    SessionsIn(u32),
    /// Pages viewed in a window of so many days.
    PageViewsIn(u32),
    /// Different products in the cart.
    CartItems,
    /// Good reviews, shares and converted referrals in a window of so many days.
    AdvocacyIn(u32),
    /// Converted referrals in a window of so many days.
    ReferralsIn(u32),
    /// The last NPS answer; no value where there is none.
    NpsScore,
}

/// An instant that a profile knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The first order.
    FirstOrder,
    /// The last order.
    LastOrder,
    /// The last change of a cart that is not empty.
    CartChanged,
}

/// A span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// So many milliseconds.
    Fixed(i64),
    /// So many hundredths of L, the time after which a customer is overdue: twice his own mean
    /// interval (the population's p90 with fewer than three orders), within 30 to 365 days.
    OverduePercent(i64),
}

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cond {
    /// Holds for everybody.
    Always,
    /// All of them hold.
    All(Vec<Cond>),
    /// At least one of them holds.
    Any(Vec<Cond>),
    /// It does not hold.
    Not(Box<Cond>),
    /// The field has a value, and it is at least this.
    AtLeast(Field, i64),
    /// The field has a value, and it is at most this.
    AtMost(Field, i64),
    /// The moment exists and lies at least this long back.
    Ago(Moment, Span),
    /// The moment exists and lies less than this long back.
    Since(Moment, Span),
    /// P(alive) is at most so many hundredths of what it was on the day of the last order. Without a model in
    /// force it holds for nobody.
    AliveBelow(u8),
}

/// What conditions are evaluated over.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Orders and refunds.
    pub book: &'a OrderBook,
    /// What the orders come to.
    pub sums: &'a BookSums,
    /// Their statistics, every known fact included.
    pub stats: &'a OrderStats,
    /// Behaviour.
    pub behaviour: &'a Behaviour,
    /// The instant of evaluation.
    pub as_of: TimeMs,
    /// When the present stage was entered.
    pub stage_since: Option<TimeMs>,
    /// The population's 90th percentile of intervals between orders, in milliseconds.
    pub population_interval_ms: i64,
    /// What the model in force needs to know, and the model.
    pub predicted_from: Option<(&'a Statistics, &'a InForce)>,
}

/// What a condition answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// The earliest instant at which time alone might change that; [`TimeMs::MAX`]: never.
    pub changes_at: TimeMs,
}

impl Verdict {
    fn fixed(holds: bool) -> Verdict {
        Verdict {
            holds,
            changes_at: TimeMs::MAX,
        }
    }
}

/// The time after which a customer is overdue (L of the shared lifecycle rules), in milliseconds.
#[must_use]
pub fn overdue_after_ms(stats: &OrderStats, population_interval_ms: i64) -> i64 {
    let own = stats
        .mean_interval_ms()
        .filter(|_| stats.orders >= 3)
        .map(|mean| mean.saturating_mul(2));
    own.unwrap_or(population_interval_ms)
        .clamp(30 * DAY_MS, 365 * DAY_MS)
}

impl Facts<'_> {
    fn value(&self, field: Field) -> Option<i64> {
        let stats = self.stats;
        let value = match field {
            Field::Orders => i64::from(stats.orders),
            Field::FullyRefunded => i64::from(stats.is_fully_refunded()),
            Field::FullPriceOrders => i64::from(stats.full_price_orders),
            Field::OrdersPlaced => i64::from(stats.orders) + i64::from(stats.cancelled_orders),
            Field::OrdersSinceStage => self.orders_after(self.stage_since),
            Field::OrdersFromStage => self.orders_after(self.stage_since.map(|s| s.minus(1))),
            Field::OrdersAroundCart(days) => {
                let changed = self.behaviour.cart_changed_at;
                self.orders_after(changed.map(|at| at.minus(i64::from(days) * DAY_MS)))
            }
            Field::Delivered => i64::from(stats.any_delivered),
            Field::OrderSpanDays => match (stats.first, stats.last) {
                (Some(first), Some(last)) => last.since(first) / DAY_MS,
                _ => 0,
            },
            Field::RegularOrders => i64::from(
                match (stats.longest_interval_ms, stats.mean_interval_ms()) {
                    (Some(longest), Some(mean)) => longest <= mean.saturating_mul(2),
                    _ => false,
                },
            ),
            Field::OrdersIn(days) => self.order_exits(days).count() as i64,
            Field::Sessions => count(self.behaviour.totals.sessions),
            Field::PageViews => count(self.behaviour.totals.page_views),
            Field::Leads => count(self.behaviour.totals.leads),
            Field::SessionsIn(days) => i64::from(self.behaviour.window(self.as_of, days).sessions),
            Field::PageViewsIn(days) => {
                i64::from(self.behaviour.window(self.as_of, days).page_views)
            }
            Field::CartItems => self.behaviour.cart.len() as i64,
            Field::AdvocacyIn(days) => self.signal_exits(days, false).count() as i64,
            Field::ReferralsIn(days) => self.signal_exits(days, true).count() as i64,
            Field::NpsScore => i64::from(self.behaviour.nps?.1),
        };
        Some(value)
    }

    fn orders_after(&self, instant: Option<TimeMs>) -> i64 {
        let Some(instant) = instant else {
            return 0;
        };
        let kept = self.sums.orders(self.book);
        kept.filter(|(order, sums)| order.cancelled_at.is_none() && sums.first > instant)
            .count() as i64
    }

    /// When each order now in the window leaves it.
    fn order_exits(&self, days: u32) -> impl Iterator<Item = (TimeMs, i64)> + '_ {
        let window = i64::from(days) * DAY_MS;
        let after = self.as_of.minus(window);
        self.sums
            .orders(self.book)
            .filter(move |(order, sums)| order.cancelled_at.is_none() && sums.last > after)
            .filter_map(move |(order, sums)| {
                if sums.last <= self.as_of {
                    return Some(sums.last);
                }
                order.within(after, self.as_of).map(|s| s.last)
            })
            .map(move |last| (last.plus(window), 1))
    }

    fn signal_exits(&self, days: u32, referrals: bool) -> impl Iterator<Item = (TimeMs, i64)> + '_ {
        use crate::behaviour::Signal::ReferralConverted;
        self.behaviour
            .signals_within(self.as_of, days)
            .filter(move |(_, signal)| !referrals || *signal == ReferralConverted)
            .map(move |(time, _)| (time.plus(i64::from(days) * DAY_MS), 1))
    }

    /// What leaves the window of a windowed field, when, and how much it counted.
    fn exits(&self, field: Field) -> Vec<(TimeMs, i64)> {
        let buckets = |days: u32, pick: fn(&crate::behaviour::Bucket) -> u32| {
            self.behaviour
                .days
                .iter()
                .map(|b| (leaves_window(b.day, days), i64::from(pick(b))))
                .filter(|(at, n)| *at > self.as_of && *n > 0)
                .collect()
        };
        let mut exits: Vec<(TimeMs, i64)> = match field {
            Field::OrdersIn(days) => self.order_exits(days).collect(),
            Field::SessionsIn(days) => buckets(days, |b| b.sessions),
            Field::PageViewsIn(days) => buckets(days, |b| b.page_views),
            Field::AdvocacyIn(days) => self.signal_exits(days, false).collect(),
            Field::ReferralsIn(days) => self.signal_exits(days, true).collect(),
            _ => Vec::new(),
        };
        exits.sort_unstable();
        exits
    }

    /// When a windowed field's value, which can only shrink with time, falls below `limit`.
    fn falls_below(&self, field: Field, value: i64, limit: i64) -> TimeMs {
        let mut left = value;
        for (at, amount) in self.exits(field) {
            left -= amount;
            if left < limit {
                return at;
            }
        }
        TimeMs::MAX
    }

    fn moment(&self, moment: Moment) -> Option<TimeMs> {
        match moment {
            Moment::FirstOrder => self.stats.first,
            Moment::LastOrder => self.stats.last,
            Moment::CartChanged => self.behaviour.cart_changed_at,
        }
    }

    fn span_ms(&self, span: Span) -> i64 {
        match span {
            Span::Fixed(ms) => ms,
            Span::OverduePercent(percent) => {
                overdue_after_ms(self.stats, self.population_interval_ms).saturating_mul(percent)
                    / 100
            }
        }
    }
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Cond {
    /// Evaluates the condition.
    #[must_use]
    pub fn eval(&self, facts: &Facts<'_>) -> Verdict {
        match self {
            Cond::Always => Verdict::fixed(true),
            Cond::All(conds) => combine(conds, facts, true),
            Cond::Any(conds) => combine(conds, facts, false),
            Cond::Not(cond) => {
                let inner = cond.eval(facts);
                Verdict {
                    holds: !inner.holds,
                    ..inner
                }
            }
            Cond::AtLeast(field, limit) => match facts.value(*field) {
                Some(value) if value >= *limit => Verdict {
                    holds: true,
                    changes_at: facts.falls_below(*field, value, *limit),
                },
                _ => Verdict::fixed(false),
            },
            Cond::AtMost(field, limit) => match facts.value(*field) {
                Some(value) if value > *limit => Verdict {
                    holds: false,
                    changes_at: facts.falls_below(*field, value, limit.saturating_add(1)),
                },
                value => Verdict::fixed(value.is_some()),
            },
            Cond::Ago(moment, span) => match facts.moment(*moment) {
                Some(at) => since(at, facts, *span, false),
                None => Verdict::fixed(false),
            },
            Cond::Since(moment, span) => match facts.moment(*moment) {
                Some(at) => since(at, facts, *span, true),
                None => Verdict::fixed(false),
            },
            Cond::AliveBelow(share) => match facts.predicted_from {
                Some((statistics, model)) => from(model.falls_to(statistics, *share), facts, false),
                None => Verdict::fixed(false),
            },
        }
    }

    /// The facts that the condition looks at, with their values, each once.
    #[must_use]
    pub fn evidence(&self, facts: &Facts<'_>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        self.collect_evidence(facts, &mut evidence);
        evidence
    }

    fn collect_evidence(&self, facts: &Facts<'_>, into: &mut Vec<Evidence>) {
        let found = match self {
            Cond::Always => return,
            Cond::All(conds) | Cond::Any(conds) => {
                for cond in conds {
                    cond.collect_evidence(facts, into);
                }
                return;
            }
            Cond::Not(cond) => return cond.collect_evidence(facts, into),
            Cond::AtLeast(field, _) | Cond::AtMost(field, _) => {
                let Some(value) = facts.value(*field) else {
                    return;
                };
                Evidence {
                    field: field.name(),
                    value: format_smolstr!("{value}"),
                }
            }
            Cond::AliveBelow(_) => {
                let Some((statistics, model)) = facts.predicted_from else {
                    return;
                };
                let p_alive = model.predict(statistics, facts.as_of).p_alive;
                Evidence {
                    field: SmolStr::new_static("p_alive"),
                    value: format_smolstr!("{p_alive:.4}"),
                }
            }
            Cond::Ago(moment, _) | Cond::Since(moment, _) => {
                let Some(at) = facts.moment(*moment) else {
                    return;
                };
                Evidence {
                    field: SmolStr::new_static(moment.name()),
                    value: format_smolstr!("{at}"),
                }
            }
        };
        if !into.contains(&found) {
            into.push(found);
        }
    }
}

/// All (`wanted`) or any (not `wanted`) of `conds`.
fn combine(conds: &[Cond], facts: &Facts<'_>, wanted: bool) -> Verdict {
    let mut verdict = Verdict::fixed(wanted);
    for cond in conds {
        let inner = cond.eval(facts);
        if inner.holds != wanted {
            // This one alone decides for as long as it stays as it is.
            if verdict.holds != wanted {
                verdict.changes_at = verdict.changes_at.max(inner.changes_at);
            } else {
                verdict = inner;
            }
        } else if verdict.holds == wanted {
            verdict.changes_at = verdict.changes_at.min(inner.changes_at);
        }
    }
    verdict
}

fn since(at: TimeMs, facts: &Facts<'_>, span: Span, recent: bool) -> Verdict {
    from(at.plus(facts.span_ms(span)), facts, recent)
}

/// From `due` on, or until then.
fn from(due: TimeMs, facts: &Facts<'_>, until: bool) -> Verdict {
    let past = facts.as_of >= due;
    Verdict {
        holds: past != until,
        changes_at: if past { TimeMs::MAX } else { due },
    }
}

impl Field {
    /// The name in evidence, and in definitions.
    #[must_use]
    pub fn name(self) -> Text {
        let (name, days) = match self {
            Field::Orders => ("orders", None),
            Field::FullyRefunded => ("fully_refunded", None),
            Field::FullPriceOrders => ("full_price_orders", None),
            Field::OrdersPlaced => ("orders_placed", None),
            Field::OrdersSinceStage => ("orders_since_stage", None),
            Field::OrdersFromStage => ("orders_from_stage", None),
            Field::OrdersAroundCart(days) => ("orders_around_cart", Some(days)),
            Field::Delivered => ("delivered", None),
            Field::OrderSpanDays => ("order_span_days", None),
            Field::RegularOrders => ("regular_orders", None),
            Field::OrdersIn(days) => ("orders", Some(days)),
            Field::Sessions => ("sessions", None),
            Field::PageViews => ("page_views", None),
            Field::Leads => ("leads", None),
            Field::SessionsIn(days) => ("sessions", Some(days)),
            Field::PageViewsIn(days) => ("page_views", Some(days)),
            Field::CartItems => ("cart_items", None),
            Field::AdvocacyIn(days) => ("advocacy_signals", Some(days)),
            Field::ReferralsIn(days) => ("referrals_converted", Some(days)),
            Field::NpsScore => ("nps_score", None),
        };
        match days {
            Some(days) => format_smolstr!("{name}_{days}d"),
            None => SmolStr::new_static(name),
        }
    }
}

impl Moment {
    /// The name in evidence, and in definitions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Moment::FirstOrder => "first_order",
            Moment::LastOrder => "last_order",
            Moment::CartChanged => "cart_changed",
        }
    }
}
