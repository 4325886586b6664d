//! Keeps the text of one key, number, id or model name while it arrives in pieces.
//!
//! Must not know what the word is for.

/// The longest word that is looked at, in bytes.
pub(crate) const WORD: usize = 256;

/// The text of one key, number or short string.
#[derive(Debug)]
pub(super) struct Word {
    bytes: [u8; WORD],
    len: usize,
    too_long: bool,
}

impl Word {
    pub(super) fn new() -> Word {
        Word { bytes: [0; WORD], len: 0, too_long: false }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.too_long = false;
    }

    /// Keeps what fits; so it does not matter in which pieces the word comes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = WORD - self.len;
        let part = bytes.get(..room).unwrap_or(bytes);
        if let Some(place) = self.bytes.get_mut(self.len..self.len + part.len()) {
            place.copy_from_slice(part);
        }
        self.len += part.len();
        self.too_long |= part.len() < bytes.len();
    }

    /// The whole word; none if it was longer than what is kept.
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len).filter(|_| !self.too_long)
    }

    /// The first `limit` bytes of it as text, less a letter cut in two; none if there is nothing.
    pub(super) fn start(&self, limit: usize) -> Option<Box<str>> {
        let bytes = self.bytes.get(..self.len.min(limit))?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(fault) => std::str::from_utf8(bytes.get(..fault.valid_up_to())?).ok()?,
        };
        Some(text).filter(|text| !text.is_empty()).map(Box::from)
    }
}
