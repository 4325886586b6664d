//! Passes over a value of any depth, checks it wholly, and counts the text in it that a model will read.
//!
//! Must not know which parameter the value belongs to: a [`Scope`] says what counts. Holds two bits a level, nothing else.

use super::cursor::{Cursor, Text};
use super::fault::{BodyFault, FaultCode};
use super::keys::Unescaped;

/// The deepest nesting that is accepted, the root object included (RFC 8259 9 lets a reader set a limit).
pub(super) const DEEPEST: u32 = 64;

/// Bytes that one token given as a number stands for.
const BYTES_PER_TOKEN_NUMBER: u64 = 4;

/// A string under `data` or `result` that is at least this long and looks like base64 is a file, not text.
const LONG_BASE64: usize = 512;

/// What counts in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing: it does not reach the model.
    Silent,
    /// Strings.
    Text,
    /// Strings, with images, sounds and files told apart.
    Content,
    /// Strings, but for images and files, which here need not stand under a key that says so: data URLs and long base64 are some.
    Files,
    /// Strings and keys: schemas are shown to the model whole.
    Schema,
    /// Strings, and numbers as tokens.
    Prompt,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Decoded bytes of text; [`BYTES_PER_TOKEN_NUMBER`] for a token given as a number.
    pub text_bytes: u64,
    /// Images, sounds and files.
    pub attachments: u64,
    /// Their bytes as they stand in the body.
    pub attachment_bytes: u64,
}

/// What a key inside of [`Scope::Content`] says of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    /// Nothing special: text.
    Other,
    /// A string here is an attachment, and so is the `url` or `data` of an object here.
    Carrier,
    /// A string here is an attachment.
    File,
    /// `url`: an attachment in a carrier, or if it is a data URL.
    Url,
    /// `data`, `result`: an attachment in a carrier, or if it is long base64.
    Data,
}

impl Under {
    /// Compares as written: a key with escapes counts as text, which is the safe side.
    fn of(key: &str) -> Self {
        match key {
            "image_url" | "video_url" | "audio_url" | "input_audio" => Under::Carrier,
            "file_data" | "file_id" | "file_url" => Under::File,
            "url" => Under::Url,
            "data" | "result" => Under::Data,
            _ => Under::Other,
        }
    }
}

/// The containers around the place where we are, a bit each; the innermost is the lowest bit.
struct Nest {
    objects: u64,
    carriers: u64,
    level: u32,
    outer: u32,
}

impl Nest {
    fn push(&mut self, is_object: bool, carrier: bool, at: usize) -> Result<(), BodyFault> {
        if self.outer + self.level >= DEEPEST {
            let message =
                format!("The body nests more than {DEEPEST} levels deep at byte {at}. Send a flatter document.");
            return Err(BodyFault::new(FaultCode::TooDeep, message));
        }
        self.objects = self.objects << 1 | u64::from(is_object);
        self.carriers = self.carriers << 1 | u64::from(carrier);
        self.level += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.carriers >>= 1;
        self.level -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn in_carrier(&self) -> bool {
        self.carriers & 1 == 1
    }
}

/// Passes over the value here, which stands inside of `outer` containers.
pub(super) fn pass(cursor: &mut Cursor<'_>, scope: Scope, outer: u32, tally: &mut Tally) -> Result<(), BodyFault> {
    let mut nest = Nest { objects: 0, carriers: 0, level: 0, outer };
    let mut under = Under::Other;
    loop {
        match cursor.next_token() {
            Some(b'"') => {
                let text = cursor.string()?;
                tally.string(scope, under, nest.in_carrier(), &text);
            }
            Some(open @ (b'{' | b'[')) => {
                let is_object = open == b'{';
                nest.push(is_object, under == Under::Carrier && is_object, cursor.at())?;
                cursor.bump();
                if cursor.next_token() != Some(open + 2) {
                    // Both closing brackets come two after their opening ones in ASCII.
                    under = member(cursor, &nest, scope, tally)?;
                    continue;
                }
                cursor.bump();
                nest.pop();
            }
            Some(b'-' | b'0'..=b'9') => {
                cursor.number()?;
                if scope == Scope::Prompt {
                    tally.text_bytes += BYTES_PER_TOKEN_NUMBER;
                }
            }
            _ => literal(cursor)?,
        }
        // A value has ended: so have the containers that end here.
        loop {
            if nest.level == 0 {
                return Ok(());
            }
            let close = if nest.in_object() { b'}' } else { b']' };
            match cursor.next_token() {
                Some(b',') => {
                    cursor.bump();
                    under = member(cursor, &nest, scope, tally)?;
                    break;
                }
                Some(byte) if byte == close => {
                    cursor.bump();
                    nest.pop();
                }
                _ if nest.in_object() => return Err(cursor.unexpected("a comma or '}'")),
                _ => return Err(cursor.unexpected("a comma or ']'")),
            }
        }
    }
}

/// Goes past what comes before the next value in the innermost container: a key, if it is an object.
fn member(cursor: &mut Cursor<'_>, nest: &Nest, scope: Scope, tally: &mut Tally) -> Result<Under, BodyFault> {
    if !nest.in_object() {
        return Ok(Under::Other);
    }
    let key = cursor.key()?;
    Ok(match scope {
        Scope::Content | Scope::Files => Under::of(key.raw()),
        Scope::Schema => {
            tally.text_bytes += key.length() as u64;
            Under::Other
        }
        _ => Under::Other,
    })
}

/// Goes past `true`, `false` or `null`.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<(), BodyFault> {
    match cursor.next_token() {
        Some(b't') => cursor.literal("true"),
        Some(b'f') => cursor.literal("false"),
        Some(b'n') => cursor.literal("null"),
        _ => Err(cursor.unexpected("a JSON value")),
    }
}

impl Tally {
    /// Counts a string.
    fn string(&mut self, scope: Scope, under: Under, in_carrier: bool, text: &Text<'_>) {
        let attached = matches!(scope, Scope::Content | Scope::Files)
            && match under {
                Under::Other => scope == Scope::Files && (starts_as_data_url(text.raw) || looks_like_base64(text.raw)),
                Under::Carrier | Under::File => true,
                Under::Url => in_carrier || starts_as_data_url(text.raw),
                Under::Data => in_carrier || looks_like_base64(text.raw),
            };
        if attached {
            self.attachments += 1;
            self.attachment_bytes += text.raw.len() as u64;
        } else if scope != Scope::Silent {
            self.text_bytes += text.decoded as u64;
        }
    }
}

/// Whether a string is a data URL (RFC 2397); its slashes may be escaped.
fn starts_as_data_url(raw: &[u8]) -> bool {
    raw.first_chunk::<5>().is_some_and(|start| start.eq_ignore_ascii_case(b"data:"))
}

/// Whether a string is long, and its first characters are those of base64.
fn looks_like_base64(raw: &[u8]) -> bool {
    let start = &raw[..raw.len().min(64)];
    raw.len() >= LONG_BASE64
        && std::str::from_utf8(start).is_ok_and(|start| {
            Unescaped::new(start).all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '\\'))
        })
}
