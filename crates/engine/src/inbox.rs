//! A task's inputs, merged oldest first.
//!
//! Invariant: within one input, records leave in the order of their offsets. Between inputs the
//! one whose next record is the oldest in event time goes first, and nothing goes while an input
//! that may still have something older has not been read: so the order is that of the records, not
//! that of their arrival, for as long as everything is there to be read.

use std::collections::VecDeque;

use domain::event::{Event, Text};
use domain::time::TimeMs;
use wire::Rejection;
use wire::routed::Routed;

use crate::port::{Record, TopicPartition};

/// A record, decoded.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// An event.
    Event(Box<Event>),
    /// Events of one record, oldest first, and where others of it were rejected, the reason and
    /// what came. They are consumed together: a commit takes them all in or none.
    Several(Vec<Event>, Option<Box<(Rejection, Record)>>),
    /// Nothing that a mapping has a rule for.
    Ignored,
    /// A record of `internal.routed`.
    Routed(Routed),
    /// Not an event, with the reason and what came.
    Rejected(Box<(Rejection, Record)>),
}

/// A decoded record that waits for its turn.
#[derive(Clone, PartialEq, Debug)]
pub struct Waiting {
    /// Its offset.
    pub offset: u64,
    /// Its event time: that of its oldest event; without one the beginning of time, so that it
    /// holds nobody up.
    pub time: TimeMs,
    /// Key of the profile that it belongs to, if it is one event.
    pub owner: Option<Text>,
    /// What it is.
    pub input: Input,
}

impl Waiting {
    /// Keys of the profiles that it belongs to.
    pub fn owners(&self) -> impl Iterator<Item = Text> {
        let events = match &self.input {
            Input::Several(events, _) => events.as_slice(),
            _ => &[],
        };
        let owners = events.iter().filter_map(|e| e.owner().map(|o| o.key()));
        self.owner.iter().cloned().chain(owners)
    }
}

/// One input of a task.
#[derive(Debug)]
struct Lane {
    source: TopicPartition,
    waiting: VecDeque<Waiting>,
    caught_up: bool,
}

/// The inputs of one task.
#[derive(Debug)]
pub struct Inbox {
    lanes: Vec<Lane>,
}

/// What the inbox has to say about its next record.
#[derive(Debug)]
pub enum Next<'a> {
    /// The record of lane `.0` is next.
    Ready(usize, &'a Waiting),
    /// This lane has to be read first.
    Unread(usize),
    /// Everything that there is has been taken.
    Drained,
}

impl Inbox {
    /// An inbox over `sources`; records of equal time leave in this order of sources.
    #[must_use]
    pub fn new(sources: Vec<TopicPartition>) -> Inbox {
        let lane = |source| Lane {
            source,
            waiting: VecDeque::new(),
            caught_up: false,
        };
        Inbox {
            lanes: sources.into_iter().map(lane).collect(),
        }
    }

    /// The partition that lane `lane` reads.
    #[must_use]
    pub fn source(&self, lane: usize) -> &TopicPartition {
        &self.lanes[lane].source
    }

    /// The records that wait in `lane`, the next one first.
    pub fn waiting(&self, lane: usize) -> impl Iterator<Item = &Waiting> {
        self.lanes[lane].waiting.iter()
    }

    /// Which record is next. A lane without a record is to be read before anything else goes,
    /// unless it has been found at its end since [`Inbox::look_again`].
    #[must_use]
    pub fn next(&self) -> Next<'_> {
        let mut best: Option<(usize, &Waiting)> = None;
        for (at, lane) in self.lanes.iter().enumerate() {
            match lane.waiting.front() {
                None if !lane.caught_up => return Next::Unread(at),
                None => {}
                Some(head) if best.is_none_or(|(_, known)| head.time < known.time) => {
                    best = Some((at, head));
                }
                Some(_) => {}
            }
        }
        best.map_or(Next::Drained, |(at, head)| Next::Ready(at, head))
    }

    /// Puts in what was read for `lane`. Nothing read: the lane is at its end for now.
    pub fn put(&mut self, lane: usize, records: impl Iterator<Item = Waiting>) {
        let lane = &mut self.lanes[lane];
        let before = lane.waiting.len();
        lane.waiting.extend(records);
        lane.caught_up = lane.waiting.len() == before;
    }

    /// Takes the next record of `lane`.
    pub fn pop(&mut self, lane: usize) -> Option<Waiting> {
        self.lanes[lane].waiting.pop_front()
    }

    /// What was found at its end may have grown.
    pub fn look_again(&mut self) {
        for lane in &mut self.lanes {
            lane.caught_up = false;
        }
    }

    /// Drops everything that waits: reading starts again from the committed positions.
    pub fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.waiting.clear();
            lane.caught_up = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> Inbox {
        let source = |topic: &str| TopicPartition {
            topic: topic.into(),
            partition: 0,
        };
        Inbox::new(vec![source("a"), source("b")])
    }

    fn waiting(offset: u64, time: i64) -> Waiting {
        Waiting {
            offset,
            time: TimeMs(time),
            owner: None,
            input: Input::Routed(Routed::Tick { now: TimeMs(time) }),
        }
    }

    fn drain(inbox: &mut Inbox) -> Vec<(usize, u64)> {
        let mut order = Vec::new();
        while let Next::Ready(lane, _) = inbox.next() {
            if let Some(taken) = inbox.pop(lane) {
                order.push((lane, taken.offset));
            }
            if matches!(inbox.next(), Next::Unread(_)) {
                break;
            }
        }
        order
    }

    #[test]
    fn the_oldest_head_goes_first_and_ties_go_by_lane() {
        let mut inbox = inbox();
        inbox.put(0, [waiting(0, 10), waiting(1, 30)].into_iter());
        inbox.put(1, [waiting(0, 10), waiting(1, 20)].into_iter());
        assert_eq!(drain(&mut inbox), [(0, 0), (1, 0), (1, 1)]);
        assert!(
            matches!(inbox.next(), Next::Unread(1)),
            "lane 1 may have something older than 30"
        );
        inbox.put(1, std::iter::empty());
        assert_eq!(drain(&mut inbox), [(0, 1)]);
    }

    #[test]
    fn within_a_lane_offsets_decide_even_against_time() {
        let mut inbox = inbox();
        inbox.put(0, [waiting(0, 50), waiting(1, 5)].into_iter());
        inbox.put(1, std::iter::empty());
        assert_eq!(drain(&mut inbox), [(0, 0), (0, 1)]);
    }

    #[test]
    fn drained_until_looked_at_again() {
        let mut inbox = inbox();
        inbox.put(0, std::iter::empty());
        inbox.put(1, std::iter::empty());
        assert!(matches!(inbox.next(), Next::Drained));
        inbox.look_again();
        assert!(matches!(inbox.next(), Next::Unread(0)));
    }
}
