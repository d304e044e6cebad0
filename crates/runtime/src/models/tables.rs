//! The histograms that tasks keep of their customers, added up: all that a fit to the present needs.

use clv::histogram::{OrderHistogram, SpendHistogram};
use domain::time::TimeMs;
use engine::cells::histograms;
use engine::worker::Owned;
use store::TaskStore;

use super::document::Window;
use crate::error::RuntimeError;

/// All customers of some tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// By repeat orders, first day and last day.
    pub orders: OrderHistogram,
    /// By repeat orders and magnitude of what they came to.
    pub spend: SpendHistogram,
    /// How far time has come with the tasks.
    stream_time: Option<TimeMs>,
}

impl Tables {
    /// Those of `tasks`.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn of(tasks: &[Owned<TaskStore>]) -> Result<Tables, RuntimeError> {
        let mut tables = Tables::default();
        for owned in tasks {
            let (orders, spend) = histograms(&owned.store)?;
            tables.orders.merge(&orders);
            tables.spend.merge(&spend);
        }
        tables.stream_time = stream_time(tasks);
        Ok(tables)
    }

    /// From the day of the first order to that of stream time; `None` where there is no customer with an order.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let first = self.orders.iter().map(|(_, first, ..)| first).min()?;
        let last = self.orders.iter().map(|(_, _, last, _)| last).max()?;
        let present = self.stream_time.map_or(last, TimeMs::day);
        Some(Window {
            first,
            until: last.max(present),
        })
    }
}

/// How far time has come with the task that is furthest; `None` where nothing was consumed.
pub(super) fn stream_time(tasks: &[Owned<TaskStore>]) -> Option<TimeMs> {
    let times = tasks.iter().map(|o| o.task.bookkeeping().clock.stream_time);
    // A task that has consumed nothing stands at the beginning of time.
    times.filter(|time| *time > TimeMs::MIN).max()
}
