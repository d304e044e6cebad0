//! What is printed: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use sim::campaign::{Failed, Fate, Tally};
use sim::faults::{Fault, Phase};
use sim::mutants::Mutation;
use sim::seed::Report;

/// A mutation's name on the command line.
pub(crate) fn flag(mutation: Mutation) -> String {
    mutation.as_str().replace(' ', "-")
}

/// A seed that failed, and how to see it again.
pub(crate) fn failed(failed: &Failed, mutation: Option<Mutation>) -> String {
    let Failed {
        seed,
        invariant,
        what,
    } = failed;
    let with = mutation.map_or(String::new(), |m| format!(" --mutation {}", flag(m)));
    format!(
        "FAILED seed {seed}: {invariant}: {what}\n  replay: cargo run --release -p sim -- --seed {seed}{with}"
    )
}

/// One seed.
pub(crate) fn one(report: &Report, as_json: bool) -> String {
    let violations = report.violations.iter();
    if as_json {
        let violations = violations.map(|v| json!({ "invariant": v.invariant, "what": v.what }));
        return json!({
            "seed": report.seed,
            "trace": format!("{:016x}", report.hash),
            "virtual_ms": report.virtual_ms,
            "faults": report.coverage.total(),
            "violations": violations.collect::<Vec<_>>(),
        })
        .to_string();
    }
    let mut out = format!(
        "seed {}: {} faults in {} s of virtual time, {} transactions committed and {} aborted, {} \
         rebalances; trace {:016x}",
        report.seed,
        report.coverage.total(),
        report.virtual_ms / 1000,
        report.transactions.0,
        report.transactions.1,
        report.rebalances,
        report.hash
    );
    for violation in violations {
        let _ = write!(
            out,
            "\nVIOLATED {}: {}",
            violation.invariant, violation.what
        );
    }
    out
}

/// Many seeds.
pub(crate) fn tally(tally: &Tally, took: Duration, as_json: bool) -> String {
    let rare = tally.too_rare();
    if as_json {
        let pairs = Fault::pairs().map(|(fault, phase)| {
            let count = tally.coverage.of(fault, phase);
            json!({ "fault": fault.as_str(), "phase": phase.as_str(), "count": count })
        });
        return json!({
            "seeds": tally.seeds,
            "seconds": took.as_secs_f64(),
            "virtual_ms": tally.virtual_ms,
            "committed": tally.transactions.0,
            "aborted": tally.transactions.1,
            "rebalances": tally.rebalances,
            "promoted": tally.promoted.0,
            "promoted_among_records": tally.promoted.1,
            "faults": tally.coverage.total(),
            "pairs": pairs.collect::<Vec<Value>>(),
            "too_rare": rare.len(),
            "failed": tally.failed,
        })
        .to_string();
    }
    let mut out = format!("{:22}", "fault \\ phase");
    for phase in Phase::ALL {
        let _ = write!(out, "{phase:>15}");
    }
    for fault in Fault::ALL {
        let _ = write!(out, "\n{fault:22}");
        for phase in Phase::ALL {
            match fault.applies(phase) {
                true => _ = write!(out, "{:>15}", tally.coverage.of(fault, phase)),
                false => _ = write!(out, "{:>15}", "-"),
            }
        }
    }
    for (fault, phase, count) in &rare {
        let _ = write!(out, "\nTOO RARE: {fault} at {phase}: {count} times");
    }
    for one in tally.failed.iter().take(20) {
        let _ = write!(out, "\n{}", failed(one, None));
    }
    let _ = write!(
        out,
        "\n{} seeds in {:.0} s: {} failed; {} faults, {} transactions committed and {} aborted, {} \
         rebalances, {} models promoted, {} of them among the records; {} h of virtual time",
        tally.seeds,
        took.as_secs_f64(),
        tally.failed.len(),
        tally.coverage.total(),
        tally.transactions.0,
        tally.transactions.1,
        tally.rebalances,
        tally.promoted.0,
        tally.promoted.1,
        tally.virtual_ms / 3_600_000
    );
    out
}

/// The mutation gate.
pub(crate) fn fates(fates: &[(Mutation, Fate)], as_json: bool) -> String {
    if as_json {
        let fates = fates.iter().map(|(mutation, fate)| match fate {
            Fate::Caught(by) => json!({
                "mutant": mutation.as_str(), "fate": "caught", "seed": by.seed,
                "invariant": by.invariant, "what": by.what,
            }),
            Fate::Unproven(without) => json!({
                "mutant": mutation.as_str(), "fate": "unproven", "seed": without.seed,
                "invariant": without.invariant, "what": without.what,
            }),
            Fate::Survived(seeds) => json!({
                "mutant": mutation.as_str(), "fate": "survived", "seeds": seeds,
            }),
        });
        return Value::from(fates.collect::<Vec<_>>()).to_string();
    }
    let mut out = format!(
        "{:30} {:10} {:10} seed  what",
        "mutant", "fate", "invariant"
    );
    for (mutation, fate) in fates {
        let name = mutation.as_str();
        let _ = match fate {
            Fate::Caught(by) => {
                let what: String = by.what.chars().take(110).collect();
                let (seed, invariant) = (by.seed, &by.invariant);
                write!(
                    out,
                    "\n{name:30} {:10} {invariant:10} {seed:<5} {what}",
                    "caught"
                )
            }
            Fate::Unproven(without) => write!(
                out,
                "\n{name:30} UNPROVEN: seed {} fails without it too: {}",
                without.seed, without.what
            ),
            Fate::Survived(seeds) => write!(out, "\n{name:30} SURVIVED {seeds} seeds"),
        };
    }
    out
}
