//! Reads the numbers, `true`, `false` and `null` of an answer where they matter, and skips them elsewhere.
//!
//! Must not know where a value stands; the walk says what it is for.

use crate::usage::counts::{Counts, Field};

use super::{Act, Anomaly, State, Varying, Walk};

/// A sequence number has at most this many digits; it fits into 64 bits then.
pub(crate) const SEQUENCE_DIGITS: usize = 18;

impl Walk {
    /// The first byte of a number or word is at `at`; it is read by [`Walk::scalar`].
    pub(super) fn begin_scalar(&mut self, first: u8, at: usize) {
        self.state = State::Scalar;
        self.mark_start = self.position(at);
        if self.keeps_scalar() {
            self.word.clear();
        } else if !matches!((first, self.act), (b'n', _) | (b'f', Act::Error)) {
            self.note_misplaced();
        } else if self.act == Act::Enter(super::Node::Usage) && self.depth == 1 {
            self.event.usage = false;
        }
    }

    fn keeps_scalar(&self) -> bool {
        matches!(self.act, Act::Count(_) | Act::Index | Act::Sequence | Act::Created | Act::Duration)
    }

    /// Reads on in the number or word in hand, from `at`; says where to go on.
    pub(super) fn scalar(&mut self, bytes: &[u8], at: usize) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if self.keeps_scalar() {
            self.word.push(part);
        }
        let next = at + part.len();
        if end.is_some() {
            self.end_scalar(next);
        }
        next
    }

    fn end_scalar(&mut self, at: usize) {
        match (self.act, self.word.get()) {
            (Act::Count(field), Some(text)) => self.counts.set_scalar(field, text),
            (Act::Duration, text) => self.found.note_millis(text.map_or(0, duration)),
            (Act::Count(_), None) => self.counts.note(Anomaly::TooLarge),
            (Act::Index, text) => self.choice.index = text.and_then(leading_digits).unwrap_or(0),
            (Act::Created, text) => self.found.created = self.found.created.or(text.and_then(leading_digits)),
            (Act::Sequence, text) => {
                if let Some(number) = text.and_then(sequence) {
                    self.found.sequence = Some(number);
                    self.mark(Varying::Sequence, self.mark_start, self.position(at));
                }
            }
            _ => {}
        }
        self.end_value();
    }
}

/// The number that `text` is, if it is nothing but digits and not too many.
pub(crate) fn sequence(text: &[u8]) -> Option<u64> {
    let is_number = (1..=SEQUENCE_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| text.iter().fold(0, |sum: u64, &digit| sum.wrapping_mul(10).wrapping_add((digit - b'0').into())))
}

/// The whole part of a number such as `1790000008.5`.
fn leading_digits(text: &[u8]) -> Option<u64> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    sequence(text.get(..length)?)
}

/// Seconds as milliseconds; 0 if it is no number.
pub(super) fn duration(text: &[u8]) -> u64 {
    let mut counts = Counts::default();
    counts.set_scalar(Field::Seconds, text);
    counts.settle().details.audio_millis
}
