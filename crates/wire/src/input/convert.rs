//! Plain values to validated ones, one function per kind of field.
//!
//! Each takes the field's name for its message, and returns `None` for an absent field.

use std::fmt;

use domain::event::Text;
use domain::money::{Minor, Units};
use domain::time::TimeMs;
use smol_str::SmolStr;

use super::slot::Scalar;
use crate::decimal::{NumberError, float_scaled, parse_scaled, rescale};
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::rules::InputRules;

/// Where a value stands, for messages: a field of the event or of one of its lines.
#[derive(Clone, Copy)]
pub(super) enum Field {
    Event(super::slot::Slot),
    Line(usize, super::slot::LineSlot),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Event(slot) => f.write_str(slot.name()),
            Field::Line(index, slot) => write!(f, "products[{index}].{}", slot.name()),
        }
    }
}

type Converted<T> = Result<Option<T>, Rejection>;

fn wrong_type<T>(field: Field, value: &Scalar<'_>, wanted: &str) -> Converted<T> {
    let class = match value {
        Scalar::NotUtf8 => Class::NotUtf8,
        _ => Class::WrongType,
    };
    let found = value.kind();
    Err(Rejection::new(
        class,
        format!("{field} is {found}: send {wanted}"),
    ))
}

/// Any text that is not an id: an empty one counts as absent.
pub(super) fn text(value: &Scalar<'_>, field: Field, limit: usize) -> Converted<Text> {
    let found = match value {
        Scalar::Null | Scalar::Text("") => return Ok(None),
        Scalar::Text(text) => SmolStr::new(text),
        Scalar::Int(n) => SmolStr::from(n.to_string()),
        Scalar::Large(n) => SmolStr::from(n.to_string()),
        Scalar::Uuid(n) => SmolStr::from(uuid_text(*n)),
        other => return wrong_type(field, other, "a text"),
    };
    if found.len() > limit {
        let message = format!("{field} has {} bytes: at most {limit}", found.len());
        return Err(Rejection::new(Class::TextTooLong, message));
    }
    Ok(Some(found))
}

/// An id: text, or a whole number taken by its digits.
pub(super) fn id(value: &Scalar<'_>, field: Field, limit: usize) -> Converted<Text> {
    if let Scalar::Text("") = value {
        let message = format!("{field} is an empty text: send null, or an id");
        return Err(Rejection::new(Class::EmptyId, message));
    }
    text(value, field, limit).map_err(|rejection| match rejection.class {
        Class::TextTooLong => Rejection::new(Class::IdTooLong, rejection.message),
        _ => rejection,
    })
}

/// The usual text of a UUID.
pub(crate) fn uuid_text(value: u128) -> String {
    let hex = format!("{value:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// A boolean, or its text.
pub(super) fn boolean(value: &Scalar<'_>, field: Field) -> Converted<bool> {
    match value {
        Scalar::Null => Ok(None),
        Scalar::Bool(b) => Ok(Some(*b)),
        Scalar::Text("true") => Ok(Some(true)),
        Scalar::Text("false") => Ok(Some(false)),
        other => wrong_type(field, other, "true or false"),
    }
}

/// A whole number within `range`, or its text.
pub(super) fn small_integer(
    value: &Scalar<'_>,
    field: Field,
    range: std::ops::RangeInclusive<u8>,
) -> Converted<u8> {
    let counted = match value {
        Scalar::Bool(_) | Scalar::Instant(_) => return wrong_type(field, value, "a whole number"),
        _ => scaled(value, field, 0, "a whole number")?,
    };
    let out_of_range = || {
        let (low, high) = (range.start(), range.end());
        let message = format!("{field} is not a whole number from {low} to {high}");
        Rejection::new(Class::NumberOutOfRange, message)
    };
    match counted {
        None => Ok(None),
        Some(Err(NumberError::Malformed)) => wrong_type(field, value, "a whole number"),
        Some(Err(_)) => Err(out_of_range()),
        Some(Ok(n)) => match u8::try_from(n) {
            Ok(n) if range.contains(&n) => Ok(Some(n)),
            _ => Err(out_of_range()),
        },
    }
}

/// A number as a count of units of 10^-`decimals`. The outer error is for what is no number.
fn scaled(
    value: &Scalar<'_>,
    field: Field,
    decimals: u8,
    wanted: &str,
) -> Converted<Result<i64, NumberError>> {
    Ok(Some(match value {
        Scalar::Null => return Ok(None),
        Scalar::Text(text) => parse_scaled(text, decimals),
        Scalar::Int(n) => rescale(*n, 0, decimals),
        Scalar::Decimal { unscaled, scale } => rescale(*unscaled, *scale, decimals),
        Scalar::Float(f) => float_scaled(*f, decimals),
        Scalar::Large(_) | Scalar::Huge => Err(NumberError::Range),
        other => return wrong_type(field, other, wanted),
    }))
}

/// An amount in the shop's currency, of either sign.
pub(super) fn amount(value: &Scalar<'_>, field: Field, rules: &InputRules) -> Converted<Minor> {
    let wanted = "a decimal number, as text or number";
    let Some(counted) = scaled(value, field, rules.currency.decimals, wanted)? else {
        return Ok(None);
    };
    let found = counted.map_err(|error| match error {
        NumberError::Malformed => Rejection::new(
            Class::AmountMalformed,
            format!("{field} is no plain decimal number: send digits with a point, such as 12.50"),
        ),
        NumberError::Precision(decimals) => Rejection::new(
            Class::AmountPrecision,
            format!(
                "{field} needs {decimals} decimals, {} is kept with {}: \
                 round at the source or configure more decimals for the currency",
                rules.currency, rules.currency.decimals
            ),
        ),
        NumberError::Range => amount_out_of_range(field, rules),
    })?;
    within_bounds(Minor(found), field, rules).map(Some)
}

/// An amount that may not be negative.
pub(super) fn amount_from_zero(
    value: &Scalar<'_>,
    field: Field,
    rules: &InputRules,
) -> Converted<Minor> {
    match amount(value, field, rules)? {
        Some(found) if found < Minor::ZERO => Err(Rejection::new(
            Class::AmountNegative,
            format!("{field} is negative: only amounts and quantities of lines may be"),
        )),
        found => Ok(found),
    }
}

fn amount_out_of_range(field: Field, rules: &InputRules) -> Rejection {
    let largest = rules.currency.format(rules.max_amount);
    let message = format!("{field} is beyond the largest amount accepted, {largest}");
    Rejection::new(Class::AmountOutOfRange, message)
}

pub(super) fn within_bounds(
    found: Minor,
    field: Field,
    rules: &InputRules,
) -> Result<Minor, Rejection> {
    if found.0.unsigned_abs() > rules.max_amount.0.unsigned_abs() {
        return Err(amount_out_of_range(field, rules));
    }
    Ok(found)
}

/// Largest quantity of one line: 10⁹ units.
const MAX_UNITS: u64 = 1_000_000_000_000;

/// A quantity of either sign, exact to a thousandth.
pub(super) fn quantity(value: &Scalar<'_>, field: Field) -> Converted<Units> {
    let Some(counted) = scaled(value, field, 3, "a decimal number")? else {
        return Ok(None);
    };
    match counted {
        Ok(n) if n.unsigned_abs() <= MAX_UNITS => Ok(Some(Units(n))),
        Err(NumberError::Malformed) => Err(Rejection::new(
            Class::QuantityMalformed,
            format!("{field} is no plain decimal number: send digits, such as 3 or 0.75"),
        )),
        Err(NumberError::Precision(decimals)) => Err(Rejection::new(
            Class::QuantityOutOfRange,
            format!("{field} has {decimals} decimals: quantities are kept in thousandths"),
        )),
        Ok(_) | Err(NumberError::Range) => Err(Rejection::new(
            Class::QuantityOutOfRange,
            format!("{field} is beyond the largest quantity accepted, 1000000000"),
        )),
    }
}

/// An instant: ISO 8601 with an offset, or milliseconds since 1970.
pub(super) fn instant(value: &Scalar<'_>, field: Field) -> Converted<TimeMs> {
    match value {
        Scalar::Null => Ok(None),
        Scalar::Int(ms) => Ok(Some(TimeMs(*ms))),
        Scalar::Instant(time) => Ok(Some(*time)),
        Scalar::Text(text) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Some(TimeMs(time.as_millisecond()))),
            Err(_) => Err(Rejection::new(
                Class::TimeMalformed,
                format!(
                    "{field} is no instant: send ISO 8601 with an offset, such as \
                     2011-03-01T08:26:00Z, or milliseconds since 1970 as a whole number"
                ),
            )),
        },
        other => wrong_type(field, other, "ISO 8601 text or milliseconds since 1970"),
    }
}
