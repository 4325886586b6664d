//! For tests: request bodies of every shape, and serde's reading of them to compare with.
//!
//! Must not know how this crate reads a body.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A document as serde reads it, with keys in their order and those that stand twice kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doc {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

impl Doc {
    /// Serde's reading.
    pub(crate) fn read(body: &[u8]) -> serde_json::Result<Doc> {
        serde_json::from_slice(body)
    }

    /// The members of an object.
    pub(crate) fn members(&self) -> &[(String, Doc)] {
        match self {
            Doc::Object(members) => members,
            _ => &[],
        }
    }

    /// The value of the first member called `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Doc> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Doc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Doc;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Doc, E> {
                Ok(Doc::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Doc, E> {
                Ok(Doc::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Doc, E> {
                Ok(Doc::Number(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Doc, E> {
                Ok(Doc::Number(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Doc, E> {
                Ok(serde_json::Number::from_f64(value).map_or(Doc::Null, Doc::Number))
            }
            fn visit_str<E>(self, value: &str) -> Result<Doc, E> {
                Ok(Doc::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Doc, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Doc::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Doc, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Doc::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-zA-Z0-9 ,:{}/]{0,12}",
        2 => "[é€😀я]{1,6}",
        1 => "[a-z]{60,90}",
        2 => r#"\\["\\/bfnrt]"#,
        1 => r"\\u00[0-9a-fA-F]{2}",
        1 => r"\\u[1-9a-c][0-9a-fA-F]{3}",
        1 => Just(r"\ud83d\uDE00".to_owned()),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?"
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("null".to_owned()),
        1 => Just("true".to_owned()),
        1 => Just("false".to_owned()),
        3 => number(),
        5 => string(),
    ]
}

/// A key inside of a value, quoted.
fn inner_key() -> impl Strategy<Value = String> {
    let known = [
        "image_url",
        "url",
        "data",
        "input_audio",
        "file_id",
        "file_data",
        "type",
        "text",
        "content",
        "result",
        "include_usage",
    ];
    prop_oneof![
        2 => proptest::sample::select(known.to_vec()).prop_map(|key| format!("\"{key}\"")),
        1 => string(),
    ]
}

/// Any JSON value.
pub(crate) fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(5, 32, 5, |inner| {
        let padded =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}")).boxed();
        let member = (space(), inner_key(), space(), padded.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            (space(), proptest::collection::vec(padded, 0..5)).prop_map(|(space, items)| format!(
                "[{}{}]",
                if items.is_empty() { space } else { String::new() },
                items.join(",")
            )),
            (space(), proptest::collection::vec(member, 0..5)).prop_map(|(space, items)| format!(
                "{{{}{}}}",
                if items.is_empty() { space } else { String::new() },
                items.join(",")
            )),
        ]
    })
}

fn chosen(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(values).prop_map(str::to_owned)
}

/// A member of a request, as `"key":value`; most have a type that is accepted.
fn member() -> impl Strategy<Value = String> {
    let number_key = chosen(&[
        "n",
        "best_of",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        r"ma\u0078_tokens",
        r"\u006e",
    ]);
    let number = prop_oneof![
        12 => "[1-9][0-9]{0,15}",
        6 => chosen(&["0", "-1", "null", "9007199254740992"]),
        1 => chosen(&["1.0", "1e3", "-0", "-2", "true", "\"5\"", "[]", "9007199254740993", "18446744073709551616"]),
    ];
    let flag = prop_oneof![12 => chosen(&["true", "false", "null"]), 1 => chosen(&["1", "\"true\"", "[]", "{}"])];
    let options = prop_oneof![
        2 => chosen(&["null", "{}", "{ }", "{\"include_usage\":true}", "{ \"include_usage\" : false,\"x\":{\"include_usage\":true} }"]),
        3 => (chosen(&["null", "true", "false"]), value()).prop_map(|(flag, x)| format!("{{\"x\":{x} ,\"include_usage\":{flag}}}")),
        2 => value().prop_map(|x| format!("{{\"x\":{x}}}")),
        1 => value(),
    ];
    let text_key = prop_oneof![
        8 => chosen(&["messages", "input", "prompt", "tools", "metadata", "text", "user", "instructions", "__proto__", "y"]),
        1 => chosen(&["Model", "MAX_TOKENS", " stream", "n\u{200b}", "Tools", "models"]),
        4 => "[a-z]{1,9}",
    ];
    let (text_key, any_key) = (text_key.prop_map(|key| format!("\"{key}\"")), string());
    let joined = |key: String, value: String| format!("\"{key}\":{value}");
    prop_oneof![
        4 => (number_key, number).prop_map(move |(key, value)| joined(key, value)),
        2 => flag.prop_map(|value| format!("\"stream\" :{value}")),
        2 => options.prop_map(|value| format!("\"stream_options\": {value}")),
        8 => (text_key, value()).prop_map(|(key, value)| format!("{key}:{value}")),
        1 => (any_key, value()).prop_map(|(key, value)| format!("{key}:{value}")),
    ]
}

/// A request's body: valid JSON always, acceptable often.
pub(crate) fn body() -> impl Strategy<Value = String> {
    let model = prop_oneof![
        20 => chosen(&["\"m\"", "\"meta\\/llama 3:8b\"", "\"\\u006d😀\""]),
        1 => chosen(&["\" m\"", "null", "1", "\"\"", "\"\\u0000\""]),
    ];
    let members = proptest::collection::vec((space(), member(), space()), 0..7);
    (model, members, any::<proptest::sample::Index>(), space()).prop_map(|(model, members, place, space)| {
        let mut members: Vec<_> =
            members.into_iter().map(|(before, member, after)| format!("{before}{member}{after}")).collect();
        members.insert(place.index(members.len() + 1), format!("\"model\":{model}"));
        format!("{space}{{{}}}{space}", members.join(","))
    })
}
