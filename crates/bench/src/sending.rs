//! Handing records to a producer whose queue may be full.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};

use crate::error::BenchError;

/// What the wrapper's flush would wait for in one go is waited for in steps of this.
pub(crate) const DRAIN_STEP: Duration = Duration::from_millis(1);

/// Hands a record to the producer, waiting for room where there is none.
pub(crate) fn send<C: ProducerContext<DeliveryOpaque = ()>>(
    producer: &BaseProducer<C>,
    record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), BenchError> {
    let mut record = record;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(DRAIN_STEP);
                record = back;
            }
            Err((source, _)) => {
                return Err(BenchError::Kafka {
                    what: "producing a record",
                    source,
                });
            }
        }
    }
}
