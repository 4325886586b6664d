//! Streams chat and completions: makes each `data:` event when it is due.
//!
//! Must not know when that is, nor how the stream is cut. Shapes: OpenAI's API reference, "chat.completion.chunk" and
//! "text_completion".

use super::answer::{self, Answer};
use super::faults::{Behaviour, Ending, Reporting};
use super::refusal::Refusal;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// `usage` of chat and completions.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl Usage {
    /// So many tokens in, so many out.
    pub(super) fn new(input: u64, output: u64) -> Self {
        Usage {
            prompt_tokens: input,
            completion_tokens: output,
            total_tokens: input.saturating_add(output),
            ..Usage::default()
        }
    }
}

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
    burst: usize,
    usage: Telling,
    /// After so many tokens an error event ends the stream.
    error_after: Option<u64>,
    emitted: u64,
    step: Step,
}

/// Where usage is told in this stream.
struct Telling {
    each: Option<Each>,
    at_end: bool,
}

#[derive(Clone, Copy)]
enum Each {
    Null,
    Zeros,
    SoFar,
}

#[derive(Clone, Copy)]
enum Step {
    Role(usize),
    Tokens { choice: usize, from: usize },
    Finish(usize),
    Usage,
    Done,
    Over,
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
        let at_end = usage_asked && behaviour.reporting != Reporting::Never;
        let each = match behaviour.reporting {
            Reporting::EveryChunk => Some(Each::SoFar),
            Reporting::ZeroUntilEnd if usage_asked => Some(Each::Zeros),
            Reporting::Standard if usage_asked => Some(Each::Null),
            _ => None,
        };
        let error_after = (behaviour.ending == Ending::ErrorEvent).then(|| answer::total(&answers) / 2);
        let mut chunks = Chunks {
            dialect,
            head,
            answers,
            input,
            burst: behaviour.burst.max(1) as usize,
            usage: Telling { each, at_end },
            error_after,
            emitted: 0,
            step: Step::Over,
        };
        chunks.step = chunks.begin(0);
        chunks
    }

    fn begin(&self, choice: usize) -> Step {
        match self.dialect {
            _ if choice >= self.answers.len() && self.usage.at_end => Step::Usage,
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
        let event = self.event(&[Choice::Chat { index, delta, logprobs: (), finish_reason: None }]);
        self.step = Step::Tokens { choice: index, from: 0 };
        event
    }

    /// The next tokens of a choice, or its finish if there are none left.
    fn tokens(&mut self, index: usize, from: usize) -> Bytes {
        let answer = &self.answers[index];
        let to = from.saturating_add(self.burst).min(answer.tokens());
        if from >= to {
            return self.finish(index);
        }
        self.emitted = self.emitted.saturating_add((to - from) as u64);
        let piece = self.answers[index].piece(from..to);
        let choice = match self.dialect {
            Dialect::Completions => Choice::Completions { text: piece, index, logprobs: (), finish_reason: None },
            Dialect::Chat => {
                let delta = match &self.answers[index].call {
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
        let event = self.event(&[choice]);
        let done = to == self.answers[index].tokens();
        self.step = if done { Step::Finish(index) } else { Step::Tokens { choice: index, from: to } };
        event
    }

    fn finish(&mut self, index: usize) -> Bytes {
        let finish_reason = Some(self.answers[index].finish.as_str());
        let choice = match self.dialect {
            Dialect::Chat => Choice::Chat { index, delta: Delta::default(), logprobs: (), finish_reason },
            Dialect::Completions => Choice::Completions { text: "", index, logprobs: (), finish_reason },
        };
        let event = self.event(&[choice]);
        self.step = self.begin(index + 1);
        event
    }

    fn usage_so_far(&self) -> Usage {
        Usage::new(self.input, self.emitted)
    }

    fn event(&self, choices: &[Choice<'_>]) -> Bytes {
        let usage = self.usage.each.map(|each| match each {
            Each::Null => None,
            Each::Zeros => Some(Usage::default()),
            Each::SoFar => Some(self.usage_so_far()),
        });
        self.chunk(choices, usage)
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<Option<Usage>>) -> Bytes {
        let (object, service_tier) = match self.dialect {
            Dialect::Chat => ("chat.completion.chunk", Some("default")),
            Dialect::Completions => ("text_completion", None),
        };
        let Head { id, created, model } = &self.head;
        let system_fingerprint = FINGERPRINT;
        data(&Chunk { id, object, created: *created, model, service_tier, system_fingerprint, choices, usage })
    }
}

/// One `data:` event with `value` in it.
fn data<T: Serialize>(value: &T) -> Bytes {
    let mut event = Vec::with_capacity(320);
    event.extend_from_slice(b"data: ");
    // Writing into memory cannot fail, and these types hold nothing that JSON has no form for.
    let _ = serde_json::to_writer(&mut event, value);
    event.extend_from_slice(b"\n\n");
    event.into()
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let is_token = matches!(self.step, Step::Tokens { .. } | Step::Finish(_));
        if is_token && self.error_after.is_some_and(|after| self.emitted >= after) {
            self.step = Step::Over;
            let error = Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR).error.json();
            return Some([b"data: ", &error[..], b"\n\n"].concat().into());
        }
        match self.step {
            Step::Role(choice) => Some(self.role(choice)),
            Step::Tokens { choice, from } => Some(self.tokens(choice, from)),
            Step::Finish(choice) => Some(self.finish(choice)),
            Step::Usage => {
                self.step = Step::Done;
                Some(self.chunk(&[], Some(Some(self.usage_so_far()))))
            }
            Step::Done => {
                self.step = Step::Over;
                Some(Bytes::from_static(b"data: [DONE]\n\n"))
            }
            Step::Over => None,
        }
    }
}
