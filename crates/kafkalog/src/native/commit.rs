//! Committing a transaction by librdkafka's own call. The wrapper's flushes by polling 100 ms at a
//! time first; here delivery reports are served by the producer's own thread meanwhile.

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};

/// Why a step of a transaction did not succeed, as librdkafka says it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text} ({code:?})")]
pub(crate) struct TransactionError {
    pub(crate) code: RDKafkaErrorCode,
    /// The producer cannot be used any more.
    pub(crate) fatal: bool,
    /// The same call may be repeated.
    pub(crate) retriable: bool,
    /// The transaction has to be aborted.
    pub(crate) abortable: bool,
    pub(crate) text: String,
}

/// Sends what is staged and commits the transaction, at most `timeout` long; may be repeated when
/// it has timed out.
pub(crate) fn commit_transaction<C: ProducerContext + 'static>(
    producer: &ThreadedProducer<C, NoCustomPartitioner>,
    timeout: Duration,
) -> Result<(), TransactionError> {
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives as long as the borrowed producer; the error is ours and destroyed
    // once, after everything in it was copied.
    unsafe {
        let error = sys::rd_kafka_commit_transaction(producer.client().native_ptr(), timeout);
        if error.is_null() {
            return Ok(());
        }
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error));
        let owned = TransactionError {
            code: sys::rd_kafka_error_code(error).into(),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abortable: sys::rd_kafka_error_txn_requires_abort(error) != 0,
            text: text.to_string_lossy().into_owned(),
        };
        sys::rd_kafka_error_destroy(error);
        Err(owned)
    }
}
