//! Answers `POST /v1/moderations`: a text is flagged for the categories that it names.
//!
//! Must not know how the answer is sent. Nothing is judged: `violence` in a text is what flags it for violence. Shapes:
//! OpenAI's API reference, "Moderations"; there is no usage.

use super::body::Reply;
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::request;
use super::text::Seed;
use super::{Plan, Stamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The categories, and whether images are looked at for them.
const CATEGORIES: [(&str, bool); 13] = [
    ("harassment", false),
    ("harassment/threatening", false),
    ("hate", false),
    ("hate/threatening", false),
    ("illicit", false),
    ("illicit/violent", false),
    ("self-harm", true),
    ("self-harm/intent", true),
    ("self-harm/instructions", true),
    ("sexual", true),
    ("sexual/minors", false),
    ("violence", true),
    ("violence/graphic", true),
];
const USUAL_MODEL: &str = "omni-moderation-latest";
/// Inputs of one request at most.
const MOST_INPUTS: usize = 2048;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Input>,
}

/// A text, texts, or the parts of one mixed input.
#[derive(Deserialize)]
#[serde(untagged, expecting = "'input' must be a string, a list of strings, or a list of parts")]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    image_url: Option<Value>,
}

#[derive(Serialize)]
struct Moderation {
    id: String,
    model: String,
    results: Vec<Value>,
}

/// Reads the request and makes its answer: one result for each text, or one for all parts together.
pub(super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::optional(request.model, USUAL_MODEL)?;
    let results = match request.input.ok_or_else(|| Refusal::missing("input"))? {
        Input::Text(text) => vec![result(&text, Looked::Text)],
        Input::Texts(texts) if (1..=MOST_INPUTS).contains(&texts.len()) => {
            texts.iter().map(|text| result(text, Looked::Text)).collect()
        }
        Input::Parts(parts) if (1..=MOST_INPUTS).contains(&parts.len()) => {
            let text: Vec<&str> = parts.iter().filter_map(|part| part.text.as_deref()).collect();
            let has_image = parts.iter().any(|part| part.image_url.is_some());
            let looked = match (text.is_empty(), has_image) {
                (_, false) => Looked::Text,
                (true, true) => Looked::Images,
                (false, true) => Looked::Both,
            };
            vec![result(&text.join("\n"), looked)]
        }
        _ => return Err(Refusal::value("input", format!("Invalid 'input': it must hold 1 to {MOST_INPUTS} inputs."))),
    };
    let reply = Reply::json(&Moderation { id: stamp.id("modr-"), model, results });
    Ok(Plan { behaviour, reply })
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    Text,
    Images,
    Both,
}

fn result(text: &str, looked: Looked) -> Value {
    let mut seed = Seed::of(text.as_bytes());
    let lower = text.to_ascii_lowercase();
    let (mut categories, mut scores, mut applied) = (Map::new(), Map::new(), Map::new());
    let mut flagged = false;
    for (name, has_images) in CATEGORIES {
        let names_it = lower.contains(name);
        flagged |= names_it;
        let share = seed.share();
        let score = if names_it { 0.9 + share / 10.0 } else { share / 1000.0 };
        let kinds: &[&str] = match (looked, has_images) {
            (Looked::Images, true) => &["image"],
            (Looked::Images, false) => &[],
            (Looked::Both, true) => &["text", "image"],
            _ => &["text"],
        };
        categories.insert(name.to_owned(), names_it.into());
        scores.insert(name.to_owned(), score.into());
        applied.insert(name.to_owned(), json!(kinds));
    }
    json!({"flagged": flagged, "categories": categories, "category_scores": scores,
        "category_applied_input_types": applied})
}
