//! Producing to an explicit partition by a topic's handle: no look-up and no allocation of its
//! name for each record.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

use engine::port::Header;
use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr;

/// A topic that records are produced to.
pub(crate) struct TopicHandle<C: ProducerContext + 'static> {
    // Keeps alive what the handle belongs to.
    _producer: Arc<ThreadedProducer<C, NoCustomPartitioner>>,
    client: *mut sys::rd_kafka_t,
    topic: *mut sys::rd_kafka_topic_t,
}

/// Why a record was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProduceError {
    /// The producer's queue is full: try again when something was sent.
    Full,
    /// This record cannot be produced.
    Refused(RDKafkaErrorCode),
}

impl<C: ProducerContext + 'static> TopicHandle<C> {
    pub(crate) fn new(
        producer: &Arc<ThreadedProducer<C, NoCustomPartitioner>>,
        topic: &str,
    ) -> Option<TopicHandle<C>> {
        let name = CString::new(topic).ok()?;
        let client = producer.client().native_ptr();
        // SAFETY: the client lives as long as the producer, which the handle keeps alive; the name
        // is copied; no configuration means the client's defaults.
        let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then(|| TopicHandle {
            _producer: Arc::clone(producer),
            client,
            topic,
        })
    }
}

impl<C: ProducerContext + 'static> Drop for TopicHandle<C> {
    fn drop(&mut self) {
        // SAFETY: obtained in `new`, destroyed once, while the producer is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.topic) }
    }
}

/// Hands a record to the producer, which copies it. `mark` comes back with the delivery report.
pub(crate) fn produce<C: ProducerContext + 'static>(
    topic: &TopicHandle<C>,
    partition: u32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
    mark: usize,
) -> Result<(), ProduceError> {
    let unknown = ProduceError::Refused(RDKafkaErrorCode::UnknownPartition);
    let partition = i32::try_from(partition).map_err(|_| unknown)?;
    let (key, key_len) = parts(key);
    let (value, value_len) = parts(value);
    let mut args = [
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
            sys::rd_kafka_vu_s__bindgen_ty_1 { rkt: topic.topic },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            sys::rd_kafka_vu_s__bindgen_ty_1 { i32_: partition },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::rd_kafka_vu_s__bindgen_ty_1 {
                i: sys::RD_KAFKA_MSG_F_COPY,
            },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            sys::rd_kafka_vu_s__bindgen_ty_1 {
                mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                    ptr: key,
                    size: key_len,
                },
            },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            sys::rd_kafka_vu_s__bindgen_ty_1 {
                mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                    ptr: value,
                    size: value_len,
                },
            },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
            sys::rd_kafka_vu_s__bindgen_ty_1 {
                ptr: ptr::without_provenance_mut(mark),
            },
        ),
        argument(
            sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            sys::rd_kafka_vu_s__bindgen_ty_1 {
                headers: ptr::null_mut(),
            },
        ),
    ];
    let mut used = args.len() - 1;
    let mut list = ptr::null_mut();
    if !headers.is_empty() {
        list = header_list(headers);
        args[used].u.headers = list;
        used += 1;
    }
    // SAFETY: the client and the topic live as long as the handle; every argument's value is of its
    // type; key and value are copied before the call returns; the headers are librdkafka's if it
    // succeeds and ours to destroy if not.
    let code = unsafe {
        let error = sys::rd_kafka_produceva(topic.client, args.as_ptr(), used);
        if error.is_null() {
            return Ok(());
        }
        let code = sys::rd_kafka_error_code(error);
        sys::rd_kafka_error_destroy(error);
        if !list.is_null() {
            sys::rd_kafka_headers_destroy(list);
        }
        code
    };
    Err(match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__QUEUE_FULL => ProduceError::Full,
        code => ProduceError::Refused(code.into()),
    })
}

fn argument(
    vtype: sys::rd_kafka_vtype_t,
    u: sys::rd_kafka_vu_s__bindgen_ty_1,
) -> sys::rd_kafka_vu_t {
    sys::rd_kafka_vu_t { vtype, u }
}

/// Null for what is not there; empty is not null.
fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    match bytes {
        Some(bytes) => (bytes.as_ptr().cast_mut().cast(), bytes.len()),
        None => (ptr::null_mut(), 0),
    }
}

fn header_list(headers: &[Header]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: a new list; names and values are copied, with their lengths (−1 would mean a C
    // string, which a Rust string is not).
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            sys::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value.as_ptr().cast(),
                value.len().cast_signed(),
            );
        }
        list
    }
}
