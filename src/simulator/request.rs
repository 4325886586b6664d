//! Reads the parts of a request that several endpoints share: message content, `stop`, tools, caps on the answer.
//!
//! Must not know which endpoint it reads for. Unknown parameters are passed over; values that are used must have their
//! type.

use super::answer::Tool;
use super::faults::Behaviour;
use super::refusal::Refusal;
use super::text::Seed;
use super::tokens;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Tokens that a message costs beside its text.
const MESSAGE_TOKENS: u64 = 3;
/// Tokens that a part costs which is not text: an image, a file, a sound.
const PART_TOKENS: u64 = 85;
/// Tools in one request at most, as OpenAI's API reference says.
const MOST_TOOLS: usize = 128;
/// Choices for one request at most, as OpenAI's API reference says.
const MOST_CHOICES: u32 = 128;

/// Reads a JSON body.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::body(&error))
}

impl Behaviour {
    /// The model's name, which must be there, and what it asks for.
    pub(super) fn required(model: Option<String>) -> Result<(String, Self), Refusal> {
        let model = model.filter(|name| !name.is_empty()).ok_or_else(|| Refusal::missing("model"))?;
        let behaviour = Behaviour::of_model(&model).map_err(|unknown| Refusal::model(unknown.to_string()))?;
        Ok((model, behaviour))
    }

    /// The same where the model may be left out for `usual`.
    pub(super) fn optional(model: Option<String>, usual: &str) -> Result<(String, Self), Refusal> {
        Behaviour::required(Some(model.unwrap_or_else(|| usual.to_owned())))
    }
}

/// The cap on the answer's tokens: the first of several parameters that is there. At least 1.
pub(super) fn cap(given: &[(&'static str, Option<i64>)]) -> Result<Option<usize>, Refusal> {
    let Some((param, cap)) = given.iter().find_map(|(param, cap)| Some((*param, (*cap)?))) else { return Ok(None) };
    match usize::try_from(cap) {
        Ok(cap) if cap > 0 => Ok(Some(cap)),
        _ => Err(Refusal::value(param, format!("Invalid '{param}': {cap} is below the least value, 1."))),
    }
}

/// How many choices are asked for.
pub(super) fn choices(n: Option<i64>) -> Result<u32, Refusal> {
    u32::try_from(n.unwrap_or(1))
        .ok()
        .filter(|n| (1..=MOST_CHOICES).contains(n))
        .ok_or_else(|| Refusal::value("n", format!("Invalid 'n': it must be from 1 to {MOST_CHOICES}.")))
}

/// `stream_options`.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct StreamOptions {
    /// Whether usage shall come in one more chunk.
    pub(super) include_usage: Option<bool>,
}

/// Whether an answer is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// In one piece.
    Whole,
    /// Event by event, with usage at the end or without.
    Stream { usage_asked: bool },
}

impl Delivery {
    /// Reads `stream` and `stream_options`.
    pub(super) fn new(stream: Option<bool>, options: Option<&StreamOptions>) -> Result<Self, Refusal> {
        match (stream.unwrap_or(false), options) {
            (true, options) => {
                Ok(Delivery::Stream { usage_asked: options.and_then(|o| o.include_usage).unwrap_or(false) })
            }
            (false, None) => Ok(Delivery::Whole),
            (false, Some(_)) => {
                let message = "The 'stream_options' parameter is only allowed when 'stream' is true.";
                Err(Refusal::value("stream_options", message))
            }
        }
    }
}

/// What was said so far: enough to answer it.
#[derive(Debug)]
pub(super) struct Prompt {
    /// From this the answer's words are made.
    pub(super) seed: Seed,
    /// The tokens of the input.
    pub(super) tokens: u64,
}

impl Prompt {
    /// Nothing said yet.
    pub(super) fn new() -> Self {
        Prompt { seed: Seed::of(b"tollgate"), tokens: 0 }
    }

    /// One message more.
    pub(super) fn message(&mut self, role: &str, content: &Content) {
        self.seed = self.seed.and(role.as_bytes());
        self.text(&content.text);
        self.tokens = self.tokens.saturating_add(MESSAGE_TOKENS + content.other_parts.saturating_mul(PART_TOKENS));
    }

    /// Some text more, with nothing around it.
    pub(super) fn text(&mut self, text: &str) {
        self.seed = self.seed.and(text.as_bytes());
        self.tokens = self.tokens.saturating_add(tokens::count(text));
    }

    /// The tools, as the JSON text that describes them.
    pub(super) fn tools(&mut self, tools: &[Value]) {
        for tool in tools {
            self.tokens = self.tokens.saturating_add(tokens::count(&tool.to_string()));
        }
    }
}

/// The content of a message: a string, or parts of which the text is kept.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// All text, put together.
    pub(super) text: String,
    /// How many parts were not text.
    pub(super) other_parts: u64,
}

#[derive(serde::Deserialize)]
struct Part {
    text: Option<String>,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of content parts, or null")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content { text: text.to_owned(), other_parts: 0 })
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content { text, other_parts: 0 })
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut content = Content::default();
                while let Some(part) = parts.next_element::<Part>()? {
                    match part.text {
                        Some(text) => content.text.push_str(&text),
                        None => content.other_parts = content.other_parts.saturating_add(1),
                    }
                }
                Ok(content)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// `stop`: a string, or up to four of them.
#[derive(Debug, Default)]
pub(super) struct Stops(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Stops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Stops;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of up to four strings, or null")
            }

            fn visit_str<E>(self, text: &str) -> Result<Stops, E> {
                Ok(Stops(vec![text.to_owned()]))
            }

            fn visit_unit<E>(self) -> Result<Stops, E> {
                Ok(Stops::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Stops, A::Error> {
                let mut stops = Vec::new();
                while stops.len() < 4 {
                    match list.next_element::<String>()? {
                        Some(stop) => stops.push(stop),
                        None => return Ok(Stops(stops)),
                    }
                }
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(Stops(stops)),
                    Some(_) => Err(serde::de::Error::invalid_length(5, &self)),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The functions among `tools`. In chat each is wrapped in `function`, in responses it is not; both are read.
pub(super) fn functions(tools: &[Value]) -> Result<Vec<Tool>, Refusal> {
    if tools.len() > MOST_TOOLS {
        return Err(Refusal::value("tools", format!("Invalid 'tools': at most {MOST_TOOLS} can be given.")));
    }
    let is_function = |tool: &&Value| tool.get("type").and_then(Value::as_str) == Some("function");
    tools
        .iter()
        .filter(is_function)
        .map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| Refusal::value("tools", "Invalid 'tools': a function has no name."))?;
            Ok(Tool { name: name.to_owned(), parameters: function.get("parameters").cloned().unwrap_or_default() })
        })
        .collect()
}
