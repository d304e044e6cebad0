//! What the documentation says about bad input.

use wire::RejectionClass;

use crate::support::root;

fn doc(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect("the page is there")
}

#[test]
fn the_page_has_every_class_once_and_in_order() {
    let page = doc("bad-input.md");
    let (_, table) = page.split_once("| class |").expect("the table of classes");
    let (table, _) = table.split_once("\n\n").expect("the table ends");
    let rows = table.lines().skip(2);
    let named: Vec<&str> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            assert_eq!(cells.len(), 3, "class, what it is, what to do: {row}");
            assert!(
                cells
                    .iter()
                    .all(|cell| cell.trim_matches(['|', ' ']).len() > 5),
                "{row}"
            );
            cells[0].trim_matches(['|', ' ', '`'])
        })
        .collect();
    let all: Vec<&str> = RejectionClass::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(named, all);
}

#[test]
fn the_keys_and_classes_that_the_page_names_exist() {
    let page = doc("bad-input.md");
    let configuration = doc("configuration.md");
    let mut keys = 0;
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((section, key)) = quoted.split_once('.') else {
            continue;
        };
        if !["limits", "currency", "time", "retention"].contains(&section) {
            continue;
        }
        let (_, rest) = configuration
            .split_once(&format!("## `[{section}]`"))
            .expect("the section");
        let section = rest.split("\n## ").next().unwrap_or_default();
        assert!(
            section.contains(&format!("| `{key}` |")),
            "there is no {quoted}"
        );
        keys += 1;
    }
    assert!(keys >= 6, "{keys} keys are named");
}
