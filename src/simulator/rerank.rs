//! Answers `POST /v1/rerank`: documents by how many of the query's words they hold.
//!
//! Must not know how the answer is sent. Shapes: vLLM's and Jina's rerank API; OpenAI has none.

use super::body::Reply;
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::text::Seed;
use super::usage::InputUsage;
use super::{Plan, Stamp, request, tokens};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Documents of one request at most.
const MOST_DOCUMENTS: usize = 1000;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    query: Option<String>,
    documents: Option<Vec<Document>>,
    top_n: Option<i64>,
    return_documents: Option<bool>,
}

/// A text, alone or in an object.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a document must be a string or an object with 'text'")]
enum Document {
    Text(String),
    Object { text: String },
}

impl Document {
    fn text(&self) -> &str {
        match self {
            Document::Text(text) | Document::Object { text } => text,
        }
    }
}

#[derive(Serialize)]
struct Ranking {
    id: String,
    model: String,
    results: Vec<Ranked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<InputUsage>>,
}

#[derive(Serialize)]
struct Ranked {
    index: usize,
    relevance_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    text: String,
}

/// Reads the request and makes its answer: the best first.
pub(super) fn plan(body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let query = request.query.ok_or_else(|| Refusal::missing("query"))?;
    let documents = request.documents.ok_or_else(|| Refusal::missing("documents"))?;
    if !(1..=MOST_DOCUMENTS).contains(&documents.len()) {
        let message = format!("Invalid 'documents': there must be 1 to {MOST_DOCUMENTS}.");
        return Err(Refusal::value("documents", message));
    }
    let most = match request.top_n.map(usize::try_from) {
        None => documents.len(),
        Some(Ok(most)) if most > 0 => most,
        Some(_) => return Err(Refusal::value("top_n", "Invalid 'top_n': it must be 1 or more.")),
    };
    let wanted = words(&query);
    let mut results: Vec<Ranked> = documents
        .iter()
        .enumerate()
        .map(|(index, document)| Ranked { index, relevance_score: score(&wanted, document.text()), document: None })
        .collect();
    results.sort_by(|a, b| b.relevance_score.total_cmp(&a.relevance_score));
    results.truncate(most);
    if request.return_documents.unwrap_or(true) {
        for result in &mut results {
            result.document = Some(Shown { text: documents[result.index].text().to_owned() });
        }
    }
    let of_documents = documents.iter().map(|document| tokens::count(document.text()));
    let input = of_documents.fold(tokens::count(&query), u64::saturating_add);
    let usage = behaviour.told(InputUsage::new(input));
    let reply = Reply::json(&Ranking { id: stamp.id("rerank-"), model, results, usage });
    Ok(Plan { behaviour, reply })
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The share of the query's words in the document, and a little that the document alone decides, so that no two are even.
fn score(wanted: &HashSet<String>, document: &str) -> f64 {
    let held = words(document).intersection(wanted).count();
    let share = held as f64 / wanted.len().max(1) as f64;
    0.9 * share + 0.1 * Seed::of(document.as_bytes()).share()
}
