//! Writes the words of an answer: deterministic sentences that say of themselves that they are simulated.
//!
//! Must not know who asked, nor in which dialect: a seed and a length are all it gets.

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

    fn pick(&mut self, from: &[&'static str; 8]) -> &'static str {
        from[(self.next() >> 61) as usize]
    }
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
pub(super) fn write(mut seed: Seed, length: Length) -> String {
    let mut text = String::from(OPENING);
    match length {
        Length::Natural => (0..2 + seed.next() % 3).for_each(|_| sentence(&mut seed, &mut text)),
        Length::Tokens(wanted) => {
            // A sentence is at least ten tokens, so this ends; counting each sentence alone is exact, as each begins
            // with a single space after a mark, where the token rule starts anew.
            let mut have = tokens::split(&text).count();
            while have < wanted {
                let before = text.len();
                sentence(&mut seed, &mut text);
                have += tokens::split(&text[before..]).count();
            }
            text.truncate(tokens::truncate(&text, wanted).len());
        }
    }
    text
}

fn sentence(seed: &mut Seed, text: &mut String) {
    for (glue, words) in [(" ", &WHEN), (" ", &WHO), (" ", &DID), (" ", &WHAT), (", ", &THEN)] {
        text.push_str(glue);
        text.push_str(seed.pick(words));
    }
    text.push('.');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_gives_the_same_answer_and_another_another() {
        let write = |question: &str| write(Seed::of(question.as_bytes()), Length::Natural);
        assert_eq!(write("why?"), write("why?"));
        assert_ne!(write("why?"), write("how?"));
        assert!(write("why?").contains("simulated"));
    }

    #[test]
    fn an_exact_length_is_met_exactly() {
        for wanted in [1, 2, 7, 11, 12, 13, 500, 10_000] {
            let text = write(Seed::of(b"x"), Length::Tokens(wanted));
            assert_eq!(tokens::split(&text).count(), wanted);
        }
    }
}
