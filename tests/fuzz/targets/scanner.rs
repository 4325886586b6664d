//! Feeds the readers of answers with anything, in any pieces: they must say the same of it, pass the same bytes, and agree
//! with a slow reader built on a JSON parser.
//!
//! The first byte of the input chooses the dialect, the second how it is cut.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate::stream::{Dialect, Ended, Passed, Scanner, UsageChunk};
use tollgate::usage::{BodyScanner, Details, Tier, Usage};

#[path = "reference.rs"]
mod reference;

const DIALECTS: [Dialect; 8] = [
    Dialect::Chat,
    Dialect::Completions,
    Dialect::Responses,
    Dialect::Embeddings,
    Dialect::Count,
    Dialect::Images,
    Dialect::Speech,
    Dialect::Transcription,
];

/// What a stream's reader says.
#[derive(Debug, PartialEq)]
struct Streamed {
    usage: Option<Usage>,
    details: Option<Details>,
    tier: Option<Tier>,
    text: u64,
    events: u64,
    ended: Ended,
    finished: bool,
    failure: bool,
    model: Option<String>,
    passed: Vec<u8>,
}

fn streamed(dialect: Dialect, chunk: UsageChunk, pieces: &[&[u8]]) -> Streamed {
    let mut scanner = Scanner::new(dialect, chunk);
    let mut passed = Vec::new();
    for piece in pieces {
        match scanner.feed(Bytes::copy_from_slice(piece)) {
            Passed::Whole(bytes) => passed.extend_from_slice(&bytes),
            Passed::Parts(parts) => parts.iter().for_each(|part| passed.extend_from_slice(part)),
            Passed::Nothing => {}
        }
    }
    passed.extend_from_slice(&scanner.finish().unwrap_or_default());
    Streamed {
        usage: scanner.usage(),
        details: scanner.details(),
        tier: scanner.tier(),
        text: scanner.text_bytes(),
        events: scanner.events(),
        ended: scanner.ended(),
        finished: scanner.finished(),
        failure: scanner.told_failure(),
        model: scanner.served_model().map(str::to_owned),
        passed,
    }
}

/// What the reader of a whole document says.
#[derive(Debug, PartialEq)]
struct Read {
    usage: Option<Usage>,
    details: Option<Details>,
    tier: Option<Tier>,
    text: u64,
    complete: bool,
    model: Option<String>,
}

fn read(dialect: Dialect, feed: impl FnOnce(&mut BodyScanner)) -> Read {
    let mut scanner = BodyScanner::new(dialect);
    feed(&mut scanner);
    Read {
        usage: scanner.usage(),
        details: scanner.details(),
        tier: scanner.tier(),
        text: scanner.text_bytes(),
        complete: scanner.is_complete(),
        model: scanner.served_model().map(str::to_owned),
    }
}

/// The bytes in pieces of one to so many bytes, by a small generator.
fn cut(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    let longest = [1, 3, 17, 64, 400][usize::from(seed) % 5];
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let length = (1 + state as usize % longest).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fuzz_target!(|input: &[u8]| {
    let [dialect, seed, bytes @ ..] = input else { return };
    let dialect = DIALECTS[usize::from(*dialect) % DIALECTS.len()];
    let pieces = cut(bytes, *seed);

    let whole = streamed(dialect, UsageChunk::Keep, &[bytes]);
    assert_eq!(whole.passed, bytes);
    assert_eq!(streamed(dialect, UsageChunk::Keep, &pieces), whole);
    let stripped = streamed(dialect, UsageChunk::TakeOut, &[bytes]);
    assert_eq!(streamed(dialect, UsageChunk::TakeOut, &pieces), stripped);
    assert_eq!((stripped.usage, stripped.text, stripped.ended), (whole.usage, whole.text, whole.ended));
    assert!(is_part_of(&stripped.passed, bytes));
    if let Some(usage) = reference::of_stream(dialect, bytes) {
        assert_eq!(whole.usage, usage, "{dialect:?} {}", String::from_utf8_lossy(bytes));
    }

    let walked = read(dialect, |scanner| scanner.feed(bytes));
    assert_eq!(read(dialect, |scanner| pieces.iter().for_each(|piece| scanner.feed(piece))), walked);
    let short = read(dialect, |scanner| scanner.feed_whole(bytes));
    if let Some(usage) = reference::of_body(dialect, bytes) {
        assert_eq!(walked.usage, usage, "{dialect:?} {}", String::from_utf8_lossy(bytes));
        // The short way counts no text, and may leave the model out.
        assert_eq!((short.usage, short.details, short.tier), (walked.usage, walked.details, walked.tier));
    }
});

/// Whether `part` is `all` with some runs of bytes left out.
fn is_part_of(part: &[u8], all: &[u8]) -> bool {
    let mut rest = all.iter();
    part.iter().all(|byte| rest.any(|other| other == byte))
}
