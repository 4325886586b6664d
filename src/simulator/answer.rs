//! Decides what to say: text, JSON or a tool call, and where it ends.
//!
//! Must not know in which dialect it will be said, nor whether it is streamed.

use super::example;
use super::faults::{Behaviour, Filter, MAX_TOKENS, Spice};
use super::refusal::Refusal;
use super::text::{self, EMOJI, HIGH_HALF, LOW_HALF, Length, Seed};
use super::tokens;
use serde_json::{Value, json};
use std::ops::Range;

/// A function that may be called.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    /// Its name.
    pub(super) name: String,
    /// The JSON Schema of its arguments; null for none.
    pub(super) parameters: Value,
}

/// What kind of answer is wanted.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Prose.
    Text,
    /// This JSON.
    Json(Value),
    /// A call of this function with these arguments.
    Call { name: String, arguments: Value },
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// All was said, or a stop sequence came.
    Stop,
    /// The cap on tokens was reached.
    Length,
    /// A function is to be called.
    ToolCalls,
    /// A content filter stopped it.
    Filtered,
}

impl Finish {
    /// The word in `finish_reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::Filtered => "content_filter",
        }
    }
}

/// One finished answer: a choice.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The prose, or the arguments of a call.
    pub(super) text: String,
    /// The function to call, if it is a call.
    pub(super) call: Option<String>,
    /// Why it ended.
    pub(super) finish: Finish,
    /// Where each token ends in `text`.
    ends: Vec<u32>,
}

/// What bounds an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'a> {
    /// Tokens at most.
    pub(super) cap: Option<usize>,
    /// The text ends before any of these.
    pub(super) stops: &'a [String],
    /// The length of prose.
    pub(super) length: Length,
    /// What stands in prose beside its sentences.
    pub(super) spice: Spice,
    /// Whether a filter stops it.
    pub(super) filter: Filter,
}

impl<'a> Bounds<'a> {
    /// The bounds that a request and the model's name set together, for each of `choices` answers.
    pub(super) fn new(
        behaviour: &Behaviour,
        cap: Option<usize>,
        stops: &'a [String],
        choices: u32,
    ) -> Result<Self, Refusal> {
        let length = match behaviour.tokens {
            None => Length::Natural,
            Some(tokens) if tokens.saturating_mul(choices) > MAX_TOKENS => {
                return Err(Refusal::value("n", format!("All choices together are longer than {MAX_TOKENS} tokens.")));
            }
            Some(tokens) => Length::Tokens(tokens as usize),
        };
        Ok(Bounds { cap, stops, length, spice: behaviour.spice, filter: behaviour.filter })
    }
}

impl Answer {
    /// Makes the answer that belongs to `seed`.
    pub(super) fn new(wish: &Wish, seed: Seed, bounds: &Bounds<'_>) -> Self {
        let (mut text, call, mut finish) = match wish {
            Wish::Text => (text::write(seed, bounds.length, bounds.spice), None, Finish::Stop),
            Wish::Json(value) => (value.to_string(), None, Finish::Stop),
            Wish::Call { name, arguments } => (arguments.to_string(), Some(name.clone()), Finish::ToolCalls),
        };
        if call.is_none() {
            let stop = bounds.stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop)).min();
            text.truncate(stop.unwrap_or(text.len()));
        }
        let capped = bounds.cap.map_or(text.len(), |cap| tokens::truncate(&text, cap).len());
        if capped < text.len() {
            text.truncate(capped);
            finish = Finish::Length;
        }
        if bounds.filter == Filter::Output && call.is_none() {
            text.truncate(tokens::truncate(&text, tokens::split(&text).count() / 2).len());
            finish = Finish::Filtered;
        }
        let halves = bounds.spice == Spice::Emoji && call.is_none();
        let ends = if halves { cut_emoji(&mut text) } else { ends(tokens::split(&text).map(str::len)) };
        Answer { text, call, finish, ends }
    }

    /// How many tokens it has.
    pub(super) fn tokens(&self) -> usize {
        self.ends.len()
    }

    /// The text of some of its tokens.
    pub(super) fn piece(&self, tokens: Range<usize>) -> &str {
        let start = tokens.start.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| *end as usize);
        let end = tokens.end.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| *end as usize);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// Where each token ends.
fn ends(lengths: impl Iterator<Item = usize>) -> Vec<u32> {
    lengths
        .scan(0_u32, |end, length| {
            *end = end.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
            Some(*end)
        })
        .collect()
}

/// Puts both halves for each emoji, and where a token would end between two emoji, has it end within the first of them.
/// There are as many tokens as before.
fn cut_emoji(text: &mut String) -> Vec<u32> {
    let halves = String::from_iter([HIGH_HALF, LOW_HALF]);
    let grown = halves.len() - EMOJI.len_utf8();
    let (mut at, mut carried) = (0, 0);
    let lengths = tokens::split(text).map(|token| {
        at += token.len();
        let length = carried + token.len() + token.matches(EMOJI).count() * grown;
        carried = if token.ends_with(EMOJI) && text[at..].starts_with(EMOJI) { LOW_HALF.len_utf8() } else { 0 };
        length - carried
    });
    let ends = ends(lengths);
    *text = text.replace(EMOJI, &halves);
    ends
}

/// The tokens of all answers together.
pub(super) fn total(answers: &[Answer]) -> u64 {
    answers.iter().map(|answer| answer.tokens() as u64).sum()
}

/// What there is to decide a [`Wish`] by.
pub(super) struct Situation<'a> {
    /// The functions on offer.
    pub(super) tools: &'a [Tool],
    /// `tool_choice` as it was sent.
    pub(super) choice: Option<&'a Value>,
    /// What the user said last.
    pub(super) asked: &'a str,
    /// Who spoke last.
    pub(super) last: Speaker,
    /// The format that was asked for: `json_object`, `json_schema` or anything else for prose.
    pub(super) format: Option<&'a Value>,
}

/// Who spoke last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// A function, with its result: now comes the text.
    Tool,
    /// Anybody else.
    Other,
}

impl Situation<'_> {
    /// Decides what kind of answer to give.
    pub(super) fn wish(&self) -> Result<Wish, Refusal> {
        let called = if self.last == Speaker::Tool { None } else { self.called()? };
        if let Some(tool) = called {
            let arguments = example::of(&tool.parameters);
            let arguments = if arguments.is_object() { arguments } else { json!({}) };
            return Ok(Wish::Call { name: tool.name.clone(), arguments });
        }
        let Some(format) = self.format else { return Ok(Wish::Text) };
        match format.get("type").and_then(Value::as_str) {
            Some("json_object") => Ok(Wish::Json(json!({"answer": "This is a simulated answer.", "simulated": true}))),
            Some("json_schema") => {
                // Chat wraps the schema once more than responses does.
                let schema = format.pointer("/json_schema/schema").or_else(|| format.get("schema"));
                let missing = || Refusal::value("response_format", "A format of type 'json_schema' needs a schema.");
                Ok(Wish::Json(example::of(schema.ok_or_else(missing)?)))
            }
            _ => Ok(Wish::Text),
        }
    }

    fn called(&self) -> Result<Option<&Tool>, Refusal> {
        let mentioned = self.tools.iter().find(|tool| mentions(self.asked, &tool.name));
        match self.choice {
            None | Some(Value::Null) => Ok(mentioned),
            Some(Value::String(word)) => match word.as_str() {
                "none" => Ok(None),
                "auto" => Ok(mentioned),
                "required" => match mentioned.or(self.tools.first()) {
                    Some(tool) => Ok(Some(tool)),
                    None => {
                        Err(Refusal::value("tool_choice", "'tool_choice' is 'required', but there are no functions."))
                    }
                },
                _ => Err(Refusal::value("tool_choice", "'tool_choice' is 'none', 'auto', 'required' or a function.")),
            },
            Some(choice) => {
                let name = choice.pointer("/function/name").or_else(|| choice.get("name")).and_then(Value::as_str);
                let Some(name) = name else { return Ok(mentioned) };
                match self.tools.iter().find(|tool| tool.name == name) {
                    Some(tool) => Ok(Some(tool)),
                    None => {
                        Err(Refusal::value("tool_choice", "'tool_choice' names a function that is not in 'tools'."))
                    }
                }
            }
        }
    }
}

/// Whether `name` stands in `text` as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cap: Option<usize>, stops: &[&str]) -> Answer {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let bounds = Bounds { cap, stops: &stops, length: Length::Natural, spice: Spice::None, filter: Filter::Off };
        Answer::new(&Wish::Text, Seed::of(b"q"), &bounds)
    }

    #[test]
    fn a_cap_below_the_length_ends_the_answer_there() {
        let whole = answer(None, &[]);
        assert_eq!(whole.finish, Finish::Stop);
        let cut = answer(Some(5), &[]);
        assert_eq!((cut.tokens(), cut.finish), (5, Finish::Length));
        assert!(whole.text.starts_with(&cut.text));
        assert_eq!(answer(Some(whole.tokens()), &[]).finish, Finish::Stop);
    }

    #[test]
    fn the_first_stop_sequence_ends_the_text_and_is_not_said() {
        let cut = answer(None, &["asked", "", "answer"]);
        assert_eq!((cut.text.as_str(), cut.finish), ("This is a simulated ", Finish::Stop));
        assert_eq!(cut.tokens() as u64, tokens::count(&cut.text));
    }

    #[test]
    fn pieces_put_together_are_the_text() {
        let whole = answer(None, &[]);
        let pieces: String =
            (0..whole.tokens()).step_by(3).map(|i| whole.piece(i..(i + 3).min(whole.tokens()))).collect();
        assert_eq!(pieces, whole.text);
    }

    #[test]
    fn a_tool_is_called_when_it_must_be_or_is_mentioned_and_never_twice() {
        let tools = ["get_weather", "get_time"].map(|name| Tool { name: name.into(), parameters: Value::Null });
        let wish = |choice: Value, asked: &str, last| {
            let wish = Situation { tools: &tools, choice: Some(&choice), asked, last, format: None }.wish();
            match wish {
                Ok(Wish::Call { name, .. }) => name,
                Ok(_) => "-".into(),
                Err(refusal) => refusal.error.param.unwrap_or_default().into(),
            }
        };
        let other = Speaker::Other;
        assert_eq!(wish(Value::Null, "hello", other), "-");
        assert_eq!(wish(json!("auto"), "please call get_time.", other), "get_time");
        assert_eq!(wish(json!("auto"), "please forget_time", other), "-");
        assert_eq!(wish(json!("none"), "please call get_time", other), "-");
        assert_eq!(wish(json!("required"), "hello", other), "get_weather");
        assert_eq!(wish(json!("required"), "hello", Speaker::Tool), "-");
        assert_eq!(wish(json!({"type": "function", "function": {"name": "get_time"}}), "hello", other), "get_time");
        assert_eq!(wish(json!({"type": "function", "name": "nope"}), "hello", other), "tool_choice");
    }
}
