//! What requests and answers are made of: librdkafka's objects with their ends, its texts, its arrays and its
//! errors, copied into plain data.
//!
//! The proof obligations are those of the module above: here are *own objects* ([`Owned`]), *results* ([`Event`])
//! and *texts* ([`text`]) held up.

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::Refusal;

// The same functions as in `rdkafka::bindings`, which declares their numbers as Rust enumerations: a
// number that a newer broker sends and the binding does not know would be undefined behaviour.
// C compilers pass these enumerations as 32 bits, whether signed or not. Other modules beside this one
// have more such declarations, for the same reason.
unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
}

/// An object of librdkafka that this side has to destroy.
pub(super) struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// # Safety
    /// `pointer` is null, or valid until `destroy` is called with it, which nobody else does.
    pub(super) unsafe fn new(
        pointer: *mut T,
        destroy: unsafe extern "C" fn(*mut T),
    ) -> Result<Owned<T>, Refusal> {
        match pointer.is_null() {
            true => Err(Refusal::invalid("librdkafka refuses the arguments")),
            false => Ok(Owned(pointer, destroy)),
        }
    }

    /// Valid while this is held.
    pub(super) fn pointer(&self) -> *mut T {
        self.0
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: valid and not destroyed before, as `new` demands.
        unsafe { (self.1)(self.0) };
    }
}

/// Several objects, in the array in which a request takes them.
pub(super) struct Several<T> {
    pointers: Vec<*mut T>,
    _owned: Vec<Owned<T>>,
}

impl<T> Several<T> {
    pub(super) fn of(
        objects: impl Iterator<Item = Result<Owned<T>, Refusal>>,
    ) -> Result<Several<T>, Refusal> {
        let owned: Vec<Owned<T>> = objects.collect::<Result<_, _>>()?;
        Ok(Several {
            pointers: owned.iter().map(Owned::pointer).collect(),
            _owned: owned,
        })
    }

    /// The array and the number of its elements, valid while this is held.
    pub(super) fn parts(&mut self) -> (*mut *mut T, usize) {
        (self.pointers.as_mut_ptr(), self.pointers.len())
    }
}

/// An answer.
pub(super) struct Event(*mut sys::rd_kafka_event_t);

impl Event {
    /// The next event of `queue`, if one comes within `timeout`.
    ///
    /// # Safety
    /// `queue` is valid.
    pub(super) unsafe fn of(queue: *mut sys::rd_kafka_queue_t, timeout: Duration) -> Option<Event> {
        // SAFETY: as demanded; the event is null or ours to destroy.
        let event = unsafe { sys::rd_kafka_queue_poll(queue, ms(timeout)) };
        (!event.is_null()).then(|| Event(event))
    }

    /// What it says went wrong with the request as a whole.
    pub(super) fn failure(&self) -> Option<Refusal> {
        // SAFETY: the event is valid, its text until it is destroyed.
        unsafe {
            let message = sys::rd_kafka_event_error_string(self.0);
            coded(rd_kafka_event_error(self.0), message)
        }
    }

    /// Its results, which are valid until it is dropped.
    ///
    /// # Safety
    /// `of_kind` is one of librdkafka's `rd_kafka_event_…_result`, which answer null for an event of
    /// another kind.
    pub(super) unsafe fn result<T>(
        &self,
        of_kind: unsafe extern "C" fn(*mut sys::rd_kafka_event_t) -> *const T,
    ) -> Result<*const T, Refusal> {
        // SAFETY: the event is valid; the name is a constant.
        unsafe {
            let result = of_kind(self.0);
            if result.is_null() {
                let name = text(sys::rd_kafka_event_name(self.0));
                let what = format_args!("librdkafka answered with an event {name}");
                return Err(Refusal::invalid(what));
            }
            Ok(result)
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, and destroyed here only.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}

/// Where librdkafka writes what is wrong with arguments.
pub(super) struct ErrorText([c_char; 512]);

impl ErrorText {
    pub(super) fn new() -> ErrorText {
        ErrorText([0; 512])
    }

    /// The buffer and its size, valid while this is held.
    pub(super) fn parts(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }

    pub(super) fn refusal(&self) -> Refusal {
        // SAFETY: it began as zeros, and librdkafka ends what it writes with a null byte.
        Refusal::invalid(unsafe { text(self.0.as_ptr()) })
    }
}

pub(super) fn c_text(text: &str) -> Result<CString, Refusal> {
    CString::new(text).map_err(|_| Refusal::invalid(format_args!("{text:?} has a null byte")))
}

pub(super) fn ms(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `pointer` is null or a text that ends with a null byte.
pub(super) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as demanded, and not null.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// What an object has several of.
///
/// # Safety
/// `getter` is one of librdkafka's that answer an array, or null, and write down how many elements it has;
/// the object is valid for it, and neither changes nor ends during `'a`.
pub(super) unsafe fn elements<'a, O, T>(
    object: *const O,
    getter: unsafe extern "C" fn(*const O, *mut usize) -> *mut *const T,
) -> &'a [*const T] {
    let mut count = 0;
    // SAFETY: as demanded; the array is read if it is not null and has elements.
    unsafe {
        let array = getter(object, &raw mut count);
        if array.is_null() || count == 0 {
            return &[];
        }
        std::slice::from_raw_parts(array, count)
    }
}

/// What is wrong, if anything is.
///
/// # Safety
/// `message` is null or a text that ends with a null byte.
pub(super) unsafe fn coded(code: c_int, message: *const c_char) -> Option<Refusal> {
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
pub(super) unsafe fn refusal(error: *const sys::rd_kafka_error_t) -> Option<Refusal> {
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
