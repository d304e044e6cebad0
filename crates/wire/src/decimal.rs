//! Exact decimals: text, integers and scaled integers to counts of a smallest unit.
//!
//! No float arithmetic: a float is taken by its shortest text, which is what its producer wrote
//! for anything up to 15 significant digits.

use std::fmt::Write as _;

/// Why a number is not a whole count of the unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NumberError {
    /// Not a plain decimal number.
    Malformed,
    /// Needs this many decimals, which is more than there are.
    Precision(usize),
    /// Does not fit 63 bits.
    Range,
}

/// `text` (`-12.50`: an optional minus, digits, at most one point; no exponent, sign of a currency,
/// blank or separator of thousands) as a count of units of 10^-`decimals`.
pub(crate) fn parse_scaled(text: &str, decimals: u8) -> Result<i64, NumberError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return Err(NumberError::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    let padding = usize::from(decimals)
        .checked_sub(fraction.len())
        .ok_or(NumberError::Precision(fraction.len()))?;
    let zeros = std::iter::repeat_n(b'0', padding);
    let mut value = 0_i64;
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .ok_or(NumberError::Range)?;
    }
    Ok(if negative { -value } else { value })
}

/// `unscaled` × 10^-`scale` as a count of units of 10^-`decimals`.
pub(crate) fn rescale(unscaled: i64, scale: u32, decimals: u8) -> Result<i64, NumberError> {
    let (mut value, mut scale) = (unscaled, scale);
    let decimals = u32::from(decimals);
    while scale > decimals && value % 10 == 0 {
        // Zero has no digits that matter, and a scale from a schema may be huge.
        scale = if value == 0 { decimals } else { scale - 1 };
        value /= 10;
    }
    if scale > decimals {
        return Err(NumberError::Precision(scale as usize));
    }
    let factor = 10_i64.checked_pow(decimals - scale);
    factor
        .and_then(|f| value.checked_mul(f))
        .ok_or(NumberError::Range)
}

/// A float's shortest text as a count of units of 10^-`decimals`.
pub(crate) fn float_scaled(value: f64, decimals: u8) -> Result<i64, NumberError> {
    if !value.is_finite() {
        return Err(NumberError::Malformed);
    }
    let mut text = String::with_capacity(24);
    // Writing to a string cannot fail; an empty text would be malformed.
    let _ = write!(text, "{value}");
    parse_scaled(&text, decimals)
}

/// A count of units of 10^-`decimals` as plain decimal text, without allocating.
pub(crate) struct DecimalText {
    /// Right-aligned: a sign, 19 digits of an i64 and as many zeros as decimals may need, a point.
    buffer: [u8; 48],
    start: usize,
    has_point: bool,
}

impl DecimalText {
    pub(crate) fn new(value: i64, decimals: u8) -> DecimalText {
        let decimals = usize::from(decimals.min(18));
        let mut text = DecimalText {
            buffer: [b'0'; 48],
            start: 48,
            has_point: false,
        };
        let mut rest = value.unsigned_abs();
        let mut written = 0;
        while written <= decimals || rest > 0 {
            if written == decimals && decimals > 0 {
                text.push(b'.');
                text.has_point = true;
            }
            text.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            written += 1;
        }
        if value < 0 {
            text.push(b'-');
        }
        text
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.buffer[self.start] = byte;
    }

    /// With all decimals.
    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII was pushed.
        std::str::from_utf8(&self.buffer[self.start..]).unwrap_or_default()
    }

    /// Without trailing zeros of the decimals.
    pub(crate) fn trimmed(&self) -> &str {
        if self.has_point {
            return self.as_str().trim_end_matches('0').trim_end_matches('.');
        }
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NumberError::{Malformed, Precision, Range};

    #[test]
    fn text_becomes_an_exact_count() {
        let cases = [
            ("12.34", 2, Ok(1234)),
            ("-12.5", 2, Ok(-1250)),
            ("12", 2, Ok(1200)),
            ("12.3400", 2, Ok(1234)),
            (".5", 2, Ok(50)),
            ("5.", 2, Ok(500)),
            ("007", 0, Ok(7)),
            ("-0", 2, Ok(0)),
            ("0.1", 0, Err(Precision(1))),
            ("12.345", 2, Err(Precision(3))),
            ("12.345", 3, Ok(12345)),
            ("92233720368547758.07", 2, Ok(i64::MAX)),
            ("92233720368547758.08", 2, Err(Range)),
            ("99999999999999999999999", 0, Err(Range)),
            ("", 2, Err(Malformed)),
            (".", 2, Err(Malformed)),
            ("-", 2, Err(Malformed)),
            ("+1", 2, Err(Malformed)),
            ("1e3", 2, Err(Malformed)),
            ("1,000.00", 2, Err(Malformed)),
            ("12,50", 2, Err(Malformed)),
            ("$5", 2, Err(Malformed)),
            (" 5", 2, Err(Malformed)),
            ("1.2.3", 2, Err(Malformed)),
            ("--1", 2, Err(Malformed)),
            ("NaN", 2, Err(Malformed)),
            ("\u{0663}", 2, Err(Malformed)),
        ];
        for (text, decimals, expected) in cases {
            assert_eq!(
                parse_scaled(text, decimals),
                expected,
                "{text} at {decimals}"
            );
        }
    }

    #[test]
    fn scaled_integers_and_floats_keep_their_value() {
        assert_eq!(rescale(12_340, 3, 2), Ok(1234));
        assert_eq!(rescale(12_345, 3, 2), Err(Precision(3)));
        assert_eq!(rescale(5, 0, 2), Ok(500));
        assert_eq!(rescale(0, u32::MAX, 2), Ok(0));
        assert_eq!(rescale(i64::MAX, 0, 2), Err(Range));
        assert_eq!(rescale(-1050, 3, 2), Ok(-105));
        assert_eq!(float_scaled(19.99, 2), Ok(1999));
        assert_eq!(float_scaled(0.1 + 0.2, 2), Err(Precision(17)));
        assert_eq!(float_scaled(1e15, 2), Ok(100_000_000_000_000_000));
        assert_eq!(float_scaled(1e300, 2), Err(Range));
        assert_eq!(float_scaled(f64::NAN, 2), Err(Malformed));
    }

    #[test]
    fn decimal_text_is_what_it_was_parsed_from() {
        let cases = [
            (0, 2, "0.00", "0"),
            (5, 2, "0.05", "0.05"),
            (-1250, 2, "-12.50", "-12.5"),
            (7, 0, "7", "7"),
            (100, 0, "100", "100"),
            (3000, 3, "3.000", "3"),
            (
                i64::MIN,
                2,
                "-92233720368547758.08",
                "-92233720368547758.08",
            ),
            (1, 18, "0.000000000000000001", "0.000000000000000001"),
        ];
        for (value, decimals, full, trimmed) in cases {
            let text = DecimalText::new(value, decimals);
            assert_eq!((text.as_str(), text.trimmed()), (full, trimmed));
        }
    }
}
