//! What comes out: changes of value, stage and segment, each with its reason.

use crate::event::Text;
use crate::money::Minor;
use crate::time::TimeMs;

/// What brought a change about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// An event that came in order.
    Event,
    /// Time alone: a timer acted as of its due instant.
    Timer,
    /// An event that came out of order changed what had been published.
    Correction,
    /// A new version of the definitions.
    Definition,
    /// Another model of value was put into force.
    Model,
}

impl Cause {
    /// The name in outputs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Event => "event",
            Cause::Timer => "timer",
            Cause::Correction => "correction",
            Cause::Definition => "definition",
            Cause::Model => "model",
        }
    }
}

/// One fact that a rule rested on: a field of the profile and its value at that instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Field of the vocabulary, for example `orders`.
    pub field: Text,
    /// Its value as text, for example `3` or `2011-03-01T00:00:00.000Z`.
    pub value: Text,
}

/// Why something changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The rule that decided, by the name it has in the definitions.
    pub rule: Text,
    /// What brought it about.
    pub cause: Cause,
    /// What the rule looked at.
    pub evidence: Vec<Evidence>,
}

/// One change of one customer, as of an instant of event time.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The instant as of which it holds.
    pub as_of: TimeMs,
    /// The event that caused it; absent for timers, definitions and models.
    pub cause_event_id: Option<Text>,
    /// What changed.
    pub what: What,
}

/// The kinds of change, one output topic each.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// `clv.updates`
    Clv(ClvUpdate),
    /// `lifecycle.transitions`
    Stage(StageTransition),
    /// `segment.changes`
    Segment(SegmentChange),
}

impl Change {
    /// What brought the change about.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match &self.what {
            What::Clv(update) => update.cause,
            What::Stage(transition) => transition.reason.cause,
            What::Segment(change) => change.reason.cause,
        }
    }
}

/// Historic value (R01, R04, R05): money received so far, by the events known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Historic {
    /// Sum of order lines before discounts, cancelled orders included.
    pub gross: Minor,
    /// Order-level discounts of orders that were not cancelled.
    pub discounts: Minor,
    /// Refunds and returns.
    pub refunds: Minor,
    /// Gross of cancelled orders.
    pub cancelled: Minor,
    /// `gross − discounts − refunds − cancelled`.
    pub net: Minor,
    /// What the definitions say it costs to serve these orders and refunds.
    pub cost_to_serve: Minor,
    /// `net` minus the cost of goods and to serve; absent while no order states its cost.
    pub margin: Option<Minor>,
}

/// Formula value (R03): average order value × orders per year × lifetime in years.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Formula {
    /// Average gross value of an order that was not cancelled.
    pub average_order_value: Minor,
    /// Orders per year of 365.25 days over the observed lifetime; with one order, the configured
    /// population's.
    pub orders_per_year: f64,
    /// Observed lifetime, first to last order, in years of 365.25 days.
    pub observed_years: f64,
    /// Lifetime that the prospective value assumes: the configured one, never less than observed;
    /// the observed one once the relation has ended.
    pub expected_years: f64,
    /// Value with the expected lifetime, in minor units, rounded half to even.
    pub prospective: Minor,
    /// Whether `orders_per_year` is the customer's own or the population's.
    pub frequency_is_own: bool,
}

/// What a model expects of a customer (R02), as of an instant.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Predicted {
    /// Version of the model.
    pub model_version: u32,
    /// How far ahead orders and value look, in days.
    pub horizon_days: u32,
    /// Chance that the relation is alive.
    pub p_alive: f64,
    /// Chance of an order within the horizon.
    pub p_order: f64,
    /// Days with an order to expect within the horizon, not discounted.
    pub orders: f64,
    /// What they will come to; absent without a model of spend.
    pub value: Option<PredictedValue>,
}

/// A predicted value: margin rate × spend × discounted orders within the horizon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PredictedValue {
    /// Mean value of a day with orders.
    pub spend: Minor,
    /// The mean.
    pub expected: Minor,
    /// Of ten such customers one comes to less.
    pub low: Minor,
    /// Of ten such customers one comes to more.
    pub high: Minor,
}

/// Whether more can come (R04).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueStatus {
    /// The relation goes on.
    Interim,
    /// The relation has ended: the customer has lapsed.
    Final,
}

/// `clv.updates`, beyond the envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct ClvUpdate {
    /// Money received so far.
    pub historic: Historic,
    /// By formula; absent without an order that counts.
    pub formula: Option<Formula>,
    /// By the model in force; absent without one, and without an order that counts.
    pub predicted: Option<Predicted>,
    /// Interim or final.
    pub value_status: ValueStatus,
    /// Orders that were not cancelled.
    pub orders: u32,
    /// Change of `historic.net` since the last update.
    pub delta: Minor,
    /// What brought it about.
    pub cause: Cause,
}

/// `lifecycle.transitions`, beyond the envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageTransition {
    /// The lifecycle model, for example `lifecycle6`, or `activity` for the overlay.
    pub model: Text,
    /// The stage left; absent on the first.
    pub from: Option<Text>,
    /// The stage entered.
    pub to: Text,
    /// Stages jumped over, in the model's order (R07).
    pub skipped: Vec<Text>,
    /// Seconds spent in `from`.
    pub dwell_seconds: Option<i64>,
    /// How many times the relation has been taken up again, from 0.
    pub cycle: u32,
    /// Why.
    pub reason: Reason,
    /// Version of the definitions in force.
    pub definition_version: u32,
    /// When this corrects an earlier transition: that one's sequence number in the topic.
    pub correction_of: Option<u64>,
}

/// Entered or left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Now a member.
    Entered,
    /// No longer a member.
    Exited,
}

/// `segment.changes`, beyond the envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentChange {
    /// The segment.
    pub segment: Text,
    /// Entered or exited.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Since when the customer is, or was, a member.
    pub member_since: TimeMs,
    /// Version of the definitions in force.
    pub definition_version: u32,
}
