//! Answers `POST /v1/responses/input_tokens`: what an input would cost, without an answer to it.
//!
//! Must not know how the answer is sent. The count is the one that the same request would be charged for.

use super::super::Plan;
use super::super::body::Reply;
use super::super::faults::Behaviour;
use super::super::refusal::Refusal;
use super::super::request::{self, Prompt};
use super::input::{self, Input, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Input>,
    instructions: Option<String>,
    tools: Option<Vec<Value>>,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
struct Count {
    object: &'static str,
    input_tokens: u64,
}

/// Reads the request and makes its answer. The input may be left out, as at OpenAI: instructions cost something, too.
pub(in super::super) fn plan(body: &[u8]) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    request.state.check()?;
    let (_, behaviour) = Behaviour::required(request.model)?;
    let mut prompt = Prompt::new();
    prompt.text(request.instructions.as_deref().unwrap_or_default());
    prompt.tools(&request.tools.unwrap_or_default());
    if let Some(input) = &request.input {
        input::read(input, &mut prompt)?;
    }
    let reply = Reply::json(&Count { object: "response.input_tokens", input_tokens: prompt.tokens });
    Ok(Plan { behaviour, reply })
}
