//! Lists every word that a model's name may hold, and what it changes.
//!
//! Must not know how behaviour is carried out. Each row is read, shown in `--help`, in the model list and in README.

use super::{
    Behaviour, Coding, Complaint, Ending, ErrorEvent, ErrorShape, Figures, Filter, MAX_PADDING, MAX_TOKENS, MAX_WAIT,
    Reading, Reporting, RetryAfter, Spice, Word,
};
use http::StatusCode;
use std::time::Duration;

/// Everything that can be asked for.
pub const WORDS: &[Word] = &[
    Word::bare("plain", "a normal answer", |_, _| Some(())),
    Word::with("delay-", "2s", "wait before the head of the answer (ms, s, m, h; at most 1h)", |b, rest| {
        set(&mut b.delay, duration(rest)?)
    }),
    Word::with("slow-", "20ms", "wait between two events of a stream", |b, rest| set(&mut b.pace, duration(rest)?)),
    Word::with(
        "tokens-",
        "500",
        "the length of an answer in tokens, 1 to 200000: of text, of sound, of each image",
        |b, rest| set(&mut b.tokens, number(rest).filter(|n| (1..=MAX_TOKENS).contains(n)).map(Some)?),
    ),
    Word::with("burst-", "8", "so many tokens in one event of a stream", |b, rest| {
        set(&mut b.burst, number(rest).filter(|n| *n > 0)?)
    }),
    Word::with("reasoning-", "64", "so many tokens of reasoning, counted as output and not said", |b, rest| {
        set(&mut b.reasoning, number(rest).filter(|n| (1..=MAX_TOKENS).contains(n))?)
    }),
    Word::with("cached-", "16", "up to so many tokens of the input are reported as cached", |b, rest| {
        set(&mut b.cached, number(rest).filter(|n| *n > 0)?)
    }),
    Word::bare(
        "emoji",
        "emoji in the text, which streams cut in two: a lone surrogate at the end of one event, the other in the next",
        |b, _| set(&mut b.spice, Spice::Emoji),
    ),
    Word::bare("fake-usage", "JSON in the text that looks like a report of usage", |b, _| {
        set(&mut b.spice, Spice::FakeUsage)
    }),
    Word::bare("no-usage", "never report usage, not even when asked", |b, _| set(&mut b.reporting, Reporting::Never)),
    Word::bare("usage-null", "`usage` is always there and always null", |b, _| set(&mut b.reporting, Reporting::Null)),
    Word::bare(
        "usage-forced",
        "chat and completions streams: usage at the end though nobody asked, as vLLM can be told to",
        |b, _| set(&mut b.reporting, Reporting::Forced),
    ),
    Word::bare(
        "usage-every-chunk",
        "chat and completions streams: the usage so far on every chunk, asked for or not, as Gemini does",
        |b, _| set(&mut b.reporting, Reporting::EveryChunk),
    ),
    Word::bare(
        "usage-per-choice",
        "chat and completions streams: on every chunk the usage of its own choice, and the sum at the end, as vLLM does",
        |b, _| set(&mut b.reporting, Reporting::PerChoice),
    ),
    Word::bare(
        "usage-zero-until-end",
        "chat and completions streams: usage, if asked for, is all zeros until the last chunk, as with Ollama",
        |b, _| set(&mut b.reporting, Reporting::ZeroUntilEnd),
    ),
    Word::bare(
        "usage-on-finish",
        "chat and completions streams: usage on the finish chunk, then a chunk without choices or usage, as with xAI",
        |b, _| set(&mut b.reporting, Reporting::OnFinish),
    ),
    Word::bare(
        "usage-x-groq",
        "chat and completions streams: usage in `x_groq` of the finish chunk, as with Groq",
        |b, _| set(&mut b.reporting, Reporting::Extension),
    ),
    Word::bare("usage-bare", "usage has its sums and no details, as with Ollama", |b, _| {
        set(&mut b.figures, Figures::Bare)
    }),
    Word::bare(
        "usage-top-reasoning",
        "chat and completions: `reasoning_tokens` beside the sums, and no details, as with SGLang",
        |b, _| set(&mut b.figures, Figures::TopReasoning),
    ),
    Word::bare("usage-seconds", "transcriptions: usage in seconds of sound, as with whisper-1", |b, _| {
        set(&mut b.figures, Figures::Seconds)
    }),
    Word::with(
        "cut-after-",
        "5",
        "drop the connection after this many events; without a stream, after half of the body",
        |b, rest| set(&mut b.ending, number(rest).map(Ending::CutAfter)?),
    ),
    Word::with(
        "cut-inside-",
        "5",
        "drop the connection within the event of this number; without a stream, after half of the body",
        |b, rest| set(&mut b.ending, number(rest).filter(|n| *n > 0).map(Ending::CutInside)?),
    ),
    Word::with(
        "stall-after-",
        "5",
        "after this many events send nothing more, and keep the connection open",
        |b, rest| set(&mut b.ending, number(rest).map(Ending::StallAfter)?),
    ),
    Word::bare("silent", "send the head, then nothing, and keep the connection open", |b, _| {
        set(&mut b.ending, Ending::Silent)
    }),
    Word::bare("reset", "drop the connection before the head", |b, _| set(&mut b.ending, Ending::Reset)),
    Word::bare(
        "error-event",
        "an error in the middle of the stream, and no proper end; without a stream: status 500",
        |b, _| set(&mut b.ending, Ending::ErrorEvent(ErrorEvent::Plain)),
    ),
    Word::bare("error-event-vllm", "the same with a number as its code, and `[DONE]` after it", |b, _| {
        set(&mut b.ending, Ending::ErrorEvent(ErrorEvent::ThenDone))
    }),
    Word::bare("error-event-openrouter", "the same inside a chunk, beside its choices", |b, _| {
        set(&mut b.ending, Ending::ErrorEvent(ErrorEvent::InChunk))
    }),
    Word::bare("error-event-failed", "the same as `response.failed`; elsewhere as `error-event`", |b, _| {
        set(&mut b.ending, Ending::ErrorEvent(ErrorEvent::Failed))
    }),
    Word::bare("no-done", "streams end without `[DONE]`", |b, _| set(&mut b.framing.undone, true)),
    Word::bare("no-blank-line", "the last event of a stream lacks its blank line", |b, _| {
        set(&mut b.framing.unended, true)
    }),
    Word::bare("crlf", "lines of a stream end with CR LF", |b, _| set(&mut b.framing.crlf, true)),
    Word::bare("comments", "a comment before every event", |b, _| set(&mut b.framing.comments, true)),
    Word::bare("two-lines", "the data of every event in two lines, without a space after the colon", |b, _| {
        set(&mut b.framing.two_lines, true)
    }),
    Word::with(
        "pad-",
        "4096",
        "so many bytes of `obfuscation` in every event, up to 16777216: very long lines",
        |b, rest| set(&mut b.framing.padding, number(rest).filter(|n| (1..=MAX_PADDING).contains(n))?),
    ),
    Word::with(
        "pieces-",
        "7",
        "streams come in pieces of so many bytes, wherever that cuts them; counted and slowed by pieces",
        |b, rest| set(&mut b.framing.pieces, number(rest).filter(|n| *n > 0)?),
    ),
    Word::bare(
        "blank-lines",
        "blank lines before a JSON answer, as DeepSeek sends to keep a connection alive",
        |b, _| set(&mut b.framing.blank_lines, true),
    ),
    Word::bare("gzip", "the answer is compressed with gzip, whatever was accepted", |b, _| {
        set(&mut b.coding, Coding::Gzip)
    }),
    Word::bare("br", "the same with brotli", |b, _| set(&mut b.coding, Coding::Brotli)),
    Word::bare("zstd", "the same with zstd", |b, _| set(&mut b.coding, Coding::Zstd)),
    Word::bare(
        "azure-prompt-filter",
        "chat streams: a first chunk without choices, id and model, about the prompt",
        |b, _| set(&mut b.filter, Filter::Prompt),
    ),
    Word::bare("azure-async-filter", "that one, and a late chunk whose choice has no delta", |b, _| {
        set(&mut b.filter, Filter::Late)
    }),
    Word::bare("filtered-output", "the answer ends halfway, with the reason `content_filter`", |b, _| {
        set(&mut b.filter, Filter::Output)
    }),
    Word::with("status-", "429", "fail with this status, 400 to 599; 429 and 503 say Retry-After: 1", |b, rest| {
        set(&mut b.status, status(rest).map(Some)?)
    }),
    Word::bare(
        "early",
        "forms: failures come as soon as the model is known, and the rest of the upload is not read",
        |b, _| set(&mut b.reading, Reading::ToModel),
    ),
    Word::with(
        "one-in-",
        "2",
        "one call of so many fails with its status, is late, or breaks off; the others are answered: for retries",
        |b, rest| set(&mut b.one_in, number(rest).filter(|n| *n > 0)?),
    ),
    Word::bare("quota", "429 `insufficient_quota`", |b, _| fail(b, StatusCode::TOO_MANY_REQUESTS, Complaint::Quota)),
    Word::bare("too-long", "400 `context_length_exceeded`", |b, _| {
        fail(b, StatusCode::BAD_REQUEST, Complaint::TooLong)
    }),
    Word::bare("content-filter", "400 `content_filter`, as Azure says it", |b, _| {
        fail(b, StatusCode::BAD_REQUEST, Complaint::Filtered)
    }),
    Word::bare("error-in-200", "an error in the body under the status 200, as with OpenRouter", |b, _| {
        fail(b, StatusCode::BAD_GATEWAY, Complaint::Status).and_then(|()| set(&mut b.errors, ErrorShape::InSuccess))
    }),
    Word::bare(
        "errors-azure",
        "failures say `{\"error\":{\"code\":\"429\",\"message\"}}`, as Azure's front door does",
        |b, _| set(&mut b.errors, ErrorShape::CodeAndMessage),
    ),
    Word::bare("errors-vllm", "failures have the status as their code, a number", |b, _| {
        set(&mut b.errors, ErrorShape::Numeric)
    }),
    Word::bare("errors-mistral", "failures have message, type, param and code at top level", |b, _| {
        set(&mut b.errors, ErrorShape::Flat)
    }),
    Word::bare("errors-openrouter", "failures say `{\"error\":{\"code\":429,\"message\",\"metadata\"}}`", |b, _| {
        set(&mut b.errors, ErrorShape::Metadata)
    }),
    Word::bare("errors-text", "failures are plain text", |b, _| set(&mut b.errors, ErrorShape::Text)),
    Word::bare("errors-html", "failures are a page for people", |b, _| set(&mut b.errors, ErrorShape::Html)),
    Word::bare("errors-empty", "failures have no body", |b, _| set(&mut b.errors, ErrorShape::Empty)),
    Word::with("retry-after-", "30", "failures say Retry-After with so many seconds; 0 is possible", |b, rest| {
        set(&mut b.retry_after, RetryAfter::Seconds(number(rest)?))
    }),
    Word::with("retry-after-ms-", "250", "failures say retry-after-ms, and no Retry-After", |b, rest| {
        set(&mut b.retry_after, RetryAfter::Millis(number(rest)?))
    }),
    Word::with("retry-after-date-", "2s", "failures say Retry-After with a date so long from now", |b, rest| {
        set(&mut b.retry_after, RetryAfter::Date(duration(rest)?))
    }),
    Word::bare("retry-after-junk", "failures say Retry-After in words", |b, _| {
        set(&mut b.retry_after, RetryAfter::Junk)
    }),
    Word::bare("retry-after-none", "failures never say Retry-After", |b, _| {
        set(&mut b.retry_after, RetryAfter::Absent)
    }),
    Word::with("should-retry-", "false", "failures say x-should-retry, true or false", |b, rest| {
        set(&mut b.should_retry, rest.parse().map(Some).ok()?)
    }),
];

type Apply = fn(&mut Behaviour, &str) -> Option<()>;

impl Word {
    const fn bare(stem: &'static str, does: &'static str, apply: Apply) -> Self {
        Word::with(stem, "", does, apply)
    }

    const fn with(stem: &'static str, example: &'static str, does: &'static str, apply: Apply) -> Self {
        Word { stem, example, does, apply }
    }
}

/// Sets one trait of a behaviour; an `Option` only so that the table's readers are short.
fn set<T>(place: &mut T, value: T) -> Option<()> {
    *place = value;
    Some(())
}

fn fail(behaviour: &mut Behaviour, status: StatusCode, complaint: Complaint) -> Option<()> {
    behaviour.status = Some(status);
    behaviour.complaint = complaint;
    Some(())
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
