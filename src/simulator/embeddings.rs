//! Answers `POST /v1/embeddings` with unit vectors that depend on nothing but the text.
//!
//! Must not know how the answer is sent. Texts that mean the same are not near each other: no model was asked.
//! Shapes: OpenAI's API reference, "Embeddings"; `base64` is little-endian 32-bit floats.

use super::Plan;
use super::base64::base64;
use super::body::Reply;
use super::faults::Behaviour;
use super::inputs::Inputs;
use super::refusal::Refusal;
use super::request;
use super::text::Seed;
use super::usage::InputUsage;
use serde::{Deserialize, Serialize};

/// The length of a vector, unless the request says `dimensions`.
const DIMENSIONS: usize = 1536;
/// The longest vector.
const MOST_DIMENSIONS: i64 = 4096;
/// Numbers in one answer at most: they are all held at once.
const MOST_NUMBERS: usize = 1 << 22;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Inputs>,
    dimensions: Option<i64>,
    encoding_format: Option<String>,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<InputUsage>>,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

/// Reads the request and makes its answer.
pub(super) fn plan(body: &[u8]) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (model, behaviour) = Behaviour::required(request.model)?;
    let inputs = request.input.ok_or_else(|| Refusal::missing("input"))?;
    inputs.check("input")?;
    let dimensions = dimensions(request.dimensions)?;
    if inputs.len().saturating_mul(dimensions) > MOST_NUMBERS {
        let message = "So many inputs with so many dimensions are too much for one call. Send fewer inputs at a time.";
        return Err(Refusal::value("input", message));
    }
    let encode: fn(Vec<f32>) -> Vector = match request.encoding_format.as_deref() {
        None | Some("float") => Vector::Floats,
        Some("base64") => |vector| Vector::Base64(base64(vector.iter().flat_map(|number| number.to_le_bytes()))),
        Some(_) => return Err(Refusal::value("encoding_format", "'encoding_format' is 'float' or 'base64'.")),
    };

    let item = |(index, seed)| Item { object: "embedding", index, embedding: encode(vector(seed, dimensions)) };
    let usage = InputUsage::new(inputs.tokens());
    let reply = Reply::json(&List {
        object: "list",
        data: inputs.seeds().into_iter().enumerate().map(item).collect(),
        model,
        usage: behaviour.told(usage),
    });
    Ok(Plan { behaviour, reply })
}

fn dimensions(given: Option<i64>) -> Result<usize, Refusal> {
    let Some(given) = given else { return Ok(DIMENSIONS) };
    let message = || format!("Invalid 'dimensions': it must be from 1 to {MOST_DIMENSIONS}.");
    usize::try_from(given)
        .ok()
        .filter(|_| (1..=MOST_DIMENSIONS).contains(&given))
        .ok_or_else(|| Refusal::value("dimensions", message()))
}

/// A vector of length 1.
fn vector(mut seed: Seed, dimensions: usize) -> Vec<f32> {
    // 53 random bits, as a number from -1 to 1; zero is so rare that the length never is.
    let numbers: Vec<f64> = (0..dimensions).map(|_| (seed.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    numbers.into_iter().map(|number| (number / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_depend_on_the_text_alone() {
        for dimensions in [1, 2, 1536] {
            let one = vector(Seed::of(b"one"), dimensions);
            let length: f64 = one.iter().map(|n| f64::from(*n).powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
            assert_eq!(one, vector(Seed::of(b"one"), dimensions));
        }
        assert_ne!(vector(Seed::of(b"one"), 8), vector(Seed::of(b"two"), 8));
    }
}
