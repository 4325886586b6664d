//! Answers `POST /v1/decisions`: a probability for each thing that may be decided, and one token of output a question.
//!
//! Must not know how the answer is sent. Nothing is weighed: the numbers follow from the words of the question alone.
//! Shapes: OpenAI's API reference, "Decisions".

use super::Plan;
use super::body::Reply;
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::request::{self, Content, Prompt};
use super::responses::input::{self, Input};
use super::text::Seed;
use super::usage::{ResponseUsage, Spent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Questions of one request at most, as OpenAI's API reference says.
const MOST_QUESTIONS: usize = 400;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Input>,
    questions: Option<Vec<Question>>,
}

#[derive(Deserialize)]
struct Question {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    #[serde(default)]
    instructions: Content,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    levels: Vec<Level>,
}

#[derive(Deserialize)]
struct Choice {
    value: Value,
}

#[derive(Deserialize)]
struct Level {
    label: String,
}

#[derive(Serialize)]
struct Decision {
    model: String,
    answers: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<ResponseUsage>>,
}

/// Reads the request and makes its answer.
pub(super) fn plan(body: &[u8]) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let input = request.input.ok_or_else(|| Refusal::missing("input"))?;
    let questions = request.questions.ok_or_else(|| Refusal::missing("questions"))?;
    if !(1..=MOST_QUESTIONS).contains(&questions.len()) {
        let message = format!("Invalid 'questions': there must be 1 to {MOST_QUESTIONS}.");
        return Err(Refusal::value("questions", message));
    }
    let mut prompt = Prompt::new();
    input::read(&input, &mut prompt)?;
    let mut answers = Vec::with_capacity(questions.len());
    for question in &questions {
        prompt.message("question", &question.instructions);
        answers.push(question.answer(prompt.seed)?);
    }
    let spent = Spent::new(&behaviour, prompt.tokens, questions.len() as u64, 1);
    let reply = Reply::json(&Decision { model, answers, usage: behaviour.told(spent.response()) });
    Ok(Plan { behaviour, reply })
}

impl Question {
    fn answer(&self, mut seed: Seed) -> Result<Value, Refusal> {
        let name = &self.name;
        match self.kind.as_str() {
            "predicate" => Ok(json!({"type": "predicate", "name": name, "probability": seed.share()})),
            "choice" => {
                let (best, shares) = shares(&mut seed, self.choices.len(), "choices")?;
                let all = self.choices.iter().zip(&shares);
                let all: Vec<Value> =
                    all.map(|(choice, share)| json!({"value": choice.value, "probability": share})).collect();
                let choice = &self.choices[best].value;
                Ok(json!({"type": "choice", "name": name, "choice": choice, "confidence": shares[best],
                    "probabilities": all}))
            }
            "score" => {
                let (best, shares) = shares(&mut seed, self.levels.len(), "levels")?;
                let score: f64 = shares.iter().enumerate().map(|(value, share)| value as f64 * share).sum();
                let level = |(value, (level, share)): (usize, (&Level, &f64))| json!({"label": level.label, "value": value, "probability": share});
                let all: Vec<Value> = self.levels.iter().zip(&shares).enumerate().map(level).collect();
                Ok(json!({"type": "score", "name": name, "score": score, "confidence": shares[best],
                    "probabilities": all}))
            }
            _ => Err(Refusal::value("questions", "A question's 'type' is 'predicate', 'choice' or 'score'.")),
        }
    }
}

/// So many shares of one whole, and which of them is the largest.
fn shares(seed: &mut Seed, count: usize, of: &str) -> Result<(usize, Vec<f64>), Refusal> {
    let weights: Vec<f64> = (0..count).map(|_| 0.001 + seed.share()).collect();
    let best = (0..count).max_by(|a, b| weights[*a].total_cmp(&weights[*b]));
    let best = best.ok_or_else(|| Refusal::value("questions", format!("A question has no '{of}'.")))?;
    let whole: f64 = weights.iter().sum();
    Ok((best, weights.into_iter().map(|weight| weight / whole).collect()))
}
