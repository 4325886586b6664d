//! Reads the strings of an answer: counts generated text in decoded bytes, keeps short words, skips the rest fast.
//!
//! Must not know where a string stands; the walk says what its content is for.

use memchr::memchr2;

use crate::usage::Tier;

use super::number::duration;
use super::{Act, Anomaly, Kind, MODEL, Sink, State, Varying, WORD, Walk};

/// Where in an escape sequence the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    /// After the backslash.
    Backslash,
    /// Inside `\uXXXX`: how many digits are to come, and what the others say.
    Unicode {
        left: u8,
        code: u16,
    },
}

impl Walk {
    /// The opening quote of a value was at `at`.
    pub(super) fn begin_string(&mut self, at: usize) {
        self.is_key = false;
        self.state = State::Str;
        self.mark_start = self.position(at).saturating_add(1);
        self.sink = match self.act {
            Act::Text | Act::WholeText | Act::Delta | Act::TextOrBlocks => Sink::Count,
            Act::Count(_) | Act::Kind | Act::Tier | Act::Duration => Sink::Word,
            Act::Model if self.found.model.is_none() => Sink::Word,
            Act::Id if self.found.id.is_none() => Sink::Word,
            _ => {
                self.note_misplaced();
                Sink::Skip
            }
        };
        if self.sink == Sink::Word {
            self.word.clear();
        }
    }

    /// Reads on in the string in hand, from `at`; says where to go on.
    pub(super) fn string(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.escape != Escape::None {
                self.escaped(rest.first().copied().unwrap_or_default());
                at += 1;
                if self.state == State::Lost {
                    return at;
                }
                continue;
            }
            let Some(run) = memchr2(b'"', b'\\', rest) else {
                self.take(rest);
                return bytes.len();
            };
            self.take(rest.get(..run).unwrap_or_default());
            at += run + 1;
            if rest.get(run) == Some(&b'"') {
                self.end_string(at - 1);
                return at;
            }
            self.escape = Escape::Backslash;
        }
        at
    }

    fn escaped(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            // What is skipped need not be understood: the digits that follow hold no quote.
            (Escape::Backslash, b'u') if self.sink != Sink::Skip => Escape::Unicode { left: 4, code: 0 },
            (Escape::Unicode { left, code }, _) => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    self.state = State::Lost;
                    return;
                };
                let code = (code << 4) | digit as u16;
                if left > 1 {
                    Escape::Unicode { left: left - 1, code }
                } else {
                    self.take_code(code);
                    Escape::None
                }
            }
            _ => {
                self.take(&[unescaped(byte)]);
                Escape::None
            }
        };
    }

    fn take_code(&mut self, code: u16) {
        if self.sink == Sink::Count {
            self.count(encoded_width(code));
            return;
        }
        let mut buffer = [0; 4];
        let letter = char::from_u32(code.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
        let encoded = letter.encode_utf8(&mut buffer);
        self.word.push(encoded.as_bytes());
    }

    fn take(&mut self, run: &[u8]) {
        match self.sink {
            Sink::Skip => {}
            Sink::Count => self.count(run.len() as u64),
            Sink::Word => self.word.push(run),
        }
    }

    fn count(&mut self, bytes: u64) {
        let sum = match self.act {
            Act::Delta => &mut self.event.delta,
            Act::WholeText => &mut self.found.whole_text,
            _ => &mut self.found.text,
        };
        *sum = sum.saturating_add(bytes);
    }

    /// The closing quote was at `at`.
    fn end_string(&mut self, at: usize) {
        if self.tree > 0 {
            self.state = State::Tree;
            return;
        }
        if self.is_key {
            self.end_key();
            return;
        }
        let varying = match self.act {
            Act::Text | Act::TextOrBlocks => Some(Varying::Text),
            Act::Delta => Some(Varying::Delta),
            Act::Pad => Some(Varying::Pad),
            _ => None,
        };
        match varying {
            Some(what) => self.mark(what, self.mark_start, self.position(at)),
            None if self.sink == Sink::Word => self.end_word(),
            None if self.act == Act::WholeText => self.mark_none(),
            None if self.act == Act::Finish => self.choice.finished |= self.position(at) > self.mark_start,
            None => {}
        }
        self.end_value();
    }

    fn end_key(&mut self) {
        self.is_key = false;
        self.act = match (self.top(), self.word.get()) {
            (Some(node), Some(key)) => node.member(key),
            _ => Act::Skip,
        };
        self.state = State::Colon;
    }

    fn end_word(&mut self) {
        let word = self.word.get();
        match self.act {
            Act::Kind => self.event.kind = word.map_or(Kind::Other, kind),
            Act::Model => self.found.model = self.word.start(MODEL),
            Act::Tier => {
                let tier = word.and_then(Tier::new).or(self.found.tier);
                self.event.tier_changed |= tier != self.found.tier;
                self.found.tier = tier;
            }
            Act::Id => self.found.id = word.and_then(|_| self.word.start(WORD)),
            // Older servers wrote it as a string.
            Act::Duration => self.found.note_millis(word.map_or(0, duration)),
            Act::Count(field) => match word {
                Some(word) => self.counts.set_string(field, word),
                None => self.counts.note(Anomaly::WrongType),
            },
            _ => {}
        }
    }
}

/// The next quote or bracket of either kind at or after `from`.
pub(super) fn bracket_or_quote(bytes: &[u8], from: usize) -> Option<usize> {
    /// As many bytes as the compiler looks at in one go.
    const STRIDE: usize = 64;
    let mut at = from;
    let mut chunks = bytes.get(from..)?.chunks_exact(STRIDE);
    // A fold without an early end is what becomes vector instructions.
    for chunk in chunks.by_ref() {
        if chunk.iter().fold(false, |found, &byte| found | is_bracket_or_quote(byte)) {
            break;
        }
        at += STRIDE;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| is_bracket_or_quote(byte)).map(|offset| at + offset)
}

fn is_bracket_or_quote(byte: u8) -> bool {
    // Square and curly brackets differ in one bit.
    let curly = byte | 0x20;
    (byte == b'"') | (curly == b'{') | (curly == b'}')
}

/// Bytes of UTF-8 that one escaped unit stands for. Half of a surrogate pair counts 2, so that a pair counts the 4 that
/// it is, also when its halves come in two events.
pub(crate) fn encoded_width(code: u16) -> u64 {
    match code {
        0..=0x7f => 1,
        0x80..=0x7ff | 0xd800..=0xdfff => 2,
        _ => 3,
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        byte => byte,
    }
}

fn kind(word: &[u8]) -> Kind {
    match word {
        b"response.completed"
        | b"response.incomplete"
        | b"response.cancelled"
        | b"speech.audio.done"
        | b"transcript.text.done" => Kind::Ended,
        b"image_generation.completed" | b"image_edit.completed" => Kind::Drawn,
        b"response.failed" | b"error" => Kind::Failed,
        b"response.audio.delta" | b"speech.audio.delta" => Kind::Audio,
        _ => Kind::Other,
    }
}
