//! That whoever is called finds out what to do: every alert says what is the matter, and names a section of
//! the runbook that is there.

use std::collections::BTreeSet;

use super::{deployed, rules};

#[test]
fn every_alert_has_a_section_of_the_runbook() {
    let runbook = deployed("runbook.md");
    let mut sections = BTreeSet::new();
    let mut lines = runbook.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix("### ") else {
            continue;
        };
        assert!(
            lines.peek().is_some_and(|text| !text.is_empty()),
            "{title} says nothing"
        );
        assert!(sections.insert(title.to_owned()), "{title} twice");
    }

    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let annotations = &rule["annotations"];
        assert!(annotations["summary"].as_str().is_some(), "{alert}");
        // As the headings of Markdown are linked to.
        let section = format!("deploy/runbook.md#{}", alert.to_lowercase());
        assert_eq!(annotations["runbook"].as_str(), Some(section.as_str()));
        alerts.insert(alert.to_owned());
    }
    assert!(alerts.len() > 20);
    assert_eq!(sections, alerts);
}
