//! Exports as tables, and customers of a given task.

use std::collections::BTreeMap;

use fleet::App;
use wire::partition_of;

/// All profiles by the customer's id. Stream time follows the slowest input, and may be before the
/// newest orders: a later instant has them all.
pub(crate) fn profiles(app: &App) -> BTreeMap<String, BTreeMap<String, String>> {
    rows(&app.run("reader", &["export", "profiles", "--as-of", "2100-01-01"]))
}

/// The rows of a CSV export by their first column: a value by the name of its column.
fn rows(csv: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut lines = csv.lines().map(|line| line.split(','));
    let names: Vec<&str> = lines.next().unwrap().collect();
    let rows = lines.map(|values| {
        let values: Vec<String> = values.map(str::to_owned).collect();
        assert_eq!(values.len(), names.len(), "{values:?}");
        let row = names.iter().map(|name| (*name).to_owned());
        (values[0].clone(), row.zip(values).collect())
    });
    rows.collect()
}

/// Names of customers whose profiles belong to task `task` of `tasks`.
pub(crate) fn customers(task: u32, tasks: u32) -> impl Iterator<Item = String> {
    let names = (0..).map(|number| format!("customer-{number}"));
    names.filter(move |name| partition_of(name.as_bytes(), tasks) == task)
}
