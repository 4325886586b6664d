//! Takes the boundary of a form out of its content type.
//!
//! Must not know what the form says.

use super::parameters::Parameters;
use crate::wire::peek::{BodyFault, FaultCode};

/// The longest boundary, in bytes (RFC 2046 5.1.1).
const LONGEST: usize = 70;

/// What separates the parts of a form: 1 to 70 characters of RFC 2046 5.1.1, the last of them no space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(Box<[u8]>);

impl Boundary {
    /// A boundary, as it stands after the two dashes.
    ///
    /// # Errors
    /// `invalid_request` where it is none.
    pub fn new(boundary: &[u8]) -> Result<Self, BodyFault> {
        let allowed = boundary.iter().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte));
        if !allowed || boundary.is_empty() || boundary.len() > LONGEST || boundary.ends_with(b" ") {
            return Err(fault("a boundary of 1 to 70 letters, digits and '()+_,-./:=? (RFC 2046 5.1.1)"));
        }
        Ok(Boundary(boundary.into()))
    }

    /// The boundary in a `Content-Type` whose type is `multipart/form-data`.
    ///
    /// # Errors
    /// `invalid_request` where there is none, or two, or one that readers could take for different ones.
    pub fn of(content_type: &[u8]) -> Result<Self, BodyFault> {
        let start = content_type.iter().position(|&byte| byte == b';').unwrap_or(content_type.len());
        let mut found = None;
        for parameter in Parameters::new(&content_type[start..]) {
            let parameter = parameter.map_err(|why| fault(&format!("parameters that can be read: {why}")))?;
            if !parameter.name.eq_ignore_ascii_case(b"boundary") {
                continue;
            }
            if parameter.value.contains(&b'\\') || found.replace(parameter.value).is_some() {
                return Err(fault("exactly one boundary, without backslashes"));
            }
        }
        Boundary::new(found.ok_or_else(|| fault("a boundary"))?)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn fault(needs: &str) -> BodyFault {
    let message = format!(
        "The Content-Type of a form must have {needs}: `multipart/form-data; boundary=…`. Let your HTTP library write it."
    );
    BodyFault::new(FaultCode::InvalidForm, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str) -> Option<String> {
        let boundary = Boundary::of(content_type.as_bytes()).ok()?;
        Some(String::from_utf8(boundary.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_boundary_is_taken_as_it_stands_with_or_without_quotes() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("multipart/form-data;boundary=----WebKitFormBoundary7MA4", "----WebKitFormBoundary7MA4"),
            ("multipart/form-data; BOUNDARY=\"a b:c/d=e?f\"", "a b:c/d=e?f"),
            ("multipart/form-data ; charset=utf-8 ;  boundary=abc;", "abc"),
            ("multipart/form-data; boundary=\"x\"; y=\"boundary=z\"", "x"),
        ] {
            assert_eq!(of(content_type).as_deref(), Some(boundary), "{content_type}");
        }
    }

    #[test]
    fn what_could_be_another_boundary_to_another_reader_is_refused() {
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for content_type in [
            "multipart/form-data",
            "multipart/form-data;",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=a; boundary=a",
            "multipart/form-data; boundary=a; Boundary=b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a,b",
            "multipart/form-data; boundary=\"a ",
            "multipart/form-data; boundary=\"a\"b",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=a/b",
            "multipart/form-data; boundary*=utf-8''a",
            "multipart/form-data; boundary =a",
            "multipart/form-data boundary=a",
            &long,
        ] {
            assert_eq!(of(content_type), None, "{content_type}");
        }
    }
}
