//! The Avro schemas that are known: those of `schemas/`, embedded, and a folder of foreign ones.
//!
//! Invariant: an id names one schema for ever; a folder cannot redefine an embedded id.

use std::collections::BTreeMap;

use apache_avro::Schema;
use serde::Deserialize;

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../schemas/", $path))),)*]
    };
}

/// Every file of `schemas/`: path below it, and text.
const FILES: &[(&str, &str)] = files![
    "input/page_viewed/v1.avsc",
    "input/products_searched/v1.avsc",
    "input/product_list_viewed/v1.avsc",
    "input/product_viewed/v1.avsc",
    "input/product_compared/v1.avsc",
    "input/wishlist_added/v1.avsc",
    "input/product_added/v1.avsc",
    "input/product_removed/v1.avsc",
    "input/cart_viewed/v1.avsc",
    "input/checkout_started/v1.avsc",
    "input/order_completed/v1.avsc",
    "input/order_cancelled/v1.avsc",
    "input/order_refunded/v1.avsc",
    "input/order_delivered/v1.avsc",
    "input/lead_captured/v1.avsc",
    "input/product_reviewed/v1.avsc",
    "input/product_shared/v1.avsc",
    "input/referral_converted/v1.avsc",
    "input/nps_answered/v1.avsc",
    "input/message_opened/v1.avsc",
    "input/message_clicked/v1.avsc",
    "output/clv_updates/v1.avsc",
    "output/clv_updates/v2.avsc",
    "output/lifecycle_transitions/v1.avsc",
    "output/segment_changes/v1.avsc",
];

const IDS: &str = include_str!("../../../schemas/ids.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdTable {
    ids: BTreeMap<String, String>,
}

/// A schema that cannot be used; the message says which and why.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The table of ids does not fit the files.
    #[error("schema ids: {0}")]
    Ids(String),
    /// A schema is no Avro schema.
    #[error("schema {id} is no valid Avro schema: {source}")]
    Invalid {
        /// The schema's id.
        id: u32,
        /// What the parser found.
        source: Box<apache_avro::Error>,
    },
    /// A schema that cannot be read or written with.
    #[error("schema {id}: {message}")]
    Unusable {
        /// The schema's id.
        id: u32,
        /// Why.
        message: String,
    },
}

/// A writer's schema as a registry has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchemaText {
    /// The schema itself.
    pub text: String,
    /// The schemas that it refers to, each after those that it refers to itself.
    pub references: Vec<String>,
}

/// Parsed schemas by id.
#[derive(Clone, Debug)]
pub struct SchemaSet {
    schemas: BTreeMap<u32, Schema>,
    /// Path below `schemas/` to id, of the embedded ones.
    paths: BTreeMap<&'static str, u32>,
}

impl SchemaSet {
    /// The project's own schemas.
    ///
    /// # Errors
    /// Only if the embedded files contradict each other, which a test excludes.
    pub fn embedded() -> Result<SchemaSet, SchemaError> {
        let table: IdTable = toml::from_str(IDS).map_err(|e| SchemaError::Ids(e.to_string()))?;
        let mut set = SchemaSet {
            schemas: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        for (id, path) in &table.ids {
            let id: u32 = id
                .parse()
                .map_err(|_| SchemaError::Ids(format!("{id} is no id: use a whole number")))?;
            let file = FILES.iter().find(|(known, _)| known == path);
            let (path, text) =
                file.ok_or_else(|| SchemaError::Ids(format!("{path} is not embedded")))?;
            set.insert(id, text)?;
            if set.paths.insert(path, id).is_some() {
                return Err(SchemaError::Ids(format!("{path} has two ids")));
            }
        }
        Ok(set)
    }

    /// The project's own schemas and `extra` ones: id, and text of the `.avsc`.
    ///
    /// # Errors
    /// A text is no Avro schema, or an id is taken.
    pub fn with_extra(extra: Vec<(u32, String)>) -> Result<SchemaSet, SchemaError> {
        let mut set = SchemaSet::embedded()?;
        for (id, text) in &extra {
            set.insert(*id, text)?;
        }
        Ok(set)
    }

    fn insert(&mut self, id: u32, text: &str) -> Result<(), SchemaError> {
        let schema = Schema::parse_str(text).map_err(|source| SchemaError::Invalid {
            id,
            source: Box::new(source),
        })?;
        match self.schemas.insert(id, schema) {
            None => Ok(()),
            Some(_) => Err(SchemaError::Ids(format!(
                "id {id} is taken: give every schema its own id"
            ))),
        }
    }

    /// Every schema with its id, by id.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Schema)> {
        self.schemas.iter().map(|(id, schema)| (*id, schema))
    }

    /// The embedded records below `folder`, without their versions: `input/page_viewed`.
    pub(crate) fn records<'s>(
        &'s self,
        folder: &'s str,
    ) -> impl Iterator<Item = &'static str> + 's {
        let paths = self
            .paths
            .keys()
            .filter(move |path| path.starts_with(folder));
        let mut records: Vec<&'static str> = paths
            .filter_map(|path| Some(path.rsplit_once('/')?.0))
            .collect();
        records.dedup();
        records.into_iter()
    }

    /// Id, version and schema of the newest embedded version of `record`, for example
    /// `input/page_viewed`.
    #[must_use]
    pub fn newest(&self, record: &str) -> Option<(u32, u32, &Schema)> {
        let versions = self.paths.iter().filter_map(|(path, id)| {
            let version = version_of(path.strip_prefix(record)?)?;
            Some((version, *id))
        });
        let (version, id) = versions.max()?;
        Some((id, version, self.schemas.get(&id)?))
    }
}

/// The number in `/v3.avsc`.
fn version_of(file: &str) -> Option<u32> {
    file.strip_prefix("/v")?.strip_suffix(".avsc")?.parse().ok()
}
