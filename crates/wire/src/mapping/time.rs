//! Instants as foreign data writes them.
//!
//! A time with an offset (or a zone in brackets) is that instant. A time without one is a local time
//! of the mapping's zone, read with the time zone database that is built in. A local time that
//! exists twice (clocks go back) is the earlier of the two, one that does not exist (clocks go
//! forward) is moved forward by the gap; `ambiguous` sets otherwise.

use std::sync::LazyLock;

use domain::time::TimeMs;
use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::number::{Decimal, Notation};

/// One way to write an instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TimeFormat {
    /// ISO 8601, with `T` or a blank, with or without offset; a date alone is its first instant.
    Iso,
    /// A strptime pattern.
    Pattern(String),
    /// A count since 1970-01-01T00:00:00Z of units of so many nanoseconds.
    Epoch(i64),
}

/// What a local time is that exists twice or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Ambiguous {
    /// Twice: the earlier. Not at all: moved forward by the gap.
    #[default]
    Compatible,
    /// Twice: the earlier. Not at all: moved back by the gap.
    Earlier,
    /// Twice: the later. Not at all: moved forward by the gap.
    Later,
    /// Rejected.
    Reject,
}

/// How a field's instants are read: the first format that fits counts.
#[derive(Clone, Debug)]
pub(super) struct TimeReader {
    pub(super) formats: Vec<TimeFormat>,
    pub(super) zone: TimeZone,
    pub(super) ambiguous: Ambiguous,
}

/// The counts since 1970 by name, with their unit in nanoseconds.
pub(super) const EPOCHS: [(&str, i64); 6] = [
    ("epoch_ns", 1),
    ("epoch_us", 1_000),
    ("epoch_ms", 1_000_000),
    ("epoch_s", 1_000_000_000),
    ("epoch_minutes", 60_000_000_000),
    ("epoch_days", 86_400_000_000_000),
];

impl TimeFormat {
    /// The format with this name, or this strptime pattern.
    pub(super) fn parse(text: &str) -> Result<TimeFormat, String> {
        if text == "iso" {
            return Ok(TimeFormat::Iso);
        }
        if let Some((_, unit)) = EPOCHS.iter().find(|(name, _)| *name == text) {
            return Ok(TimeFormat::Epoch(*unit));
        }
        if !text.contains('%') {
            let names = EPOCHS.iter().map(|(name, _)| *name);
            return Err(super::document::unknown(
                "time format",
                text,
                names.chain(std::iter::once("iso")),
            ) + " (a pattern such as `%d/%m/%Y %H:%M` is possible too)");
        }
        // What the pattern itself writes, it must also read: this finds unknown directives now
        // instead of at the first row.
        let sample = Timestamp::from_second(981_173_106).unwrap_or(Timestamp::UNIX_EPOCH);
        let sample = sample.to_zoned(TimeZone::UTC);
        let written = strtime::format(text, &sample)
            .map_err(|error| format!("`{text}` is no time pattern: {error}"))?;
        match read_pattern(text, &written) {
            Some(_) => Ok(TimeFormat::Pattern(text.to_owned())),
            None => Err(format!(
                "the time pattern `{text}` does not say which day it is: it needs year, month and day"
            )),
        }
    }
}

/// The zone with an IANA name, from the built-in database.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    database().get(name).ok()
}

/// The built-in time zone database.
pub(super) fn database() -> &'static TimeZoneDatabase {
    static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    &DATABASE
}

/// An instant, or a local time still without a zone.
enum Read {
    Instant(Timestamp),
    Local(DateTime),
}

impl TimeReader {
    /// The instant that `text` names, to the millisecond below.
    pub(super) fn read(&self, text: &str) -> Result<TimeMs, &'static str> {
        let read = self.formats.iter().find_map(|format| match format {
            TimeFormat::Iso => read_iso(text),
            TimeFormat::Pattern(pattern) => read_pattern(pattern, text),
            TimeFormat::Epoch(unit) => read_epoch(text, *unit),
        });
        let instant = match read {
            None => return Err("is no time in the mapping's format"),
            Some(Read::Instant(instant)) => instant,
            Some(Read::Local(local)) => self.resolve(local)?,
        };
        Ok(TimeMs(instant.as_nanosecond().div_euclid(1_000_000) as i64))
    }

    fn resolve(&self, local: DateTime) -> Result<Timestamp, &'static str> {
        let found = self.zone.to_ambiguous_timestamp(local);
        match self.ambiguous {
            Ambiguous::Compatible => found.compatible(),
            Ambiguous::Earlier => found.earlier(),
            Ambiguous::Later => found.later(),
            Ambiguous::Reject if found.is_ambiguous() => {
                return Err(
                    "is a local time that exists twice or not at all in the mapping's zone",
                );
            }
            Ambiguous::Reject => found.unambiguous(),
        }
        .map_err(|_| "is outside the range of years -9999 to 9999")
    }
}

fn read_iso(text: &str) -> Option<Read> {
    let pieces = Pieces::parse(text).ok()?;
    let local = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or(Time::midnight()));
    if let Some(offset) = pieces.to_numeric_offset() {
        return offset.to_timestamp(local).ok().map(Read::Instant);
    }
    if pieces.time_zone_annotation().is_some() {
        let zone = pieces.to_time_zone_with(database()).ok()??;
        let instant = zone.to_ambiguous_timestamp(local).compatible();
        return instant.ok().map(Read::Instant);
    }
    Some(Read::Local(local))
}

fn read_pattern(pattern: &str, text: &str) -> Option<Read> {
    let broken = strtime::parse(pattern, text).ok()?;
    if broken.timestamp().is_some() || broken.offset().is_some() {
        return broken.to_timestamp().ok().map(Read::Instant);
    }
    if broken.iana_time_zone().is_some() {
        let zoned = broken.to_zoned_with(database());
        return zoned.ok().map(|z| Read::Instant(z.timestamp()));
    }
    let date = broken.to_date().ok()?;
    let time = match broken.hour() {
        Some(_) => broken.to_time().ok()?,
        None => Time::midnight(),
    };
    Some(Read::Local(DateTime::from_parts(date, time)))
}

fn read_epoch(text: &str, unit: i64) -> Option<Read> {
    let count = Decimal::parse(text, Notation::PLAIN)?;
    let unit = Decimal::parse(&unit.to_string(), Notation::PLAIN)?;
    let nanoseconds = count.times(unit)?;
    // In milliseconds first: nanoseconds of far years do not fit.
    let million = Decimal::parse("0.000001", Notation::PLAIN)?;
    let ms = nanoseconds.times(million)?.floor_scaled(0)?;
    Timestamp::from_millisecond(ms).ok().map(Read::Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone_name: &str, ambiguous: Ambiguous, text: &str) -> Option<String> {
        let reader = TimeReader {
            formats: vec![TimeFormat::parse(format).unwrap()],
            zone: zone(zone_name).unwrap(),
            ambiguous,
        };
        reader.read(text).ok().map(|t| t.to_string())
    }

    #[test]
    fn every_format_becomes_an_instant() {
        let cases = [
            (
                "iso",
                "UTC",
                "2011-03-01T08:26:00Z",
                Some("2011-03-01T08:26:00.000Z"),
            ),
            (
                "iso",
                "UTC",
                "2011-03-01T08:26:00+02:00",
                Some("2011-03-01T06:26:00.000Z"),
            ),
            (
                "iso",
                "UTC",
                "2011-03-01 08:26:00",
                Some("2011-03-01T08:26:00.000Z"),
            ),
            ("iso", "UTC", "2011-03-01", Some("2011-03-01T00:00:00.000Z")),
            (
                "iso",
                "UTC",
                "2011-03-01T08:26:00.1239",
                Some("2011-03-01T08:26:00.123Z"),
            ),
            (
                "iso",
                "Europe/London",
                "2011-07-01 08:26:00",
                Some("2011-07-01T07:26:00.000Z"),
            ),
            (
                "iso",
                "UTC",
                "2011-07-01T08:26:00[Europe/Paris]",
                Some("2011-07-01T06:26:00.000Z"),
            ),
            ("iso", "UTC", "2011-02-29", None),
            ("iso", "UTC", "soon", None),
            ("iso", "UTC", "", None),
            (
                "%m/%d/%Y %H:%M",
                "UTC",
                "12/1/2010 8:26",
                Some("2010-12-01T08:26:00.000Z"),
            ),
            (
                "%d.%m.%Y",
                "Europe/Berlin",
                "01.07.2024",
                Some("2024-06-30T22:00:00.000Z"),
            ),
            (
                "%Y%m%d",
                "UTC",
                "19970101",
                Some("1997-01-01T00:00:00.000Z"),
            ),
            ("%Y%m%d", "UTC", "19971301", None),
            (
                "%Y-%m-%d %H:%M:%S %z",
                "UTC",
                "2024-01-02 03:04:05 +0100",
                Some("2024-01-02T02:04:05.000Z"),
            ),
            (
                "epoch_s",
                "UTC",
                "1299000000",
                Some("2011-03-01T17:20:00.000Z"),
            ),
            (
                "epoch_s",
                "UTC",
                "1299000000.5",
                Some("2011-03-01T17:20:00.500Z"),
            ),
            (
                "epoch_ms",
                "Europe/London",
                "1659304800025",
                Some("2022-07-31T22:00:00.025Z"),
            ),
            (
                "epoch_us",
                "UTC",
                "1659304800025999",
                Some("2022-07-31T22:00:00.025Z"),
            ),
            (
                "epoch_ns",
                "UTC",
                "1659304800025999999",
                Some("2022-07-31T22:00:00.025Z"),
            ),
            (
                "epoch_minutes",
                "UTC",
                "27072628",
                Some("2021-06-22T10:28:00.000Z"),
            ),
            (
                "epoch_days",
                "UTC",
                "14669",
                Some("2010-03-01T00:00:00.000Z"),
            ),
            ("epoch_s", "UTC", "99999999999999999999", None),
            ("epoch_s", "UTC", "2011-03-01", None),
        ];
        for (format, zone, text, expected) in cases {
            let found = read(format, zone, Ambiguous::Compatible, text);
            assert_eq!(found.as_deref(), expected, "{format} {zone} {text}");
        }
    }

    #[test]
    fn local_times_that_exist_twice_or_not_at_all_are_decided() {
        use Ambiguous::{Compatible, Earlier, Later, Reject};
        // Clocks went forward at 01:00 on 2011-03-27 and back at 02:00 on 2011-10-30.
        let (gap, fold) = ("2011-03-27 01:30:00", "2011-10-30 01:30:00");
        let cases = [
            (Compatible, gap, Some("2011-03-27T01:30:00.000Z")),
            (Earlier, gap, Some("2011-03-27T00:30:00.000Z")),
            (Later, gap, Some("2011-03-27T01:30:00.000Z")),
            (Reject, gap, None),
            (Compatible, fold, Some("2011-10-30T00:30:00.000Z")),
            (Earlier, fold, Some("2011-10-30T00:30:00.000Z")),
            (Later, fold, Some("2011-10-30T01:30:00.000Z")),
            (Reject, fold, None),
            (
                Reject,
                "2011-10-30 03:30:00",
                Some("2011-10-30T03:30:00.000Z"),
            ),
        ];
        for (ambiguous, text, expected) in cases {
            let found = read("iso", "Europe/London", ambiguous, text);
            assert_eq!(found.as_deref(), expected, "{ambiguous:?} {text}");
        }
    }

    #[test]
    fn patterns_are_checked_when_the_mapping_is_read() {
        for bad in ["%Y-%m-%", "%H:%M", "epoch_sec", "%Q-%d", "yyyy-mm-dd"] {
            assert!(TimeFormat::parse(bad).is_err(), "{bad}");
        }
        let near = TimeFormat::parse("epoch_mins").unwrap_err();
        assert!(near.contains("epoch_m"), "{near}");
    }
}
