//! Showing what a mapping makes of a file or a topic.

use std::io::{self, Write};

use serde_json::Value;

use crate::check::{MappedSample, MappingCheck, Place, Tried};

/// How many fields that nothing reads are shown.
const SHOWN_FIELDS: usize = 30;

/// Writes `check` to `out`: as one JSON object, or as tables for people.
///
/// # Errors
/// `out` cannot be written to.
pub fn render(check: &MappingCheck, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, check)?;
        return writeln!(out);
    }
    counts(check, out)?;
    if !check.mapped.is_empty() {
        writeln!(out, "\nFirst events")?;
        for sample in &check.mapped {
            event(sample, out)?;
        }
    }
    if !check.rejected.is_empty() {
        writeln!(out, "\nFirst rejections")?;
        for sample in &check.rejected {
            writeln!(out, "  {}  {}", sample.place, sample.class)?;
            writeln!(out, "    {}", sample.message)?;
            writeln!(out, "    | {}", printable(&sample.raw))?;
        }
    }
    if !check.unread_fields.is_empty() {
        writeln!(out, "\nFields that the mapping does not name")?;
        let mut fields: Vec<(&String, &u64)> = check.unread_fields.iter().collect();
        fields.sort_by_key(|(name, rows)| (std::cmp::Reverse(**rows), *name));
        let names: Vec<String> = fields.iter().map(|(name, _)| printable(name)).collect();
        let widest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        for (name, (_, rows)) in names.iter().zip(&fields).take(SHOWN_FIELDS) {
            writeln!(out, "  {name:<widest$}  in {rows} rows")?;
        }
        if let Some(more) = names
            .len()
            .checked_sub(SHOWN_FIELDS)
            .filter(|more| *more > 0)
        {
            writeln!(out, "  and {more} more")?;
        }
    }
    if let Some(error) = &check.error {
        writeln!(out, "\n{error}")?;
    }
    Ok(())
}

fn counts(check: &MappingCheck, out: &mut dyn Write) -> io::Result<()> {
    let (name, rows, all) = match &check.tried {
        Tried::File(name) => (name, "rows", "whole file"),
        Tried::Topic(name) => (name, "records", "to its end"),
    };
    match (check.complete, &check.error) {
        (true, _) => writeln!(out, "{name} ({all})")?,
        (false, None) => writeln!(out, "{name} (first {rows} only)")?,
        (false, Some(_)) => writeln!(out, "{name} (not read to its end)")?,
    }
    let mut lines = vec![
        (rows.to_owned(), check.rows),
        ("  mapped".to_owned(), check.mapped_rows),
        (
            "  ignored (no rule is for them)".to_owned(),
            check.ignored_rows,
        ),
        ("  rejected".to_owned(), check.rejected_rows),
        ("events".to_owned(), check.events),
    ];
    let nested = |(name, count): (&String, &u64)| (format!("  {name}"), *count);
    lines.extend(check.events_by_type.iter().map(nested));
    if !check.rejections_by_class.is_empty() {
        let all: u64 = check.rejections_by_class.values().sum();
        lines.push(("rejections".to_owned(), all));
        lines.extend(check.rejections_by_class.iter().map(nested));
    }
    let widest = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, count) in lines {
        writeln!(out, "  {name:<widest$}  {count:>12}")?;
    }
    Ok(())
}

/// An event on one line: its type first, then its fields as the mapping made them.
fn event(sample: &MappedSample, out: &mut dyn Write) -> io::Result<()> {
    let MappedSample {
        place,
        topic,
        event,
        ..
    } = sample;
    let at = match place {
        Place::Row { row, .. } => format!("row {row}"),
        record => record.to_string(),
    };
    let kind = event.get("type").and_then(Value::as_str).unwrap_or("");
    write!(out, "  {at}")?;
    if let Some(topic) = topic {
        write!(out, "  {topic}")?;
    }
    write!(out, "  {kind}")?;
    for (name, value) in event.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("type", _) => {}
            ("event_time", Value::Number(ms)) => {
                let time = domain::time::TimeMs(ms.as_i64().unwrap_or_default());
                write!(out, "  {name}={time}")?;
            }
            (_, Value::String(text)) => write!(out, "  {name}={}", printable(text))?,
            (_, value) => write!(out, "  {name}={}", printable(&value.to_string()))?,
        }
    }
    writeln!(out)
}

/// `text` without what a terminal would take for commands.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
