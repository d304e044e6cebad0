//! Stream time in quiet hours: the wall clock moves it on after a while without records.

use std::time::Duration;

use domain::time::{DAY_MS, TimeMs};
use wire::routed::Routed;

use super::{Voice, controls};
use crate::configured::millis;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::workers::{Shared, wall_clock};

/// Quiet hours move stream time by the wall clock only where it is this close to it already: a
/// shop's history that was loaded does not age to today of itself.
const LIVE_WITHIN_MS: i64 = 7 * DAY_MS;

/// After a while without records, lets all tasks know what time it is.
pub(crate) fn tick_if_quiet(deployment: &Deployment, shared: &Shared) -> Result<(), RuntimeError> {
    let now = wall_clock();
    let (quiet_since, stream_time) = (shared.last_progress(), shared.stream_time());
    let idle_after = deployment.config.time.idle_after;
    if !is_tick_due(now, quiet_since, stream_time, idle_after) || deployment.lag()? > 0 {
        return Ok(());
    }
    let records = controls(deployment, &Routed::Tick { now });
    Voice::default().say(deployment, "ticks", &records)
}

/// Whether it has been quiet for so long that the clock is to move stream time, and stream time is
/// so near that it may.
fn is_tick_due(
    now: TimeMs,
    quiet_since: TimeMs,
    stream_time: TimeMs,
    idle_after: Duration,
) -> bool {
    now.since(quiet_since) >= millis(idle_after) && now.since(stream_time) <= LIVE_WITHIN_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_in_quiet_hours_of_a_live_shop_only() {
        let now = TimeMs(1_795_000_000_000);
        let minute = 60_000;
        for (quiet_ms, behind_ms, due) in [
            (minute - 1, 0, false),
            (minute, 0, true),
            (minute, LIVE_WITHIN_MS, true),
            (minute, LIVE_WITHIN_MS + 1, false),
            (minute, -5 * minute, true),
        ] {
            let (quiet_since, stream_time) = (now.minus(quiet_ms), now.minus(behind_ms));
            let idle_after = Duration::from_secs(60);
            assert_eq!(
                is_tick_due(now, quiet_since, stream_time, idle_after),
                due,
                "quiet for {quiet_ms} ms, behind by {behind_ms} ms"
            );
        }
        let before_any_record = TimeMs(0);
        assert!(!is_tick_due(
            now,
            before_any_record,
            before_any_record,
            Duration::ZERO
        ));
    }
}
