//! Lifecycle models and segments as data, and the presets that ship.
//!
//! Nothing in the rest of the crate knows a stage or a segment by name: definitions from a file can
//! take the place of these presets. Stages, models and segments are kept in state by [`tag`], a
//! short hash of the name, so that they may be reordered between versions.

use crate::event::Text;
use crate::money::{Currency, Minor};
use crate::orders::stable_hash;
use crate::prediction::{Horizon, InForce};
use crate::rules::{Cond, Field, Moment, Span};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// A name as it stands in state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u32);

/// The tag of `name`.
#[must_use]
pub fn tag(name: &str) -> Tag {
    Tag(stable_hash(name) as u32)
}

/// One stage of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Its name.
    pub name: Text,
    /// [`tag`] of its name.
    pub tag: Tag,
    /// Whether a customer in this stage is gone, so that his value is final (R04).
    pub ends_relation: bool,
}

/// A way from stages to a stage. The first one that applies is taken.
///
/// Events are put in order after the fact, and no change tells that a stage has become none. So the
/// initial ways of a model must, once one of them applies to a set of events, apply to every larger
/// set (not necessarily the same one, and not necessarily to the same stage).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The rule's name, for the reason.
    pub rule: Text,
    /// Indexes of the stages that it leads out of.
    pub from: Vec<usize>,
    /// Whether it also leads in, for a profile that has no stage yet.
    pub initial: bool,
    /// Index of the stage that it leads to.
    pub to: usize,
    /// When it applies.
    pub when: Cond,
    /// How long the present stage must have lasted first, in milliseconds; an order does not wait.
    pub min_dwell_ms: i64,
    /// Whether taking it begins another cycle of the relation.
    pub starts_cycle: bool,
    /// Whether taking it takes back what was said before (an only order that was cancelled).
    pub reverts: bool,
}

/// A lifecycle model: a state machine over stages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    /// Its name.
    pub name: Text,
    /// [`tag`] of its name.
    pub tag: Tag,
    /// Its stages, in the order in which a relation is expected to run through them.
    pub stages: Vec<Stage>,
    /// The ways between them, by priority.
    pub transitions: Vec<Transition>,
    /// Whether stages jumped over are reported as skipped.
    pub reports_skipped: bool,
}

/// A segment: those for whom a condition holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its name.
    pub name: Text,
    /// [`tag`] of its name.
    pub tag: Tag,
    /// Who is in it.
    pub when: Cond,
}

/// Everything about a shop that results depend on, beyond the records.
#[derive(Clone, PartialEq, Debug)]
pub struct Definitions {
    /// Version, on every change that these definitions cause.
    pub version: u32,
    /// The shop's currency.
    pub currency: Currency,
    /// Silence after which the next event begins a session, in milliseconds.
    pub session_gap_ms: i64,
    /// How late an event may come and still be put in its place, in milliseconds.
    pub grace_ms: i64,
    /// The population's 90th percentile of intervals between orders, in milliseconds; stands in for
    /// a customer's own with fewer than three orders.
    pub population_interval_ms: i64,
    /// Lifetime that the prospective formula value assumes, in years.
    pub expected_lifetime_years: f64,
    /// Orders per year of the population: for customers with one order.
    pub population_orders_per_year: f64,
    /// Whether tax counts as revenue.
    pub include_tax: bool,
    /// Whether shipping counts as revenue.
    pub include_shipping: bool,
    /// What it costs to serve an order that was not cancelled.
    pub cost_per_order: Minor,
    /// What it costs to handle a refund or return.
    pub cost_per_refund: Minor,
    /// What predictions are of.
    pub horizon: Horizon,
    /// A predicted value that has changed by no more than this share of it is no news.
    pub epsilon: f64,
    /// The model of value in force; `None` until one is.
    pub model: Option<InForce>,
    /// Lifecycle models.
    pub models: Vec<Model>,
    /// Segments.
    pub segments: Vec<Segment>,
}

impl Definitions {
    /// The presets, for a shop that accounts in `currency`.
    #[must_use]
    pub fn preset(currency: Currency) -> Definitions {
        Definitions {
            version: 1,
            currency,
            session_gap_ms: 30 * MINUTE_MS,
            grace_ms: 10 * MINUTE_MS,
            population_interval_ms: 180 * DAY_MS,
            expected_lifetime_years: 3.0,
            population_orders_per_year: 1.5,
            include_tax: false,
            include_shipping: false,
            cost_per_order: Minor::ZERO,
            cost_per_refund: Minor::ZERO,
            horizon: Horizon {
                days: 365,
                yearly_discount: 0.0,
                margin_rate: 1.0,
            },
            epsilon: 0.05,
            model: None,
            models: vec![lifecycle6(), activity()],
            segments: preset_segments(),
        }
    }

    /// The version of the model in force; 0 for none.
    #[must_use]
    pub fn model_version(&self) -> u32 {
        self.model.as_ref().map_or(0, InForce::version)
    }
}

fn stages(names: &[&'static str]) -> Vec<Stage> {
    names
        .iter()
        .map(|name| Stage {
            name: Text::new_static(name),
            tag: tag(name),
            ends_relation: *name == LAPSED,
        })
        .collect()
}

/// The stage that ends a relation in the presets.
const LAPSED: &str = "lapsed";

fn way(rule: &'static str, from: &[usize], to: usize, when: Cond) -> Transition {
    Transition {
        rule: Text::new_static(rule),
        from: from.to_vec(),
        initial: false,
        to,
        when,
        min_dwell_ms: 0,
        starts_cycle: false,
        reverts: false,
    }
}

impl Transition {
    fn or_initial(self) -> Transition {
        Transition {
            initial: true,
            ..self
        }
    }

    /// Falling back waits a day in the stage, so that nobody flaps; moving forward rests on what
    /// somebody did and does not wait.
    fn after_a_day(self) -> Transition {
        Transition {
            min_dwell_ms: DAY_MS,
            ..self
        }
    }

    fn reverting(self) -> Transition {
        Transition {
            reverts: true,
            ..self
        }
    }
}

fn all(conds: impl IntoIterator<Item = Cond>) -> Cond {
    Cond::All(conds.into_iter().collect())
}

fn any(conds: impl IntoIterator<Item = Cond>) -> Cond {
    Cond::Any(conds.into_iter().collect())
}

/// At least one order that was neither cancelled nor wholly given back.
fn keeps_an_order() -> Cond {
    all([
        Cond::AtLeast(Field::Orders, 1),
        Cond::AtMost(Field::FullyRefunded, 0),
    ])
}

/// Three orders or more over half a year, without a gap above twice their mean, the last one
/// within `percent` hundredths of L.
fn is_loyal(percent: i64) -> Cond {
    all([
        keeps_an_order(),
        Cond::AtLeast(Field::Orders, 3),
        Cond::AtLeast(Field::OrderSpanDays, 180),
        Cond::AtLeast(Field::RegularOrders, 1),
        Cond::Since(Moment::LastOrder, Span::OverduePercent(percent)),
    ])
}

/// A converted referral, or two signals within a year, or NPS of 9 and one signal; an order kept,
/// and no NPS of 6 or less since.
fn is_advocate() -> Cond {
    all([
        keeps_an_order(),
        Cond::Not(Box::new(Cond::AtMost(Field::NpsScore, 6))),
        any([
            Cond::AtLeast(Field::ReferralsIn(365), 1),
            Cond::AtLeast(Field::AdvocacyIn(365), 2),
            all([
                Cond::AtLeast(Field::NpsScore, 9),
                Cond::AtLeast(Field::AdvocacyIn(365), 1),
            ]),
        ]),
    ])
}

/// R10: awareness, consideration, purchase, retention, loyalty, advocacy.
fn lifecycle6() -> Model {
    const AWARENESS: usize = 0;
    const CONSIDERATION: usize = 1;
    const PURCHASE: usize = 2;
    const RETENTION: usize = 3;
    const LOYALTY: usize = 4;
    const ADVOCACY: usize = 5;
    let interested = any([
        Cond::AtLeast(Field::Sessions, 2),
        Cond::AtLeast(Field::PageViews, 3),
        Cond::AtLeast(Field::Leads, 1),
    ]);
    let settled_in = all([
        keeps_an_order(),
        any([
            Cond::AtLeast(Field::Delivered, 1),
            Cond::Ago(Moment::FirstOrder, Span::Fixed(14 * DAY_MS)),
        ]),
    ]);
    let no_order = Cond::Not(Box::new(keeps_an_order()));
    let after_purchase = [PURCHASE, RETENTION, LOYALTY, ADVOCACY];
    Model {
        name: Text::new_static("lifecycle6"),
        tag: tag("lifecycle6"),
        stages: stages(&[
            "awareness",
            "consideration",
            "purchase",
            "retention",
            "loyalty",
            "advocacy",
        ]),
        transitions: vec![
            way(
                "order_taken_back",
                &after_purchase,
                CONSIDERATION,
                all([no_order.clone(), interested.clone()]),
            )
            .reverting(),
            way("order_taken_back", &after_purchase, AWARENESS, no_order).reverting(),
            way(
                "advocates",
                &[AWARENESS, CONSIDERATION, PURCHASE, RETENTION, LOYALTY],
                ADVOCACY,
                is_advocate(),
            )
            .or_initial(),
            way(
                "buys_again_and_again",
                &[AWARENESS, CONSIDERATION, PURCHASE, RETENTION],
                LOYALTY,
                is_loyal(100),
            )
            .or_initial(),
            way(
                "first_order",
                &[AWARENESS, CONSIDERATION],
                PURCHASE,
                keeps_an_order(),
            )
            .or_initial(),
            way("delivered_or_14_days", &[PURCHASE], RETENTION, settled_in),
            way("shows_interest", &[AWARENESS], CONSIDERATION, interested).or_initial(),
            way(
                "advocacy_ended",
                &[ADVOCACY],
                LOYALTY,
                all([Cond::Not(Box::new(is_advocate())), is_loyal(100)]),
            )
            .after_a_day(),
            way(
                "advocacy_ended",
                &[ADVOCACY],
                RETENTION,
                Cond::Not(Box::new(is_advocate())),
            )
            .after_a_day(),
            way(
                "overdue_by_a_quarter",
                &[LOYALTY],
                RETENTION,
                Cond::Not(Box::new(is_loyal(125))),
            )
            .after_a_day(),
            way("first_touch", &[], AWARENESS, Cond::Always).or_initial(),
        ],
        reports_skipped: true,
    }
}

/// The overlay that goes with every model: is the relation alive? At risk once P(alive) is below half of what it
/// was on the day of the last order, lapsed once it is below a fifth; or, as without a fitted model, by the
/// customer's own rhythm: at risk after L, lapsed after one and a half L, which is three of his mean
/// intervals.
fn activity() -> Model {
    const PROSPECT: usize = 0;
    const NEW: usize = 1;
    const ACTIVE: usize = 2;
    const AT_RISK: usize = 3;
    const GONE: usize = 4;
    const REACTIVATED: usize = 5;
    let within_l = || {
        all([
            Cond::Since(Moment::LastOrder, Span::OverduePercent(100)),
            Cond::Not(Box::new(Cond::AliveBelow(50))),
        ])
    };
    let again = |field| all([Cond::AtLeast(field, 1), within_l()]);
    // Time alone leads to being at risk or gone, so an order of that very instant came after it.
    let after_silence = || again(Field::OrdersFromStage);
    let lapsed = Cond::Ago(Moment::LastOrder, Span::OverduePercent(150));
    let at_risk = Cond::Ago(Moment::LastOrder, Span::OverduePercent(100));
    let mut reactivated = way("ordered_again", &[GONE], REACTIVATED, after_silence());
    reactivated.starts_cycle = true;
    Model {
        name: Text::new_static("activity"),
        tag: tag("activity"),
        stages: stages(&[
            "prospect",
            "new",
            "active",
            "at_risk",
            LAPSED,
            "reactivated",
        ]),
        transitions: vec![
            // Only who had an order and took it back is called a prospect here.
            way(
                "order_taken_back",
                &[NEW, ACTIVE, AT_RISK, GONE, REACTIVATED],
                PROSPECT,
                Cond::AtMost(Field::Orders, 0),
            )
            .reverting(),
            way(
                "first_order",
                &[PROSPECT],
                NEW,
                Cond::AtLeast(Field::Orders, 1),
            )
            .or_initial(),
            // His order was cancelled before it came: when it had come first, he would be one too.
            way(
                "order_taken_back",
                &[],
                PROSPECT,
                all([
                    Cond::AtMost(Field::Orders, 0),
                    Cond::AtLeast(Field::OrdersPlaced, 1),
                ]),
            )
            .or_initial(),
            reactivated,
            way(
                "p_alive_below_a_fifth",
                &[NEW, ACTIVE, AT_RISK, REACTIVATED],
                GONE,
                Cond::AliveBelow(20),
            ),
            way(
                "no_order_for_1.5_l",
                &[NEW, ACTIVE, AT_RISK, REACTIVATED],
                GONE,
                lapsed,
            ),
            way(
                "p_alive_below_half",
                &[NEW, ACTIVE, REACTIVATED],
                AT_RISK,
                Cond::AliveBelow(50),
            ),
            way(
                "no_order_for_l",
                &[NEW, ACTIVE, REACTIVATED],
                AT_RISK,
                at_risk,
            ),
            way(
                "second_order",
                &[NEW],
                ACTIVE,
                all([Cond::AtLeast(Field::Orders, 2), within_l()]),
            ),
            way("ordered_again", &[AT_RISK], ACTIVE, after_silence()),
            way(
                "ordered_again",
                &[REACTIVATED],
                ACTIVE,
                again(Field::OrdersSinceStage),
            ),
            // An older order turned up late, or the rhythm turned out slower than thought.
            way("within_l_after_all", &[AT_RISK, GONE], ACTIVE, within_l()).reverting(),
        ],
        reports_skipped: false,
    }
}

fn preset_segments() -> Vec<Segment> {
    let bought_once_at_discount = all([
        Cond::AtLeast(Field::Orders, 1),
        Cond::AtMost(Field::Orders, 1),
        Cond::AtMost(Field::FullPriceOrders, 0),
        Cond::Ago(Moment::LastOrder, Span::OverduePercent(100)),
    ]);
    let abandoned_cart = all([
        Cond::AtLeast(Field::CartItems, 1),
        Cond::Ago(Moment::CartChanged, Span::Fixed(HOUR_MS)),
        Cond::Since(Moment::CartChanged, Span::Fixed(30 * DAY_MS)),
        // An order clears it, also when something was added again after it. Counted from the
        // cart's change, or it would come back by time alone once the order is 30 days old.
        Cond::AtMost(Field::OrdersAroundCart(30), 0),
    ]);
    let browses_only = all([
        Cond::AtMost(Field::OrdersPlaced, 0),
        any([
            Cond::AtLeast(Field::SessionsIn(90), 5),
            Cond::AtLeast(Field::PageViewsIn(90), 20),
        ]),
    ]);
    let second_purchase_window = all([
        Cond::AtLeast(Field::Orders, 1),
        Cond::AtMost(Field::Orders, 1),
        keeps_an_order(),
        Cond::Ago(Moment::LastOrder, Span::Fixed(14 * DAY_MS)),
        Cond::Since(Moment::LastOrder, Span::OverduePercent(100)),
    ]);
    let discount_only = all([
        Cond::AtLeast(Field::Orders, 1),
        Cond::AtMost(Field::FullPriceOrders, 0),
    ]);
    [
        ("browser_never_buyer", browses_only),
        ("cart_abandoner", abandoned_cart),
        ("discount_only", discount_only),
        ("loyal", is_loyal(100)),
        ("one_and_done_discount", bought_once_at_discount),
        ("second_purchase_window", second_purchase_window),
    ]
    .into_iter()
    .map(|(name, when)| Segment {
        name: Text::new_static(name),
        tag: tag(name),
        when,
    })
    .collect()
}
