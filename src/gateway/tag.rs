//! Takes from a request's headers what its client says the call is for.
//!
//! Must not know what becomes of it: it goes into the record, never into a label.

use http::{HeaderMap, HeaderName};

/// The longest tag, in bytes.
const LONGEST: usize = 128;

/// The tag of a call: the value of the one header of that name. None where it is absent, empty, there twice, longer than
/// 128 bytes, not UTF-8, or has a control character: a record says nothing rather than something else.
pub(super) fn tag(headers: &HeaderMap, name: &HeaderName) -> Option<Box<str>> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let tag = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    let fits = !tag.is_empty() && tag.len() <= LONGEST && !tag.chars().any(char::is_control);
    fits.then(|| tag.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(values: &[&[u8]]) -> Option<Box<str>> {
        let name = HeaderName::from_static("x-team");
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        tag(&headers, &name)
    }

    #[test]
    fn a_tag_is_short_plain_text_and_said_once() {
        assert_eq!(of(&[b"search"]).as_deref(), Some("search"));
        assert_eq!(of(&[b" a b "]).as_deref(), Some("a b"));
        assert_eq!(of(&["поиск".as_bytes()]).as_deref(), Some("поиск"));
        assert_eq!(of(&[&[b'x'; LONGEST]]).map(|tag| tag.len()), Some(LONGEST));
        assert_eq!(of(&[]), None);
        for refused in [&b""[..], b"  ", b"a\tb", b"\xff", "a\u{85}b".as_bytes(), &[b'x'; LONGEST + 1]] {
            assert_eq!(of(&[refused]), None, "{refused:?}");
        }
        assert_eq!(of(&[b"a", b"b"]), None);
    }
}
