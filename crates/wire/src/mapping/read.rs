//! Reading a mapping file: every problem in it, or the mapping.

use domain::money::Currency;
use toml::de::DeTable;

use super::document::{Item, MappingProblem, Mention, Mentions, Problems, Table};
use super::expr::Literal;
use super::number::Notation;
use super::read_event::read_rules;
use super::read_expr::{literal, read_time_keys};
use super::rule::Rule;
use super::source::{CsvFormat, Delimiter, Format, Unwrapping};
use super::time::{Ambiguous, TimeFormat, TimeReader};
use crate::rules::{MAX_DECIMALS, currency_by_code};

/// What a mapping file says.
pub(super) struct Contents {
    pub(super) format: Format,
    pub(super) unwrapping: Unwrapping,
    pub(super) missing: Vec<String>,
    pub(super) notation: Notation,
    pub(super) time: TimeReader,
    pub(super) currency: Option<Currency>,
    /// Where the currency is stated.
    pub(super) money: Option<Mention>,
    pub(super) rules: Vec<Rule>,
    pub(super) mentions: Mentions,
}

/// Reads the mapping file `file` with the content `text`.
pub(super) fn read(file: &str, text: &str) -> Result<Contents, Vec<MappingProblem>> {
    let mut problems = Problems::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.add(&span, error.message());
    }
    if !errors.is_empty() {
        // What follows a broken line cannot be trusted to mean what it seems to.
        return Err(problems.finish().err().unwrap_or_default());
    }
    let mut root = Table::new(root.get_ref(), 0..0);
    // For people only.
    let _ = root.text("description", &mut problems);
    let is_csv = read_format(&mut root, &mut problems);
    let csv = root.get("csv");
    let json = root.get("json");
    for (item, name, wanted) in [(csv, "csv", true), (json, "json", false)] {
        if let (Some(item), Some(is_csv)) = (item, is_csv)
            && is_csv != wanted
        {
            let format = if is_csv { "csv" } else { "json" };
            let message = format!("`[{name}]` says nothing where `format = \"{format}\"`");
            problems.add(&item.span(), message);
        }
    }
    let format = match is_csv {
        Some(false) => Format::Json,
        _ => Format::Csv(read_csv(csv, &mut problems)),
    };
    let unwrapping = read_json(json, &mut problems);
    let missing = root.texts("missing", &mut problems).map_or_else(
        || vec![String::new()],
        |texts| texts.iter().map(|(text, _)| (*text).to_owned()).collect(),
    );
    let time = read_time(&mut root, &mut problems);
    let notation = read_notation(&mut root, &mut problems);
    let (currency, money) = read_money(&mut root, &mut problems).unzip();
    let rules = read_rules(&mut root, &unwrapping, &time, &mut problems);
    root.finish("a mapping", &mut problems);
    let mentions = problems.finish()?;
    Ok(Contents {
        format,
        unwrapping,
        missing,
        notation,
        time,
        currency,
        money,
        rules,
        mentions,
    })
}

/// Whether the source is CSV; `None` if the file does not say.
fn read_format(root: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> Option<bool> {
    let choices = [("csv", true), ("json", false), ("jsonl", false)];
    let found = root.choice("format", &choices, problems);
    if root.get("format").is_none() {
        problems.add(
            &(0..0),
            "`format` is missing: `csv`, or `json` (for JSON lines too)",
        );
    }
    found
}

fn read_csv(item: Option<&Item<'_>>, problems: &mut Problems<'_>) -> CsvFormat {
    let mut csv = CsvFormat {
        delimiter: Delimiter::Byte(b','),
        quote: Some(b'"'),
        header: true,
        columns: None,
    };
    let Some(mut table) = item.and_then(|i| Table::of(i, "`[csv]`", problems)) else {
        return csv;
    };
    match table.text("delimiter", problems) {
        None => {}
        Some(("tab", _)) => csv.delimiter = Delimiter::Byte(b'\t'),
        Some(("whitespace", _)) => {
            csv.delimiter = Delimiter::Whitespace;
            csv.quote = None;
        }
        Some((text, span)) => match text.as_bytes() {
            [byte] if !byte.is_ascii_alphanumeric() && *byte != b'"' => {
                csv.delimiter = Delimiter::Byte(*byte);
            }
            _ => problems.add(
                &span,
                "`delimiter` is one character such as `;`, or `tab`, or `whitespace`",
            ),
        },
    }
    match table.text("quote", problems) {
        None => {}
        Some(("none", _)) => csv.quote = None,
        Some((_, span)) if csv.delimiter == Delimiter::Whitespace => {
            problems.add(&span, "values between whitespace cannot be quoted");
        }
        Some((text, span)) => match text.as_bytes() {
            [byte] if byte.is_ascii_punctuation() => csv.quote = Some(*byte),
            _ => problems.add(&span, "`quote` is one character, or `none`"),
        },
    }
    csv.header = table.flag("header", true, problems);
    if let Some(names) = table.texts("columns", problems) {
        for (at, (name, span)) in names.iter().enumerate() {
            if names.iter().take(at).any(|(earlier, _)| earlier == name) {
                problems.add(span, format!("the column `{name}` is named twice"));
            }
        }
        csv.columns = Some(names.iter().map(|(name, _)| (*name).to_owned()).collect());
    } else if !csv.header {
        problems.add(
            table.span(),
            "without a header the columns are named here: `columns = [\"id\", ...]`",
        );
    }
    table.finish("`[csv]`", problems);
    csv
}

fn read_json(item: Option<&Item<'_>>, problems: &mut Problems<'_>) -> Unwrapping {
    let mut unwrapping = Unwrapping::default();
    let Some(mut table) = item.and_then(|i| Table::of(i, "`[json]`", problems)) else {
        return unwrapping;
    };
    unwrapping.avro_unions = table.flag("avro_unions", false, problems);
    if let Some(types) = table.texts("union_types", problems) {
        unwrapping.union_types = types.iter().map(|(t, _)| (*t).to_owned()).collect();
        if !unwrapping.avro_unions {
            problems.add(table.span(), "`union_types` needs `avro_unions = true`");
        }
    }
    let envelopes = [("debezium", true), ("none", false)];
    unwrapping.debezium = table
        .choice("envelope", &envelopes, problems)
        .unwrap_or(false);
    table.finish("`[json]`", problems);
    unwrapping
}

fn read_time(root: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> TimeReader {
    let base = TimeReader {
        formats: vec![TimeFormat::Iso],
        zone: jiff::tz::TimeZone::UTC,
        ambiguous: Ambiguous::default(),
    };
    let item = root.get("time");
    let Some(mut table) = item.and_then(|i| Table::of(i, "`[time]`", problems)) else {
        return base;
    };
    let reader = read_time_keys(&mut table, &base, problems);
    table.finish("`[time]`", problems);
    reader
}

fn read_notation(root: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> Notation {
    let mut notation = Notation::PLAIN;
    let item = root.get("numbers");
    let Some(mut table) = item.and_then(|i| Table::of(i, "`[numbers]`", problems)) else {
        return notation;
    };
    let bad = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | 'e' | 'E');
    for key in ["decimal_separator", "thousands_separator"] {
        match table.character(key, problems) {
            Some((c, span)) if bad(c) => {
                problems.add(&span, format!("`{key}` cannot be a character of numbers"));
            }
            Some((c, _)) if key == "decimal_separator" => notation.decimal_separator = c,
            Some((c, _)) => notation.thousands_separator = Some(c),
            None => {}
        }
    }
    if notation.thousands_separator == Some(notation.decimal_separator) {
        problems.add(
            table.span(),
            "`decimal_separator` (by default a point) and `thousands_separator` are the same",
        );
    }
    table.finish("`[numbers]`", problems);
    notation
}

fn read_money(
    root: &mut Table<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<(Currency, Mention)> {
    let mut table = Table::of(root.get("money")?, "`[money]`", problems)?;
    let code = table.text("currency", problems);
    if table.get("currency").is_none() {
        problems.add(table.span(), "`[money]` needs `currency`, such as `EUR`");
    }
    let decimals = table.get("decimals").and_then(|item| {
        let number = match literal(item) {
            Some(Literal::Number(text)) => text.parse::<u8>().ok(),
            _ => None,
        };
        if number.is_none_or(|n| n > MAX_DECIMALS) {
            let message = format!("`decimals` is a number from 0 to {MAX_DECIMALS}");
            problems.add(&item.span(), message);
            return None;
        }
        number
    });
    table.finish("`[money]`", problems);
    let (code, span) = code?;
    let currency = currency_by_code(code, decimals);
    if currency.is_none() {
        problems.add(&span, format!("`{code}` is no currency of ISO 4217"));
    }
    Some((currency?, problems.mention(code, &span)))
}
