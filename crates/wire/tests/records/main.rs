//! Records from end to end: what is accepted, what is rejected, and that every format says the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod differential;
mod events;
mod json;
mod learned;
mod malformed;
mod outputs;
mod resolved;
mod round_trip;
mod schemas;

use std::sync::LazyLock;

use domain::money::Currency;
use domain::time::TimeMs;
use wire::{Decoder, Encoder, InputRules, SchemaSet, currency_by_code};

/// The other library's reading and writing, against which ours are held.
mod oracle {
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use apache_avro::writer::datum::GenericDatumWriter;

    /// The value in `datum`, all of which it must take.
    pub(crate) fn read(schema: &Schema, mut datum: &[u8]) -> Value {
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let value = reader.read_value(&mut datum).unwrap();
        assert!(datum.is_empty());
        value
    }

    pub(crate) fn write(schema: &Schema, value: Value) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(schema).build().unwrap();
        writer.write_value_to_vec(value).unwrap()
    }
}

/// 2011-12-09T12:00:00Z: when the records of these tests were written.
const RECORD_TIME: TimeMs = TimeMs(1_323_432_000_000);

fn dollars() -> Currency {
    currency_by_code("USD", None).unwrap()
}

fn rules() -> InputRules {
    InputRules::new(dollars())
}

fn decoder() -> Decoder {
    Decoder::new(rules(), &SchemaSet::embedded().unwrap()).unwrap()
}

/// One encoder and one decoder for all cases of a property.
fn codec() -> (&'static Encoder, &'static Decoder) {
    static CODEC: LazyLock<(Encoder, Decoder)> = LazyLock::new(|| {
        let schemas = SchemaSet::embedded().unwrap();
        (Encoder::new(dollars(), &schemas).unwrap(), decoder())
    });
    (&CODEC.0, &CODEC.1)
}
