//! Deleting what nobody reads any more: routed records behind their task's committed position, and
//! whole topics when that is asked for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use engine::port::TopicPartition;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;

use crate::cluster::{Cluster, list_of};
use crate::context::Plain;
use crate::error::{KafkaLogError, words};

/// How long the request may take.
const REQUEST: Duration = Duration::from_secs(10);

impl Cluster {
    /// Deletes the routed records of `tasks` tasks that have been consumed; answers of how many
    /// partitions.
    ///
    /// # Errors
    /// The cluster does not answer, or does not permit it.
    pub fn purge_routed(&self, tasks: u32) -> Result<usize, KafkaLogError> {
        let routed = (0..tasks).map(|partition| TopicPartition {
            topic: Arc::clone(&self.topics().routed),
            partition,
        });
        let mut consumed = Vec::new();
        for (at, position) in self.positions(&routed.collect::<Vec<_>>())? {
            // Where nothing was consumed since the last time there is nothing to ask for.
            if let Some(position) = position
                && self.bounds(&at)?.0 < position
            {
                consumed.push((at, position));
            }
        }
        if consumed.is_empty() {
            return Ok(0);
        }
        let admin = AdminClient::from_config_and_context(&self.settings().admin(), Plain)
            .map_err(KafkaLogError::Client)?;
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let list = list_of(&consumed)?;
        let deleted = wait_for(admin.delete_records(&list, &options));
        let deleted = deleted.map_err(|e| KafkaLogError::failed("deleting routed records", e))?;
        for (at, _) in &consumed {
            let element = deleted.find_partition(&at.topic, at.partition.cast_signed());
            if let Some(Err(error)) = element.map(|e| e.error()) {
                let what = format!("{}: {error}", words(at));
                return Err(KafkaLogError::failed("deleting routed records", what));
            }
        }
        Ok(consumed.len())
    }
}

impl Cluster {
    /// Deletes topics. One that there is not is no error.
    ///
    /// # Errors
    /// The cluster does not answer, or does not permit it.
    pub fn delete_topics(&self, names: &[String]) -> Result<(), KafkaLogError> {
        if names.is_empty() {
            return Ok(());
        }
        let admin = AdminClient::from_config_and_context(&self.settings().admin(), Plain)
            .map_err(KafkaLogError::Client)?;
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let deleted = wait_for(admin.delete_topics(&names, &options));
        let deleted = deleted.map_err(|e| KafkaLogError::failed("deleting topics", e))?;
        for result in deleted {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((name, code)) => {
                    return Err(KafkaLogError::failed(
                        "deleting topics",
                        format!("{name}: {code}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer, on this thread.
fn wait_for<F: Future>(answer: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut answer = pin!(answer);
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}
