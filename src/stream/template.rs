//! Knows the event before this one, and reads an event that differs from it only in the places that always differ.
//!
//! A short cut and nothing more: it either finds exactly what a walk through the JSON would find, or declines. Must not
//! know how frames are cut; it sees whole events only.

use memchr::memchr2;
use smallvec::SmallVec;

use crate::usage::walk::number::{SEQUENCE_DIGITS, sequence};
use crate::usage::walk::text::encoded_width;
use crate::usage::walk::{Found, MARKS, Mark, Varying};

/// The longest event that is remembered, in bytes.
const LONGEST: usize = 4096;

/// One event, and where it varies.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// The whole event with its framing; empty while there is none.
    event: Vec<u8>,
    gaps: SmallVec<[Gap; MARKS]>,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    what: Content,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A string that is counted.
    Text,
    /// A string that is not.
    Pad,
    Sequence,
}

impl Template {
    /// Remembers `event`, whose data begins at `data` and varies at `marks`; `counts_delta` says whether a `delta` is text.
    ///
    /// The caller sees to it that the walk through this event left nothing behind but what stands at the marks.
    pub(super) fn remember(&mut self, event: &[u8], data: usize, marks: &[Mark], counts_delta: bool) {
        self.event.clear();
        self.gaps.clear();
        // After a lone CR the next line feed would still belong to this event.
        if event.len() > LONGEST || event.last() != Some(&b'\n') {
            return;
        }
        for mark in marks {
            let (Ok(start), Ok(end)) = (usize::try_from(mark.start), usize::try_from(mark.end)) else { return };
            let what = match mark.what {
                Varying::Text => Content::Text,
                Varying::Delta if counts_delta => Content::Text,
                Varying::Delta | Varying::Pad => Content::Pad,
                Varying::Sequence => Content::Sequence,
            };
            self.gaps.push(Gap { what, start: data + start, end: data + end });
        }
        self.event.extend_from_slice(event);
    }

    /// There is no event before this one.
    pub(super) fn forget(&mut self) {
        self.event.clear();
    }

    /// If `bytes` begins with an event like the one remembered: enters what it says into `found`, and says how long it is.
    pub(super) fn read(&self, bytes: &[u8], found: &mut Found) -> Option<usize> {
        if self.event.is_empty() {
            return None;
        }
        let mut at = 0;
        let mut fixed_from = 0;
        let mut text: u64 = 0;
        let mut number = None;
        for gap in &self.gaps {
            at = skip_prefix(bytes, at, self.event.get(fixed_from..gap.start)?)?;
            fixed_from = gap.end;
            let rest = bytes.get(at..)?;
            let length = match gap.what {
                Content::Sequence => {
                    let length = rest.iter().take(SEQUENCE_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
                    number = Some(sequence(rest.get(..length)?)?);
                    length
                }
                Content::Text => {
                    let (length, decoded) = string(rest)?;
                    text = text.saturating_add(decoded);
                    length
                }
                Content::Pad => string(rest)?.0,
            };
            at += length;
        }
        at = skip_prefix(bytes, at, self.event.get(fixed_from..)?)?;
        found.text = found.text.saturating_add(text);
        found.sequence = number.or(found.sequence);
        Some(at)
    }
}

fn skip_prefix(bytes: &[u8], at: usize, fixed: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(fixed).then(|| at + fixed.len())
}

/// The length of the rest of a string up to its closing quote, and how many bytes it stands for. None if it has no end
/// here, or anything unusual in it.
fn string(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut at = 0;
    let mut decoded: u64 = 0;
    loop {
        let rest = bytes.get(at..)?;
        let run = memchr2(b'"', b'\\', rest)?;
        // A line end would end the data line, whatever the JSON says.
        if memchr2(b'\n', b'\r', rest.get(..run)?).is_some() {
            return None;
        }
        decoded = decoded.saturating_add(run as u64);
        at += run;
        if bytes.get(at) == Some(&b'"') {
            return Some((at, decoded));
        }
        let (length, width) = escape(bytes.get(at + 1..)?)?;
        decoded = decoded.saturating_add(width);
        at += 1 + length;
    }
}

/// The length of what follows a backslash, and how many bytes it stands for.
fn escape(bytes: &[u8]) -> Option<(usize, u64)> {
    match bytes.first()? {
        b'u' => {
            let mut code = 0;
            for &digit in bytes.get(1..5)? {
                code = (code << 4) | char::from(digit).to_digit(16)?;
            }
            Some((5, encoded_width(u16::try_from(code).ok()?)))
        }
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((1, 1)),
        _ => None,
    }
}
