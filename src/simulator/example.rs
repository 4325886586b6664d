//! Makes a small value that fits a JSON Schema: the arguments of a tool call, or a structured answer.
//!
//! Must not know which of the two it is. It fills what a schema requires and what is simple to satisfy (types, enums,
//! constants, references inside the schema, lower bounds); it is no validator: patterns and conditions are not looked
//! at.

use serde_json::{Map, Value, json};

/// Values made for one schema at most: a schema that refers to itself twice would otherwise grow without end.
const MOST_VALUES: u32 = 2_000;
/// How deep a value may be nested.
const DEEPEST: u32 = 24;
/// The longest array or string that is made to reach a schema's lower bound.
const LONGEST: u64 = 256;

/// A value that fits `schema`.
#[must_use]
pub(super) fn of(schema: &Value) -> Value {
    Maker { root: schema, left: MOST_VALUES }.value(schema, "value", DEEPEST)
}

struct Maker<'a> {
    root: &'a Value,
    left: u32,
}

impl<'a> Maker<'a> {
    fn value(&mut self, schema: &'a Value, name: &str, depth: u32) -> Value {
        if depth == 0 || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        for key in ["const", "default"] {
            if let Some(given) = schema.get(key) {
                return given.clone();
            }
        }
        if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
            return first.clone();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return match target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => self.value(target, name, depth - 1),
                None => Value::Null,
            };
        }
        if let Some(options) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)?.as_array()) {
            return self.simplest(options, name, depth - 1);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, name, depth - 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" | "number" => lower_bound(schema),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            _ => text(schema, name),
        }
    }

    /// The option to take: near the bottom the first that needs no further values, so that recursive schemas come to an
    /// end.
    fn simplest(&mut self, options: &'a [Value], name: &str, depth: u32) -> Value {
        let is_flat = |option: &&Value| option.get("$ref").is_none() && !matches!(kind(option), "object" | "array");
        let near_the_end = depth < DEEPEST - 6;
        let option = options.iter().find(|option| !near_the_end || is_flat(option)).or(options.first());
        option.map_or(Value::Null, |option| self.value(option, name, depth))
    }

    fn all_of(&mut self, schema: &'a Value, parts: &'a [Value], name: &str, depth: u32) -> Value {
        let mut whole = Map::new();
        let mut other = Value::Null;
        for part in parts {
            match self.value(part, name, depth) {
                Value::Object(fields) => whole.extend(fields),
                value => other = value,
            }
        }
        if schema.get("properties").is_some()
            && let Value::Object(fields) = self.object(schema, depth)
        {
            whole.extend(fields);
        }
        if whole.is_empty() { other } else { Value::Object(whole) }
    }

    /// The required properties; all of them where the schema does not say which are required.
    fn object(&mut self, schema: &'a Value, depth: u32) -> Value {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_none_or(|all| all.iter().any(|one| one.as_str() == Some(name)));
        let mut fields = Map::new();
        for (name, property) in properties.iter().filter(|(name, _)| is_required(name)) {
            fields.insert(name.clone(), self.value(property, name, depth - 1));
        }
        Value::Object(fields)
    }

    fn array(&mut self, schema: &'a Value, name: &str, depth: u32) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).min(LONGEST);
        let Some(items) = schema.get("items") else { return json!([]) };
        Value::Array((0..least).map(|_| self.value(items, name, depth - 1)).collect())
    }
}

/// The schema's type; where it gives several, the first that is not null; where it gives none, what its other keys
/// mean.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

fn lower_bound(schema: &Value) -> Value {
    if let Some(least) = schema.get("minimum").filter(|least| least.is_number()) {
        return least.clone();
    }
    match schema.get("exclusiveMinimum").and_then(Value::as_i64) {
        Some(below) => json!(below.saturating_add(1)),
        None => json!(1),
    }
}

fn text(schema: &Value, name: &str) -> Value {
    let mut text = match schema.get("format").and_then(Value::as_str) {
        Some("date") => String::from("2026-01-01"),
        Some("time") => String::from("12:00:00Z"),
        Some("date-time") => String::from("2026-01-01T12:00:00Z"),
        Some("email") => String::from("someone@example.org"),
        Some("uri") => String::from("https://example.org/"),
        Some("uuid") => String::from("00000000-0000-4000-8000-000000000000"),
        _ => format!("simulated {name}"),
    };
    if let Some(most) = schema.get("maxLength").and_then(Value::as_u64) {
        text = text.chars().take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
    }
    let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(LONGEST);
    let missing = usize::try_from(least).unwrap_or(0).saturating_sub(text.chars().count());
    text.extend(std::iter::repeat_n('.', missing));
    Value::String(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_are_there_with_fitting_types() {
        let schema = json!({"type": "object", "required": ["city", "days", "unit", "tags"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}, "unit": {"enum": ["celsius", "kelvin"]},
            "tags": {"type": "array", "items": {"type": ["null", "boolean"]}, "minItems": 2}, "note": {"type": "string"}}});
        let expected = json!({"city": "simulated city", "days": 3, "unit": "celsius", "tags": [true, true]});
        assert_eq!(of(&schema), expected);
    }

    #[test]
    fn references_and_choices_inside_the_schema_are_followed() {
        let schema = json!({"$defs": {"day": {"type": "string", "format": "date"}}, "type": "object",
            "properties": {"when": {"$ref": "#/$defs/day"}, "what": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "both": {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}}});
        assert_eq!(of(&schema), json!({"when": "2026-01-01", "what": 1, "both": {"a": 1, "b": 2}}));
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let list = json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
        let text = of(&list).to_string();
        assert!(text.len() < 2_000 && text.contains("\"next\":null"), "{text}");
        let tree = json!({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert!(of(&tree).to_string().len() < 200_000);
        assert_eq!(of(&json!({"$ref": "#"})), Value::Null);
    }

    #[test]
    fn nonsense_schemas_do_no_harm() {
        for schema in [json!(null), json!([]), json!(5), json!({"type": 7, "enum": [], "items": 3, "minItems": 1e30})] {
            let _ = of(&schema);
        }
        let vast = json!({"type": "array", "minItems": 4_000_000_000_u64, "items": {"type": "string", "minLength": 4_000_000_000_u64}});
        assert!(of(&vast).to_string().len() <= 256 * 300);
    }
}
