//! Walks over a body's tokens: strings, numbers, literals, white space; each is checked to its last byte.
//!
//! Must not know what any key means. Never moves back, never recurses, allocates only to describe a fault.

use super::fault::{BodyFault, FaultCode};
use super::keys::Key;

/// A place in a body.
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// The bytes between the quotes: UTF-8, with every escape well formed.
    pub raw: &'a [u8],
    /// Where the opening quote stands.
    pub at: usize,
    /// How many bytes it is when decoded; a lone surrogate counts as 3.
    pub decoded: usize,
    /// Where the first `\u` escape of half a surrogate pair stands.
    pub lone: Option<usize>,
}

impl Text<'_> {
    /// Whether it has escapes.
    pub(super) fn escaped(&self) -> bool {
        self.decoded != self.raw.len()
    }
}

/// A number as written.
pub(super) struct Number<'a> {
    /// Its bytes.
    pub raw: &'a [u8],
    /// Whether it has neither fraction nor exponent.
    pub integer: bool,
}

impl<'a> Cursor<'a> {
    /// At the start of a body.
    pub(super) fn new(body: &'a [u8]) -> Self {
        Cursor { body, at: 0 }
    }

    /// Bytes passed so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The byte here, white space (RFC 8259 2) skipped.
    pub(super) fn next_token(&mut self) -> Option<u8> {
        while let Some(&byte) = self.body.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Goes past the byte that [`Cursor::next_token`] showed.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Goes past `token`, which must be next.
    pub(super) fn expect(&mut self, token: u8, what: &str) -> Result<(), BodyFault> {
        if self.next_token() != Some(token) {
            return Err(self.unexpected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// The fault of the byte here, where `wanted` should stand.
    pub(super) fn unexpected(&self, wanted: &str) -> BodyFault {
        let Some(&byte) = self.body.get(self.at) else {
            let message = format!(
                "The body is not valid JSON: it ends at byte {}, where {wanted} should stand. Send the whole document.",
                self.at
            );
            return BodyFault::new(FaultCode::InvalidJson, message);
        };
        if !byte.is_ascii() {
            let start = &self.body[self.at..self.body.len().min(self.at + 4)];
            if std::str::from_utf8(start).is_err_and(|e| e.valid_up_to() == 0) {
                return BodyFault::encoding(self.at);
            }
        }
        let found =
            if byte.is_ascii_graphic() { format!("'{}'", char::from(byte)) } else { format!("byte 0x{byte:02x}") };
        BodyFault::json(self.at, &format!("found {found} where {wanted} should stand,"))
    }

    /// A key and the colon after it.
    pub(super) fn key(&mut self) -> Result<Key<'a>, BodyFault> {
        if self.next_token() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let text = self.string()?;
        if let Some(at) = text.lone {
            return Err(BodyFault::json(at, "half a surrogate pair in a key,"));
        }
        self.expect(b':', "a colon")?;
        Key::new(text)
    }

    /// The string whose opening quote is here.
    pub(super) fn string(&mut self) -> Result<Text<'a>, BodyFault> {
        let open = self.at;
        let start = open + 1;
        let mut at = start;
        let mut saved = 0;
        let mut lone = None;
        let mut non_ascii = false;
        loop {
            let run = plain_run(self.body.get(at..).unwrap_or_default());
            non_ascii |= run.non_ascii;
            at += run.length;
            match self.body.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let escape = escape(&self.body[at..])
                        .ok_or_else(|| BodyFault::json(at, "a backslash in a string that begins no escape,"))?;
                    if escape.lone {
                        lone = lone.or(Some(at));
                    }
                    at += escape.length;
                    saved += escape.length - escape.decoded;
                }
                Some(byte) => {
                    let what = format!("control character 0x{byte:02x} in a string (write it as an escape)");
                    return Err(BodyFault::json(at, &what));
                }
                None => return Err(BodyFault::json(open, "a string without an end, begun")),
            }
        }
        let raw = &self.body[start..at];
        if non_ascii && simdutf8::basic::from_utf8(raw).is_err() {
            let valid = std::str::from_utf8(raw).map_or_else(|e| e.valid_up_to(), str::len);
            return Err(BodyFault::encoding(start + valid));
        }
        self.at = at + 1;
        Ok(Text { raw, at: open, decoded: raw.len() - saved, lone })
    }

    /// The number that begins here with a minus sign or a digit (RFC 8259 6).
    pub(super) fn number(&mut self) -> Result<Number<'a>, BodyFault> {
        let start = self.at;
        if self.here() == Some(b'-') {
            self.at += 1;
        }
        match self.here() {
            Some(b'0') => {
                self.at += 1;
                if self.here().is_some_and(|b| b.is_ascii_digit()) {
                    return Err(BodyFault::json(start, "a number that begins with 0"));
                }
            }
            _ => self.digits()?,
        }
        let whole = self.at;
        if self.here() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.here(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.here(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Number { raw: &self.body[start..self.at], integer: whole == self.at })
    }

    /// Goes past `true`, `false` or `null`, whichever `word` is.
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), BodyFault> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.unexpected("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// The byte right here.
    fn here(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), BodyFault> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 {
            return Err(self.unexpected("a digit"));
        }
        self.at += length;
        Ok(())
    }
}

/// Bytes of a string before a quote, a backslash or a control character.
struct Run {
    length: usize,
    non_ascii: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How far `bytes` goes on without a byte that means something in a string.
///
/// The first 16 bytes by words, as most strings are short; then blocks of 64, which the compiler turns into vector
/// instructions; then words again to find the place within the block.
fn plain_run(bytes: &[u8]) -> Run {
    let mut run = Run { length: 0, non_ascii: false };
    let (head, tail) = bytes.split_at(bytes.len().min(16));
    if words(head, &mut run) {
        return run;
    }
    for block in tail.as_chunks::<64>().0 {
        let mut stops = false;
        let mut high = 0;
        for &byte in block {
            stops |= (byte == b'"') | (byte == b'\\') | (byte < b' ');
            high |= byte;
        }
        if stops {
            break;
        }
        run.non_ascii |= high >= 0x80;
        run.length += 64;
    }
    words(&bytes[run.length..], &mut run);
    run
}

/// Extends `run` over `bytes` eight at a time; whether a stop was found.
fn words(bytes: &[u8], run: &mut Run) -> bool {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut high = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let stops = stops_in(word);
        if stops != 0 {
            let clean = stops.trailing_zeros() / 8;
            high |= word & ((1 << (clean * 8)) - 1);
            run.non_ascii |= high & HIGHS != 0;
            run.length += clean as usize;
            return true;
        }
        high |= word;
        run.length += 8;
    }
    run.non_ascii |= high & HIGHS != 0;
    for &byte in rest {
        if byte == b'"' || byte == b'\\' || byte < b' ' {
            return true;
        }
        run.non_ascii |= byte >= 0x80;
        run.length += 1;
    }
    false
}

/// The high bit of the lowest byte that is a quote, a backslash or below a space, with undefined bits above it; zero if none is.
fn stops_in(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (is_quote | is_backslash | is_control) & HIGHS
}

/// One escape: what it takes and what it stands for.
struct Escape {
    length: usize,
    decoded: usize,
    lone: bool,
}

/// The escape at the start of `bytes`, a surrogate pair taken as one (RFC 8259 7); `None` if it is none.
fn escape(bytes: &[u8]) -> Option<Escape> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(Escape { length: 2, decoded: 1, lone: false }),
        b'u' => {
            let unit = code_unit(bytes)?;
            Some(match unit {
                0..0x80 => Escape { length: 6, decoded: 1, lone: false },
                0x80..0x800 => Escape { length: 6, decoded: 2, lone: false },
                0xd800..0xdc00 if code_unit(&bytes[6..]).is_some_and(|low| (0xdc00..0xe000).contains(&low)) => {
                    Escape { length: 12, decoded: 4, lone: false }
                }
                _ => Escape { length: 6, decoded: 3, lone: (0xd800..0xe000).contains(&unit) },
            })
        }
        _ => None,
    }
}

/// The UTF-16 unit of a `\uXXXX` at the start of `bytes`.
pub(super) fn code_unit(bytes: &[u8]) -> Option<u32> {
    let escape = bytes.first_chunk::<6>()?;
    if &escape[..2] != b"\\u" {
        return None;
    }
    let mut unit = 0;
    for &digit in &escape[2..] {
        unit = unit << 4 | char::from(digit).to_digit(16)?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious way.
    fn slow_run(bytes: &[u8]) -> (usize, bool) {
        let length = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < b' ').unwrap_or(bytes.len());
        (length, !bytes[..length].is_ascii())
    }

    #[test]
    fn every_byte_at_every_place_of_a_block_is_told_apart() {
        for length in [1, 7, 8, 15, 16, 17, 63, 64, 65, 79, 80, 81, 144, 200] {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let run = plain_run(&bytes);
                    assert_eq!((run.length, run.non_ascii), slow_run(&bytes), "{byte:#x} at {place} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn runs_are_those_of_the_obvious_way(bytes in proptest::collection::vec(prop_oneof![4 => 0x20u8..0x7f, 1 => any::<u8>()], 0..300)) {
            let run = plain_run(&bytes);
            prop_assert_eq!((run.length, run.non_ascii), slow_run(&bytes));
        }
    }
}
