//! Answers `POST /v1/responses/compact`: the user's messages as they were, and one item that stands for all the rest.
//!
//! Must not know how the answer is sent. The item holds nothing but a text of the simulator's: nobody could unpack it.

use super::super::answer::{Answer, Bounds, Wish};
use super::super::base64::base64;
use super::super::body::Reply;
use super::super::faults::Behaviour;
use super::super::refusal::Refusal;
use super::super::request::{self, Prompt};
use super::super::usage::{ResponseUsage, Spent};
use super::super::{Plan, Stamp};
use super::input::{self, Input, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Input>,
    instructions: Option<String>,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
struct Compaction {
    id: String,
    object: &'static str,
    created_at: u64,
    output: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<ResponseUsage>>,
}

/// Reads the request and makes its answer.
pub(in super::super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    request.state.check()?;
    let (_, behaviour) = Behaviour::required(request.model)?;
    let input = request.input.ok_or_else(|| Refusal::missing("input"))?;
    let mut prompt = Prompt::new();
    prompt.text(request.instructions.as_deref().unwrap_or_default());
    input::read(&input, &mut prompt)?;

    let summary = Answer::new(&Wish::Text, prompt.seed, &Bounds::new(&behaviour, None, &[], 1)?);
    let message = |(index, text): (usize, &str)| {
        let content = [json!({"type": "input_text", "text": text})];
        let id = format!("{}_{index}", stamp.id("msg_"));
        json!({"id": id, "type": "message", "role": "user", "status": "completed", "content": content})
    };
    let mut output: Vec<Value> = input.asked().into_iter().enumerate().map(message).collect();
    let content = base64(summary.text.bytes());
    output.push(json!({"id": stamp.id("cmp_"), "type": "compaction", "encrypted_content": content}));
    let spent = Spent::new(&behaviour, prompt.tokens, summary.tokens() as u64, 1);
    let reply = Reply::json(&Compaction {
        id: stamp.id("resp_"),
        object: "response.compaction",
        created_at: stamp.created,
        output,
        usage: behaviour.told(spent.response()),
    });
    Ok(Plan { behaviour, reply })
}
