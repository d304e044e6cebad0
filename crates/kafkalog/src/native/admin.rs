//! Administration of a cluster by librdkafka's own calls: what rust-rdkafka's `AdminClient` lacks
//! (topic ids, incremental changes, access control), and its answers with the broker's own words.
//!
//! Every call is one request and waits for its one event. What comes back is copied into plain data
//! before the event goes, so that no pointer leaves this module. Here are the connection and the way of a
//! request; what is asked and answered is in a module for each subject.
//!
//! Proof obligations that all blocks share:
//! - *client*: `rk` comes from a [`BaseProducer`] that `self` owns and outlives every call;
//! - *own objects*: what a `_new` function returned is held by [`Owned`](raw::Owned), checked for null, and
//!   destroyed once, by the function that librdkafka names for it;
//! - *results*: what librdkafka's getters find in an event of their kind is valid until the event is
//!   destroyed, which [`Event`](raw::Event) does at its end, after the last copy; arrays have as many
//!   elements as their getter tells;
//! - *texts*: librdkafka's texts are null or end with a null byte.

mod acls;
mod cluster;
mod groups;
mod offsets;
mod raw;
mod settings;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use sys::rd_kafka_admin_op_t as Operation;

use raw::{ErrorText, Event, Owned, ms};

pub(crate) use acls::AclRule;
pub(crate) use cluster::Nodes;
pub(crate) use groups::{DescribedGroup, DescribedMember};
pub(crate) use offsets::End;
pub(crate) use topics::{Description, NewTopic};

/// What a broker or librdkafka answered to a request, in its own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// Kafka's error code; negative ones are librdkafka's own.
    pub(crate) code: i32,
    /// What went wrong.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) const TIMED_OUT: i32 = -185;
    pub(crate) const UNKNOWN_TOPIC: i32 = 3;
    pub(crate) const TOPIC_UNAUTHORIZED: i32 = 29;
    pub(crate) const CLUSTER_UNAUTHORIZED: i32 = 31;
    pub(crate) const TOPIC_EXISTS: i32 = 36;
    pub(crate) const SECURITY_DISABLED: i32 = 54;
    const INVALID_ARGUMENT: i32 = -186;

    fn invalid(message: impl fmt::Display) -> Refusal {
        Refusal {
            code: Refusal::INVALID_ARGUMENT,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What was answered for each topic, by name.
pub(crate) type ByTopic<T> = BTreeMap<String, Result<T, Refusal>>;

/// A connection for administration.
pub(crate) struct Admin {
    client: BaseProducer<LastError>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Keeps the last error of the connection: a request that times out says nothing of its cause.
#[derive(Default)]
struct LastError(Mutex<Option<String>>);

impl LastError {
    fn put(&self, message: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for LastError {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        // "All brokers down" comes after the error that says why, and says less.
        if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::AllBrokersDown) {
            self.put(reason.to_owned());
        }
    }
}

impl ProducerContext for LastError {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

const FIND_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a broker waits until a change is known in the cluster, before it says that it is late.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// An event comes after its request's timeout at the latest; beyond this much more, none does.
const OVERDUE: Duration = Duration::from_secs(10);
/// How often errors of the connection are collected while an answer is awaited.
const POLL: Duration = Duration::from_millis(100);

impl Admin {
    /// A client with these librdkafka properties. It does not wait for the cluster.
    pub(crate) fn new(properties: &[(String, String)]) -> Result<Admin, KafkaError> {
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(name, value);
        }
        let client = BaseProducer::from_config_and_context(&config, LastError::default())?;
        Ok(Admin { client })
    }

    /// Sends one request and waits for its event.
    fn call(
        &self,
        operation: Operation,
        timeout: Duration,
        send: impl FnOnce(
            *mut sys::rd_kafka_t,
            *const sys::rd_kafka_AdminOptions_t,
            *mut sys::rd_kafka_queue_t,
        ),
    ) -> Result<Event, Refusal> {
        let rk = self.client.client().native_ptr();
        // SAFETY: client; own objects.
        let queue =
            unsafe { Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)? };
        // SAFETY: client; own objects.
        let options = unsafe {
            Owned::new(
                sys::rd_kafka_AdminOptions_new(rk, operation),
                sys::rd_kafka_AdminOptions_destroy,
            )?
        };
        let (queue_at, options_at) = (queue.pointer(), options.pointer());
        let mut message = ErrorText::new();
        let (error, size) = message.parts();
        // SAFETY: the options are valid; the buffer for the error has the size that is told. The
        // arguments are within the bounds that rdkafka.h gives, so the answer is always 0.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(options_at, ms(timeout), error, size);
            if operation == Operation::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER {
                let refused =
                    sys::rd_kafka_AdminOptions_set_include_authorized_operations(options_at, 1);
                if !refused.is_null() {
                    sys::rd_kafka_error_destroy(refused);
                }
            }
            if operation == Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS {
                let settle = ms(SETTLE_TIMEOUT);
                sys::rd_kafka_AdminOptions_set_operation_timeout(options_at, settle, error, size);
            }
        }
        send(rk, options_at, queue_at);
        let overdue = Instant::now() + timeout + OVERDUE;
        loop {
            // SAFETY: the queue is valid.
            let event = unsafe { Event::of(queue_at, POLL) };
            // Serves errors of the connection, and the refresh of tokens.
            self.client.poll(Duration::ZERO);
            if let Some(event) = event {
                return match event.failure() {
                    None => Ok(event),
                    Some(refusal) => Err(self.explained(refusal)),
                };
            }
            if Instant::now() > overdue {
                return Err(self.unanswered("no answer"));
            }
        }
    }

    /// What was refused; of a request that timed out, with what the connection says of the cause.
    fn explained(&self, refusal: Refusal) -> Refusal {
        match refusal.code {
            Refusal::TIMED_OUT => self.unanswered(&refusal.message),
            _ => refusal,
        }
    }

    /// A request that timed out, with what the connection says of the cause.
    fn unanswered(&self, message: &str) -> Refusal {
        let message = match self.client.context().get() {
            Some(cause) => cause,
            None => message.to_owned(),
        };
        Refusal {
            code: Refusal::TIMED_OUT,
            message,
        }
    }
}
