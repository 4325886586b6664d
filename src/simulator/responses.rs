//! Answers `POST /v1/responses`.
//!
//! Must not know how the answer is sent. Nothing is kept between two calls: what relies on kept state is refused, and
//! `store` is reported as false. Shapes: OpenAI's API reference, "Responses".

mod events;

use super::answer::{Answer, Bounds, Finish, Situation, Speaker};
use super::body::Reply;
use super::faults::{Behaviour, Reporting};
use super::refusal::Refusal;
use super::request::{self, Content, Delivery, Prompt};
use super::{Plan, Stamp};
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
    background: Option<bool>,
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
}

#[derive(Deserialize)]
struct TextOptions {
    format: Option<Value>,
}

/// A text, or a list of items.
#[derive(Deserialize)]
#[serde(untagged, expecting = "'input' must be a string or a list of items")]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    #[serde(default)]
    content: Content,
    /// The result of a function.
    #[serde(default)]
    output: Content,
    /// The arguments of an earlier call.
    arguments: Option<String>,
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
    tells_usage: bool,
    answer: Answer,
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: (),
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
    usage: Option<Usage>,
    metadata: &'a Value,
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
struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
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
    refuse_state(&request)?;
    let model = request::model(request.model)?;
    let behaviour = Behaviour::of_model(&model).map_err(|unknown| Refusal::model(unknown.to_string()))?;
    let input = request.input.ok_or_else(|| Refusal::missing("input"))?;
    let cap = request::cap(&[("max_output_tokens", request.max_output_tokens)])?;
    let tools = request.tools.unwrap_or_default();
    let format = request.text.and_then(|text| text.format).unwrap_or_else(|| json!({"type": "text"}));

    let mut prompt = Prompt::new();
    prompt.text(request.instructions.as_deref().unwrap_or_default());
    prompt.tools(&tools);
    let (asked, last) = read_input(&input, &mut prompt)?;
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
        tells_usage: behaviour.reporting != Reporting::Never,
        answer,
    };
    Ok((draft, behaviour))
}

fn refuse_state(request: &Request) -> Result<(), Refusal> {
    let message = "The simulator keeps nothing between two calls. Send the whole conversation as 'input' instead.";
    if request.previous_response_id.is_some() {
        return Err(Refusal::unsupported("previous_response_id", message));
    }
    if request.conversation.is_some() {
        return Err(Refusal::unsupported("conversation", message));
    }
    if request.background == Some(true) {
        return Err(Refusal::unsupported("background", "The simulator does not answer later. Leave 'background' out."));
    }
    Ok(())
}

/// Takes the input into `prompt`; what the user said last, and who spoke last.
fn read_input<'a>(input: &'a Input, prompt: &mut Prompt) -> Result<(&'a str, Speaker), Refusal> {
    let items = match input {
        Input::Text(text) => {
            prompt.message("user", &Content { text: text.clone(), other_parts: 0 });
            return Ok((text, Speaker::Other));
        }
        Input::Items(items) => items,
    };
    let mut asked = "";
    for item in items {
        if item.kind.as_deref() == Some("item_reference") {
            let message = "The simulator keeps no items. Send the item itself instead of a reference.";
            return Err(Refusal::unsupported("input", message));
        }
        prompt.message(item.role.as_deref().unwrap_or_default(), &item.content);
        prompt.text(&item.output.text);
        prompt.text(item.arguments.as_deref().unwrap_or_default());
        if item.role.as_deref() == Some("user") {
            asked = &item.content.text;
        }
    }
    let last = items.last().ok_or_else(|| Refusal::value("input", "Invalid 'input': the list is empty."))?;
    let is_result = last.kind.as_deref() == Some("function_call_output");
    Ok((asked, if is_result { Speaker::Tool } else { Speaker::Other }))
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
        match (progress, self.answer.finish) {
            (Progress::Begun, _) => "in_progress",
            (Progress::Ended, Finish::Length) => "incomplete",
            (Progress::Ended, _) => "completed",
        }
    }

    fn object<'a>(&'a self, progress: Progress, item_id: &'a str) -> Object<'a> {
        let ended = progress == Progress::Ended;
        let incomplete = ended && self.answer.finish == Finish::Length;
        Object {
            id: &self.id,
            object: "response",
            created_at: self.created,
            status: self.status(progress),
            background: false,
            error: (),
            incomplete_details: incomplete.then_some(Incomplete { reason: "max_output_tokens" }),
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
            usage: (ended && self.tells_usage).then(|| self.usage()),
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

    fn usage(&self) -> Usage {
        let output_tokens = self.answer.tokens() as u64;
        Usage {
            input_tokens: self.input_tokens,
            input_tokens_details: InputDetails { cached_tokens: 0, cache_write_tokens: 0 },
            output_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: 0 },
            total_tokens: self.input_tokens.saturating_add(output_tokens),
        }
    }
}

impl<'a> Part<'a> {
    fn new(text: &'a str) -> Self {
        Part { kind: "output_text", text, annotations: [], logprobs: [] }
    }
}
