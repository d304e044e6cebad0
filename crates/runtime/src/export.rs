//! What is known, as tables: one row per profile, one row per day of the shop.
//!
//! Canonical: rows in the order of their keys, columns in a fixed order, the same bytes whatever
//! the number of partitions and workers. What follows from orders and refunds is exact as of any
//! instant. Behaviour, stages and segments are known as of stream time or later; as of an earlier
//! instant they are left empty rather than told wrong.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use domain::change::{PredictedValue, ValueStatus};
use domain::definitions::{Definitions, Model};
use domain::event::Owner;
use domain::money::{Currency, Minor};
use domain::orders::DayTotals;
use domain::prediction::Versions;
use domain::profile::{Profile, View};
use domain::purchases::Purchases;
use domain::time::{Day, TimeMs};
use domain::value;
use engine::port::{StateReader, Table};
use engine::worker::Owned;
use serde_json::{Map, Value};
use store::TaskStore;
use wire::state::{decode_day, decode_profile, split_day_key};

use crate::error::RuntimeError;

/// Rolling windows over orders, in days.
const ORDER_WINDOWS: [u32; 4] = [7, 30, 90, 365];
/// Windows over behaviour, in days.
const BEHAVIOUR_WINDOWS: [u32; 4] = [7, 30, 90, 365];
/// How many entries one scan of the store yields.
const SCAN: usize = 4096;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// A row: names and values, in the order of the columns.
pub type Row = Vec<(String, Value)>;

/// Profiles of all tasks in the order of their keys. Whoever gets an error must not go on: the
/// profile that could not be read would be missing.
pub struct Profiles<'a> {
    tasks: Vec<Cursor<'a>>,
}

/// A profile, and the definitions that it stands under: they have the model of value that it was evaluated under.
#[derive(Clone, Debug)]
pub struct Known {
    /// Whose it is.
    pub owner: Owner,
    /// The profile.
    pub profile: Profile,
    /// What it stands under.
    pub definitions: Arc<Definitions>,
}

impl Known {
    /// The profile with these bytes, of the owner with this key.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn decode(key: &str, bytes: &[u8], versions: &Versions) -> Result<Known, RuntimeError> {
        let profile = decode_profile(bytes, versions)?;
        let under = versions.under(profile.model);
        Ok(Known {
            owner: Owner::from_key(key),
            definitions: Arc::clone(under.unwrap_or(versions.current())),
            profile,
        })
    }
}

struct Cursor<'a> {
    store: &'a TaskStore,
    versions: &'a Versions,
    entries: std::vec::IntoIter<(Vec<u8>, Arc<[u8]>)>,
    head: Option<(Vec<u8>, Arc<[u8]>)>,
    next: Option<Vec<u8>>,
}

impl<'a> Cursor<'a> {
    fn new(owned: &'a Owned<TaskStore>) -> Result<Cursor<'a>, RuntimeError> {
        let mut cursor = Cursor {
            store: &owned.store,
            versions: owned.task.versions(),
            entries: Vec::new().into_iter(),
            head: None,
            next: Some(Vec::new()),
        };
        cursor.advance()?;
        Ok(cursor)
    }

    fn key(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(key, _)| key.as_slice())
    }

    fn advance(&mut self) -> Result<(), RuntimeError> {
        self.head = self.entries.next();
        if self.head.is_none()
            && let Some(from) = self.next.take()
        {
            let entries = self.store.scan(Table::Profiles, &from, SCAN)?;
            if entries.len() == SCAN {
                self.next = entries
                    .last()
                    .map(|(key, _)| [key, [0].as_slice()].concat());
            }
            self.entries = entries.into_iter();
            self.head = self.entries.next();
        }
        Ok(())
    }
}

impl<'a> Profiles<'a> {
    /// All profiles of `tasks`.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn new(tasks: &'a [Owned<TaskStore>]) -> Result<Profiles<'a>, RuntimeError> {
        let tasks = tasks.iter().map(Cursor::new);
        Ok(Profiles {
            tasks: tasks.collect::<Result<_, _>>()?,
        })
    }

    fn advance(&mut self) -> Result<Option<Known>, RuntimeError> {
        let unread = self.tasks.iter_mut().filter(|t| t.head.is_some());
        let Some(first) = unread.min_by(|a, b| a.key().cmp(&b.key())) else {
            return Ok(None);
        };
        let Some((key, bytes)) = first.head.take() else {
            return Ok(None);
        };
        let versions = first.versions;
        first.advance()?;
        let key = String::from_utf8_lossy(&key);
        Known::decode(&key, &bytes, versions).map(Some)
    }
}

impl Iterator for Profiles<'_> {
    type Item = Result<Known, RuntimeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
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
    let stats = view.book.stats(as_of);
    if !is_present && stats.lines == 0 {
        return None;
    }
    let mut row = Row::new();
    let mut put = |name: &str, value: Value| row.push((name.to_owned(), value));
    put("customer_id", id.as_str().into());
    put("kind", kind.into());
    order_columns(&view, as_of, definitions, &mut put);
    predicted_columns(&view, as_of, definitions, &mut put);
    window_columns(&view, as_of, definitions.currency, &mut put);
    if is_present {
        behaviour_columns(&view, as_of, &mut put);
        stage_columns(&view, definitions, &mut put);
    } else {
        let mut names = Vec::new();
        behaviour_columns(&view, as_of, &mut |name, _| names.push(name.to_owned()));
        stage_columns(&view, definitions, &mut |name, _| {
            names.push(name.to_owned())
        });
        for name in names {
            put(&name, Value::Null);
        }
    }
    Some(row)
}

fn money(currency: Currency, amount: Minor) -> Value {
    currency.format(amount).into()
}

fn instant(time: Option<TimeMs>) -> Value {
    time.map_or(Value::Null, |t| t.to_string().into())
}

fn order_columns(
    view: &View,
    as_of: TimeMs,
    definitions: &Definitions,
    put: &mut dyn FnMut(&str, Value),
) {
    let currency = definitions.currency;
    let stats = view.book.stats(as_of);
    let historic = value::historic(&stats, definitions);
    put("orders", stats.orders.into());
    put("cancelled_orders", stats.cancelled_orders.into());
    put("refunds", stats.refund_count.into());
    put("lines", stats.lines.into());
    put("units_sold", stats.units_sold.to_string().into());
    put("units_returned", stats.units_returned.to_string().into());
    put("gross", money(currency, historic.gross));
    put("discounts", money(currency, historic.discounts));
    put("returns", money(currency, historic.refunds));
    put("cancelled", money(currency, historic.cancelled));
    put("net", money(currency, historic.net));
    put("cost_to_serve", money(currency, historic.cost_to_serve));
    put(
        "margin",
        historic.margin.map_or(Value::Null, |m| money(currency, m)),
    );
    put("first_order", instant(stats.first));
    put("last_order", instant(stats.last));
    let days = |ms: i64| ms as f64 / domain::time::DAY_MS as f64;
    put(
        "mean_interval_days",
        stats
            .mean_interval_ms()
            .map_or(Value::Null, |ms| days(ms).into()),
    );
    let status = match view.clock <= as_of {
        true => view.value_status(definitions),
        false => ValueStatus::Interim,
    };
    let formula = value::formula(&stats, status, definitions);
    let formula = formula.as_ref();
    put(
        "average_order_value",
        formula.map_or(Value::Null, |f| money(currency, f.average_order_value)),
    );
    put(
        "orders_per_year",
        formula.map_or(Value::Null, |f| f.orders_per_year.into()),
    );
    put(
        "formula_value",
        formula.map_or(Value::Null, |f| money(currency, f.prospective)),
    );
}

/// What a model of value takes from the orders as of an instant, and what the one in force makes of it.
fn predicted_columns(
    view: &View,
    as_of: TimeMs,
    definitions: &Definitions,
    put: &mut dyn FnMut(&str, Value),
) {
    let currency = definitions.currency;
    let statistics = Purchases::of_book(&view.book, as_of, definitions).statistics();
    let of = statistics.as_ref();
    put(
        "repeat_orders",
        of.map_or(Value::Null, |s| s.repeats.into()),
    );
    put(
        "repeat_spend",
        of.map_or(Value::Null, |s| money(currency, s.spent)),
    );
    let model = definitions.model.as_ref();
    let predicted = of.zip(model).map(|(s, model)| model.predict(s, as_of));
    let predicted = predicted.as_ref();
    put(
        "model_version",
        predicted.map_or(Value::Null, |p| p.model_version.into()),
    );
    put(
        "p_alive",
        predicted.map_or(Value::Null, |p| p.p_alive.into()),
    );
    put(
        "predicted_orders",
        predicted.map_or(Value::Null, |p| p.orders.into()),
    );
    let value = predicted.and_then(|p| p.value.as_ref());
    let amount = |of: fn(&PredictedValue) -> Minor| {
        value.map_or(Value::Null, |value| money(currency, of(value)))
    };
    put("predicted_value", amount(|v| v.expected));
    put("predicted_low", amount(|v| v.low));
    put("predicted_high", amount(|v| v.high));
}

fn window_columns(
    view: &View,
    as_of: TimeMs,
    currency: Currency,
    put: &mut dyn FnMut(&str, Value),
) {
    for days in ORDER_WINDOWS {
        let window = view.book.window(as_of, days);
        put(&format!("orders_{days}d"), window.orders.into());
        put(&format!("gross_{days}d"), money(currency, window.gross));
        put(&format!("returns_{days}d"), money(currency, window.returns));
        put(&format!("active_days_{days}d"), window.active_days.into());
    }
}

fn behaviour_columns(view: &View, as_of: TimeMs, put: &mut dyn FnMut(&str, Value)) {
    let behaviour = &view.behaviour;
    // Kept without times, so that it too is known as of now only.
    put("products", view.book.products.len().into());
    put("events", behaviour.totals.events.into());
    put("sessions", behaviour.totals.sessions.into());
    put("page_views", behaviour.totals.page_views.into());
    put("product_views", behaviour.totals.product_views.into());
    for days in BEHAVIOUR_WINDOWS {
        let window = behaviour.window(as_of, days);
        put(&format!("sessions_{days}d"), window.sessions.into());
        put(&format!("page_views_{days}d"), window.page_views.into());
        put(
            &format!("product_views_{days}d"),
            window.product_views.into(),
        );
    }
    put("cart_items", behaviour.cart.len().into());
    let first = behaviour.first_touch.as_ref();
    let last = behaviour.last_touch.as_ref();
    for (name, touch) in [("first_touch", first), ("last_touch", last)] {
        put(name, instant(touch.map(|t| t.time)));
        let channel = touch.and_then(|t| t.channel.as_ref());
        put(
            &format!("{name}_channel"),
            channel.map_or(Value::Null, |c| c.as_str().into()),
        );
    }
    let top = |list: &[domain::behaviour::Counted]| -> Value {
        list.first().map_or(Value::Null, |c| c.name.as_str().into())
    };
    put("top_category", top(&behaviour.top_categories));
    put("top_product", top(&behaviour.top_products));
    put("last_event", instant(behaviour.last_event));
    let country = behaviour.last_country.as_ref();
    put(
        "last_country",
        country.map_or(Value::Null, |(_, c)| c.as_str().into()),
    );
}

fn stage_columns(view: &View, definitions: &Definitions, put: &mut dyn FnMut(&str, Value)) {
    for model in &definitions.models {
        let state = view.stages.iter().find(|s| s.model == model.tag);
        let name = state.and_then(|s| stage_name(model, s.stage));
        put(&model.name, name.map_or(Value::Null, Value::from));
        put(
            &format!("{}_since", model.name),
            instant(state.map(|s| s.since)),
        );
    }
    let status = match view.value_status(definitions) {
        ValueStatus::Interim => "interim",
        ValueStatus::Final => "final",
    };
    put("value_status", status.into());
    put(
        "segments",
        segment_names(view, definitions).join(";").into(),
    );
}

/// The name of the stage with this tag in `model`.
#[must_use]
pub fn stage_name(model: &Model, stage: domain::definitions::Tag) -> Option<&str> {
    model
        .stages
        .iter()
        .find(|s| s.tag == stage)
        .map(|s| s.name.as_str())
}

/// Names of the segments that the view is in, in the definitions' order.
#[must_use]
pub fn segment_names<'d>(view: &View, definitions: &'d Definitions) -> Vec<&'d str> {
    let is_in = |tag| view.segments.iter().any(|m| m.segment == tag);
    let segments = definitions.segments.iter().filter(|s| is_in(s.tag));
    segments.map(|s| s.name.as_str()).collect()
}

/// The shop's totals per day, over all tasks; days without anything are absent.
///
/// # Errors
/// The state cannot be read.
pub fn days(tasks: &[Owned<TaskStore>]) -> Result<BTreeMap<Day, DayTotals>, RuntimeError> {
    let mut days: BTreeMap<Day, DayTotals> = BTreeMap::new();
    for Owned { store, .. } in tasks {
        // One entry a day: a century is 36,525 of them.
        for (key, bytes) in store.scan(Table::Days, &[], usize::MAX)? {
            if let Some(day) = split_day_key(&key) {
                days.entry(day).or_default().add(&decode_day(&bytes)?);
            }
        }
    }
    days.retain(|_, totals| *totals != DayTotals::default());
    Ok(days)
}

/// One day's row.
#[must_use]
pub fn day_row(day: Day, totals: &DayTotals, currency: Currency) -> Row {
    [
        ("day", Value::from(day.to_string())),
        ("lines", totals.lines.into()),
        ("orders", totals.orders.into()),
        ("cancellations", totals.cancellations.into()),
        ("customers", totals.customers.into()),
        ("gross", money(currency, totals.gross)),
        ("returns", money(currency, totals.returns)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Writes rows in one format; the first row gives the columns.
pub struct TableWriter<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Csv {
        out: Box<csv::Writer<W>>,
        has_header: bool,
    },
    JsonLines(W),
}

impl<W: Write> TableWriter<W> {
    /// A writer to `out`.
    pub fn new(out: W, format: TableFormat) -> TableWriter<W> {
        TableWriter(match format {
            TableFormat::Csv => Inner::Csv {
                out: Box::new(csv::Writer::from_writer(out)),
                has_header: false,
            },
            TableFormat::JsonLines => Inner::JsonLines(out),
        })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, row: Row) -> Result<(), RuntimeError> {
        match &mut self.0 {
            Inner::Csv { out, has_header } => {
                if !*has_header {
                    out.write_record(row.iter().map(|(name, _)| name))
                        .map_err(io_of)?;
                    *has_header = true;
                }
                out.write_record(row.iter().map(|(_, value)| plain(value)))
                    .map_err(io_of)?;
            }
            Inner::JsonLines(out) => {
                let object: Map<String, Value> = row.into_iter().collect();
                serde_json::to_writer(&mut *out, &object).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> Result<(), RuntimeError> {
        match self.0 {
            Inner::Csv { mut out, .. } => out.flush()?,
            Inner::JsonLines(mut out) => out.flush()?,
        }
        Ok(())
    }
}

/// What the operating system said, so that a closed pipe is known for one.
fn io_of(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
