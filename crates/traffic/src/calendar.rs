//! When a shop is busy: hour of day, weekday, season.
//!
//! Seasonality is a change of clock. *Activity time* runs as fast as the shop is busy: on average
//! one millisecond of it per millisecond, twice that on a pre-Christmas evening. Whatever happens
//! at a constant rate in activity time happens with the season in real time, and needs no draws
//! thrown away. Both directions are piecewise linear and in integers.

use domain::time::{DAY_MS, Day, HOUR_MS, TimeMs};

use crate::random::Random;

/// Thousandths of the average hour, by hour of the day in UTC.
const HOURS: [u32; 24] = [
    280, 180, 130, 110, 120, 210, 450, 750, 950, 1100, 1180, 1230, 1270, 1230, 1220, 1230, 1280,
    1380, 1560, 1800, 2020, 1980, 1500, 840,
];
const HOURS_SUM: i128 = 24_000;
/// Thousandths of the average weekday, from Monday.
const WEEKDAYS: [i64; 7] = [1020, 970, 960, 970, 950, 980, 1150];

/// Thousandths of an ordinary day, by month and day of the month: sales in January, a quiet
/// summer, and a rise from late November to the last day of delivery before Christmas.
fn season(month: i8, day: i8) -> i64 {
    match (month, day) {
        (1, 2..=15) => 1_150,
        (1, _) => 900,
        (7 | 8, _) => 880,
        (11, 1..=19) => 1_100,
        (11, _) => 1_550,
        (12, 1..=19) => 1_500 + 30 * i64::from(day),
        (12, 20..=23) => 1_400,
        (12, 24..=26) => 450,
        _ => 1_000,
    }
}

/// How busy the shop is over a span of days.
pub(crate) struct Calendar {
    first: Day,
    /// Activity time at the start of each day, and at the end of the last.
    days: Vec<i64>,
}

impl Calendar {
    /// From the day of `start` to the day of `end`.
    pub(crate) fn new(start: TimeMs, end: TimeMs) -> Calendar {
        let (first, last) = (start.day(), end.day());
        let mut days = vec![0];
        let mut total = 0;
        for day in first.0..=last.0 {
            total += DAY_MS * weight_per_mille(Day(day)) / 1000;
            days.push(total);
        }
        Calendar { first, days }
    }

    /// Activity time at an instant of the span.
    pub(crate) fn activity_at(&self, time: TimeMs) -> i64 {
        let since = time.since(self.first.start()).max(0);
        let day = ((since / DAY_MS) as usize).min(self.days.len() - 2);
        let in_day = (since - day as i64 * DAY_MS).min(DAY_MS);
        let hour = ((in_day / HOUR_MS) as usize).min(23);
        let in_hour = i128::from(in_day - hour as i64 * HOUR_MS);
        let before: u32 = HOURS[..hour].iter().sum();
        let share = i128::from(before) * i128::from(HOUR_MS) + i128::from(HOURS[hour]) * in_hour;
        let mass = i128::from(self.days[day + 1] - self.days[day]);
        self.days[day] + (mass * share / (HOURS_SUM * i128::from(HOUR_MS))) as i64
    }

    /// The instant at which activity time reaches that value; `None` after the last day.
    pub(crate) fn instant_of(&self, activity: i64) -> Option<TimeMs> {
        let day = self
            .days
            .partition_point(|&start| start <= activity)
            .checked_sub(1)?;
        let (start, end) = (self.days[day], *self.days.get(day + 1)?);
        let share = i128::from(activity - start) * HOURS_SUM * i128::from(HOUR_MS)
            / i128::from(end - start);
        Some(
            self.first
                .start()
                .plus(day as i64 * DAY_MS + in_day_ms(share as i64)),
        )
    }
}

/// How busy a day is, in thousandths of the average day.
fn weight_per_mille(day: Day) -> i64 {
    // 1970-01-01 was a Thursday, the fourth day from Monday.
    let weekday = WEEKDAYS[(i64::from(day.0) + 3).rem_euclid(7) as usize];
    let date = jiff::Timestamp::from_millisecond(day.start().0)
        .map(|instant| jiff::tz::Offset::UTC.to_datetime(instant));
    // Only years beyond 9999 have no date; they have no season either.
    let season = date.map_or(1_000, |date| season(date.month(), date.day()));
    weekday * season / 1000
}

/// Milliseconds since midnight at which a share of the day's activity is reached. The share is in
/// hour weights times milliseconds, so that a whole day is `HOURS_SUM · HOUR_MS`.
fn in_day_ms(share: i64) -> i64 {
    let mut left = share;
    for (hour, &weight) in HOURS.iter().enumerate() {
        let hour_share = i64::from(weight) * HOUR_MS;
        if left < hour_share {
            return hour as i64 * HOUR_MS + left / i64::from(weight);
        }
        left -= hour_share;
    }
    DAY_MS - 1
}

/// A random time of day, in milliseconds since midnight, as likely as the shop is busy then.
pub(crate) fn time_of_day(random: &mut Random) -> i64 {
    in_day_ms(random.below((HOURS_SUM as u64) * (HOUR_MS as u64)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TimeMs = TimeMs(1_704_067_200_000); // 2024-01-01, a Monday

    fn at(day: i64, hour: i64) -> TimeMs {
        START.plus(day * DAY_MS + hour * HOUR_MS)
    }

    #[test]
    fn weights_average_to_one() {
        assert_eq!(i128::from(HOURS.iter().sum::<u32>()), HOURS_SUM);
        assert_eq!(WEEKDAYS.iter().sum::<i64>(), 7_000);
        let calendar = Calendar::new(START, at(365, 0));
        let year = calendar.activity_at(at(366, 0)) as f64 / (366 * DAY_MS) as f64;
        assert!((0.98..1.1).contains(&year), "{year}");
    }

    #[test]
    fn both_directions_agree() {
        let calendar = Calendar::new(START, at(400, 0));
        let mut random = Random::new(5, 5);
        let mut last = (TimeMs::MIN, 0);
        for step in 0..2_000_i64 {
            let time = START.plus(step * (400 * DAY_MS) / 2_000 + random.between(0, 60_000));
            let activity = calendar.activity_at(time);
            let back = calendar.instant_of(activity).unwrap();
            assert!(back.since(time).abs() <= 50, "{time} came back as {back}");
            assert!(
                time > last.0 && activity > last.1,
                "activity stands still at {time}"
            );
            last = (time, activity);
        }
        assert_eq!(calendar.instant_of(i64::MAX), None);
        assert_eq!(calendar.activity_at(START.minus(1)), 0);
    }

    #[test]
    fn busy_when_shops_are() {
        let rate = |from: TimeMs, to: TimeMs| {
            let calendar = Calendar::new(START, at(365, 0));
            (calendar.activity_at(to) - calendar.activity_at(from)) as f64 / to.since(from) as f64
        };
        assert!(
            rate(at(10, 20), at(10, 21)) > 10.0 * rate(at(10, 3), at(10, 4)),
            "evening, night"
        );
        assert!(
            rate(at(6, 0), at(7, 0)) > 1.1 * rate(at(4, 0), at(5, 0)),
            "Sunday, Friday"
        );
        assert!(
            rate(at(335, 0), at(349, 0)) > 1.4 * rate(at(244, 0), at(258, 0)),
            "December"
        );
    }
}
