//! A record of a task's inputs, decoded, and the clock that it moves.

use domain::event::Text;
use domain::time::TimeMs;
use engine::clock::ClockSource;
use engine::port::TopicPartition;
use wire::bin::Corrupt;
use wire::routed::Routed;
use wire::{Decoded, InputRecord, Inputs, Rejection};

use crate::history::Entry;

/// A record of a task's inputs, decoded.
#[derive(Debug)]
pub(crate) enum Input {
    /// Of an input topic.
    Own(Decoded),
    /// Of `internal.routed`.
    Routed(Routed),
}

impl Input {
    /// A record that was not looked at.
    pub(crate) fn quarantined() -> Input {
        Input::Own(Decoded::Rejected(Rejection::quarantined()))
    }

    pub(crate) fn decode(
        inputs: &Inputs,
        at: &TopicPartition,
        entry: &Entry,
        is_routed: bool,
    ) -> Result<Input, Corrupt> {
        if is_routed {
            return Routed::decode(entry.value.as_deref().unwrap_or_default()).map(Input::Routed);
        }
        Ok(Input::Own(inputs.decode(&InputRecord {
            topic: &at.topic,
            partition: at.partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: entry.key.as_deref(),
            value: entry.value.as_deref(),
        })))
    }

    /// The clock that the record moves, and how far.
    pub(super) fn moves_clock(&self, at: &TopicPartition) -> Option<(ClockSource, TimeMs)> {
        match self {
            Input::Own(Decoded::Event(event)) => Some((input_of(at), event.time)),
            Input::Own(Decoded::Several(events, _)) => Some((input_of(at), events.first()?.time)),
            Input::Routed(
                Routed::Event {
                    from,
                    upstream_time,
                    ..
                }
                | Routed::Clock {
                    from,
                    upstream_time,
                },
            ) => Some((ClockSource::Upstream(*from), *upstream_time)),
            Input::Own(Decoded::Rejected(_) | Decoded::Ignored) | Input::Routed(_) => None,
        }
    }
}

pub(super) fn input_of(at: &TopicPartition) -> ClockSource {
    ClockSource::Input(Text::new(&at.topic), at.partition)
}
