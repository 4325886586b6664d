//! Reads the head of one part: its name, and whether it is a file.
//!
//! Must not know what any part is for.

use super::parameters::{Parameters, is_token};
use crate::wire::peek::{BodyFault, FaultCode};

/// What a part's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartHead {
    /// Its field's name. UTF-8; other bytes read as U+FFFD, which no name that we know has.
    pub name: String,
    /// Whether it has a file name.
    pub file: bool,
    /// Whether it says that it is something else than plain text in UTF-8 or ASCII.
    pub typed: bool,
}

/// The three headers that count, as far as they have come.
#[derive(Default)]
struct Headers<'a> {
    disposition: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
}

/// Reads a head, its last empty line included. `at` is where it begins in the form, in bytes.
pub(super) fn read(head: &[u8], at: u64) -> Result<PartHead, BodyFault> {
    let wrong = |why: &str| {
        let message = format!("The head of the form's part at byte {at} {why}. Let your HTTP library write the form.");
        BodyFault::new(FaultCode::InvalidForm, message)
    };
    let headers = headers(head).map_err(wrong)?;
    let encodings: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
    if headers.encoding.is_some_and(|given| !encodings.iter().any(|known| given.eq_ignore_ascii_case(known))) {
        return Err(wrong("names a Content-Transfer-Encoding, which forms no longer have (RFC 7578 4.7)"));
    }
    let disposition = headers.disposition.ok_or_else(|| wrong("has no Content-Disposition"))?;
    let (name, file) =
        named(disposition).map_err(|why| wrong(&format!("has an ambiguous Content-Disposition: {why}")))?;
    Ok(PartHead { name, file, typed: headers.content_type.is_some_and(|given| !is_plain(given)) })
}

fn headers(head: &[u8]) -> Result<Headers<'_>, &'static str> {
    let mut headers = Headers::default();
    let mut rest = head.strip_suffix(b"\r\n").unwrap_or(head);
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        if line.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("has a control character, or a line that does not end with CR LF");
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or("has a line without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err("has a header without a proper name");
        }
        let place = match () {
            () if name.eq_ignore_ascii_case(b"content-disposition") => &mut headers.disposition,
            () if name.eq_ignore_ascii_case(b"content-type") => &mut headers.content_type,
            () if name.eq_ignore_ascii_case(b"content-transfer-encoding") => &mut headers.encoding,
            () => continue,
        };
        if place.replace(value).is_some() {
            return Err("has the same header twice");
        }
    }
    Ok(headers)
}

/// The name in a `Content-Disposition`, and whether there is a file name.
fn named(disposition: &[u8]) -> Result<(String, bool), &'static str> {
    let end = disposition.iter().position(|&byte| !is_token(byte)).unwrap_or(disposition.len());
    let (kind, rest) = disposition.split_at(end);
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err("it is not form-data");
    }
    let (mut name, mut plain_file, mut extended_file) = (None, false, false);
    for parameter in Parameters::new(rest) {
        let parameter = parameter?;
        let lower = parameter.name.to_ascii_lowercase();
        let twice = match &*lower {
            b"name" => name.replace(parameter.value).is_some(),
            b"filename" => std::mem::replace(&mut plain_file, true),
            b"filename*" => std::mem::replace(&mut extended_file, true),
            b"name*" => return Err("name* is not for forms (RFC 7578 4.2)"),
            _ => false,
        };
        if twice {
            return Err("a parameter stands twice");
        }
    }
    let name = name.ok_or("it has no name")?;
    if name.contains(&b'\\') {
        return Err("its name has a backslash");
    }
    Ok((String::from_utf8_lossy(name).into_owned(), plain_file || extended_file))
}

/// Whether a part's type is that of a text field.
fn is_plain(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
    let (essence, rest) = content_type.split_at(end);
    let charsets: [&[u8]; 3] = [b"utf-8", b"utf8", b"us-ascii"];
    essence.trim_ascii().eq_ignore_ascii_case(b"text/plain")
        && Parameters::new(rest).all(|parameter| {
            parameter.is_ok_and(|parameter| {
                !parameter.name.eq_ignore_ascii_case(b"charset")
                    || charsets.iter().any(|known| parameter.value.eq_ignore_ascii_case(known))
            })
        })
}
