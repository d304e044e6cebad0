//! Reading expressions from a mapping file.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::document::{Item, Problems, Table, kind_of, nearest, unknown};
use super::expr::{Expr, Literal};
use super::template::{Part, Surroundings, parse_template};
use super::time::{Ambiguous, TimeFormat, TimeReader, database, zone};

/// The operators; each stands in a table by itself, with the keys that it takes beside it.
const OPERATORS: [&str; 9] = [
    "product", "sum", "negate", "abs", "round", "integer", "coalesce", "lookup", "time",
];

/// What reading an expression needs to know of its place.
#[derive(Clone, Copy)]
pub(super) struct Place<'r> {
    pub(super) around: Surroundings,
    /// How times are read unless an expression says otherwise.
    pub(super) time: &'r TimeReader,
}

impl Place<'_> {
    /// The same, one `for_each` or `each` further in.
    pub(super) fn deeper(self) -> Self {
        let around = Surroundings {
            depth: self.around.depth + 1,
            ..self.around
        };
        Place { around, ..self }
    }
}

/// A constant; `None` for what is none.
pub(super) fn literal(item: &Item<'_>) -> Option<Literal> {
    match item.get_ref() {
        DeValue::String(text) => Some(Literal::Text(text.to_string())),
        DeValue::Integer(n) if n.radix() == 10 => {
            Some(Literal::Number(n.as_str().replace('_', "")))
        }
        DeValue::Float(n) => Some(Literal::Number(n.as_str().replace('_', ""))),
        DeValue::Boolean(flag) => Some(Literal::Flag(*flag)),
        _ => None,
    }
}

/// Reads an expression.
pub(super) fn read(item: &Item<'_>, place: Place<'_>, problems: &mut Problems<'_>) -> Option<Expr> {
    match item.get_ref() {
        DeValue::String(text) => {
            let parts = parse_template(text, &item.span(), place.around, problems)?;
            Some(simplest(parts))
        }
        DeValue::Table(table) => read_operator(item, table, place, problems),
        other => match literal(item) {
            Some(literal) => Some(Expr::Literal(literal)),
            None => {
                let message = format!(
                    "a field is a text with `{{paths}}`, a number, true, false, or an operator \
                     such as `{{ product = [...] }}`, not {}",
                    kind_of(other)
                );
                problems.add(&item.span(), message);
                None
            }
        },
    }
}

fn simplest(mut parts: Vec<Part>) -> Expr {
    match (parts.pop(), parts.is_empty()) {
        (None, _) => Expr::Literal(Literal::Text(String::new())),
        (Some(Part::Text(text)), true) => Expr::Literal(Literal::Text(text)),
        (Some(Part::Path(path)), true) => Expr::Path(path),
        (Some(last), false) => {
            parts.push(last);
            Expr::Template(parts)
        }
    }
}

fn read_operator(
    item: &Item<'_>,
    table: &DeTable<'_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<Expr> {
    let is_operator = |key: &str| OPERATORS.contains(&key);
    let Some(operator) = table.keys().find(|k| is_operator(k.get_ref())) else {
        let first = table.keys().next();
        let known = OPERATORS.iter().copied();
        match first {
            Some(key) => problems.add(&key.span(), unknown("operator", key.get_ref(), known)),
            None => problems.add(&item.span(), "an empty table is no expression"),
        }
        return None;
    };
    let mut keys = Table::new(table, item.span());
    let of = |key: &'static str, keys: &mut Table<'_, '_>, problems: &mut Problems<'_>| {
        let operand = keys.get(key)?;
        read(operand, place, problems).map(Box::new)
    };
    let name: &str = operator.get_ref();
    let found = match name {
        "product" => read_list("product", &mut keys, place, problems).map(Expr::Product),
        "sum" => read_list("sum", &mut keys, place, problems).map(Expr::Sum),
        "coalesce" => read_list("coalesce", &mut keys, place, problems).map(Expr::Coalesce),
        "negate" => of("negate", &mut keys, problems).map(Expr::Negate),
        "abs" => of("abs", &mut keys, problems).map(Expr::Abs),
        "integer" => of("integer", &mut keys, problems).map(Expr::Integer),
        "round" => {
            let of = of("round", &mut keys, problems);
            let decimals = read_decimals(&mut keys, problems);
            of.zip(decimals)
                .map(|(of, decimals)| Expr::Round { of, decimals })
        }
        "lookup" => {
            let of = of("lookup", &mut keys, problems);
            let table = read_lookup_table(&mut keys, problems);
            let otherwise = of_optional("otherwise", &mut keys, place, problems);
            of.zip(table).map(|(of, table)| Expr::Lookup {
                of,
                table,
                otherwise,
            })
        }
        _ => {
            let of = of("time", &mut keys, problems);
            let reader = read_time_keys(&mut keys, place.time, problems);
            of.map(|of| Expr::Time { of, reader })
        }
    };
    keys.finish(&format!("`{name}`"), problems);
    found
}

fn of_optional(
    key: &'static str,
    keys: &mut Table<'_, '_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<Box<Expr>> {
    let operand = keys.get(key)?;
    read(operand, place, problems).map(Box::new)
}

fn read_list(
    key: &'static str,
    keys: &mut Table<'_, '_>,
    place: Place<'_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<Expr>> {
    let item = keys.get(key)?;
    match item.get_ref().as_array() {
        Some(items) if items.len() >= 2 => {
            let read: Vec<Option<Expr>> = items.iter().map(|i| read(i, place, problems)).collect();
            read.into_iter().collect()
        }
        _ => {
            let message = format!("`{key}` takes a list of at least two expressions");
            problems.add(&item.span(), message);
            None
        }
    }
}

fn read_decimals(keys: &mut Table<'_, '_>, problems: &mut Problems<'_>) -> Option<u32> {
    let span = keys.span().clone();
    let Some(item) = keys.get("to") else {
        problems.add(&span, "`round` needs `to`, the number of decimals");
        return None;
    };
    match literal(item) {
        Some(Literal::Number(text)) if text.parse::<u32>().is_ok_and(|n| n <= 6) => {
            text.parse().ok()
        }
        _ => {
            problems.add(&item.span(), "`to` is a number of decimals from 0 to 6");
            None
        }
    }
}

fn read_lookup_table(
    keys: &mut Table<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<String, Literal>> {
    let span = keys.span().clone();
    let Some(item) = keys.get("in") else {
        problems.add(
            &span,
            "`lookup` needs `in`, a table from the source's values to ours",
        );
        return None;
    };
    let Some(table) = item.get_ref().as_table() else {
        problems.add(
            &item.span(),
            "`in` is a table from the source's values to ours",
        );
        return None;
    };
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match literal(value) {
            Some(literal) => {
                found.insert(key.get_ref().to_string(), literal);
            }
            None => problems.add(
                &value.span(),
                "a lookup gives a text, a number, true or false",
            ),
        }
    }
    Some(found)
}

/// The keys `format`, `zone` and `ambiguous`, on top of `base`.
pub(super) fn read_time_keys(
    keys: &mut Table<'_, '_>,
    base: &TimeReader,
    problems: &mut Problems<'_>,
) -> TimeReader {
    let mut reader = base.clone();
    if let Some(texts) = keys.texts("format", problems) {
        reader.formats.clear();
        for (text, span) in &texts {
            match TimeFormat::parse(text) {
                Ok(format) => reader.formats.push(format),
                Err(message) => problems.add(span, message),
            }
        }
        if texts.is_empty() {
            problems.add(keys.span(), "`format` names at least one format");
        }
    }
    if let Some((name, span)) = keys.text("zone", problems) {
        match zone(name) {
            Some(found) => reader.zone = found,
            None => {
                let names: Vec<String> = database().available().map(|n| n.to_string()).collect();
                let near = nearest(name, names.iter().map(String::as_str));
                let hint = near.map_or_else(
                    || "; use a name such as `Europe/London` or `UTC`".to_owned(),
                    |near| format!("; did you mean `{near}`?"),
                );
                problems.add(&span, format!("unknown time zone: `{name}`{hint}"));
            }
        }
    }
    let choices = [
        ("compatible", Ambiguous::Compatible),
        ("earlier", Ambiguous::Earlier),
        ("later", Ambiguous::Later),
        ("reject", Ambiguous::Reject),
    ];
    if let Some(found) = keys.choice("ambiguous", &choices, problems) {
        reader.ambiguous = found;
    }
    reader
}
