//! Answers `POST /v1/responses`.
//!
//! Must not know how the answer is sent. Nothing is kept between two calls: what relies on kept state is refused, and
//! `store` is reported as false. Shapes: OpenAI's API reference, "Responses".

pub(super) mod compact;
pub(super) mod count;
mod events;
pub(super) mod input;

use super::answer::{Answer, Bounds, Finish, Situation};
use super::body::Reply;
use super::failure;
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::request::{self, Delivery, Prompt};
use super::usage::{ResponseUsage, Spent};
use super::{Plan, Stamp};
use http::StatusCode;
use input::{Input, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Input>,
    instructions: Option<String>,
    max_output_tokens: Option<i64>,
    stream: Option<bool>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    text: Option<TextOptions>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    metadata: Option<Value>,
    #[serde(flatten)]
    state: State,
}

#[derive(Deserialize)]
struct TextOptions {
    format: Option<Value>,
}

/// What of the request comes back in the answer, and everything else that both kinds of delivery need.
struct Draft {
    id: String,
    created: u64,
    model: String,
    instructions: Option<String>,
    max_output_tokens: Option<usize>,
    parallel_tool_calls: bool,
    temperature: f64,
    top_p: f64,
    format: Value,
    tool_choice: Value,
    tools: Vec<Value>,
    metadata: Value,
    input_tokens: u64,
    behaviour: Behaviour,
    answer: Answer,
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<Failure>,
    incomplete_details: Option<Incomplete>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<usize>,
    model: &'a str,
    output: Vec<Output<'a>>,
    parallel_tool_calls: bool,
    previous_response_id: (),
    reasoning: Reasoning,
    store: bool,
    temperature: f64,
    text: Text<'a>,
    tool_choice: &'a Value,
    tools: &'a [Value],
    top_p: f64,
    truncation: &'static str,
    usage: Option<ResponseUsage>,
    metadata: &'a Value,
}

/// Why a response failed.
#[derive(Serialize)]
struct Failure {
    code: Option<&'static str>,
    message: String,
}

impl Failure {
    fn new(behaviour: &Behaviour) -> Self {
        let error = failure::error(StatusCode::INTERNAL_SERVER_ERROR, behaviour);
        Failure { code: error.code, message: error.message }
    }
}

#[derive(Serialize)]
struct Incomplete {
    reason: &'static str,
}

#[derive(Serialize)]
struct Reasoning {
    effort: (),
    summary: (),
}

#[derive(Serialize)]
struct Text<'a> {
    format: &'a Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Message {
        id: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
        status: &'static str,
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    Call {
        id: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
        status: &'static str,
        arguments: &'a str,
        call_id: String,
        name: &'a str,
    },
}

#[derive(Serialize)]
struct Part<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
    annotations: [(); 0],
    logprobs: [(); 0],
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Begun,
    Ended,
    Failed,
}

/// Reads the request and makes its answer.
pub(super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let delivery = Delivery::new(request.stream, None)?;
    let (draft, behaviour) = draft(request, stamp)?;
    let reply = match delivery {
        Delivery::Whole => Reply::json(&draft.object(Progress::Ended, &draft.item_id())),
        Delivery::Stream { .. } => Reply::Events(Box::new(events::Events::new(draft, &behaviour))),
    };
    Ok(Plan { behaviour, reply })
}

fn draft(request: Request, stamp: Stamp) -> Result<(Draft, Behaviour), Refusal> {
    request.state.check()?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let input = request.input.ok_or_else(|| Refusal::missing("input"))?;
    let cap = request::cap(&[("max_output_tokens", request.max_output_tokens)])?;
    let tools = request.tools.unwrap_or_default();
    let format = request.text.and_then(|text| text.format).unwrap_or_else(|| json!({"type": "text"}));

    let mut prompt = Prompt::new();
    prompt.text(request.instructions.as_deref().unwrap_or_default());
    prompt.tools(&tools);
    let (asked, last) = input::read(&input, &mut prompt)?;
    let situation = Situation {
        tools: &request::functions(&tools)?,
        choice: request.tool_choice.as_ref(),
        asked,
        last,
        format: Some(&format),
    };
    let bounds = Bounds::new(&behaviour, cap, &[], 1)?;
    let answer = Answer::new(&situation.wish()?, prompt.seed, &bounds);
    let draft = Draft {
        id: stamp.id("resp_"),
        created: stamp.created,
        model,
        instructions: request.instructions,
        max_output_tokens: cap,
        parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
        temperature: request.temperature.unwrap_or(1.0),
        top_p: request.top_p.unwrap_or(1.0),
        format,
        tool_choice: request.tool_choice.unwrap_or_else(|| json!("auto")),
        tools,
        metadata: request.metadata.unwrap_or_else(|| json!({})),
        input_tokens: prompt.tokens,
        behaviour,
        answer,
    };
    Ok((draft, behaviour))
}

impl Draft {
    fn item_id(&self) -> String {
        let kind = if self.answer.call.is_some() { "fc" } else { "msg" };
        format!("{kind}_{}", self.number())
    }

    fn number(&self) -> &str {
        self.id.strip_prefix("resp_").unwrap_or(&self.id)
    }

    fn status(&self, progress: Progress) -> &'static str {
        match progress {
            Progress::Begun => "in_progress",
            Progress::Failed => "failed",
            Progress::Ended if self.cut_short(progress).is_some() => "incomplete",
            Progress::Ended => "completed",
        }
    }

    /// Why there is not more of it.
    fn cut_short(&self, progress: Progress) -> Option<&'static str> {
        match (progress, self.answer.finish) {
            (Progress::Ended, Finish::Length) => Some("max_output_tokens"),
            (Progress::Ended, Finish::Filtered) => Some("content_filter"),
            _ => None,
        }
    }

    fn object<'a>(&'a self, progress: Progress, item_id: &'a str) -> Object<'a> {
        let ended = progress == Progress::Ended;
        Object {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status: self.status(progress),
            background: false,
            error: (progress == Progress::Failed).then(|| Failure::new(&self.behaviour)),
            incomplete_details: self.cut_short(progress).map(|reason| Incomplete { reason }),
            instructions: self.instructions.as_deref(),
            max_output_tokens: self.max_output_tokens,
            model: &self.model,
            output: ended.then(|| self.output(Progress::Ended, item_id)).into_iter().collect(),
            parallel_tool_calls: self.parallel_tool_calls,
            previous_response_id: (),
            reasoning: Reasoning { effort: (), summary: () },
            store: false,
            temperature: self.temperature,
            text: Text { format: &self.format },
            tool_choice: &self.tool_choice,
            tools: &self.tools,
            top_p: self.top_p,
            truncation: "disabled",
            usage: ended.then(|| self.behaviour.told(self.usage())).flatten().flatten(),
            metadata: &self.metadata,
        }
    }

    fn output<'a>(&'a self, progress: Progress, id: &'a str) -> Output<'a> {
        let status = self.status(progress);
        let text = if progress == Progress::Ended { self.answer.text.as_str() } else { "" };
        match &self.answer.call {
            Some(name) => {
                let call_id = format!("call_{}", self.number());
                Output::Call { id, kind: "function_call", status, arguments: text, call_id, name }
            }
            None => {
                let content = (progress == Progress::Ended).then(|| Part::new(text)).into_iter().collect();
                Output::Message { id, kind: "message", status, role: "assistant", content }
            }
        }
    }

    fn usage(&self) -> ResponseUsage {
        Spent::new(&self.behaviour, self.input_tokens, self.answer.tokens() as u64, 1).response()
    }
}

impl<'a> Part<'a> {
    fn new(text: &'a str) -> Self {
        Part { kind: "output_text", text, annotations: [], logprobs: [] }
    }
}
