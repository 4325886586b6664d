//! A slow reader of usage: splits a stream into events by the book, parses each whole, and looks at its places.
//!
//! Says nothing about what is not valid JSON; there the fast reader may say what it likes, as long as it always says the same.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use tollgate::stream::Dialect;
use tollgate::usage::Usage;

/// JSON with its members in order, those that come twice too.
enum Json {
    Null,
    Bool,
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl Json {
    /// The members of this name, in order.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Json> {
        let members = if let Json::Object(members) = self { members.as_slice() } else { &[] };
        members.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    fn elements(&self) -> &[Json] {
        if let Json::List(list) = self { list } else { &[] }
    }
}

/// A document, unless it is not JSON, or has a word that is longer than what the fast reader looks at.
fn parse(bytes: &[u8]) -> Option<Json> {
    let longest_word = bytes.split(|byte| !byte.is_ascii_alphanumeric()).map(<[u8]>::len).max().unwrap_or(0);
    if longest_word > 200 {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    usage: Option<Usage>,
    choice: Option<Usage>,
    second: Usage,
}

impl Found {
    fn used(&self) -> Option<Usage> {
        let first = self.usage.or(self.choice).unwrap_or_default();
        let sum = Usage {
            input: first.input + self.second.input,
            cached: first.cached + self.second.cached,
            output: first.output + self.second.output,
            reasoning: first.reasoning + self.second.reasoning,
        };
        Some(sum).filter(|sum| sum.input + sum.output > 0)
    }

    fn note(&mut self, holder: &Json, name: &str) {
        for object in holder.all(name) {
            self.usage = usage(object, false).or(self.usage);
        }
    }

    /// In the order of the document, as the last that says something counts.
    fn read(&mut self, dialect: Dialect, document: &Json, is_event: bool) {
        let Json::Object(members) = document else { return };
        for (key, value) in members {
            match (key.as_str(), dialect) {
                ("usage", _) => self.usage = usage(value, false).or(self.usage),
                ("x_groq", Dialect::Chat | Dialect::Completions) => self.note(value, "usage"),
                ("choices", Dialect::Chat | Dialect::Completions) => {
                    for object in value.elements().iter().flat_map(|choice| choice.all("usage")) {
                        self.choice = usage(object, false).or(self.choice);
                    }
                }
                ("response", Dialect::Responses) if is_event => self.note(value, "usage"),
                ("meta", Dialect::Embeddings | Dialect::Count) => {
                    let Json::Object(members) = value else { continue };
                    for (_, object) in members.iter().filter(|(key, _)| key == "tokens" || key == "billed_units") {
                        self.usage = usage(object, false).or(self.usage);
                    }
                }
                ("svg_usage", Dialect::Images | Dialect::Speech | Dialect::Transcription) => {
                    self.second = usage(value, true).unwrap_or(self.second);
                }
                _ => {}
            }
        }
    }
}

/// The last number of these names in an object, details too, as it is read.
#[derive(Default)]
struct Numbers(std::collections::BTreeMap<&'static str, u64>);

impl Numbers {
    fn put(&mut self, name: &'static str, value: &Json) {
        let number = match value {
            Json::Null | Json::Bool => 0,
            Json::Number(number) => whole(*number),
            Json::Text(text) => match text.bytes().next() {
                Some(b'0'..=b'9' | b'-') if text.len() <= 256 => text.parse().map_or(0, whole),
                _ if text.len() > 256 => return,
                _ => 0,
            },
            Json::List(_) | Json::Object(_) => return,
        };
        self.0.insert(name, number);
    }

    fn either(&self, first: &str, second: &str) -> u64 {
        let of = |name| self.0.get(name).copied().unwrap_or(0);
        if of(first) > 0 { of(first) } else { of(second) }
    }
}

/// No fraction, not below zero, not above what a call can use.
fn whole(number: f64) -> u64 {
    (number.max(0.0) as u64).min(20_000_000)
}

fn usage(object: &Json, is_second_model: bool) -> Option<Usage> {
    let Json::Object(members) = object else { return None };
    let mut numbers = Numbers::default();
    for (key, value) in members {
        match key.as_str() {
            "prompt_tokens" => numbers.put("prompt", value),
            "input_tokens" => numbers.put("input", value),
            "input" if is_second_model => numbers.put("input", value),
            "completion_tokens" => numbers.put("completion", value),
            "output_tokens" => numbers.put("output", value),
            "output" if is_second_model => numbers.put("output", value),
            "total_tokens" => numbers.put("total", value),
            "total" if is_second_model => numbers.put("total", value),
            "cached_tokens" | "prompt_cache_hit_tokens" => numbers.put("cached", value),
            "reasoning_tokens" => numbers.put("reasoning", value),
            "reasoning" if is_second_model => numbers.put("reasoning", value),
            "prompt_tokens_details" | "input_tokens_details" | "input_token_details" => {
                value.all("cached_tokens").for_each(|value| numbers.put("cached detail", value));
            }
            "completion_tokens_details" | "output_tokens_details" | "output_token_details" => {
                value.all("reasoning_tokens").for_each(|value| numbers.put("reasoning detail", value));
            }
            _ => {}
        }
    }
    let mut input = numbers.either("prompt", "input");
    let output = numbers.either("completion", "output");
    if input == 0 && output == 0 {
        input = numbers.either("total", "total");
    }
    let cached = numbers.either("cached detail", "cached").min(input);
    let reasoning = numbers.either("reasoning detail", "reasoning").min(output);
    Some(Usage { input, cached, output, reasoning }).filter(|usage| usage.input + usage.output > 0)
}

/// The usage of a document; none if nothing can be said.
pub(crate) fn of_body(dialect: Dialect, bytes: &[u8]) -> Option<Option<Usage>> {
    let mut found = Found::default();
    found.read(dialect, &parse(bytes)?, false);
    Some(found.used())
}

/// The usage of a stream; none if some event in it is no JSON. An unfinished event at its end counts.
pub(crate) fn of_stream(dialect: Dialect, bytes: &[u8]) -> Option<Option<Usage>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut found = Found::default();
    let mut data: Option<Vec<u8>> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = match after {
            [b'\r', b'\n', after @ ..] | [b'\r' | b'\n', after @ ..] => after,
            _ => after,
        };
        if line.is_empty() {
            event(dialect, data.take(), &mut found)?;
            continue;
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                none => *none = Some(value.to_vec()),
            }
        }
    }
    event(dialect, data, &mut found)?;
    Some(found.used())
}

fn event(dialect: Dialect, data: Option<Vec<u8>>, found: &mut Found) -> Option<()> {
    let data = data.unwrap_or_default();
    if data.iter().all(u8::is_ascii_whitespace) || data == b"[DONE]" {
        return Some(());
    }
    found.read(dialect, &parse(&data)?, true);
    Some(())
}
