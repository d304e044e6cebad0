//! Consumer groups as their coordinators describe them, by the old call that asks every broker.
//!
//! librdkafka's newer `DescribeConsumerGroups` asks the coordinator alone. Where that does not answer before
//! the request times out, librdkafka 2.12.1 drops the request twice and ends the process
//! (`rd_kafka_admin_coord_response_parse`: "Assertion `eonce->refcnt > 0' failed"; found by `make chaos` with a
//! broker killed). The proof obligations are those of the module above.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::producer::Producer;

use super::raw::{c_text, coded, ms, text};
use super::{Admin, Refusal};

// As in `raw`: codes are numbers that a newer broker may extend.
unsafe extern "C" {
    fn rd_kafka_list_groups(
        client: *mut sys::rd_kafka_t,
        group: *const c_char,
        list: *mut *const sys::rd_kafka_group_list,
        timeout_ms: c_int,
    ) -> c_int;
}

/// Not every broker has answered; what the others said is there.
const PARTIAL: c_int = -158;
/// `GroupState` of a group whose members have what they are to have.
const STABLE: &str = "Stable";

/// A group as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DescribedGroup {
    /// Whether it is not rebalancing.
    pub(crate) is_stable: bool,
    pub(crate) members: Vec<DescribedMember>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DescribedMember {
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// What it was assigned, as the members' own protocol has it.
    pub(crate) assignment: Vec<u8>,
}

/// A list of groups, ours to destroy; null while there is none.
struct Groups(*const sys::rd_kafka_group_list);

impl Drop for Groups {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: librdkafka gave it to us, and it is destroyed here only.
            unsafe { sys::rd_kafka_group_list_destroy(self.0) };
        }
    }
}

impl Admin {
    /// What is known of `group`; `None` where nobody has ever joined it. While a broker is away this takes
    /// all of `timeout`.
    pub(crate) fn group(
        &self,
        group: &str,
        timeout: Duration,
    ) -> Result<Option<DescribedGroup>, Refusal> {
        let name = c_text(group)?;
        let client = self.client.client().native_ptr();
        let mut groups = Groups(ptr::null());
        // SAFETY: client; the name lives until the call returns; the list is written to a local, and is
        // null or ours then.
        let code =
            unsafe { rd_kafka_list_groups(client, name.as_ptr(), &raw mut groups.0, ms(timeout)) };
        // Serves errors of the connection, and the refresh of tokens.
        self.client.poll(Duration::ZERO);
        // The coordinator is one broker: where it is among those that have answered, all is known.
        if code != 0 && code != PARTIAL {
            // SAFETY: null is allowed.
            return match unsafe { coded(code, ptr::null()) } {
                Some(refusal) => Err(self.explained(refusal)),
                None => Err(Refusal::invalid("the answer is none")),
            };
        }
        if groups.0.is_null() {
            return Err(self.unanswered("no answer"));
        }
        // SAFETY: the list is valid until it is dropped, and has as many groups as it says. Fields are
        // read one by one, because of those that are Rust enumerations.
        unsafe {
            let count = usize::try_from((*groups.0).group_cnt).unwrap_or(0);
            if count == 0 {
                return Ok(None);
            }
            let group: *const sys::rd_kafka_group_info = (*groups.0).groups;
            let code = (&raw const (*group).err).cast::<c_int>().read();
            match coded(code, ptr::null()) {
                Some(refusal) => Err(refusal),
                None => Ok(Some(described(group))),
            }
        }
    }
}

/// # Safety
/// `group` is valid and without error.
unsafe fn described(group: *const sys::rd_kafka_group_info) -> DescribedGroup {
    // SAFETY: as demanded; there are as many members as are told, and an assignment is null or has as
    // many bytes as are told.
    unsafe {
        let count = usize::try_from((*group).member_cnt).unwrap_or(0);
        let member = |number| {
            let member = (*group).members.add(number);
            let size = usize::try_from((*member).member_assignment_size).unwrap_or(0);
            let start = (*member).member_assignment.cast::<u8>();
            DescribedMember {
                client_id: text((*member).client_id),
                host: text((*member).client_host),
                assignment: match start.is_null() {
                    true => Vec::new(),
                    false => std::slice::from_raw_parts(start, size).to_vec(),
                },
            }
        };
        DescribedGroup {
            is_stable: text((*group).state) == STABLE,
            members: (0..count).map(member).collect(),
        }
    }
}
