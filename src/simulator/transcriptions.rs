//! Answers `POST /v1/audio/transcriptions` and `/translations` with words that the file's start and size decide.
//!
//! Must not know how the answer is sent. Nothing is heard. A sound lasts as long as its WAV head says, or a second for
//! each 32 000 bytes; a second of it is ten tokens of input. Models whose names begin with `whisper` report seconds,
//! others tokens. Shapes: OpenAI's API reference, "Audio".

mod cues;

use super::Plan;
use super::answer::{Answer, Bounds, Wish};
use super::body::{EventSource, Reply};
use super::faults::{Behaviour, Ending, Figures};
use super::form::{File, Form};
use super::refusal::Refusal;
use super::text::joined;
use super::{failure, framing, tokens};
use bytes::Bytes;
use cues::Cue;
use serde::Serialize;
use serde_json::{Value, json};

/// Bytes of a second where no head tells.
const SECOND: f64 = 32_000.0;
/// Tokens of a second.
const TOKENS: f64 = 10.0;
/// The longest sound: a day. A head may say anything.
const LONGEST: f64 = 86_400.0;

/// What is done with the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Its words are written down.
    Transcribe,
    /// They are put into English.
    Translate,
}

/// How the words come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Verbose,
    Speakers,
    Text,
    Srt,
    Vtt,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Usage {
    Tokens {
        input_tokens: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        input_token_details: Option<Details>,
        output_tokens: u64,
        total_tokens: u64,
    },
    Duration {
        seconds: f64,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Details {
    text_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct Words<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct Event<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Delta<'a> {
    delta: &'a str,
}

/// What was heard.
struct Heard {
    task: Task,
    behaviour: Behaviour,
    words: Answer,
    seconds: f64,
    /// Tokens of the text that was sent along.
    prompt_tokens: u64,
    by_seconds: bool,
}

/// Reads the form and makes its answer.
pub(super) fn plan(task: Task, form: &Form) -> Result<Plan, Refusal> {
    let (model, behaviour) = Behaviour::required(form.text("model").map(str::to_owned))?;
    let file = form.files("file").next().ok_or_else(|| Refusal::missing("file"))?;
    let format = Format::named(form.text("response_format"))?;
    let prompt = form.text("prompt").unwrap_or_default();
    let is_old = model.starts_with("whisper");
    let seed = file.seed().and(prompt.as_bytes()).and(form.text("language").unwrap_or_default().as_bytes());
    let heard = Heard {
        task,
        behaviour,
        words: Answer::new(&Wish::Text, seed, &Bounds::new(&behaviour, None, &[], 1)?),
        seconds: seconds(file),
        prompt_tokens: tokens::count(prompt),
        by_seconds: is_old || behaviour.figures == Figures::Seconds,
    };
    // The older model passes over a wish for a stream.
    let streamed = form.value::<bool>("stream")?.unwrap_or(false) && task == Task::Transcribe && !is_old;
    let has_words = form.list("timestamp_granularities").any(|unit| unit == "word");
    let reply = match format {
        _ if streamed => Reply::Events(heard.events()),
        Format::Json => Reply::json(&Words { text: &heard.words.text, usage: heard.usage(heard.by_seconds) }),
        Format::Verbose => Reply::json(&heard.verbose(if has_words { Detail::Words } else { Detail::Segments })),
        Format::Speakers => Reply::json(&heard.speakers()),
        Format::Text => Reply::Text("text/plain; charset=utf-8", format!("{}\n", joined(&heard.words.text))),
        Format::Srt => Reply::Text("application/x-subrip; charset=utf-8", cues::srt(&heard.cues())),
        Format::Vtt => Reply::Text("text/vtt; charset=utf-8", cues::vtt(&heard.cues())),
    };
    Ok(Plan { behaviour, reply })
}

impl Format {
    fn named(name: Option<&str>) -> Result<Self, Refusal> {
        match name {
            None | Some("json") => Ok(Format::Json),
            Some("verbose_json") => Ok(Format::Verbose),
            Some("diarized_json") => Ok(Format::Speakers),
            Some("text") => Ok(Format::Text),
            Some("srt") => Ok(Format::Srt),
            Some("vtt") => Ok(Format::Vtt),
            Some(_) => {
                let message = "'response_format' is 'json', 'verbose_json', 'diarized_json', 'text', 'srt' or 'vtt'.";
                Err(Refusal::value("response_format", message))
            }
        }
    }
}

/// Into what a verbose answer is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Segments,
    Words,
}

impl Heard {
    /// Translations report none.
    fn usage(&self, by_seconds: bool) -> Option<Option<Usage>> {
        if self.task == Task::Translate {
            return None;
        }
        if by_seconds {
            return self.behaviour.told(Usage::Duration { seconds: self.seconds });
        }
        let audio_tokens = (self.seconds * TOKENS).ceil() as u64;
        let (input, output) = (self.prompt_tokens.saturating_add(audio_tokens), self.words.tokens() as u64);
        let details = Details { text_tokens: self.prompt_tokens, audio_tokens };
        self.behaviour.told(Usage::Tokens {
            input_tokens: input,
            input_token_details: (self.behaviour.figures != Figures::Bare).then_some(details),
            output_tokens: output,
            total_tokens: input.saturating_add(output),
        })
    }

    fn cues(&self) -> Vec<Cue> {
        cues::sentences(&joined(&self.words.text), self.seconds)
    }

    fn verbose(&self, detail: Detail) -> Value {
        let task = if self.task == Task::Translate { "translate" } else { "transcribe" };
        let mut answer = json!({"task": task, "language": "english", "duration": self.seconds,
            "text": joined(&self.words.text)});
        let segment = |(id, cue): (usize, &Cue)| {
            json!({"id": id, "seek": 0, "start": cue.start, "end": cue.end, "text": cue.text, "tokens": [],
                "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0})
        };
        match detail {
            Detail::Segments => answer["segments"] = self.cues().iter().enumerate().map(segment).collect(),
            Detail::Words => {
                let word = |cue: Cue| json!({"word": cue.text, "start": cue.start, "end": cue.end});
                answer["words"] = cues::words(&joined(&self.words.text), self.seconds).into_iter().map(word).collect();
            }
        }
        // This shape knows seconds alone.
        if let Some(usage) = self.usage(true) {
            answer["usage"] = json!(usage);
        }
        answer
    }

    fn speakers(&self) -> Value {
        let segment = |(number, cue): (usize, &Cue)| {
            let speaker = if number.is_multiple_of(2) { "A" } else { "B" };
            json!({"type": "transcript.text.segment", "id": format!("seg_{number}"), "start": cue.start,
                "end": cue.end, "text": cue.text, "speaker": speaker})
        };
        let segments: Vec<Value> = self.cues().iter().enumerate().map(segment).collect();
        let mut answer = json!({"task": "transcribe", "duration": self.seconds, "text": joined(&self.words.text),
            "segments": segments});
        if let Some(usage) = self.usage(self.by_seconds) {
            answer["usage"] = json!(usage);
        }
        answer
    }

    fn events(self) -> EventSource {
        let burst = self.behaviour.burst.max(1) as usize;
        let pieces = self.words.tokens().div_ceil(burst);
        let fault = match self.behaviour.ending {
            Ending::ErrorEvent(kind) => Some(failure::events(kind, &self.behaviour)),
            _ => None,
        };
        let made = if fault.is_some() { pieces / 2 } else { pieces + 1 };
        let event = move |number: usize| -> Bytes {
            if number == pieces {
                let body = Words { text: &self.words.text, usage: self.usage(self.by_seconds) };
                return framing::data(&Event { kind: "transcript.text.done", body });
            }
            let from = number * burst;
            let delta = self.words.piece(from..(from + burst).min(self.words.tokens()));
            framing::data(&Event { kind: "transcript.text.delta", body: Delta { delta } })
        };
        let end = fault.unwrap_or_else(|| vec![Bytes::from_static(framing::DONE)]);
        Box::new((0..made).map(event).chain(end))
    }
}

/// How long a sound lasts, to a hundredth.
fn seconds(file: &File) -> f64 {
    let said = wav_rate(&file.head).map(|rate| file.size.saturating_sub(44) as f64 / rate);
    let seconds = said.unwrap_or(file.size as f64 / SECOND).min(LONGEST);
    (seconds * 100.0).round() / 100.0
}

/// Bytes of a second, from the head of a WAV file.
fn wav_rate(head: &[u8]) -> Option<f64> {
    let is_wav = head.starts_with(b"RIFF") && head.get(8..16)? == b"WAVEfmt ";
    let rate = u32::from_le_bytes(head.get(28..32)?.try_into().ok()?);
    (is_wav && rate > 0).then_some(f64::from(rate))
}
