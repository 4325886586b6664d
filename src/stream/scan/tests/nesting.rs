//! What must hold of usage in any JSON, in any framing: what a real parser finds at its places, and nothing that is said in text.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::usage::read;

/// JSON with names and numbers that mean something at random places, and text that talks of them.
fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "usage",
        "x_groq",
        "choices",
        "response",
        "delta",
        "content",
        "model",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "svg_usage",
        "type",
    ]);
    let talk = prop::sample::select(vec![
        "\"usage\":{\"prompt_tokens\":9}",
        "\n\ndata: {\"usage\":{\"prompt_tokens\":9}}\n\n",
        "\\\",\"usage\":{\"prompt_tokens\":9},\"a\":\"",
        "}]},\"usage\":{\"total_tokens\":9}}",
        "[DONE]",
        "usage",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..1_000u32).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        talk.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::hash_map(key.clone().prop_map(String::from), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What stands at a usage's place, if it says anything.
fn told(place: &Value) -> Option<Usage> {
    read(&serde_json::to_vec(place).unwrap()).map(|reading| reading.usage)
}

/// What a stream of these documents says: at the usual places, else in a choice.
fn expected(dialect: Dialect, documents: &[Value]) -> Option<Usage> {
    let (mut usage, mut choice) = (None, None);
    for document in documents.iter().filter(|document| document.is_object()) {
        // A document is written with its members in the order of their names.
        let places = match dialect {
            Dialect::Responses => [&document["response"]["usage"], &document["usage"]],
            _ => [&document["usage"], &document["x_groq"]["usage"]],
        };
        usage = places.into_iter().filter_map(told).next_back().or(usage);
        if dialect == Dialect::Chat {
            let choices = document["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
            choice = choices.iter().filter_map(|choice| told(&choice["usage"])).next_back().or(choice);
        }
    }
    usage.or(choice)
}

/// A document as an event: in one line or in many, with any line ends.
fn event(document: &Value, many_lines: bool, line_end: &str) -> String {
    let text = if many_lines { serde_json::to_string_pretty(document) } else { serde_json::to_string(document) };
    let lines: Vec<String> = text.unwrap().lines().map(|line| format!("data: {line}{line_end}")).collect();
    format!(": usage{line_end}{}{line_end}", lines.concat())
}

proptest! {
    #[test]
    fn usage_is_read_at_its_places_alone_in_any_nesting_and_any_framing(
        documents in prop::collection::vec((json(), any::<bool>()), 1..4),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        dialect in prop::sample::select(vec![Dialect::Chat, Dialect::Responses]),
        places: Vec<usize>,
    ) {
        let stream: String = documents.iter().map(|(document, many)| event(document, *many, line_end)).collect();
        let documents: Vec<Value> = documents.into_iter().map(|(document, _)| document).collect();
        for chunk in [UsageChunk::Keep, UsageChunk::TakeOut] {
            let (out, seen) = run(dialect, chunk, cut(stream.as_bytes(), &places));
            prop_assert_eq!(seen.usage, expected(dialect, &documents), "{}", stream);
            prop_assert!(chunk == UsageChunk::TakeOut || out == stream.as_bytes());
        }
    }
}
