//! Finds the events of a stream and the JSON in them, however the bytes are cut into frames.
//!
//! Line ends, field names and blank lines are those of the HTML standard, section 9.2.6 (server-sent events). Must not
//! hold bytes back or change any: it looks on, and says where events end.

use memchr::memchr2;

use super::scan::Ended;
use super::template::Template;
use crate::usage::Dialect;
use crate::usage::walk::{Choices, Kind, Walk};

const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";
const DONE: &[u8] = b"[DONE]";

/// The events of one stream.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) walk: Walk,
    template: Template,
    line: Line,
    /// The last byte was a CR: a line feed after it belongs to the same line end.
    after_cr: bool,
    event: Event,
    pub(super) count: u64,
    pub(super) ended: Ended,
}

/// Where in a line the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At the start of the stream, after so many bytes of a byte order mark.
    Bom(usize),
    Start,
    /// In the field's name, which is the start of `data` so far.
    Name(usize),
    /// After `data:`.
    Space,
    Data,
    /// In a comment or a field that says nothing to us.
    Other,
}

/// The event in hand.
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    /// Some byte of it was seen.
    begun: bool,
    /// Its first byte is at this place of the frame in hand; none if it began before.
    start: Option<usize>,
    /// The first byte of its data, likewise.
    data: Option<usize>,
    data_lines: u64,
    /// It has data that is not empty.
    has_data: bool,
    /// How many bytes of `[DONE]` its data began with; none once it differs.
    done: Option<usize>,
    /// What its data says about the stream was taken in.
    judged: bool,
    /// Its first bytes are no part of it.
    torn: bool,
}

impl Event {
    fn new() -> Event {
        Event { done: Some(0), ..Event::default() }
    }
}

/// The end of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventEnd {
    /// Where it began in the frame in hand; none if it began in an earlier one.
    pub(super) start: Option<usize>,
    /// The byte after its blank line.
    pub(super) end: usize,
    pub(super) is_usage_chunk: bool,
}

impl Events {
    pub(super) fn new(dialect: Dialect) -> Events {
        Events {
            walk: Walk::new(dialect.event()),
            template: Template::default(),
            line: Line::Bom(0),
            after_cr: false,
            event: Event::new(),
            count: 0,
            ended: Ended::Open,
        }
    }

    /// Must be called once for each frame, before [`Events::next`]. Says how many of its first bytes (0 or 1) still belong
    /// to the line before; and to the event before, if the stream stands between two.
    pub(super) fn begin_frame(&mut self, frame: &[u8]) -> usize {
        self.event.start = None;
        self.event.data = None;
        if !self.after_cr || frame.is_empty() {
            return 0;
        }
        self.after_cr = false;
        usize::from(frame.first() == Some(&b'\n'))
    }

    /// Whether the stream stands between two events.
    pub(super) fn is_between(&self) -> bool {
        !self.event.begun
    }

    /// Where in the frame in hand the unfinished event begins; none if it began in an earlier one, or there is none.
    pub(super) fn unfinished_from(&self) -> Option<usize> {
        self.event.start.filter(|_| self.event.begun)
    }

    /// Whether the unfinished event, as far as it came, may be the chunk with the usage and no choices.
    pub(super) fn may_be_usage_chunk(&self) -> bool {
        !self.event.torn && self.walk.may_be_usage_chunk()
    }

    /// Whether the data of the unfinished event is complete and is the chunk with the usage and no choices.
    pub(super) fn is_usage_chunk(&self) -> bool {
        !self.event.torn && self.walk.is_closed() && self.walk.may_be_usage_chunk()
    }

    /// Reads on in `frame` from `at`, to the end of an event; none at the end of the frame.
    pub(super) fn next(&mut self, frame: &[u8], mut at: usize) -> Option<EventEnd> {
        while let Some(&byte) = frame.get(at) {
            at = match self.line {
                Line::Bom(seen) => self.bom(seen, byte, at),
                Line::Start if byte == b'\n' || byte == b'\r' => {
                    self.event.start = self.event.start.or((!self.event.begun).then_some(at));
                    return Some(self.end_event(frame, at));
                }
                Line::Start => {
                    if let Some(end) = self.begin_line(frame, at) {
                        return Some(end);
                    }
                    at
                }
                Line::Name(seen) => self.name(seen, frame, at),
                Line::Space => self.begin_data(byte, at),
                Line::Data | Line::Other => self.rest_of_line(frame, at),
            };
        }
        None
    }

    fn bom(&mut self, seen: usize, byte: u8, at: usize) -> usize {
        if BOM.get(seen) == Some(&byte) {
            self.line = if seen + 1 == BOM.len() { Line::Start } else { Line::Bom(seen + 1) };
            return at + 1;
        }
        if seen == 0 {
            self.line = Line::Start;
            return at;
        }
        // Part of a mark begins a line that means nothing; its first bytes are gone already.
        self.line = Line::Other;
        self.event.begun = true;
        self.event.torn = true;
        at
    }

    /// A line that is not blank begins. If it begins an event like the one before, that is read at once.
    fn begin_line(&mut self, frame: &[u8], at: usize) -> Option<EventEnd> {
        self.line = Line::Name(0);
        if self.event.begun {
            return None;
        }
        if let Some(length) = self.template.read(frame.get(at..)?, &mut self.walk.found) {
            self.line = Line::Start;
            self.count = self.count.saturating_add(1);
            return Some(EventEnd { start: Some(at), end: at + length, is_usage_chunk: false });
        }
        self.event.begun = true;
        self.event.start = Some(at);
        None
    }

    fn name(&mut self, seen: usize, frame: &[u8], at: usize) -> usize {
        if seen == 0 && frame.get(at..).is_some_and(|rest| rest.starts_with(b"data:")) {
            self.line = Line::Space;
            return at + DATA.len() + 1;
        }
        let byte = frame.get(at).copied();
        if byte.is_some() && byte == DATA.get(seen).copied() {
            self.line = Line::Name(seen + 1);
            return at + 1;
        }
        if seen == DATA.len() && byte == Some(b':') {
            self.line = Line::Space;
            return at + 1;
        }
        self.line = Line::Other;
        at
    }

    fn begin_data(&mut self, byte: u8, at: usize) -> usize {
        self.line = Line::Data;
        // Lines of data are joined by a line feed, which says nothing between the words of JSON.
        if self.event.data_lines > 0 {
            self.walk.feed(b"\n");
        }
        self.event.data_lines = self.event.data_lines.saturating_add(1);
        let start = at + usize::from(byte == b' ');
        self.event.data = Some(start);
        start
    }

    fn rest_of_line(&mut self, frame: &[u8], at: usize) -> usize {
        let rest = frame.get(at..).unwrap_or_default();
        let line_end = memchr2(b'\n', b'\r', rest);
        let part = rest.get(..line_end.unwrap_or(rest.len())).unwrap_or_default();
        if self.line == Line::Data {
            self.data(part);
        }
        let end = at + part.len();
        match line_end {
            Some(_) => self.end_line(frame, end),
            None => end,
        }
    }

    /// A line end begins at `at`; it ends at the place returned.
    fn end_line(&mut self, frame: &[u8], at: usize) -> usize {
        self.line = Line::Start;
        let next = at + 1;
        if frame.get(at) != Some(&b'\r') {
            return next;
        }
        match frame.get(next) {
            Some(b'\n') => next + 1,
            Some(_) => next,
            None => {
                self.after_cr = true;
                next
            }
        }
    }

    fn data(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        self.event.has_data = true;
        self.walk.feed(part);
        self.match_done(part);
        if !self.event.judged {
            self.judge();
        }
    }

    fn match_done(&mut self, part: &[u8]) {
        let Some(seen) = self.event.done.filter(|&seen| seen < DONE.len() && self.event.data_lines == 1) else {
            return;
        };
        let due = DONE.get(seen..).unwrap_or_default();
        let length = due.len().min(part.len());
        self.event.done = (due.get(..length) == part.get(..length)).then_some(seen + length);
    }

    fn is_done(&self) -> bool {
        self.event.done == Some(DONE.len())
    }

    #[cfg(test)]
    pub(super) fn read_by_template(&mut self, event: &[u8]) -> Option<usize> {
        self.template.read(event, &mut self.walk.found)
    }

    /// Takes in what the event says about the stream, as soon as it is complete. An error stays, whatever comes after.
    fn judge(&mut self) {
        let says = match self.walk.event.kind {
            _ if self.is_done() => Ended::Done,
            _ if !self.walk.is_closed() => return,
            Kind::Ended | Kind::Drawn | Kind::Failed => Ended::Terminal,
            _ if self.walk.event.error => Ended::ErrorEvent,
            _ => Ended::Open,
        };
        self.event.judged = true;
        if says != Ended::Open && self.ended != Ended::ErrorEvent {
            self.ended = says;
        }
    }

    /// A blank line is at `at`.
    fn end_event(&mut self, frame: &[u8], at: usize) -> EventEnd {
        let end = self.end_line(frame, at);
        let event = EventEnd { start: self.event.start, end, is_usage_chunk: self.is_usage_chunk() };
        if self.event.has_data && !self.is_done() {
            self.count = self.count.saturating_add(1);
        }
        self.remember(frame, event);
        self.walk.restart();
        self.event = Event::new();
        event
    }

    /// Makes the event the template for the next, if it left nothing behind but what stands at its varying places.
    fn remember(&mut self, frame: &[u8], event: EventEnd) {
        let found = self.walk.event;
        if found.tier_changed {
            // An event like the one before would change it back unseen.
            self.template.forget();
        }
        let is_plain = self.walk.is_closed()
            && self.event.data_lines == 1
            && !self.is_done()
            && !found.usage_anywhere
            && !found.error
            && found.kind != Kind::Ended
            && found.kind != Kind::Drawn
            && found.kind != Kind::Failed
            && found.choices != Choices::Empty;
        if !is_plain {
            return;
        }
        let (Some(start), Some(data), Some(marks)) = (event.start, self.event.data, self.walk.marks()) else { return };
        if let Some(bytes) = frame.get(start..event.end) {
            self.template.remember(bytes, data.saturating_sub(start), marks, found.has_text_delta());
        }
    }
}
