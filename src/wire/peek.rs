//! Reads the body of a request once and strictly: what the gateway decides on, and where in the bytes it stands.
//!
//! Must not know tenants, limits or routes; it judges only whether the document can be read in one way. Nothing is copied but
//! the model's name, no tree is built, and every byte is checked, those of unknown fields included (5-reliability.md 4a).
//!
//! What counts as text that the model reads (`text_bytes`), in decoded bytes: every string in every parameter, except in those
//! that are known not to reach the model (`model`, `metadata`, `user` and their like). In schemas (`tools`, `functions`,
//! `response_format`, `text`) keys count too. In prompts given as tokens every number counts 4 bytes. In `messages`, `input`
//! and `prompt` of Responses, images, sounds and files are counted apart: strings under `image_url`, `video_url`, `audio_url`,
//! `input_audio` (or in the `url` and `data` of objects there), `file_data`, `file_id`, `file_url`, data URLs under `url`, and
//! long base64 under `data` and `result`. A string under any other key is text, whatever it looks like, so that nobody can
//! pass a long prompt as an image. So it is in `query`, `documents` and `questions` too. In images, `image`, `images` and `mask` are
//! attachments where they hold data URLs or long base64, and options of the picture are no text; in speech, `voice` is none.

mod cursor;
mod fault;
mod field;
mod keys;
mod reader;
mod value;

use std::ops::Range;

use crate::wire::endpoint::Endpoint;

use cursor::Cursor;
use reader::Reader;
use value::{Scope, Tally, pass};

pub(in crate::wire) use fault::shown;
pub use fault::{BodyFault, FaultCode};
pub(in crate::wire) use field::NEWER_IMAGE_KEYS;
pub(in crate::wire) use keys::mistaken_for;
pub(in crate::wire) use reader::missing_model;

/// Whether keys that some readers take for a policy key are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyRule {
    /// `Model` is refused: an upstream that ignores case would take it for `model`.
    #[default]
    Strict,
    /// They pass as unknown fields (`server.lenient_keys`).
    Lenient,
}

/// How bodies are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// What happens to look-alikes of policy keys.
    pub keys: KeyRule,
}

/// What a body says, and where. All spans are byte ranges of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The endpoint that the body was read for.
    pub endpoint: Endpoint,
    /// The model's name, decoded; [`model_name::fault`](crate::wire::model_name::fault) has nothing against it.
    pub model: String,
    /// Its JSON string, quotes included, or the null in its place. `None` where the key is absent (then, as with null, `model` is
    /// the endpoint's documented default), and in a form, where [`FormHead`](crate::wire::form::FormHead) says it.
    pub model_span: Option<Range<usize>>,
    /// Whether a stream is asked for: by `stream`, and in speech by `stream_format`.
    pub stream: bool,
    /// The value of `stream`, if the key is there.
    pub stream_span: Option<Range<usize>>,
    /// What stands under `stream_options`.
    pub stream_options: StreamOptions,
    /// Just after the root's `{`.
    pub object_start: usize,
    /// Whether the root has no members, as it can only where a model need not be named.
    pub object_empty: bool,
    /// The largest cap on output tokens that is named; `None` if none is (0, −1 and null name none).
    pub output_cap: Option<u64>,
    /// Where caps stand.
    pub caps: Caps,
    /// Answers per prompt: the larger of `n` and `best_of`, at least 1; images, where those are made.
    pub choices: u64,
    /// Which of the two that is; `n` if they are equal, or absent.
    pub choices_key: &'static str,
    /// The service tier that is asked for, if one is.
    pub service_tier: Option<Box<str>>,
    /// Prompts in one call, at least 1: strings and token arrays in `prompt` (completions) or `input` (embeddings).
    pub prompts: u64,
    /// Text that the model reads, in decoded bytes; see the module's documentation.
    pub text_bytes: u64,
    /// Images, sounds and files.
    pub attachments: u64,
    /// What they take in the body, in bytes.
    pub attachment_bytes: u64,
    /// What the call asks of kept state.
    pub state: State,
}

/// The value of `stream_options`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamOptions {
    /// No such key.
    #[default]
    Absent,
    /// `null`.
    Null {
        /// The `null`.
        span: Range<usize>,
    },
    /// An object.
    Object {
        /// From `{` to `}`.
        span: Range<usize>,
        /// `include_usage` (`None` for null), and its value's place; absent if the key is.
        include_usage: Option<(Option<bool>, Range<usize>)>,
        /// Whether it has no keys.
        empty: bool,
        /// Just after its `{`.
        insert_at: usize,
    },
}

/// The three spellings of an output cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// `max_tokens`
    pub max_tokens: Option<Cap>,
    /// `max_completion_tokens`
    pub max_completion_tokens: Option<Cap>,
    /// `max_output_tokens`
    pub max_output_tokens: Option<Cap>,
}

/// A cap's key that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Tokens; `None` for 0, −1 and null.
    pub tokens: Option<u64>,
    /// The value.
    pub span: Range<usize>,
}

/// Parameters of Responses that create or read kept state: recorded, not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `store`, if it is true or false.
    pub store: Option<bool>,
    /// Whether `previous_response_id` is there and not null.
    pub previous_response_id: bool,
    /// Whether `conversation` is there and not null.
    pub conversation: bool,
    /// Whether `background` is there and neither null nor false.
    pub background: bool,
}

/// Reads a body.
///
/// # Errors
/// The first fault found, in the order of the bytes; a missing `model` last.
pub fn peek(endpoint: Endpoint, body: &[u8], rules: Rules) -> Result<Peek, BodyFault> {
    refuse_other_encodings(body)?;
    let mut cursor = Cursor::new(body);
    if cursor.next_token() != Some(b'{') {
        return Err(not_an_object(&mut cursor));
    }
    cursor.bump();
    let mut reader = Reader::new(endpoint, cursor);
    reader.members(rules)?;
    reader.finish()
}

/// UTF-16 and UTF-32 show NULs where JSON's first two characters, which are ASCII, stand; RFC 8259 8.1 rules out a BOM.
fn refuse_other_encodings(body: &[u8]) -> Result<(), BodyFault> {
    let wide = body.iter().take(2).any(|&b| b == 0);
    let marked = [b"\xef\xbb\xbf".as_slice(), b"\xfe\xff", b"\xff\xfe"].iter().any(|bom| body.starts_with(bom));
    if !wide && !marked {
        return Ok(());
    }
    let message = "The body is UTF-16 or UTF-32, or begins with a byte order mark. Send JSON as plain UTF-8.";
    Err(BodyFault::new(FaultCode::InvalidEncoding, message))
}

/// The fault of a body that is no object: what is wrong with its JSON, or else that it is another kind of value.
fn not_an_object(cursor: &mut Cursor<'_>) -> BodyFault {
    let Some(_) = cursor.next_token() else {
        return BodyFault::new(FaultCode::InvalidJson, "The body is empty. Send a JSON object.");
    };
    match pass(cursor, Scope::Silent, 0, &mut Tally::default()) {
        Err(fault) => fault,
        Ok(()) => BodyFault::new(FaultCode::InvalidJson, "The body is JSON, but not an object. Send a JSON object."),
    }
}

#[cfg(test)]
mod tests;
