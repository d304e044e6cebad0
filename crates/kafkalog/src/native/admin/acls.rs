//! Rules of access control, in the numbers that Kafka has for them.

use std::ffi::{c_char, c_int};

use rdkafka::bindings as sys;

use super::raw::{ErrorText, Owned, Several, c_text, elements, refusal, text};
use super::{Admin, Operation, READ_TIMEOUT, Refusal, WRITE_TIMEOUT};

// As in `raw`: numbers that a newer broker may extend.
unsafe extern "C" {
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
}

/// Enum value `ANY` of resource types, patterns, operations and permissions alike.
const ANY: c_int = 1;

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

impl Admin {
    /// The rules that name this principal. librdkafka drops the broker's refusal: without an
    /// authorizer, and where they may not be seen ([`Nodes`](super::Nodes)), there are none.
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
            .map_err(|_| message.refusal())?
        };
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBEACLS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            // SAFETY: client; the filter outlives the call, which copies it.
            unsafe { sys::rd_kafka_DescribeAcls(rk, filter.pointer(), options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_DescribeAcls_result)?;
            let rules = elements(result, sys::rd_kafka_DescribeAcls_result_acls);
            Ok(rules.iter().map(|rule| acl_rule(*rule)).collect())
        }
    }

    /// Adds rules. One that is there already is no error.
    pub(crate) fn create_acls(&self, rules: &[AclRule]) -> Result<(), Refusal> {
        let mut bindings = Several::of(rules.iter().map(acl_binding))?;
        let operation = Operation::RD_KAFKA_ADMIN_OP_CREATEACLS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = bindings.parts();
            // SAFETY: client; the bindings outlive the call, which copies them.
            unsafe { sys::rd_kafka_CreateAcls(rk, array, count, options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_CreateAcls_result)?;
            let created = elements(result, sys::rd_kafka_CreateAcls_result_acls);
            created
                .iter()
                .find_map(|acl| refusal(sys::rd_kafka_acl_result_error(*acl)))
                .map_or(Ok(()), Err)
        }
    }
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
        Owned::new(binding, sys::rd_kafka_AclBinding_destroy).map_err(|_| message.refusal())
    }
}
