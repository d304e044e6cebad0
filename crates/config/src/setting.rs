//! The kinds of value that a key can have: how each is read from TOML, written back, and named.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::time::TimeMs;
use toml::de::DeValue;

use crate::problem::nearest;
use crate::units::{
    Decimal, UnitError, format_bytes, format_duration, parse_bytes, parse_duration, parse_instant,
};

/// Why a value is refused.
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Wrong {
        Wrong {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Wrong {
        Wrong {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<UnitError> for Wrong {
    fn from(error: UnitError) -> Wrong {
        Wrong::new(error.message).hint(error.hint)
    }
}

/// A kind of value. Reading back what [`Setting::literal`] writes gives the same value.
pub(crate) trait Setting: Sized {
    /// The kind's name in messages and in the reference: `duration`.
    fn kind() -> String;
    /// Reads a TOML value.
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;
    /// Writes a TOML value.
    fn literal(&self) -> String;
}

fn mismatch<T: Setting>(value: &DeValue<'_>) -> Wrong {
    Wrong::new(format!(
        "expected {}, found {}",
        with_article(&T::kind()),
        with_article(value.type_str())
    ))
}

/// `word` behind `a` or `an`; what is a list of quoted values stays as it is.
pub(crate) fn with_article(word: &str) -> String {
    match word.chars().next() {
        Some('`') => format!("one of {word}"),
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {word}"),
        _ => format!("a {word}"),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn text_of<'v, T: Setting>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| mismatch::<T>(value))
}

impl Setting for String {
    fn kind() -> String {
        "string".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        text_of::<Self>(value).map(str::to_owned)
    }
    fn literal(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match text_of::<Self>(value)? {
            "" => Err(Wrong::new("the path is empty")),
            path => Ok(PathBuf::from(path)),
        }
    }
    fn literal(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for bool {
    fn kind() -> String {
        "boolean".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| mismatch::<Self>(value))
    }
    fn literal(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn kind() -> String {
        "integer".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let integer = value.as_integer().ok_or_else(|| mismatch::<Self>(value))?;
        u32::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| Wrong::new(format!("{integer} is outside 0 to {}", u32::MAX)))
    }
    fn literal(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    fn kind() -> String {
        "number".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = match value {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(mismatch::<Self>(value)),
        };
        text.parse().map_err(|_| mismatch::<Self>(value))
    }
    fn literal(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for Duration {
    fn kind() -> String {
        "duration".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        Ok(parse_duration(text_of::<Self>(value)?)?)
    }
    fn literal(&self) -> String {
        quoted(&format_duration(*self))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_bytes(self.0))
    }
}

impl Setting for Size {
    fn kind() -> String {
        "size".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        Ok(Size(parse_bytes(text_of::<Self>(value)?)?))
    }
    fn literal(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for TimeMs {
    fn kind() -> String {
        "instant".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value {
            DeValue::Datetime(instant) => Ok(parse_instant(&instant.to_string())?),
            _ => Ok(parse_instant(text_of::<Self>(value)?)?),
        }
    }
    fn literal(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Decimal {
    fn kind() -> String {
        "amount as a string".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        Ok(Decimal::parse(text_of::<Self>(value)?)?)
    }
    fn literal(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for SocketAddr {
    fn kind() -> String {
        "address".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text_of::<Self>(value)?;
        text.parse().map_err(|_| {
            Wrong::new(format!("{text:?} is not an address with a port")).hint(
                "write an IP address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\"",
            )
        })
    }
    fn literal(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Vec<String> {
    fn kind() -> String {
        "array of strings".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let items = value.as_array().ok_or_else(|| mismatch::<Self>(value))?;
        items
            .iter()
            .map(|item| text_of::<Self>(item.get_ref()).map(str::to_owned))
            .collect()
    }
    fn literal(&self) -> String {
        let items: Vec<String> = self.iter().map(|item| quoted(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// Brokers, `host:port` each.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Brokers(pub(crate) Vec<String>);

impl Setting for Brokers {
    fn kind() -> String {
        "array of strings, or a string with commas".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value.as_str() {
            Some(text) => Ok(Brokers(
                text.split(',').map(|b| b.trim().to_owned()).collect(),
            )),
            None if value.is_array() => Ok(Brokers(Vec::read(value)?)),
            None => Err(mismatch::<Self>(value)),
        }
    }
    fn literal(&self) -> String {
        self.0.literal()
    }
}

/// A value, or an empty string in its place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Optional<T>(pub(crate) Option<T>);

impl<T: Setting> Setting for Optional<T> {
    fn kind() -> String {
        T::kind()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        if value.as_str() == Some("") {
            return Ok(Optional(None));
        }
        T::read(value).map(|value| Optional(Some(value)))
    }
    fn literal(&self) -> String {
        let value = self.0.as_ref();
        value.map_or_else(|| quoted(""), Setting::literal)
    }
}

/// A table of properties by their dotted names.
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

impl Properties {
    /// What the table of properties is called.
    pub(crate) const KIND: &'static str = "table of strings, numbers and booleans";

    pub(crate) fn literal(&self) -> String {
        inline_table(self.0.iter().map(|(name, value)| (name, quoted(value))))
    }
}

/// A property's value as text.
pub(crate) fn property_text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(integer) if integer.radix() == 10 => Ok(integer.as_str().to_owned()),
        DeValue::Float(float) => Ok(float.as_str().to_owned()),
        _ => Err(Wrong::new(format!(
            "expected a string, a number or a boolean, found {}",
            with_article(value.type_str())
        ))),
    }
}

fn inline_table<'k>(items: impl Iterator<Item = (&'k String, String)>) -> String {
    let items: Vec<String> = items
        .map(|(key, value)| format!("{} = {value}", quoted(key)))
        .collect();
    if items.is_empty() {
        return "{}".to_owned();
    }
    format!("{{ {} }}", items.join(", "))
}

impl Setting for BTreeMap<String, PathBuf> {
    fn kind() -> String {
        "table of paths".to_owned()
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let table = value.as_table().ok_or_else(|| mismatch::<Self>(value))?;
        table
            .iter()
            .map(|(key, value)| {
                let path = PathBuf::read(value.get_ref()).map_err(|wrong| {
                    Wrong::new(format!("`{}`: {}", key.get_ref(), wrong.message))
                })?;
                Ok((key.get_ref().to_string(), path))
            })
            .collect()
    }
    fn literal(&self) -> String {
        inline_table(self.iter().map(|(key, path)| (key, path.literal())))
    }
}

/// A value, or one word that stands for its absence or for a value found at the start.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Or<T, W>(pub(crate) Option<T>, pub(crate) W);

/// The word of an [`Or`].
pub(crate) trait Word: Default {
    /// As it is written.
    const TEXT: &'static str;
}

/// Found at the start: `auto`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Auto;
impl Word for Auto {
    const TEXT: &'static str = "auto";
}

/// No limit in time: `forever`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Forever;
impl Word for Forever {
    const TEXT: &'static str = "forever";
}

/// The ISO standard's: `iso`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Iso;
impl Word for Iso {
    const TEXT: &'static str = "iso";
}

/// Not at all: `off`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Off;
impl Word for Off {
    const TEXT: &'static str = "off";
}

impl<T, W: Word> Or<T, W> {
    /// The word.
    pub(crate) fn word() -> Self {
        Or(None, W::default())
    }

    /// A value.
    pub(crate) fn value(value: T) -> Self {
        Or(Some(value), W::default())
    }
}

impl<T: Setting, W: Word> Setting for Or<T, W> {
    fn kind() -> String {
        format!("{} or \"{}\"", T::kind(), W::TEXT)
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        if value.as_str() == Some(W::TEXT) {
            return Ok(Or::word());
        }
        T::read(value)
            .map(Or::value)
            .map_err(|wrong| match wrong.hint {
                Some(hint) => Wrong::new(wrong.message).hint(format!("{hint}, or \"{}\"", W::TEXT)),
                None => Wrong::new(wrong.message).hint(format!("or write \"{}\"", W::TEXT)),
            })
    }
    fn literal(&self) -> String {
        match &self.0 {
            Some(value) => value.literal(),
            None => quoted(W::TEXT),
        }
    }
}

/// A closed set of words.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word.
    const ALL: &'static [(&'static str, Self)];
}

/// A value of a closed set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneOf<T>(pub(crate) T);

impl<T: Choice> Setting for OneOf<T> {
    fn kind() -> String {
        let words: Vec<String> = T::ALL.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(", ")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text_of::<Self>(value)?;
        if let Some((_, found)) = T::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(OneOf(*found));
        }
        let wrong = Wrong::new(format!("{text:?} is not one of {}", Self::kind()));
        Err(match nearest(text, T::ALL.iter().map(|(word, _)| *word)) {
            Some(word) => wrong.hint(format!("did you mean \"{word}\"?")),
            None => wrong,
        })
    }
    fn literal(&self) -> String {
        T::ALL
            .iter()
            .find(|(_, value)| *value == self.0)
            .map_or_else(String::new, |(word, _)| quoted(word))
    }
}
