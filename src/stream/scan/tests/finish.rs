//! Whether all choices of a stream were finished, however they are told apart and whatever stands between.

use super::*;

fn chunk(choices: &str) -> String {
    format!("data: {{\"choices\":[{choices}]}}\n\n")
}

fn finished(dialect: Dialect, stream: &str) -> bool {
    let seen = keep(dialect, stream.as_bytes());
    let by_bytes = run(dialect, UsageChunk::Keep, stream.as_bytes().chunks(1)).1;
    assert_eq!(seen, by_bytes, "{stream}");
    seen.finished
}

#[test]
fn a_stream_is_finished_when_every_choice_seen_is() {
    let open = r#"{"index":0,"delta":{"content":"a"},"finish_reason":null}"#;
    let stop = r#"{"index":0,"delta":{},"finish_reason":"stop"}"#;
    let second = r#"{"index":1,"delta":{"content":"b"}}"#;
    let second_stop = r#"{"finish_reason":"length","delta":{},"index":1}"#;
    let table: &[(&[&str], bool)] = &[
        (&[], false),
        (&[""], false),
        (&[open], false),
        (&[stop], true),
        (&[open, stop], true),
        (&[open, open, stop, ""], true),
        // What comes after the end does not open it again: filters report late.
        (&[open, stop, open], true),
        (&[open, second, stop], false),
        (&[open, second, second_stop], false),
        (&[open, second, second_stop, stop], true),
        (&[stop, second], false),
        (&[r#"{"delta":{}}"#], false),
        (&[r#"{"delta":{},"finish_reason":"stop"}"#], true),
        // Some write an empty reason while it goes on.
        (&[r#"{"index":0,"finish_reason":""}"#], false),
        (&[r#"{"index":0,"finish_reason":"\u0073"}"#], true),
        (&[r#"{"index":0,"finish_reason":0}"#], false),
        (&[r#"{"index":0,"finish_reason":{"why":"stop"}}"#], false),
        (&[r#"{"index":0,"delta":{"finish_reason":"stop"}}"#], false),
        (&[r#"{"index":126,"finish_reason":"stop"}"#, r#"{"index":127}"#], false),
        (&[r#"{"index":18446744073709551999,"finish_reason":"stop"}"#], true),
    ];
    for (choices, expected) in table {
        let stream: String = choices.iter().map(|choices| chunk(choices)).collect();
        assert_eq!(finished(Dialect::Chat, &stream), *expected, "{stream}");
        assert_eq!(finished(Dialect::Completions, &stream), *expected, "{stream}");
        assert!(!finished(Dialect::Responses, &stream), "{stream}");
    }
    let both = chunk(&format!("{open},{second}"));
    assert!(!finished(Dialect::Chat, &both));
    assert!(finished(Dialect::Chat, &format!("{both}{}", chunk(&format!("{stop},{second_stop}")))));
}

#[test]
fn every_whole_fixture_of_choices_is_finished_and_no_broken_one_is() {
    // A fixture of nothing but odd framing, and those that tell of a failure.
    let broken = ["sse_crlf", "sse_edge_multiline_nospace", "sse_edge_truncated", "vllm_stream_midstream_error"];
    let finished: Vec<&str> = FIXTURES
        .iter()
        .filter(|(_, dialect, stream)| keep(*dialect, stream).finished)
        .map(|(name, ..)| *name)
        .collect();
    for (name, dialect, _) in FIXTURES {
        let choices = matches!(dialect, Dialect::Chat | Dialect::Completions);
        let tells_failure = *name == "openrouter_stream_comments_and_error";
        if !tells_failure {
            assert_eq!(finished.contains(name), choices && !broken.contains(name), "{name}");
        }
    }
}
