//! Stream time of one task: how far its inputs have come, in event time.
//!
//! Invariants: it is a function of the records consumed so far, and of nothing else, and never goes
//! back (I8). It is the lowest of the inputs that are not idle, where an input is a partition that the
//! task reads or a task that forwards to it. An input counts from its first record on and until it is said that
//! it is silent ([`StreamClock::leave_silent`]) or that all of them are idle; and again from its next record on.
//!
//! Tasks that forward to each other wait for each other from the first forwarded event on: as long as one
//! of them has not told where it is, stream time stands still ([`StreamClock::expect`]). When it tells,
//! and is behind, [`StreamClock::frontier`] goes by where it is: its customers must not age by the
//! clock of others before their events are here.
//!
//! Until it is known whether anything is forwarded at all, the frontier stands still
//! ([`StreamClock::hold`]): otherwise what a task had settled before its first contact with others
//! would depend on how soon that came.

use std::collections::BTreeMap;

use domain::event::Text;
use domain::time::TimeMs;

/// After so many records of its own inputs without contact to another task, a task takes it that
/// nothing is forwarded: inputs that are keyed by something else forward far sooner.
const CONTACT_WITHIN: u32 = 256;

/// Something that moves a task's clock.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClockSource {
    /// A partition of an input topic.
    Input(Text, u32),
    /// Another task, by the events that it forwards.
    Upstream(u32),
}

/// Stream time and what it rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamClock {
    /// Latest event time seen, for every source that is not idle.
    pub sources: BTreeMap<ClockSource, TimeMs>,
    /// Stream time; [`TimeMs::MIN`] before the first record.
    pub stream_time: TimeMs,
    /// The lowest of the sources, which what is late is judged by: stream time, or less after first
    /// contact with a task that is behind, and for as long as contact may still come.
    pub lowest: TimeMs,
    /// How far the task's own partitions have come: what it tells those that it forwards to. What
    /// others forward to it is no part of that, because it goes no further; and two tasks that
    /// forward to each other would each wait for the other.
    pub input_time: TimeMs,
    /// The latest tick; first contact does not reach back behind it.
    pub ticked_to: TimeMs,
    /// Nothing at or before this instant can be overtaken, whatever the grace: the end of a replay.
    pub closed_to: TimeMs,
    /// For how many more records of its own inputs a task that has met no other holds `lowest` back.
    pub held_for: u32,
}

impl Default for StreamClock {
    fn default() -> StreamClock {
        StreamClock {
            sources: BTreeMap::new(),
            stream_time: TimeMs::MIN,
            lowest: TimeMs::MIN,
            input_time: TimeMs::MIN,
            ticked_to: TimeMs::MIN,
            closed_to: TimeMs::MIN,
            held_for: 0,
        }
    }
}

impl StreamClock {
    /// What is late cannot be told before it is known whether other tasks forward to this one:
    /// [`StreamClock::lowest`] stands still until [`StreamClock::release`], a tick, or the last of
    /// [`StreamClock::own_record`].
    pub fn hold(&mut self) {
        self.held_for = CONTACT_WITHIN;
    }

    /// A record of the task's own inputs was consumed.
    pub fn own_record(&mut self) {
        match self.held_for {
            0 => {}
            1 => self.release(),
            _ => self.held_for -= 1,
        }
    }

    /// It is known who is to be waited for.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.held_for) > 0 {
            self.advance();
        }
    }

    /// A record of `source` with event time `time` is about to be consumed.
    pub fn observe(&mut self, source: &ClockSource, time: TimeMs) {
        let is_upstream = matches!(source, ClockSource::Upstream(_));
        match self.sources.get_mut(source) {
            Some(seen) if time <= *seen => return,
            Some(seen) if *seen > TimeMs::MIN => {
                let was = std::mem::replace(seen, time);
                // Only who is behind can hold the others up, and let them go.
                if was > self.lowest && (is_upstream || was > self.input_time) {
                    return;
                }
            }
            _ => {
                self.sources.insert(source.clone(), time);
                if is_upstream && time < self.lowest {
                    self.lowest = time.max(self.ticked_to);
                    return;
                }
            }
        }
        self.advance();
    }

    /// A task that may forward to this one has not told where it is: it is waited for.
    pub fn expect(&mut self, source: &ClockSource) {
        let unknown = self.sources.entry(source.clone());
        unknown.or_insert(TimeMs::MIN);
    }

    /// `source` is idle, and holds nobody up until it is heard of again.
    pub fn leave(&mut self, source: &ClockSource) {
        self.leave_those(|one| one == source);
    }

    /// All of the task's own inputs are idle.
    pub fn leave_inputs(&mut self) {
        self.leave_those(|source| matches!(source, ClockSource::Input(..)));
    }

    /// These inputs of the task are silent, while others are not.
    pub fn leave_silent(&mut self, inputs: &[(Text, u32)]) {
        self.leave_those(|source| match source {
            ClockSource::Input(topic, partition) => {
                let is_it = |input: &(Text, u32)| input.0 == *topic && input.1 == *partition;
                inputs.iter().any(is_it)
            }
            ClockSource::Upstream(_) => false,
        });
    }

    /// They leave at once: one by one, the clock would go on to the last of them, and which one that is
    /// depends on the order in which inputs are configured.
    fn leave_those(&mut self, leaves: impl Fn(&ClockSource) -> bool) {
        let before = self.sources.len();
        self.sources.retain(|source, _| !leaves(source));
        if self.sources.len() < before {
            self.advance();
        }
    }

    fn advance(&mut self) {
        if let Some(lowest) = self.sources.values().min() {
            self.stream_time = self.stream_time.max(*lowest);
            if self.held_for == 0 {
                self.lowest = self.lowest.max(*lowest);
            }
        }
        let inputs = self
            .sources
            .iter()
            .filter(|(source, _)| matches!(source, ClockSource::Input(..)));
        if let Some(lowest) = inputs.map(|(_, time)| time).min() {
            self.input_time = self.input_time.max(*lowest);
        }
    }

    /// Every input is idle, and the clock goes on to `now`.
    pub fn tick(&mut self, now: TimeMs) {
        self.sources.clear();
        self.held_for = 0;
        self.stream_time = self.stream_time.max(now);
        self.lowest = self.lowest.max(now);
        self.input_time = self.input_time.max(now);
        self.ticked_to = self.ticked_to.max(now);
    }

    /// The end of a replay: the clock goes to `until`, and nothing up to then comes any more.
    pub fn close(&mut self, until: TimeMs) {
        self.tick(until);
        self.closed_to = self.closed_to.max(until);
    }

    /// What can no longer be overtaken: the lowest of the sources less the grace.
    #[must_use]
    pub fn frontier(&self, grace_ms: i64) -> TimeMs {
        self.lowest.minus(grace_ms).max(self.closed_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(partition: u32) -> ClockSource {
        ClockSource::Input("orders".into(), partition)
    }

    #[test]
    fn stream_time_is_the_lowest_of_the_inputs_and_never_goes_back() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        assert_eq!(clock.stream_time, TimeMs(100));
        clock.observe(&orders(1), TimeMs(50));
        assert_eq!(
            clock.stream_time,
            TimeMs(100),
            "a new input does not turn it back"
        );
        clock.observe(&orders(0), TimeMs(300));
        assert_eq!(clock.stream_time, TimeMs(100), "the other input holds it");
        clock.observe(&orders(1), TimeMs(200));
        assert_eq!(clock.stream_time, TimeMs(200));
        clock.observe(&orders(1), TimeMs(10));
        assert_eq!(clock.stream_time, TimeMs(200), "late records do not count");
    }

    #[test]
    fn a_tick_frees_it_from_idle_inputs() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        clock.observe(&ClockSource::Upstream(3), TimeMs(20));
        clock.tick(TimeMs(500));
        assert_eq!(clock.stream_time, TimeMs(500));
        clock.observe(&orders(0), TimeMs(600));
        assert_eq!(
            clock.stream_time,
            TimeMs(600),
            "the silent one no longer holds it"
        );
    }

    #[test]
    fn what_others_forward_does_not_hold_what_is_told_to_them() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        clock.observe(&ClockSource::Upstream(1), TimeMs(100));
        clock.observe(&orders(0), TimeMs(200));
        assert_eq!(
            (clock.stream_time, clock.input_time),
            (TimeMs(100), TimeMs(200))
        );
        clock.observe(&ClockSource::Upstream(1), TimeMs(200));
        assert_eq!(
            (clock.stream_time, clock.input_time),
            (TimeMs(200), TimeMs(200))
        );
    }

    #[test]
    fn first_contact_with_a_task_behind_judges_lateness_by_it_and_turns_nothing_back() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        clock.observe(&ClockSource::Upstream(1), TimeMs(40));
        assert_eq!(clock.frontier(0), TimeMs(40));
        assert_eq!(clock.stream_time, TimeMs(100), "it stands still (I8)");
        clock.observe(&ClockSource::Upstream(1), TimeMs(30));
        assert_eq!(clock.frontier(0), TimeMs(40), "only the first time");
        clock.observe(&ClockSource::Upstream(1), TimeMs(120));
        assert_eq!(
            (clock.frontier(0), clock.stream_time),
            (TimeMs(100), TimeMs(100))
        );
        clock.tick(TimeMs(150));
        clock.observe(&ClockSource::Upstream(2), TimeMs(60));
        assert_eq!(clock.frontier(0), TimeMs(150), "not behind a tick");
    }

    #[test]
    fn who_is_expected_is_waited_for_until_he_tells_or_is_idle() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        clock.expect(&ClockSource::Upstream(1));
        clock.expect(&ClockSource::Upstream(2));
        clock.observe(&orders(0), TimeMs(300));
        assert_eq!(
            (clock.frontier(0), clock.input_time),
            (TimeMs(100), TimeMs(300))
        );
        clock.observe(&ClockSource::Upstream(1), TimeMs(40));
        assert_eq!(
            clock.frontier(0),
            TimeMs(40),
            "his customers are as old as that"
        );
        clock.observe(&ClockSource::Upstream(1), TimeMs(250));
        assert_eq!(clock.frontier(0), TimeMs(40), "the other has not told yet");
        clock.leave(&ClockSource::Upstream(2));
        assert_eq!(clock.frontier(0), TimeMs(250));
        clock.leave(&orders(0));
        clock.leave(&ClockSource::Upstream(1));
        assert_eq!(clock.frontier(0), TimeMs(250), "nobody is left to go by");
    }

    #[test]
    fn inputs_that_are_idle_leave_at_once() {
        let mut clock = StreamClock::default();
        clock.expect(&ClockSource::Upstream(1));
        clock.observe(&orders(0), TimeMs(100));
        clock.observe(&orders(1), TimeMs(400));
        clock.leave_inputs();
        assert_eq!(
            (clock.input_time, clock.stream_time),
            (TimeMs(100), TimeMs::MIN)
        );
        clock.observe(&ClockSource::Upstream(1), TimeMs(300));
        assert_eq!(
            (clock.input_time, clock.stream_time),
            (TimeMs(100), TimeMs(300))
        );
    }

    #[test]
    fn inputs_that_are_silent_leave_at_once_and_come_back_with_their_next_record() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(100));
        clock.observe(&orders(1), TimeMs(200));
        clock.observe(&orders(2), TimeMs(900));
        clock.expect(&ClockSource::Upstream(0));
        clock.observe(&ClockSource::Upstream(0), TimeMs(800));
        let silent = [("orders".into(), 0), ("orders".into(), 1), ("x".into(), 7)];
        clock.leave_silent(&silent);
        assert_eq!(
            (clock.stream_time, clock.input_time),
            (TimeMs(800), TimeMs(900))
        );
        clock.observe(&ClockSource::Upstream(0), TimeMs(1_000));
        clock.observe(&orders(1), TimeMs(850));
        clock.observe(&orders(2), TimeMs(2_000));
        assert_eq!(clock.stream_time, TimeMs(900), "it is back and behind");
        clock.observe(&orders(1), TimeMs(950));
        assert_eq!(clock.stream_time, TimeMs(950), "and holds the others up");
    }

    #[test]
    fn nothing_is_late_before_it_is_known_who_is_waited_for() {
        let mut clock = StreamClock::default();
        clock.hold();
        clock.observe(&orders(0), TimeMs(100));
        assert_eq!(
            (clock.frontier(0), clock.stream_time, clock.input_time),
            (TimeMs::MIN, TimeMs(100), TimeMs(100))
        );
        clock.expect(&ClockSource::Upstream(1));
        clock.release();
        assert_eq!(clock.frontier(0), TimeMs::MIN, "he has not told");
        clock.observe(&ClockSource::Upstream(1), TimeMs(40));
        assert_eq!(clock.frontier(0), TimeMs(40));
    }

    #[test]
    fn who_meets_nobody_goes_on_alone() {
        let mut clock = StreamClock::default();
        clock.hold();
        for at in 1..=i64::from(CONTACT_WITHIN) {
            clock.observe(&orders(0), TimeMs(at));
            assert_eq!(clock.frontier(0), TimeMs::MIN);
            clock.own_record();
        }
        assert_eq!(clock.frontier(0), TimeMs(i64::from(CONTACT_WITHIN)));
        clock.hold();
        clock.tick(TimeMs(5_000));
        clock.observe(&orders(0), TimeMs(6_000));
        assert_eq!(clock.frontier(0), TimeMs(6_000), "a tick ends it too");
    }

    #[test]
    fn the_grace_ends_where_a_replay_was_closed() {
        let mut clock = StreamClock::default();
        clock.observe(&orders(0), TimeMs(10_000));
        assert_eq!(clock.frontier(1_000), TimeMs(9_000));
        clock.close(TimeMs(12_000));
        assert_eq!(clock.frontier(1_000), TimeMs(12_000));
    }
}
