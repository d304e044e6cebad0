//! Exact decimal arithmetic for mapped amounts and quantities.
//!
//! Invariant: no result is ever rounded except by [`Decimal::round`], which is asked for. What does
//! not fit is refused, not approximated.

use std::cmp::Ordering;
use std::fmt;

/// Most digits that are taken in, before and after the point together.
const MAX_DIGITS: usize = 30;
/// Most decimals that a number, or a result, may have.
const MAX_SCALE: u32 = 30;

/// `mantissa` × 10^-`scale`, exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// How numbers are written in the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Notation {
    /// Between the whole and the fraction.
    pub(super) decimal_separator: char,
    /// Between groups of three digits, if any.
    pub(super) thousands_separator: Option<char>,
}

impl Notation {
    /// A point, and no groups.
    pub(super) const PLAIN: Notation = Notation {
        decimal_separator: '.',
        thousands_separator: None,
    };
}

impl Decimal {
    /// `text` as a number: an optional sign, digits, at most one decimal separator, and an exponent
    /// as JSON writes it. `None` for anything else and for more than 30 digits.
    pub(super) fn parse(text: &str, notation: Notation) -> Option<Decimal> {
        let (body, exponent) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match body.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, body.strip_prefix('+').unwrap_or(body)),
        };
        let (whole, fraction) = digits
            .split_once(notation.decimal_separator)
            .unwrap_or((digits, ""));
        let whole = ungroup(whole, notation.thousands_separator)?;
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(&whole) || !plain(fraction) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let mut mantissa = 0_i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let signed = if negative { -mantissa } else { mantissa };
        Decimal::with_scale(signed, scale)
    }

    /// `mantissa` × 10^-`scale` for a scale of either sign.
    fn with_scale(mantissa: i128, scale: i32) -> Option<Decimal> {
        if mantissa == 0 {
            return Some(Decimal { mantissa, scale: 0 });
        }
        match u32::try_from(scale) {
            Ok(scale) => (scale <= MAX_SCALE).then_some(Decimal { mantissa, scale }),
            Err(_) => Some(Decimal {
                mantissa: mantissa.checked_mul(power(scale.unsigned_abs())?)?,
                scale: 0,
            }),
        }
    }

    /// Whether this is less than zero.
    pub(super) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The number with the other sign.
    pub(super) fn negate(self) -> Decimal {
        Decimal {
            mantissa: -self.mantissa,
            ..self
        }
    }

    /// The product, or `None` where it does not fit.
    pub(super) fn times(self, other: Decimal) -> Option<Decimal> {
        let (a, b) = (self.trimmed(), other.trimmed());
        let mantissa = a.mantissa.checked_mul(b.mantissa)?;
        Decimal::with_scale(mantissa, i32::try_from(a.scale + b.scale).ok()?)
    }

    /// The sum, or `None` where it does not fit.
    pub(super) fn plus(self, other: Decimal) -> Option<Decimal> {
        let (a, b) = align(self, other)?;
        Some(Decimal {
            mantissa: a.checked_add(b)?,
            scale: self.scale.max(other.scale),
        })
    }

    /// Rounded to `decimals`, halves away from zero, as shops round.
    pub(super) fn round(self, decimals: u32) -> Decimal {
        let Some(factor) = self.scale.checked_sub(decimals).and_then(power) else {
            return self;
        };
        let (whole, rest) = (self.mantissa / factor, self.mantissa % factor);
        let up = i128::from(rest.unsigned_abs() >= factor.unsigned_abs().div_ceil(2) && factor > 1);
        Decimal {
            mantissa: whole + up * self.mantissa.signum(),
            scale: decimals,
        }
    }

    /// The number if it is whole.
    pub(super) fn whole(self) -> Option<i64> {
        let trimmed = self.trimmed();
        if trimmed.scale > 0 {
            return None;
        }
        i64::try_from(trimmed.mantissa).ok()
    }

    /// The largest whole count of 10^-`decimals` that is not above this number.
    pub(super) fn floor_scaled(self, decimals: u32) -> Option<i64> {
        let scaled = match self.scale.checked_sub(decimals) {
            Some(extra) => self.mantissa.div_euclid(power(extra)?),
            None => self.mantissa.checked_mul(power(decimals - self.scale)?)?,
        };
        i64::try_from(scaled).ok()
    }

    /// Compares exactly; `None` only for numbers too far apart to bring to one scale.
    pub(super) fn compare(self, other: Decimal) -> Option<Ordering> {
        let (a, b) = align(self.trimmed(), other.trimmed())?;
        Some(a.cmp(&b))
    }

    fn trimmed(self) -> Decimal {
        let Decimal {
            mut mantissa,
            mut scale,
        } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal { mantissa, scale }
    }
}

impl fmt::Display for Decimal {
    /// Plain: no exponent, no trailing zeros after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal { mantissa, scale } = self.trimmed();
        let sign = if mantissa < 0 { "-" } else { "" };
        let width = scale as usize;
        let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = width + 1);
        let (whole, fraction) = digits.split_at(digits.len() - width);
        if fraction.is_empty() {
            write!(f, "{sign}{whole}")
        } else {
            write!(f, "{sign}{whole}.{fraction}")
        }
    }
}

/// Both mantissas at the larger of the two scales.
fn align(a: Decimal, b: Decimal) -> Option<(i128, i128)> {
    let scale = a.scale.max(b.scale);
    Some((
        a.mantissa.checked_mul(power(scale - a.scale)?)?,
        b.mantissa.checked_mul(power(scale - b.scale)?)?,
    ))
}

fn power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// `whole` without its separators; refused where groups are not of three digits, because
/// `1,50` is more likely a decimal comma than 150.
fn ungroup(whole: &str, separator: Option<char>) -> Option<std::borrow::Cow<'_, str>> {
    let Some(separator) = separator.filter(|s| whole.contains(*s)) else {
        return Some(whole.into());
    };
    let mut groups = whole.split(separator);
    let first = groups.next()?;
    let well_grouped = (1..=3).contains(&first.len()) && groups.all(|g| g.len() == 3);
    well_grouped.then(|| whole.replace(separator, "").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(text: &str) -> Decimal {
        Decimal::parse(text, Notation::PLAIN).unwrap()
    }

    #[test]
    fn text_becomes_an_exact_number() {
        let cases = [
            ("12.340", Some("12.34")),
            ("-0.05", Some("-0.05")),
            ("+7", Some("7")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("1e3", Some("1000")),
            ("1.5E-3", Some("0.0015")),
            ("-0", Some("0")),
            ("0e99", Some("0")),
            ("1e99", None),
            ("1e-99", None),
            (
                "123456789012345678901234567890",
                Some("123456789012345678901234567890"),
            ),
            ("1234567890123456789012345678901", None),
            ("", None),
            ("-", None),
            (".", None),
            ("1,000", None),
            (" 1", None),
            ("0x10", None),
            ("NaN", None),
            ("1e", None),
        ];
        for (text, expected) in cases {
            let found = Decimal::parse(text, Notation::PLAIN).map(|d| d.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn other_notations_are_read_strictly() {
        let german = Notation {
            decimal_separator: ',',
            thousands_separator: Some('.'),
        };
        let cases = [
            ("1.234,50", Some("1234.5")),
            ("1234,50", Some("1234.5")),
            ("1.234.567", Some("1234567")),
            ("12.50", None),
            ("1.2345", None),
            (".123", None),
        ];
        for (text, expected) in cases {
            let found = Decimal::parse(text, german).map(|d| d.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact_or_refused() {
        assert_eq!(n("74215").times(n("1.04")).unwrap().to_string(), "77183.6");
        assert_eq!(n("-3").times(n("0.001")).unwrap().to_string(), "-0.003");
        assert_eq!(n("0.1").plus(n("0.2")).unwrap().to_string(), "0.3");
        let wide = n("123456789012345678901234567890");
        assert!(wide.times(wide).is_none());
        let fine = n("0.0000000000000001");
        assert!(fine.times(fine).is_none());
        assert_eq!(n("1.10").compare(n("1.1")), Some(Ordering::Equal));
        assert_eq!(n("-2").compare(n("-1.5")), Some(Ordering::Less));
    }

    #[test]
    fn rounding_takes_halves_away_from_zero() {
        let cases = [
            ("6397.760000000001", 2, "6397.76"),
            ("479.4599999999999", 2, "479.46"),
            ("0.005", 2, "0.01"),
            ("-0.005", 2, "-0.01"),
            ("0.0049", 2, "0"),
            ("7", 2, "7"),
            ("2.5", 0, "3"),
        ];
        for (text, decimals, expected) in cases {
            assert_eq!(n(text).round(decimals).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_and_floors() {
        assert_eq!(n("17850.0").whole(), Some(17850));
        assert_eq!(n("17850.5").whole(), None);
        assert_eq!(
            n("1659304800.1239").floor_scaled(3),
            Some(1_659_304_800_123)
        );
        assert_eq!(n("-0.0001").floor_scaled(3), Some(-1));
        assert_eq!(n("2").floor_scaled(3), Some(2000));
    }

    proptest! {
        #[test]
        fn agrees_with_integers(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000) {
            let text = |v: i64| {
                let sign = if v < 0 { "-" } else { "" };
                format!("{sign}{}.{:03}", v.unsigned_abs() / 1000, v.unsigned_abs() % 1000)
            };
            let (x, y) = (n(&text(a)), n(&text(b)));
            prop_assert_eq!(x.plus(y).unwrap().floor_scaled(3), Some(a + b));
            prop_assert_eq!(x.compare(y), Some(a.cmp(&b)));
            prop_assert_eq!(n(&x.to_string()).compare(x), Some(Ordering::Equal));
            let product = i128::from(a) * i128::from(b);
            let exact = x.times(y).unwrap();
            let six = Decimal { mantissa: product, scale: 6 };
            prop_assert_eq!(exact.compare(six), Some(Ordering::Equal));
        }
    }
}
