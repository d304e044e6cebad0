//! Named points of the program at which a build for the chaos suite can be killed.
//!
//! Without the feature `armed`, which nothing but that suite asks for, reaching a point does nothing
//! and costs nothing. With it, the environment says at which of them, and at the how-manieth time,
//! the process dies: `FAILPOINTS="commit-sent=40*off->return"` lets forty commits pass, and kills at
//! the next one. The syntax is that of the crate `fail`; the action at a point is always the same.
//!
//! To die here is to be killed by signal 9: nothing is flushed, closed or told to anyone.

/// A point, named by what is about to happen or has just happened there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Point {
    /// A transaction is begun.
    Begin,
    /// Some of a commit's records are handed to the producer, and not all.
    MidProduce,
    /// All of them are, and no positions yet.
    BeforeOffsets,
    /// The positions are added, and the end is not asked for.
    AfterOffsets,
    /// The end of the transaction is being asked for: nobody will know whether it came about.
    CommitSent,
    /// The commit is acknowledged, and not applied to any store.
    CommitAcknowledged,
    /// A store's entries are about to go to RocksDB as one batch.
    MidWrite,
    /// RocksDB is making a checkpoint durable.
    MidFlush,
    /// A store takes in a record of the changelog.
    MidRestore,
    /// Tasks are claimed, and their inputs not assigned.
    MidTakeover,
    /// Tasks are revoked, and their stores not closed.
    MidRevoke,
    /// That the number of tasks is to be changed is written down, and nothing else is done.
    Planned,
    /// Some of the profiles are copied to where the new tasks have them.
    Copying,
    /// All of them are, and the new tasks have not begun.
    Copied,
    /// The end of the transaction with which the new tasks begin is being asked for.
    Switching,
    /// The new tasks have begun, and nobody was told.
    Switched,
}

impl Point {
    /// Every one of a service, in the order of a commit, then those of stores and of the group.
    pub const ALL: [Point; 11] = [
        Point::Begin,
        Point::MidProduce,
        Point::BeforeOffsets,
        Point::AfterOffsets,
        Point::CommitSent,
        Point::CommitAcknowledged,
        Point::MidWrite,
        Point::MidFlush,
        Point::MidRestore,
        Point::MidTakeover,
        Point::MidRevoke,
    ];

    /// Those of changing the number of tasks, in their order.
    pub const REPARTITION: [Point; 5] = [
        Point::Planned,
        Point::Copying,
        Point::Copied,
        Point::Switching,
        Point::Switched,
    ];

    /// Its name in the environment and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Point::Begin => "begin",
            Point::MidProduce => "mid-produce",
            Point::BeforeOffsets => "before-offsets",
            Point::AfterOffsets => "after-offsets",
            Point::CommitSent => "commit-sent",
            Point::CommitAcknowledged => "commit-acknowledged",
            Point::MidWrite => "mid-write",
            Point::MidFlush => "mid-flush",
            Point::MidRestore => "mid-restore",
            Point::MidTakeover => "mid-takeover",
            Point::MidRevoke => "mid-revoke",
            Point::Planned => "repartition-planned",
            Point::Copying => "repartition-copying",
            Point::Copied => "repartition-copied",
            Point::Switching => "repartition-switching",
            Point::Switched => "repartition-switched",
        }
    }
}

/// Reads from the environment at which points to die. To be called once, first of all.
#[cfg(feature = "armed")]
pub fn arm() {
    // What is armed stays so until the end of the process, which does not tear it down.
    std::mem::forget(fail::FailScenario::setup());
}

/// Does nothing in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn arm() {}

/// The process is at `point`.
#[cfg(feature = "armed")]
pub fn reach(point: Point) {
    fail::fail_point!(point.as_str(), |_| die());
}

/// Does nothing in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn reach(_point: Point) {}

/// The process is at `point` if `is_there` answers true, which may take its time. It is asked in an
/// armed build only.
#[cfg(feature = "armed")]
pub fn reach_if(point: Point, is_there: impl FnOnce() -> bool) {
    if is_there() {
        reach(point);
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn reach_if(_point: Point, _is_there: impl FnOnce() -> bool) {}

/// The process does next what `point` names; where it is to die, it does so meanwhile.
#[cfg(feature = "armed")]
pub fn enter(point: Point) {
    let is_last = || {
        fail::fail_point!(point.as_str(), |_| true);
        false
    };
    if is_last() {
        std::thread::spawn(|| {
            // Anywhere in it.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let share = now.map_or(0, |now| now.subsec_micros());
            std::thread::sleep(LONGEST * (share % 1_000) / 1_000);
            die();
        });
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn enter(_point: Point) {}

/// The process is about to look at the record that `place` names; it dies of the one that the variable
/// `DEADLY_RECORD` names, as a defect in decoding it would have it. `place` is asked in an armed build
/// only.
#[cfg(feature = "armed")]
pub fn meet(place: impl FnOnce() -> String) {
    if std::env::var("DEADLY_RECORD").is_ok_and(|deadly| deadly == place()) {
        die();
    }
}

/// Does nothing in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn meet(_place: impl FnOnce() -> String) {}

/// What is entered is taken to last so long.
#[cfg(feature = "armed")]
const LONGEST: std::time::Duration = std::time::Duration::from_millis(8);

#[cfg(feature = "armed")]
fn die() {
    let sent = signal_hook::low_level::raise(signal_hook::consts::SIGKILL);
    // Whoever cannot be killed must not go on as if nothing had happened.
    drop(sent);
    std::process::abort();
}
