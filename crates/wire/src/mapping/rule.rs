//! One `[[event]]` of a mapping: which rows it is for, and the event that it makes of them.

use domain::time::TimeMs;
use serde_json::{Map, Value};

use super::condition::Condition;
use super::expr::{Expr, decimal, instant, plain_text, reject};
use super::fields::{EventType, Kind};
use super::number::Notation;
use super::row::{Found, Row, Scope};
use super::template::Path;
use super::time::TimeReader;
use crate::rejection::{Rejection, RejectionClass as Class};

/// How a field of an event is made.
#[derive(Clone, Debug)]
pub(super) enum FieldExpr {
    /// A plain field.
    Plain(Kind, Expr),
    /// The campaign object.
    Campaign(Vec<(&'static str, Kind, Expr)>),
    /// The lines, written out.
    Lines(Vec<LineExpr>),
    /// The lines, one per element of a list in the row.
    EachLine {
        path: Path,
        when: Option<Condition>,
        line: LineExpr,
    },
}

/// How a line is made: its fields.
pub(super) type LineExpr = Vec<(&'static str, Kind, Expr)>;

/// One `[[event]]`.
#[derive(Clone)]
pub(super) struct Rule {
    /// Number in the file, from 1.
    pub(super) number: usize,
    pub(super) event_type: &'static EventType,
    pub(super) topic: String,
    /// The list whose elements become an event each.
    pub(super) for_each: Option<Path>,
    pub(super) when: Option<Condition>,
    /// What must have happened to the row (Debezium).
    pub(super) operations: Vec<char>,
    pub(super) fields: Vec<(&'static str, FieldExpr)>,
}

/// How the mapping's values are read.
pub(super) struct Reading<'m> {
    pub(super) notation: Notation,
    pub(super) time: &'m TimeReader,
    /// Stated on events with amounts that name no currency of their own.
    pub(super) currency: Option<&'m str>,
}

impl Rule {
    /// The canonical JSON of each event that this rule makes of the row of `scope`, with the number
    /// of the element it was made from.
    pub(super) fn apply<'a>(
        &'a self,
        scope: &Scope<'a>,
        reading: &Reading<'_>,
    ) -> Vec<Result<(Option<u64>, Value), Rejection>> {
        let Some(path) = &self.for_each else {
            return self.event(scope, reading).into_iter().collect();
        };
        match elements(scope, path) {
            Ok(items) => {
                let inner = |(item, row)| Scope {
                    row: Row::Json(row),
                    item: Some(item),
                    parent: Some(scope),
                    ..*scope
                };
                let events = (1..).zip(items).map(inner);
                events
                    .filter_map(|inner| self.event(&inner, reading))
                    .collect()
            }
            Err(rejection) => vec![Err(self.within("for_each", rejection))],
        }
    }

    fn event<'a>(
        &'a self,
        scope: &Scope<'a>,
        reading: &Reading<'_>,
    ) -> Option<Result<(Option<u64>, Value), Rejection>> {
        let meant = match &self.when {
            Some(condition) => condition.holds(scope, reading.notation),
            None => Ok(true),
        };
        match meant {
            Ok(false) => None,
            Ok(true) => Some(self.fields(scope, reading).map(|v| (scope.item, v))),
            Err(rejection) => Some(Err(self.within("when", rejection))),
        }
    }

    fn fields<'a>(&'a self, scope: &Scope<'a>, reading: &Reading<'_>) -> Result<Value, Rejection> {
        let mut event = Map::new();
        event.insert("type".to_owned(), self.event_type.name.into());
        for (name, field) in &self.fields {
            let value = field.value(scope, reading);
            if let Some(value) = value.map_err(|rejection| self.within(name, rejection))? {
                event.insert((*name).to_owned(), value);
            }
        }
        if let Some(currency) = reading.currency.filter(|_| self.event_type.has_currency()) {
            event
                .entry("currency")
                .or_insert_with(|| Value::String(currency.to_owned()));
        }
        Ok(Value::Object(event))
    }

    /// `rejection` with its place in the mapping.
    fn within(&self, place: &str, rejection: Rejection) -> Rejection {
        let (number, name) = (self.number, self.event_type.name);
        let message = format!("event {number} ({name}), {place}: {}", rejection.message);
        Rejection::new(rejection.class, message)
    }
}

/// The elements of the list at `path`; none where it is absent.
fn elements<'a>(scope: &Scope<'a>, path: &Path) -> Result<&'a [Value], Rejection> {
    match scope.find(path) {
        None => Ok(&[]),
        Some(Found::Tree(Value::Array(items))) => {
            let left = &scope.frame.elements_left;
            match left.get().checked_sub(items.len()) {
                Some(fewer) => left.set(fewer),
                None => {
                    return reject(
                        Class::TooManyLines,
                        "the row's lists have more elements than are looked at for one row: send \
                         them in several",
                    );
                }
            }
            Ok(items)
        }
        Some(_) => reject(
            Class::WrongType,
            format!("what stands at `{}` is no list", path.written),
        ),
    }
}

impl FieldExpr {
    fn value<'a>(
        &'a self,
        scope: &Scope<'a>,
        reading: &Reading<'_>,
    ) -> Result<Option<Value>, Rejection> {
        match self {
            FieldExpr::Plain(kind, expr) => plain(*kind, expr, scope, reading),
            FieldExpr::Campaign(fields) => {
                let object = object(fields, scope, reading)?;
                Ok((!object.is_empty()).then_some(Value::Object(object)))
            }
            FieldExpr::Lines(lines) => {
                let lines: Result<Vec<Value>, Rejection> = lines
                    .iter()
                    .map(|line| object(line, scope, reading).map(Value::Object))
                    .collect();
                lines.map(|lines| Some(Value::Array(lines)))
            }
            FieldExpr::EachLine { path, when, line } => {
                let mut lines = Vec::new();
                for (item, row) in (1..).zip(elements(scope, path)?) {
                    let inner = Scope {
                        row: Row::Json(row),
                        item: Some(item),
                        parent: Some(scope),
                        ..*scope
                    };
                    let at = |r: Rejection| {
                        Rejection::new(r.class, format!("element {item}: {}", r.message))
                    };
                    let meant = when
                        .as_ref()
                        .map_or(Ok(true), |w| w.holds(&inner, reading.notation));
                    if meant.map_err(at)? {
                        lines.push(Value::Object(object(line, &inner, reading).map_err(at)?));
                    }
                }
                Ok(Some(Value::Array(lines)))
            }
        }
    }
}

/// The object of `fields`, each evaluated in `scope`.
fn object<'s, 'a: 's>(
    fields: &'a LineExpr,
    scope: &Scope<'s>,
    reading: &Reading<'_>,
) -> Result<Map<String, Value>, Rejection> {
    let mut object = Map::new();
    for (name, kind, expr) in fields {
        let value = plain(*kind, expr, scope, reading)
            .map_err(|r| Rejection::new(r.class, format!("{name}: {}", r.message)))?;
        if let Some(value) = value {
            object.insert((*name).to_owned(), value);
        }
    }
    Ok(object)
}

/// The value of `expr` as a field of `kind` has to be written.
fn plain<'s, 'a: 's>(
    kind: Kind,
    expr: &'a Expr,
    scope: &Scope<'s>,
    reading: &Reading<'_>,
) -> Result<Option<Value>, Rejection> {
    let Some(found) = expr.eval(scope, reading.notation)? else {
        return Ok(None);
    };
    Ok(Some(match kind {
        Kind::Number => Value::String(decimal(&found, reading.notation)?.to_string()),
        Kind::Time => {
            let TimeMs(ms) = instant(&found, reading.time)?;
            ms.into()
        }
        Kind::Flag => match found {
            Found::Bool(flag) => Value::Bool(flag),
            other => Value::String(plain_text(&other)?.into_owned()),
        },
        Kind::Id | Kind::Text | Kind::Campaign | Kind::Lines => {
            Value::String(plain_text(&found)?.into_owned())
        }
    }))
}
