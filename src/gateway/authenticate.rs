//! Tells who calls, from the headers alone; the body is untouched, and nothing is charged yet.
//!
//! An unknown key leaves no trace. Must not know paths or models.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use super::error::AuthenticateError;
use crate::tenant::Caller;
use crate::tenant::directory::{Directory, Standing};
use crate::tenant::key::{KeyDigest, masked};
use crate::tenant::sign_ins::{FailedSignIns, Verdict};

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Finds the caller. `peer` is the socket's address, never a header's.
///
/// # Errors
/// No key, an unknown or an expired one, or two that differ. Where the directory has an anonymous tenant, no key and an
/// unknown one are that tenant's; an expired one stays an error.
pub fn authenticate(
    headers: &HeaderMap,
    directory: &Directory,
    failed: &FailedSignIns,
    peer: SocketAddr,
) -> Result<Caller, AuthenticateError> {
    let Some(key) = shown_key(headers)? else {
        return directory.anonymous().cloned().ok_or(AuthenticateError::Missing);
    };
    match directory.standing(&KeyDigest::of(&key), unix_now) {
        Standing::Known(caller) => Ok(caller.clone()),
        Standing::Expired => Err(AuthenticateError::Expired { masked: masked(&String::from_utf8_lossy(&key)) }),
        Standing::Unknown => {
            if let Some(caller) = directory.anonymous() {
                return Ok(caller.clone());
            }
            let close = failed.failed(peer) == Verdict::Close;
            Err(AuthenticateError::Unknown { masked: masked(&String::from_utf8_lossy(&key)), close })
        }
    }
}

/// The one key that was shown, in whichever of the three headers. A scheme other than Bearer is a key that nobody knows.
fn shown_key(headers: &HeaderMap) -> Result<Option<Cow<'_, [u8]>>, AuthenticateError> {
    let bearer = headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes()));
    let others = [API_KEY, X_API_KEY].map(|name| headers.get(name).map(|value| value.as_bytes().trim_ascii()));
    let mut shown = bearer.into_iter().chain(others.into_iter().flatten()).filter(|key| !key.is_empty());
    let Some(first) = shown.next() else {
        return Ok(None);
    };
    if shown.any(|other| other != first) {
        return Err(AuthenticateError::Conflict);
    }
    Ok(Some(Cow::Borrowed(first)))
}

/// What follows `Bearer` (RFC 6750 2.1; the scheme's case does not count, RFC 9110 11.1).
fn bearer(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(6) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer") => {
            if rest.is_empty() {
                rest
            } else if rest[0] == b' ' {
                rest.trim_ascii()
            } else {
                value
            }
        }
        _ => value,
    }
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn key(pairs: &[(&'static str, &'static str)]) -> Result<Option<String>, AuthenticateError> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        shown_key(&headers).map(|key| key.map(|key| String::from_utf8_lossy(&key).into_owned()))
    }

    #[test]
    fn a_key_is_read_from_each_of_the_three_headers() {
        assert_eq!(key(&[("authorization", "Bearer k")]), Ok(Some("k".into())));
        assert_eq!(key(&[("authorization", "bEARER   k ")]), Ok(Some("k".into())));
        assert_eq!(key(&[("api-key", "k")]), Ok(Some("k".into())));
        assert_eq!(key(&[("x-api-key", "k")]), Ok(Some("k".into())));
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[("authorization", "Bearer ")]), Ok(None));
    }

    #[test]
    fn another_scheme_is_not_taken_for_a_key_without_its_name() {
        assert_eq!(key(&[("authorization", "Basic azpr")]), Ok(Some("Basic azpr".into())));
        assert_eq!(key(&[("authorization", "Bearerk")]), Ok(Some("Bearerk".into())));
    }

    #[test]
    fn two_keys_that_differ_are_refused_and_two_that_agree_are_one() {
        assert_eq!(key(&[("authorization", "Bearer a"), ("x-api-key", "a")]), Ok(Some("a".into())));
        assert_eq!(key(&[("authorization", "Bearer a"), ("x-api-key", "b")]), Err(AuthenticateError::Conflict));
        assert_eq!(key(&[("api-key", "a"), ("x-api-key", "b")]), Err(AuthenticateError::Conflict));
    }
}
