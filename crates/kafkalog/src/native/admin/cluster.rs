//! The cluster itself: its id, its brokers, and whether its access rules can be seen.

use std::ffi::c_int;

use rdkafka::bindings as sys;

use super::raw::{elements, text};
use super::{Admin, FIND_TIMEOUT, Operation, Refusal};

// As in `raw`: numbers that a newer broker may extend.
unsafe extern "C" {
    fn rd_kafka_DescribeCluster_result_authorized_operations(
        result: *const sys::rd_kafka_DescribeCluster_result_t,
        count: *mut usize,
    ) -> *const c_int;
}

/// `AclOperation` of describing.
const DESCRIBE: c_int = 8;

/// A cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Nodes {
    pub(crate) cluster: String,
    pub(crate) brokers: Vec<i32>,
    /// Whether this client may describe the cluster, and so see its access rules.
    pub(crate) may_describe: bool,
}

impl Admin {
    /// The cluster's id and brokers, and whether this client may describe it.
    pub(crate) fn cluster(&self) -> Result<Nodes, Refusal> {
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
        let event = self.call(operation, FIND_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; options and queue live until `call` returns.
            unsafe { sys::rd_kafka_DescribeCluster(rk, options, queue) };
        })?;
        // SAFETY: results; there are as many operations as are told.
        unsafe {
            let result = event.result(sys::rd_kafka_event_DescribeCluster_result)?;
            let nodes = elements(result, sys::rd_kafka_DescribeCluster_result_nodes);
            let brokers = nodes.iter();
            let brokers = brokers.map(|node| sys::rd_kafka_Node_id(*node)).collect();
            let mut count = 0;
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
}
