//! Instants in UTC milliseconds, and the calendar day they fall on.
//!
//! The core has no clock: every instant here came with a record.

use std::fmt;

/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day of 24 hours in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeMs(pub i64);

impl TimeMs {
    /// Earlier than every event that is accepted.
    pub const MIN: TimeMs = TimeMs(i64::MIN);
    /// Later than every event that is accepted.
    pub const MAX: TimeMs = TimeMs(i64::MAX);

    /// This instant shifted by `ms` milliseconds, saturating at the ends of the range.
    #[must_use]
    pub fn plus(self, ms: i64) -> TimeMs {
        TimeMs(self.0.saturating_add(ms))
    }

    /// This instant shifted back by `ms` milliseconds, saturating.
    #[must_use]
    pub fn minus(self, ms: i64) -> TimeMs {
        TimeMs(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to this instant (negative when it is later), saturating.
    #[must_use]
    pub fn since(self, earlier: TimeMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The UTC day that this instant falls on.
    #[must_use]
    pub fn day(self) -> Day {
        // Every accepted instant is within years 1970..=2999, far inside i32 days.
        Day(self
            .0
            .div_euclid(DAY_MS)
            .clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }
}

impl fmt::Debug for TimeMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Display for TimeMs {
    /// ISO 8601 in UTC with milliseconds, for example `2011-03-01T00:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A UTC calendar day: days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Day(pub i32);

impl Day {
    /// The first instant of this day.
    #[must_use]
    pub fn start(self) -> TimeMs {
        TimeMs(i64::from(self.0) * DAY_MS)
    }
}

impl fmt::Display for Day {
    /// ISO 8601, for example `2011-03-01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.start().0) {
            Ok(t) => write!(f, "{}", t.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}
