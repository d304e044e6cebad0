//! Money as integers, quantities as integers, and the currency that they are in.
//!
//! Invariant: no float ever holds an amount. An amount is a count of the shop currency's smallest
//! accounting unit; how many decimals that unit has is a property of the [`Currency`] in force
//! (ISO 4217's by default, more where a shop prices in finer units, such as thousandths).

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// An amount in the smallest accounting unit of the shop's currency.
///
/// Sums saturate: amounts are bounded at the edge (see `wire`), so that it takes nine thousand
/// orders at the bound to reach the end of the range, and saturation is visible where overflow
/// would not be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Minor(pub i64);

impl Minor {
    /// No money.
    pub const ZERO: Minor = Minor(0);
}

impl Add for Minor {
    type Output = Minor;
    fn add(self, other: Minor) -> Minor {
        Minor(self.0.saturating_add(other.0))
    }
}
impl Sub for Minor {
    type Output = Minor;
    fn sub(self, other: Minor) -> Minor {
        Minor(self.0.saturating_sub(other.0))
    }
}
impl AddAssign for Minor {
    fn add_assign(&mut self, other: Minor) {
        *self = *self + other;
    }
}
impl SubAssign for Minor {
    fn sub_assign(&mut self, other: Minor) {
        *self = *self - other;
    }
}
impl Neg for Minor {
    type Output = Minor;
    fn neg(self) -> Minor {
        Minor(self.0.saturating_neg())
    }
}
impl Sum for Minor {
    fn sum<I: Iterator<Item = Minor>>(iter: I) -> Minor {
        iter.fold(Minor::ZERO, Add::add)
    }
}

/// A currency and the decimals of its accounting unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Currency {
    /// ISO 4217 alphabetic code, for example `USD`.
    pub code: [u8; 3],
    /// Decimals of one [`Minor`]: 2 means that `Minor(1)` is a hundredth. 0 to 6.
    pub decimals: u8,
}

impl Currency {
    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Minor units in one of the currency.
    #[must_use]
    pub fn minor_per_unit(&self) -> u64 {
        10_u64.pow(u32::from(self.decimals))
    }

    /// `amount` as a plain decimal string with exactly this currency's decimals: `-12.50`.
    #[must_use]
    pub fn format(&self, amount: Minor) -> String {
        let scale = self.minor_per_unit();
        let magnitude = amount.0.unsigned_abs();
        let sign = if amount.0 < 0 { "-" } else { "" };
        if self.decimals == 0 {
            return format!("{sign}{magnitude}");
        }
        let width = usize::from(self.decimals);
        format!("{sign}{}.{:0width$}", magnitude / scale, magnitude % scale)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number of units sold, in thousandths, so that goods by weight or length count exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Units(pub i64);

impl Units {
    /// Thousandths in one unit.
    pub const ONE: Units = Units(1000);
}

impl Add for Units {
    type Output = Units;
    fn add(self, other: Units) -> Units {
        Units(self.0.saturating_add(other.0))
    }
}
impl Sub for Units {
    type Output = Units;
    fn sub(self, other: Units) -> Units {
        Units(self.0.saturating_sub(other.0))
    }
}
impl Neg for Units {
    type Output = Units;
    fn neg(self) -> Units {
        Units(self.0.saturating_neg())
    }
}
impl AddAssign for Units {
    fn add_assign(&mut self, other: Units) {
        *self = *self + other;
    }
}

impl fmt::Display for Units {
    /// Without trailing zeros: `3`, `0.75`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}
