//! The columns of a profile's row.

use domain::behaviour::Counted;
use domain::change::ValueStatus;
use domain::definitions::Definitions;
use domain::event::Owner;
use domain::money::{Currency, Minor};
use domain::profile::View;
use domain::purchases::Purchases;
use domain::time::{DAY_MS, TimeMs};
use domain::value;
use serde_json::Value;

use super::{Known, Row, segment_names, stage_name};

/// Rolling windows over orders, in days.
const ORDER_WINDOWS: [u32; 4] = [7, 30, 90, 365];
/// Windows over behaviour, in days.
const BEHAVIOUR_WINDOWS: [u32; 4] = [7, 30, 90, 365];

/// A row that is being made.
pub(super) struct Columns {
    row: Row,
    currency: Currency,
    /// Whether what follows is known; it is left empty where not.
    is_known: bool,
}

impl Columns {
    pub(super) fn new(currency: Currency) -> Columns {
        Columns {
            row: Row::new(),
            currency,
            is_known: true,
        }
    }

    pub(super) fn put(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let value = match self.is_known {
            true => value.into(),
            false => Value::Null,
        };
        self.row.push((name.into(), value));
    }

    pub(super) fn money(&mut self, name: impl Into<String>, amount: impl Into<Option<Minor>>) {
        let currency = self.currency;
        let amount = amount.into();
        self.put(name, amount.map(|amount| currency.format(amount)));
    }

    fn instant(&mut self, name: impl Into<String>, time: Option<TimeMs>) {
        self.put(name, time.map(|time| time.to_string()));
    }

    pub(super) fn row(self) -> Row {
        self.row
    }
}

/// One customer's or visitor's row as of `as_of`; `None` where nothing was known of him by then.
#[must_use]
pub fn profile_row(known: &Known, as_of: TimeMs) -> Option<Row> {
    let Known {
        owner,
        profile,
        definitions,
    } = known;
    let (kind, id) = match owner {
        Owner::Customer(id) => ("customer", id),
        Owner::Visitor(id) => ("visitor", id),
        Owner::Guest(_) => return None,
    };
    // As of a later instant, what time alone changes by then has happened.
    let mut view = profile.live.clone();
    let is_present = view.clock <= as_of;
    if is_present {
        view.advance(as_of, definitions, &mut Vec::new());
    }
    if !is_present && view.book.stats(as_of).lines == 0 {
        return None;
    }
    let mut columns = Columns::new(definitions.currency);
    columns.put("customer_id", id.as_str());
    columns.put("kind", kind);
    orders(&view, as_of, definitions, &mut columns);
    predicted(&view, as_of, definitions, &mut columns);
    windows(&view, as_of, &mut columns);
    columns.is_known = is_present;
    behaviour(&view, as_of, &mut columns);
    stages(&view, definitions, &mut columns);
    Some(columns.row())
}

fn orders(view: &View, as_of: TimeMs, definitions: &Definitions, columns: &mut Columns) {
    let stats = view.book.stats(as_of);
    let historic = value::historic(&stats, definitions);
    columns.put("orders", stats.orders);
    columns.put("cancelled_orders", stats.cancelled_orders);
    columns.put("refunds", stats.refund_count);
    columns.put("lines", stats.lines);
    columns.put("units_sold", stats.units_sold.to_string());
    columns.put("units_returned", stats.units_returned.to_string());
    columns.money("gross", historic.gross);
    columns.money("discounts", historic.discounts);
    columns.money("returns", historic.refunds);
    columns.money("cancelled", historic.cancelled);
    columns.money("net", historic.net);
    columns.money("cost_to_serve", historic.cost_to_serve);
    columns.money("margin", historic.margin);
    columns.instant("first_order", stats.first);
    columns.instant("last_order", stats.last);
    let days = |ms: i64| ms as f64 / DAY_MS as f64;
    columns.put("mean_interval_days", stats.mean_interval_ms().map(days));
    let status = match view.clock <= as_of {
        true => view.value_status(definitions),
        false => ValueStatus::Interim,
    };
    let formula = value::formula(&stats, status, definitions);
    let formula = formula.as_ref();
    columns.money(
        "average_order_value",
        formula.map(|f| f.average_order_value),
    );
    columns.put("orders_per_year", formula.map(|f| f.orders_per_year));
    columns.money("formula_value", formula.map(|f| f.prospective));
}

/// What a model of value takes from the orders as of an instant, and what the one in force makes of it.
fn predicted(view: &View, as_of: TimeMs, definitions: &Definitions, columns: &mut Columns) {
    let statistics = Purchases::of_book(&view.book, as_of, definitions).statistics();
    let of = statistics.as_ref();
    columns.put("repeat_orders", of.map(|s| s.repeats));
    columns.money("repeat_spend", of.map(|s| s.spent));
    let model = definitions.model.as_ref();
    let predicted = of.zip(model).map(|(s, model)| model.predict(s, as_of));
    let predicted = predicted.as_ref();
    columns.put("model_version", predicted.map(|p| p.model_version));
    columns.put("p_alive", predicted.map(|p| p.p_alive));
    columns.put("predicted_orders", predicted.map(|p| p.orders));
    let value = predicted.and_then(|p| p.value.as_ref());
    columns.money("predicted_value", value.map(|v| v.expected));
    columns.money("predicted_low", value.map(|v| v.low));
    columns.money("predicted_high", value.map(|v| v.high));
}

fn windows(view: &View, as_of: TimeMs, columns: &mut Columns) {
    for days in ORDER_WINDOWS {
        let window = view.book.window(as_of, days);
        columns.put(format!("orders_{days}d"), window.orders);
        columns.money(format!("gross_{days}d"), window.gross);
        columns.money(format!("returns_{days}d"), window.returns);
        columns.put(format!("active_days_{days}d"), window.active_days);
    }
}

fn behaviour(view: &View, as_of: TimeMs, columns: &mut Columns) {
    let behaviour = &view.behaviour;
    // Kept without times, so that it too is known as of now only.
    columns.put("products", view.book.products.len());
    columns.put("events", behaviour.totals.events);
    columns.put("sessions", behaviour.totals.sessions);
    columns.put("page_views", behaviour.totals.page_views);
    columns.put("product_views", behaviour.totals.product_views);
    for days in BEHAVIOUR_WINDOWS {
        let window = behaviour.window(as_of, days);
        columns.put(format!("sessions_{days}d"), window.sessions);
        columns.put(format!("page_views_{days}d"), window.page_views);
        columns.put(format!("product_views_{days}d"), window.product_views);
    }
    columns.put("cart_items", behaviour.cart.len());
    let first = behaviour.first_touch.as_ref();
    let last = behaviour.last_touch.as_ref();
    for (name, touch) in [("first_touch", first), ("last_touch", last)] {
        columns.instant(name, touch.map(|t| t.time));
        let channel = touch.and_then(|t| t.channel.as_ref());
        columns.put(format!("{name}_channel"), channel.map(|c| c.as_str()));
    }
    columns.put("top_category", top(&behaviour.top_categories));
    columns.put("top_product", top(&behaviour.top_products));
    columns.instant("last_event", behaviour.last_event);
    let country = behaviour.last_country.as_ref();
    columns.put("last_country", country.map(|(_, c)| c.as_str()));
}

fn top(counted: &[Counted]) -> Option<&str> {
    counted.first().map(|first| first.name.as_str())
}

fn stages(view: &View, definitions: &Definitions, columns: &mut Columns) {
    for model in &definitions.models {
        let state = view.stages.iter().find(|s| s.model == model.tag);
        let name = state.and_then(|s| stage_name(model, s.stage));
        columns.put(model.name.as_str(), name);
        columns.instant(format!("{}_since", model.name), state.map(|s| s.since));
    }
    let status = match view.value_status(definitions) {
        ValueStatus::Interim => "interim",
        ValueStatus::Final => "final",
    };
    columns.put("value_status", status);
    columns.put("segments", segment_names(view, definitions).join(";"));
}
