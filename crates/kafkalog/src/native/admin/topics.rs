//! Topics: what there is, and making them.

use std::ffi::{CString, c_char, c_int};

use rdkafka::bindings as sys;

use super::raw::{ErrorText, Owned, Several, c_text, coded, elements, refusal, text};
use super::{Admin, ByTopic, Operation, READ_TIMEOUT, Refusal, WRITE_TIMEOUT};

// As in `raw`: codes are numbers that a newer broker may extend.
unsafe extern "C" {
    fn rd_kafka_topic_result_error(result: *const sys::rd_kafka_topic_result_t) -> c_int;
}

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

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: u32,
    pub(crate) replicas: u32,
    pub(crate) settings: Vec<(&'a str, &'a str)>,
}

impl Admin {
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
            unsafe { sys::rd_kafka_DescribeTopics(rk, collection.pointer(), options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_DescribeTopics_result)?;
            let topics = elements(result, sys::rd_kafka_DescribeTopics_result_topics);
            let described = topics.iter().map(|topic| {
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

    /// Creates topics. Some may be created and others refused.
    pub(crate) fn create(&self, topics: &[NewTopic<'_>]) -> Result<ByTopic<()>, Refusal> {
        let mut topics = Several::of(topics.iter().map(new_topic))?;
        let operation = Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = topics.parts();
            // SAFETY: client; the topics outlive the call, which copies them.
            unsafe { sys::rd_kafka_CreateTopics(rk, array, count, options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_CreateTopics_result)?;
            let topics = elements(result, sys::rd_kafka_CreateTopics_result_topics);
            let created = topics.iter().map(|topic| {
                let name = text(sys::rd_kafka_topic_result_name(*topic));
                let code = rd_kafka_topic_result_error(*topic);
                let message = sys::rd_kafka_topic_result_error_string(*topic);
                (name, coded(code, message).map_or(Ok(()), Err))
            });
            Ok(created.collect())
        }
    }
}

/// # Safety
/// `topic` is valid and without error.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: as demanded. The id's text belongs to the id, which belongs to the topic.
    unsafe {
        let partitions = elements(topic, sys::rd_kafka_TopicDescription_partitions);
        let replicas = partitions.iter().map(|partition| {
            let replicas = elements(*partition, sys::rd_kafka_TopicPartitionInfo_replicas);
            u32::try_from(replicas.len()).unwrap_or(u32::MAX)
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
        .map_err(|_| message.refusal())?
    };
    for (name, value) in &topic.settings {
        let (name, value) = (c_text(name)?, c_text(value)?);
        // SAFETY: the topic is valid; texts are copied. It answers with an error for an empty name
        // only, of which there is none.
        unsafe {
            sys::rd_kafka_NewTopic_set_config(created.pointer(), name.as_ptr(), value.as_ptr())
        };
    }
    Ok(created)
}
