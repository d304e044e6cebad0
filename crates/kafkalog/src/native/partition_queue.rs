//! The queue of one assigned partition, read in batches by one thread.
//!
//! Invariants: the partition's messages go to this queue and to no other for as long as it lives;
//! the consumer outlives the queue; a message's bytes are read only while librdkafka owns them.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::thread::Thread;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

/// Messages of one call into librdkafka.
const BATCH: usize = 1024;

/// What came out of the queue.
pub(crate) enum Taken<'a> {
    /// A record.
    Message {
        /// Its offset.
        offset: u64,
        /// Its timestamp in milliseconds; −1 if it has none.
        timestamp: i64,
        /// Key.
        key: Option<&'a [u8]>,
        /// Value.
        value: Option<&'a [u8]>,
    },
    /// The partition's end, at this offset; only where the consumer asks to be told.
    End(u64),
    /// The partition cannot be read, with librdkafka's words for why.
    Error(RDKafkaRespErr, String),
}

/// A message's headers, which are parsed when they are asked for.
#[derive(Clone, Copy)]
pub(crate) struct MessageHeaders<'a>(&'a sys::rd_kafka_message_t);

impl MessageHeaders<'_> {
    /// All of them, in order; a header without a value has an empty one.
    pub(crate) fn list(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: the message is valid and ours for as long as the borrow; the list that librdkafka
        // answers belongs to it.
        let code = unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return found;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list is valid, and the results are written to locals; behind the last
            // header there is an error and nothing is written.
            let code = unsafe {
                sys::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                )
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            // SAFETY: the name is a C string, and the value null or of that size; both belong to the
            // message and are copied.
            let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value, size)) };
            let name = name.to_string_lossy().into_owned();
            found.push((name, value.unwrap_or_default().to_vec()));
        }
        found
    }
}

impl fmt::Debug for MessageHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// The queue of one partition.
pub(crate) struct PartitionQueue<C: ConsumerContext> {
    // Dropped last: everything below points into it.
    consumer: Arc<BaseConsumer<C>>,
    queue: *mut sys::rd_kafka_queue_t,
    /// A list with this one partition, to ask for its position.
    place: *mut sys::rd_kafka_topic_partition_list_t,
    topic: CString,
    partition: i32,
    /// Woken when the queue becomes non-empty; librdkafka holds a pointer to it.
    _waker: Option<Box<Thread>>,
    batch: Vec<*mut sys::rd_kafka_message_t>,
}

impl<C: ConsumerContext> PartitionQueue<C> {
    /// Splits the partition's queue off the consumer's. To be called before the partition is
    /// assigned, so that none of its messages goes elsewhere. `waker` is unparked when there is
    /// something to take.
    pub(crate) fn new(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        partition: u32,
        waker: Option<Thread>,
    ) -> Option<PartitionQueue<C>> {
        let topic = CString::new(topic).ok()?;
        let partition = i32::try_from(partition).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: `client` is valid for as long as `consumer` lives, which this value keeps alive;
        // `topic` is a C string that librdkafka copies.
        let queue = unsafe { sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        if queue.is_null() {
            return None;
        }
        // SAFETY: `queue` was just obtained and is ours to forward; a null destination means that it
        // is served by us, and librdkafka marks it so that a later assignment leaves it alone.
        unsafe { sys::rd_kafka_queue_forward(queue, ptr::null_mut()) };
        // SAFETY: a new list that this value owns and destroys; the topic's name is copied.
        let place = unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(1);
            sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
            list
        };
        let waker = waker.map(Box::new);
        if let Some(waker) = &waker {
            let opaque = ptr::from_ref::<Thread>(waker).cast_mut().cast::<c_void>();
            // SAFETY: `opaque` points to a boxed `Thread` that lives until `drop` has disabled the
            // callback; librdkafka calls it and disables it under the queue's lock, so that no call
            // is under way after that. `Thread` may be used from any thread.
            unsafe { sys::rd_kafka_queue_cb_event_enable(queue, Some(wake), opaque) };
        }
        Some(PartitionQueue {
            consumer: Arc::clone(consumer),
            queue,
            place,
            topic,
            partition,
            _waker: waker,
            batch: Vec::with_capacity(BATCH),
        })
    }

    /// Hands up to `max` messages to `each`, without waiting, and says how many there were.
    pub(crate) fn take(&mut self, max: usize, mut each: impl FnMut(Taken<'_>)) -> usize {
        self.take_with_headers(max, |taken, _| each(taken))
    }

    /// The same, with the headers of each message; those of an end or an error mean nothing.
    pub(crate) fn take_with_headers(
        &mut self,
        max: usize,
        mut each: impl FnMut(Taken<'_>, MessageHeaders<'_>),
    ) -> usize {
        let size = max.min(BATCH);
        // SAFETY: the array has room for `BATCH` pointers and `size` is at most that; librdkafka
        // writes as many as it returns, which is what the length is set to (−1 writes none).
        let count = unsafe {
            let count =
                sys::rd_kafka_consume_batch_queue(self.queue, 0, self.batch.as_mut_ptr(), size);
            let count = usize::try_from(count).unwrap_or(0);
            self.batch.set_len(count);
            count
        };
        for message in self.batch.drain(..) {
            // SAFETY: librdkafka has given us each of these messages; none is null, none is used
            // after it was destroyed here, and the slices do not outlive the call of `each`.
            unsafe {
                each(taken(&*message), MessageHeaders(&*message));
                sys::rd_kafka_message_destroy(message);
            }
        }
        count
    }

    /// The offset after everything that was taken, including what is no message: the markers of
    /// transactions. `None` as long as nothing was taken since reading began or was sent elsewhere.
    pub(crate) fn position(&self) -> Option<u64> {
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client lives as long as `self`; the list has exactly one element, which
        // librdkafka fills in with a value that it has, without waiting.
        let (answered, offset) = unsafe {
            let answered = sys::rd_kafka_position(client, self.place);
            (answered, (*(*self.place).elems).offset)
        };
        let known = answered == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        // Where nothing is known it is one of librdkafka's negative numbers.
        known.then(|| u64::try_from(offset).ok()).flatten()
    }

    /// The partition's end as of the last answer of the broker, if there was one.
    pub(crate) fn end(&self) -> Option<u64> {
        let client = self.consumer.client().native_ptr();
        let (mut low, mut high) = (0_i64, 0_i64);
        // SAFETY: the client lives as long as `self`, the topic is a C string, and both results are
        // written to locals; the call reads values that librdkafka has and does not block.
        let answered = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                client,
                self.topic.as_ptr(),
                self.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        let known = answered == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        known.then(|| u64::try_from(high).ok()).flatten()
    }
}

impl<C: ConsumerContext> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: obtained in `new` and destroyed once; the callback is disabled before the waker
        // that it points to is freed.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_topic_partition_list_destroy(self.place);
        }
    }
}

/// Called by librdkafka's threads when a queue becomes non-empty.
unsafe extern "C" fn wake(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the boxed `Thread` that was given together with this function.
    let thread = unsafe { &*opaque.cast::<Thread>() };
    thread.unpark();
}

/// # Safety
/// `message` is valid, and its bytes are for as long as the answer is used.
unsafe fn taken(message: &sys::rd_kafka_message_t) -> Taken<'_> {
    let offset = u64::try_from(message.offset).unwrap_or(0);
    if message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF {
        return Taken::End(offset);
    }
    if message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        // SAFETY: of an error, the payload is its text.
        let text = unsafe { bytes(message.payload, message.len) };
        let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        return Taken::Error(message.err, text);
    }
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid.
    let timestamp = unsafe { sys::rd_kafka_message_timestamp(message, &raw mut kind) };
    // SAFETY: librdkafka's key and payload are null or have the length beside them.
    unsafe {
        Taken::Message {
            offset,
            timestamp,
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
        }
    }
}

/// # Safety
/// `start` is null, or the beginning of `len` bytes that live as long as the answer.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
