//! Says what a call cost, to the last digit, from what it used and what its model's prices are.
//!
//! Pure: must not know where prices are written, nor which model they are of. Integers only, and nothing is rounded: a
//! price is a decimal, a token costs a millionth of it, and the sum of all calls is the sum of what each record says.

use std::fmt;

use super::Billed;
use super::money::{self, Inexact, Usd};

/// A price in US dollars, per million tokens or per piece: a decimal with at most 12 places, at most a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

/// What a service tier's prices are multiplied by: a decimal with at most 6 places, at most a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(u32);

const PRICE_PLACES: u32 = 12;
const FACTOR_PLACES: u32 = 6;
const HIGHEST_PRICE: u128 = 1_000_000 * 10_u128.pow(PRICE_PLACES);
const HIGHEST_FACTOR: u128 = 1_000 * 10_u128.pow(FACTOR_PLACES);
/// Millionths in one: a price per piece, beside one per million tokens.
const MILLION: u128 = 1_000_000;

impl Price {
    /// Reads a price: `2.50`, `0.25`, `1e-3`.
    ///
    /// # Errors
    /// [`Inexact`] where it is no number, negative, above a million, or has more than 12 places.
    pub fn parse(text: &str) -> Result<Price, Inexact> {
        let value = money::decimal(text, PRICE_PLACES)?;
        if value > HIGHEST_PRICE {
            return Err(Inexact::TooLarge);
        }
        u64::try_from(value).map(Price).map_err(|_| Inexact::TooLarge)
    }
}

impl Factor {
    /// Reads a factor: `0.5`, `2`.
    ///
    /// # Errors
    /// [`Inexact`] where it is no number, negative, above a thousand, or has more than 6 places.
    pub fn parse(text: &str) -> Result<Factor, Inexact> {
        let value = money::decimal(text, FACTOR_PLACES)?;
        if value > HIGHEST_FACTOR {
            return Err(Inexact::TooLarge);
        }
        u32::try_from(value).map(Factor).map_err(|_| Inexact::TooLarge)
    }
}

/// The decimal, as [`Price::parse`] reads it.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        money::print(u128::from(self.0), PRICE_PLACES, f)
    }
}

/// The decimal, as [`Factor::parse`] reads it.
impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        money::print(u128::from(self.0), FACTOR_PLACES, f)
    }
}

/// The prices of one model. A part that has none has the price of what it is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// USD per million tokens read.
    pub input: Option<Price>,
    /// The same, of those from the upstream's cache.
    pub cached_input: Option<Price>,
    /// The same, of those written into it.
    pub cache_write: Option<Price>,
    /// USD per million tokens written; reasoning is output.
    pub output: Option<Price>,
    /// USD per million tokens of sound read.
    pub audio_input: Option<Price>,
    /// USD per million tokens of sound written.
    pub audio_output: Option<Price>,
    /// USD per million tokens of images read.
    pub image_input: Option<Price>,
    /// USD per million tokens of images written.
    pub image_output: Option<Price>,
    /// USD per call.
    pub per_request: Option<Price>,
    /// USD per second of sound.
    pub per_second: Option<Price>,
    /// USD per image made.
    pub per_image: Option<Price>,
    /// What all of these are multiplied by when the answer names the tier; a tier that is not here: by 1.
    pub tiers: Vec<(Box<str>, Factor)>,
}

/// Why a call has no cost. It is not free: its cost is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// The model has no prices.
    Model,
    /// It has prices, but none for what the call used.
    Part,
}

impl Unpriced {
    /// The bounded word for the `reason` label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unpriced::Model => "model",
            Unpriced::Part => "part",
        }
    }
}

impl Prices {
    /// What a call cost.
    ///
    /// Each token is paid once: the parts of `input` are taken off it in the order cached, written to the cache, sound,
    /// images, each at most what is left, and the rest has the price of input. The same for `output`. Where the answer says
    /// how long its sound is, or how many images there are, and there is a price for that or for the call itself, tokens
    /// need none.
    ///
    /// # Errors
    /// [`Unpriced::Part`] where something was used that has no price, not even that of what it is a part of.
    pub fn cost(&self, billed: &Billed) -> Result<Usd, Unpriced> {
        let (used, details) = (&billed.usage, &billed.details);
        let counted_in = |number: u64, unit: u128| (number > 0).then(|| unit.saturating_mul(number.into()));
        let pieces = [
            (self.per_request, Some(MILLION)),
            // A thousandth of a second is a thousand millionths of one.
            (self.per_second, counted_in(details.audio_millis, 1_000)),
            (self.per_image, counted_in(details.images, MILLION)),
        ];
        let mut counted = false;
        let mut sum: u128 = 0;
        for (price, amount) in pieces {
            if let (Some(price), Some(amount)) = (price, amount) {
                counted = true;
                sum = sum.saturating_add(amount.saturating_mul(price.0.into()));
            }
        }
        let input = [
            (used.cached, self.cached_input),
            (details.cache_write, self.cache_write),
            (details.audio_input, self.audio_input),
            (details.image_input, self.image_input),
        ];
        let output = [(details.audio_output, self.audio_output), (details.image_output, self.image_output)];
        for (total, price, parts) in [(used.input, self.input, &input[..]), (used.output, self.output, &output[..])] {
            match tokens(total, price, parts) {
                Some(cost) => sum = sum.saturating_add(cost),
                None if counted => {}
                None => return Err(Unpriced::Part),
            }
        }
        let factor = billed.tier.and_then(|tier| self.tiers.iter().find(|(name, _)| **name == *tier.as_str()));
        let factor = factor.map_or(MILLION, |(_, factor)| factor.0.into());
        Ok(Usd::from_parts(sum.saturating_mul(factor)))
    }

    /// Every price that there is, by its key in the configuration, in the order of the reference.
    pub fn stated(&self) -> impl Iterator<Item = (&'static str, Price)> {
        [
            ("input", self.input),
            ("cached_input", self.cached_input),
            ("cache_write", self.cache_write),
            ("output", self.output),
            ("audio_input", self.audio_input),
            ("audio_output", self.audio_output),
            ("image_input", self.image_input),
            ("image_output", self.image_output),
            ("per_request", self.per_request),
            ("per_second", self.per_second),
            ("per_image", self.per_image),
        ]
        .into_iter()
        .filter_map(|(key, price)| Some((key, price?)))
    }
}

/// What `total` tokens cost, some of them at prices of their own, in 10^-18 USD; `None` where one has no price.
fn tokens(total: u64, price: Option<Price>, parts: &[(u64, Option<Price>)]) -> Option<u128> {
    let (mut rest, mut sum) = (total, 0_u128);
    let mut add = |tokens: u64, price: Option<Price>| {
        if tokens > 0 {
            sum = sum.saturating_add(u128::from(tokens) * u128::from(price?.0));
        }
        Some(())
    };
    for (part, own) in parts {
        let part = (*part).min(rest);
        rest -= part;
        add(part, own.or(price))?;
    }
    add(rest, price)?;
    Some(sum)
}

#[cfg(test)]
mod tests;
