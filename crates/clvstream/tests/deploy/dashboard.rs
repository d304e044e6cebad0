//! The dashboard as Grafana's classic model has it (schema version 39), and its queries.

use std::collections::BTreeSet;

use serde_json::Value;

use super::deployed;

pub(crate) fn load() -> Value {
    serde_json::from_str(&deployed("grafana/dashboards/clvstream.json")).unwrap()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Panels that show something: a title, and a query each time.
pub(crate) fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let query = text(&target["expr"]).to_owned();
            queries.push((text(&panel["title"]).to_owned(), query));
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        let query = text(&annotation["expr"]).to_owned();
        queries.push((text(&annotation["name"]).to_owned(), query));
    }
    queries
}

/// The queries that fill its variables: the variable, what is looked for, and the label taken of it.
pub(crate) fn variables(dashboard: &Value) -> Vec<(String, String, String)> {
    let variables = list(&dashboard["templating"]["list"]).iter();
    variables
        .filter(|variable| variable["type"] == "query")
        .map(|variable| {
            let query = text(&variable["query"]["query"]);
            let arguments = query.strip_prefix("label_values(").unwrap();
            let arguments = arguments.strip_suffix(')').unwrap();
            let (selected, label) = arguments.rsplit_once(", ").unwrap();
            let name = text(&variable["name"]);
            (name.to_owned(), selected.to_owned(), label.to_owned())
        })
        .collect()
}

#[test]
fn its_parts_are_what_grafana_expects() {
    let dashboard = load();
    assert_eq!(dashboard["schemaVersion"], 39);
    assert_eq!(dashboard["uid"], "clvstream");
    // A dashboard from a file has the number that Grafana gives it.
    assert!(dashboard["id"].is_null());
    let mut ids = BTreeSet::new();
    let mut shown = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        match text(&panel["type"]) {
            "row" => continue,
            "stat" | "timeseries" | "heatmap" => {}
            other => panic!("{title}: {other}"),
        }
        assert!(shown.insert(title), "{title} twice");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!text(&panel["description"]).is_empty(), "{title}");
        let unit = match text(&panel["type"]) {
            "heatmap" => &panel["options"]["yAxis"]["unit"],
            _ => &panel["fieldConfig"]["defaults"]["unit"],
        };
        assert!(unit.is_string(), "{title} has no unit");
        let mut references = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"], panel["datasource"], "{title}");
            assert!(references.insert(text(&target["refId"])), "{title}");
        }
        assert!(!references.is_empty(), "{title} shows nothing");
    }
    assert!(shown.len() > 20);
}

#[test]
fn its_panels_lie_beside_each_other() {
    let dashboard = load();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        let title = text(&panel["title"]);
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} covers another");
            }
        }
    }
    assert!(!taken.is_empty());
}

#[test]
fn every_query_obeys_the_variables() {
    let dashboard = load();
    let variables = variables(&dashboard);
    let names: Vec<&str> = variables.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["job", "instance"]);
    for (title, query) in queries(&dashboard) {
        // Recorded series are sums over instances.
        let selectors = query.matches('{').count();
        assert!(selectors > 0, "{title}: {query}");
        assert_eq!(query.matches("job=~\"$job\"").count(), selectors, "{query}");
        let recorded = query.matches("job:clvstream_").count();
        let by_instance = query.matches("instance=~\"$instance\"").count();
        assert_eq!(by_instance + recorded, selectors, "{title}: {query}");
    }
}
