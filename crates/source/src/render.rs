//! Showing what a mapping makes of a file.

use std::io::{self, Write};

use serde_json::Value;

use crate::check::{MappedSample, MappingCheck};

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
            let (row, line) = (sample.row, sample.line);
            writeln!(out, "  row {row} (line {line})  {}", sample.class)?;
            writeln!(out, "    {}", sample.message)?;
            writeln!(out, "    | {}", printable(&sample.raw))?;
        }
    }
    if let Some(error) = &check.error {
        writeln!(out, "\n{error}")?;
    }
    Ok(())
}

fn counts(check: &MappingCheck, out: &mut dyn Write) -> io::Result<()> {
    let scope = match (check.complete, &check.error) {
        (true, _) => "whole file",
        (false, None) => "first rows only",
        (false, Some(_)) => "not read to its end",
    };
    writeln!(out, "{} ({scope})", check.file)?;
    let mut lines = vec![
        ("rows".to_owned(), check.rows),
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
        row, topic, event, ..
    } = sample;
    let kind = event.get("type").and_then(Value::as_str).unwrap_or("");
    write!(out, "  row {row}  {topic}  {kind}")?;
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
