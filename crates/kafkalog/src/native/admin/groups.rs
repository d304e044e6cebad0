//! Consumer groups as their coordinator describes them. The proof obligations are those of the module
//! above.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::{Admin, Operation, Refusal, c_text, refusal, text};

// As above: the state is a number that a newer broker may extend.
unsafe extern "C" {
    fn rd_kafka_ConsumerGroupDescription_state(
        group: *const sys::rd_kafka_ConsumerGroupDescription_t,
    ) -> c_int;
}

/// `ConsumerGroupState` of a group whose members have what they are to have.
const STABLE: c_int = 3;

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
    /// Topics and partitions.
    pub(crate) assigned: Vec<(String, u32)>,
}

impl Admin {
    /// What the coordinator of `group` knows of it. One that there is not has no members.
    pub(crate) fn group(&self, group: &str, timeout: Duration) -> Result<DescribedGroup, Refusal> {
        let name = c_text(group)?;
        let mut names: [*const c_char; 1] = [name.as_ptr()];
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let event = self.call(operation, timeout, |rk, options, queue| {
            let array = names.as_mut_ptr();
            // SAFETY: client; the array has the one text that is told, which is copied.
            unsafe { sys::rd_kafka_DescribeConsumerGroups(rk, array, 1, options, queue) };
        })?;
        // SAFETY: results; the array has as many elements as its getter tells.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
            if result.is_null() {
                return Err(event.of_another_kind());
            }
            let mut count = 0;
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
            let Some(group) = super::array(groups, count).first() else {
                return Err(Refusal::invalid("the answer is empty"));
            };
            match refusal(sys::rd_kafka_ConsumerGroupDescription_error(*group)) {
                Some(refusal) => Err(refusal),
                None => Ok(described(*group)),
            }
        }
    }
}

/// # Safety
/// `group` is valid and without error.
unsafe fn described(group: *const sys::rd_kafka_ConsumerGroupDescription_t) -> DescribedGroup {
    // SAFETY: as demanded; there are as many members as are told.
    unsafe {
        let count = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |number| {
            let member = sys::rd_kafka_ConsumerGroupDescription_member(group, number);
            DescribedMember {
                client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                host: text(sys::rd_kafka_MemberDescription_host(member)),
                assigned: assigned(sys::rd_kafka_MemberDescription_assignment(member)),
            }
        };
        DescribedGroup {
            is_stable: rd_kafka_ConsumerGroupDescription_state(group) == STABLE,
            members: (0..count).map(member).collect(),
        }
    }
}

/// # Safety
/// `assignment` is null or valid.
unsafe fn assigned(assignment: *const sys::rd_kafka_MemberAssignment_t) -> Vec<(String, u32)> {
    if assignment.is_null() {
        return Vec::new();
    }
    // SAFETY: as demanded, and not null; the list is null or has as many elements as it says.
    unsafe {
        let list = sys::rd_kafka_MemberAssignment_partitions(assignment);
        if list.is_null() || (*list).elems.is_null() {
            return Vec::new();
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let elements = std::slice::from_raw_parts((*list).elems, count).iter();
        let partitions = elements.filter_map(|element| {
            let partition = u32::try_from(element.partition).ok()?;
            Some((text(element.topic), partition))
        });
        partitions.collect()
    }
}
