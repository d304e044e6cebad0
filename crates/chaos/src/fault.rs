//! What can be done to a running application, and in which order it is done.

use std::collections::VecDeque;

use failpoint::Point;
use fleet::Random;

/// Something that is done to a running application.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// An instance is killed with signal 9 at a random moment, and comes back.
    Kill,
    /// An instance is killed with signal 9 at a named point.
    KillAt(Point),
    /// An instance is ended as who operates it does, and started again.
    Restart,
    /// An instance is stopped beyond every timeout, and goes on.
    Stop,
    /// A broker is killed with signal 9, and comes back.
    Broker,
    /// Connections to brokers are broken, and new ones refused.
    Cut,
    /// What goes to brokers and comes from them is late.
    Delay,
    /// What goes to brokers does not arrive, until it does.
    OneWayTo,
    /// What comes from brokers does not arrive, until it does.
    OneWayFrom,
    /// One direction of every connection is closed.
    HalfClose,
    /// The disk of an instance is full: it has to stop, and to come back when there is room.
    DiskFull,
    /// An instance comes back without its state.
    VolumeLost,
    /// An instance comes back with an older copy of its state.
    VolumeStale,
    /// The loader is killed with signal 9, and started again.
    Loader,
}

impl Fault {
    /// Every one.
    #[must_use]
    pub fn all() -> Vec<Fault> {
        let mut all = vec![
            Fault::Kill,
            Fault::Restart,
            Fault::Stop,
            Fault::Broker,
            Fault::Cut,
            Fault::Delay,
            Fault::OneWayTo,
            Fault::OneWayFrom,
            Fault::HalfClose,
            Fault::DiskFull,
            Fault::VolumeLost,
            Fault::VolumeStale,
            Fault::Loader,
        ];
        all.extend(Point::ALL.map(Fault::KillAt));
        all
    }

    /// Its name in reports, and where faults are chosen.
    #[must_use]
    pub fn name(self) -> String {
        let name = match self {
            Fault::Kill => "kill",
            Fault::KillAt(point) => return format!("kill-at-{}", point.as_str()),
            Fault::Restart => "restart",
            Fault::Stop => "stop",
            Fault::Broker => "broker",
            Fault::Cut => "cut",
            Fault::Delay => "delay",
            Fault::OneWayTo => "one-way-to",
            Fault::OneWayFrom => "one-way-from",
            Fault::HalfClose => "half-close",
            Fault::DiskFull => "disk-full",
            Fault::VolumeLost => "volume-lost",
            Fault::VolumeStale => "volume-stale",
            Fault::Loader => "loader",
        };
        name.to_owned()
    }

    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Fault> {
        Fault::all().into_iter().find(|fault| fault.name() == name)
    }
}

/// Faults in the order in which they come: all of them in a random order, then all of them in another.
#[derive(Debug)]
pub struct Deck {
    kinds: Vec<Fault>,
    left: VecDeque<Fault>,
}

impl Deck {
    /// Of these faults.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn of(kinds: Vec<Fault>) -> Deck {
        assert!(!kinds.is_empty(), "there is nothing to be done");
        Deck {
            kinds,
            left: VecDeque::new(),
        }
    }

    /// How many there are before one comes again.
    #[must_use]
    pub fn size(&self) -> usize {
        self.kinds.len()
    }

    /// The next one.
    pub fn deal(&mut self, random: &mut Random) -> Fault {
        loop {
            if let Some(fault) = self.left.pop_front() {
                return fault;
            }
            let mut kinds = self.kinds.clone();
            random.shuffle(&mut kinds);
            self.left = kinds.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in Fault::all() {
            assert_eq!(Fault::named(&fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("kill-at-noon"), None);
    }

    #[test]
    fn every_fault_comes_before_one_comes_again() {
        let mut deck = Deck::of(Fault::all());
        let mut random = Random::new(7, 0);
        for _ in 0..3 {
            let mut dealt: Vec<_> = (0..deck.size()).map(|_| deck.deal(&mut random)).collect();
            dealt.sort();
            let mut all = Fault::all();
            all.sort();
            assert_eq!(dealt, all);
        }
    }
}
