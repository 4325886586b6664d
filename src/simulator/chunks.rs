//! Streams chat and completions: makes each `data:` event when it is due.
//!
//! Must not know when that is, nor how the stream is cut. Shapes: OpenAI's API reference, "chat.completion.chunk" and
//! "text_completion".

use super::answer::{self, Answer};
use super::failure;
use super::faults::{Behaviour, Ending, ErrorEvent, Filter, Reporting};
use super::framing::{self, data};
use super::usage::{Spent, Usage};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Which of the two dialects it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `chat/completions`
    Chat,
    /// `completions`
    Completions,
}

/// What an answer is called, in a stream or not.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `chatcmpl-…` or `cmpl-…`
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The model's name, as it was asked for.
    pub(super) model: String,
}

/// The function half of a tool call, whole or in part.
#[derive(Serialize)]
pub(super) struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) arguments: &'a str,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    system_fingerprint: &'static str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_groq: Option<Extension<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

#[derive(Serialize)]
struct Extension<'a> {
    id: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Chat { index: usize, delta: Delta<'a>, logprobs: (), finish_reason: Option<&'static str> },
    Completions { text: &'a str, index: usize, logprobs: (), finish_reason: Option<&'static str> },
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolDelta<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolDelta<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

/// The name of these builds; the same in every answer.
pub(super) const FINGERPRINT: &str = "fp_simulator";

/// The id of the tool call that is choice `index` of the answer `id`.
pub(super) fn call_id(id: &str, index: usize) -> String {
    format!("call_{}_{index}", id.rsplit('-').next().unwrap_or_default())
}

/// The events of one streamed answer.
pub(super) struct Chunks {
    dialect: Dialect,
    head: Head,
    answers: Vec<Answer>,
    input: u64,
    behaviour: Behaviour,
    usage: Telling,
    /// After so many tokens an error ends the stream.
    error_after: Option<u64>,
    emitted: u64,
    /// How much of `emitted` belongs to the choice at hand.
    of_choice: u64,
    step: Step,
    /// What comes before the next step: the error and what follows it.
    queue: VecDeque<Bytes>,
}

/// Where usage is told in this stream.
#[derive(Clone, Copy)]
struct Telling {
    /// On every chunk that has a choice.
    each: Option<Each>,
    /// On the finish of the last choice.
    on_finish: Option<OnFinish>,
    at_end: AtEnd,
}

#[derive(Clone, Copy)]
enum Each {
    Null,
    Zeros,
    SoFar,
    OfChoice,
}

#[derive(Clone, Copy)]
enum OnFinish {
    Usual,
    Extension,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// No chunk.
    Nothing,
    /// A chunk without choices, with the usage.
    Usage,
    /// A chunk without choices and without usage.
    Empty,
}

#[derive(Clone, Copy)]
enum Step {
    Prompt,
    Role(usize),
    Tokens { choice: usize, from: usize },
    Annotation(usize),
    Finish(usize),
    Usage,
    Done,
    Over,
}

impl Telling {
    /// `asked` is `stream_options.include_usage`.
    fn new(reporting: Reporting, asked: bool) -> Self {
        let at_end = if asked { AtEnd::Usage } else { AtEnd::Nothing };
        let (each, on_finish, at_end) = match reporting {
            Reporting::Standard if asked => (Some(Each::Null), None, at_end),
            Reporting::Standard => (None, None, at_end),
            Reporting::Never => (None, None, AtEnd::Nothing),
            Reporting::Null => (Some(Each::Null), None, AtEnd::Nothing),
            Reporting::Forced => (None, None, AtEnd::Usage),
            Reporting::EveryChunk => (Some(Each::SoFar), None, at_end),
            Reporting::PerChoice => (Some(Each::OfChoice), None, AtEnd::Usage),
            Reporting::ZeroUntilEnd if asked => (Some(Each::Zeros), None, at_end),
            Reporting::ZeroUntilEnd => (None, None, at_end),
            Reporting::OnFinish => (None, Some(OnFinish::Usual), AtEnd::Empty),
            Reporting::Extension => (None, Some(OnFinish::Extension), at_end),
        };
        Telling { each, on_finish, at_end }
    }
}

impl Chunks {
    /// The stream of `answers` to an input of `input` tokens; `usage_asked` is `stream_options.include_usage`.
    pub(super) fn new(
        dialect: Dialect,
        head: Head,
        answers: Vec<Answer>,
        input: u64,
        usage_asked: bool,
        behaviour: &Behaviour,
    ) -> Self {
        let fails = matches!(behaviour.ending, Ending::ErrorEvent(_));
        let mut chunks = Chunks {
            dialect,
            head,
            input,
            behaviour: *behaviour,
            usage: Telling::new(behaviour.reporting, usage_asked),
            error_after: fails.then(|| answer::total(&answers) / 2),
            answers,
            emitted: 0,
            of_choice: 0,
            step: Step::Prompt,
            queue: VecDeque::new(),
        };
        if !chunks.is_annotated() {
            chunks.step = chunks.begin(0);
        }
        chunks
    }

    /// Whether a filter says something beside the answer.
    fn is_annotated(&self) -> bool {
        matches!(self.behaviour.filter, Filter::Prompt | Filter::Late) && self.dialect == Dialect::Chat
    }

    fn begin(&self, choice: usize) -> Step {
        match self.dialect {
            _ if choice >= self.answers.len() && self.usage.at_end != AtEnd::Nothing => Step::Usage,
            _ if choice >= self.answers.len() => Step::Done,
            Dialect::Chat => Step::Role(choice),
            Dialect::Completions => Step::Tokens { choice, from: 0 },
        }
    }

    fn role(&mut self, index: usize) -> Bytes {
        let answer = &self.answers[index];
        let delta = match &answer.call {
            None => Delta { role: Some("assistant"), content: Some(Some("")), refusal: Some(()), ..Delta::default() },
            Some(name) => {
                let function = Function { name: Some(name), arguments: "" };
                let id = Some(call_id(&self.head.id, index));
                let call = ToolDelta { index: 0, id, kind: Some("function"), function };
                Delta { role: Some("assistant"), content: Some(None), tool_calls: Some([call]), ..Delta::default() }
            }
        };
        let event = self.event(index, Choice::Chat { index, delta, logprobs: (), finish_reason: None });
        self.step = Step::Tokens { choice: index, from: 0 };
        event
    }

    /// The next tokens of a choice, or its finish if there are none left.
    fn tokens(&mut self, index: usize, from: usize) -> Bytes {
        let all = self.answers[index].tokens();
        let to = from.saturating_add(self.behaviour.burst.max(1) as usize).min(all);
        if from >= to {
            return self.finish(index);
        }
        self.emitted = self.emitted.saturating_add((to - from) as u64);
        self.of_choice = to as u64;
        let answer = &self.answers[index];
        let piece = answer.piece(from..to);
        let choice = match self.dialect {
            Dialect::Completions => Choice::Completions { text: piece, index, logprobs: (), finish_reason: None },
            Dialect::Chat => {
                let delta = match &answer.call {
                    None => Delta { content: Some(Some(piece)), ..Delta::default() },
                    Some(_) => {
                        let function = Function { name: None, arguments: piece };
                        let call = ToolDelta { index: 0, id: None, kind: None, function };
                        Delta { tool_calls: Some([call]), ..Delta::default() }
                    }
                };
                Choice::Chat { index, delta, logprobs: (), finish_reason: None }
            }
        };
        let event = self.event(index, choice);
        self.step = match self.behaviour.filter {
            _ if to < all => Step::Tokens { choice: index, from: to },
            Filter::Late if self.is_annotated() => Step::Annotation(index),
            _ => Step::Finish(index),
        };
        event
    }

    fn finish(&mut self, index: usize) -> Bytes {
        let finish_reason = Some(self.answers[index].finish.as_str());
        let choice = match self.dialect {
            Dialect::Chat => Choice::Chat { index, delta: Delta::default(), logprobs: (), finish_reason },
            Dialect::Completions => Choice::Completions { text: "", index, logprobs: (), finish_reason },
        };
        let is_last = index + 1 == self.answers.len();
        let event = match self.usage.on_finish.filter(|_| is_last) {
            None => self.event(index, choice),
            Some(OnFinish::Usual) => self.chunk(&[choice], Some(Some(self.spent(index)))),
            Some(OnFinish::Extension) => {
                let extension = Extension { id: &self.head.id, usage: self.spent(index) };
                data(&Chunk { x_groq: Some(extension), ..self.frame(&[choice]) })
            }
        };
        self.of_choice = 0;
        self.step = self.begin(index + 1);
        event
    }

    /// What was used up to now, `index` being the choice at hand.
    fn spent(&self, index: usize) -> Usage {
        Spent::new(&self.behaviour, self.input, self.emitted, (index + 1).min(self.answers.len()) as u64).chat()
    }

    fn event(&self, index: usize, choice: Choice<'_>) -> Bytes {
        let usage = self.usage.each.map(|each| match each {
            Each::Null => None,
            Each::Zeros => Some(Spent::new(&self.behaviour, 0, 0, 0).chat()),
            Each::SoFar => Some(self.spent(index)),
            Each::OfChoice => Some(Spent::new(&self.behaviour, self.input, self.of_choice, 1).chat()),
        });
        self.chunk(&[choice], usage)
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Option<Usage>>) -> Bytes {
        data(&Chunk { usage, ..self.frame(choices) })
    }

    /// A chunk without usage.
    fn frame<'a>(&'a self, choices: &'a [Choice<'a>]) -> Chunk<'a> {
        let (object, service_tier) = match self.dialect {
            Dialect::Chat => ("chat.completion.chunk", Some("default")),
            Dialect::Completions => ("text_completion", None),
        };
        let Head { id, created, model } = &self.head;
        Chunk {
            id,
            object,
            created: *created,
            model,
            service_tier,
            system_fingerprint: FINGERPRINT,
            choices,
            usage: None,
            x_groq: None,
            error: None,
        }
    }

    /// What a filter says about the prompt: a chunk of its own, with nothing else in it.
    fn about_prompt(&mut self) -> Bytes {
        self.step = self.begin(0);
        let results = [json!({"prompt_index": 0, "content_filter_results": safe()})];
        data(
            &json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": results}),
        )
    }

    /// What a filter says about a choice, when all of it is said: there is no delta.
    fn about_choice(&mut self, index: usize) -> Bytes {
        self.step = Step::Finish(index);
        let end = self.answers[index].text.chars().count();
        let offsets = json!({"check_offset": end, "start_offset": 0, "end_offset": end});
        let choice = json!({"index": index, "finish_reason": null, "content_filter_results": safe(),
            "content_filter_offsets": offsets});
        data(&json!({"id": "", "object": "", "created": 0, "model": "", "choices": [choice]}))
    }

    /// The error in the middle, and what comes after it.
    fn fail(&mut self, kind: ErrorEvent) {
        self.step = Step::Over;
        if kind != ErrorEvent::InChunk {
            self.queue = failure::events(kind, &self.behaviour).into();
            return;
        }
        let status = StatusCode::BAD_GATEWAY;
        let error = json!({"code": status.as_u16(), "message": failure::error(status, &self.behaviour).message});
        let finish_reason = Some("error");
        let choices = [match self.dialect {
            Dialect::Chat => {
                let delta = Delta { content: Some(Some("")), ..Delta::default() };
                Choice::Chat { index: 0, delta, logprobs: (), finish_reason }
            }
            Dialect::Completions => Choice::Completions { text: "", index: 0, logprobs: (), finish_reason },
        }];
        let event = data(&Chunk { error: Some(error), ..self.frame(&choices) });
        self.queue.push_back(event);
    }
}

/// Findings of a filter that found nothing.
fn safe() -> Value {
    let nothing = json!({"filtered": false, "severity": "safe"});
    json!({"hate": nothing, "self_harm": nothing, "sexual": nothing, "violence": nothing})
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let is_token = matches!(self.step, Step::Tokens { .. } | Step::Annotation(_) | Step::Finish(_));
        if let Ending::ErrorEvent(kind) = self.behaviour.ending
            && is_token
            && self.error_after.is_some_and(|after| self.emitted >= after)
        {
            self.fail(kind);
        }
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        match self.step {
            Step::Prompt => Some(self.about_prompt()),
            Step::Role(choice) => Some(self.role(choice)),
            Step::Tokens { choice, from } => Some(self.tokens(choice, from)),
            Step::Annotation(choice) => Some(self.about_choice(choice)),
            Step::Finish(choice) => Some(self.finish(choice)),
            Step::Usage => {
                self.step = Step::Done;
                let usage = (self.usage.at_end == AtEnd::Usage).then(|| Some(self.spent(self.answers.len())));
                Some(self.chunk(&[], usage))
            }
            Step::Done => {
                self.step = Step::Over;
                Some(Bytes::from_static(framing::DONE))
            }
            Step::Over => None,
        }
    }
}
