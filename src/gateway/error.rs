//! Names every way in which a call can fail here.
//!
//! Must not know status codes: `respond` alone picks them.

use std::time::Duration;

use super::memory::Full;
use crate::limits::Refusal;
use crate::upstream::{UpstreamError, Waited};
use crate::usage::record::Outcome;
use crate::wire::endpoint::{NotServed, Takes};
use crate::wire::peek::BodyFault;

/// Why a call was not answered by an upstream.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// What a server sees before a call has a path.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Who calls could not be told.
    #[error(transparent)]
    Authenticate(#[from] AuthenticateError),
    /// The path is not one that is served.
    #[error("path not served")]
    Endpoint(NotServed),
    /// A WebSocket was asked for.
    #[error("upgrade asked for")]
    Upgrade,
    /// The body did not arrive as it should.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The body was not understood.
    #[error("body refused: {}", .0.message)]
    Body(BodyFault),
    /// A parameter asks for state that is not kept here.
    #[error("kept state asked for: {param}")]
    KeptState {
        /// The parameter: `store`, `background`, or one that names what was kept.
        param: &'static str,
    },
    /// The plan does not let calls ask for this.
    #[error("not in the plan: {param}")]
    NotInPlan {
        /// The parameter.
        param: &'static str,
        /// Its value.
        asked: String,
        /// What the plan allows.
        bound: String,
    },
    /// No route, or not for this tenant.
    #[error("model not found")]
    ModelNotFound {
        /// The name asked for.
        model: String,
    },
    /// A limit refused.
    #[error("limit refused")]
    Limit {
        /// What the limit said.
        refusal: Box<Refusal>,
        /// The model, where the body had been read.
        model: Option<String>,
    },
    /// The upstream gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The upstream refused our credential.
    #[error("the upstream refused this gateway's credential")]
    CredentialRefused,
    /// The upstream answered with a redirect.
    #[error("the upstream redirected")]
    Redirected,
    /// A fault of ours.
    #[error("internal error")]
    Internal,
}

/// What is wrong with a request before its path counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Framing, `Host`, duplicate headers.
    #[error("{0}")]
    Invalid(String),
    /// A web page of another origin calls an anonymous port.
    #[error("foreign origin")]
    ForeignOrigin,
    /// The method does not exist here.
    #[error("method")]
    Method,
    /// The head or the URI is too large.
    #[error("head too large")]
    HeadTooLarge,
    /// An expectation other than `100-continue`.
    #[error("expectation")]
    Expectation,
    /// The head took too long.
    #[error("timed out")]
    TimedOut,
    /// No room for another call.
    #[error("overloaded")]
    Overloaded,
}

/// Why the caller is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// No key was sent.
    #[error("no key")]
    Missing,
    /// Nobody knows this key.
    #[error("unknown key")]
    Unknown {
        /// The key, made unreadable.
        masked: String,
        /// Whether the connection is to be closed.
        close: bool,
    },
    /// The key's day has passed.
    #[error("expired key")]
    Expired {
        /// The key, made unreadable.
        masked: String,
    },
    /// Two credentials that differ.
    #[error("conflicting credentials")]
    Conflict,
}

/// Why a body did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Larger than `max_body`.
    #[error("too large")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// Nothing came for `body_idle`.
    #[error("timed out")]
    TimedOut,
    /// Broken framing.
    #[error("malformed body: {0}")]
    Malformed(String),
    /// A form larger than `max_upload`.
    #[error("form too large")]
    UploadTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// Not what the endpoint takes, by its `Content-Type`.
    #[error("unsupported type")]
    Type(Takes),
    /// In a content coding that is not accepted.
    #[error("unsupported encoding")]
    Encoding(EncodingFault),
    /// Not valid in its content coding.
    #[error("corrupt in its content coding")]
    Corrupt,
    /// JSON in another character set.
    #[error("unsupported character set")]
    Charset,
    /// No room to hold more of it.
    #[error("no room to hold it")]
    Overloaded,
    /// The client left while sending.
    #[error("client left")]
    Gone,
}

/// What is wrong with a body's `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodingFault {
    /// None that is understood.
    Unknown,
    /// One upon another.
    Several,
    /// Any, on a form.
    Form,
}

impl From<Full> for ReceiveError {
    fn from(_: Full) -> Self {
        ReceiveError::Overloaded
    }
}

impl From<Full> for GatewayError {
    fn from(full: Full) -> Self {
        GatewayError::Receive(full.into())
    }
}

impl GatewayError {
    /// The bounded word for `x-tollgate-error`, logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            GatewayError::Transport(error) => match error {
                TransportError::Invalid(_) => "invalid_request",
                TransportError::ForeignOrigin => "origin_not_allowed",
                TransportError::Method => "method_not_allowed",
                TransportError::HeadTooLarge => "headers_too_large",
                TransportError::Expectation => "expectation_failed",
                TransportError::TimedOut => "request_timeout",
                TransportError::Overloaded => "overloaded",
            },
            GatewayError::Authenticate(error) => match error {
                AuthenticateError::Missing => "no_api_key",
                AuthenticateError::Unknown { .. } => "invalid_api_key",
                AuthenticateError::Expired { .. } => "expired_api_key",
                AuthenticateError::Conflict => "conflicting_credentials",
            },
            GatewayError::Endpoint(error) => match error {
                NotServed::UnknownPath => "unknown_url",
                NotServed::Stateful => "stateful_not_served",
                NotServed::Method { .. } => "method_not_allowed",
            },
            GatewayError::Upgrade => "upgrade_not_supported",
            GatewayError::Receive(error) => match error {
                ReceiveError::TooLarge { .. } | ReceiveError::UploadTooLarge { .. } => "request_too_large",
                ReceiveError::TimedOut => "request_timeout",
                ReceiveError::Malformed(_) => "invalid_request",
                ReceiveError::Type(_) | ReceiveError::Encoding(_) => "unsupported_media_type",
                ReceiveError::Charset | ReceiveError::Corrupt => "invalid_encoding",
                ReceiveError::Overloaded => "overloaded",
                ReceiveError::Gone => "client_gone",
            },
            GatewayError::Body(fault) => fault.code.as_str(),
            GatewayError::KeptState { .. } => "unsupported_parameter",
            GatewayError::NotInPlan { .. } => "unsupported_value",
            GatewayError::ModelNotFound { .. } => "model_not_found",
            GatewayError::Limit { refusal, .. } => match refusal.kind {
                crate::limits::Kind::Requests => "request_limit",
                crate::limits::Kind::Tokens => "token_limit",
                crate::limits::Kind::Concurrent => "concurrency_limit",
            },
            GatewayError::Upstream(error) => match error {
                UpstreamError::Busy => "upstream_busy",
                UpstreamError::Connect(_) => "upstream_unavailable",
                UpstreamError::TimedOut(Waited::Connect) => "upstream_connect_timeout",
                UpstreamError::TimedOut(Waited::FirstByte) => "upstream_first_byte_timeout",
                UpstreamError::TimedOut(Waited::Idle) => "upstream_idle_timeout",
                UpstreamError::TimedOut(Waited::Total) => "upstream_total_timeout",
                UpstreamError::Lost(_) | UpstreamError::Protocol(_) | UpstreamError::Cut(_) => "upstream_protocol",
            },
            GatewayError::CredentialRefused => "upstream_credential_refused",
            GatewayError::Redirected => "upstream_protocol",
            GatewayError::Internal => "internal_error",
        }
    }

    /// How a call that fails so is written down.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            GatewayError::Upstream(UpstreamError::TimedOut(_)) => Outcome::Timeout,
            GatewayError::Upstream(UpstreamError::Cut(_)) => Outcome::UpstreamTruncated,
            GatewayError::Upstream(_) | GatewayError::CredentialRefused | GatewayError::Redirected => {
                Outcome::UpstreamError
            }
            GatewayError::Receive(ReceiveError::Gone) => Outcome::ClientGone,
            GatewayError::Internal => Outcome::InternalError,
            _ => Outcome::Refused,
        }
    }

    /// Whether an upstream may have worked for this call.
    #[must_use]
    pub fn sent(&self) -> bool {
        match self {
            GatewayError::Upstream(error) => error.sent(),
            GatewayError::Internal => true,
            _ => false,
        }
    }

    /// How long the client is told to wait, before jitter; `None` where waiting is not what helps.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self {
            GatewayError::Limit { refusal, .. } => refusal.wait,
            GatewayError::Transport(TransportError::Overloaded)
            | GatewayError::Receive(ReceiveError::Overloaded)
            | GatewayError::Upstream(UpstreamError::Busy) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
