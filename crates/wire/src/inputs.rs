//! The inputs of an application, topic by topic: records in the project's own formats, or foreign
//! ones that a mapping makes events of.
//!
//! Invariants: what becomes of a record is a function of the record, the mapping and the schemas; a
//! record has at most one [`Rejection`], however many of its events are rejected, because whoever
//! repairs it repairs its bytes, which are there once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use domain::event::Event;
use domain::time::TimeMs;
use rustc_hash::FxHashMap;

use crate::decoder::Decoder;
use crate::mapping::{MappedTopic, Mapping, MappingProblem, Outcomes};
use crate::rejection::Rejection;

/// A record of an input.
#[derive(Clone, Copy, Debug)]
pub struct InputRecord<'a> {
    /// Its topic, by its full name.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// Its timestamp.
    pub timestamp: TimeMs,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// What a record is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// One event.
    Event(Box<Event>),
    /// Events, oldest first, and where some others of the record were rejected, why: at least two in
    /// all.
    Several(Vec<Event>, Option<Rejection>),
    /// No event, and why.
    Rejected(Rejection),
    /// Nothing that the mapping has a rule for.
    Ignored,
}

/// Decodes the records of an application's inputs.
pub struct Inputs {
    decoder: Decoder,
    mapped: FxHashMap<String, MappedTopic>,
}

/// A topic cannot be read by the mapping that is given for it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the topic {topic} cannot be read by its mapping:{}", list(.problems))]
pub struct UnfitMapping {
    /// The topic.
    pub topic: String,
    /// Each place of the mapping that does not fit.
    pub problems: Vec<MappingProblem>,
}

fn list(problems: &[MappingProblem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

impl From<Decoder> for Inputs {
    /// Inputs without a mapped topic.
    fn from(decoder: Decoder) -> Inputs {
        Inputs {
            decoder,
            mapped: FxHashMap::default(),
        }
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapped: BTreeMap<&str, &str> = self
            .mapped
            .iter()
            .map(|(topic, mapped)| (topic.as_str(), mapped.mapping().id()))
            .collect();
        f.debug_struct("Inputs")
            .field("mapped", &mapped)
            .finish_non_exhaustive()
    }
}

impl Inputs {
    /// Inputs of which the topics in `mapped`, by their full names, are read by a mapping, and all
    /// others in the project's own formats by `decoder`, whose rules and schemas hold for both.
    ///
    /// # Errors
    /// A mapping is not for topics, or for another currency than the shop's.
    pub fn new(
        decoder: Decoder,
        mapped: BTreeMap<String, Arc<Mapping>>,
    ) -> Result<Inputs, UnfitMapping> {
        let mut inputs = Inputs::from(decoder);
        for (topic, mapping) in mapped {
            let rules = inputs.decoder.rules();
            if let Err(problems) = mapping.check_topic(rules) {
                return Err(UnfitMapping { topic, problems });
            }
            let mapping = MappedTopic::new(mapping, rules);
            inputs.mapped.insert(topic, mapping);
        }
        Ok(inputs)
    }

    /// The decoder of the project's own formats.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// What `record` is.
    #[must_use]
    pub fn decode(&self, record: &InputRecord<'_>) -> Decoded {
        let mapped = match self.mapped.is_empty() {
            true => None,
            false => self.mapped.get(record.topic),
        };
        let Some(mapped) = mapped else {
            let decoded = self
                .decoder
                .decode(record.key, record.value, record.timestamp);
            return match decoded {
                Ok(event) => Decoded::Event(Box::new(event)),
                Err(rejection) => Decoded::Rejected(rejection),
            };
        };
        match mapped.row(&self.decoder, record.value) {
            Ok(Some(row)) => Decoded::of(mapped.apply(&row, record)),
            Ok(None) => Decoded::Ignored,
            Err(rejection) => Decoded::Rejected(rejection),
        }
    }
}

impl Decoded {
    /// What a record is of which a mapping made `outcomes`.
    fn of(outcomes: Outcomes<'_>) -> Decoded {
        let mut events = Vec::with_capacity(outcomes.len());
        let mut rejections = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(mapped) => events.push(mapped.event),
                Err(rejection) => rejections.push(rejection),
            }
        }
        let rejection = Rejection::of_row(rejections);
        events.sort_by_key(|event| event.time);
        match (events.len(), rejection) {
            (0, None) => Decoded::Ignored,
            (0, Some(rejection)) => Decoded::Rejected(rejection),
            (1, None) => match events.pop() {
                Some(event) => Decoded::Event(Box::new(event)),
                None => Decoded::Ignored,
            },
            (_, rejection) => Decoded::Several(events, rejection),
        }
    }
}
