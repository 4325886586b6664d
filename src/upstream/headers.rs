//! Decides which headers of a client reach an upstream, and which of an upstream's answer reach the client.
//!
//! Must not know bodies or connections. The rules are 4-wire-contract.md 8; hop-by-hop headers are RFC 9110 7.6.1.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::provider::Provider;

/// The longest `Idempotency-Key` that is passed on, in bytes; a longer or unprintable one is dropped.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// Longer names imitate no policy header.
const LONGEST_POLICY_NAME: usize = 64;

/// Takes out of a client's headers what may not pass, but for the few that [`is_replaced`].
pub(super) fn clean_request(provider: Provider, headers: &mut HeaderMap) {
    drop_named(headers);
    let unwanted: SmallVec<[HeaderName; 16]> = headers
        .iter()
        .filter(|(name, value)| !is_replaced(name) && !may_pass(provider, name, value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &unwanted {
        headers.remove(name);
    }
}

/// Headers that every call to an upstream gets anew, or loses, whatever the client's were.
fn is_replaced(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, ACCEPT_ENCODING, AUTHORIZATION].contains(name)
}

/// Takes out of an upstream's answer what is meant for us alone: hop-by-hop headers, cookies, and whatever describes
/// the operator's account or imitates our own headers.
pub fn clean_response(headers: &mut HeaderMap) {
    drop_named(headers);
    let unwanted: SmallVec<[HeaderName; 16]> =
        headers.keys().filter(|name| stays_here(name.as_str())).cloned().collect();
    for name in &unwanted {
        headers.remove(name);
    }
}

fn may_pass(provider: Provider, name: &HeaderName, value: &HeaderValue) -> bool {
    let name = name.as_str();
    let mut plain = [0_u8; LONGEST_POLICY_NAME];
    let name = match without_underscores(name, &mut plain) {
        Some(imitated) if is_ours(imitated) => return false,
        _ => name,
    };
    match name {
        "openai-beta" => provider.takes_beta_headers(),
        "idempotency-key" => {
            let key = value.as_bytes();
            !key.is_empty() && key.len() <= MAX_IDEMPOTENCY_KEY && key.iter().all(u8::is_ascii_graphic)
        }
        other => !is_ours(other),
    }
}

/// The name with `-` for each `_`, as many servers read it (CGI variables know no difference); `None` without `_`.
fn without_underscores<'a>(name: &str, room: &'a mut [u8; LONGEST_POLICY_NAME]) -> Option<&'a str> {
    if !name.contains('_') {
        return None;
    }
    let room = room.get_mut(..name.len())?;
    for (to, from) in room.iter_mut().zip(name.bytes()) {
        *to = if from == b'_' { b'-' } else { from };
    }
    std::str::from_utf8(room).ok()
}

/// Request headers that end here: consumed, rebuilt, or nobody else's business.
fn is_ours(name: &str) -> bool {
    if is_hop_by_hop(name) {
        return true;
    }
    match name {
        // Rebuilt from what we send.
        "host" | "content-length" | "accept-encoding" | "content-encoding" | "expect" => true,
        // The client's credentials, and names of the client's own account.
        "authorization" | "api-key" | "x-api-key" | "cookie" | "cookie2" => true,
        "openai-organization" | "openai-project" => true,
        // Where the client is and who led it here.
        "origin" | "referer" | "forwarded" | "via" | "x-real-ip" | "x-client-ip" | "true-client-ip" => true,
        "x-cluster-client-ip" | "cf-connecting-ip" => true,
        // What would make an upstream see another method or path than we routed.
        "x-http-method-override" | "x-http-method" | "x-method-override" => true,
        "x-original-url" | "x-original-uri" | "x-rewrite-url" => true,
        _ => name.starts_with("sec-") || name.starts_with("x-forwarded-") || name.starts_with("x-tollgate-"),
    }
}

/// Headers that mean the connection and not the message (RFC 9110 7.6.1).
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    match name {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings" => true,
        _ => name.starts_with("proxy-"),
    }
}

/// Response headers that end here.
fn stays_here(name: &str) -> bool {
    if is_hop_by_hop(name) {
        return true;
    }
    match name {
        "set-cookie" | "set-cookie2" | "alt-svc" | "strict-transport-security" | "server" => true,
        "openai-organization" | "openai-project" => true,
        _ => name.starts_with("x-ratelimit-") || name.starts_with("x-tollgate-") || name.starts_with("cf-"),
    }
}

/// Drops what the `Connection` headers list (RFC 9110 7.6.1).
fn drop_named(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let connection: SmallVec<[HeaderValue; 2]> = headers.get_all(CONNECTION).iter().cloned().collect();
    for value in &connection {
        drop_listed(value, headers);
    }
}

/// Each listed name costs one look-up, so a long list stays linear. The message's own length and type cannot be
/// listed away: no honest sender lists them, and without them the body would be read otherwise than it was sent.
fn drop_listed(list: &HeaderValue, headers: &mut HeaderMap) {
    for token in list.as_bytes().split(|byte| *byte == b',') {
        let token = token.trim_ascii();
        if token.is_empty() || keeps_framing(token) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(token) {
            headers.remove(name);
        }
    }
}

fn keeps_framing(token: &[u8]) -> bool {
    let kept: [&[u8]; 5] = [b"close", b"keep-alive", b"content-length", b"content-type", b"content-encoding"];
    kept.iter().any(|name| token.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
