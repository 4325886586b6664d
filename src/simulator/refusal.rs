//! Turns a request down in OpenAI's error shape.
//!
//! Must not know which endpoint it was. These are the errors of a stand-in for a provider, not the gateway's own.

use crate::wire::endpoint::Endpoint;
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

    /// 404 without a code, as OpenAI says that an id is not known.
    fn unknown(param: Option<&'static str>, message: String) -> Self {
        let error = ErrorObject { message, kind: "invalid_request_error", param, code: None };
        Refusal { status: StatusCode::NOT_FOUND, error, allowed: None }
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
            "Unknown request URL: {method} /{shown}. The simulator answers these below /v1: {}.",
            Endpoint::ALL.map(Endpoint::path).join(", ")
        );
        Refusal::new(StatusCode::NOT_FOUND, message, "invalid_request_error", None, "unknown_url")
    }

    /// 404: the path leads to something kept, and the simulator keeps nothing.
    pub(super) fn kept() -> Self {
        let message = "There is nothing under this id: the simulator keeps nothing between two calls.";
        Refusal::unknown(None, message.to_owned())
    }

    /// 400: a response is named that is not there, as none ever is.
    pub(super) fn previous_response(id: &str) -> Self {
        let shown: String = id.chars().take(64).collect();
        let message = format!(
            "Previous response with id '{shown}' not found. The simulator keeps nothing between two calls: send the \
             whole conversation as 'input' instead."
        );
        let (status, param) = (StatusCode::BAD_REQUEST, Some("previous_response_id"));
        Refusal::new(status, message, "invalid_request_error", param, "previous_response_not_found")
    }

    /// 404: a conversation is named that is not there, as none ever is.
    pub(super) fn conversation(id: &str) -> Self {
        let shown: String = id.chars().take(64).collect();
        let message =
            format!("Conversation with id '{shown}' not found. The simulator keeps nothing between two calls.");
        Refusal::unknown(Some("conversation"), message)
    }

    /// 404: an item is referred to that is not there, as none ever is.
    pub(super) fn item(id: &str) -> Self {
        let shown: String = id.chars().take(64).collect();
        let message = format!(
            "Item with id '{shown}' not found. Items are not kept: send the item itself instead of a reference."
        );
        Refusal::unknown(Some("input"), message)
    }

    /// 415: the endpoint takes another kind of body.
    pub(super) fn media(takes: &'static str) -> Self {
        let message = format!("This endpoint takes {takes}. Send that, with the content type that says so.");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Refusal::new(status, message, "invalid_request_error", None, "unsupported_content_type")
    }

    /// 400: the body is no form, or one that nobody would send.
    pub(super) fn form(fault: &str) -> Self {
        let message = format!("The form could not be read: {fault}.");
        Refusal::new(StatusCode::BAD_REQUEST, message, "invalid_request_error", None, "invalid_multipart")
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
}
