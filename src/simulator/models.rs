//! Answers `GET /v1/models` and `GET /v1/models/{id}`.
//!
//! Must not know what a model does: any name is one, only unknown words after `sim/` are not.

use super::Plan;
use super::body::Reply;
use super::faults::{Behaviour, PREFIX, WORDS};
use super::refusal::Refusal;
use serde::Serialize;

/// When the models were made, in seconds since 1970: 2026-01-01.
const CREATED: u64 = 1_767_225_600;

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// The names of the models: one example for each thing that can be asked for.
#[must_use]
pub fn names() -> Vec<String> {
    WORDS.iter().map(|word| format!("{PREFIX}{}", word.written())).collect()
}

/// The models: one example for each thing that can be asked for.
pub(super) fn list() -> Plan {
    let data = names().into_iter().map(model).collect();
    Plan { behaviour: Behaviour::default(), reply: Reply::json(&List { object: "list", data }) }
}

/// One model; `id` as it stands in the path, with its `%2F`.
pub(super) fn one(id: &str) -> Result<Plan, Refusal> {
    let id = decode(id).ok_or_else(|| Refusal::model("The model's name is not UTF-8."))?;
    Behaviour::of_model(&id).map_err(|unknown| Refusal::model(unknown.to_string()))?;
    Ok(Plan { behaviour: Behaviour::default(), reply: Reply::json(&model(id)) })
}

fn model(id: String) -> Model {
    Model { id, object: "model", created: CREATED, owned_by: "tollgate-simulator" }
}

/// Undoes percent-encoding (RFC 3986, section 2.1), once; a `%` without two hex digits stands for itself.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = digits.and_then(|digits| Some(hex(digits[0])? * 16 + hex(digits[1])?));
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(decode("meta%2Fllama%203:8b").as_deref(), Some("meta/llama 3:8b"));
        assert_eq!(decode("a%252F%zz%2").as_deref(), Some("a%2F%zz%2"));
        assert_eq!(decode("%ff"), None);
        assert_eq!(decode(""), Some(String::new()));
    }
}
