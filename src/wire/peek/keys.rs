//! Compares keys as they read when decoded, finds a key that came twice, and a key that some reader takes for another.
//!
//! Must not know what a key's value is for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use super::cursor::{Text, code_unit};
use super::fault::{BodyFault, FaultCode, shown};

/// The most keys that one object which we read may have.
pub(super) const MOST_KEYS: usize = 10_000;

/// A key, borrowed; equal to another that decodes to the same characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    raw: &'a str,
    decoded: usize,
    /// Where its opening quote stands.
    pub at: usize,
}

impl<'a> Key<'a> {
    /// The key that a string is.
    pub(super) fn new(text: Text<'a>) -> Result<Self, BodyFault> {
        // The cursor has checked it if it is long; to look again at a key is cheap.
        let raw = std::str::from_utf8(text.raw).map_err(|e| BodyFault::encoding(text.at + 1 + e.valid_up_to()))?;
        Ok(Key { raw, decoded: text.decoded, at: text.at })
    }

    /// The key, decoded; of one with escapes the first 64 characters, which is longer than any name that we know.
    pub(super) fn name(&self) -> Cow<'a, str> {
        if self.escaped() { Cow::Owned(self.chars().take(64).collect()) } else { Cow::Borrowed(self.raw) }
    }

    /// Its bytes between the quotes.
    pub(super) fn raw(&self) -> &'a str {
        self.raw
    }

    /// How many bytes it is when decoded.
    pub(super) fn length(&self) -> usize {
        self.decoded
    }

    /// Whether it has only the characters that the names of parameters are made of.
    pub(super) fn is_plain(&self) -> bool {
        self.raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }

    fn escaped(&self) -> bool {
        self.decoded != self.raw.len()
    }

    /// Its characters, decoded.
    pub(super) fn chars(&self) -> Unescaped<'a> {
        Unescaped::new(self.raw)
    }

    /// At most 64 characters of it, for a message.
    pub(super) fn shown(&self) -> String {
        shown(self.chars())
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        if self.escaped() || other.escaped() { self.chars().eq(other.chars()) } else { self.raw == other.raw }
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Characters in both spellings, so that equal keys write the same to the hasher.
        for c in self.chars() {
            state.write_u32(c as u32);
        }
    }
}

/// The characters of a JSON string's content; half a surrogate pair reads as U+FFFD.
#[derive(Clone)]
pub(super) struct Unescaped<'a> {
    rest: &'a str,
}

impl<'a> Unescaped<'a> {
    /// `raw` is what stands between the quotes, checked by the cursor.
    pub(super) fn new(raw: &'a str) -> Self {
        Unescaped { rest: raw }
    }

    /// The character of the escape here, and its length.
    fn escape(&self) -> (char, usize) {
        let bytes = self.rest.as_bytes();
        let Some(unit) = code_unit(bytes) else {
            return match bytes.get(1) {
                Some(b'b') => ('\u{8}', 2),
                Some(b'f') => ('\u{c}', 2),
                Some(b'n') => ('\n', 2),
                Some(b'r') => ('\r', 2),
                Some(b't') => ('\t', 2),
                Some(&other) => (char::from(other), 2),
                None => ('\\', 1),
            };
        };
        let low = code_unit(&bytes[6..]).filter(|low| (0xdc00..0xe000).contains(low));
        let (code, length) = match (unit, low) {
            (0xd800..0xdc00, Some(low)) => (0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), 12),
            _ => (unit, 6),
        };
        (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let (c, length) = match self.rest.chars().next()? {
            '\\' => self.escape(),
            c => (c, c.len_utf8()),
        };
        self.rest = self.rest.get(length..).unwrap_or_default();
        Some(c)
    }
}

/// The keys of one object so far.
#[derive(Default)]
pub(super) struct Seen<'a> {
    few: SmallVec<[Key<'a>; 24]>,
    /// Takes over when they are many; its hash is seeded by chance, so that nobody can choose keys that collide.
    many: HashSet<Key<'a>>,
}

impl<'a> Seen<'a> {
    /// Notes a key; refuses one that came before, and one too many.
    pub(super) fn note(&mut self, key: Key<'a>, within: &str) -> Result<(), BodyFault> {
        let new = if !self.many.is_empty() {
            self.many.insert(key)
        } else if self.few.contains(&key) {
            false
        } else if self.few.len() < self.few.inline_size() {
            self.few.push(key);
            true
        } else {
            self.many.extend(self.few.iter().copied());
            self.many.insert(key)
        };
        if !new {
            let name = format!("{within}{}", key.shown());
            let message = format!("'{name}' stands twice in the same object (again at byte {}). Send it once.", key.at);
            return Err(BodyFault::new(FaultCode::DuplicateKey, message).about(name));
        }
        if self.many.len() > MOST_KEYS {
            let message = format!("An object has more than {MOST_KEYS} keys (byte {}). Send fewer.", key.at);
            return Err(BodyFault::new(FaultCode::InvalidValue, message));
        }
        Ok(())
    }
}

/// The name among `known` that a reader which ignores case, or white space at the ends, takes a key of these characters for;
/// not the key itself.
///
/// Case is ignored as Unicode's simple folding does it, which is how Go's `encoding/json` compares: the long s and the Kelvin
/// sign count as `s` and `k`. At the ends, NUL and characters without width count as white space.
pub(in crate::wire) fn mistaken_for(
    key: impl Iterator<Item = char> + Clone,
    known: &[&'static str],
) -> Option<&'static str> {
    let mut folded: SmallVec<[u8; 32]> = SmallVec::new();
    let mut ended = false;
    for c in key.clone() {
        if is_blank(c) {
            ended = !folded.is_empty();
            continue;
        }
        let c = match c {
            'ſ' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        };
        if ended || folded.len() == folded.inline_size() {
            return None;
        }
        folded.push(u8::try_from(c).ok().filter(u8::is_ascii)?);
    }
    let name = known.iter().find(|name| name.as_bytes() == folded.as_slice())?;
    (!key.eq(name.chars())).then_some(name)
}

/// White space, NUL, and characters without width.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\0' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}
