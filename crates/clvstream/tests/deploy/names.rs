//! That dashboard and rules ask for nothing but what the program exports, by its declarations: what a
//! run on the embedded log has no series of is found out here too.

use std::collections::{BTreeMap, BTreeSet};

use yaml_rust2::Yaml;

use super::{dashboard, rules};

/// Labels that Prometheus adds.
const TARGET: [&str; 2] = ["job", "instance"];

/// Series by name, with the label of each.
fn exported() -> BTreeMap<String, Option<String>> {
    let mut exported = BTreeMap::new();
    for family in server::registry().unwrap().gather() {
        exported.insert(family.name().to_owned(), None);
    }
    assert!(!exported.is_empty());
    for line in server::reference().lines() {
        let Some(rest) = line.strip_prefix("| `clvstream_") else {
            continue;
        };
        let columns: Vec<&str> = rest.split(" | ").collect();
        let name = format!("clvstream_{}", columns[0].trim_end_matches('`'));
        let label = Some(columns[2].trim_matches('`')).filter(|label| !label.is_empty());
        let label = label.map(str::to_owned);
        if columns[1] == "histogram" {
            exported.insert(format!("{name}_bucket"), Some("le".to_owned()));
            exported.insert(format!("{name}_sum"), None);
            exported.insert(format!("{name}_count"), None);
        } else {
            exported.insert(name, label);
        }
    }
    exported
}

/// What a rule records, if it does, and its query.
fn parts(rule: &Yaml) -> (Option<String>, String) {
    let recorded = rule["record"].as_str().map(str::to_owned);
    (recorded, rule["expr"].as_str().unwrap().to_owned())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The series that a query names, with the labels that it selects each by.
fn series(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        let mut labels = Vec::new();
        if let Some(selected) = rest.strip_prefix('{') {
            let (inside, after) = selected.split_once('}').unwrap();
            let parts = inside.split(',');
            labels.extend(parts.map(|part| {
                let end = part.trim().find(|c| !is_word(c)).unwrap();
                part.trim()[..end].to_owned()
            }));
            rest = after;
        }
        let ours = ["clvstream_", "process_", "job:"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            found.push((name.to_owned(), labels));
        }
    }
    found
}

/// Every query of dashboard and rules.
fn queries() -> Vec<String> {
    let dashboard = dashboard::load();
    let shown = dashboard::queries(&dashboard).into_iter();
    let shown = shown.map(|(_, query)| query);
    let variables = dashboard::variables(&dashboard).into_iter();
    let variables = variables.map(|(_, selected, _)| selected);
    let rules = rules().iter().map(|rule| parts(rule).1).collect::<Vec<_>>();
    shown.chain(variables).chain(rules).collect()
}

#[test]
fn a_query_is_read_as_prometheus_reads_it() {
    let query =
        r#"sum by (le, job) (rate(clvstream_a_total{job=~"$job", class="b"}[5m])) - job:b:c > 2"#;
    let found = series(query);
    let found: Vec<(&str, String)> = found
        .iter()
        .map(|(name, labels)| (name.as_str(), labels.join(" ")))
        .collect();
    assert_eq!(
        found,
        [
            ("clvstream_a_total", "job class".to_owned()),
            ("job:b:c", String::new())
        ]
    );
}

#[test]
fn nothing_is_asked_for_that_the_program_does_not_export() {
    let mut known = exported();
    for rule in rules() {
        // Recorded series are sums over a job.
        known.extend(parts(&rule).0.map(|name| (name, None)));
    }
    let mut seen = 0;
    for query in queries() {
        for (name, labels) in series(&query) {
            let Some(label) = known.get(&name) else {
                panic!("nobody exports {name}: {query}");
            };
            for selected in labels {
                let is_known =
                    TARGET.contains(&selected.as_str()) || label.as_ref() == Some(&selected);
                assert!(is_known, "{name} has no label {selected}: {query}");
            }
            seen += 1;
        }
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn every_family_is_shown_or_watched() {
    let asked: BTreeSet<String> = queries()
        .iter()
        .flat_map(|query| series(query))
        .map(|(name, _)| name)
        .collect();
    for name in exported()
        .into_keys()
        .filter(|name| name.starts_with("clvstream_"))
    {
        // The buckets of a histogram have its sum and its number with them.
        let parts = ["_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part));
        let is_part = parts.is_some_and(|family| asked.contains(&format!("{family}_bucket")));
        let buckets = name.strip_suffix("_bucket");
        let is_summed = buckets.is_some_and(|family| asked.contains(&format!("{family}_sum")));
        assert!(
            asked.contains(&name) || is_part || is_summed,
            "nobody looks at {name}"
        );
    }
}
