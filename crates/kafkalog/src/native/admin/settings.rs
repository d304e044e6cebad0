//! Settings of topics and brokers.

use std::collections::BTreeMap;
use std::ffi::c_int;

use rdkafka::bindings as sys;
use sys::rd_kafka_ResourceType_t as ResourceType;

use super::raw::{Owned, Several, c_text, coded, elements, refusal, text};
use super::{Admin, ByTopic, Operation, READ_TIMEOUT, Refusal, WRITE_TIMEOUT};

// As in `raw`: codes are numbers that a newer broker may extend.
unsafe extern "C" {
    fn rd_kafka_ConfigResource_error(config: *const sys::rd_kafka_ConfigResource_t) -> c_int;
}

impl Admin {
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
        let resources = names.iter().map(|name| config_resource(kind, name));
        let mut resources = Several::of(resources)?;
        let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
        let event = self.call(operation, READ_TIMEOUT, |rk, options, queue| {
            let (array, count) = resources.parts();
            // SAFETY: client; the resources outlive the call, which copies them.
            unsafe { sys::rd_kafka_DescribeConfigs(rk, array, count, options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_DescribeConfigs_result)?;
            let resources = elements(result, sys::rd_kafka_DescribeConfigs_result_resources);
            let described = resources.iter().map(|resource| {
                let name = text(sys::rd_kafka_ConfigResource_name(*resource));
                let settings = resource_refusal(*resource).map_or_else(
                    || {
                        let entries = elements(*resource, sys::rd_kafka_ConfigResource_configs);
                        let entries = entries.iter().map(|entry| {
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

    /// Sets the named settings of topics and leaves all others as they are.
    pub(crate) fn alter(
        &self,
        changes: &[(&str, Vec<(&str, &str)>)],
    ) -> Result<ByTopic<()>, Refusal> {
        let resources = changes.iter();
        let resources = resources.map(|(topic, settings)| changed_resource(topic, settings));
        let mut resources = Several::of(resources)?;
        let operation = Operation::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
        let event = self.call(operation, WRITE_TIMEOUT, |rk, options, queue| {
            let (array, count) = resources.parts();
            // SAFETY: client; the resources outlive the call, which copies them.
            unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, array, count, options, queue) };
        })?;
        // SAFETY: results.
        unsafe {
            let result = event.result(sys::rd_kafka_event_IncrementalAlterConfigs_result)?;
            let resources = elements(
                result,
                sys::rd_kafka_IncrementalAlterConfigs_result_resources,
            );
            let altered = resources.iter().map(|resource| {
                let name = text(sys::rd_kafka_ConfigResource_name(*resource));
                (name, resource_refusal(*resource).map_or(Ok(()), Err))
            });
            Ok(altered.collect())
        }
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
                resource.pointer(),
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
