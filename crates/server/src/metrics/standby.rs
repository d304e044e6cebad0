//! What is told of tasks that are kept warm for others.

use prometheus::IntGauge;

use super::Metrics;

/// The metrics of a task that is kept warm here. Dropping them takes it out of the gauges.
#[derive(Debug)]
pub struct StandbyMetrics {
    lag: IntGauge,
    all: Metrics,
    task: String,
}

impl Metrics {
    /// So many instances are to keep each task warm besides its owner.
    pub fn standby_copies(&self, copies: u32) {
        self.standby_copies.set(i64::from(copies));
    }

    /// The metrics of a task that is kept warm; to be bound once for as long as it is.
    #[must_use]
    pub fn standby(&self, task: u32) -> StandbyMetrics {
        self.standby_tasks.inc();
        let task = task.to_string();
        StandbyMetrics {
            lag: self.standby_lag.with_label_values(&[task.as_str()]),
            all: self.clone(),
            task,
        }
    }
}

impl StandbyMetrics {
    /// `records` more of its changelog were read.
    pub fn followed(&self, records: u64) {
        self.all.standby_records.inc_by(records);
    }

    /// So many offsets are left to read.
    pub fn behind(&self, offsets: u64) {
        self.lag.set(i64::try_from(offsets).unwrap_or(i64::MAX));
    }
}

impl Drop for StandbyMetrics {
    fn drop(&mut self) {
        // It was bound in `Metrics::standby`, so there is something to remove.
        let label = [self.task.as_str()];
        let _ = self.all.standby_lag.remove_label_values(&label);
        self.all.standby_tasks.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_standby_is_told_of_for_as_long_as_it_is_kept() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.standby_copies(1);
        let first = metrics.standby(3);
        let second = metrics.standby(5);
        first.followed(7);
        second.followed(2);
        second.behind(11);
        let text = || crate::text(&registry).unwrap();
        for line in [
            "clvstream_standby_copies 1",
            "clvstream_standby_tasks 2",
            "clvstream_standby_lag_records{task=\"3\"} 0",
            "clvstream_standby_lag_records{task=\"5\"} 11",
            "clvstream_standby_records_total 9",
        ] {
            assert!(text().contains(line), "{line} is not in\n{}", text());
        }
        drop(second);
        assert!(text().contains("clvstream_standby_tasks 1"));
        assert!(!text().contains("task=\"5\""));
        drop(first);
        assert!(!text().contains("clvstream_standby_lag_records"));
    }
}
