//! Reads along in one streamed answer: what it used, how much text it brought, where it stands, how it ended.
//!
//! Every frame goes on as it came, save for the usage chunk that only we asked for. Must not know where frames come from
//! or go to. Keeps no bytes but those that [`UsageChunk::TakeOut`] holds back, one short word, and the event before.

use bytes::Bytes;
use smallvec::SmallVec;

use super::events::Events;
use super::strip::Strip;
use crate::usage::{Anomalies, Details, Dialect, Tier, Usage};

/// Whether the chunk with empty `choices` and the usage is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageChunk {
    /// The client asked for it, or nobody did: all bytes pass.
    Keep,
    /// Only we asked for it: it is taken out. Of no effect in dialects that have no such chunk.
    TakeOut,
}

/// What of a frame goes on to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The frame, as it came.
    Whole(Bytes),
    /// These pieces, in this order; at least one, none of them empty.
    Parts(SmallVec<[Bytes; 4]>),
    /// Nothing yet, or nothing at all.
    Nothing,
}

/// Where the stream stands, at the point up to which bytes were passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Between two events: an event of ours may follow.
    Between,
    /// Inside an event: anything but its rest would spoil it.
    Inside,
}

/// Whether, and how, the upstream said that the answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did not.
    Open,
    /// `data: [DONE]`
    Done,
    /// The last event of a typed stream: `response.completed`, `.incomplete`, `.failed`, `.cancelled`, `error`,
    /// `image_generation.completed`, `image_edit.completed`, `speech.audio.done`, `transcript.text.done`.
    Terminal,
    /// An event with an `error` that is not null; it stays so, even if `[DONE]` follows.
    ErrorEvent,
}

/// The scanner of one streamed answer.
#[derive(Debug)]
pub struct Scanner {
    events: Events,
    strip: Option<Strip>,
}

impl Scanner {
    /// A scanner for one answer.
    #[must_use]
    pub fn new(dialect: Dialect, usage_chunk: UsageChunk) -> Scanner {
        let takes_out = usage_chunk == UsageChunk::TakeOut && dialect.has_usage_chunk();
        Scanner { events: Events::new(dialect), strip: takes_out.then(Strip::new) }
    }

    /// Reads the next frame; says what of it, and of what was held back before, goes on.
    pub fn feed(&mut self, frame: Bytes) -> Passed {
        if let Some(strip) = &mut self.strip {
            return strip.feed(&mut self.events, frame);
        }
        self.read(&frame);
        Passed::Whole(frame)
    }

    /// Reads the next frame of a stream of which another copy goes on, so that nothing can be taken out.
    pub fn read(&mut self, frame: &[u8]) {
        let mut at = self.events.begin_frame(frame);
        while let Some(event) = self.events.next(frame, at) {
            at = event.end;
        }
    }

    /// Call when the upstream's stream ended by itself: what was held back and must still go on.
    ///
    /// When it broke instead, leave what is held back unsent: the stream then stands between two events if
    /// [`Scanner::boundary`] says so, and [`failed`](super::ending::failed) may follow.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.strip.as_mut()?.finish(&self.events)
    }

    /// The last usage so far that was not null and not all zero.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.events.walk.found.used()
    }

    /// What the answer said besides, the number of its images included; nothing if all is zero.
    #[must_use]
    pub fn details(&self) -> Option<Details> {
        self.events.walk.found.all_details()
    }

    /// The service tier that the answer named last.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.events.walk.found.tier
    }

    /// Decoded bytes of generated text so far: content, reasoning, refusals, names and arguments of tool calls; not
    /// padding. Text of an unfinished event counts.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        self.events.walk.text_bytes()
    }

    /// Complete events that carried data, `[DONE]` not among them.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.count
    }

    /// Where the stream stands, as the client sees it.
    #[must_use]
    pub fn boundary(&self) -> Boundary {
        let holds_all = self.strip.as_ref().is_some_and(|strip| !strip.has_passed_some());
        if self.events.is_between() || holds_all { Boundary::Between } else { Boundary::Inside }
    }

    /// Whether the upstream said that the answer is over.
    #[must_use]
    pub fn ended(&self) -> Ended {
        self.events.ended
    }

    /// Whether every choice that was seen was given a `finish_reason` (chat and completions): then the answer is whole,
    /// also where the upstream never says `[DONE]`. Always false for Responses, whose last event says so itself.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.events.walk.found.progress.is_finished()
    }

    /// Whether the upstream told of a failure inside the stream: an error event, `response.failed`, `error`.
    #[must_use]
    pub fn told_failure(&self) -> bool {
        self.events.walk.found.failure
    }

    /// The last `sequence_number` of a Responses stream.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        self.events.walk.found.sequence
    }

    /// The id of the response in a Responses stream; none if it is longer than 256 bytes.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.events.walk.found.id.as_deref()
    }

    /// When the response of a Responses stream was created, in Unix seconds.
    #[must_use]
    pub fn response_created_at(&self) -> Option<u64> {
        self.events.walk.found.created
    }

    /// The model that answers: the first `model` that is not empty, at most 128 bytes of it.
    #[must_use]
    pub fn served_model(&self) -> Option<&str> {
        self.events.walk.found.model.as_deref()
    }

    /// What was wrong with the usage reported.
    #[must_use]
    pub fn anomalies(&self) -> Anomalies {
        self.events.walk.found.anomalies
    }

    /// Whether an event that might have been the chunk to take out grew past 1 MiB, so that it passed unjudged.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.strip.as_ref().is_some_and(|strip| strip.gave_up)
    }
}

#[cfg(test)]
pub(crate) mod tests;
