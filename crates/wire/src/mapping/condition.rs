//! Conditions: which rows a rule is for.

use std::cmp::Ordering;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::document::{Item, Problems, kind_of, nearest, unknown};
use super::expr::{Literal, decimal, plain_text, reject};
use super::number::{Decimal, Notation};
use super::read_expr::literal;
use super::row::{Found, Scope};
use super::template::{Path, Surroundings};
use crate::rejection::{Rejection, RejectionClass as Class};

/// Whether a rule is for a row.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { path: Path, test: Test },
}

/// What is asked of the value at a path.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// It is one of these; numbers compare as numbers.
    OneOf(Vec<Literal>),
    StartsWith(Vec<String>),
    EndsWith(Vec<String>),
    Contains(Vec<String>),
    /// Whether it is absent.
    Empty(bool),
    /// It compares to the number in one of these ways.
    Compare(&'static [Ordering], Decimal),
}

const TESTS: [&str; 11] = [
    "equals",
    "not_equals",
    "one_of",
    "starts_with",
    "ends_with",
    "contains",
    "empty",
    "gt",
    "ge",
    "lt",
    "le",
];

impl Condition {
    /// Whether the row of `scope` is meant. An absent value is neither equal to, nor begins with,
    /// nor is above or below anything.
    ///
    /// # Errors
    /// A value that is to be compared as a number is none.
    pub(super) fn holds(&self, scope: &Scope<'_>, notation: Notation) -> Result<bool, Rejection> {
        match self {
            Condition::All(all) => {
                for condition in all {
                    if !condition.holds(scope, notation)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(any) => {
                for condition in any {
                    if condition.holds(scope, notation)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Not(condition) => Ok(!condition.holds(scope, notation)?),
            Condition::Test { path, test } => match (scope.find(path), test) {
                (None, test) => Ok(matches!(test, Test::Empty(true))),
                (Some(found), test) => test.holds(&found, notation).map_err(|rejection| {
                    let message = format!("condition on `{}`: {}", path.written, rejection.message);
                    Rejection::new(rejection.class, message)
                }),
            },
        }
    }
}

impl Test {
    fn holds(&self, found: &Found<'_>, notation: Notation) -> Result<bool, Rejection> {
        match self {
            Test::Empty(empty) => Ok(!empty),
            Test::OneOf(literals) => {
                for literal in literals {
                    if equal(found, literal, notation)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::StartsWith(texts) => any_text(found, texts, |t, p| t.starts_with(p)),
            Test::EndsWith(texts) => any_text(found, texts, |t, p| t.ends_with(p)),
            Test::Contains(texts) => any_text(found, texts, |t, p| t.contains(p)),
            Test::Compare(orders, bound) => match decimal(found, notation)?.compare(*bound) {
                Some(order) => Ok(orders.contains(&order)),
                None => reject(
                    Class::AmountOutOfRange,
                    "the number is too large to compare",
                ),
            },
        }
    }
}

fn any_text(
    found: &Found<'_>,
    texts: &[String],
    test: impl Fn(&str, &str) -> bool,
) -> Result<bool, Rejection> {
    let value = plain_text(found)?;
    Ok(texts.iter().any(|text| test(&value, text)))
}

fn equal(found: &Found<'_>, literal: &Literal, notation: Notation) -> Result<bool, Rejection> {
    let value = plain_text(found)?;
    Ok(match literal {
        Literal::Text(text) => value == text.as_str(),
        Literal::Flag(flag) => value == if *flag { "true" } else { "false" },
        Literal::Number(text) => {
            let number = Decimal::parse(text, Notation::PLAIN);
            let number = number.zip(decimal(found, notation).ok());
            number.and_then(|(a, b)| a.compare(b)) == Some(Ordering::Equal)
        }
    })
}

/// Reads a condition: a table of paths with what is asked of them (all must hold), and `any`, `all`
/// and `not` with further conditions.
pub(super) fn read(
    item: &Item<'_>,
    around: Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Condition> {
    let DeValue::Table(table) = item.get_ref() else {
        let kind = kind_of(item.get_ref());
        let message = format!(
            "a condition is a table such as `{{ Status = \"paid\", Total = {{ gt = 0 }} }}`, not {kind}"
        );
        problems.add(&item.span(), message);
        return None;
    };
    if table.is_empty() {
        problems.add(
            &item.span(),
            "an empty condition: leave `when` out to take every row",
        );
    }
    let before = problems.count();
    let mut conditions = Vec::new();
    for (key, value) in table {
        let condition = match key.get_ref().as_ref() {
            "any" => read_list(value, around, problems).map(Condition::Any),
            "all" => read_list(value, around, problems).map(Condition::All),
            "not" => read(value, around, problems).map(|c| Condition::Not(Box::new(c))),
            path => read_tests(path, &key.span(), value, around, problems),
        };
        conditions.extend(condition);
    }
    (problems.count() == before).then_some(Condition::All(conditions))
}

fn read_list(
    item: &Item<'_>,
    around: Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Vec<Condition>> {
    let Some(items) = item.get_ref().as_array() else {
        problems.add(&item.span(), "`any` and `all` take a list of conditions");
        return None;
    };
    if items.is_empty() {
        problems.add(&item.span(), "`any` and `all` take at least one condition");
    }
    Some(
        items
            .iter()
            .filter_map(|i| read(i, around, problems))
            .collect(),
    )
}

fn read_tests(
    path: &str,
    span: &Range<usize>,
    value: &Item<'_>,
    around: Surroundings,
    problems: &mut Problems<'_>,
) -> Option<Condition> {
    let bare = path
        .strip_prefix('{')
        .and_then(|p| p.strip_suffix('}'))
        .unwrap_or(path);
    let path = Path::parse(bare, span, around, problems);
    let test = |test| path.clone().map(|path| Condition::Test { path, test });
    match value.get_ref() {
        DeValue::Table(tests) => {
            let mut conditions = Vec::new();
            if tests.is_empty() {
                problems.add(
                    &value.span(),
                    "no test: write for example `{ empty = false }`",
                );
            }
            for (name, operand) in tests {
                let name_text: &str = name.get_ref();
                if !TESTS.contains(&name_text) {
                    problems.add(&name.span(), unknown_test(bare, name_text, tests));
                } else if let Some(found) = read_test(name_text, operand, problems) {
                    let negated = name_text == "not_equals";
                    conditions.extend(test(found).map(|c| {
                        if negated {
                            Condition::Not(Box::new(c))
                        } else {
                            c
                        }
                    }));
                }
            }
            Some(Condition::All(conditions))
        }
        _ => test(Test::OneOf(literals(value, problems)?)),
    }
}

fn unknown_test(path: &str, name: &str, tests: &DeTable<'_>) -> String {
    let known = TESTS.iter().copied();
    let nested =
        tests.values().any(|v| v.get_ref().is_table()) || nearest(name, known.clone()).is_none();
    let mut message = unknown("test", name, known);
    if nested {
        message += &format!("; a field inside a field is written in quotes: \"{path}.{name}\"");
    }
    message
}

fn read_test(name: &str, operand: &Item<'_>, problems: &mut Problems<'_>) -> Option<Test> {
    const GT: &[Ordering] = &[Ordering::Greater];
    const GE: &[Ordering] = &[Ordering::Greater, Ordering::Equal];
    const LT: &[Ordering] = &[Ordering::Less];
    const LE: &[Ordering] = &[Ordering::Less, Ordering::Equal];
    match name {
        "starts_with" => texts(name, operand, problems).map(Test::StartsWith),
        "ends_with" => texts(name, operand, problems).map(Test::EndsWith),
        "contains" => texts(name, operand, problems).map(Test::Contains),
        "empty" => match operand.get_ref().as_bool() {
            Some(empty) => Some(Test::Empty(empty)),
            None => {
                problems.add(&operand.span(), "`empty` is true or false");
                None
            }
        },
        "gt" => bound(name, operand, problems).map(|n| Test::Compare(GT, n)),
        "ge" => bound(name, operand, problems).map(|n| Test::Compare(GE, n)),
        "lt" => bound(name, operand, problems).map(|n| Test::Compare(LT, n)),
        "le" => bound(name, operand, problems).map(|n| Test::Compare(LE, n)),
        _ => literals(operand, problems).map(Test::OneOf),
    }
}

fn literals(item: &Item<'_>, problems: &mut Problems<'_>) -> Option<Vec<Literal>> {
    let items: Vec<&Item<'_>> = match item.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![item],
    };
    let found: Vec<Literal> = items.iter().filter_map(|i| literal(i)).collect();
    if found.is_empty() || found.len() < items.len() {
        problems.add(
            &item.span(),
            "a value to compare with is a text, a number, true, false, or a list of them",
        );
        return None;
    }
    Some(found)
}

fn texts(name: &str, item: &Item<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = literals(item, problems)?
        .into_iter()
        .map(|l| match l {
            Literal::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        })
        .collect();
    if texts.is_none() {
        problems.add(
            &item.span(),
            format!("`{name}` takes a text, or a list of texts, that is not empty"),
        );
    }
    texts
}

fn bound(name: &str, item: &Item<'_>, problems: &mut Problems<'_>) -> Option<Decimal> {
    let number = match literal(item) {
        Some(Literal::Number(text)) => Decimal::parse(&text, Notation::PLAIN),
        _ => None,
    };
    if number.is_none() {
        problems.add(&item.span(), format!("`{name}` takes a number"));
    }
    number
}
