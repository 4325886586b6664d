//! Writes the one line that a call leaves behind: who used what, and how it ended.
//!
//! Must not know where lines go. Never holds content or a key: only the key's label.

use std::io::Write;

use jiff::Timestamp;

use super::Source;
use super::money::Usd;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A usage record (1-product.md, "The usage record"). Every key but `tag` is written, in this order; what is not known is
/// `null`.
#[derive(Clone, Copy, Debug)]
pub struct UsageRecord<'a> {
    /// When the call began, in Unix milliseconds; written as RFC 3339 in UTC with three decimals.
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
    pub usage_source: Option<Source>,
    /// What it cost, in US dollars, with all its digits; none without a price.
    pub cost_usd: Option<Usd>,
    /// A digest of the prices that this was reckoned with.
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
    /// What the client says the call is for (`[records] tag`); the one key that is left out where there is none.
    pub tag: Option<&'a str>,
}

impl UsageRecord<'_> {
    /// Appends the record to `lines` as one line of JSON, line feed included. Written by hand, as it is written for every
    /// call: a third of what a serializer takes.
    pub fn write(&self, lines: &mut Vec<u8>) {
        lines.extend_from_slice(b"{\"time\":\"");
        time(lines, self.time);
        lines.push(b'"');
        text(lines, b",\"id\":", Some(self.id));
        text(lines, b",\"tenant\":", Some(self.tenant));
        text(lines, b",\"key\":", self.key);
        text(lines, b",\"route\":", self.route);
        text(lines, b",\"model\":", self.model);
        text(lines, b",\"served_model\":", self.served_model);
        text(lines, b",\"upstream\":", self.upstream);
        text(lines, b",\"endpoint\":", Some(self.endpoint));
        lines.extend_from_slice(b",\"stream\":");
        lines.extend_from_slice(if self.stream { b"true" } else { b"false" });
        number(lines, b",\"status\":", self.status.map(u64::from));
        text(lines, b",\"outcome\":", Some(self.outcome.as_str()));
        number(lines, b",\"attempts\":", Some(u64::from(self.attempts)));
        number(lines, b",\"input_tokens\":", self.input_tokens);
        number(lines, b",\"cached_tokens\":", self.cached_tokens);
        number(lines, b",\"output_tokens\":", self.output_tokens);
        number(lines, b",\"reasoning_tokens\":", self.reasoning_tokens);
        text(lines, b",\"usage_source\":", self.usage_source.map(Source::as_str));
        lines.extend_from_slice(b",\"cost_usd\":");
        match self.cost_usd {
            // Writing into memory cannot fail.
            Some(cost) => drop(write!(lines, "{cost}")),
            None => lines.extend_from_slice(b"null"),
        }
        text(lines, b",\"price_version\":", self.price_version);
        number(lines, b",\"first_byte_ms\":", self.first_byte_ms);
        number(lines, b",\"duration_ms\":", Some(self.duration_ms));
        number(lines, b",\"overhead_us\":", self.overhead_us);
        number(lines, b",\"bytes_in\":", Some(self.bytes_in));
        number(lines, b",\"bytes_out\":", Some(self.bytes_out));
        if self.tag.is_some() {
            text(lines, b",\"tag\":", self.tag);
        }
        lines.extend_from_slice(b"}\n");
    }
}

fn text(lines: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    lines.extend_from_slice(key);
    let Some(value) = value else {
        return lines.extend_from_slice(b"null");
    };
    // Folded, not searched: a loop without a way out is done sixteen bytes at a time.
    let plain = value.bytes().fold(true, |plain, byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'));
    if !plain {
        // Writing into memory cannot fail.
        return drop(serde_json::to_writer(&mut *lines, value));
    }
    lines.push(b'"');
    lines.extend_from_slice(value.as_bytes());
    lines.push(b'"');
}

fn number(lines: &mut Vec<u8>, key: &[u8], value: Option<u64>) {
    lines.extend_from_slice(key);
    match value {
        Some(value) => lines.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        None => lines.extend_from_slice(b"null"),
    }
}

/// A point in time as it stands in records; what lies beyond the calendar (year 9999) is put at its end.
fn time(lines: &mut Vec<u8>, unix_millis: i64) {
    let end = if unix_millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let time = Timestamp::from_millisecond(unix_millis).unwrap_or(end);
    // Writing into memory cannot fail.
    drop(write!(lines, "{time:.3}"));
}

#[cfg(test)]
mod tests;
