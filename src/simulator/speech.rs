//! Answers `POST /v1/audio/speech` with a sound that lasts as long as its text is.
//!
//! Must not know how the answer is sent. Nothing is spoken: one token of sound, 120 ms, stands for one token of the text,
//! fewer where `speed` is more than 1. Shapes: OpenAI's API reference, "Create speech".

mod sound;

use super::Plan;
use super::base64::base64;
use super::body::{EventSource, Reply};
use super::faults::{Behaviour, Ending};
use super::refusal::Refusal;
use super::text::Seed;
use super::{failure, framing, request, tokens};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sound::{Format, Sound};

/// The longest text, in characters, as OpenAI's API reference says.
const LONGEST: usize = 4096;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<String>,
    voice: Option<Value>,
    instructions: Option<String>,
    response_format: Option<String>,
    speed: Option<f64>,
    stream_format: Option<String>,
}

#[derive(Serialize)]
struct Delta {
    #[serde(rename = "type")]
    kind: &'static str,
    audio: String,
}

#[derive(Serialize)]
struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Clone, Copy, Serialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

/// Reads the request and makes its answer.
pub(super) fn plan(body: &[u8]) -> Result<Plan, Refusal> {
    let request: Request = request::read(body)?;
    let (_, behaviour) = Behaviour::required(request.model)?;
    let input = request.input.filter(|input| !input.is_empty()).ok_or_else(|| Refusal::missing("input"))?;
    if input.chars().count() > LONGEST {
        let message = format!("Invalid 'input': it can have {LONGEST} characters at most.");
        return Err(Refusal::value("input", message));
    }
    if request.voice.is_none() {
        return Err(Refusal::missing("voice"));
    }
    let format = Format::named(request.response_format.as_deref())?;
    let text_tokens = tokens::count(&input);
    let length = match behaviour.tokens {
        Some(length) => length,
        None => length(text_tokens, request.speed)?,
    };
    let sound = Sound::new(format, Seed::of(input.as_bytes()), length, behaviour.burst);
    let reply = match request.stream_format.as_deref() {
        None | Some("audio") => Reply::Sound(format.content_type(), Box::new(sound)),
        Some("sse") => {
            let instructions = tokens::count(request.instructions.as_deref().unwrap_or_default());
            Reply::Events(events(sound, text_tokens.saturating_add(instructions), length, &behaviour))
        }
        Some(_) => return Err(Refusal::value("stream_format", "'stream_format' is 'audio' or 'sse'.")),
    };
    Ok(Plan { behaviour, reply })
}

/// The tokens of sound for so many tokens of text.
fn length(text_tokens: u64, speed: Option<f64>) -> Result<u32, Refusal> {
    let speed = speed.unwrap_or(1.0);
    if !(0.25..=4.0).contains(&speed) {
        return Err(Refusal::value("speed", "Invalid 'speed': it must be from 0.25 to 4.0."));
    }
    Ok((text_tokens as f64 / speed).ceil() as u32)
}

fn events(sound: Sound, input: u64, length: u32, behaviour: &Behaviour) -> EventSource {
    let delta = |piece: Bytes| framing::data(&Delta { kind: "speech.audio.delta", audio: base64(piece.into_iter()) });
    if let Ending::ErrorEvent(kind) = behaviour.ending {
        let half = sound.pieces() / 2;
        return Box::new(sound.map(delta).take(half).chain(failure::events(kind, behaviour)));
    }
    let output = u64::from(length);
    let usage = Usage { input_tokens: input, output_tokens: output, total_tokens: input.saturating_add(output) };
    let done = framing::data(&Done { kind: "speech.audio.done", usage: behaviour.told(usage) });
    Box::new(sound.map(delta).chain([done]))
}
