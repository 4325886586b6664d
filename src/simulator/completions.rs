//! Answers `POST /v1/completions`, the older of the two ways to ask for text.
//!
//! Must not know how the answer is sent. Shapes: OpenAI's API reference, "Completions (legacy)". There is no default
//! cap of 16 tokens as at OpenAI: an answer has its natural length unless the request caps it.

use super::answer::{self, Answer, Bounds, Wish};
use super::body::Reply;
use super::chunks::{Chunks, Dialect, FINGERPRINT, Head};
use super::faults::Behaviour;
use super::inputs::Inputs;
use super::refusal::Refusal;
use super::request::{self, Delivery, Stops, StreamOptions};
use super::text::Seed;
use super::usage::{Spent, Usage};
use super::{Plan, Stamp};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    prompt: Option<Inputs>,
    n: Option<i64>,
    max_tokens: Option<i64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    stop: Stops,
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
    system_fingerprint: &'static str,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: usize,
    logprobs: (),
    finish_reason: &'static str,
}

/// Reads the request and makes its answer: `n` choices for each prompt.
pub(super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let prompts = request.prompt.ok_or_else(|| Refusal::missing("prompt"))?;
    prompts.check("prompt")?;
    let each = request::choices(request.n)?;
    let choices = request::choices(Some(i64::from(each).saturating_mul(prompts.len() as i64)))?;
    let cap = request::cap(&[("max_tokens", request.max_tokens)])?;
    let delivery = Delivery::new(request.stream, request.stream_options.as_ref())?;

    let bounds = Bounds::new(&behaviour, cap, &request.stop.0, choices)?;
    let seeds = prompts.seeds();
    let answer = |seed: &Seed, n: u32| Answer::new(&Wish::Text, seed.and(&n.to_le_bytes()), &bounds);
    let answers: Vec<Answer> =
        seeds.iter().flat_map(|seed| (0..each).map(move |n| (seed, n))).map(|(s, n)| answer(s, n)).collect();

    let head = Head { id: stamp.id("cmpl-"), created: stamp.created, model };
    let input = prompts.tokens();
    let reply = match delivery {
        Delivery::Whole => whole(&head, &answers, input, &behaviour),
        Delivery::Stream { usage_asked } => {
            let chunks = Chunks::new(Dialect::Completions, head, answers, input, usage_asked, &behaviour);
            Reply::Events(Box::new(chunks))
        }
    };
    Ok(Plan { behaviour, reply })
}

fn whole(head: &Head, answers: &[Answer], input: u64, behaviour: &Behaviour) -> Reply {
    let choice = |(index, answer)| choice(index, answer);
    Reply::json(&Completion {
        id: &head.id,
        object: "text_completion",
        created: head.created,
        model: &head.model,
        choices: answers.iter().enumerate().map(choice).collect(),
        usage: behaviour.told(Spent::new(behaviour, input, answer::total(answers), answers.len() as u64).chat()),
        system_fingerprint: FINGERPRINT,
    })
}

fn choice(index: usize, answer: &Answer) -> Choice<'_> {
    Choice { text: &answer.text, index, logprobs: (), finish_reason: answer.finish.as_str() }
}
