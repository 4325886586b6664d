//! Carries a shaped request to the server that does the work, and its answer back.
//!
//! Knows base URIs, time-outs and connections; must not know tenants, limits or routes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::provider::Provider;

mod answer;
pub mod client;
mod connection;
pub mod headers;
mod ledger;
mod open;
pub mod outgoing;
mod pool;
mod timer;

pub use answer::{NetworkBody, UpstreamBody};
pub use client::Client;
pub use ledger::{Ledger, Waiting};
pub use outgoing::{Broken, OutBody, Outgoing, Sent, shape};

/// A server that answers calls: base URI, credential and time-outs.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name in the configuration; a bounded label.
    pub name: Arc<str>,
    /// The dialect it speaks.
    pub provider: Provider,
    /// Where it is.
    pub base: BaseUri,
    /// The `Authorization` header that we show, marked sensitive; `None` where it wants none.
    pub authorization: Option<HeaderValue>,
    /// Headers that the operator adds to every call.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The most connections that are open to it at once, idle ones included.
    pub max_connections: usize,
    /// How long an idle connection is kept, and how old any may grow.
    pub pool: PoolLimits,
    /// Whether it understands `stream_options.include_usage`.
    pub usage_in_stream: bool,
    /// What becomes of an answer whose client left.
    pub on_disconnect: OnDisconnect,
    /// The simulator answers in its place, as its credential is absent.
    pub simulated: bool,
}

impl Upstream {
    /// Whether the built-in simulator answers, by choice or as a stand-in.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated || self.provider == Provider::Simulator
    }
}

/// What becomes of an answer whose client left while it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDisconnect {
    /// The upstream is told to stop at once; what it used is estimated unless it was reported already.
    #[default]
    Cancel,
    /// The rest is read for its usage, within bounds; then as [`OnDisconnect::Cancel`].
    Drain,
}

/// The root that an endpoint's path is appended to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUri {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address (an IPv6 address without brackets).
    pub host: Arc<str>,
    /// Port, defaulted by scheme.
    pub port: u16,
    /// Path without its trailing slash, such as `/v1`; may be empty.
    pub path: Arc<str>,
    /// What every call repeats, built once.
    prepared: Arc<outgoing::Prepared>,
}

/// Why a base URL was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUriError {
    /// Not an absolute URL.
    #[error("not an absolute http:// or https:// URL")]
    NotAbsolute,
    /// Has a query, a fragment or a user name.
    #[error("a base URL has no user name, query or fragment")]
    HasMore,
}

impl BaseUri {
    /// Reads a base URL such as `https://api.openai.com/v1`.
    ///
    /// # Errors
    /// [`BaseUriError`] when it is not an absolute `http` or `https` URL, or carries more than a path.
    pub fn parse(text: &str) -> Result<Self, BaseUriError> {
        if text.contains('#') {
            return Err(BaseUriError::HasMore);
        }
        let uri: http::Uri = text.parse().map_err(|_| BaseUriError::NotAbsolute)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BaseUriError::NotAbsolute),
        };
        let authority = uri.authority().ok_or(BaseUriError::NotAbsolute)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(BaseUriError::HasMore);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(BaseUriError::NotAbsolute);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/');
        let host_header = host_header(tls, host, port);
        let prepared = outgoing::Prepared::new(&host_header, path).ok_or(BaseUriError::NotAbsolute)?;
        Ok(BaseUri { tls, host: host.into(), port, path: path.into(), prepared: Arc::new(prepared) })
    }

    /// The `Host` header: the port only where it is not the scheme's own (RFC 9110 7.2).
    #[must_use]
    pub fn host_header(&self) -> String {
        host_header(self.tls, &self.host, self.port)
    }
}

fn host_header(tls: bool, host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let usual = if tls { 443 } else { 80 };
    if port == usual { host } else { format!("{host}:{port}") }
}

impl std::fmt::Display for BaseUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path)
    }
}

/// The four limits on an upstream's time; zero means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection, TLS included.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the whole call.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(10 * 60),
            total: Duration::ZERO,
        }
    }
}

/// What the pool keeps; zero means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// An unused connection is closed after this.
    pub idle: Duration,
    /// No connection takes a new call after this.
    pub age: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits { idle: Duration::from_secs(30), age: Duration::from_secs(600) }
    }
}

/// Which time-out ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waited {
    /// Opening a connection.
    Connect,
    /// For the first byte of the answer.
    FirstByte,
    /// Between two pieces of the answer.
    Idle,
    /// For the call as a whole.
    Total,
}

/// Why an attempt gave no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection came free within a second; nothing was sent.
    #[error("no connection came free")]
    Busy,
    /// Name, network or TLS failed; nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// A time-out ran out.
    #[error("timed out ({0:?})")]
    TimedOut(Waited),
    /// The upstream closed or reset the connection after the request was (or may have been) sent, before its answer began.
    #[error("the connection was lost before the answer: {0}")]
    Lost(String),
    /// What came is not HTTP, or not as RFC 9112 wants it.
    #[error("the upstream broke the protocol: {0}")]
    Protocol(String),
    /// The answer ended before it was whole.
    #[error("the answer was cut: {0}")]
    Cut(String),
}

impl UpstreamError {
    /// Whether the upstream may have begun to work (and to bill).
    #[must_use]
    pub fn sent(&self) -> bool {
        !matches!(self, UpstreamError::Busy | UpstreamError::Connect(_) | UpstreamError::TimedOut(Waited::Connect))
    }
}

#[cfg(test)]
mod tests;
