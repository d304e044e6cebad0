//! Reading the `[[event]]`s of a mapping file.

use std::ops::Range;

use toml::de::DeValue;

use super::condition;
use super::document::{Item, Problems, Table, kind_of, unknown};
use super::expr::{Expr, Literal};
use super::fields::{CAMPAIGN, EVENT_TYPES, EventType, FieldKind, Kind, LINE};
use super::read_expr::{self, Place};
use super::rule::{FieldExpr, LineExpr, Rule};
use super::source::{OPERATIONS, ROW_EXISTS, Unwrapping};
use super::template::{Path, Surroundings};
use super::time::TimeReader;

/// Reads every `[[event]]` of the file.
pub(super) fn read_rules(
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
            "{what} is a table of fields, not {}",
            kind_of(item.get_ref())
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
