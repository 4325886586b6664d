//! Turns the key that a client shows into the digest that the configuration holds.
//!
//! Must not keep a key, nor show one.

use sha2::{Digest, Sha256};

/// SHA-256 of an API key: what is stored of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// The digest of a key as a client sent it.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        KeyDigest(Sha256::digest(key).into())
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// A key made unreadable for a message: its first three and last four characters, where it is long enough to spare them.
#[must_use]
pub fn masked(key: &str) -> String {
    let printable = key.bytes().all(|b| b.is_ascii_graphic());
    if !printable || key.len() < 20 {
        return "***".to_owned();
    }
    format!("{}***{}", &key[..3], &key[key.len() - 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_too_little_to_guess_the_rest() {
        assert_eq!(masked("sk-tg-0123456789abcdef"), "sk-***cdef");
        assert_eq!(masked("short"), "***");
        assert_eq!(masked("ключключключключключ"), "***");
    }
}
