//! How durations, sizes, instants and amounts are written in a configuration file and on the
//! command line. Every parser answers what is wrong in words that can stand in front of a user.

use std::time::Duration;

use domain::money::{Currency, Minor};
use domain::time::TimeMs;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A text that is not of the kind it should be: what is wrong with it, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct UnitError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl UnitError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> UnitError {
        UnitError {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// Units of time, largest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of size, largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

const DURATION_HINT: &str =
    "write whole numbers with a unit of ms, s, m, h, d or w, such as \"10m\" or \"1h30m\"";
const SIZE_HINT: &str =
    "write a whole number with a unit of B, kB, KiB, MB, MiB, GB or GiB, such as \"64MiB\"";
const INSTANT_HINT: &str =
    "write a date or an instant in ISO 8601, such as \"2011-03-01\" or \"2011-03-01T12:00:00Z\"";
const AMOUNT_HINT: &str =
    "write an amount in the currency's major unit, such as \"2500.00\", without separators";

/// A duration: `100ms`, `10m`, `1h30m`, `3d`.
///
/// # Errors
/// The text is not a duration, or is one beyond what 64 bits of milliseconds hold.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = |what: &str| UnitError::new(format!("{text:?} {what}"), DURATION_HINT);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("is not a duration"));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = split_digits(rest);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        if digits.is_empty() {
            return Err(wrong("is not a duration"));
        }
        if unit.is_empty() {
            return Err(wrong("has no unit"));
        }
        let Some((_, scale)) = TIME_UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
            return Err(wrong(&format!("has an unknown unit `{}`", unit.trim())));
        };
        total = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*scale))
            .and_then(|ms| total.checked_add(ms))
            .ok_or_else(|| wrong("is too long"))?;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// The inverse of [`parse_duration`], in the fewest units that lose nothing: `90m`, `100ms`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    // Weeks are understood but never written: "14d" reads better than "2w".
    TIME_UNITS
        .iter()
        .skip(1)
        .find(|(_, scale)| ms.is_multiple_of(u128::from(*scale)))
        .map_or_else(
            || format!("{ms}ms"),
            |(unit, scale)| format!("{}{unit}", ms / u128::from(*scale)),
        )
}

/// A size in bytes: `64MiB`, `1GB`, `512B`.
///
/// # Errors
/// The text is not a size.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let wrong = |what: &str| UnitError::new(format!("{text:?} {what}"), SIZE_HINT);
    let (digits, unit) = split_digits(text.trim());
    if digits.is_empty() {
        return Err(wrong("is not a size"));
    }
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(wrong("has no unit"));
    }
    let Some((_, scale)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong(&format!("has an unknown unit `{unit}`")));
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*scale))
        .ok_or_else(|| wrong("is too large"))
}

/// The inverse of [`parse_bytes`], in the largest binary unit that loses nothing.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .filter(|(unit, _)| unit.contains('i'))
        .find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, scale)| format!("{}{unit}", bytes / scale),
        )
}

/// An instant: a date (its first millisecond in UTC), or a date and time with `Z`, an offset, or
/// neither, which is read as UTC.
///
/// # Errors
/// The text is none of these.
pub fn parse_instant(text: &str) -> Result<TimeMs, UnitError> {
    let trimmed = text.trim();
    if let Ok(instant) = trimmed.parse::<Timestamp>() {
        return Ok(TimeMs(instant.as_millisecond()));
    }
    trimmed
        .parse::<DateTime>()
        .and_then(|local| TimeZone::UTC.to_timestamp(local))
        .map(|instant| TimeMs(instant.as_millisecond()))
        .map_err(|_| UnitError::new(format!("{text:?} is not an instant"), INSTANT_HINT))
}

/// A plain decimal number without sign, as written: digits and how many of them are decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decimal {
    digits: u64,
    decimals: u8,
}

impl Decimal {
    /// A whole number.
    #[must_use]
    pub const fn whole(digits: u64) -> Decimal {
        Decimal {
            digits,
            decimals: 0,
        }
    }

    /// `1234.50` or `1234`.
    ///
    /// # Errors
    /// The text is not such a number, or has more than 18 digits.
    pub fn parse(text: &str) -> Result<Decimal, UnitError> {
        let wrong = |what: &str| UnitError::new(format!("{text:?} {what}"), AMOUNT_HINT);
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(wrong("is not an amount")),
            None => (text, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(wrong("is not an amount"));
        }
        if whole.len() + fraction.len() > 18 {
            return Err(wrong("has more than 18 digits"));
        }
        let digits = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| wrong("is not an amount"))?;
        // At most 18, as was just checked.
        let decimals = fraction.len() as u8;
        Ok(Decimal { digits, decimals })
    }

    /// This number of major units in the accounting unit of `currency`.
    ///
    /// # Errors
    /// It has more decimals than the accounting unit, or does not fit.
    pub fn in_minor(self, currency: Currency) -> Result<Minor, UnitError> {
        let Some(missing) = currency.decimals.checked_sub(self.decimals) else {
            return Err(UnitError::new(
                format!("{self} has more decimals than the accounting unit of {currency}"),
                format!("write at most {} decimals", currency.decimals),
            ));
        };
        10_u64
            .checked_pow(u32::from(missing))
            .and_then(|scale| self.digits.checked_mul(scale))
            .and_then(|minor| i64::try_from(minor).ok())
            .map(Minor)
            .ok_or_else(|| UnitError::new(format!("{self} {currency} is too large"), AMOUNT_HINT))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = usize::from(self.decimals);
        let padded = format!("{:0>1$}", self.digits, width + 1);
        let (whole, fraction) = padded.split_at(padded.len() - width);
        if fraction.is_empty() {
            f.write_str(whole)
        } else {
            write!(f, "{whole}.{fraction}")
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let ms = |text: &str| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(ms("100ms"), Ok(100));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("1h30m"), Ok(5_400_000));
        assert_eq!(ms("3d"), Ok(259_200_000));
        assert_eq!(ms("2 w"), Ok(1_209_600_000));
        for (text, message) in [
            ("", "\"\" is not a duration"),
            ("10", "\"10\" has no unit"),
            ("10min", "\"10min\" has an unknown unit `min`"),
            ("-5s", "\"-5s\" is not a duration"),
            ("1.5h", "\"1.5h\" has an unknown unit `.`"),
            (
                "99999999999999999999d",
                "\"99999999999999999999d\" is too long",
            ),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1 GB"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("0B"), Ok(0));
        for (text, message) in [
            ("64", "\"64\" has no unit"),
            ("big", "\"big\" is not a size"),
            ("1TB", "\"1TB\" has an unknown unit `TB`"),
            (
                "99999999999999999GiB",
                "\"99999999999999999GiB\" is too large",
            ),
        ] {
            assert_eq!(parse_bytes(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn instants() {
        for (text, expected) in [
            ("2011-03-01", "2011-03-01T00:00:00.000Z"),
            ("2011-03-01T12:30:00Z", "2011-03-01T12:30:00.000Z"),
            ("2011-03-01T12:30:00+02:00", "2011-03-01T10:30:00.000Z"),
            ("2011-03-01 12:30:00.5", "2011-03-01T12:30:00.500Z"),
        ] {
            assert_eq!(parse_instant(text).unwrap().to_string(), expected);
        }
        assert!(parse_instant("yesterday").is_err());
        assert!(parse_instant("2011-02-30").is_err());
    }

    #[test]
    fn amounts() {
        let usd = Currency {
            code: *b"USD",
            decimals: 2,
        };
        let minor = |text: &str| Decimal::parse(text).and_then(|d| d.in_minor(usd));
        assert_eq!(minor("12.5"), Ok(Minor(1250)));
        assert_eq!(minor("1000000000"), Ok(Minor(100_000_000_000)));
        for text in [
            "",
            ".5",
            "5.",
            "1,000",
            "-1",
            "1e9",
            "0.001",
            "999999999999999999",
        ] {
            assert!(minor(text).is_err(), "{text}");
        }
        assert_eq!(Decimal::parse("0.05").unwrap().to_string(), "0.05");
    }

    proptest! {
        #[test]
        fn written_durations_read_back(ms in 0..=u64::MAX / 1000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn written_sizes_read_back(bytes: u64) {
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }
    }
}
