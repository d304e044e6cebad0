//! What an event must satisfy to be taken in, and the currencies it may be in.

use domain::money::{Currency, Minor};
use domain::time::{HOUR_MS, TimeMs};
use iso_currency::Currency as Iso;

/// 1990-01-01T00:00:00Z.
const YEAR_1990: TimeMs = TimeMs(631_152_000_000);

/// Limits on what is taken in. Whatever exceeds one is rejected, never cut to fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputRules {
    /// The shop's one currency.
    pub currency: Currency,
    /// Earliest event time. By default 1990, because a date in 1970 is nearly always seconds taken
    /// for milliseconds.
    pub earliest: TimeMs,
    /// How far, in milliseconds, an event's time may lie after its record's timestamp.
    pub future_bound_ms: i64,
    /// Largest magnitude of any one amount. By default 10⁹ major units.
    pub max_amount: Minor,
    /// Largest record value in bytes.
    pub max_value_bytes: usize,
    /// Longest id, and longest name, category or code, in bytes.
    pub max_id_bytes: usize,
    /// Deepest nesting of a value.
    pub max_depth: usize,
    /// Most lines of one order or refund event.
    pub max_lines: usize,
}

impl InputRules {
    /// The default limits for a shop that sells in `currency`.
    #[must_use]
    pub fn new(currency: Currency) -> InputRules {
        let scale = 10_i64.saturating_pow(u32::from(currency.decimals));
        InputRules {
            currency,
            earliest: YEAR_1990,
            future_bound_ms: HOUR_MS,
            max_amount: Minor(1_000_000_000_i64.saturating_mul(scale)),
            max_value_bytes: 1 << 20,
            max_id_bytes: 256,
            max_depth: 32,
            max_lines: 10_000,
        }
    }
}

/// Most decimals that an accounting unit may have.
pub const MAX_DECIMALS: u8 = 6;

/// The currency with the ISO 4217 code `code` (any case), with the standard's decimals unless
/// `decimals_override` sets others (0 to 6). `None` if the standard has no such code, or the
/// decimals are out of range.
#[must_use]
pub fn currency_by_code(code: &str, decimals_override: Option<u8>) -> Option<Currency> {
    let upper = iso_code(code)?;
    let text = std::str::from_utf8(&upper).ok()?;
    let iso = Iso::from_code(text)?;
    // Metals and funds have no minor unit: whole units unless the shop says otherwise.
    let standard = iso.exponent().and_then(|e| u8::try_from(e).ok());
    let decimals = decimals_override.or(standard).unwrap_or(0);
    (decimals <= MAX_DECIMALS).then_some(Currency {
        code: upper,
        decimals,
    })
}

/// `code` as three upper-case letters.
pub(crate) fn iso_code(code: &str) -> Option<[u8; 3]> {
    let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
    let upper = bytes.map(|b| b.to_ascii_uppercase());
    upper.iter().all(u8::is_ascii_uppercase).then_some(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_take_the_decimals_of_the_standard_or_the_override() {
        let cases = [
            ("USD", None, Some(("USD", 2))),
            ("gbp", None, Some(("GBP", 2))),
            ("JPY", None, Some(("JPY", 0))),
            ("KWD", None, Some(("KWD", 3))),
            ("XAU", None, Some(("XAU", 0))),
            ("GBP", Some(3), Some(("GBP", 3))),
            ("GBP", Some(7), None),
            ("ZZZ", None, None),
            ("", None, None),
            ("US", None, None),
            ("U\u{e9}", None, None),
        ];
        for (code, decimals, expected) in cases {
            let found = currency_by_code(code, decimals);
            let found = found.as_ref().map(|c| (c.as_str(), c.decimals));
            assert_eq!(found, expected, "{code} {decimals:?}");
        }
    }

    #[test]
    fn the_largest_amount_scales_with_the_currency() {
        let largest = |code, decimals| {
            currency_by_code(code, decimals).map(|c| InputRules::new(c).max_amount.0)
        };
        assert_eq!(largest("USD", None), Some(100_000_000_000));
        assert_eq!(largest("JPY", None), Some(1_000_000_000));
        assert_eq!(largest("USD", Some(6)), Some(1_000_000_000_000_000));
    }
}
