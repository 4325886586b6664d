//! Takes the chunk with the usage and no choices out of a stream, with its framing, and lets all else pass.
//!
//! It holds back only an unfinished event that may still become that chunk. Must not know why it is taken out.

use bytes::Bytes;
use smallvec::SmallVec;

use super::events::{EventEnd, Events};
use super::scan::Passed;

/// The most of an unfinished event that is held back, in bytes; a longer one passes, whatever it is.
pub(super) const MOST_HELD: usize = 1 << 20;

/// What becomes of the event in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may have to be taken out: it is held back where it is unfinished.
    Undecided,
    /// Some of it has passed, so all of it does.
    Passes,
}

/// The bytes held back of one stream.
#[derive(Debug)]
pub(super) struct Strip {
    held: Vec<u8>,
    fate: Fate,
    /// The event before the one in hand was taken out.
    removed_last: bool,
    pub(super) gave_up: bool,
}

/// What passes of the frame in hand.
struct Passing {
    frame: Bytes,
    parts: SmallVec<[Bytes; 4]>,
    /// The first byte of the frame that is neither passed nor dropped.
    from: usize,
}

impl Passing {
    fn pass_to(&mut self, end: usize) {
        if end > self.from {
            self.parts.push(self.frame.slice(self.from..end));
        }
        self.from = self.from.max(end);
    }

    fn drop_to(&mut self, end: usize) {
        self.from = self.from.max(end);
    }

    fn finish(mut self) -> Passed {
        if self.from == 0 && self.parts.is_empty() {
            return Passed::Whole(self.frame);
        }
        self.pass_to(self.frame.len());
        match self.parts.len() {
            0 => Passed::Nothing,
            _ => Passed::Parts(self.parts),
        }
    }
}

impl Strip {
    pub(super) fn new() -> Strip {
        Strip { held: Vec::new(), fate: Fate::Undecided, removed_last: false, gave_up: false }
    }

    pub(super) fn feed(&mut self, events: &mut Events, frame: Bytes) -> Passed {
        let bytes = frame.clone();
        let mut passing = Passing { frame, parts: SmallVec::new(), from: 0 };
        let mut at = events.begin_frame(&bytes);
        if self.removed_last && events.is_between() {
            passing.drop_to(at);
        }
        while let Some(event) = events.next(&bytes, at) {
            at = event.end;
            self.end_event(event, &mut passing);
        }
        if !events.is_between() {
            self.unfinished(events, &mut passing);
        }
        passing.finish()
    }

    fn end_event(&mut self, event: EventEnd, passing: &mut Passing) {
        self.removed_last = event.is_usage_chunk && self.fate == Fate::Undecided;
        self.fate = Fate::Undecided;
        if self.removed_last {
            self.held = Vec::new();
            passing.pass_to(event.start.unwrap_or(0));
            passing.drop_to(event.end);
        } else {
            self.release(passing);
        }
    }

    /// What was held back goes first; it is of an event that began in an earlier frame.
    fn release(&mut self, passing: &mut Passing) {
        if !self.held.is_empty() {
            passing.parts.push(Bytes::from(std::mem::take(&mut self.held)));
        }
    }

    fn unfinished(&mut self, events: &Events, passing: &mut Passing) {
        if self.fate == Fate::Passes {
            return;
        }
        let start = events.unfinished_from().unwrap_or(passing.from);
        let rest = passing.frame.get(start..).unwrap_or_default();
        let is_too_long = self.held.len().saturating_add(rest.len()) > MOST_HELD;
        if is_too_long || !events.may_be_usage_chunk() {
            self.gave_up |= is_too_long && events.may_be_usage_chunk();
            self.fate = Fate::Passes;
            self.release(passing);
            return;
        }
        self.held.extend_from_slice(rest);
        passing.pass_to(start);
        passing.drop_to(passing.frame.len());
    }

    /// Whether some of the event in hand has passed.
    pub(super) fn has_passed_some(&self) -> bool {
        self.fate == Fate::Passes
    }

    /// The stream is over: what was held back, unless it is the chunk that must go.
    pub(super) fn finish(&mut self, events: &Events) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() || events.is_usage_chunk() {
            return None;
        }
        self.fate = Fate::Passes;
        Some(Bytes::from(held))
    }
}
