//! Where partitions begin and end.

use std::collections::BTreeMap;

use rdkafka::bindings as sys;

use super::raw::{Owned, c_text, elements, text};
use super::{Admin, Operation, READ_TIMEOUT, Refusal};

/// Which end of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    First,
    Last,
}

impl Admin {
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
                let entry = sys::rd_kafka_topic_partition_list_add(
                    list.pointer(),
                    topic.as_ptr(),
                    partition,
                );
                (*entry).offset = wanted;
            }
        }
        let operation = Operation::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; the list outlives the call, which copies it.
            unsafe { sys::rd_kafka_ListOffsets(rk, list.pointer(), options, queue) };
        })?;
        // SAFETY: results. Of an entry, only the fields that are no Rust enumeration are read.
        unsafe {
            let result = event.result(sys::rd_kafka_event_ListOffsets_result)?;
            let infos = elements(result, sys::rd_kafka_ListOffsets_result_infos);
            let found = infos.iter().filter_map(|info| {
                let entry = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                let partition = u32::try_from((*entry).partition).ok()?;
                let offset = (*entry).offset;
                (offset >= 0).then(|| ((text((*entry).topic), partition), offset))
            });
            Ok(found.collect())
        }
    }
}
