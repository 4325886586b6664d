//! Chooses what reads along in an answer, by the answer's own head, and tells what was read.
//!
//! Must not hold or change a byte of it.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::call::Reading;
use crate::stream::{Scanner, UsageChunk};
use crate::usage::Dialect;
use crate::usage::json::BodyScanner;

/// What reads along.
pub(super) enum Reader {
    Stream(Box<Scanner>, Dialect),
    Json(Box<BodyScanner>),
    /// Nothing can be read in it; the word says why.
    Blind(&'static str),
}

impl Reader {
    /// What fits the answer's head: its type, not the request, decides.
    pub(super) fn of(headers: &HeaderMap, dialect: Option<Dialect>, usage_chunk: UsageChunk) -> Self {
        let Some(dialect) = dialect else {
            return Reader::Blind("endpoint");
        };
        let identity = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get(CONTENT_ENCODING).is_some_and(|coding| !identity(coding)) {
            return Reader::Blind("compressed");
        }
        let essence = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = essence.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"text/event-stream") {
            return Reader::Stream(Box::new(Scanner::new(dialect, usage_chunk)), dialect);
        }
        if essence.eq_ignore_ascii_case(b"application/json") {
            return Reader::Json(Box::new(BodyScanner::new(dialect)));
        }
        Reader::Blind("content_type")
    }

    /// What was read so far.
    pub(super) fn reading(&self) -> Reading {
        match self {
            Reader::Stream(scanner, _) => Reading {
                usage: scanner.usage(),
                details: scanner.details().map(Box::new),
                tier: scanner.tier(),
                text_bytes: scanner.text_bytes(),
                anomalies: scanner.anomalies(),
                unmetered: scanner.gave_up().then_some("line_too_long"),
            },
            Reader::Json(scanner) => Reading {
                usage: scanner.usage(),
                details: scanner.details().map(Box::new),
                tier: scanner.tier(),
                text_bytes: scanner.text_bytes(),
                anomalies: scanner.anomalies(),
                unmetered: None,
            },
            Reader::Blind(why) => Reading { unmetered: Some(why), ..Reading::default() },
        }
    }

    /// The model that answers.
    pub(super) fn served_model(&self) -> Option<&str> {
        match self {
            Reader::Stream(scanner, _) => scanner.served_model(),
            Reader::Json(scanner) => scanner.served_model(),
            Reader::Blind(_) => None,
        }
    }
}
