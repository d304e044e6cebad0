//! Adding positions to a transaction, on a thread of its own with a deadline.
//!
//! librdkafka's call waits without end for its own answer, whatever timeout it is given. After a broker
//! was killed that answer was seen not to come for more than a minute (2.12.1: `rd_kafka_coord_req_fsm`
//! goes on when the state of a connection changes, and looks at no clock). The worker would stand
//! still, its tasks with it. Once the broker has ended the transaction there is nothing to wait for: the producer is given
//! up, and goes when its call returns.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::native::TransactionError;

type Positions = (TopicPartitionList, ConsumerGroupMetadata);
type Answer = Result<(), TransactionError>;

/// Adds positions for one producer.
pub(crate) struct Adding {
    /// `None`: it is over.
    asks: Option<mpsc::Sender<Positions>>,
    answers: mpsc::Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Adding {
    /// `add` is made on a thread of its own, again and again.
    pub(crate) fn new(add: impl Fn(&Positions) -> Answer + Send + 'static) -> Adding {
        let (asks, asked) = mpsc::channel::<Positions>();
        let (answer, answers) = mpsc::channel();
        let thread = thread::Builder::new().name("positions".to_owned());
        let thread = thread.spawn(move || {
            for positions in asked {
                if answer.send(add(&positions)).is_err() {
                    return;
                }
            }
        });
        Adding {
            asks: Some(asks),
            answers,
            // Without a thread nobody answers.
            thread: thread.ok(),
        }
    }

    /// Adds `positions`; an error that is not classified if that takes longer than `patience`. Nothing
    /// can be added after that.
    pub(crate) fn add(&mut self, positions: Positions, patience: Duration) -> Answer {
        let asked = self.asks.as_ref().map(|asks| asks.send(positions));
        if let Some(Ok(())) = asked
            && let Ok(answer) = self.answers.recv_timeout(patience)
        {
            return answer;
        }
        self.asks = None;
        // Nobody waits for it.
        self.thread = None;
        Err(TransactionError {
            code: RDKafkaErrorCode::OperationTimedOut,
            fatal: false,
            retriable: false,
            abortable: false,
            text: format!("positions were not added within {patience:?}"),
        })
    }
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn positions() -> Positions {
        use rdkafka::config::ClientConfig;
        use rdkafka::consumer::{BaseConsumer, Consumer};
        let consumer: BaseConsumer = ClientConfig::new().set("group.id", "g").create().unwrap();
        (
            TopicPartitionList::new(),
            consumer.group_metadata().unwrap(),
        )
    }

    #[test]
    fn an_answer_is_that_of_the_call() {
        let mut adding = Adding::new(|_| Ok(()));
        for _ in 0..3 {
            assert_eq!(adding.add(positions(), Duration::from_secs(60)), Ok(()));
        }
    }

    #[test]
    fn a_call_that_does_not_return_is_given_up_and_held_by_nobody() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let waits = Arc::clone(&gate);
        let mut adding = Adding::new(move |_| {
            drop(waits.lock());
            Ok(())
        });
        for _ in 0..2 {
            let given_up = adding
                .add(positions(), Duration::from_millis(1))
                .unwrap_err();
            assert_eq!(given_up.code, RDKafkaErrorCode::OperationTimedOut);
            assert!(!given_up.retriable && !given_up.abortable);
        }
        // Does not wait for the call.
        drop(adding);
        drop(closed);
    }
}
