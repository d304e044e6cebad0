//! What the process shows of itself: metrics, liveness and readiness over HTTP.
//!
//! Invariants:
//! - Nothing here can hold up processing: workers touch atomics and, rarely, a short lock.
//! - The set of metrics is closed and declared in one place; no label ever names a customer.
//! - The server listens where it is told to; that this is loopback unless configured otherwise is
//!   held by the configuration.

mod family;
mod health;
mod http;
mod metrics;
mod reference;

pub use health::{Heartbeat, Liveness, Readiness, Restoring, Stalled, Status};
pub use http::{Server, ServerError, Shown};
pub use metrics::{
    CommitOutcome, Fencing, Metrics, Outcome, Rebalance, Rebuild, RefitOutcome, RegisterError,
    RetentionOutcome, StandbyMetrics, TaskMetrics,
};
pub use prometheus::IntCounter;
pub use reference::reference;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

/// A registry that holds the usual metrics of the process itself.
///
/// # Errors
/// They cannot be registered.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Everything that `registry` holds, in the text format.
///
/// # Errors
/// It cannot be written in that format.
pub fn text(registry: &Registry) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
