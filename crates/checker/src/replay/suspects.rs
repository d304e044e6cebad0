//! The records that would explain a difference, had they been altered.

use std::fmt;

use engine::commit_record::Consumed;
use engine::port::TopicPartition;

use super::lanes::Lanes;
use crate::chain::count_of;

/// What the last commit consumed and looked at, or the one in which the first difference showed.
#[derive(Default)]
pub(super) struct Suspects(Vec<Span>);

/// Offsets of an input, the end excepted.
pub(super) struct Span {
    pub(super) input: TopicPartition,
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Suspects {
    /// What a commit consumed, and looked at, explains a difference that shows now.
    pub(super) fn follow(&mut self, consumed: &Consumed, lanes: &Lanes) {
        let mut spans = Vec::new();
        for (index, (input, position)) in (0_u32..).zip(&consumed.positions) {
            spans.push(Span {
                input: input.clone(),
                from: position.saturating_sub(count_of(consumed, index)),
                until: *position,
            });
        }
        if let Some(peeked) = &consumed.peeked {
            let next = lanes.next(peeked);
            spans.push(Span {
                input: peeked.clone(),
                from: next,
                until: next + 1,
            });
        }
        // Timers alone explain nothing: what was consumed before them does.
        if !spans.is_empty() {
            self.0 = spans;
        }
    }

    pub(super) fn first(&self) -> Option<&Span> {
        self.0.first()
    }
}

impl fmt::Display for Suspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Span { input, from, until }) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{} partition {} ", input.topic, input.partition)?;
            match until.saturating_sub(1) {
                last if last > *from => write!(f, "offsets {from} to {last}")?,
                last => write!(f, "offset {last}")?,
            }
        }
        Ok(())
    }
}
