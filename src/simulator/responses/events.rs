//! Streams a response: makes each event when it is due, with its name and its number.
//!
//! Must not know when that is, nor how the stream is cut. The order of events is that of OpenAI's API reference,
//! "Responses, streaming events"; the stream ends after the last one, without `[DONE]`.

use super::super::faults::{Behaviour, Ending, ErrorEvent};
use super::super::framing;
use super::{Draft, Object, Output, Part, Progress};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// The events of one streamed response.
pub(super) struct Events {
    draft: Draft,
    item_id: String,
    burst: usize,
    /// After so many tokens this error ends the stream.
    error_after: Option<(usize, ErrorEvent)>,
    sequence_number: u64,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Created,
    InProgress,
    ItemAdded,
    PartAdded,
    Tokens { from: usize },
    TextDone,
    PartDone,
    ItemDone,
    End,
    Done,
    Over,
}

#[derive(Serialize)]
struct Event<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct OfResponse<'a> {
    response: Object<'a>,
}

#[derive(Serialize)]
struct OfItem<'a> {
    output_index: u32,
    item: Output<'a>,
}

#[derive(Serialize)]
struct InItem<'a, T> {
    item_id: &'a str,
    output_index: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct OfPart<'a> {
    content_index: u32,
    part: Part<'a>,
}

#[derive(Serialize)]
struct TextDelta<'a> {
    content_index: u32,
    delta: &'a str,
    logprobs: [(); 0],
}

#[derive(Serialize)]
struct TextDone<'a> {
    content_index: u32,
    text: &'a str,
    logprobs: [(); 0],
}

#[derive(Serialize)]
struct ArgumentsDelta<'a> {
    delta: &'a str,
}

#[derive(Serialize)]
struct ArgumentsDone<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Failure {
    code: Value,
    message: String,
    param: (),
}

impl Events {
    /// The stream of what `draft` says.
    pub(super) fn new(draft: Draft, behaviour: &Behaviour) -> Self {
        Events {
            item_id: draft.item_id(),
            burst: behaviour.burst.max(1) as usize,
            error_after: match behaviour.ending {
                Ending::ErrorEvent(kind) => Some((draft.answer.tokens() / 2, kind)),
                _ => None,
            },
            sequence_number: 0,
            step: Step::Created,
            draft,
        }
    }

    fn of_response(&self, kind: &'static str, progress: Progress) -> Bytes {
        self.event(kind, OfResponse { response: self.draft.object(progress, &self.item_id) })
    }

    fn of_item(&self, kind: &'static str, progress: Progress) -> Bytes {
        self.event(kind, OfItem { output_index: 0, item: self.draft.output(progress, &self.item_id) })
    }

    fn of_part(&self, kind: &'static str, text: &str) -> Bytes {
        self.in_item(kind, OfPart { content_index: 0, part: Part::new(text) })
    }

    fn delta(&self, from: usize, to: usize) -> Bytes {
        let delta = self.draft.answer.piece(from..to);
        match self.draft.answer.call {
            Some(_) => self.in_item("response.function_call_arguments.delta", ArgumentsDelta { delta }),
            None => self.in_item("response.output_text.delta", TextDelta { content_index: 0, delta, logprobs: [] }),
        }
    }

    fn text_done(&self) -> Bytes {
        let text = self.draft.answer.text.as_str();
        match self.draft.answer.call.as_deref() {
            Some(name) => {
                self.in_item("response.function_call_arguments.done", ArgumentsDone { name, arguments: text })
            }
            None => self.in_item("response.output_text.done", TextDone { content_index: 0, text, logprobs: [] }),
        }
    }

    fn in_item<T: Serialize>(&self, kind: &'static str, body: T) -> Bytes {
        self.event(kind, InItem { item_id: &self.item_id, output_index: 0, body })
    }

    fn event<T: Serialize>(&self, kind: &'static str, body: T) -> Bytes {
        framing::named(kind, &Event { kind, sequence_number: self.sequence_number, body })
    }

    /// The step after the tokens up to `to` are said.
    fn after(&self, to: usize) -> Step {
        if to >= self.draft.answer.tokens() { Step::TextDone } else { Step::Tokens { from: to } }
    }

    fn end(&self) -> Bytes {
        let kind = match self.draft.status(Progress::Ended) {
            "incomplete" => "response.incomplete",
            _ => "response.completed",
        };
        self.of_response(kind, Progress::Ended)
    }

    /// The error, and what comes after it.
    fn failure(&self, kind: ErrorEvent) -> (Bytes, Step) {
        if kind == ErrorEvent::Failed {
            return (self.of_response("response.failed", Progress::Failed), Step::Over);
        }
        let super::Failure { code, message } = super::Failure::new(&self.draft.behaviour);
        let (code, next) = match kind {
            ErrorEvent::ThenDone => (Value::from(StatusCode::INTERNAL_SERVER_ERROR.as_u16()), Step::Done),
            _ => (Value::from(code), Step::Over),
        };
        (self.event("error", Failure { code, message, param: () }), next)
    }

    fn take_step(&self) -> Option<(Bytes, Step)> {
        let is_text = self.draft.answer.call.is_none();
        let said = match self.step {
            Step::Tokens { from } => Some(from),
            Step::TextDone => Some(self.draft.answer.tokens()),
            _ => None,
        };
        if let (Some((after, kind)), Some(said)) = (self.error_after, said)
            && said >= after
        {
            return Some(self.failure(kind));
        }
        Some(match self.step {
            Step::Created => (self.of_response("response.created", Progress::Begun), Step::InProgress),
            Step::InProgress => (self.of_response("response.in_progress", Progress::Begun), Step::ItemAdded),
            Step::ItemAdded => {
                let next = if is_text { Step::PartAdded } else { self.after(0) };
                (self.of_item("response.output_item.added", Progress::Begun), next)
            }
            Step::PartAdded => (self.of_part("response.content_part.added", ""), self.after(0)),
            Step::Tokens { from } => {
                let to = from.saturating_add(self.burst).min(self.draft.answer.tokens());
                (self.delta(from, to), self.after(to))
            }
            Step::TextDone => (self.text_done(), if is_text { Step::PartDone } else { Step::ItemDone }),
            Step::PartDone => (self.of_part("response.content_part.done", &self.draft.answer.text), Step::ItemDone),
            Step::ItemDone => (self.of_item("response.output_item.done", Progress::Ended), Step::End),
            Step::End => (self.end(), Step::Over),
            Step::Done => (Bytes::from_static(framing::DONE), Step::Over),
            Step::Over => return None,
        })
    }
}

impl Iterator for Events {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (event, next) = self.take_step()?;
        self.step = next;
        self.sequence_number += 1;
        Some(event)
    }
}
