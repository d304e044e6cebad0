//! The reference page of the metrics, made of their declarations.

use std::fmt::Write as _;

use wire::RejectionClass;

use crate::family::{self, Kind, SECONDS};
use crate::metrics::{CommitOutcome, Outcome, RefitOutcome, RetentionOutcome};

const INTRODUCTION: &str = "# Metrics

<!-- Generated from the declarations in crates/server. Regenerate with
     `UPDATE=1 cargo test -p server --test reference`. -->

`/metrics` on the address of `http.listen` (loopback unless configured) answers in Prometheus' text
format. Beside the families below it holds the usual `process_*` ones (CPU seconds, resident memory,
open files). Counters count from the start of the process; gauges are
refreshed once a second. No label ever names a customer.

| family | kind | label | meaning |
|---|---|---|---|
";

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for family in family::ALL {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let label = family
            .label
            .map_or_else(String::new, |label| format!("`{label}`"));
        let _ = writeln!(
            page,
            "| `{}` | {kind} | {label} | {} |",
            family.name, family.help
        );
    }
    let bounds: Vec<String> = SECONDS.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        page,
        "\nUpper bounds of every histogram, in seconds: {}.\n\n## Values of the labels\n",
        bounds.join(", ")
    );
    let outcomes = Outcome::ALL.iter().map(|o| o.as_str());
    let commits = CommitOutcome::ALL.iter().map(|o| o.as_str());
    let retention = RetentionOutcome::ALL.iter().map(|o| o.as_str());
    let refits = RefitOutcome::ALL.iter().map(|o| o.as_str());
    let classes = RejectionClass::ALL.iter().map(|c| c.as_str());
    let _ = writeln!(
        page,
        "- `outcome` of `{}`: {}",
        family::RECORDS.name,
        list(outcomes)
    );
    let _ = writeln!(
        page,
        "- `outcome` of `{}`: {}",
        family::COMMITS.name,
        list(commits)
    );
    let _ = writeln!(
        page,
        "- `outcome` of `{}`: {}",
        family::RETENTION_ROUNDS.name,
        list(retention)
    );
    let _ = writeln!(
        page,
        "- `outcome` of `{}`: {}",
        family::MODEL_REFITS.name,
        list(refits)
    );
    let _ = writeln!(
        page,
        "- `class` of `{}`: {}",
        family::DEAD_LETTERS.name,
        list(classes)
    );
    let _ = writeln!(
        page,
        "- `topic`: the output topics; `task`: the number of a task, owned or, of `clvstream_standby_lag_records`, kept warm"
    );
    page
}

fn list<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let quoted: Vec<String> = values.map(|value| format!("`{value}`")).collect();
    quoted.join(", ")
}
