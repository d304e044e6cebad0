//! Administration of a cluster by librdkafka's own calls: what rust-rdkafka's `AdminClient` lacks
//! (topic ids, incremental changes, access control), and its answers with the broker's own words.
//!
//! Every call is one request and waits for its one event. What comes back is copied into plain data
//! before the event goes, so that no pointer leaves this module.
//!
//! Proof obligations that all blocks share:
//! - *client*: `rk` comes from a [`BaseProducer`] that `self` owns and outlives every call;
//! - *own objects*: what a `_new` function returned is held by [`Owned`], checked for null, and
//!   destroyed once, by the function that librdkafka names for it;
//! - *results*: what is read from an event is valid until the event is destroyed, which [`Event`]
//!   does at its end, after the last copy;
//! - *texts*: librdkafka's texts are null or end with a null byte.

mod groups;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

pub(crate) use groups::{DescribedGroup, DescribedMember};

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

/// A topic as its cluster has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Description {
    /// The id that a topic gets when it is created.
    pub(crate) id: String,
    pub(crate) partitions: u32,
    /// Partitions that have a leader.
    pub(crate) led: u32,
    /// Replicas of the partition that has the fewest.
    pub(crate) replicas: u32,
}

/// A cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Nodes {
    pub(crate) cluster: String,
    pub(crate) brokers: Vec<i32>,
    /// Whether this client may describe the cluster, and so see its access rules.
    pub(crate) may_describe: bool,
}

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) settings: Vec<(&'a str, &'a str)>,
}

/// A rule of access control in Kafka's own numbers (`AclOperation`, `ResourceType`, …).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AclRule {
    pub(crate) resource: i32,
    pub(crate) pattern: i32,
    pub(crate) name: String,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: i32,
    pub(crate) permission: i32,
}

/// Which end of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    First,
    Last,
}

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

// The same functions as in `rdkafka::bindings`, which declares their numbers as Rust enumerations: a
// number that a newer broker sends and the binding does not know would be undefined behaviour.
// C compilers pass these enumerations as 32 bits, whether signed or not.
unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    fn rd_kafka_topic_result_error(result: *const sys::rd_kafka_topic_result_t) -> c_int;
    fn rd_kafka_ConfigResource_error(config: *const sys::rd_kafka_ConfigResource_t) -> c_int;
    fn rd_kafka_DescribeCluster_result_authorized_operations(
        result: *const sys::rd_kafka_DescribeCluster_result_t,
        count: *mut usize,
    ) -> *const c_int;
    fn rd_kafka_AclBinding_restype(acl: *const sys::rd_kafka_AclBinding_t) -> c_int;
    fn rd_kafka_AclBinding_resource_pattern_type(acl: *const sys::rd_kafka_AclBinding_t) -> c_int;
    fn rd_kafka_AclBinding_operation(acl: *const sys::rd_kafka_AclBinding_t) -> c_int;
    fn rd_kafka_AclBinding_permission_type(acl: *const sys::rd_kafka_AclBinding_t) -> c_int;
    fn rd_kafka_AclBinding_new(
        resource: c_int,
        name: *const c_char,
        pattern: c_int,
        principal: *const c_char,
        host: *const c_char,
        operation: c_int,
        permission: c_int,
        error: *mut c_char,
        error_size: usize,
    ) -> *mut sys::rd_kafka_AclBinding_t;
    fn rd_kafka_AclBindingFilter_new(
        resource: c_int,
        name: *const c_char,
        pattern: c_int,
        principal: *const c_char,
        host: *const c_char,
        operation: c_int,
        permission: c_int,
        error: *mut c_char,
        error_size: usize,
    ) -> *mut sys::rd_kafka_AclBindingFilter_t;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
}

use sys::rd_kafka_ResourceType_t as ResourceType;
use sys::rd_kafka_admin_op_t as Operation;

const FIND_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a broker waits until a change is known in the cluster, before it says that it is late.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// An event comes after its request's timeout at the latest; beyond this much more, none does.
const OVERDUE: Duration = Duration::from_secs(10);
/// How often errors of the connection are collected while an answer is awaited.
const POLL: Duration = Duration::from_millis(100);
/// `AclOperation` of describing.
const DESCRIBE: c_int = 8;
/// Enum value `ANY` of resource types, patterns, operations and permissions alike.
const ANY: c_int = 1;

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

    /// The cluster's id and brokers, and whether this client may describe it.
    pub(crate) fn cluster(&self) -> Result<Nodes, Refusal> {
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let event = self.call(operation, FIND_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; options and queue live until `call` returns.
            unsafe { sys::rd_kafka_DescribeCluster(rk, options, queue) };
        })?;
        // SAFETY: results; the event is of this kind, or the result is null and not read; arrays have as
        // many elements as their getter tells.
        unsafe {
            let result = sys::rd_kafka_event_DescribeCluster_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let nodes = sys::rd_kafka_DescribeCluster_result_nodes(result, &raw mut count);
            let brokers = array(nodes, count).iter();
            let brokers = brokers.map(|node| sys::rd_kafka_Node_id(*node)).collect();
            let allowed = rd_kafka_DescribeCluster_result_authorized_operations;
            let allowed = allowed(result, &raw mut count);
            let allowed = match allowed.is_null() {
                true => None,
                false => Some(std::slice::from_raw_parts(allowed, count)),
            };
            Ok(Nodes {
                cluster: text(sys::rd_kafka_DescribeCluster_result_cluster_id(result)),
                brokers,
                may_describe: allowed.is_none_or(|allowed| allowed.contains(&DESCRIBE)),
            })
        }
    }

    /// Topics by name; of those that there are not, or that may not be seen, the reason.
    pub(crate) fn topics(&self, names: &[&str]) -> Result<ByTopic<Description>, Refusal> {
        let names: Vec<CString> = names
            .iter()
            .map(|name| c_text(name))
            .collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the array has as many texts as are told, which are copied; own objects.
        let collection = unsafe {
            Owned::new(
                sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), names.len()),
                sys::rd_kafka_TopicCollection_destroy,
            )?
        };
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; the collection outlives the call, which copies it.
            unsafe { sys::rd_kafka_DescribeTopics(rk, collection.0, options, queue) };
        })?;
        // SAFETY: results; arrays have as many elements as their getter tells.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            let described = array(topics, count).iter().map(|topic| {
                let name = text(sys::rd_kafka_TopicDescription_name(*topic));
                let error = sys::rd_kafka_TopicDescription_error(*topic);
                (
                    name,
                    refusal(error).map_or_else(|| Ok(description(*topic)), Err),
                )
            });
            Ok(described.collect())
        }
    }

    /// The settings in force of each topic, by name; of those that may not be seen, the reason.
    pub(crate) fn settings(
        &self,
        names: &[&str],
    ) -> Result<ByTopic<BTreeMap<String, String>>, Refusal> {
        self.settings_of(ResourceType::RD_KAFKA_RESOURCE_TOPIC, names)
    }

    /// A broker's settings.
    pub(crate) fn broker_settings(&self, broker: i32) -> Result<BTreeMap<String, String>, Refusal> {
        let kind = ResourceType::RD_KAFKA_RESOURCE_BROKER;
        let settings = self.settings_of(kind, &[&broker.to_string()])?;
        let first = settings.into_values().next();
        first.unwrap_or_else(|| Err(Refusal::invalid("the answer is empty")))
    }

    fn settings_of(
        &self,
        kind: ResourceType,
        names: &[&str],
    ) -> Result<ByTopic<BTreeMap<String, String>>, Refusal> {
        let resources = names
            .iter()
            .map(|name| config_resource(kind, name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = resources.iter().map(|resource| resource.0).collect();
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            let (array, count) = (pointers.as_mut_ptr(), pointers.len());
            // SAFETY: client; the resources outlive the call, which copies them.
            unsafe { sys::rd_kafka_DescribeConfigs(rk, array, count, options, queue) };
        })?;
        // SAFETY: results; arrays have as many elements as their getter tells.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConfigs_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            let described = array(resources, count).iter().map(|resource| {
                let name = text(sys::rd_kafka_ConfigResource_name(*resource));
                let settings = resource_refusal(*resource).map_or_else(
                    || {
                        let mut count = 0;
                        let entries =
                            sys::rd_kafka_ConfigResource_configs(*resource, &raw mut count);
                        let entries = array(entries, count).iter().map(|entry| {
                            let name = text(sys::rd_kafka_ConfigEntry_name(*entry));
                            (name, text(sys::rd_kafka_ConfigEntry_value(*entry)))
                        });
                        Ok(entries.collect())
                    },
                    Err,
                );
                (name, settings)
            });
            Ok(described.collect())
        }
    }

    /// Creates topics. Some may be created and others refused.
    pub(crate) fn create(&self, topics: &[NewTopic<'_>]) -> Result<ByTopic<()>, Refusal> {
        let topics = topics
            .iter()
            .map(new_topic)
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = topics.iter().map(|topic| topic.0).collect();
        let operation = Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = (pointers.as_mut_ptr(), pointers.len());
            // SAFETY: client; the topics outlive the call, which copies them.
            unsafe { sys::rd_kafka_CreateTopics(rk, array, count, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            let created = array(topics, count).iter().map(|topic| {
                let name = text(sys::rd_kafka_topic_result_name(*topic));
                let code = rd_kafka_topic_result_error(*topic);
                let message = sys::rd_kafka_topic_result_error_string(*topic);
                (name, coded(code, message).map_or(Ok(()), Err))
            });
            Ok(created.collect())
        }
    }

    /// Sets the named settings of topics and leaves all others as they are.
    pub(crate) fn alter(
        &self,
        changes: &[(&str, Vec<(&str, &str)>)],
    ) -> Result<ByTopic<()>, Refusal> {
        let resources = changes
            .iter()
            .map(|(topic, settings)| changed_resource(topic, settings))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = resources.iter().map(|resource| resource.0).collect();
        let operation = Operation::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = (pointers.as_mut_ptr(), pointers.len());
            // SAFETY: client; the resources outlive the call, which copies them.
            unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, array, count, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells.
        unsafe {
            let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let resources =
                sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
            let altered = array(resources, count).iter().map(|resource| {
                let name = text(sys::rd_kafka_ConfigResource_name(*resource));
                (name, resource_refusal(*resource).map_or(Ok(()), Err))
            });
            Ok(altered.collect())
        }
    }

    /// The first or the last offset of each of the partitions that has one.
    pub(crate) fn offsets(
        &self,
        partitions: &[(&str, u32)],
        end: End,
    ) -> Result<BTreeMap<(String, u32), i64>, Refusal> {
        let wanted = match end {
            End::First => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
            End::Last => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
        };
        // SAFETY: own objects; the size is a hint.
        let list = unsafe {
            Owned::new(
                sys::rd_kafka_topic_partition_list_new(0),
                sys::rd_kafka_topic_partition_list_destroy,
            )?
        };
        for (topic, partition) in partitions {
            let topic = c_text(topic)?;
            let partition = i32::try_from(*partition).map_err(Refusal::invalid)?;
            // SAFETY: the list is valid; the name is copied; the entry that is returned stays valid
            // until the next one is added, and is written to before.
            unsafe {
                let entry =
                    sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
                (*entry).offset = wanted;
            }
        }
        let operation = Operation::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; the list outlives the call, which copies it.
            unsafe { sys::rd_kafka_ListOffsets(rk, list.0, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells. Of an entry, only the
        // fields that are no Rust enumeration are read.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let found = array(infos, count).iter().filter_map(|info| {
                let entry = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                let partition = u32::try_from((*entry).partition).ok()?;
                let offset = (*entry).offset;
                (offset >= 0).then(|| ((text((*entry).topic), partition), offset))
            });
            Ok(found.collect())
        }
    }

    /// The rules that name this principal. librdkafka drops the broker's refusal: without an
    /// authorizer, and where they may not be seen ([`Nodes::may_describe`]), there are none.
    pub(crate) fn acls(&self, principal: &str) -> Result<Vec<AclRule>, Refusal> {
        let principal = c_text(principal)?;
        let mut message = ErrorText::new();
        let (null, who) = (std::ptr::null(), principal.as_ptr());
        let (error, size) = message.parts();
        // SAFETY: texts are null or end with a null byte and are copied; the buffer for the error has
        // the size that is told; own objects.
        let filter = unsafe {
            Owned::new(
                rd_kafka_AclBindingFilter_new(ANY, null, ANY, who, null, ANY, ANY, error, size),
                sys::rd_kafka_AclBinding_destroy,
            )
            .map_err(|_| Refusal::invalid(message.text()))?
        };
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBEACLS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; the filter outlives the call, which copies it.
            unsafe { sys::rd_kafka_DescribeAcls(rk, filter.0, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells.
        unsafe {
            let result = sys::rd_kafka_event_DescribeAcls_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let rules = sys::rd_kafka_DescribeAcls_result_acls(result, &raw mut count);
            let rules = array(rules.cast(), count)
                .iter()
                .map(|rule| acl_rule(*rule));
            Ok(rules.collect())
        }
    }

    /// Adds rules. One that is there already is no error.
    pub(crate) fn create_acls(&self, rules: &[AclRule]) -> Result<(), Refusal> {
        let bindings = rules
            .iter()
            .map(acl_binding)
            .collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = bindings.iter().map(|binding| binding.0).collect();
        let operation = Operation::RD_KAFKA_ADMIN_OP_CREATEACLS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = (pointers.as_mut_ptr(), pointers.len());
            // SAFETY: client; the bindings outlive the call, which copies them.
            unsafe { sys::rd_kafka_CreateAcls(rk, array, count, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells.
        unsafe {
            let result = sys::rd_kafka_event_CreateAcls_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let created = sys::rd_kafka_CreateAcls_result_acls(result, &raw mut count);
            array(created, count)
                .iter()
                .find_map(|acl| refusal(sys::rd_kafka_acl_result_error(*acl)))
                .map_or(Ok(()), Err)
        }
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
        let mut message = ErrorText::new();
        let (error, size) = message.parts();
        // SAFETY: the options are valid; the buffer for the error has the size that is told. The
        // arguments are within the bounds that rdkafka.h gives, so the answer is always 0.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(options.0, ms(timeout), error, size);
            if operation == Operation::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER {
                let refused =
                    sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
                if !refused.is_null() {
                    sys::rd_kafka_error_destroy(refused);
                }
            }
            if operation == Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS {
                let settle = ms(SETTLE_TIMEOUT);
                sys::rd_kafka_AdminOptions_set_operation_timeout(options.0, settle, error, size);
            }
        }
        send(rk, options.0, queue.0);
        let overdue = Instant::now() + timeout + OVERDUE;
        loop {
            // SAFETY: the queue is valid; the event is null or ours to destroy.
            let event = Event(unsafe { sys::rd_kafka_queue_poll(queue.0, ms(POLL)) });
            // Serves errors of the connection, and the refresh of tokens.
            self.client.poll(Duration::ZERO);
            if !event.0.is_null() {
                return self.checked(event);
            }
            if Instant::now() > overdue {
                return Err(self.unanswered("no answer"));
            }
        }
    }

    /// The event, or what it says went wrong with the request as a whole.
    fn checked(&self, event: Event) -> Result<Event, Refusal> {
        // SAFETY: the event is valid, its text until it is destroyed.
        let failed = unsafe {
            let message = sys::rd_kafka_event_error_string(event.0);
            coded(rd_kafka_event_error(event.0), message)
        };
        match failed {
            None => Ok(event),
            Some(refusal) if refusal.code == Refusal::TIMED_OUT => {
                Err(self.unanswered(&refusal.message))
            }
            Some(refusal) => Err(refusal),
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

/// An object of librdkafka that this side has to destroy.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// # Safety
    /// `pointer` is null, or valid until `destroy` is called with it, which nobody else does.
    unsafe fn new(
        pointer: *mut T,
        destroy: unsafe extern "C" fn(*mut T),
    ) -> Result<Owned<T>, Refusal> {
        match pointer.is_null() {
            true => Err(Refusal::invalid("librdkafka refuses the arguments")),
            false => Ok(Owned(pointer, destroy)),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: valid and not destroyed before, as `new` demands.
        unsafe { (self.1)(self.0) };
    }
}

/// An answer; null while there is none.
struct Event(*mut sys::rd_kafka_event_t);

impl Event {
    fn of_another_kind(&self) -> Refusal {
        // SAFETY: the event is valid; the name is a constant.
        let name = unsafe { text(sys::rd_kafka_event_name(self.0)) };
        Refusal::invalid(format_args!("librdkafka answered with an event {name}"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and destroyed here only; null is allowed.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}

/// Where librdkafka writes what is wrong with arguments.
struct ErrorText([c_char; 512]);

impl ErrorText {
    fn new() -> ErrorText {
        ErrorText([0; 512])
    }

    fn parts(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }

    fn text(&self) -> String {
        // SAFETY: it began as zeros, and librdkafka ends what it writes with a null byte.
        unsafe { text(self.0.as_ptr()) }
    }
}

fn c_text(text: &str) -> Result<CString, Refusal> {
    CString::new(text).map_err(|_| Refusal::invalid(format_args!("{text:?} has a null byte")))
}

fn ms(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `pointer` is null or a text that ends with a null byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as demanded, and not null.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// # Safety
/// `pointer` is null or has `count` elements, which nobody changes during `'a`.
unsafe fn array<'a, T>(pointer: *mut *const T, count: usize) -> &'a [*const T] {
    if pointer.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as demanded, and not null.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}

/// What is wrong, if anything is.
///
/// # Safety
/// `message` is null or a text that ends with a null byte.
unsafe fn coded(code: c_int, message: *const c_char) -> Option<Refusal> {
    if code == 0 {
        return None;
    }
    // SAFETY: as demanded; `rd_kafka_err2str` answers for every number.
    let message = unsafe {
        match text(message) {
            message if message.is_empty() => text(rd_kafka_err2str(code)),
            message => message,
        }
    };
    Some(Refusal { code, message })
}

/// # Safety
/// `error` is null or valid.
unsafe fn refusal(error: *const sys::rd_kafka_error_t) -> Option<Refusal> {
    if error.is_null() {
        return None;
    }
    // SAFETY: as demanded, and not null.
    unsafe {
        coded(
            rd_kafka_error_code(error),
            sys::rd_kafka_error_string(error),
        )
    }
}

/// # Safety
/// `resource` is valid.
unsafe fn resource_refusal(resource: *const sys::rd_kafka_ConfigResource_t) -> Option<Refusal> {
    // SAFETY: as demanded.
    unsafe {
        let message = sys::rd_kafka_ConfigResource_error_string(resource);
        coded(rd_kafka_ConfigResource_error(resource), message)
    }
}

/// # Safety
/// `topic` is valid and without error.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: as demanded; arrays have as many elements as their getter tells. The id's text belongs
    // to the id, which belongs to the topic.
    unsafe {
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let partitions = array(partitions, count);
        let replicas = partitions.iter().map(|partition| {
            let mut count = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut count);
            u32::try_from(count).unwrap_or(u32::MAX)
        });
        let led = partitions
            .iter()
            .filter(|partition| !sys::rd_kafka_TopicPartitionInfo_leader(**partition).is_null())
            .count();
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        Description {
            id: match id.is_null() {
                true => String::new(),
                false => text(sys::rd_kafka_Uuid_base64str(id)),
            },
            partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
            led: u32::try_from(led).unwrap_or(u32::MAX),
            replicas: replicas.min().unwrap_or(0),
        }
    }
}

fn config_resource(
    kind: ResourceType,
    name: &str,
) -> Result<Owned<sys::rd_kafka_ConfigResource_t>, Refusal> {
    let name = c_text(name)?;
    // SAFETY: the name is copied; own objects.
    unsafe {
        Owned::new(
            sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()),
            sys::rd_kafka_ConfigResource_destroy,
        )
    }
}

fn changed_resource(
    topic: &str,
    settings: &[(&str, &str)],
) -> Result<Owned<sys::rd_kafka_ConfigResource_t>, Refusal> {
    let resource = config_resource(ResourceType::RD_KAFKA_RESOURCE_TOPIC, topic)?;
    let set = sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
    for (name, value) in settings {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: the resource is valid; texts are copied; an error is ours to destroy.
        unsafe {
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(
                resource.0,
                name.as_ptr(),
                set,
                value.as_ptr(),
            );
            if let Some(refused) = refusal(error) {
                sys::rd_kafka_error_destroy(error);
                return Err(refused);
            }
        }
    }
    Ok(resource)
}

fn new_topic(topic: &NewTopic<'_>) -> Result<Owned<sys::rd_kafka_NewTopic_t>, Refusal> {
    let name = c_text(topic.name)?;
    let partitions = c_int::try_from(topic.partitions).map_err(Refusal::invalid)?;
    let replicas = c_int::try_from(topic.replicas).map_err(Refusal::invalid)?;
    let mut message = ErrorText::new();
    let (error, size) = message.parts();
    // SAFETY: the name is copied; the buffer for the error has the size that is told; own objects.
    let created = unsafe {
        Owned::new(
            sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replicas, error, size),
            sys::rd_kafka_NewTopic_destroy,
        )
        .map_err(|_| Refusal::invalid(message.text()))?
    };
    for (name, value) in &topic.settings {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: the topic is valid; texts are copied. It answers with an error for an empty name
        // only, of which there is none.
        unsafe { sys::rd_kafka_NewTopic_set_config(created.0, name.as_ptr(), value.as_ptr()) };
    }
    Ok(created)
}

/// # Safety
/// `acl` is valid.
unsafe fn acl_rule(acl: *const sys::rd_kafka_AclBinding_t) -> AclRule {
    // SAFETY: as demanded.
    unsafe {
        AclRule {
            resource: rd_kafka_AclBinding_restype(acl),
            pattern: rd_kafka_AclBinding_resource_pattern_type(acl),
            name: text(sys::rd_kafka_AclBinding_name(acl)),
            principal: text(sys::rd_kafka_AclBinding_principal(acl)),
            host: text(sys::rd_kafka_AclBinding_host(acl)),
            operation: rd_kafka_AclBinding_operation(acl),
            permission: rd_kafka_AclBinding_permission_type(acl),
        }
    }
}

fn acl_binding(rule: &AclRule) -> Result<Owned<sys::rd_kafka_AclBinding_t>, Refusal> {
    let name = c_text(&rule.name)?;
    let principal = c_text(&rule.principal)?;
    let host = c_text(&rule.host)?;
    let mut message = ErrorText::new();
    let (error, size) = message.parts();
    // SAFETY: texts are copied; the buffer for the error has the size that is told; numbers that there
    // are not are refused; own objects.
    unsafe {
        let binding = rd_kafka_AclBinding_new(
            rule.resource,
            name.as_ptr(),
            rule.pattern,
            principal.as_ptr(),
            host.as_ptr(),
            rule.operation,
            rule.permission,
            error,
            size,
        );
        Owned::new(binding, sys::rd_kafka_AclBinding_destroy)
            .map_err(|_| Refusal::invalid(message.text()))
    }
}
