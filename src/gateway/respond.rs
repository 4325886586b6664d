//! Turns a failure of ours into the one answer that its client understands: OpenAI's error shape, and when to come back.
//!
//! The only place that picks a status code. Must not decide anything about a call.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::body::ResponseBody;
use super::error::{AuthenticateError, EncodingFault, GatewayError, ReceiveError, TransportError};
use super::limit_headers::{go_duration, rate_limits};
use crate::limits::{Kind, Period, Refusal, View, Why};
use crate::net::random::Random;
use crate::upstream::UpstreamError;
use crate::wire::endpoint::{NotServed, Takes};

/// Whose error it is: only answers made here carry it.
pub const X_TOLLGATE_ERROR: HeaderName = HeaderName::from_static("x-tollgate-error");
/// Our own id of the call.
pub const X_TOLLGATE_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");
/// The id that SDKs show: the upstream's where it gave one.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Whether an SDK may try again.
pub const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// A wait in milliseconds; SDKs read it before `retry-after`.
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Above this, one SDK ignores what it is told and hammers (4-wire-contract.md 4.4): it is told not to retry.
const LONGEST_OBEYED: Duration = Duration::from_secs(60);

/// What a client is told of a failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// HTTP status.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: &'static str,
    /// `error.param`.
    pub param: Option<String>,
    /// `error.message`.
    pub message: String,
    /// When to come back.
    pub retry: Retry,
}

/// What a client is told about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the SDK's own rule for the status holds.
    Unsaid,
    /// After this wait, which jitter may lengthen.
    After(Duration),
    /// Never: the same call would fail again, or may have been done already.
    Never,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// The table of 1-product.md "Errors".
#[must_use]
pub fn told(error: &GatewayError) -> Told {
    match error {
        GatewayError::Transport(error) => transport(error),
        GatewayError::Authenticate(error) => authenticate(error),
        GatewayError::Endpoint(error) => endpoint(error),
        GatewayError::Upgrade => plain(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_not_supported",
            "WebSocket is not served here. Send the same call as an HTTP POST, with \"stream\": true for a stream.",
        ),
        GatewayError::Receive(error) => receive(error),
        GatewayError::Body(fault) => Told {
            param: fault.param.clone(),
            ..plain(StatusCode::BAD_REQUEST, fault.code.as_str(), fault.message.clone())
        },
        GatewayError::KeptState { param } => Told {
            param: Some((*param).to_owned()),
            ..plain(StatusCode::BAD_REQUEST, "unsupported_parameter", without_state(param))
        },
        GatewayError::NotInPlan { param, asked, bound } => Told {
            param: Some((*param).to_owned()),
            ..plain(
                StatusCode::BAD_REQUEST,
                "unsupported_value",
                format!(
                    "`{param}` is {}, and your plan on this gateway allows {bound}. Ask for no more than that, or ask the operator for another plan.",
                    shortened(asked)
                ),
            )
        },
        GatewayError::ModelNotFound { model } => plain(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("The model `{}` does not exist or you do not have access to it.", shortened(model)),
        ),
        GatewayError::Limit { refusal, model } => limit(refusal, model.as_deref()),
        GatewayError::Upstream(error) => upstream(error),
        GatewayError::CredentialRefused => server(
            StatusCode::BAD_GATEWAY,
            "upstream_credential_refused",
            "The provider refused the gateway's own credential. The operator of the gateway has been told; your key is fine.",
            Retry::Never,
        ),
        GatewayError::Redirected => server(
            StatusCode::BAD_GATEWAY,
            "upstream_protocol",
            "The provider answered with a redirect, which the gateway does not follow. The operator must correct its base URL.",
            Retry::Never,
        ),
        GatewayError::Internal => server(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The gateway failed on this call. Quote the x-tollgate-request-id of this answer to its operator.",
            Retry::Never,
        ),
    }
}

fn transport(error: &TransportError) -> Told {
    match error {
        TransportError::Invalid(why) => plain(StatusCode::BAD_REQUEST, "invalid_request", why.clone()),
        TransportError::ForeignOrigin => plain(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "This port serves callers on this machine without a key, so calls with a foreign Origin or Host are refused.",
        ),
        TransportError::Method => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Methods served here are GET, HEAD and POST.")
        }
        TransportError::HeadTooLarge => plain(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "The request's URL and headers may have 32 KiB and 64 headers at most, the URL 8 KiB.",
        ),
        TransportError::Expectation => plain(
            StatusCode::EXPECTATION_FAILED,
            "expectation_failed",
            "The only expectation that is served is `Expect: 100-continue`.",
        ),
        TransportError::TimedOut => plain(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request's head did not arrive in time. Send it whole, and try again.",
        ),
        TransportError::Overloaded => overloaded(),
    }
}

fn overloaded() -> Told {
    server(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "The gateway is full. Try again shortly.",
        Retry::After(Duration::from_secs(1)),
    )
}

fn authenticate(error: &AuthenticateError) -> Told {
    let unauthorized = |message: String| plain(StatusCode::UNAUTHORIZED, "invalid_api_key", message);
    match error {
        AuthenticateError::Missing => unauthorized(
            "Incorrect API key provided: none was sent. Send your key as `Authorization: Bearer KEY`.".to_owned(),
        ),
        AuthenticateError::Unknown { masked, .. } => {
            unauthorized(format!("Incorrect API key provided: {masked}. Ask the operator of this gateway for a key."))
        }
        AuthenticateError::Expired { masked } => unauthorized(format!(
            "Incorrect API key provided: {masked} has expired. Ask the operator of this gateway for a new key."
        )),
        AuthenticateError::Conflict => plain(
            StatusCode::BAD_REQUEST,
            "conflicting_credentials",
            "Two different keys were sent, in `Authorization`, `api-key` or `x-api-key`. Send one.",
        ),
    }
}

fn endpoint(error: &NotServed) -> Told {
    match error {
        NotServed::UnknownPath => plain(
            StatusCode::NOT_FOUND,
            "unknown_url",
            "This URL is not served here. Check the base URL: it ends in /v1, and paths are those of the OpenAI API.",
        ),
        NotServed::Stateful => plain(
            StatusCode::NOT_FOUND,
            "stateful_not_served",
            "This URL needs an upstream that keeps state, and your tenant has none on this gateway. Send whole inputs to the stateless endpoints instead; or ask the operator to name one as `stateful` in your tenant's table of the configuration.",
        ),
        NotServed::Method { allow } => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("This URL is served with {allow}."))
        }
    }
}

/// What to do instead of asking for kept state.
fn without_state(param: &str) -> String {
    let (why, instead) = match param {
        "store" => (
            "nothing may be kept by the provider, and left out it means true",
            "Send \"store\": false, and with each call all of its input.",
        ),
        "background" => (
            "its answer would be kept by the provider and fetched later",
            "Leave it out, and stream the answer instead.",
        ),
        "file_id" => (
            "the file is kept by one provider, and this call may go to another",
            "Send the file itself: file_data in an input_file, image_url with a data URL in an input_image.",
        ),
        "item_reference" => (
            "the item is kept by one provider, and this call may go to another",
            "Send the item itself with all of its content; of reasoning its encrypted_content, which `include` asks for.",
        ),
        _ => (
            "what it names is kept by one provider, and this call may go to another",
            "Leave it out, and send the whole conversation as `input`.",
        ),
    };
    format!("`{param}` is not available for this model on this gateway: {why}. {instead}")
}

fn receive(error: &ReceiveError) -> Told {
    match error {
        ReceiveError::TooLarge { limit } => plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!(
                "The body is larger than the {limit} bytes that are accepted here. Send less, or ask the operator to raise server.max_body."
            ),
        ),
        ReceiveError::TimedOut => plain(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The body did not arrive in time. Send it without pauses, and try again.",
        ),
        ReceiveError::Malformed(why) => plain(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            format!("The body is not framed as HTTP wants it: {why}."),
        ),
        ReceiveError::UploadTooLarge { limit } => plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!(
                "The form is larger than the {limit} bytes that are accepted here. Send less, or ask the operator to raise server.max_upload."
            ),
        ),
        ReceiveError::Type(takes) => {
            plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", expected(*takes))
        }
        ReceiveError::Encoding(fault) => {
            plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", without_coding(*fault))
        }
        ReceiveError::Corrupt => plain(
            StatusCode::BAD_REQUEST,
            "invalid_encoding",
            "The body is not valid in the coding that `Content-Encoding` names: damaged, cut, or (zstd) with a window above 8 MiB. Compress it anew, or send it plain.",
        ),
        ReceiveError::Charset => plain(
            StatusCode::BAD_REQUEST,
            "invalid_encoding",
            "JSON is UTF-8 (RFC 8259 8.1). Send the body as UTF-8, without another `charset`.",
        ),
        ReceiveError::Overloaded => overloaded(),
        ReceiveError::Gone => plain(StatusCode::BAD_REQUEST, "invalid_request", "The body ended early."),
    }
}

fn expected(takes: Takes) -> &'static str {
    match takes {
        Takes::Json | Takes::Nothing => "This endpoint takes JSON. Send `Content-Type: application/json`.",
        Takes::Form => {
            "This endpoint takes a form with files. Send `Content-Type: multipart/form-data` with its boundary, as HTTP libraries do for files."
        }
        Takes::JsonOrForm => {
            "This endpoint takes JSON or a form with files. Send `Content-Type: application/json`, or `multipart/form-data` with its boundary."
        }
    }
}

fn without_coding(fault: EncodingFault) -> &'static str {
    match fault {
        EncodingFault::Unknown => {
            "This `Content-Encoding` is not accepted here. Compress the body with gzip, br or zstd, or send it plain."
        }
        EncodingFault::Several => {
            "Bodies are accepted in one content coding. Compress the body once, or send it plain."
        }
        EncodingFault::Form => "Forms are not accepted compressed. Send the form without `Content-Encoding`.",
    }
}

fn upstream(error: &UpstreamError) -> Told {
    let retry = if error.sent() { Retry::Never } else { Retry::Unsaid };
    match error {
        UpstreamError::Busy => server(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_busy",
            "Too many calls wait for the provider. Try again shortly.",
            Retry::After(Duration::from_secs(1)),
        ),
        UpstreamError::Connect(_) => server(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_unavailable",
            "The provider cannot be reached. Try again later; the operator of the gateway can see why.",
            retry,
        ),
        UpstreamError::TimedOut(_) => {
            server(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "The provider did not answer in time.", retry)
        }
        UpstreamError::Lost(_) | UpstreamError::Protocol(_) | UpstreamError::Cut(_) => server(
            StatusCode::BAD_GATEWAY,
            "upstream_protocol",
            "The provider broke off the call, or its answer was not valid HTTP. The call may have been worked on.",
            retry,
        ),
    }
}

fn limit(refusal: &Refusal, model: Option<&str>) -> Told {
    let code = "rate_limit_exceeded";
    let status = StatusCode::TOO_MANY_REQUESTS;
    let on = model.map_or_else(|| "this tenant".to_owned(), |model| format!("`{}`", shortened(model)));
    if refusal.kind == Kind::Concurrent {
        let message = format!(
            "Rate limit reached for {on} on calls in flight: Limit {}, Used {}, Requested 1. Please try again when one has ended.",
            refusal.limit, refusal.used
        );
        let retry = refusal.wait.map_or(Retry::Unsaid, Retry::After);
        return Told { status, kind: "concurrent", code, param: None, message, retry };
    }
    let (kind, per) = match refusal.kind {
        Kind::Tokens => ("tokens", per("tokens", "T", refusal)),
        _ => ("requests", per("requests", "R", refusal)),
    };
    let (limit, used) = (refusal.limit, refusal.used);
    let requested = refusal.requested.map(|n| format!(", Requested {n}")).unwrap_or_default();
    let (message, retry) = match (refusal.why, refusal.wait) {
        (Why::TooLarge, _) | (_, None) => (
            format!(
                "Request too large for {on} on {per}: Limit {limit}{requested}. Waiting does not help: send less, or ask for fewer output tokens."
            ),
            Retry::Never,
        ),
        (Why::Uncovered, Some(wait)) => (
            format!(
                "Rate limit reached for {on} on {per}: Limit {limit}, Used {used}{requested}. The call could use far more than the limit, and others like it are in flight. Please try again in {}.",
                go_duration(wait)
            ),
            Retry::After(wait),
        ),
        (_, Some(wait)) => (
            format!(
                "Rate limit reached for {on} on {per}: Limit {limit}, Used {used}{requested}. Please try again in {}.",
                go_duration(wait)
            ),
            Retry::After(wait),
        ),
    };
    Told { status, kind, code, param: None, message, retry }
}

fn per(noun: &str, letter: &str, refusal: &Refusal) -> String {
    let Some(quota) = refusal.quota else {
        return noun.to_owned();
    };
    let short = match quota.period {
        Period::Second => "S",
        Period::Minute => "M",
        Period::Hour => "H",
        Period::Day => "D",
    };
    format!("{noun} per {} ({letter}P{short})", quota.period.as_str())
}

fn plain(status: StatusCode, code: &'static str, message: impl Into<String>) -> Told {
    Told { status, kind: INVALID, code, param: None, message: message.into(), retry: Retry::Unsaid }
}

fn server(status: StatusCode, code: &'static str, message: &str, retry: Retry) -> Told {
    Told { status, kind: SERVER, code, param: None, message: message.to_owned(), retry }
}

/// At most 64 characters of what a client wrote.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The answer to a failed call. `id` is ours; `view` shows the tenant's limits where they are known.
pub fn failure<B>(
    error: &GatewayError,
    id: &HeaderValue,
    view: Option<&View>,
    random: &Random,
) -> Response<ResponseBody<B>> {
    let told = told(error);
    let body = serde_json::json!({
        "error": { "message": told.message, "type": told.kind, "param": told.param, "code": told.code }
    });
    let mut response = Response::new(ResponseBody::Full(Bytes::from(body.to_string())));
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_TOLLGATE_ERROR, HeaderValue::from_static(error.reason()));
    headers.insert(X_REQUEST_ID, id.clone());
    headers.insert(X_TOLLGATE_REQUEST_ID, id.clone());
    match told.retry {
        Retry::Unsaid => {}
        Retry::Never => {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::After(wait) => retry_after(headers, random.jittered(wait)),
    }
    match error {
        GatewayError::Endpoint(NotServed::Method { allow }) => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        GatewayError::Transport(TransportError::Method) => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        GatewayError::Authenticate(AuthenticateError::Unknown { close: true, .. })
        | GatewayError::Receive(ReceiveError::TimedOut | ReceiveError::Malformed(_)) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    if let Some(view) = view {
        rate_limits(headers, view);
    }
    response
}

fn retry_after(headers: &mut http::HeaderMap, wait: Duration) {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
    headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000)));
    if wait > LONGEST_OBEYED {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

#[cfg(test)]
mod tests;
