//! Chooses what reads along in an answer, by the answer's own head, and tells what was read.
//!
//! Must not hold or change a byte of it, but for the usage chunk that only we asked for.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::call::Reading;
use crate::stream::{Ended, Passed, Scanner, UsageChunk};
use crate::usage::Dialect;
use crate::usage::json::BodyScanner;

mod decoded;
mod raw;

use decoded::{Coding, Decoded};
use raw::Raw;

/// What reads along.
pub(super) enum Reader {
    Stream(Box<Scanner>, Dialect),
    Json(Box<BodyScanner>),
    /// Sound or plain text: its kind never says usage.
    Raw(Box<Raw>),
    /// One of the others, in a decoded copy.
    Decoded(Box<Decoded>),
    /// Nothing can be read in it; the word says why.
    Blind(&'static str),
}

/// What the end of an upstream's bytes is.
pub(super) enum End {
    /// The answer's end, with what was held back and must still go on.
    Whole(Option<Bytes>),
    /// Not the answer's end.
    Cut,
}

impl Reader {
    /// What fits the answer's head: its type, not the request, decides.
    pub(super) fn of(headers: &HeaderMap, dialect: Option<Dialect>, usage_chunk: UsageChunk) -> Self {
        let Some(dialect) = dialect else {
            return Reader::Blind("endpoint");
        };
        let mut codings = headers.get_all(CONTENT_ENCODING).iter().filter(|coding| !is_identity(coding));
        match (codings.next(), codings.next()) {
            (None, _) => Reader::of_type(headers, dialect, usage_chunk),
            (Some(coding), None) => match Coding::named(coding.as_bytes()) {
                Some(coding) => Reader::decoded(coding, Reader::of_type(headers, dialect, UsageChunk::Keep)),
                None => Reader::Blind("compressed"),
            },
            (Some(_), Some(_)) => Reader::Blind("compressed"),
        }
    }

    fn decoded(coding: Coding, reader: Reader) -> Self {
        match reader {
            Reader::Blind(_) => reader,
            reader => Reader::Decoded(Box::new(Decoded::new(coding, reader))),
        }
    }

    fn of_type(headers: &HeaderMap, dialect: Dialect, usage_chunk: UsageChunk) -> Self {
        let essence = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = essence.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"text/event-stream") {
            return Reader::Stream(Box::new(Scanner::new(dialect, usage_chunk)), dialect);
        }
        if essence.eq_ignore_ascii_case(b"application/json") {
            return Reader::Json(Box::new(BodyScanner::new(dialect)));
        }
        match dialect {
            Dialect::Speech => Reader::Raw(Box::new(Raw::sound(essence))),
            Dialect::Transcription => Reader::Raw(Box::new(Raw::text())),
            _ => Reader::Blind("content_type"),
        }
    }

    /// Reads the next piece of the answer, which may be the `whole` of it; says what of it goes on.
    pub(super) fn take(&mut self, data: Bytes, whole: bool) -> Passed {
        match self {
            Reader::Stream(scanner, _) => return scanner.feed(data),
            Reader::Json(scanner) if whole => scanner.feed_whole(&data),
            reader => reader.read(&data),
        }
        Passed::Whole(data)
    }

    /// Reads the next piece of an answer that goes on by itself.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        match self {
            Reader::Stream(scanner, _) => scanner.read(bytes),
            Reader::Json(scanner) => scanner.feed(bytes),
            Reader::Raw(raw) => raw.read(bytes),
            Reader::Decoded(decoded) => decoded.read(bytes),
            Reader::Blind(_) => {}
        }
    }

    /// The upstream's bytes are all here. `framed` says that the transport itself would have told a cut.
    pub(super) fn end(&mut self, framed: bool) -> End {
        let cut = match self {
            Reader::Stream(scanner, _) => {
                if !is_over(scanner) {
                    return End::Cut;
                }
                return End::Whole(scanner.finish());
            }
            Reader::Json(scanner) => !framed && !scanner.is_complete(),
            Reader::Decoded(decoded) => {
                let whole = decoded.end();
                let over = match decoded.reader() {
                    Reader::Stream(scanner, _) => decoded.why_not().is_some() || is_over(scanner),
                    _ => true,
                };
                !framed && !whole || !over
            }
            Reader::Raw(_) | Reader::Blind(_) => false,
        };
        if cut { End::Cut } else { End::Whole(None) }
    }

    /// Whether the answer tells of a failure itself.
    pub(super) fn told_failure(&self) -> bool {
        match self {
            Reader::Stream(scanner, _) => scanner.told_failure(),
            Reader::Json(scanner) => scanner.told_failure(),
            Reader::Decoded(decoded) => decoded.reader().told_failure(),
            Reader::Raw(_) | Reader::Blind(_) => false,
        }
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
            Reader::Raw(raw) => {
                Reading { details: raw.details().map(Box::new), text_bytes: raw.text_bytes(), ..Reading::default() }
            }
            Reader::Decoded(decoded) => {
                let reading = decoded.reader().reading();
                let unmetered = decoded.why_not().filter(|_| reading.usage.is_none()).or(reading.unmetered);
                Reading { unmetered, ..reading }
            }
            Reader::Blind(why) => Reading { unmetered: Some(why), ..Reading::default() },
        }
    }

    /// The model that answers.
    pub(super) fn served_model(&self) -> Option<&str> {
        match self {
            Reader::Stream(scanner, _) => scanner.served_model(),
            Reader::Json(scanner) => scanner.served_model(),
            Reader::Decoded(decoded) => decoded.reader().served_model(),
            Reader::Raw(_) | Reader::Blind(_) => None,
        }
    }
}

fn is_identity(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")
}

/// Some upstreams never say `[DONE]`; that each choice was finished says as much. A usage does not: some report it on every
/// chunk.
fn is_over(scanner: &Scanner) -> bool {
    scanner.ended() != Ended::Open || scanner.finished()
}
