//! Says what is wrong with a request's body: which rule, which parameter, where, and what to do about it.
//!
//! Must not know status codes or the shape of an error answer.

use std::fmt::Write as _;

/// The rule that a body breaks; the bounded word that clients get as `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// Not JSON (RFC 8259), or not an object.
    InvalidJson,
    /// Not UTF-8, or with a byte order mark.
    InvalidEncoding,
    /// Nested deeper than 64 levels.
    TooDeep,
    /// One key twice in the same object.
    DuplicateKey,
    /// A key that some readers take for another one.
    AmbiguousKey,
    /// A parameter with a value that it cannot have.
    InvalidValue,
    /// A parameter that every call needs is absent.
    MissingRequiredParameter,
    /// A form that is not made as RFC 7578 and RFC 2046 say, or that two readers could take apart differently.
    InvalidForm,
}

impl FaultCode {
    /// The word in error bodies, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FaultCode::InvalidJson => "invalid_json",
            FaultCode::InvalidEncoding => "invalid_encoding",
            FaultCode::TooDeep => "too_deep",
            FaultCode::DuplicateKey => "duplicate_key",
            FaultCode::AmbiguousKey => "ambiguous_key",
            FaultCode::InvalidValue => "invalid_value",
            FaultCode::MissingRequiredParameter => "missing_required_parameter",
            FaultCode::InvalidForm => "invalid_request",
        }
    }
}

/// Why a body is refused (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BodyFault {
    /// The rule.
    pub code: FaultCode,
    /// The parameter at fault, such as `stream_options.include_usage`; at most 64 characters of it are the caller's.
    pub param: Option<String>,
    /// Where it is (byte offset, from 0) and what to do; echoes at most 64 characters of the caller's, escaped.
    pub message: String,
}

impl BodyFault {
    /// A fault of the document as a whole.
    pub(in crate::wire) fn new(code: FaultCode, message: impl Into<String>) -> Self {
        BodyFault { code, param: None, message: message.into() }
    }

    /// The same, with the parameter that it is about.
    pub(in crate::wire) fn about(self, param: impl Into<String>) -> Self {
        BodyFault { param: Some(param.into()), ..self }
    }

    /// Not JSON at byte `at`.
    pub(super) fn json(at: usize, what: &str) -> Self {
        BodyFault::new(FaultCode::InvalidJson, format!("The body is not valid JSON: {what} at byte {at}."))
    }

    /// Not UTF-8 at byte `at`.
    pub(super) fn encoding(at: usize) -> Self {
        let message = format!("The body is not valid UTF-8 at byte {at}. Send JSON encoded as UTF-8.");
        BodyFault::new(FaultCode::InvalidEncoding, message)
    }

    /// A parameter's value, at byte `at`, is not what it must be.
    pub(in crate::wire) fn value(param: &str, at: usize, must: &str) -> Self {
        BodyFault::new(FaultCode::InvalidValue, format!("'{param}' must be {must} (byte {at}).")).about(param)
    }
}

/// At most 64 characters of the caller's text, with what cannot be seen escaped.
pub(in crate::wire) fn shown(text: impl Iterator<Item = char>) -> String {
    const MOST: usize = 64;
    let mut shown = String::new();
    let mut length = 0;
    for c in text {
        let mut piece = String::new();
        if c == '"' || c == '\'' || (c.is_ascii_graphic() && c != '\\') || c == ' ' || c.is_alphanumeric() {
            piece.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(piece, "{}", c.escape_default());
        }
        length += piece.chars().count();
        if length > MOST - 3 {
            shown.push_str("...");
            return shown;
        }
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_64_characters_are_echoed_and_none_that_cannot_be_seen() {
        assert_eq!(shown("model".chars()), "model");
        assert_eq!(shown("mo\0\u{200b}del".chars()), "mo\\u{0}\\u{200b}del");
        for text in ["x".repeat(10_000), "\0".repeat(10_000), "\u{10ffff}".repeat(100)] {
            let echo = shown(text.chars());
            assert!(echo.chars().count() <= 64 && echo.ends_with("..."), "{echo}");
        }
    }
}
