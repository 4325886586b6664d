//! Reads what embeddings call `input` and completions `prompt`: a text, a list of token numbers, or a list of either.
//!
//! Must not know which of the two it is, nor what is made of it.

use super::refusal::Refusal;
use super::text::Seed;
use super::tokens;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// Inputs of one request at most, as OpenAI's API reference says of embeddings.
const MOST: usize = 2048;

/// One input: where its answer comes from, and its length.
#[derive(Clone, Copy, Debug)]
struct Input {
    seed: Seed,
    tokens: u64,
}

/// All inputs of a request.
#[derive(Debug)]
pub(super) struct Inputs(Vec<Input>);

impl Inputs {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The tokens of all of them.
    pub(super) fn tokens(&self) -> u64 {
        self.0.iter().fold(0, |sum, input| sum.saturating_add(input.tokens))
    }

    /// The seed of each, in order.
    pub(super) fn seeds(&self) -> Vec<Seed> {
        self.0.iter().map(|input| input.seed).collect()
    }

    /// Refuses none at all, too many, and empty ones. `param` is what they are called.
    pub(super) fn check(&self, param: &'static str) -> Result<(), Refusal> {
        if self.0.is_empty() || self.0.len() > MOST {
            return Err(Refusal::value(param, format!("Invalid '{param}': it must hold 1 to {MOST} inputs.")));
        }
        if self.0.iter().any(|input| input.tokens == 0) {
            return Err(Refusal::value(param, format!("Invalid '{param}': an input cannot be empty.")));
        }
        Ok(())
    }
}

impl Input {
    fn text(text: &str) -> Self {
        Input { seed: Seed::of(text.as_bytes()), tokens: tokens::count(text) }
    }

    fn none() -> Self {
        Input { seed: Seed::of(b""), tokens: 0 }
    }

    fn and(self, token: u64) -> Self {
        Input { seed: self.seed.and(&token.to_le_bytes()), tokens: self.tokens.saturating_add(1) }
    }
}

/// An element of a list: a text, a list of token numbers, or one number.
enum Element {
    Input(Input),
    Token(u64),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token number, or a list of token numbers")
            }

            fn visit_str<E>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Input(Input::text(text)))
            }

            fn visit_u64<E>(self, token: u64) -> Result<Element, E> {
                Ok(Element::Token(token))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut input = Input::none();
                while let Some(token) = list.next_element::<u64>()? {
                    input = input.and(token);
                }
                Ok(Element::Input(input))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Inputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of strings, a list of token numbers, or a list of such lists")
            }

            fn visit_str<E>(self, text: &str) -> Result<Inputs, E> {
                Ok(Inputs(vec![Input::text(text)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
                let mut inputs = Vec::new();
                let mut numbers = None;
                while let Some(element) = list.next_element()? {
                    match element {
                        // One more than is allowed is kept, for `check` to find; the rest only costs reading.
                        Element::Input(input) if inputs.len() <= MOST => inputs.push(input),
                        Element::Input(_) => {}
                        Element::Token(token) => numbers = Some(numbers.unwrap_or_else(Input::none).and(token)),
                    }
                }
                match (numbers, inputs.is_empty()) {
                    (None, _) => Ok(Inputs(inputs)),
                    (Some(input), true) => Ok(Inputs(vec![input])),
                    (Some(_), false) => Err(serde::de::Error::custom("token numbers and texts cannot be mixed")),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
