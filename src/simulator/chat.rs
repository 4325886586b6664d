//! Answers `POST /v1/chat/completions`.
//!
//! Must not know how the answer is sent. Shapes: OpenAI's API reference, "Chat".

use super::answer::{self, Answer, Bounds, Situation, Speaker};
use super::body::Reply;
use super::chunks::{Chunks, Dialect, FINGERPRINT, Function, Head, call_id};
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::request::{self, Content, Delivery, Prompt, Stops, StreamOptions};
use super::usage::{Spent, Usage};
use super::{Plan, Stamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    n: Option<i64>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    stop: Stops,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    response_format: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: Option<String>,
    #[serde(default)]
    content: Content,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    service_tier: &'static str,
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Said<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: (),
    annotations: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

/// Reads the request and makes its answer.
pub(super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let messages = request.messages.ok_or_else(|| Refusal::missing("messages"))?;
    let choices = request::choices(request.n)?;
    let cap =
        request::cap(&[("max_completion_tokens", request.max_completion_tokens), ("max_tokens", request.max_tokens)])?;
    let delivery = Delivery::new(request.stream, request.stream_options.as_ref())?;
    let tools = request.tools.unwrap_or_default();

    let prompt = prompt(&messages, &tools)?;
    let situation = Situation {
        tools: &request::functions(&tools)?,
        choice: request.tool_choice.as_ref(),
        asked: messages.iter().rfind(|message| is_from(message, "user")).map_or("", |message| &message.content.text),
        last: if messages.last().is_some_and(|m| is_from(m, "tool")) { Speaker::Tool } else { Speaker::Other },
        format: request.response_format.as_ref(),
    };
    let wish = situation.wish()?;
    let bounds = Bounds::new(&behaviour, cap, &request.stop.0, choices)?;
    let answers: Vec<Answer> =
        (0..choices).map(|n| Answer::new(&wish, prompt.seed.and(&n.to_le_bytes()), &bounds)).collect();

    let head = Head { id: stamp.id("chatcmpl-"), created: stamp.created, model };
    let reply = match delivery {
        Delivery::Whole => whole(&head, &answers, prompt.tokens, &behaviour),
        Delivery::Stream { usage_asked } => {
            let chunks = Chunks::new(Dialect::Chat, head, answers, prompt.tokens, usage_asked, &behaviour);
            Reply::Events(Box::new(chunks))
        }
    };
    Ok(Plan { behaviour, reply })
}

fn is_from(message: &Message, role: &str) -> bool {
    message.role.as_deref() == Some(role)
}

fn prompt(messages: &[Message], tools: &[Value]) -> Result<Prompt, Refusal> {
    if messages.is_empty() {
        return Err(Refusal::value("messages", "Invalid 'messages': there must be at least one message."));
    }
    let mut prompt = Prompt::new();
    for message in messages {
        let Some(role) = &message.role else { return Err(Refusal::missing("messages.role")) };
        prompt.message(role, &message.content);
    }
    prompt.tools(tools);
    Ok(prompt)
}

fn whole(head: &Head, answers: &[Answer], input: u64, behaviour: &Behaviour) -> Reply {
    let completion = Completion {
        id: &head.id,
        object: "chat.completion",
        created: head.created,
        model: &head.model,
        choices: answers.iter().enumerate().map(|(index, answer)| Choice::new(head, index, answer)).collect(),
        usage: behaviour.told(Spent::new(behaviour, input, answer::total(answers), answers.len() as u64).chat()),
        service_tier: "default",
        system_fingerprint: FINGERPRINT,
    };
    Reply::json(&completion)
}

impl<'a> Choice<'a> {
    fn new(head: &Head, index: usize, answer: &'a Answer) -> Self {
        let tool_calls = answer.call.as_deref().map(|name| {
            let function = Function { name: Some(name), arguments: &answer.text };
            [ToolCall { id: call_id(&head.id, index), kind: "function", function }]
        });
        let content = tool_calls.is_none().then_some(answer.text.as_str());
        Choice {
            index,
            message: Said { role: "assistant", content, refusal: (), annotations: [], tool_calls },
            logprobs: (),
            finish_reason: answer.finish.as_str(),
        }
    }
}
