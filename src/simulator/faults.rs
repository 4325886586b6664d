//! Reads from a model's name how the simulator shall behave and misbehave: `sim/slow-20ms+no-usage`.
//!
//! Must not know how an answer is made or sent. [`WORDS`] is the one list: parsing, `--help`, the model list and the
//! README's table all come from it.

mod words;

pub use words::WORDS;

use http::StatusCode;
use std::fmt::Write as _;
use std::time::Duration;

/// What the names of models that ask for behaviour begin with.
pub const PREFIX: &str = "sim/";
/// The longest answer that can be asked for, in tokens; over all choices of a call, too.
pub const MAX_TOKENS: u32 = 200_000;
/// The longest wait that can be asked for.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The most bytes that an event can be padded with: 16 MiB.
pub const MAX_PADDING: u32 = 16 << 20;

/// One word that a model's name may hold.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The part that never changes: `delay-`, `silent`.
    pub stem: &'static str,
    /// An example of what follows the stem; empty where nothing may.
    pub example: &'static str,
    /// What it does, for people.
    pub does: &'static str,
    apply: fn(&mut Behaviour, &str) -> Option<()>,
}

/// How one answer is to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Wait before the head.
    pub delay: Duration,
    /// Wait between two events.
    pub pace: Duration,
    /// Fail with this status instead.
    pub status: Option<StatusCode>,
    /// Of what such a failure complains.
    pub complaint: Complaint,
    /// The shape of such a failure's body.
    pub errors: ErrorShape,
    /// When such a failure says that one may come back.
    pub retry_after: RetryAfter,
    /// What `x-should-retry` says on such a failure; `None` for no such header.
    pub should_retry: Option<bool>,
    /// Length of the text in tokens, if it matters.
    pub tokens: Option<u32>,
    /// Tokens in one event; at least 1.
    pub burst: u32,
    /// Tokens that are thought and not said, counted as output.
    pub reasoning: u32,
    /// Tokens of the input that are reported as cached; never more than there are.
    pub cached: u32,
    /// What stands in the text beside its sentences.
    pub spice: Spice,
    /// How usage is told.
    pub reporting: Reporting,
    /// Which figures usage has.
    pub figures: Figures,
    /// How the answer ends.
    pub ending: Ending,
    /// What a content filter says beside the answer.
    pub filter: Filter,
    /// How events and bodies are written down.
    pub framing: Framing,
    /// How the answer is compressed, whatever was accepted.
    pub coding: Coding,
    /// How much of a form is read before it fails.
    pub reading: Reading,
    /// Of so many calls one fails, is late or breaks off; the others are spared. At least 1.
    pub one_in: u32,
}

/// How usage is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// As OpenAI does: in a stream at its end, for chat and completions only if asked.
    Standard,
    /// Not at all.
    Never,
    /// The key is there, and null, always.
    Null,
    /// At the end, even if nobody asked.
    Forced,
    /// On every chunk what was used so far.
    EveryChunk,
    /// On every chunk what its own choice has used so far, and the sum at the end, asked or not.
    PerChoice,
    /// Zeros on every chunk, the truth on the last.
    ZeroUntilEnd,
    /// On the chunk with the finish reason, then a chunk without choices and without usage.
    OnFinish,
    /// In `x_groq` of the last chunk with a choice.
    Extension,
}

/// Which figures usage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// The sums and their details.
    Full,
    /// The sums alone.
    Bare,
    /// The sums, and `reasoning_tokens` beside them.
    TopReasoning,
    /// Seconds of sound instead of tokens, where sound was heard.
    Seconds,
}

/// What stands in the text beside its sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spice {
    /// Nothing.
    None,
    /// Emoji, which streams cut in two.
    Emoji,
    /// JSON that looks like a report of usage.
    FakeUsage,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole,
    /// The connection is lost after so many events, or in the middle of a body.
    CutAfter(u32),
    /// The connection is lost within the event of this number, from 1, or in the middle of a body.
    CutInside(u32),
    /// Nothing comes after so many events, and the connection stays open.
    StallAfter(u32),
    /// Nothing comes after the head.
    Silent,
    /// The connection is lost before the head.
    Reset,
    /// An error in the middle.
    ErrorEvent(ErrorEvent),
}

/// How an error says itself in the middle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorEvent {
    /// An event with an error object, and nothing after it.
    Plain,
    /// An error object with a number as its code, then `[DONE]`.
    ThenDone,
    /// An error object in a chunk, beside its choices.
    InChunk,
    /// `response.failed` where there is such an event, and as [`ErrorEvent::Plain`] elsewhere.
    Failed,
}

/// Of what a failure complains that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// What its status means.
    Status,
    /// The account's money is gone.
    Quota,
    /// The input is longer than the model can take.
    TooLong,
    /// The prompt was stopped by a filter.
    Filtered,
}

/// The shape of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorShape {
    /// `{"error":{message,type,param,code}}`
    OpenAi,
    /// `{"error":{code,message}}`, the code being the status as a text.
    CodeAndMessage,
    /// As OpenAI's, but the code is the status, a number.
    Numeric,
    /// The fields of the error at top level.
    Flat,
    /// `{"error":{code,message,metadata}}`, the code being a number.
    Metadata,
    /// Plain text.
    Text,
    /// A page for people.
    Html,
    /// No body at all.
    Empty,
    /// As [`ErrorShape::Metadata`], with the status 200.
    InSuccess,
}

/// When a failure says that one may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After a second, on 429 and 503.
    Standard,
    /// Never a word of it.
    Absent,
    /// After so many seconds.
    Seconds(u32),
    /// After so many milliseconds, in `retry-after-ms` alone.
    Millis(u32),
    /// At a date, so long from now.
    Date(Duration),
    /// In words that no client can read.
    Junk,
}

/// What a content filter says beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Nothing.
    Off,
    /// A first chunk without choices, about the prompt.
    Prompt,
    /// That one, and a late chunk whose choice has no delta, about the answer.
    Late,
    /// The answer ends early, because of the filter.
    Output,
}

/// How events and bodies are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Lines end with CR LF.
    pub crlf: bool,
    /// A comment comes before each event.
    pub comments: bool,
    /// `[DONE]` is left out.
    pub undone: bool,
    /// The last event lacks its blank line.
    pub unended: bool,
    /// The data of each event stands in two lines, without a space after the colon.
    pub two_lines: bool,
    /// Blank lines come before a JSON answer.
    pub blank_lines: bool,
    /// Bytes of padding in each event.
    pub padding: u32,
    /// The stream comes in pieces of so many bytes; 0 for one piece an event.
    pub pieces: u32,
}

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// How much of a form is read before the call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All of it.
    Whole,
    /// No more than is needed to know the model.
    ToModel,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            delay: Duration::ZERO,
            pace: Duration::ZERO,
            status: None,
            complaint: Complaint::Status,
            errors: ErrorShape::OpenAi,
            retry_after: RetryAfter::Standard,
            should_retry: None,
            tokens: None,
            burst: 1,
            reasoning: 0,
            cached: 0,
            spice: Spice::None,
            reporting: Reporting::Standard,
            figures: Figures::Full,
            ending: Ending::Whole,
            filter: Filter::Off,
            framing: Framing::default(),
            coding: Coding::Identity,
            reading: Reading::Whole,
            one_in: 1,
        }
    }
}

/// A model's name asks for behaviour that is not known: the first such word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not something the simulator can do. Join any of these after `{PREFIX}` with `+`: {known}. \
     Any name without `{PREFIX}` gives a normal answer.",
    known = known()
)]
pub struct UnknownWord(pub String);

impl Behaviour {
    /// Reads a model's name. Any name is fine that does not begin with [`PREFIX`].
    ///
    /// # Errors
    /// A word after the prefix that [`WORDS`] does not have.
    pub fn of_model(model: &str) -> Result<Self, UnknownWord> {
        let mut behaviour = Behaviour::default();
        let Some(words) = model.strip_prefix(PREFIX) else { return Ok(behaviour) };
        for word in words.split('+') {
            WORDS
                .iter()
                .find_map(|known| known.read(word, &mut behaviour))
                .ok_or_else(|| UnknownWord(word.chars().take(64).collect()))?;
        }
        Ok(behaviour)
    }

    /// This, for the call of that number: what goes wrong may go wrong in one call of several only. Errors in the middle
    /// of a stream are part of its text and stay.
    #[must_use]
    pub(super) fn spared(mut self, number: u64) -> Self {
        if !number.is_multiple_of(u64::from(self.one_in.max(1))) {
            self.delay = Duration::ZERO;
            self.status = None;
            if !matches!(self.ending, Ending::ErrorEvent(_)) {
                self.ending = Ending::Whole;
            }
        }
        self
    }

    /// What stands for `usage` in an answer that is not streamed, or at the end of one that always tells it: the outer
    /// option is whether the key is there.
    pub(super) fn told<T>(&self, usage: T) -> Option<Option<T>> {
        match self.reporting {
            Reporting::Never => None,
            Reporting::Null => Some(None),
            _ => Some(Some(usage)),
        }
    }
}

impl Word {
    /// The word as a person would write it, with its example.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}{}", self.stem, self.example)
    }

    fn read(&self, word: &str, behaviour: &mut Behaviour) -> Option<()> {
        let rest = word.strip_prefix(self.stem)?;
        (rest.is_empty() == self.example.is_empty()).then_some(())?;
        (self.apply)(behaviour, rest)
    }
}

/// The words for a terminal: one a line, for `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = format!("Models whose names begin with {PREFIX} ask for behaviour; join words with +, as in\n");
    let _ = writeln!(text, "{PREFIX}slow-20ms+no-usage. Any other name gives a normal answer.\n");
    for word in WORDS {
        let mut named = word.written();
        for line in wrapped(word.does) {
            let prefix = if named.is_empty() { "    " } else { PREFIX };
            let _ = writeln!(text, "  {prefix}{named:<22} {line}");
            named.clear();
        }
    }
    text
}

/// A text in lines that leave a terminal of 80 columns room for the words before them.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 50;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The words as a Markdown table, for the README.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| model | what happens |\n|---|---|\n");
    for word in WORDS {
        let _ = writeln!(text, "| `{PREFIX}{}` | {} |", word.written(), word.does);
    }
    text
}

fn known() -> String {
    WORDS.iter().map(Word::written).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(model: &str) -> Behaviour {
        Behaviour::of_model(model).unwrap()
    }

    #[test]
    fn words_join_and_other_names_ask_for_nothing() {
        let both = of("sim/slow-20ms+no-usage+tokens-500+burst-8");
        assert_eq!(both.pace, Duration::from_millis(20));
        assert_eq!(both.reporting, Reporting::Never);
        assert_eq!((both.tokens, both.burst), (Some(500), 8));
        assert_eq!(of("gpt-5+delay-2s"), Behaviour::default());
        assert_eq!(of("sim/plain"), Behaviour::default());
        assert_eq!(of("sim/status-503").status, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(of("sim/delay-1m").delay, Duration::from_secs(60));
    }

    #[test]
    fn every_word_is_read_as_its_own_example_says_and_shows_up_everywhere() {
        for word in WORDS {
            let model = format!("{PREFIX}{}", word.written());
            let behaviour = of(&model);
            assert_eq!(behaviour == Behaviour::default(), word.stem == "plain", "{model}");
            assert!(help().contains(&model) && markdown().contains(&model), "{model}");
        }
        assert!(help().lines().all(|line| line.len() < 80), "{}", help());
    }

    #[test]
    fn unknown_or_misused_words_are_named_with_the_known_ones() {
        for wrong in
            ["", "fast", "delay-", "delay-2", "delay-2h", "status-200", "status-600", "tokens-0", "burst-0", "silent-2"]
        {
            let model = format!("sim/no-usage+{wrong}");
            let error = Behaviour::of_model(&model).expect_err(wrong);
            assert_eq!(error.0, wrong);
            let text = error.to_string();
            assert!(text.contains("cut-after-5") && text.contains("usage-zero-until-end"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic_or_wait_longer_than_an_hour(name in "sim/(delay-|tokens-|slow-|x)?[0-9a-z+µ-]{0,40}") {
            if let Ok(behaviour) = Behaviour::of_model(&name) {
                prop_assert!(behaviour.delay <= MAX_WAIT && behaviour.pace <= MAX_WAIT);
            }
        }
    }
}
