//! Paths into a row, and texts with paths in them: `{InvoiceNo}:{$row}`.

use std::ops::Range;

use super::document::{Problems, unknown};

/// What a path begins at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Root {
    /// A field or column of the row (or of the element, inside `for_each` and `each`).
    Row,
    /// `$value`: the row or the element itself.
    Value,
    /// `$item`: the number of the element, from 1.
    Item,
    /// `$row`: the number of the row in its file, from 1.
    RowNumber,
    /// `$file`: the file's name without folder and without `.gz` or `.zst`.
    File,
    /// `$topic`
    Topic,
    /// `$partition`
    Partition,
    /// `$offset`
    Offset,
    /// `$key`: the record's key, where it is text.
    Key,
    /// `$record_time`: when the log took the record in.
    RecordTime,
    /// `$op`: what a Debezium record says happened.
    Op,
    /// `$before`: the row before the change (Debezium).
    Before,
    /// `$after`: the row after the change (Debezium).
    After,
    /// `$source`: where the change was captured (Debezium).
    Source,
    /// `$ts_ms`: when the change was captured (Debezium).
    TsMs,
}

/// Every built-in, and whether only a Debezium envelope has it.
const BUILT_INS: [(&str, Root, bool); 14] = [
    ("$value", Root::Value, false),
    ("$item", Root::Item, false),
    ("$row", Root::RowNumber, false),
    ("$file", Root::File, false),
    ("$topic", Root::Topic, false),
    ("$partition", Root::Partition, false),
    ("$offset", Root::Offset, false),
    ("$key", Root::Key, false),
    ("$record_time", Root::RecordTime, false),
    ("$op", Root::Op, true),
    ("$before", Root::Before, true),
    ("$after", Root::After, true),
    ("$source", Root::Source, true),
    ("$ts_ms", Root::TsMs, true),
];

/// Where in a row a value is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Path {
    /// How many scopes up (`$parent`).
    pub(super) up: usize,
    /// What it begins at.
    pub(super) root: Root,
    /// The steps from there, joined by points: a column's name may hold points itself.
    pub(super) rest: String,
    /// The same, step by step.
    pub(super) steps: Vec<String>,
    /// As written, for messages.
    pub(super) written: String,
}

/// What the place of a path has around it.
#[derive(Clone, Copy)]
pub(super) struct Surroundings {
    /// How many `for_each` and `each` are around it.
    pub(super) depth: usize,
    /// Whether the mapping unwraps a Debezium envelope.
    pub(super) debezium: bool,
}

/// A part of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Text as it stands.
    Text(String),
    /// The value at a path.
    Path(Path),
}

impl Path {
    /// Reads `written` (without braces).
    pub(super) fn parse(
        written: &str,
        span: &Range<usize>,
        around: Surroundings,
        problems: &mut Problems<'_>,
    ) -> Option<Path> {
        let mut rest = written;
        let mut up = 0;
        while let Some(outer) = rest.strip_prefix("$parent") {
            match outer.strip_prefix('.') {
                Some(inner) => rest = inner,
                None if outer.is_empty() => rest = "$value",
                None => break,
            }
            up += 1;
        }
        if up > around.depth {
            problems.add(
                span,
                format!("`{written}`: there is no `$parent` here; it is the row around a `for_each` or `each`"),
            );
            return None;
        }
        if rest.is_empty() {
            problems.add(
                span,
                "`{}` names no field; write `{name}`, or `{{` and `}}` for braces",
            );
            return None;
        }
        let (root, rest) = if rest.starts_with('$') {
            let (name, tail) = rest.split_once('.').unwrap_or((rest, ""));
            (built_in(name, span, around, problems)?, tail)
        } else {
            (Root::Row, rest)
        };
        if root == Root::Item && up >= around.depth {
            problems.add(span, "`{$item}` exists only inside `for_each` and `each`");
            return None;
        }
        match root {
            Root::Row if up == around.depth => problems.name_column(rest, span),
            Root::Value if up == around.depth => problems.name_field(rest),
            Root::Before | Root::After => problems.name_field(rest),
            Root::RowNumber | Root::File => problems.name_of_files(written, span),
            _ => {}
        }
        let steps: Vec<String> = match rest {
            "" => Vec::new(),
            _ => rest.split('.').map(str::to_owned).collect(),
        };
        Some(Path {
            up,
            root,
            rest: rest.to_owned(),
            steps,
            written: written.to_owned(),
        })
    }
}

fn built_in(
    name: &str,
    span: &Range<usize>,
    around: Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Root> {
    match BUILT_INS.iter().find(|(known, _, _)| *known == name) {
        Some((_, _, true)) if !around.debezium => {
            problems.add(
                span,
                format!("`{name}` exists only with `envelope = \"debezium\"`"),
            );
            None
        }
        Some((_, root, _)) => Some(*root),
        None => {
            let names = BUILT_INS.iter().map(|(known, _, _)| *known);
            let message = unknown("built-in", name, names.chain(std::iter::once("$parent")));
            problems.add(span, message);
            None
        }
    }
}

/// Reads a template: text, paths in braces, `{{` and `}}` for braces themselves.
pub(super) fn parse_template(
    text: &str,
    span: &Range<usize>,
    around: Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    let mut whole = true;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(rest.get(..at).unwrap_or(""));
        let tail = rest.get(at..).unwrap_or("");
        if let Some(after) = tail.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = tail.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else if let Some((path, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            match Path::parse(path, span, around, problems) {
                Some(path) => parts.push(Part::Path(path)),
                None => whole = false,
            }
            rest = after;
        } else {
            problems.add(
                span,
                "a brace that is not closed or not opened; write `{{` or `}}` for a brace itself",
            );
            return None;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    whole.then_some(parts)
}
