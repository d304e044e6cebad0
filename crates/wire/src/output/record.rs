//! The output records, field by field in the order of their schemas, once for both formats.

use domain::change::{
    Action, Change, ClvUpdate, Evidence, Formula, Historic, Predicted, PredictedValue, Reason,
    SegmentChange, StageTransition, ValueStatus, What,
};
use domain::time::TimeMs;

use super::Envelope;
use crate::avro::write as avro;

/// A format that fields are written in. Names count in JSON only; an item of a list has none.
pub(super) trait Sink {
    fn text(&mut self, name: &str, value: &str);
    fn long(&mut self, name: &str, value: i64);
    fn double(&mut self, name: &str, value: f64);
    fn boolean(&mut self, name: &str, value: bool);
    fn time(&mut self, name: &str, value: TimeMs);
    /// A record within the record.
    fn nested(&mut self, name: &str, fields: impl FnOnce(&mut Self));
    fn list<T>(&mut self, name: &str, items: &[T], item: impl FnMut(&mut Self, &T));
    /// A value that may be absent; `put` writes it under the same name.
    fn optional<T>(&mut self, name: &str, value: Option<T>, put: impl FnOnce(&mut Self, &str, T));
}

/// Avro, without the wire format's head.
pub(super) struct Avro(pub(super) Vec<u8>);

impl Sink for Avro {
    fn text(&mut self, _name: &str, value: &str) {
        avro::text(&mut self.0, value);
    }
    fn long(&mut self, _name: &str, value: i64) {
        avro::long(&mut self.0, value);
    }
    fn double(&mut self, _name: &str, value: f64) {
        avro::double(&mut self.0, value);
    }
    fn boolean(&mut self, _name: &str, value: bool) {
        self.0.push(u8::from(value));
    }
    fn time(&mut self, _name: &str, value: TimeMs) {
        avro::long(&mut self.0, value.0);
    }
    fn nested(&mut self, _name: &str, fields: impl FnOnce(&mut Self)) {
        fields(self);
    }
    fn list<T>(&mut self, _name: &str, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        if !items.is_empty() {
            avro::length(&mut self.0, items.len());
            items.iter().for_each(|each| item(self, each));
        }
        self.0.push(0);
    }
    fn optional<T>(&mut self, name: &str, value: Option<T>, put: impl FnOnce(&mut Self, &str, T)) {
        avro::long(&mut self.0, i64::from(value.is_some()));
        if let Some(value) = value {
            put(self, name, value);
        }
    }
}

/// The members of a JSON object, without its braces.
pub(super) struct Json(pub(super) Vec<u8>);

impl Json {
    /// A comma if one is due, and the name if there is one.
    fn name(&mut self, name: &str) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[')) {
            self.0.push(b',');
        }
        if !name.is_empty() {
            self.0.push(b'"');
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(b"\":");
        }
    }

    fn value(&mut self, name: &str, value: &impl serde::Serialize) {
        self.name(name);
        // Neither plain values nor a growing buffer can fail to be written.
        let _ = serde_json::to_writer(&mut self.0, value);
    }
}

impl Sink for Json {
    fn text(&mut self, name: &str, value: &str) {
        self.value(name, &value);
    }
    fn long(&mut self, name: &str, value: i64) {
        self.value(name, &value);
    }
    fn double(&mut self, name: &str, value: f64) {
        self.value(name, &value);
    }
    fn boolean(&mut self, name: &str, value: bool) {
        self.value(name, &value);
    }
    fn time(&mut self, name: &str, value: TimeMs) {
        self.value(name, &value.to_string());
    }
    fn nested(&mut self, name: &str, fields: impl FnOnce(&mut Self)) {
        self.name(name);
        self.0.push(b'{');
        fields(self);
        self.0.push(b'}');
    }
    fn list<T>(&mut self, name: &str, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.name(name);
        self.0.push(b'[');
        items.iter().for_each(|each| item(self, each));
        self.0.push(b']');
    }
    fn optional<T>(&mut self, name: &str, value: Option<T>, put: impl FnOnce(&mut Self, &str, T)) {
        match value {
            Some(value) => put(self, name, value),
            None => self.value(name, &()),
        }
    }
}

/// Writes the record of `change`.
pub(super) fn write<S: Sink>(sink: &mut S, envelope: &Envelope<'_>, change: &Change) {
    sink.text("customer", envelope.customer);
    sink.long("incarnation", i64::from(envelope.incarnation));
    sink.long("sequence", counted(envelope.sequence));
    sink.time("as_of", change.as_of);
    let cause = change.cause_event_id.as_deref();
    sink.optional("cause_event_id", cause, S::text);
    match &change.what {
        What::Clv(update) => {
            sink.text("currency", envelope.currency.as_str());
            sink.long("decimals", i64::from(envelope.currency.decimals));
            clv(sink, update);
        }
        What::Stage(transition) => stage(sink, transition),
        What::Segment(change) => segment(sink, change),
    }
}

/// Avro's longs are signed; no counter comes near their end.
fn counted(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn clv<S: Sink>(sink: &mut S, update: &ClvUpdate) {
    let ClvUpdate {
        historic: money,
        formula: by_formula,
        predicted: by_model,
        value_status,
        orders,
        delta,
        cause,
    } = update;
    sink.nested("historic", |sink| historic(sink, money));
    sink.optional("formula", by_formula.as_ref(), |sink, name, by_formula| {
        sink.nested(name, |sink| formula(sink, by_formula));
    });
    sink.optional("predicted", by_model.as_ref(), |sink, name, by_model| {
        sink.nested(name, |sink| predicted(sink, by_model));
    });
    sink.text("value_status", status(*value_status));
    sink.long("orders", i64::from(*orders));
    sink.long("delta", delta.0);
    sink.text("kind", cause.as_str());
}

fn status(status: ValueStatus) -> &'static str {
    match status {
        ValueStatus::Interim => "interim",
        ValueStatus::Final => "final",
    }
}

fn historic<S: Sink>(sink: &mut S, historic: &Historic) {
    sink.long("gross", historic.gross.0);
    sink.long("discounts", historic.discounts.0);
    sink.long("refunds", historic.refunds.0);
    sink.long("cancelled", historic.cancelled.0);
    sink.long("net", historic.net.0);
    sink.long("cost_to_serve", historic.cost_to_serve.0);
    sink.optional("margin", historic.margin.map(|m| m.0), S::long);
}

fn formula<S: Sink>(sink: &mut S, formula: &Formula) {
    sink.long("average_order_value", formula.average_order_value.0);
    sink.double("orders_per_year", formula.orders_per_year);
    sink.double("observed_years", formula.observed_years);
    sink.double("expected_years", formula.expected_years);
    sink.long("prospective", formula.prospective.0);
    sink.boolean("frequency_is_own", formula.frequency_is_own);
}

fn predicted<S: Sink>(sink: &mut S, predicted: &Predicted) {
    sink.long("model_version", i64::from(predicted.model_version));
    sink.long("horizon_days", i64::from(predicted.horizon_days));
    sink.double("p_alive", predicted.p_alive);
    sink.double("p_order", predicted.p_order);
    sink.double("orders", predicted.orders);
    let value = |sink: &mut S, value: &PredictedValue| {
        sink.long("spend", value.spend.0);
        sink.long("expected", value.expected.0);
        sink.long("low", value.low.0);
        sink.long("high", value.high.0);
    };
    sink.optional("value", predicted.value.as_ref(), |sink, name, of| {
        sink.nested(name, |sink| value(sink, of));
    });
}

fn stage<S: Sink>(sink: &mut S, transition: &StageTransition) {
    sink.text("model", &transition.model);
    sink.optional("from", transition.from.as_deref(), S::text);
    sink.text("to", &transition.to);
    sink.list("skipped", &transition.skipped, |sink, stage| {
        sink.text("", stage);
    });
    sink.optional("dwell_seconds", transition.dwell_seconds, S::long);
    sink.long("cycle", i64::from(transition.cycle));
    reason(sink, &transition.reason);
    let version = transition.definition_version;
    sink.long("definition_version", i64::from(version));
    let corrected = transition.correction_of.map(counted);
    sink.optional("correction_of", corrected, S::long);
}

fn segment<S: Sink>(sink: &mut S, change: &SegmentChange) {
    sink.text("segment", &change.segment);
    sink.text(
        "action",
        match change.action {
            Action::Entered => "entered",
            Action::Exited => "exited",
        },
    );
    reason(sink, &change.reason);
    sink.time("member_since", change.member_since);
    sink.long("definition_version", i64::from(change.definition_version));
}

fn reason<S: Sink>(sink: &mut S, reason: &Reason) {
    sink.nested("reason", |sink| {
        sink.text("rule", &reason.rule);
        sink.text("kind", reason.cause.as_str());
        sink.list("evidence", &reason.evidence, |sink, evidence: &Evidence| {
            sink.nested("", |sink| {
                sink.text("field", &evidence.field);
                sink.text("value", &evidence.value);
            });
        });
    });
}
