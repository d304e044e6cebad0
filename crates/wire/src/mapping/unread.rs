//! Which fields of a row no path of a mapping names.

use std::collections::BTreeSet;

use serde_json::Value;

/// The paths that a mapping names.
pub(super) struct Unread<'m>(pub(super) &'m BTreeSet<String>);

impl Unread<'_> {
    /// Whether `path`, or something inside it, is named.
    pub(super) fn is_named(&self, path: &str) -> bool {
        let inside = format!("{path}.");
        self.0.contains(path)
            || self
                .0
                .range(inside.clone()..)
                .next()
                .is_some_and(|named| named.starts_with(&inside))
    }

    /// Visits the paths of what stands in `value`, which stands at `path`, and is not named.
    pub(super) fn below(&self, path: &str, value: &Value, visit: &mut dyn FnMut(&str)) {
        if self.0.contains(path) {
            return;
        }
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    match path {
                        "" => self.below(name, value, visit),
                        _ => self.below(&format!("{path}.{name}"), value, visit),
                    }
                }
            }
            _ if self.is_named(path) => {}
            _ => visit(path),
        }
    }
}
