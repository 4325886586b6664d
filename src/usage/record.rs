//! Writes the one line that a call leaves behind: who used what, and how it ended.
//!
//! Must not know where lines go. Never holds content or a key: only the key's label.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::Source;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer went through to its end.
    Ok,
    /// The client hung up.
    ClientGone,
    /// The upstream refused, failed, or told of a failure in its stream.
    UpstreamError,
    /// The upstream's answer broke off.
    UpstreamTruncated,
    /// The upstream took too long.
    Timeout,
    /// Refused here: a limit, the policy, the request itself.
    Refused,
    /// Our fault.
    InternalError,
}

impl Outcome {
    /// The word in records and in the `outcome` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientGone => "client_gone",
            Outcome::UpstreamError => "upstream_error",
            Outcome::UpstreamTruncated => "upstream_truncated",
            Outcome::Timeout => "timeout",
            Outcome::Refused => "refused",
            Outcome::InternalError => "internal_error",
        }
    }
}

/// A usage record (1-product.md, "The usage record"). Every key is written, in this order; what is not known is `null`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UsageRecord<'a> {
    /// When the call began, in Unix milliseconds; written as RFC 3339 in UTC with three decimals.
    #[serde(serialize_with = "rfc3339")]
    pub time: i64,
    /// Our id of the call, as in `x-tollgate-request-id`.
    pub id: &'a str,
    /// Who is billed.
    pub tenant: &'a str,
    /// The label of the API key; never the key.
    pub key: Option<&'a str>,
    /// The pattern of the route.
    pub route: Option<&'a str>,
    /// The model that the client asked for.
    pub model: Option<&'a str>,
    /// The model that the upstream says it used.
    pub served_model: Option<&'a str>,
    /// The name of the upstream.
    pub upstream: Option<&'a str>,
    /// The endpoint's bounded word.
    pub endpoint: &'a str,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// The HTTP status that the client was sent; none if it left before.
    pub status: Option<u16>,
    /// How the call ended.
    pub outcome: Outcome,
    /// How often an upstream was tried.
    pub attempts: u32,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// The part of them that came from a cache.
    pub cached_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// The part of them that was reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Who counted; none where nothing was charged.
    #[serde(serialize_with = "source")]
    pub usage_source: Option<Source>,
    /// What it cost, in US dollars; none without a price.
    pub cost_usd: Option<f64>,
    /// Which prices that was reckoned with.
    pub price_version: Option<&'a str>,
    /// Milliseconds until the first byte of the answer went out.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds until the end.
    pub duration_ms: u64,
    /// Our own share of that, in microseconds.
    pub overhead_us: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

impl UsageRecord<'_> {
    /// Appends the record to `lines` as one line of JSON, line feed included.
    pub fn write(&self, lines: &mut Vec<u8>) {
        let start = lines.len();
        // Strings and numbers go into memory without fail; if one did not, half a line would be worse than none.
        match serde_json::to_writer(&mut *lines, self) {
            Ok(()) => lines.push(b'\n'),
            Err(_) => lines.truncate(start),
        }
    }
}

fn rfc3339<S: Serializer>(unix_millis: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Utc(*unix_millis))
}

fn source<S: Serializer>(source: &Option<Source>, serializer: S) -> Result<S::Ok, S::Error> {
    source.map(Source::as_str).serialize(serializer)
}

/// A point in time as it stands in records; what lies beyond the calendar (year 9999) is put at its end.
struct Utc(i64);

impl fmt::Display for Utc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let time = Timestamp::from_millisecond(self.0).unwrap_or(end);
        write!(formatter, "{time:.3}")
    }
}

#[cfg(test)]
mod tests;
