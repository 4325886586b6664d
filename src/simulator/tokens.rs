//! Cuts text into the simulator's tokens, by a fixed rule that anybody can repeat by hand.
//!
//! Must not know what the text is for. The rule is deliberately far from the gateway's estimate (a quarter of the
//! bytes): English prose has half as many tokens again, other scripts fewer. So a gateway that guesses where usage was
//! reported is found out.
//!
//! The rule, from left to right: up to [`LETTERS`] letters and digits are a token, and so are up to [`MARKS`] of
//! anything else that is not white space, and up to [`BLANKS`] white-space characters. One single space right before a
//! letter or digit belongs to the token that it leads. `a simulated answer` is six: `a`, ` sim`, `ula`, `ted`, ` ans`,
//! `wer`.

/// Letters and digits in one token, at most.
pub const LETTERS: usize = 3;
/// Punctuation marks, symbols and emoji in one token, at most.
pub const MARKS: usize = 3;
/// White-space characters in one token, at most.
pub const BLANKS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Mark,
    Blank,
}

impl Kind {
    fn of(c: char) -> Self {
        if c.is_alphanumeric() {
            Kind::Letter
        } else if c.is_whitespace() {
            Kind::Blank
        } else {
            Kind::Mark
        }
    }

    fn most(self) -> usize {
        match self {
            Kind::Letter => LETTERS,
            Kind::Mark => MARKS,
            Kind::Blank => BLANKS,
        }
    }
}

/// The tokens of a text, in order; put together they are the text again.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
}

/// Cuts `text` into tokens. Linear in its length.
#[must_use]
pub fn split(text: &str) -> Tokens<'_> {
    Tokens { rest: text }
}

/// How many tokens `text` is.
#[must_use]
pub fn count(text: &str) -> u64 {
    split(text).count() as u64
}

/// The longest part of `text`, from its start, that is at most `most` tokens.
#[must_use]
pub fn truncate(text: &str, most: usize) -> &str {
    let length = split(text).take(most).map(str::len).sum();
    &text[..length]
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        let (lead, kind) = match (first, chars.next().map(Kind::of)) {
            (' ', Some(Kind::Letter)) => (1, Kind::Letter),
            _ => (0, Kind::of(first)),
        };
        let body = &self.rest[lead..];
        let length = body
            .char_indices()
            .enumerate()
            .find(|(position, (_, c))| *position == kind.most() || Kind::of(*c) != kind)
            .map_or(body.len(), |(_, (offset, _))| offset);
        let (token, rest) = self.rest.split_at(lead + length);
        self.rest = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_cut_after_three_letters_and_take_one_space_along() {
        let tokens: Vec<&str> = split("The toll-keeper's 12  coins…").collect();
        assert_eq!(tokens, ["The", " tol", "l", "-", "kee", "per", "'", "s", " 12", "  ", "coi", "ns", "…"]);
        assert_eq!(count("a simulated answer"), 6);
        assert_eq!(count("река"), 2);
        assert_eq!(count("🚀🚀🚀🚀"), 2);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn the_rule_is_far_from_a_quarter_of_the_bytes() {
        let prose = crate::simulator::text::write(
            crate::simulator::text::Seed::of(b"prose"),
            crate::simulator::text::Length::Tokens(1000),
            crate::simulator::faults::Spice::None,
        );
        for text in [&prose, "Мост стоит над рекой, и никто никуда не спешит.", "{\"id\":[1,2,3],\"name\":\"toll\"}"]
        {
            let (ours, guess) = (count(text) as f64, text.len() as f64 / 4.0);
            assert!((ours / guess - 1.0).abs() > 0.15, "{ours} against {guess}: {text}");
        }
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in "\\PC{0,200}|[ a-z.\n]{0,200}") {
            prop_assert_eq!(split(&text).collect::<String>(), text);
        }

        #[test]
        fn a_cut_text_has_exactly_the_tokens_it_was_cut_to(text in "[ a-zж.,\n]{0,120}", most in 0usize..40) {
            let cut = truncate(&text, most);
            prop_assert_eq!(split(cut).count(), split(&text).count().min(most));
        }
    }
}
