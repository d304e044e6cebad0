//! Output records: both formats say the same, in the schema's own terms.

use domain::change::{
    Action, Cause, Change, ClvUpdate, Evidence, Formula, Historic, Predicted, PredictedValue,
    Reason, SegmentChange, StageTransition, ValueStatus, What,
};
use domain::event::Text;
use domain::money::Minor;
use domain::time::TimeMs;
use wire::{
    Envelope, Format, OutputEncoder, Rejection, RejectionClass, SchemaSet, dead_letter_headers,
};

use crate::{decoder, dollars, oracle};

fn reason() -> Reason {
    Reason {
        rule: "order_jump".into(),
        cause: Cause::Timer,
        evidence: vec![
            Evidence {
                field: "orders".into(),
                value: "3".into(),
            },
            Evidence {
                field: "country".into(),
                value: "Åland \"x\"\n".into(),
            },
        ],
    }
}

fn change(what: What) -> Change {
    Change {
        as_of: TimeMs(1_298_937_600_000),
        cause_event_id: Some(Text::from("e-1")),
        what,
    }
}

fn changes() -> Vec<Change> {
    let full = ClvUpdate {
        historic: Historic {
            gross: Minor(12_345),
            discounts: Minor(100),
            refunds: Minor(200),
            cancelled: Minor(0),
            net: Minor(12_045),
            cost_to_serve: Minor(30),
            margin: Some(Minor(-5)),
        },
        formula: Some(Formula {
            average_order_value: Minor(4_115),
            orders_per_year: 3.5,
            observed_years: 0.1,
            expected_years: 3.0,
            prospective: Minor(43_208),
            frequency_is_own: true,
        }),
        predicted: Some(Predicted {
            model_version: 4,
            horizon_days: 365,
            p_alive: 0.75,
            p_order: 0.5,
            orders: 1.25,
            value: Some(PredictedValue {
                spend: Minor(4_000),
                expected: Minor(5_000),
                low: Minor(0),
                high: Minor(11_000),
            }),
        }),
        value_status: ValueStatus::Final,
        orders: 3,
        delta: Minor(-200),
        cause: Cause::Correction,
    };
    let mut bare = full.clone();
    (bare.formula, bare.historic.margin) = (None, None);
    bare.predicted = None;
    let mut valueless = full.clone();
    if let Some(predicted) = &mut valueless.predicted {
        predicted.value = None;
    }
    bare.value_status = ValueStatus::Interim;
    let stage = |from, skipped, dwell_seconds, correction_of| StageTransition {
        model: "lifecycle6".into(),
        from,
        to: "purchase".into(),
        skipped,
        dwell_seconds,
        cycle: 1,
        reason: reason(),
        definition_version: 7,
        correction_of,
    };
    let moved = stage(
        Some("awareness".into()),
        vec!["consideration".into(), "evaluation".into()],
        Some(-1),
        Some(u64::MAX),
    );
    let segment = |action, evidence| SegmentChange {
        segment: "loyal".into(),
        action,
        reason: Reason {
            evidence,
            ..reason()
        },
        member_since: TimeMs(1_298_937_600_001),
        definition_version: 7,
    };
    let mut by_time = change(What::Segment(segment(Action::Exited, vec![])));
    by_time.cause_event_id = None;
    vec![
        change(What::Clv(full)),
        change(What::Clv(bare)),
        change(What::Clv(valueless)),
        change(What::Stage(stage(None, vec![], None, None))),
        change(What::Stage(moved)),
        change(What::Segment(segment(Action::Entered, reason().evidence))),
        by_time,
    ]
}

fn envelope() -> Envelope<'static> {
    Envelope {
        customer: "17850",
        sequence: 4,
        incarnation: 2,
        application: "shop",
        currency: dollars(),
    }
}

#[test]
fn avro_and_json_say_the_same() {
    let schemas = SchemaSet::embedded().unwrap();
    let avro = OutputEncoder::new(Format::Avro, &schemas).unwrap();
    let json = OutputEncoder::new(Format::Json, &schemas).unwrap();
    let decoder = decoder();
    for change in changes() {
        let (topic, bytes, _) = avro.encode(&envelope(), &change);
        let (same_topic, text, _) = json.encode(&envelope(), &change);
        assert_eq!(topic, same_topic);
        let mut from_avro = decoder.to_json(&bytes).unwrap();
        // The schema's name, which JSON's records have in their headers.
        from_avro.as_object_mut().unwrap().remove("type");
        assert_eq!(from_avro, decoder.to_json(&text).unwrap());
    }
}

#[test]
fn another_library_reads_and_writes_the_same_bytes() {
    let schemas = SchemaSet::embedded().unwrap();
    let encoder = OutputEncoder::new(Format::Avro, &schemas).unwrap();
    for change in changes() {
        let (topic, bytes, _) = encoder.encode(&envelope(), &change);
        let record = format!("output/{}", topic.as_str().replace('.', "_"));
        let (id, _, schema) = schemas.newest(&record).unwrap();
        assert_eq!(bytes[..5], [[0].as_slice(), &id.to_be_bytes()].concat());
        let value = oracle::read(schema, &bytes[5..]);
        assert_eq!(oracle::write(schema, value), bytes[5..]);
    }
}

#[test]
fn json_and_headers_are_as_documented() {
    let schemas = SchemaSet::embedded().unwrap();
    let encoder = OutputEncoder::new(Format::Json, &schemas).unwrap();
    let (topic, value, headers) = encoder.encode(&envelope(), &changes()[1]);
    assert_eq!(topic.as_str(), "clv.updates");
    assert_eq!(
        String::from_utf8(value).unwrap(),
        r#"{"customer":"17850","incarnation":2,"sequence":4,"as_of":"2011-03-01T00:00:00.000Z","#
            .to_owned()
            + r#""cause_event_id":"e-1","currency":"USD","decimals":2,"historic":{"gross":12345,"#
            + r#""discounts":100,"refunds":200,"cancelled":0,"net":12045,"#
            + r#""cost_to_serve":30,"margin":null},"#
            + r#""formula":null,"predicted":null,"value_status":"interim","orders":3,"delta":-200,"#
            + r#""kind":"correction"}"#
    );
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, std::str::from_utf8(value).unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            ("ce_specversion", "1.0"),
            ("ce_id", "clv.updates/17850/2/4"),
            ("ce_type", "clvstream.clv.updated"),
            ("ce_source", "shop"),
            ("ce_time", "2011-03-01T00:00:00.000Z"),
            ("ce_dataschema", "clvstream.output.ClvUpdate/v2"),
            ("content-type", "application/json"),
        ]
    );
}

#[test]
fn dead_letters_say_where_from_and_why() {
    let rejection = Rejection::new(RejectionClass::TooDeep, "flatten it");
    let headers = dead_letter_headers("shop.orders", 3, 41, &rejection);
    assert_eq!(
        headers,
        [
            ("clv_topic", b"shop.orders".to_vec()),
            ("clv_partition", b"3".to_vec()),
            ("clv_offset", b"41".to_vec()),
            ("clv_error_class", b"too_deep".to_vec()),
            ("clv_error_message", b"flatten it".to_vec()),
        ]
    );
}
