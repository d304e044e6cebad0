//! A short run of the chaos suite: one application on three brokers, one fault of each sort in the order
//! of a fixed seed. `make chaos` is the long one.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it did"
)]

use chaos::{Deck, Fault, Inputs, KeyedBy, Limits, Report, Site, run_round};
use failpoint::Point;
use fleet::{Random, program_with_failpoints};

/// Whether tasks get on in time is for the long run to judge: here others share the machine.
const FAULTS: [Fault; 11] = [
    Fault::Kill,
    Fault::KillAt(Point::MidProduce),
    Fault::KillAt(Point::CommitSent),
    Fault::KillAt(Point::CommitAcknowledged),
    Fault::KillAt(Point::MidRestore),
    Fault::Stop,
    Fault::Broker,
    Fault::Cut,
    Fault::OneWayFrom,
    Fault::DiskFull,
    Fault::VolumeLost,
];

#[test]
fn whatever_is_done_to_instances_and_brokers_the_same_comes_out() {
    let test = "whatever_is_done_to_instances_and_brokers_the_same_comes_out";
    let Some(site) = Site::open(3, test) else {
        return;
    };
    let program = program_with_failpoints();
    let inputs = Inputs {
        keyed_by: KeyedBy::Order,
        rows: 6_000,
        batches: 2 * FAULTS.len(),
        events: 1_500,
    };
    let wanted = inputs.undisturbed(&program, &site);
    let seed = std::env::var("CLVSTREAM_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut report = Report::new(seed);
    run_round(
        &site,
        &program,
        &wanted,
        &mut Deck::of(FAULTS.to_vec()),
        &mut Random::new(seed, 1),
        &Limits {
            faults: FAULTS.len(),
            resumes_within: None,
            settings: Vec::new(),
            logs: None,
        },
        &mut report,
    );
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.commits() > 100, "{report}");
    for fault in FAULTS {
        let is_possible = !report.unavailable.contains_key(&fault.name());
        assert!(
            !is_possible || report.count(fault) == 1,
            "{}: {report}",
            fault.name()
        );
    }
}
