//! What must hold of `ending`.

use super::*;
use crate::stream::{Ended, UsageChunk};

const MESSAGE: &str = "The upstream broke off: \"x\"\nTry again.";

fn scanner(dialect: Dialect, stream: &'static [u8]) -> Scanner {
    let mut scanner = Scanner::new(dialect, UsageChunk::Keep);
    scanner.feed(Bytes::from_static(stream));
    scanner
}

fn data(event: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(event).unwrap();
    assert!(text.ends_with("\n\n"));
    let line = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
fn chat_ends_with_an_error_object_of_four_keys() {
    for dialect in [Dialect::Chat, Dialect::Completions] {
        let bytes = failed(dialect, &scanner(dialect, b""), "upstream_protocol", "It broke.");
        let expected =
            r#"data: {"error":{"message":"It broke.","type":"server_error","param":null,"code":"upstream_protocol"}}"#;
        assert_eq!(bytes, format!("{expected}\n\n"));
    }
}

#[test]
fn responses_end_with_the_next_sequence_number_and_the_response_that_began() {
    let stream = include_bytes!("../../../tests/fixtures/responses_stream_error_event.sse");
    let created = stream.split(|byte| *byte == b'\n').take(3).collect::<Vec<_>>().join(&b'\n');
    let created: &'static [u8] = Box::leak([created, b"\n".to_vec()].concat().into_boxed_slice());
    let bytes = failed(Dialect::Responses, &scanner(Dialect::Responses, created), "upstream_protocol", MESSAGE);
    assert!(bytes.starts_with(b"event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":1,"));
    let response = &data(&bytes)["response"];
    assert_eq!((&response["id"], &response["model"]), (&"resp_fx1".into(), &"gpt-x-2026-01-01".into()));
    assert_eq!((&response["status"], &response["object"]), (&"failed".into(), &"response".into()));
    assert_eq!(response["error"], serde_json::json!({"code": "upstream_protocol", "message": MESSAGE}));
    for required in ["id", "created_at", "model", "object", "output", "parallel_tool_calls", "tool_choice", "tools"] {
        assert!(!response[required].is_null(), "{required}");
    }
}

#[test]
fn typed_streams_end_with_an_error_that_has_a_type() {
    for (dialect, field) in [(Dialect::Images, "event: error\n"), (Dialect::Speech, ""), (Dialect::Transcription, "")] {
        let bytes = failed(dialect, &scanner(dialect, b""), "upstream_timeout", MESSAGE);
        assert!(bytes.starts_with(format!("{field}data: {{\"type\":\"error\",\"error\":{{").as_bytes()), "{dialect:?}");
        let error = &data(&bytes)["error"];
        let expected =
            serde_json::json!({"message": MESSAGE, "type": "server_error", "param": null, "code": "upstream_timeout"});
        assert_eq!(error, &expected);
        let mut scanner = scanner(dialect, b"");
        scanner.feed(bytes);
        assert_eq!((scanner.ended(), scanner.told_failure()), (Ended::Terminal, true), "{dialect:?}");
    }
}

#[test]
fn an_end_before_any_event_is_whole_too() {
    let bytes = failed(Dialect::Responses, &scanner(Dialect::Responses, b""), "upstream_timeout", MESSAGE);
    assert_eq!(data(&bytes)["sequence_number"], 0);
}

#[test]
fn the_scanner_reads_our_end_as_the_end_that_it_is() {
    for (dialect, ended) in [(Dialect::Chat, Ended::ErrorEvent), (Dialect::Responses, Ended::Terminal)] {
        let mut scanner = scanner(dialect, b"");
        let bytes = failed(dialect, &scanner, "upstream_timeout", MESSAGE);
        scanner.feed(bytes);
        assert_eq!((scanner.ended(), scanner.told_failure(), scanner.events()), (ended, true, 1));
    }
}
