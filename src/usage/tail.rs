//! Reads usage and model out of a JSON answer that lies there whole, without walking through what was generated.
//!
//! Must not guess: where the short way is not certain, it says nothing and the walk decides. What makes it certain: in valid
//! JSON the bytes `"usage"` before a colon are a key, as a quote inside a string is escaped; and what stands open behind a
//! key up to the end of the document tells how deep it stands. Numbers from a key at the root are the answer's own.

use std::sync::LazyLock;

use memchr::memmem::{Finder, FinderRev};

use super::Tier;
use super::json::{Reading, read_first};

/// What the short way found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail<'a> {
    /// The usage at the root.
    pub(super) reading: Reading,
    /// The model at the root, where it is plain ASCII and stands before anything nested.
    pub(super) model: Option<&'a str>,
    /// The service tier at the root.
    pub(super) tier: Option<Tier>,
}

static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"error\""));
static USAGE: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b"\"usage\""));
static TIER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"service_tier\""));
static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"model\""));

/// Reads the root's `usage` and `model`. `None`: none there, all zero, or not certain.
#[must_use]
pub(super) fn read_tail(body: &[u8]) -> Option<Tail<'_>> {
    // An answer that speaks of an error is for the walk.
    if ERROR.find(body).is_some() {
        return None;
    }
    let key = USAGE.rfind(body)?;
    let after = skip_space(body, key + USAGE.needle().len());
    if body.get(after) != Some(&b':') {
        return None;
    }
    let value = skip_space(body, after + 1);
    let rest = body.get(value..)?;
    if rest.first() != Some(&b'{') {
        return None;
    }
    let (reading, length) = read_first(rest)?;
    if !ends_with_the_root(rest.get(length..)?) {
        return None;
    }
    let tier = match TIER.find(body) {
        Some(key) => tier_at_the_root(body, key)?,
        None => None,
    };
    Some(Tail { reading, model: model_at_the_head(body), tier })
}

/// The tier that the key at `key` names. `None` where that key may not be the root's, or is not the only one.
fn tier_at_the_root(body: &[u8], key: usize) -> Option<Option<Tier>> {
    let behind = key + TIER.needle().len();
    let colon = skip_space(body, behind);
    let value = skip_space(body, colon + 1);
    if body.get(colon) != Some(&b':') || !ends_with_the_root(body.get(value..)?) || TIER.find(&body[behind..]).is_some() {
        return None;
    }
    if body.get(value) != Some(&b'"') {
        return Some(None);
    }
    let name = body.get(value + 1..end_of_string(body, value)?)?;
    (!name.contains(&b'\\')).then(|| Tier::new(name))
}

fn skip_space(body: &[u8], from: usize) -> usize {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    from + body.get(from..).unwrap_or_default().iter().take_while(space).count()
}

/// Whether what is left of a document closes exactly one container that was opened before: the root.
fn ends_with_the_root(rest: &[u8]) -> bool {
    let (mut open, mut closed) = (0_usize, 0_usize);
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => match end_of_string(rest, at) {
                Some(end) => at = end,
                None => return false,
            },
            b'{' | b'[' => open += 1,
            b'}' | b']' if open > 0 => open -= 1,
            b'}' => closed += 1,
            b']' => return false,
            _ => {}
        }
        at += 1;
    }
    open == 0 && closed == 1
}

/// Where the string that begins at `quote` has its last quote.
fn end_of_string(rest: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    // Keys are short: a search would take longer to begin than they take.
    for (ahead, &byte) in rest.get(at..)?.iter().take(24).enumerate() {
        match byte {
            b'"' => return Some(at + ahead),
            b'\\' => break,
            _ => {}
        }
    }
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
    }
}

/// The `model` among the members that stand before the first container of the root.
fn model_at_the_head(body: &[u8]) -> Option<&str> {
    let root = skip_space(body, 0);
    let nested = root + 1 + memchr::memchr2(b'{', b'[', body.get(root + 1..)?)?;
    let key = MODEL.find(&body[..nested])?;
    let colon = skip_space(body, key + MODEL.needle().len());
    let value = skip_space(body, colon + 1);
    if body.get(colon) != Some(&b':') || body.get(value) != Some(&b'"') {
        return None;
    }
    let end = end_of_string(&body[..nested], value)?;
    let name = &body[value + 1..end];
    let plain = !name.is_empty() && name.len() <= 128 && name.is_ascii() && !name.contains(&b'\\');
    if plain { std::str::from_utf8(name).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Dialect;
    use crate::usage::json::BodyScanner;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn walked(body: &[u8]) -> BodyScanner {
        let mut scanner = BodyScanner::new(Dialect::Chat);
        scanner.feed(body);
        scanner
    }

    #[test]
    fn a_usual_answer_is_read_the_short_way() {
        let body = include_bytes!("../../tests/fixtures/chat_response.json");
        let tail = read_tail(body).unwrap();
        assert_eq!((tail.reading.usage.input, tail.reading.usage.output), (19, 7));
        assert_eq!(tail.model, Some("gpt-x-2026-01-01"));
    }

    #[test]
    fn a_tier_is_read_the_short_way_wherever_it_stands_at_the_root() {
        let usage = r#""usage":{"prompt_tokens":9}"#;
        for (body, tier) in [
            (format!(r#"{{"choices":[{{}}],{usage},"service_tier":"flex","x":"y"}}"#), Some("flex")),
            (format!(r#"{{"choices":[{{}}],"service_tier" : "flex",{usage}}}"#), Some("flex")),
            (format!(r#"{{"service_tier":null,"choices":[{{}}],{usage}}}"#), None),
            (format!(r#"{{"a":"\"service_tier\":\"flex\"",{usage}}}"#), None),
        ] {
            let read = read_tail(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(read.tier, tier.and_then(|tier| Tier::new(tier.as_bytes())), "{body}");
        }
        for unsure in [
            format!(r#"{{"choices":[{{"service_tier":"flex"}}],{usage}}}"#),
            format!(r#"{{"service_tier":"flex",{usage},"service_tier":"priority"}}"#),
            format!(r#"{{"choices":["service_tier"],{usage}}}"#),
        ] {
            assert_eq!(read_tail(unsure.as_bytes()), None, "{unsure}");
        }
    }

    #[test]
    fn usage_in_text_or_deeper_down_is_left_to_the_walk() {
        for body in [
            r#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"}}]}"#,
            r#"{"choices":[{"usage":{"prompt_tokens":9,"completion_tokens":9}}]}"#,
            r#"{"a":{"usage":{"prompt_tokens":9}}}"#,
            r#"{"choices":["usage"],"x":1}"#,
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#,
            r#"{"error":{"message":"x"},"usage":{"prompt_tokens":1}}"#,
            r#"[{"usage":{"prompt_tokens":9}}]"#,
            r#"{"usage":{"prompt_tokens":9}"#,
            r#"{"usage":{"prompt_tokens":9"#,
        ] {
            assert_eq!(read_tail(body.as_bytes()), None, "{body}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("usage".to_owned()),
            Just("service_tier".to_owned()),
            Just("model".to_owned()),
            Just("\"usage\":{".to_owned()),
            ".{0,6}"
        ];
        let leaf =
            prop_oneof![Just(Value::Null), any::<u16>().prop_map(Value::from), word.clone().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            let key = prop_oneof![
                Just("usage".to_owned()),
                Just("service_tier".to_owned()),
                Just("prompt_tokens".to_owned()),
                "[a-c]{1,2}"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|members| members.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn where_the_short_way_answers_the_walk_says_the_same(
            before in any_json(),
            input in 0u64..1_000,
            output in 0u64..1_000,
            part in 0u64..1_000,
            behind in any_json(),
            tier in prop_oneof![Just(json!("flex")), Just(json!("no tier at all")), Just(json!(null)), any_json()],
            pretty: bool,
        ) {
            let value = json!({
                "id": before,
                "model": "m",
                "usage": {
                    "prompt_tokens": input, "completion_tokens": output, "prompt_tokens_details": { "audio_tokens": part }
                },
                "service_tier": tier,
                "z": behind,
            });
            let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let walked = walked(&body);
            if let Some(tail) = read_tail(&body) {
                prop_assert_eq!(Some(tail.reading.usage), walked.usage());
                prop_assert_eq!(Some(tail.reading.details).filter(|details| !details.is_empty()), walked.details());
                prop_assert_eq!(tail.tier, walked.tier());
                if let Some(model) = tail.model {
                    prop_assert_eq!(Some(model), walked.served_model());
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>, cut in 0usize..400) {
            let _ = read_tail(&body);
            let fixture = include_bytes!("../../tests/fixtures/chat_response.json");
            let _ = read_tail(&fixture[..cut.min(fixture.len())]);
        }
    }
}
