//! Names what a price may ask of a call beyond tokens read and written: parts of them, seconds, images, the service tier.
//!
//! Must not know prices, nor where an answer says these things.

use super::{Source, Usage};

/// What most answers do not say and some prices ask for. Nothing here is added to a [`Usage`]: counts in tokens are parts
/// of its totals (4-wire-contract.md 2.1), and never larger than these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The part of the input that the upstream wrote into its prompt cache; `cached` and this are apart.
    pub cache_write: u64,
    /// The part of the input that was sound.
    pub audio_input: u64,
    /// The part of the input that was images; it and `audio_input` are apart.
    pub image_input: u64,
    /// The part of the output that was sound.
    pub audio_output: u64,
    /// The part of the output that was images; it and `audio_output` are apart.
    pub image_output: u64,
    /// How long the sound was that was read or made, in milliseconds, where the answer says it.
    pub audio_millis: u64,
    /// Images in the answer.
    pub images: u64,
}

/// What a call is billed by, once it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billed {
    /// The tokens charged.
    pub usage: Usage,
    /// Parts of them, and what is no token; all zero where the answer said nothing.
    pub details: Details,
    /// The service tier that the answer names.
    pub tier: Option<Tier>,
    /// Who counted; `None` where no token is charged.
    pub source: Option<Source>,
}

/// The longest name of a tier that is kept, in bytes.
const TIER: usize = 15;

/// The name of a service tier as an answer gives it (`default`, `flex`, `priority` …), held without allocation. What is no
/// plain word of at most 15 letters, digits, `_` and `-` is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier {
    /// Padded with zeros; the first byte is none.
    name: [u8; TIER],
}

impl Tier {
    /// The tier of this name, if it can be one.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Tier> {
        let is_word = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let mut tier = Tier { name: [0; TIER] };
        tier.name.get_mut(..name.len()).filter(|_| is_word && !name.is_empty())?.copy_from_slice(name);
        Some(tier)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(TIER);
        self.name.get(..end).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Details {
    /// Makes every part fit into its total; says whether one did not.
    pub(super) fn clamp(&mut self, usage: &Usage) -> bool {
        let before = *self;
        self.cache_write = self.cache_write.min(usage.input.saturating_sub(usage.cached));
        self.audio_input = self.audio_input.min(usage.input);
        self.image_input = self.image_input.min(usage.input - self.audio_input);
        self.audio_output = self.audio_output.min(usage.output);
        self.image_output = self.image_output.min(usage.output - self.audio_output);
        before != *self
    }

    /// Whether there is anything to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Details::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_a_short_plain_word_or_none() {
        for name in ["default", "flex", "priority", "a", "exactly-15-long"] {
            assert_eq!(Tier::new(name.as_bytes()).unwrap().as_str(), name);
        }
        for other in ["", "longer than that is", "exactly-16-longs", "fl ex", "flex\n", "flëx", "\0"] {
            assert_eq!(Tier::new(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn parts_that_fit_stay_and_others_are_cut_to_the_whole() {
        let usage = Usage { input: 10, cached: 4, output: 5, reasoning: 0 };
        let fitting = Details {
            cache_write: 6,
            audio_input: 7,
            image_input: 3,
            audio_output: 2,
            image_output: 3,
            ..Details::default()
        };
        let mut kept = fitting;
        assert!(!kept.clamp(&usage));
        assert_eq!(kept, fitting);

        let mut large = Details {
            cache_write: 7,
            audio_input: 99,
            image_input: 1,
            audio_output: 1,
            image_output: u64::MAX,
            ..fitting
        };
        assert!(large.clamp(&usage));
        let cut =
            Details { cache_write: 6, audio_input: 10, image_input: 0, audio_output: 1, image_output: 4, ..fitting };
        assert_eq!(large, cut);
    }
}
