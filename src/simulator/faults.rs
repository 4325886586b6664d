//! Reads from a model's name how the simulator shall misbehave: `sim/slow-20ms+no-usage`.
//!
//! Must not know how an answer is made or sent. [`WORDS`] is the one list: parsing, `--help` and the README's table all
//! come from it.

use http::StatusCode;
use std::fmt::Write as _;
use std::time::Duration;

/// What the names of models that ask for behaviour begin with.
pub const PREFIX: &str = "sim/";
/// The longest answer that can be asked for, in tokens; over all choices of a call, too.
pub const MAX_TOKENS: u32 = 200_000;
/// The longest wait that can be asked for.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);

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

/// Everything that can be asked for.
pub const WORDS: &[Word] = &[
    Word { stem: "plain", example: "", does: "a normal answer", apply: |_, _| Some(()) },
    Word {
        stem: "delay-",
        example: "2s",
        does: "wait before the head of the answer (ms, s, m, h; at most 1h)",
        apply: |b, rest| set(&mut b.delay, duration(rest)?),
    },
    Word {
        stem: "status-",
        example: "429",
        does: "fail with this status, 400 to 599; 429 and 503 say Retry-After: 1",
        apply: |b, rest| set(&mut b.status, status(rest).map(Some)?),
    },
    Word {
        stem: "cut-after-",
        example: "5",
        does: "drop the connection after this many events; without a stream, after half of the body",
        apply: |b, rest| set(&mut b.ending, number(rest).map(Ending::CutAfter)?),
    },
    Word {
        stem: "no-usage",
        example: "",
        does: "never report usage, not even when asked",
        apply: |b, _| set(&mut b.reporting, Reporting::Never),
    },
    Word {
        stem: "usage-every-chunk",
        example: "",
        does: "chat and completions streams: the usage so far on every chunk, asked for or not",
        apply: |b, _| set(&mut b.reporting, Reporting::EveryChunk),
    },
    Word {
        stem: "usage-zero-until-end",
        example: "",
        does: "chat and completions streams: usage, if asked for, is all zeros until the last chunk",
        apply: |b, _| set(&mut b.reporting, Reporting::ZeroUntilEnd),
    },
    Word {
        stem: "slow-",
        example: "20ms",
        does: "wait between two events of a stream",
        apply: |b, rest| set(&mut b.pace, duration(rest)?),
    },
    Word {
        stem: "tokens-",
        example: "500",
        does: "the length of a text answer in tokens, 1 to 200000",
        apply: |b, rest| set(&mut b.tokens, number(rest).filter(|n| (1..=MAX_TOKENS).contains(n)).map(Some)?),
    },
    Word {
        stem: "burst-",
        example: "8",
        does: "so many tokens in one event of a stream",
        apply: |b, rest| set(&mut b.burst, number(rest).filter(|n| *n > 0)?),
    },
    Word {
        stem: "silent",
        example: "",
        does: "send the head, then nothing, and keep the connection open",
        apply: |b, _| set(&mut b.ending, Ending::Silent),
    },
    Word {
        stem: "reset",
        example: "",
        does: "drop the connection before the head",
        apply: |b, _| set(&mut b.ending, Ending::Reset),
    },
    Word {
        stem: "error-event",
        example: "",
        does: "an error in the middle of the stream, and no proper end; without a stream: status 500",
        apply: |b, _| set(&mut b.ending, Ending::ErrorEvent),
    },
];

/// How one answer is to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Wait before the head.
    pub delay: Duration,
    /// Wait between two events.
    pub pace: Duration,
    /// Fail with this status instead.
    pub status: Option<StatusCode>,
    /// Length of the text in tokens, if it matters.
    pub tokens: Option<u32>,
    /// Tokens in one event; at least 1.
    pub burst: u32,
    /// How usage is told.
    pub reporting: Reporting,
    /// How the answer ends.
    pub ending: Ending,
}

/// How usage is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// As OpenAI does: in a stream at its end, for chat and completions only if asked.
    Standard,
    /// Not at all.
    Never,
    /// On every chunk what was used so far.
    EveryChunk,
    /// Zeros on every chunk, the truth on the last.
    ZeroUntilEnd,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole,
    /// The connection is lost after so many events, or in the middle of a body.
    CutAfter(u32),
    /// Nothing comes after the head.
    Silent,
    /// The connection is lost before the head.
    Reset,
    /// An error event in the middle.
    ErrorEvent,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            delay: Duration::ZERO,
            pace: Duration::ZERO,
            status: None,
            tokens: None,
            burst: 1,
            reporting: Reporting::Standard,
            ending: Ending::Whole,
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

/// Sets one trait of a behaviour; an `Option` only so that the table's readers are short.
fn set<T>(place: &mut T, value: T) -> Option<()> {
    *place = value;
    Some(())
}

fn known() -> String {
    WORDS.iter().map(Word::written).collect::<Vec<_>>().join(", ")
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn status(text: &str) -> Option<StatusCode> {
    let code = u16::try_from(number(text)?).ok()?;
    (400..=599).contains(&code).then(|| StatusCode::from_u16(code).ok())?
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let amount = u64::from(number(amount).filter(|_| digits > 0)?);
    let wait = match unit {
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        "m" => Duration::from_secs(amount.saturating_mul(60)),
        "h" => Duration::from_secs(amount.saturating_mul(3600)),
        _ => return None,
    };
    (wait <= MAX_WAIT).then_some(wait)
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
