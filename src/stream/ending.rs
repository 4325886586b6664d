//! Writes the event that tells a client, inside its stream, that the answer will not come to its end.
//!
//! Must not know why; the caller gives code and message. To be sent only where the stream stands between two events
//! ([`Boundary::Between`](super::Boundary)), and followed by an unclean end of the connection, never by `[DONE]`.

use bytes::Bytes;
use serde::Serialize;

use super::{Dialect, Scanner};

/// The event of a failure after the first byte, in the dialect of the stream: for chat and completions an event with
/// OpenAI's `error` object; for images, speech and transcription the same with the `type` that their events have, and for
/// images the `event:` line too (the official SDKs raise on any event whose data has an `error`); for Responses `response.failed` with the next `sequence_number` and a response object that
/// has every member which the official SDKs require (`Response` in the `openai` package; its strict mode also wants a
/// `code` of OpenAI's own there, such as `server_error`).
#[must_use]
pub fn failed(dialect: Dialect, scanner: &Scanner, code: &str, message: &str) -> Bytes {
    match dialect {
        Dialect::Responses => event(b"event: response.failed\n", &FailedEvent::of(scanner, code, message)),
        Dialect::Images => event(b"event: error\n", &ErrorEvent::of(Some("error"), code, message)),
        Dialect::Speech | Dialect::Transcription => event(b"", &ErrorEvent::of(Some("error"), code, message)),
        Dialect::Chat | Dialect::Completions | Dialect::Embeddings | Dialect::Count => {
            event(b"", &ErrorEvent::of(None, code, message))
        }
    }
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct FailedEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    response: FailedResponse<'a>,
}

#[derive(Serialize)]
struct FailedResponse<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: ResponseError<'a>,
    incomplete_details: Option<&'a str>,
    instructions: Option<&'a str>,
    model: &'a str,
    output: [u8; 0],
    parallel_tool_calls: bool,
    tool_choice: &'static str,
    tools: [u8; 0],
    usage: Option<u64>,
    metadata: Option<u64>,
}

#[derive(Serialize)]
struct ResponseError<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> ErrorEvent<'a> {
    fn of(kind: Option<&'static str>, code: &'a str, message: &'a str) -> ErrorEvent<'a> {
        ErrorEvent { kind, error: ErrorObject { message, kind: "server_error", param: None, code } }
    }
}

impl<'a> FailedEvent<'a> {
    fn of(scanner: &'a Scanner, code: &'a str, message: &'a str) -> FailedEvent<'a> {
        FailedEvent {
            kind: "response.failed",
            sequence_number: scanner.last_sequence().map_or(0, |last| last.saturating_add(1)),
            response: FailedResponse {
                id: scanner.response_id().unwrap_or(""),
                object: "response",
                created_at: scanner.response_created_at().unwrap_or(0),
                status: "failed",
                error: ResponseError { code, message },
                incomplete_details: None,
                instructions: None,
                model: scanner.served_model().unwrap_or(""),
                output: [],
                parallel_tool_calls: true,
                tool_choice: "auto",
                tools: [],
                usage: None,
                metadata: None,
            },
        }
    }
}

fn event(field: &[u8], data: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(field);
    bytes.extend_from_slice(b"data: ");
    // Writing plain strings and numbers into memory cannot fail.
    if serde_json::to_writer(&mut bytes, data).is_err() {
        return Bytes::new();
    }
    bytes.extend_from_slice(b"\n\n");
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests;
