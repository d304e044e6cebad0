//! Reading a mapping file: every problem in it, or the mapping.

use std::ops::Range;

use domain::money::Currency;
use toml::de::{DeTable, DeValue};

use super::condition;
use super::document::{Item, MappingProblem, NamedColumn, Problems, Table, unknown};
use super::expr::{Expr, Literal};
use super::fields::{CAMPAIGN, EVENT_TYPES, EventType, FieldKind, Kind, LINE};
use super::number::Notation;
use super::read_expr::{self, Place, literal, read_time_keys};
use super::rule::{FieldExpr, LineExpr, Rule};
use super::source::{CsvFormat, Delimiter, Format, OPERATIONS, ROW_EXISTS, Unwrapping};
use super::template::{Path, Surroundings};
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
    pub(super) rules: Vec<Rule>,
    pub(super) columns: Vec<NamedColumn>,
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
    let currency = read_money(&mut root, &mut problems);
    let rules = read_rules(&mut root, &unwrapping, &time, &mut problems);
    root.finish("a mapping", &mut problems);
    let columns = problems.finish()?;
    Ok(Contents {
        format,
        unwrapping,
        missing,
        notation,
        time,
        currency,
        rules,
        columns,
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

fn read_money(root: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> Option<Currency> {
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
    currency
}

fn read_rules(
    root: &mut Table<'_, '_>,
    unwrapping: &Unwrapping,
    time: &TimeReader,
    problems: &mut Problems<'_>,
) -> Vec<Rule> {
    let items = match root.get("event") {
        None => {
            problems.add(&(0..0), "a mapping needs at least one `[[event]]`");
            return Vec::new();
        }
        Some(item) => match item.get_ref() {
            DeValue::Array(items) => items,
            _ => {
                let message = "events are a list: write `[[event]]` in double brackets";
                problems.add(&item.span(), message);
                return Vec::new();
            }
        },
    };
    let around = Surroundings {
        depth: 0,
        debezium: unwrapping.debezium,
    };
    (1..)
        .zip(items.iter())
        .filter_map(|(number, item)| read_rule(number, item, Place { around, time }, problems))
        .collect()
}

fn read_rule(
    number: usize,
    item: &Item<'_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<Rule> {
    let mut table = Table::of(item, "`[[event]]`", problems)?;
    let span = table.span().clone();
    let event_type = read_type(&mut table, problems);
    let topic = table.text("topic", problems);
    if let Some(("", span)) = &topic {
        problems.add(span, "`topic` is empty");
    }
    let for_each = table
        .text("for_each", problems)
        .and_then(|(text, span)| Path::parse(bare(text), &span, place.around, problems));
    let inner = match table.get("for_each") {
        Some(_) => place.deeper(),
        None => place,
    };
    let when = table
        .get("when")
        .and_then(|item| condition::read(item, inner.around, problems));
    let operations = read_operations(&mut table, place.around.debezium, problems);
    let fields = table.get("fields");
    table.finish("`[[event]]`", problems);
    let event_type = event_type?;
    let Some(fields) = fields else {
        problems.add(&span, "`[[event]]` needs `[event.fields]`");
        return None;
    };
    let fields = read_fields(fields, event_type, inner, problems)?;
    Some(Rule {
        number,
        event_type,
        topic: topic.map_or(event_type.topic, |(text, _)| text).to_owned(),
        for_each,
        when,
        operations,
        fields,
    })
}

/// A path may be written with or without braces where only a path can stand.
fn bare(text: &str) -> &str {
    text.strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .unwrap_or(text)
}

fn read_type(table: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> Option<&'static EventType> {
    let Some((name, span)) = table.text("type", problems) else {
        if table.get("type").is_none() {
            problems.add(
                table.span(),
                "`[[event]]` needs `type`, such as `order_completed`",
            );
        }
        return None;
    };
    let found = EventType::by_name(name);
    if found.is_none() {
        let known = EVENT_TYPES.iter().map(|e| e.name);
        problems.add(&span, unknown("type of event", name, known));
    }
    found
}

fn read_operations(
    table: &mut Table<'_, '_>,
    debezium: bool,
    problems: &mut Problems<'_>,
) -> Vec<char> {
    let Some(texts) = table.texts("operations", problems) else {
        return ROW_EXISTS.to_vec();
    };
    if !debezium {
        problems.add(
            table.span(),
            "`operations` exists only with `envelope = \"debezium\"`",
        );
    }
    let mut found = Vec::new();
    for (text, span) in texts {
        match OPERATIONS.iter().find(|(name, _)| *name == text) {
            Some((_, operation)) => found.push(*operation),
            None => {
                let known = OPERATIONS.iter().map(|(name, _)| *name);
                problems.add(&span, unknown("operation", text, known));
            }
        }
    }
    found
}

type Fields = Vec<(&'static str, FieldExpr)>;

fn read_fields(
    item: &Item<'_>,
    event_type: &'static EventType,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<Fields> {
    let DeValue::Table(table) = item.get_ref() else {
        problems.add(&item.span(), "`fields` is a table: `[event.fields]`");
        return None;
    };
    let known = event_type.all_fields();
    let what = format!("field of `{}`", event_type.name);
    let mut fields = Vec::new();
    for (key, value) in table {
        let (name, kind) = find_field(&what, &known, key.get_ref(), &key.span(), problems)
            .unwrap_or(("", Kind::Text));
        let read = match kind {
            Kind::Campaign => read_object("`campaign`", &CAMPAIGN, value, place, problems)
                .map(FieldExpr::Campaign),
            Kind::Lines => read_lines(value, place, problems),
            _ => read_plain(name, kind, value, place, problems),
        };
        if let (Some(read), false) = (read, name.is_empty()) {
            fields.push((name, read));
        }
    }
    let named = |name: &str| table.iter().any(|(k, _)| k.get_ref() == name);
    check_required(event_type, &named, &item.span(), problems);
    check_partial(event_type, &fields, &named, &item.span(), problems);
    Some(fields)
}

fn find_field(
    what: &str,
    known: &[FieldKind],
    name: &str,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Option<FieldKind> {
    let found = known.iter().find(|(field, _)| *field == name);
    if found.is_none() {
        problems.add(span, unknown(what, name, known.iter().map(|(f, _)| *f)));
    }
    found.copied()
}

fn read_plain(
    name: &str,
    kind: Kind,
    item: &Item<'_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<FieldExpr> {
    let expr = read_expr::read(item, place, problems)?;
    check_constant(name, kind, &expr, item, problems);
    Some(FieldExpr::Plain(kind, expr))
}

/// An id that is the same for every row is a path without its braces.
fn check_constant(
    name: &str,
    kind: Kind,
    expr: &Expr,
    item: &Item<'_>,
    problems: &mut Problems<'_>,
) {
    match (kind, expr) {
        (Kind::Id, Expr::Literal(_)) => {
            let hint = match item.get_ref().as_str() {
                Some(text) => format!(": did you mean `{{{text}}}`?"),
                None => String::new(),
            };
            problems.add(
                &item.span(),
                format!("`{name}` would be the same for every row{hint}"),
            );
        }
        (Kind::Number, Expr::Literal(Literal::Text(text))) => problems.add(
            &item.span(),
            format!("`{name}` is a number: did you mean `{{{text}}}`?"),
        ),
        (Kind::Time, Expr::Literal(Literal::Text(text))) => problems.add(
            &item.span(),
            format!("`{name}` is a time of the row: did you mean `{{{text}}}`?"),
        ),
        _ => {}
    }
}

fn read_object(
    what: &str,
    known: &[FieldKind],
    item: &Item<'_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<LineExpr> {
    let DeValue::Table(table) = item.get_ref() else {
        let message = format!(
            "{what} is a table of fields, not a {}",
            item.get_ref().type_str()
        );
        problems.add(&item.span(), message);
        return None;
    };
    let what = format!("field of {what}");
    let mut fields = Vec::new();
    for (key, value) in table {
        let field = find_field(&what, known, key.get_ref(), &key.span(), problems);
        let expr = read_expr::read(value, place, problems);
        if let (Some((name, kind)), Some(expr)) = (field, expr) {
            if kind == Kind::Number {
                check_constant(name, kind, &expr, value, problems);
            }
            fields.push((name, kind, expr));
        }
    }
    Some(fields)
}

fn read_lines(item: &Item<'_>, place: Place<'_>, problems: &mut Problems<'_>) -> Option<FieldExpr> {
    let before = problems.count();
    match item.get_ref() {
        DeValue::Array(items) => {
            let lines: Vec<LineExpr> = items
                .iter()
                .filter_map(|line| read_line(line, place, problems))
                .collect();
            (problems.count() == before).then_some(FieldExpr::Lines(lines))
        }
        DeValue::Table(_) => {
            let mut table = Table::of(item, "`products`", problems)?;
            let Some((path, span)) = table.text("each", problems) else {
                problems.add(
                    table.span(),
                    "`products` is a list of lines `[{ ... }]`, or \
                     `{ each = \"items\", line = { ... } }`",
                );
                return None;
            };
            let path = Path::parse(bare(path), &span, place.around, problems);
            let inner = place.deeper();
            let when = table
                .get("when")
                .and_then(|item| condition::read(item, inner.around, problems));
            let line = match table.get("line") {
                Some(line) => read_line(line, inner, problems),
                None => {
                    problems.add(table.span(), "`each` needs `line`, the fields of a line");
                    None
                }
            };
            table.finish("`products`", problems);
            let (path, line) = path.zip(line)?;
            Some(FieldExpr::EachLine { path, when, line })
        }
        _ => {
            problems.add(&item.span(), "`products` is a list of lines `[{ ... }]`");
            None
        }
    }
}

fn read_line(item: &Item<'_>, place: Place<'_>, problems: &mut Problems<'_>) -> Option<LineExpr> {
    let line = read_object("a line", &LINE, item, place, problems)?;
    let table = item.get_ref().as_table()?;
    let named = |name: &str| table.iter().any(|(k, _)| k.get_ref() == name);
    if !named("product_id") {
        problems.add(&item.span(), "a line needs `product_id`");
    }
    if !named("amount") && !named("price") {
        problems.add(&item.span(), "a line needs `amount` or `price`");
    }
    Some(line)
}

fn check_required(
    event_type: &EventType,
    named: &dyn Fn(&str) -> bool,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) {
    let name = event_type.name;
    for field in ["event_time"].iter().chain(event_type.required) {
        if !named(field) {
            problems.add(span, format!("`{name}` needs `{field}`"));
        }
    }
    if !event_type.anyone && !named("customer_id") && !named("anonymous_id") {
        problems.add(
            span,
            format!("`{name}` needs `customer_id` or `anonymous_id`"),
        );
    }
    if name == "order_completed" && !["products", "total", "subtotal"].iter().any(|f| named(f)) {
        problems.add(span, "an order needs `products`, `total` or `subtotal`");
    }
    if name == "order_refunded" && !["products", "amount"].iter().any(|f| named(f)) {
        problems.add(span, "a refund needs `products` or `amount`");
    }
}

/// What comes in several events is told apart by its lines' ids alone.
fn check_partial(
    event_type: &EventType,
    fields: &Fields,
    named: &dyn Fn(&str) -> bool,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) {
    let partial = fields.iter().any(|(name, field)| {
        matches!(field, FieldExpr::Plain(_, expr) if *name == "partial" && expr.is_true())
    });
    if !partial {
        return;
    }
    if !named("products") {
        let name = event_type.name;
        problems.add(span, format!("a partial `{name}` needs `products`"));
    }
    let lines = fields.iter().flat_map(|(_, field)| match field {
        FieldExpr::Lines(lines) => lines.iter().collect(),
        FieldExpr::EachLine { line, .. } => vec![line],
        _ => Vec::new(),
    });
    for line in lines {
        match line.iter().find(|(name, _, _)| *name == "line_id") {
            None => problems.add(
                span,
                "the lines of a partial event need `line_id`, such as `{$row}`",
            ),
            Some((_, _, Expr::Literal(_))) => problems.add(
                span,
                "`line_id` would be the same for every row, and all lines but one be taken for \
                 repetitions: use `{$row}` or a field",
            ),
            Some(_) => {}
        }
    }
}
