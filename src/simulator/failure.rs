//! Makes the failure that a model's name asked for, in the shape of the provider that it asked for.
//!
//! Must not know which endpoint it was, nor whether a request was right: what is wrong with one is [`super::refusal`]'s.

use super::faults::{Behaviour, Complaint, ErrorEvent, ErrorShape, RetryAfter};
use super::framing;
use super::refusal::ErrorObject;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use std::time::Duration;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A failure, ready to be sent.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// The content type; none for an empty body.
    pub(super) kind: Option<&'static str>,
    pub(super) body: Bytes,
    /// When to come back.
    pub(super) headers: HeaderMap,
}

impl Failure {
    /// The failure with `status`, as `behaviour` wants it said.
    pub(super) fn new(status: StatusCode, behaviour: &Behaviour) -> Self {
        let error = error(status, behaviour);
        let (kind, body) = body(status, &error, behaviour);
        let in_success = behaviour.errors == ErrorShape::InSuccess;
        let status = if in_success { StatusCode::OK } else { status };
        Failure { status, kind, body: body.into(), headers: headers(status, behaviour) }
    }
}

/// The error that stands in the middle of a stream, and all that comes after it.
pub(super) fn events(kind: ErrorEvent, behaviour: &Behaviour) -> Vec<Bytes> {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let error = error(status, behaviour);
    match kind {
        ErrorEvent::Plain | ErrorEvent::Failed => vec![framing::around(&error.json())],
        ErrorEvent::ThenDone => {
            let numeric = json!({"error": numeric(status, &error)});
            vec![framing::data(&numeric), Bytes::from_static(framing::DONE)]
        }
        ErrorEvent::InChunk => {
            vec![framing::data(&json!({"error": {"code": status.as_u16(), "message": error.message}}))]
        }
    }
}

/// The error itself, whatever its shape will be.
pub(super) fn error(status: StatusCode, behaviour: &Behaviour) -> ErrorObject {
    let said = match behaviour.complaint {
        Complaint::Status => return of_status(status, behaviour),
        Complaint::Quota => ("Quota for this account is used up.", "insufficient_quota", None, "insufficient_quota"),
        Complaint::TooLong => {
            let message = "Input has 140000 tokens; the limit for this model is 128000.";
            (message, "invalid_request_error", Some("messages"), "context_length_exceeded")
        }
        Complaint::Filtered => {
            let message = "The prompt was filtered by the content policy.";
            (message, "invalid_request_error", Some("prompt"), "content_filter")
        }
    };
    let (message, kind, param, code) = said;
    ErrorObject { message: format!("Simulated failure: {message}"), kind, param, code: Some(code) }
}

fn of_status(status: StatusCode, behaviour: &Behaviour) -> ErrorObject {
    let (kind, code) = match status.as_u16() {
        401 => ("invalid_request_error", "invalid_api_key"),
        404 => ("invalid_request_error", "model_not_found"),
        429 => ("requests", "rate_limit_exceeded"),
        503 => ("server_error", "overloaded"),
        500.. => ("server_error", "server_error"),
        _ => ("invalid_request_error", "simulated_failure"),
    };
    let says_a_second = behaviour.retry_after == RetryAfter::Standard && can_come_back(status);
    let wait = if says_a_second { " Please try again in 1s." } else { "" };
    let message = format!("Simulated failure: the model's name asked for status {}.{wait}", status.as_u16());
    ErrorObject { message, kind, param: None, code: Some(code) }
}

fn numeric(status: StatusCode, error: &ErrorObject) -> Value {
    let kind = if status.is_server_error() { "InternalServerError" } else { "BadRequestError" };
    json!({"message": error.message, "type": kind, "param": error.param, "code": status.as_u16()})
}

fn body(status: StatusCode, error: &ErrorObject, behaviour: &Behaviour) -> (Option<&'static str>, Vec<u8>) {
    let ErrorObject { message, kind, param, code } = error;
    let number = status.as_u16();
    let value = match behaviour.errors {
        ErrorShape::OpenAi if behaviour.complaint == Complaint::Filtered => filtered(error),
        ErrorShape::OpenAi => return (Some("application/json"), error.json().into()),
        ErrorShape::CodeAndMessage => json!({"error": {"code": number.to_string(), "message": message}}),
        ErrorShape::Numeric => json!({"error": numeric(status, error)}),
        ErrorShape::Flat => {
            json!({"object": "error", "message": message, "type": kind, "param": param, "code": code})
        }
        ErrorShape::Metadata | ErrorShape::InSuccess => {
            json!({"error": {"code": number, "message": message, "metadata": {"provider_name": "simulator"}}})
        }
        ErrorShape::Text => return (Some("text/plain; charset=utf-8"), message.clone().into_bytes()),
        ErrorShape::Html => {
            let page = format!("<html><head><title>{number}</title></head><body><h1>{message}</h1></body></html>\n");
            return (Some("text/html"), page.into_bytes());
        }
        ErrorShape::Empty => return (None, Vec::new()),
    };
    (Some("application/json"), value.to_string().into_bytes())
}

/// A filtered prompt as Azure reports it: the filter's findings inside the error.
fn filtered(error: &ErrorObject) -> Value {
    json!({"error": {
        "message": error.message, "type": null, "param": error.param, "code": error.code, "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
            "hate": {"filtered": false, "severity": "safe"}, "self_harm": {"filtered": false, "severity": "safe"},
            "sexual": {"filtered": false, "severity": "safe"}, "violence": {"filtered": true, "severity": "medium"},
        }},
    }})
}

fn can_come_back(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn headers(status: StatusCode, behaviour: &Behaviour) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match behaviour.retry_after {
        RetryAfter::Standard if behaviour.complaint == Complaint::Status && can_come_back(status) => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        RetryAfter::Standard | RetryAfter::Absent => {}
        RetryAfter::Seconds(seconds) => drop(headers.insert(RETRY_AFTER, seconds.into())),
        RetryAfter::Millis(millis) => drop(headers.insert(RETRY_AFTER_MS, millis.into())),
        RetryAfter::Date(wait) => {
            if let Some(date) = date_in(wait) {
                headers.insert(RETRY_AFTER, date);
            }
        }
        RetryAfter::Junk => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("in a while"))),
    }
    if let Some(should) = behaviour.should_retry {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should { "true" } else { "false" }));
    }
    headers
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7), so long from now.
fn date_in(wait: Duration) -> Option<HeaderValue> {
    let then = Timestamp::now().checked_add(wait).ok()?;
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&then).ok()?;
    HeaderValue::from_str(&date).ok()
}
