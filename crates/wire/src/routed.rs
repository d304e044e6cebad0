//! Records of `internal.routed`: events on their way to their owner, and control records.
//!
//! Whatever can change a task's results, other than its inputs, comes to it here and acts at its
//! offset.

use domain::event::{Event, Text};
use domain::prediction::ModelParameters;
use domain::time::TimeMs;

use crate::bin::{Corrupt, Put, Take};
use crate::bin_event::{put_event, take_event};
use crate::state::{put_model, take_model};

/// Format of routed records.
const FORMAT: u8 = 1;

/// A record of `internal.routed`.
#[derive(Clone, PartialEq, Debug)]
pub enum Routed {
    /// An event that another task read and that this one owns.
    Event {
        /// The task that read it.
        from: u32,
        /// That task's stream time at that point.
        upstream_time: TimeMs,
        /// The event.
        event: Box<Event>,
    },
    /// Another task's stream time, told when it forwards nothing just now; [`TimeMs::MAX`]: its inputs
    /// are idle, and nobody need wait for it.
    Clock {
        /// The task.
        from: u32,
        /// Its stream time.
        upstream_time: TimeMs,
    },
    /// Wall clock in a quiet hour: every input has been idle, and stream time goes on to `now`.
    Tick {
        /// The instant that stream time advances to.
        now: TimeMs,
    },
    /// The end of a replay with `--until`: stream time advances to `until`, and nothing up to then
    /// can be overtaken any more.
    EndOfReplay {
        /// The instant that stream time advances to.
        until: TimeMs,
    },
    /// The task's own inputs have been idle for a while, by the wall clock, while others are not: they
    /// hold nobody up until something comes in them.
    Idle,
    /// The task has not met any other for a while, by the wall clock: it waits for none any more.
    Alone,
    /// These of the task's own inputs have been silent for a while, by the wall clock, while others were not: its
    /// clock goes on without them, until something comes in them.
    Silent {
        /// Topic and partition of each.
        inputs: Vec<(Text, u32)>,
    },
    /// A model of value is in force from here on; one that is not newer than the last changes nothing.
    Model(ModelParameters),
    /// The next so many profiles in the order of their keys go over to the model in force, if they have not yet.
    Rescore {
        /// How many are looked at.
        profiles: u32,
    },
}

impl Routed {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Routed::Event {
                from,
                upstream_time,
                event,
            } => encode_forwarded(*from, *upstream_time, event),
            Routed::Clock {
                from,
                upstream_time,
            } => {
                let mut buf = vec![FORMAT, 2];
                buf.put_u32(*from);
                buf.put_time(*upstream_time);
                buf
            }
            Routed::Tick { now } => {
                let mut buf = vec![FORMAT, 3];
                buf.put_time(*now);
                buf
            }
            Routed::EndOfReplay { until } => {
                let mut buf = vec![FORMAT, 4];
                buf.put_time(*until);
                buf
            }
            Routed::Idle => vec![FORMAT, 5],
            Routed::Alone => vec![FORMAT, 6],
            Routed::Model(model) => {
                let mut buf = vec![FORMAT, 7];
                put_model(&mut buf, model);
                buf
            }
            Routed::Rescore { profiles } => {
                let mut buf = vec![FORMAT, 8];
                buf.put_u32(*profiles);
                buf
            }
            Routed::Silent { inputs } => {
                let mut buf = vec![FORMAT, 9];
                buf.put_len(inputs.len());
                for (topic, partition) in inputs {
                    buf.put_text(topic);
                    buf.put_u32(*partition);
                }
                buf
            }
        }
    }

    /// Reads what [`Routed::encode`] wrote.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Routed, Corrupt> {
        let mut take = Take::new(bytes, "a routed record");
        if take.u8()? != FORMAT {
            return Err(take.corrupt("it is of an unknown format version"));
        }
        let routed = match take.u8()? {
            1 => {
                let (from, upstream_time) = (take.u32()?, take.time()?);
                Routed::Event {
                    from,
                    upstream_time,
                    event: Box::new(take_event(&mut take, upstream_time)?),
                }
            }
            2 => Routed::Clock {
                from: take.u32()?,
                upstream_time: take.time()?,
            },
            3 => Routed::Tick { now: take.time()? },
            4 => Routed::EndOfReplay {
                until: take.time()?,
            },
            5 => Routed::Idle,
            6 => Routed::Alone,
            7 => Routed::Model(take_model(&mut take)?),
            8 => Routed::Rescore {
                profiles: take.u32()?,
            },
            9 => Routed::Silent {
                inputs: take.list(2, |take| Ok((take.text()?, take.u32()?)))?,
            },
            _ => return Err(take.corrupt("it is of an unknown kind")),
        };
        take.finish()?;
        Ok(routed)
    }
}

/// The bytes of [`Routed::Event`], from a borrowed event.
#[must_use]
pub fn encode_forwarded(from: u32, upstream_time: TimeMs, event: &Event) -> Vec<u8> {
    let mut buf = vec![FORMAT, 1];
    buf.put_u32(from);
    buf.put_time(upstream_time);
    put_event(&mut buf, upstream_time, event);
    buf
}
