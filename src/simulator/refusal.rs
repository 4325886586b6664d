//! Turns a request down in OpenAI's error shape.
//!
//! Must not know which endpoint it was. These are the errors of a stand-in for a provider, not the gateway's own.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// OpenAI's error object.
    pub(super) error: ErrorObject,
    /// The methods that the path takes, if it was the method that was wrong.
    pub(super) allowed: Option<&'static str>,
}

/// OpenAI's error object: all four keys, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ErrorObject {
    /// What went wrong and what to do, for people.
    pub(super) message: String,
    /// The family of the error.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// The parameter that is at fault.
    pub(super) param: Option<&'static str>,
    /// The error, for programs.
    pub(super) code: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a ErrorObject,
}

impl ErrorObject {
    /// `{"error":{…}}`
    pub(super) fn json(&self) -> Bytes {
        serde_json::to_vec(&Envelope { error: self }).unwrap_or_default().into()
    }
}

impl Refusal {
    fn new(
        status: StatusCode,
        message: impl Into<String>,
        kind: &'static str,
        param: Option<&'static str>,
        code: &'static str,
    ) -> Self {
        Refusal { status, error: ErrorObject { message: message.into(), kind, param, code: Some(code) }, allowed: None }
    }

    /// 400: a parameter has a value that cannot be used.
    pub(super) fn value(param: &'static str, message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", Some(param), "invalid_value")
    }

    /// 400: a parameter that must be there is not.
    pub(super) fn missing(param: &'static str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        let code = "missing_required_parameter";
        Refusal::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", Some(param), code)
    }

    /// 400: a parameter asks for something that the simulator does not keep or do.
    pub(super) fn unsupported(param: &'static str, message: &str) -> Self {
        let code = "unsupported_parameter";
        Refusal::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", Some(param), code)
    }

    /// 400: the body is not JSON, or a value in it has the wrong type.
    pub(super) fn body(error: &serde_json::Error) -> Self {
        let code = if error.is_data() { "invalid_value" } else { "invalid_json" };
        let message = format!("The request body could not be read: {error}.");
        Refusal::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", None, code)
    }

    /// 404: there is no such model.
    pub(super) fn model(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, message, "invalid_request_error", Some("model"), "model_not_found")
    }

    /// 404: there is no such path.
    pub(super) fn path(method: &http::Method, path: &str) -> Self {
        let shown: String = path.chars().take(200).collect();
        let message = format!(
            "Unknown request URL: {method} /{shown}. \
             The simulator answers chat/completions, completions, responses, embeddings and models."
        );
        Refusal::new(StatusCode::NOT_FOUND, message, "invalid_request_error", None, "unknown_url")
    }

    /// 405: the path is there, but not for this method.
    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("This path takes {allowed} requests only.");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let refusal = Refusal::new(status, message, "invalid_request_error", None, "method_not_allowed");
        Refusal { allowed: Some(allowed), ..refusal }
    }

    /// 413: the body is larger than is taken.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("The request body is larger than {} MiB. Send a smaller one.", most >> 20);
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Refusal::new(status, message, "invalid_request_error", None, "request_too_large")
    }

    /// The failure that a model's name asked for.
    pub(super) fn asked_for(status: StatusCode) -> Self {
        let (kind, code) = match status.as_u16() {
            401 => ("invalid_request_error", "invalid_api_key"),
            404 => ("invalid_request_error", "model_not_found"),
            429 => ("requests", "rate_limit_exceeded"),
            503 => ("server_error", "overloaded"),
            500.. => ("server_error", "server_error"),
            _ => ("invalid_request_error", "simulated_failure"),
        };
        let wait = if retry_after(status).is_some() { " Please try again in 1s." } else { "" };
        let message = format!("Simulated failure: the model's name asked for status {}.{wait}", status.as_u16());
        Refusal::new(status, message, kind, None, code)
    }
}

/// The seconds that go into `Retry-After` with `status`.
pub(super) fn retry_after(status: StatusCode) -> Option<&'static str> {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE).then_some("1")
}
