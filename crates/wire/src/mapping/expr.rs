//! Expressions: how a field's value is made from a row.
//!
//! An expression whose input is absent is absent itself. What is there and does not fit (a product of
//! something that is no number) is a [`Rejection`]: nothing is guessed and nothing silently dropped.
//! Messages name paths of the mapping, never values of the row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::time::TimeMs;

use super::number::{Decimal, Notation};
use super::row::{Found, Scope};
use super::template::{Part, Path};
use super::time::TimeReader;
use crate::rejection::{Rejection, RejectionClass as Class};

/// A constant of the mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Literal {
    Text(String),
    /// In plain notation, as written.
    Number(String),
    Flag(bool),
}

/// How a value is made.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Literal(Literal),
    /// One path alone: the value keeps its kind.
    Path(Path),
    /// Text and paths joined; absent if any of the paths is.
    Template(Vec<Part>),
    Product(Vec<Expr>),
    Sum(Vec<Expr>),
    Negate(Box<Expr>),
    Abs(Box<Expr>),
    Round {
        of: Box<Expr>,
        decimals: u32,
    },
    /// A whole number, also where the source writes `17850.0`.
    Integer(Box<Expr>),
    /// The first that is not absent.
    Coalesce(Vec<Expr>),
    Lookup {
        of: Box<Expr>,
        table: BTreeMap<String, Literal>,
        otherwise: Option<Box<Expr>>,
    },
    Time {
        of: Box<Expr>,
        reader: TimeReader,
    },
}

type Evaluated<'a> = Result<Option<Found<'a>>, Rejection>;

pub(super) fn reject<T>(class: Class, message: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection::new(class, message))
}

impl Literal {
    fn found(&self) -> Found<'_> {
        match self {
            Literal::Text(text) => Found::Text(text.into()),
            Literal::Number(text) => Found::Number(text.into()),
            Literal::Flag(flag) => Found::Bool(*flag),
        }
    }
}

impl Expr {
    /// Whether this is the constant `true`.
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Expr::Literal(Literal::Flag(true)))
    }

    /// The value for the row of `scope`.
    pub(super) fn eval<'a>(&'a self, scope: &Scope<'a>, notation: Notation) -> Evaluated<'a> {
        match self {
            Expr::Literal(literal) => Ok(Some(literal.found())),
            Expr::Path(path) => Ok(scope.find(path)),
            Expr::Template(parts) => template(parts, scope),
            Expr::Product(factors) => fold(factors, scope, notation, Decimal::times),
            Expr::Sum(terms) => fold(terms, scope, notation, Decimal::plus),
            Expr::Negate(of) => of.number(scope, notation, |n| Some(n.negate())),
            Expr::Abs(of) => of.number(scope, notation, |n| {
                Some(if n.is_negative() { n.negate() } else { n })
            }),
            Expr::Round { of, decimals } => {
                of.number(scope, notation, |n| Some(n.round(*decimals)))
            }
            Expr::Integer(of) => of.number(scope, notation, |n| n.whole().map(|_| n)),
            Expr::Coalesce(choices) => {
                for choice in choices {
                    if let Some(found) = choice.eval(scope, notation)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Expr::Lookup {
                of,
                table,
                otherwise,
            } => {
                let Some(found) = of.eval(scope, notation)? else {
                    return Ok(None);
                };
                let key = plain_text(&found)?;
                match (table.get(key.as_ref()), otherwise) {
                    (Some(literal), _) => Ok(Some(literal.found())),
                    (None, Some(otherwise)) => otherwise.eval(scope, notation),
                    (None, None) => reject(
                        Class::MappingFailed,
                        "the value is not in the lookup: add it, or an `otherwise`",
                    ),
                }
            }
            Expr::Time { of, reader } => match of.eval(scope, notation)? {
                Some(found) => instant(&found, reader).map(|t| Some(Found::Instant(t))),
                None => Ok(None),
            },
        }
    }

    /// This expression's number with `change` applied.
    fn number<'a>(
        &'a self,
        scope: &Scope<'a>,
        notation: Notation,
        change: impl Fn(Decimal) -> Option<Decimal>,
    ) -> Evaluated<'a> {
        let Some(found) = self.eval(scope, notation)? else {
            return Ok(None);
        };
        match change(decimal(&found, notation)?) {
            Some(n) => Ok(Some(Found::Number(n.to_string().into()))),
            None => reject(Class::AmountMalformed, "the number is not a whole number"),
        }
    }
}

fn fold<'a>(
    operands: &'a [Expr],
    scope: &Scope<'a>,
    notation: Notation,
    combine: impl Fn(Decimal, Decimal) -> Option<Decimal>,
) -> Evaluated<'a> {
    let mut result: Option<Decimal> = None;
    for operand in operands {
        let Some(found) = operand.eval(scope, notation)? else {
            return Ok(None);
        };
        let next = decimal(&found, notation)?;
        result = match result {
            None => Some(next),
            Some(so_far) => match combine(so_far, next) {
                Some(n) => Some(n),
                None => {
                    return reject(
                        Class::AmountOutOfRange,
                        "the result has more digits than can be kept exactly",
                    );
                }
            },
        };
    }
    Ok(result.map(|n| Found::Number(n.to_string().into())))
}

fn template<'a>(parts: &'a [Part], scope: &Scope<'a>) -> Evaluated<'a> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Path(path) => match scope.find(path) {
                Some(found) => text.push_str(&plain_text(&found)?),
                None => return Ok(None),
            },
        }
    }
    Ok(Some(Found::Text(text.into())))
}

/// A plain value as text.
pub(super) fn plain_text<'f>(found: &'f Found<'_>) -> Result<Cow<'f, str>, Rejection> {
    match found {
        Found::Text(text) | Found::Number(text) => Ok(Cow::Borrowed(text)),
        Found::Bool(flag) => Ok(if *flag { "true" } else { "false" }.into()),
        Found::Instant(time) => Ok(time.to_string().into()),
        Found::Tree(_) => reject(
            Class::WrongType,
            "an object or a list stands where a plain value is needed: name a field inside it",
        ),
        Found::Inexact => reject(
            Class::WrongType,
            "a number with more digits than JSON's numbers hold exactly: send it as text",
        ),
    }
}

/// A plain value as an exact number.
pub(super) fn decimal(found: &Found<'_>, notation: Notation) -> Result<Decimal, Rejection> {
    let number = match found {
        Found::Text(text) => Decimal::parse(text, notation),
        Found::Number(text) => Decimal::parse(text, Notation::PLAIN),
        Found::Inexact | Found::Tree(_) => {
            plain_text(found)?;
            None
        }
        Found::Bool(_) | Found::Instant(_) => None,
    };
    number.map_or_else(
        || {
            reject(
                Class::AmountMalformed,
                "the value is no plain decimal number",
            )
        },
        Ok,
    )
}

/// A plain value as an instant.
pub(super) fn instant(found: &Found<'_>, reader: &TimeReader) -> Result<TimeMs, Rejection> {
    if let Found::Instant(time) = found {
        return Ok(*time);
    }
    let text = plain_text(found)?;
    reader
        .read(&text)
        .map_err(|what| Rejection::new(Class::TimeMalformed, format!("the value {what}")))
}
