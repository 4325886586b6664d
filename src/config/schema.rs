//! Shows the description of the configuration's keys as a JSON Schema, so that editors complete and check the file.
//!
//! JSON Schema 2020-12 (json-schema.org/draft/2020-12). Derived from `config::keys` alone; must not know what a key does.
//! Keys that this version does not have are not in it, so an editor marks them.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, Presence, ROOT, Single, Zero};

/// The schema of a configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut root = table(ROOT);
    let described = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tollgate's configuration",
        "description": "Who may call, what they may spend, where calls go.",
    });
    if let (Value::Object(root), Value::Object(described)) = (&mut root, described) {
        root.extend(described);
        root.insert("required".to_owned(), json!(["tenants", "routes", "upstreams"]));
    }
    root
}

fn built(keys: &'static [Key]) -> impl Iterator<Item = &'static Key> {
    keys.iter().filter(|key| key.presence != Presence::Later)
}

fn table(keys: &'static [Key]) -> Value {
    let properties: Map<String, Value> = built(keys).map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        built(keys).filter(|key| key.presence == Presence::Required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &'static Key) -> Value {
    let mut schema = kind(&key.kind);
    schema["description"] = Value::from(key.doc);
    match key.presence {
        Presence::Default(value) => schema["default"] = read(value),
        Presence::Optional(example) if !example.is_empty() => schema["examples"] = json!([read(example)]),
        _ => {}
    }
    schema
}

/// A default or example, which is TOML, as JSON.
fn read(text: &str) -> Value {
    let value = text.parse::<toml::Value>().ok().and_then(|value| serde_json::to_value(value).ok());
    value.unwrap_or_else(|| Value::from(text))
}

fn kind(kind: &'static Kind) -> Value {
    match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Variable => json!({ "type": "string", "pattern": "^[A-Za-z0-9_]+$" }),
        Kind::Pattern => json!({ "type": "string", "minLength": 1, "title": "a model name; * stands for any text" }),
        Kind::Template => json!({ "type": "string", "minLength": 1, "pattern": r"^([^{}]|\{model\})+$" }),
        Kind::Number { least } => json!({ "oneOf": [
            { "type": "integer", "minimum": least },
            { "type": "string", "pattern": r"^[0-9][0-9_]*(\.[0-9]+)?[kM]?$" },
        ] }),
        Kind::Size => json!({ "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": r"^[0-9][0-9_]*(\.[0-9]+)?(B|KiB|MiB|GiB)?$" },
        ] }),
        Kind::SizeOrNone => json!({ "oneOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": r"^[0-9][0-9_]*(\.[0-9]+)?(B|KiB|MiB|GiB)?$" },
        ] }),
        Kind::Duration(zero) => {
            let zero = if *zero == Zero::Allowed { " 0s: none, or at once." } else { "" };
            json!({ "type": "string", "pattern": "^([0-9][0-9_]*(ms|s|m|h)|0)$", "title": format!("a duration, such as 250ms, 30s, 10m, 1h.{zero}") })
        }
        Kind::Rate => json!({
            "type": "string",
            "pattern": r"^\s*[0-9][0-9_.]*[kM]?/(s|min|h|day)(\s+burst\s+[0-9][0-9_.]*[kM]?)?\s*$",
            "title": "a rate, such as 600/min, 200k/min, 5k/day burst 500",
        }),
        Kind::Day => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Digest => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" }),
        Kind::Word(words) => json!({ "type": "string", "enum": words.built }),
        Kind::Address => json!({ "type": "string", "pattern": r"^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$" }),
        Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::Origin => json!({ "type": "string", "pattern": r"^(\*|[a-z][a-z0-9+.-]*://[^/?#@\s]+)$" }),
        Kind::HeaderName => json!({ "type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }),
        Kind::Price | Kind::Factor => json!({ "oneOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$" },
        ] }),
        Kind::Map(of) => json!({ "type": "object", "additionalProperties": self::kind(of) }),
        Kind::Headers => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Table(keys) => table(keys),
        Kind::OneOf(keys) => {
            let mut schema = table(keys);
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
            schema
        }
        Kind::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Kind::Set(of) => json!({ "type": "array", "items": self::kind(of) }),
        Kind::List(of, single) => {
            let list = json!({ "type": "array", "items": self::kind(of), "minItems": 1 });
            match single {
                Single::Allowed => json!({ "anyOf": [self::kind(of), list] }),
                Single::Refused => list,
            }
        }
        Kind::TextOr(text, table, _) => json!({ "anyOf": [self::kind(text), self::kind(table)] }),
    }
}
