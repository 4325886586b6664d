//! Tells from a request's headers what its body is said to be, and refuses what its endpoint does not take.
//!
//! Must not read the body.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};

use crate::gateway::decode::Coding;
use crate::gateway::error::{EncodingFault, GatewayError, ReceiveError};
use crate::wire::endpoint::{Endpoint, Takes};
use crate::wire::form::Boundary;

/// What a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON, in a content coding or plain.
    Json(Option<Coding>),
    /// A form.
    Form(Boundary),
}

/// The length that a request promises, if it promises one. Beside chunks a length means nothing (RFC 9112 6.3).
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The bytes of text that a request promises at least: a file in a form is none.
#[must_use]
pub fn promised_text(headers: &HeaderMap) -> Option<u64> {
    if essence(headers).is_some_and(is_form) { None } else { content_length(headers) }
}

/// J17: JSON, or a form, and said so. A missing type is refused too, as upstreams refuse it.
///
/// # Errors
/// 415 with what the endpoint takes; 400 for a charset or a boundary that cannot be.
pub fn kind(endpoint: Endpoint, headers: &HeaderMap) -> Result<Kind, GatewayError> {
    let takes = endpoint.takes();
    let wrong = || ReceiveError::Type(takes);
    let essence = essence(headers).ok_or_else(wrong)?;
    let coding = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes().trim_ascii());
    let plain = coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    if is_form(essence) && matches!(takes, Takes::Form | Takes::JsonOrForm) {
        if !plain {
            return Err(ReceiveError::Encoding(EncodingFault::Form).into());
        }
        let value = headers.get(CONTENT_TYPE).ok_or_else(wrong)?;
        return Boundary::of(value.as_bytes()).map(Kind::Form).map_err(GatewayError::Body);
    }
    if !essence.eq_ignore_ascii_case(b"application/json") || !matches!(takes, Takes::Json | Takes::JsonOrForm) {
        return Err(wrong().into());
    }
    check_charset(headers)?;
    if plain {
        return Ok(Kind::Json(None));
    }
    if coding.contains(&b',') {
        return Err(ReceiveError::Encoding(EncodingFault::Several).into());
    }
    match Coding::named(coding) {
        Some(coding) => Ok(Kind::Json(Some(coding))),
        None => Err(ReceiveError::Encoding(EncodingFault::Unknown).into()),
    }
}

/// The content type without its parameters.
fn essence(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    value.split(|&b| b == b';').next().map(<[u8]>::trim_ascii)
}

fn is_form(essence: &[u8]) -> bool {
    essence.eq_ignore_ascii_case(b"multipart/form-data")
}

fn check_charset(headers: &HeaderMap) -> Result<(), ReceiveError> {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    for parameter in value.split(|&b| b == b';').skip(1) {
        let parameter = parameter.trim_ascii();
        if let Some((name, value)) = parameter.split_at_checked(8)
            && name.eq_ignore_ascii_case(b"charset=")
        {
            let charset = value.trim_ascii();
            let charset = charset.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")).unwrap_or(charset);
            if !charset.eq_ignore_ascii_case(b"utf-8") && !charset.eq_ignore_ascii_case(b"utf8") {
                return Err(ReceiveError::Charset);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn typed(endpoint: Endpoint, value: &str, coding: Option<&str>) -> Result<Kind, Option<ReceiveError>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
        }
        kind(endpoint, &headers).map_err(|error| match error {
            GatewayError::Receive(error) => Some(error),
            _ => None,
        })
    }

    fn wrong(takes: Takes) -> Result<Kind, Option<ReceiveError>> {
        Err(Some(ReceiveError::Type(takes)))
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        let chat = |value| typed(Endpoint::ChatCompletions, value, None);
        let json = Ok(Kind::Json(None));
        assert_eq!(chat("application/json"), json);
        assert_eq!(chat("Application/JSON; charset=UTF-8"), json);
        assert_eq!(chat("application/json; charset=\"utf-8\"; x=y"), json);
        assert_eq!(chat("application/json; charset=utf-16"), Err(Some(ReceiveError::Charset)));
        for other in
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "application/json,a/b"]
        {
            assert_eq!(chat(other), wrong(Takes::Json), "{other}");
        }
        let untyped = kind(Endpoint::ChatCompletions, &HeaderMap::new());
        assert!(matches!(untyped, Err(GatewayError::Receive(ReceiveError::Type(Takes::Json)))), "{untyped:?}");
    }

    #[test]
    fn every_endpoint_takes_what_the_table_says() {
        let form = "multipart/form-data; boundary=x";
        for endpoint in Endpoint::ALL {
            let takes = endpoint.takes();
            let (json, form) = (typed(endpoint, "application/json", None), typed(endpoint, form, None));
            assert_eq!(json.is_ok(), matches!(takes, Takes::Json | Takes::JsonOrForm), "{endpoint:?}");
            assert_eq!(form.is_ok(), matches!(takes, Takes::Form | Takes::JsonOrForm), "{endpoint:?}");
            for refused in [json, form].into_iter().filter(Result::is_err) {
                assert_eq!(refused, wrong(takes), "{endpoint:?}");
            }
        }
        assert_eq!(typed(Endpoint::Transcriptions, "multipart/form-data", None), Err(None));
        assert_eq!(typed(Endpoint::Transcriptions, "multipart/mixed; boundary=x", None), wrong(Takes::Form));
    }

    #[test]
    fn one_coding_that_is_known_is_taken_and_none_on_forms() {
        let chat = |coding| typed(Endpoint::ChatCompletions, "application/json", Some(coding));
        for (coding, known) in
            [("gzip", Coding::Gzip), ("X-Gzip", Coding::Gzip), (" BR ", Coding::Brotli), ("zstd", Coding::Zstd)]
        {
            assert_eq!(chat(coding), Ok(Kind::Json(Some(known))));
        }
        for none in ["identity", "Identity", ""] {
            assert_eq!(chat(none), Ok(Kind::Json(None)));
        }
        let refused = |why| Err(Some(ReceiveError::Encoding(why)));
        for coding in ["deflate", "compress", "gzip;q=1", "aes128gcm"] {
            assert_eq!(chat(coding), refused(EncodingFault::Unknown), "{coding}");
        }
        for codings in ["gzip, gzip", "gzip,br", "identity, gzip", ","] {
            assert_eq!(chat(codings), refused(EncodingFault::Several), "{codings}");
        }
        let form = typed(Endpoint::Transcriptions, "multipart/form-data; boundary=x", Some("gzip"));
        assert_eq!(form, refused(EncodingFault::Form));
    }

    #[test]
    fn a_forms_length_promises_no_text() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("209715200"));
        assert_eq!(promised_text(&headers), Some(200 << 20));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("Multipart/Form-Data; boundary=x"));
        assert_eq!((promised_text(&headers), content_length(&headers)), (None, Some(200 << 20)));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(content_length(&headers), None);
    }
}
