//! Shows a tenant's limits on its answers, in the names and formats that OpenAI's clients know (4-wire-contract.md 5).
//!
//! Must not decide anything: it is handed the levels.

use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use crate::limits::{Shown, View};

const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESET_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");

/// Puts in the tenant's limits, in OpenAI's formats; headers of these names must not be there yet. All values are cut from
/// one buffer.
pub fn rate_limits(headers: &mut http::HeaderMap, view: &View) {
    let mut text = BytesMut::with_capacity(96);
    let mut show = |shown: &Shown, names: [HeaderName; 3]| {
        push_number(&mut text, shown.limit);
        let limit = text.len();
        push_number(&mut text, shown.remaining);
        let remaining = text.len();
        push_duration(&mut text, shown.reset);
        let all = text.split().freeze();
        let values = [all.slice(..limit), all.slice(limit..remaining), all.slice(remaining..)];
        for (name, value) in names.into_iter().zip(values) {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                headers.append(name, value);
            }
        }
    };
    if let Some(shown) = &view.requests {
        show(shown, [LIMIT_REQUESTS, REMAINING_REQUESTS, RESET_REQUESTS]);
    }
    if let Some(shown) = &view.tokens {
        show(shown, [LIMIT_TOKENS, REMAINING_TOKENS, RESET_TOKENS]);
    }
}

fn push_number(text: &mut BytesMut, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A duration as OpenAI writes it, rounded up to milliseconds: `0s`, `174ms`, `9.816s`, `6m0s`, `1h0m5s` (4-wire-contract.md 5).
#[must_use]
pub fn go_duration(wait: Duration) -> String {
    let mut text = BytesMut::new();
    push_duration(&mut text, wait);
    String::from_utf8_lossy(&text).into_owned()
}

fn push_duration(text: &mut BytesMut, wait: Duration) {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    if millis == 0 {
        return text.extend_from_slice(b"0s");
    }
    if millis < 1_000 {
        push_number(text, millis);
        return text.extend_from_slice(b"ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    if hours > 0 {
        push_number(text, hours);
        text.extend_from_slice(b"h");
    }
    if hours > 0 || minutes > 0 {
        push_number(text, minutes);
        text.extend_from_slice(b"m");
    }
    push_number(text, millis / 1_000 % 60);
    let rest = millis % 1_000;
    if rest > 0 {
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or(0));
        let shown = if digits[2] != b'0' {
            3
        } else if digits[1] != b'0' {
            2
        } else {
            1
        };
        text.extend_from_slice(b".");
        text.extend_from_slice(&digits[..shown]);
    }
    text.extend_from_slice(b"s");
}
