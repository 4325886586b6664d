//! Cuts text into the simulator's tokens, by a fixed rule that anybody can repeat by hand.
//!
//! Must not know what the text is for. The rule is deliberately not the gateway's estimate (a quarter of the bytes), so that a
//! gateway that guesses instead of reading the usage that was reported is found out.
//!
//! The rule, from left to right: up to [`LETTERS`] ASCII letters and digits are a token, and so are up to [`OTHER_LETTERS`] letters of
//! any other script, up to [`MARKS`] of anything else that is not white space, and up to [`BLANKS`] white-space characters. One single
//! space right before a letter or digit belongs to the token that it leads.

/// ASCII letters and digits in one token, at most.
pub const LETTERS: usize = 5;
/// Letters of other scripts in one token, at most.
pub const OTHER_LETTERS: usize = 2;
/// Punctuation marks, symbols and emoji in one token, at most.
pub const MARKS: usize = 3;
/// White-space characters in one token, at most.
pub const BLANKS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    OtherLetter,
    Mark,
    Blank,
}

impl Kind {
    fn of(c: char) -> Self {
        if c.is_ascii_alphanumeric() {
            Kind::Letter
        } else if c.is_alphanumeric() {
            Kind::OtherLetter
        } else if c.is_whitespace() {
            Kind::Blank
        } else {
            Kind::Mark
        }
    }

    fn most(self) -> usize {
        match self {
            Kind::Letter => LETTERS,
            Kind::OtherLetter => OTHER_LETTERS,
            Kind::Mark => MARKS,
            Kind::Blank => BLANKS,
        }
    }

    fn is_letter(self) -> bool {
        matches!(self, Kind::Letter | Kind::OtherLetter)
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
            (' ', Some(next)) if next.is_letter() => (1, next),
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
    fn words_are_cut_after_five_letters_and_take_one_space_along() {
        let tokens: Vec<&str> = split("The toll-keeper's 12  coins…").collect();
        assert_eq!(tokens, ["The", " toll", "-", "keepe", "r", "'", "s", " 12", "  ", "coins", "…"]);
    }

    #[test]
    fn other_scripts_cost_more_tokens_for_the_same_letters() {
        assert_eq!(count("river"), 1);
        assert_eq!(count("река"), 2);
        assert_eq!(count("🚀🚀🚀🚀"), 2);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn the_rule_is_not_a_quarter_of_the_bytes() {
        for text in ["a bridge over the river", "Zoll, Brücke und Fluß", "{\"a\":1,\"b\":[2,3]}"] {
            assert_ne!(count(text), (text.len() as u64).div_ceil(4), "{text}");
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
