//! Why a record was not taken in: data for the dead-letter topic.
//!
//! Messages say what was found and what would fix it. They name fields and numbers only: never an
//! id, a name or any other text of the record, because dead letters are read by more people than
//! customers' records are.

use std::fmt;

/// A record that does not become an event, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Rejection {
    /// The kind of fault, for counting and for alerts.
    pub class: RejectionClass,
    /// What was found and what would fix it.
    pub message: String,
}

impl Rejection {
    /// A rejection of `class` with `message`.
    #[must_use]
    pub fn new(class: RejectionClass, message: impl Into<String>) -> Rejection {
        Rejection {
            class,
            message: message.into(),
        }
    }

    /// That of a record which is not looked at, because processes have died of it.
    #[must_use]
    pub fn quarantined() -> Rejection {
        let message = "two processes died at this record: please report it, with its bytes";
        Rejection::new(RejectionClass::Quarantined, message)
    }

    /// The one rejection of a row of which `rejections` came: a row is one dead letter, however many
    /// of its events are rejected, because whoever repairs it repairs its bytes, which are there
    /// once. `None` if there are none.
    #[must_use]
    pub fn of_row(rejections: Vec<Rejection>) -> Option<Rejection> {
        let count = rejections.len();
        let mut first = rejections.into_iter().next()?;
        if count > 1 {
            first.message += &format!(" (the first of {count} faults in this row)");
        }
        Some(first)
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The closed set of faults. The names are part of the interface: alerts rest on them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum RejectionClass {
            $($(#[$doc])* $variant,)*
        }

        impl RejectionClass {
            /// Every class.
            pub const ALL: &'static [RejectionClass] = &[$(RejectionClass::$variant,)*];

            /// The name in headers and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(RejectionClass::$variant => $name,)*
                }
            }
        }
    };
}

classes! {
    /// The record has no value: inputs have no tombstones.
    Tombstone = "tombstone",
    /// The value has no bytes.
    EmptyValue = "empty_value",
    /// The value is larger than the limit.
    TooLarge = "too_large",
    /// Nested deeper than the limit.
    TooDeep = "too_deep",
    /// More order lines than the limit.
    TooManyLines = "too_many_lines",
    /// The value starts neither like JSON nor like Avro in Confluent wire format.
    WrongMagic = "wrong_magic",
    /// No schema is known for the id in the value.
    UnknownSchema = "unknown_schema",
    /// The bytes end before the schema does.
    Truncated = "truncated",
    /// Bytes are left over after the schema's end.
    TrailingBytes = "trailing_bytes",
    /// The bytes do not follow their Avro schema.
    MalformedAvro = "malformed_avro",
    /// The value is not JSON.
    NotJson = "not_json",
    /// Text that is not UTF-8.
    NotUtf8 = "not_utf8",
    /// A field that the event needs is absent or null.
    MissingField = "missing_field",
    /// A field holds another kind of value than it has to.
    WrongType = "wrong_type",
    /// The event's name is none of the vocabulary.
    UnknownEventType = "unknown_event_type",
    /// The event names no profile and is not about an order.
    MissingKey = "missing_key",
    /// A text that is no instant.
    TimeMalformed = "time_malformed",
    /// Older than anything that is accepted.
    EventTimeBeforeLimit = "event_time_before_limit",
    /// Later than the record itself, by more than the bound.
    EventTimeInFuture = "event_time_in_future",
    /// No plain decimal number.
    AmountMalformed = "amount_malformed",
    /// More decimals than the currency has.
    AmountPrecision = "amount_precision",
    /// Beyond the largest amount that is accepted.
    AmountOutOfRange = "amount_out_of_range",
    /// Negative where only zero or more makes sense.
    AmountNegative = "amount_negative",
    /// No code of ISO 4217.
    UnknownCurrency = "unknown_currency",
    /// A currency, but not the shop's.
    OtherCurrency = "other_currency",
    /// No plain decimal number.
    QuantityMalformed = "quantity_malformed",
    /// Beyond the range, finer than a thousandth, or negative where that makes no sense.
    QuantityOutOfRange = "quantity_out_of_range",
    /// A whole number outside the scale that it belongs to.
    NumberOutOfRange = "number_out_of_range",
    /// A customer id that would collide with the keys of visitors or guest orders.
    ReservedKeyPrefix = "reserved_key_prefix",
    /// An id without characters.
    EmptyId = "empty_id",
    /// An id longer than the limit.
    IdTooLong = "id_too_long",
    /// A name, category or code longer than the limit.
    TextTooLong = "text_too_long",
    /// Two lines of one event carry the same line id.
    DuplicateLineId = "duplicate_line_id",
    /// A row of a file that cannot be cut into the values that it should have.
    MalformedRow = "malformed_row",
    /// A mapping found nothing to make an event from, or its expression does not fit the record.
    MappingFailed = "mapping_failed",
    /// Nothing was found, because nobody looked: two processes have died at this very record.
    Quarantined = "quarantined",
}

impl fmt::Display for RejectionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
