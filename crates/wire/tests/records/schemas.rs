//! The committed schemas: listed, documented, and evolving so that nothing becomes unreadable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use wire::{Decoder, Encoder, Format, OutputEncoder, SchemaSet};

use crate::{dollars, rules};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// Every committed version: record, version, text.
fn committed() -> Vec<(String, u32, String)> {
    let mut found = Vec::new();
    for side in ["input", "output"] {
        for record in fs::read_dir(folder().join(side)).unwrap() {
            let record = record.unwrap().path();
            let name = format!("{side}/{}", record.file_name().unwrap().to_str().unwrap());
            for file in fs::read_dir(&record).unwrap() {
                let file = file.unwrap().path();
                let stem = file.file_stem().unwrap().to_str().unwrap();
                let version = stem.strip_prefix('v').unwrap().parse().unwrap();
                assert_eq!(file.extension().unwrap(), "avsc");
                found.push((name.clone(), version, fs::read_to_string(&file).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// What a change from `older` to `newer` breaks, if anything: BACKWARD, checked for every pair of
/// versions, is BACKWARD_TRANSITIVE.
fn breakage(older: &str, newer: &str) -> Option<String> {
    let [older, newer] = [older, newer].map(|text| Schema::parse_str(text).unwrap());
    match SchemaCompatibility::can_read(&older, &newer) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => Some("only some values can be read".into()),
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_file_has_exactly_one_id_and_is_embedded() {
    let table: toml::Table = fs::read_to_string(folder().join("ids.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let ids = table["ids"].as_table().unwrap();
    let paths: Vec<&str> = ids.values().map(|path| path.as_str().unwrap()).collect();
    let listed: BTreeSet<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(listed.len(), paths.len(), "a file is listed twice");
    let files: BTreeSet<String> = committed()
        .iter()
        .map(|(record, version, _)| format!("{record}/v{version}.avsc"))
        .collect();
    assert_eq!(listed, files);
    assert_eq!(SchemaSet::embedded().unwrap().iter().count(), files.len());
}

#[test]
fn every_record_and_field_is_documented() {
    fn check(schema: &serde_json::Value, path: &str) {
        match schema {
            serde_json::Value::Array(branches) => branches.iter().for_each(|b| check(b, path)),
            serde_json::Value::Object(object) => {
                if let Some(items) = object.get("items") {
                    check(items, path);
                }
                for field in object
                    .get("fields")
                    .and_then(|f| f.as_array())
                    .into_iter()
                    .flatten()
                {
                    let path = format!("{path}.{}", field["name"]);
                    let doc = field
                        .get("doc")
                        .and_then(|d| d.as_str())
                        .unwrap_or_default();
                    assert!(!doc.is_empty(), "{path} has no doc");
                    check(&field["type"], &path);
                }
            }
            _ => {}
        }
    }
    for (record, _, text) in committed() {
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(schema["doc"].is_string(), "{record} has no doc");
        check(&schema, &record);
    }
}

#[test]
fn every_version_is_readable_by_all_later_ones() {
    let mut versions: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
    for (record, version, text) in committed() {
        versions.entry(record).or_default().push((version, text));
    }
    for (record, versions) in &versions {
        let numbers: Vec<u32> = versions.iter().map(|(version, _)| *version).collect();
        let gapless: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, gapless, "{record} skips a version");
        for (index, (newer, text)) in versions.iter().enumerate() {
            for (older, older_text) in &versions[..=index] {
                let broken = breakage(older_text, text);
                assert_eq!(broken, None, "{record} v{newer} cannot read v{older}");
            }
        }
    }
}

#[test]
fn the_check_of_evolution_can_fail() {
    let (_, _, text) = committed()
        .into_iter()
        .find(|(record, ..)| record == "input/order_cancelled")
        .unwrap();
    let field = |field: &str| text.replacen("\"fields\": [", &format!("\"fields\": [{field},"), 1);
    let with_default = field(r#"{"name": "reason", "type": "string", "default": ""}"#);
    let without_default = field(r#"{"name": "reason", "type": "string"}"#);
    let narrowed = text.replace(r#""type": "long""#, r#""type": "int""#);
    let narrowed = narrowed.replace(r#""timestamp-millis""#, r#""time-millis""#);
    assert_ne!(narrowed, text);
    assert_eq!(breakage(&text, &with_default), None);
    assert!(breakage(&text, &without_default).is_some());
    assert!(breakage(&text, &narrowed).is_some());
    let union = |branches: &str| {
        format!(
            r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {branches}}}]}}"#
        )
    };
    let (wide, narrow) = (union(r#"["null", "string"]"#), union(r#""string""#));
    assert!(breakage(&wide, &narrow).is_some());
    assert_eq!(breakage(&narrow, &wide), None);
}

#[test]
fn every_embedded_schema_can_be_used() {
    let schemas = SchemaSet::embedded().unwrap();
    Decoder::new(rules(), &schemas).unwrap();
    Encoder::new(dollars(), &schemas).unwrap();
    OutputEncoder::new(Format::Avro, &schemas).unwrap();
}

#[test]
fn foreign_schemas_are_checked() {
    let text = || r#"{"type": "record", "name": "CartViewed", "fields": []}"#.to_owned();
    assert!(SchemaSet::with_extra(vec![(7, text())]).is_ok());
    let taken = SchemaSet::with_extra(vec![(7, text()), (7, text())]).unwrap_err();
    assert_eq!(
        taken.to_string(),
        "schema ids: id 7 is taken: give every schema its own id"
    );
    let taken = SchemaSet::with_extra(vec![(1_900_000_001, text())]).unwrap_err();
    assert!(taken.to_string().contains("is taken"), "{taken}");
    let invalid = SchemaSet::with_extra(vec![(7, "{".into())]).unwrap_err();
    assert!(
        invalid
            .to_string()
            .starts_with("schema 7 is no valid Avro schema")
    );
}
