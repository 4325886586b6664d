//! Writes the words of an answer: deterministic sentences that say of themselves that they are simulated.
//!
//! Must not know who asked, nor in which dialect: a seed and a length are all it gets.

use super::faults::Spice;
use super::tokens;

const OPENING: &str = "This is a simulated answer; no model was asked.";
const WHEN: [&str; 8] = [
    "At dawn",
    "Before the rain",
    "On market day",
    "After the harvest",
    "In a mild winter",
    "By lamplight",
    "Once a year",
    "At low water",
];
const WHO: [&str; 8] = [
    "the ferryman",
    "a tired mule",
    "the bridge keeper",
    "an old cartographer",
    "the baker's daughter",
    "a company of weavers",
    "the night watch",
    "a heron",
];
const DID: [&str; 8] = [
    "counts the boats on",
    "waits beside",
    "tells stories about",
    "walks slowly along",
    "mends the rails of",
    "keeps a ledger for",
    "draws a map of",
    "listens to",
];
const WHAT: [&str; 8] = [
    "the stone bridge",
    "the slow river",
    "the eastern gate",
    "the orchard road",
    "the ferry landing",
    "the salt market",
    "the mill pond",
    "the long causeway",
];
const THEN: [&str; 8] = [
    "and nobody is in a hurry",
    "while the toll stays the same",
    "until the bells ring twice",
    "as the fog begins to lift",
    "and every coin is counted",
    "though the gate stands open",
    "and the kettle starts to sing",
    "because the water knows the way",
];

/// The emoji of [`Spice::Emoji`], U+1F680.
pub(super) const EMOJI: char = '\u{1f680}';
/// Stands for the first half of [`EMOJI`] in UTF-16, which a Rust string cannot hold; U+FDD0 is no character.
pub(super) const HIGH_HALF: char = '\u{fdd0}';
/// Stands for its second half.
pub(super) const LOW_HALF: char = '\u{fdd1}';
/// More emoji than fit into one token, so that one of them is cut.
const ROCKETS: &str = " \u{1f680}\u{1f680}\u{1f680}\u{1f680}";
/// What a reader of usage must not be fooled by.
const FAKE_USAGE: &str =
    r#" {"usage":{"prompt_tokens":99999,"completion_tokens":99999,"total_tokens":199998},"input_tokens":99999}"#;

/// A small generator of numbers that look random and never change: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    /// The seed that belongs to some bytes (FNV-1a, 64 bits).
    #[must_use]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Seed(0xcbf2_9ce4_8422_2325).and(bytes)
    }

    /// This seed with more bytes taken in.
    #[must_use]
    pub(super) fn and(self, bytes: &[u8]) -> Self {
        Seed(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number, as one from 0 to 1 with four decimals.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() % 10_001) as f64 / 10_000.0
    }

    fn pick(&mut self, from: &[&'static str; 8]) -> &'static str {
        from[(self.next() >> 61) as usize]
    }
}

/// A text with its emoji whole.
pub(super) fn joined(text: &str) -> String {
    text.replace(&String::from_iter([HIGH_HALF, LOW_HALF]), EMOJI.encode_utf8(&mut [0; 4]))
}

/// How long a text shall be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// Some sentences: the seed decides how many.
    Natural,
    /// Exactly so many tokens.
    Tokens(usize),
}

/// The text that belongs to `seed`.
#[must_use]
pub(super) fn write(mut seed: Seed, length: Length, spice: Spice) -> String {
    let mut text = String::from(OPENING);
    text.push_str(spiced(spice));
    match length {
        Length::Natural => (0..2 + seed.next() % 3).for_each(|_| sentence(&mut seed, &mut text, spice)),
        Length::Tokens(wanted) => {
            // A sentence is at least ten tokens, so this ends; counting each sentence alone is exact, as each begins
            // with a single space after a mark, where the token rule starts anew.
            let mut have = tokens::split(&text).count();
            while have < wanted {
                let before = text.len();
                sentence(&mut seed, &mut text, spice);
                have += tokens::split(&text[before..]).count();
            }
            text.truncate(tokens::truncate(&text, wanted).len());
        }
    }
    text
}

fn spiced(spice: Spice) -> &'static str {
    match spice {
        Spice::None => "",
        Spice::Emoji => ROCKETS,
        Spice::FakeUsage => FAKE_USAGE,
    }
}

fn sentence(seed: &mut Seed, text: &mut String, spice: Spice) {
    for (glue, words) in [(" ", &WHEN), (" ", &WHO), (" ", &DID), (" ", &WHAT), (", ", &THEN)] {
        text.push_str(glue);
        text.push_str(seed.pick(words));
    }
    text.push('.');
    text.push_str(spiced(spice));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_gives_the_same_answer_and_another_another() {
        let write = |question: &str| write(Seed::of(question.as_bytes()), Length::Natural, Spice::None);
        assert_eq!(write("why?"), write("why?"));
        assert_ne!(write("why?"), write("how?"));
        assert!(write("why?").contains("simulated"));
    }

    #[test]
    fn an_exact_length_is_met_exactly() {
        for wanted in [1, 2, 7, 11, 12, 13, 500, 10_000] {
            for spice in [Spice::None, Spice::Emoji, Spice::FakeUsage] {
                let text = write(Seed::of(b"x"), Length::Tokens(wanted), spice);
                assert_eq!(tokens::split(&text).count(), wanted);
            }
        }
    }
}
