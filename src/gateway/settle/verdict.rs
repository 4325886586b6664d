//! Decides what an ended call is charged: what was reported, else an estimate by the kind of its answer.
//!
//! The table of 3-limits.md, step 6, and the one for calls whose answer has no tokens. Must not count or write anything.

use super::{Ending, InputCharge, Verdict, outcome};
use crate::gateway::call::Facts;
use crate::limits::RequestCharge;
use crate::net::clock::Moment;
use crate::usage::record::Outcome;
use crate::usage::{Source, Usage, estimate};
use crate::wire::endpoint::Endpoint;

/// The reason of an estimate that is no fault: answers of that kind never say tokens.
const BY_TABLE: &str = "by_table";

/// What the call is charged.
pub(super) fn verdict(facts: &Facts, ending: Ending, now: Moment) -> Verdict {
    match (ending, facts.reading.usage) {
        (Ending::NeverSent(_), _) => Verdict::no_tokens(RequestCharge::GivenBack),
        (_, Some(usage)) => Verdict::reported(usage),
        (Ending::Whole, None) => match facts.sent {
            Some(_) if is_count(facts) => Verdict::no_tokens(RequestCharge::Kept),
            Some(_) => whole(facts, now),
            None => Verdict::no_tokens(RequestCharge::Kept),
        },
        (Ending::UpstreamRefused(InputCharge::None), None) => Verdict::no_tokens(RequestCharge::Kept),
        (Ending::UpstreamRefused(InputCharge::Filtered), None) => estimated(facts.estimate.input, 0, "content_filter"),
        (Ending::Broken(_), None) => match facts.sent {
            Some(_) if is_count(facts) => Verdict::no_tokens(RequestCharge::Kept),
            Some(sent) => broken(facts, ending, sent, now),
            None => Verdict::no_tokens(RequestCharge::GivenBack),
        },
    }
}

/// Whether the call asked how many tokens there are: counting them generates none.
fn is_count(facts: &Facts) -> bool {
    facts.endpoint == Some(Endpoint::InputTokens)
}

fn estimated(input: u64, output: u64, why: &'static str) -> Verdict {
    Verdict {
        usage: Usage { input, output, ..Usage::default() },
        source: Some(Source::Estimated),
        request: RequestCharge::Kept,
        estimated: Some(why),
    }
}

/// A success without usage.
fn whole(facts: &Facts, now: Moment) -> Verdict {
    match by_table(facts) {
        Some((input, output)) => estimated(input, output, BY_TABLE),
        None if has_text(facts) => estimated(facts.estimate.input, written(facts, now), "not_reported"),
        None => estimated(facts.estimate.input, 0, "not_reported"),
    }
}

/// An answer without usage that broke off, on whichever side.
fn broken(facts: &Facts, ending: Ending, sent: Moment, now: Moment) -> Verdict {
    let why = why_broken(ending);
    if let Some((input, output)) = by_table(facts) {
        // Before any byte: what it may have been worked on until then. After: such an answer is made before it is sent.
        let output = if facts.first_byte.is_none() { unseen(facts, sent, now).min(output) } else { output };
        return estimated(input, output, why);
    }
    if !has_text(facts) {
        return estimated(facts.estimate.input, 0, why);
    }
    // A stream shows what was written; an answer in one piece is written before its first byte comes.
    let output = match (facts.first_byte, facts.stream) {
        (None, _) => worked(facts, sent, now),
        (Some(_), true) => written(facts, now),
        (Some(_), false) => written(facts, now).max(worked(facts, sent, now)),
    };
    estimated(facts.estimate.input, output, why)
}

fn why_broken(ending: Ending) -> &'static str {
    match outcome(ending) {
        Outcome::ClientGone => "client_gone",
        Outcome::Timeout => "timeout",
        _ => "truncated",
    }
}

/// Whether the answer is text that a model wrote.
fn has_text(facts: &Facts) -> bool {
    facts.endpoint.is_some_and(|endpoint| endpoint.generates() || endpoint == Endpoint::Transcriptions)
}

/// Input and output of a whole call whose kind of answer has no tokens, where this one had none (3-limits.md, "How much to
/// reserve", the table). `None` for those that should have told.
fn by_table(facts: &Facts) -> Option<(u64, u64)> {
    let details = facts.reading.details.as_deref().copied().unwrap_or_default();
    let sound = (details.audio_millis > 0).then(|| estimate::tokens_of_sound(details.audio_millis));
    match facts.endpoint? {
        Endpoint::Speech => {
            let text = estimate::tokens(facts.estimate.input_bytes, estimate::START_BYTES_PER_TOKEN);
            Some((text, sound.unwrap_or(text)))
        }
        // The sound is what was read; what was written is in it.
        Endpoint::Transcriptions => sound.map(|sound| (sound, 0)),
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => {
            let images = if details.images > 0 { details.images } else { facts.estimate.answers.max(1) };
            Some((facts.estimate.input, images.saturating_mul(estimate::TOKENS_PER_IMAGE_OUT)))
        }
        Endpoint::Moderations | Endpoint::Rerank | Endpoint::Translations => Some((facts.estimate.input, 0)),
        _ => None,
    }
}

/// Tokens in the text that passed; where it could not be read, in the bytes that passed, or in the time that they took.
fn written(facts: &Facts, now: Moment) -> u64 {
    let ratio =
        facts.learned.as_ref().map_or(estimate::START_BYTES_PER_TOKEN, |learned| learned.bytes_per_output_token(now));
    let read = estimate::tokens(facts.reading.text_bytes, ratio);
    if facts.reading.unmetered.is_none() {
        return read;
    }
    let timed = facts.sent.map_or(0, |sent| worked(facts, sent, now));
    read.max(timed).max(estimate::tokens(facts.bytes_out, ratio))
}

/// Tokens that the upstream may have written unseen since it got the call, at most those planned for.
fn worked(facts: &Facts, sent: Moment, now: Moment) -> u64 {
    unseen(facts, sent, now).min(facts.estimate.output)
}

/// Tokens that the upstream may have written unseen since it got the call.
fn unseen(facts: &Facts, sent: Moment, now: Moment) -> u64 {
    let until = facts.first_byte.unwrap_or(now);
    let rate = facts.learned.as_ref().map_or(0.0, |learned| learned.output_tokens_per_second(now));
    // The cast saturates.
    (until.since(sent).as_secs_f64() * rate).ceil() as u64
}
