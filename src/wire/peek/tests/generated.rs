//! Our reading against serde's, on generated documents and on documents with bytes changed.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::wire::documents::{Doc, body};

/// What a policy number means; `Err` if it is none.
fn number(value: Option<&Doc>) -> Result<Option<u64>, ()> {
    match value {
        None | Some(Doc::Null) => Ok(None),
        Some(Doc::Number(number)) => match (number.as_u64(), number.as_i64()) {
            (Some(0), _) | (None, Some(-1)) => Ok(None),
            (Some(value), _) if value <= 1 << 53 => Ok(Some(value)),
            _ => Err(()),
        },
        Some(_) => Err(()),
    }
}

fn flag(value: Option<&Doc>) -> Result<Option<bool>, ()> {
    match value {
        None | Some(Doc::Null) => Ok(None),
        Some(Doc::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(()),
    }
}

fn unique_and_clear(members: &[(String, Doc)], policy: &[&str]) -> Result<(), ()> {
    let mut seen = HashSet::new();
    let clear = members.iter().all(|(key, _)| {
        let trimmed = key.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{200b}').to_lowercase();
        seen.insert(key) && (policy.contains(&key.as_str()) || !policy.contains(&trimmed.as_str()))
    });
    if clear { Ok(()) } else { Err(()) }
}

/// Bytes of text and attachments in a value.
fn count(value: &Doc, scope: Scope, under: &str, carried: bool) -> (u64, u64) {
    let attached = scope == Scope::Content;
    match value {
        Doc::Text(text) => match under {
            _ if scope == Scope::Silent => (0, 0),
            "image_url" | "input_audio" | "file_id" | "file_data" if attached => (0, 1),
            "url" | "data" if attached && carried => (0, 1),
            _ => (text.len() as u64, 0),
        },
        Doc::Number(_) if scope == Scope::Prompt => (4, 0),
        Doc::Array(items) => sum(items.iter().map(|item| count(item, scope, "", false))),
        Doc::Object(members) => sum(members.iter().map(|(key, value)| {
            let carried = matches!(under, "image_url" | "input_audio");
            let (text, attachments) = count(value, scope, key, carried);
            (text + if scope == Scope::Schema { key.len() as u64 } else { 0 }, attachments)
        })),
        _ => (0, 0),
    }
}

fn sum(counts: impl Iterator<Item = (u64, u64)>) -> (u64, u64) {
    counts.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
}

fn scope(endpoint: Endpoint, key: &str) -> Scope {
    match (key, endpoint) {
        ("prompt", Endpoint::Completions) | ("input", Endpoint::Embeddings) => Scope::Prompt,
        ("messages" | "input" | "prompt", _) => Scope::Content,
        ("tools" | "text", _) => Scope::Schema,
        ("model" | "metadata" | "user" | "stream" | "stream_options", _) => Scope::Silent,
        _ => Scope::Text,
    }
}

type Policy = (String, bool, Option<u64>, u64, (u64, u64));

/// The values that count, read from a tree.
fn expected(endpoint: Endpoint, doc: &Doc) -> Result<Policy, ()> {
    unique_and_clear(doc.members(), &POLICY_KEYS)?;
    let Some(Doc::Text(model)) = doc.get("model") else { return Err(()) };
    if model_name::fault(model).is_some() {
        return Err(());
    }
    match doc.get("stream_options") {
        None | Some(Doc::Null) => {}
        Some(options @ Doc::Object(members)) => {
            unique_and_clear(members, &["include_usage"])?;
            flag(options.get("include_usage"))?;
        }
        Some(_) => return Err(()),
    }
    let mut cap = None;
    for key in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        cap = cap.max(number(doc.get(key))?);
    }
    let choices = number(doc.get("n"))?.max(number(doc.get("best_of"))?).unwrap_or(1);
    let counted = sum(doc.members().iter().map(|(key, value)| count(value, scope(endpoint, key), "", false)));
    Ok((model.clone(), flag(doc.get("stream"))?.unwrap_or(false), cap, choices, counted))
}

fn compare(endpoint: Endpoint, body: &[u8]) -> Result<(), TestCaseError> {
    let doc = Doc::read(body).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let read = peek(endpoint, body, STRICT);
    let policy = expected(endpoint, &doc);
    prop_assert_eq!(read.is_ok(), policy.is_ok(), "{:?}", &read);
    if let (Ok(read), Ok(policy)) = (read, policy) {
        prop_assert_eq!(Doc::read(&body[read.model_span.unwrap()]).ok(), doc.get("model").cloned());
        let counted = (read.text_bytes, read.attachments);
        prop_assert_eq!((read.model, read.stream, read.output_cap, read.choices, counted), policy);
    }
    Ok(())
}

#[test]
fn generated_bodies_are_of_both_kinds() {
    let mut runner = TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| {
            let body = body().new_tree(&mut runner).expect("a body").current();
            chat(&body).is_ok()
        })
        .count();
    assert!((150..450).contains(&accepted), "{accepted} of 500 are accepted");
}

proptest! {
    #[test]
    fn a_valid_document_is_read_as_serde_reads_it(body in body()) {
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Responses, Endpoint::Embeddings] {
            compare(endpoint, body.as_bytes())?;
        }
    }

    #[test]
    fn a_document_with_bytes_changed_never_panics_and_what_is_accepted_serde_reads_alike(
        body in body(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), prop_oneof![
            any::<u8>(),
            proptest::sample::select(br#"{}[]",:\u0e.-+dt "#.to_vec()),
        ], 0..3u8), 1..4),
    ) {
        let mut bytes = body.into_bytes();
        for (place, byte, way) in changes {
            let place = place.index(bytes.len());
            match way {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => { bytes.remove(place); }
            }
            if bytes.is_empty() { break }
        }
        match (peek(Endpoint::ChatCompletions, &bytes, STRICT), Doc::read(&bytes)) {
            (_, Ok(Doc::Object(_))) => compare(Endpoint::ChatCompletions, &bytes)?,
            // Serde refuses two things that are JSON: half a surrogate pair, and numbers too large for it.
            (Ok(_), Err(e)) => {
                let why = e.to_string();
                prop_assert!(why.contains("surrogate") || why.contains("hex escape") || why.contains("out of range"), "{why}");
            }
            (Ok(_), Ok(_)) => prop_assert!(false, "the root is no object"),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = peek(Endpoint::Completions, &bytes, STRICT);
        let _ = peek(Endpoint::Completions, &[br#"{"model":"m","prompt":["#, bytes.as_slice()].concat(), LENIENT);
    }
}
