//! What can go wrong, where, and how often each has.

use std::collections::BTreeMap;
use std::fmt;

use crate::random::Random;

/// Where a worker can be when something goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// A transaction is about to begin.
    Begin,
    /// Some of its records are written.
    MidProduce,
    /// All records are written, the positions are not.
    BeforeOffsets,
    /// Records and positions are written, the end is not asked for.
    AfterOffsets,
    /// The end is asked for and not answered.
    CommitSent,
    /// The commit is answered, and not in the store.
    Committed,
    /// A store is about to be, or has just been, made durable.
    MidCheckpoint,
    /// A changelog is being read.
    MidRestore,
    /// Tasks are being claimed.
    MidTakeover,
    /// A task is being given up.
    MidRevoke,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 10] = [
        Phase::Begin,
        Phase::MidProduce,
        Phase::BeforeOffsets,
        Phase::AfterOffsets,
        Phase::CommitSent,
        Phase::Committed,
        Phase::MidCheckpoint,
        Phase::MidRestore,
        Phase::MidTakeover,
        Phase::MidRevoke,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Begin => "begin",
            Phase::MidProduce => "mid-produce",
            Phase::BeforeOffsets => "before offsets",
            Phase::AfterOffsets => "after offsets",
            Phase::CommitSent => "commit sent",
            Phase::Committed => "committed",
            Phase::MidCheckpoint => "mid-checkpoint",
            Phase::MidRestore => "mid-restore",
            Phase::MidTakeover => "mid-takeover",
            Phase::MidRevoke => "mid-revoke",
        }
    }

    /// Whether it only comes about when tasks move.
    #[must_use]
    pub fn needs_rebalance(self) -> bool {
        matches!(
            self,
            Phase::MidRestore | Phase::MidTakeover | Phase::MidRevoke
        )
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// kill -9; the volume stays.
    Kill,
    /// kill -9, and the volume is gone.
    KillVolumeLost,
    /// kill -9, and the volume is an older one.
    KillVolumeStale,
    /// The process stands still beyond the session timeout.
    PauseSession,
    /// The process stands still beyond the poll interval.
    PausePoll,
    /// The process stands still beyond the transaction timeout and a scan.
    PauseTransaction,
    /// The answer to a commit is lost.
    LostAnswer,
    /// A record is refused: the transaction has to be aborted.
    RefusedRecord,
    /// The brokers answer nothing for a while.
    BrokerDown,
    /// The coordinators answer nothing for a while.
    CoordinatorDown,
    /// Whatever is added to a transaction meets another one, again and again.
    Storm,
    /// Tasks are dealt out anew several times in a row.
    Flapping,
    /// Another instance leaves as it should, and comes back later.
    Scale,
    /// Some partitions are slow.
    SlowPartitions,
    /// The wall clock of the machine jumps.
    ClockJump,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 15] = [
        Fault::Kill,
        Fault::KillVolumeLost,
        Fault::KillVolumeStale,
        Fault::PauseSession,
        Fault::PausePoll,
        Fault::PauseTransaction,
        Fault::LostAnswer,
        Fault::RefusedRecord,
        Fault::BrokerDown,
        Fault::CoordinatorDown,
        Fault::Storm,
        Fault::Flapping,
        Fault::Scale,
        Fault::SlowPartitions,
        Fault::ClockJump,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::KillVolumeLost => "kill, volume lost",
            Fault::KillVolumeStale => "kill, volume stale",
            Fault::PauseSession => "pause > session",
            Fault::PausePoll => "pause > poll",
            Fault::PauseTransaction => "pause > transaction",
            Fault::LostAnswer => "answer lost",
            Fault::RefusedRecord => "record refused",
            Fault::BrokerDown => "broker down",
            Fault::CoordinatorDown => "coordinator down",
            Fault::Storm => "concurrent storm",
            Fault::Flapping => "flapping",
            Fault::Scale => "scale in, out",
            Fault::SlowPartitions => "slow partitions",
            Fault::ClockJump => "clock jump",
        }
    }

    /// Whether others take over from the process.
    #[must_use]
    pub fn takes_process(self) -> bool {
        matches!(
            self,
            Fault::Kill
                | Fault::KillVolumeLost
                | Fault::KillVolumeStale
                | Fault::PauseSession
                | Fault::PausePoll
                | Fault::PauseTransaction
        )
    }

    /// Whether it can happen in `phase`.
    #[must_use]
    pub fn applies(self, phase: Phase) -> bool {
        match self {
            Fault::LostAnswer => phase == Phase::CommitSent,
            Fault::RefusedRecord => matches!(phase, Phase::Begin | Phase::MidProduce),
            _ => true,
        }
    }

    /// Every fault with every phase in which it can happen.
    pub fn pairs() -> impl Iterator<Item = (Fault, Phase)> {
        let all = Fault::ALL.into_iter();
        let all = all.flat_map(|fault| Phase::ALL.into_iter().map(move |phase| (fault, phase)));
        all.filter(|(fault, phase)| fault.applies(*phase))
    }

    /// One pair, each fault as likely as any other, and so each phase of it.
    pub(crate) fn draw(random: &mut Random) -> (Fault, Phase) {
        // Those that apply to few phases come less often, so that pairs are about as frequent.
        let pairs: Vec<_> = Fault::pairs().collect();
        random.pick(&pairs)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How often each fault has happened in each phase.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage(BTreeMap<(Fault, Phase), u64>);

impl Coverage {
    /// It happened.
    pub(crate) fn count(&mut self, fault: Fault, phase: Phase) {
        *self.0.entry((fault, phase)).or_default() += 1;
    }

    /// How often that happened.
    #[must_use]
    pub fn of(&self, fault: Fault, phase: Phase) -> u64 {
        self.0.get(&(fault, phase)).copied().unwrap_or(0)
    }

    /// All of it together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Adds what another run had.
    pub fn add(&mut self, other: &Coverage) {
        for (pair, count) in &other.0 {
            *self.0.entry(*pair).or_default() += count;
        }
    }
}
