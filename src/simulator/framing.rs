//! Writes events down, and as the model's name asks: padded, commented, in two lines, with CR LF, in odd pieces.
//!
//! Must not know what an event says. Where nothing is asked for, nothing is touched.

use super::body::EventSource;
use super::faults::{Behaviour, Framing, Spice};
use super::text::{HIGH_HALF, LOW_HALF};
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde::Serialize;

/// The event that ends a stream in the older dialects.
pub(super) const DONE: &[u8] = b"data: [DONE]\n\n";
const COMMENT: &[u8] = b": the simulator is still here\n\n";
const PADDING: &[u8] = b"Padding of this width was asked for by the model's name; read past it. ";

/// One `data:` event with `value` in it.
pub(super) fn data<T: Serialize>(value: &T) -> Bytes {
    let mut event = Vec::with_capacity(320);
    write_data(&mut event, value);
    event.into()
}

/// The same under a name of its own.
pub(super) fn named<T: Serialize>(name: &str, value: &T) -> Bytes {
    let mut event = Vec::with_capacity(320);
    event.extend_from_slice(b"event: ");
    event.extend_from_slice(name.as_bytes());
    event.push(b'\n');
    write_data(&mut event, value);
    event.into()
}

fn write_data<T: Serialize>(event: &mut Vec<u8>, value: &T) {
    event.extend_from_slice(b"data: ");
    // Writing into memory cannot fail, and the simulator's types hold nothing that JSON has no form for.
    let _ = serde_json::to_writer(&mut *event, value);
    event.extend_from_slice(b"\n\n");
}

/// An event around JSON that is written already.
pub(super) fn around(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}

/// The events of a stream, as `behaviour` has them written down.
pub(super) fn events(events: EventSource, behaviour: &Behaviour) -> EventSource {
    let (framing, spice) = (behaviour.framing, behaviour.spice);
    if framing == Framing::default() && spice != Spice::Emoji {
        return events;
    }
    let written = Written { events, held: None, framing, spice };
    match framing.pieces {
        0 => Box::new(written),
        size => Box::new(Pieces { events: Box::new(written), held: BytesMut::new(), size: size as usize }),
    }
}

/// A JSON answer, as `behaviour` has it written down.
pub(super) fn json(answer: Bytes, behaviour: &Behaviour) -> Bytes {
    let answer = if behaviour.spice == Spice::Emoji { halved(&answer).into() } else { answer };
    if behaviour.framing.blank_lines { [b"\n\n\n", &answer[..]].concat().into() } else { answer }
}

/// Events, each rewritten on its own.
struct Written {
    events: EventSource,
    /// The event before the one that was last asked for: only the last of all loses its blank line.
    held: Option<Bytes>,
    framing: Framing,
    spice: Spice,
}

impl Written {
    fn rewrite(&self, event: &Bytes) -> Bytes {
        let mut event = if self.spice == Spice::Emoji { halved(event) } else { event.to_vec() };
        if self.framing.padding > 0 {
            event = padded(event, self.framing.padding as usize);
        }
        if self.framing.two_lines {
            event = replaced(&event, b"data: {", b"data:{\ndata:", 1);
            event = replaced(&event, b"data: ", b"data:", 1);
        }
        if self.framing.comments {
            event = [COMMENT, &event].concat();
        }
        if self.framing.crlf {
            event = replaced(&event, b"\n", b"\r\n", usize::MAX);
        }
        event.into()
    }

    fn next_written(&mut self) -> Option<Bytes> {
        loop {
            let event = self.events.next()?;
            if !(self.framing.undone && event == DONE) {
                return Some(self.rewrite(&event));
            }
        }
    }
}

impl Iterator for Written {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if !self.framing.unended {
            return self.next_written();
        }
        let this = self.held.take().or_else(|| self.next_written())?;
        self.held = self.next_written();
        let line_end = if self.framing.crlf { 2 } else { 1 };
        let kept = if self.held.is_some() { this.len() } else { this.len().saturating_sub(line_end) };
        Some(this.slice(..kept))
    }
}

/// A stream in pieces of one size, the last one excepted.
struct Pieces {
    events: EventSource,
    held: BytesMut,
    size: usize,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.held.len() < self.size {
            match self.events.next() {
                Some(event) => self.held.extend_from_slice(&event),
                None if self.held.is_empty() => return None,
                None => return Some(self.held.split().freeze()),
            }
        }
        Some(self.held.split_to(self.size).freeze())
    }
}

/// The halves of emoji, as the escapes that JSON has for them (RFC 8259, section 7): alone at the ends of two events, or
/// side by side.
fn halved(text: &[u8]) -> Vec<u8> {
    let (mut high, mut low) = ([0; 4], [0; 4]);
    let text = replaced(text, HIGH_HALF.encode_utf8(&mut high).as_bytes(), br"\ud83d", usize::MAX);
    replaced(&text, LOW_HALF.encode_utf8(&mut low).as_bytes(), br"\ude80", usize::MAX)
}

/// An event whose JSON object has `obfuscation` as its last field, of so many bytes.
fn padded(mut event: Vec<u8>, width: usize) -> Vec<u8> {
    if !event.ends_with(b"}\n\n") {
        return event;
    }
    event.truncate(event.len() - 3);
    event.extend_from_slice(b",\"obfuscation\":\"");
    event.extend(PADDING.iter().cycle().take(width));
    event.extend_from_slice(b"\"}\n\n");
    event
}

/// `text` with the first `most` places that say `from` saying `to` instead.
fn replaced(text: &[u8], from: &[u8], to: &[u8], most: usize) -> Vec<u8> {
    let mut new = Vec::with_capacity(text.len() + to.len());
    let mut start = 0;
    for at in memmem::find_iter(text, from).take(most) {
        new.extend_from_slice(&text[start..at]);
        new.extend_from_slice(to);
        start = at + from.len();
    }
    new.extend_from_slice(&text[start..]);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(framing: Framing, all: &[&'static str]) -> Vec<String> {
        let behaviour = Behaviour { framing, ..Behaviour::default() };
        let source: Vec<Bytes> = all.iter().map(|event| Bytes::from_static(event.as_bytes())).collect();
        let source: EventSource = Box::new(source.into_iter());
        events(source, &behaviour).map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
    }

    const TWO: [&str; 2] = ["data: {\"a\":1}\n\n", "data: [DONE]\n\n"];

    #[test]
    fn each_way_of_writing_changes_what_it_says_and_no_more() {
        assert_eq!(written(Framing::default(), &TWO), TWO);
        assert_eq!(written(Framing { undone: true, ..Framing::default() }, &TWO), TWO[..1]);
        let crlf = written(Framing { crlf: true, ..Framing::default() }, &TWO);
        assert_eq!(crlf, ["data: {\"a\":1}\r\n\r\n", "data: [DONE]\r\n\r\n"]);
        let lines = written(Framing { two_lines: true, ..Framing::default() }, &TWO);
        assert_eq!(lines, ["data:{\ndata:\"a\":1}\n\n", "data:[DONE]\n\n"]);
        let unended = written(Framing { unended: true, undone: true, crlf: true, ..Framing::default() }, &TWO);
        assert_eq!(unended, ["data: {\"a\":1}\r\n"]);
        let comments = written(Framing { comments: true, ..Framing::default() }, &TWO);
        assert!(comments.iter().zip(TWO).all(|(new, old)| new.starts_with(": ") && new.ends_with(old)));
    }

    #[test]
    fn padding_has_the_width_asked_for_and_stays_json() {
        for width in [1, 70, 71, 100_000] {
            let padded = &written(Framing { padding: width, ..Framing::default() }, &TWO)[0];
            let json: serde_json::Value = serde_json::from_str(padded.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!((json["a"].as_u64(), json["obfuscation"].as_str().unwrap().len()), (Some(1), width as usize));
        }
    }

    #[test]
    fn pieces_have_one_size_and_put_together_are_the_stream() {
        for size in [1, 7, 15, 1000] {
            let pieces = written(Framing { pieces: size, ..Framing::default() }, &TWO);
            assert_eq!(pieces.concat(), TWO.concat());
            assert!(pieces.split_last().unwrap().1.iter().all(|piece| piece.len() == size as usize));
        }
    }
}
