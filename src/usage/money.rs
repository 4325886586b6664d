//! Holds an amount of US dollars to the last digit: read from decimal text, added up and printed without any rounding.
//!
//! Must not know what was bought. No float anywhere: 0.1 is a tenth, and a sum does not depend on its order.

use std::fmt;

/// Decimal places of an [`Usd`].
const PLACES: u32 = 24;
/// Parts of a millionth of a dollar, which is the unit of metrics: 10^18, so that a remainder fits 64 bits.
pub const PARTS_PER_MICRO: u64 = 1_000_000_000_000_000_000;

/// An amount of US dollars, exact to 24 decimal places, from 0 to 3 · 10^14. Every operation saturates.
///
/// 24 places are enough for every product that can come up: a price per million tokens has at most 12 places
/// ([`Price`](super::price::Price)), so a token's has 18, and a factor adds 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u128);

impl Usd {
    /// Nothing.
    pub const ZERO: Usd = Usd(0);

    /// An amount from its 10^-24 parts.
    pub(crate) const fn from_parts(parts: u128) -> Self {
        Usd(parts)
    }

    /// Reads an amount as it stands in a usage record, or in any JSON number: `0.00001475`, `12`, `1.5e-7`.
    ///
    /// `None` for what is negative, no number, above the largest amount, or finer than 24 places.
    #[must_use]
    pub fn parse(text: &str) -> Option<Usd> {
        decimal(text, PLACES).ok().map(Usd)
    }

    /// Both together; at most the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }

    /// Whole millionths of a dollar, and what is left of the next one in [`PARTS_PER_MICRO`].
    #[must_use]
    pub fn micros(self) -> (u64, u64) {
        let unit = u128::from(PARTS_PER_MICRO);
        let whole = u64::try_from(self.0 / unit).unwrap_or(u64::MAX);
        // A remainder is below its divisor, which fits.
        (whole, (self.0 % unit) as u64)
    }
}

/// All its digits, and no zero too many: `0`, `0.00001475`, `12.5`. What [`Usd::parse`] reads back.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0, PLACES, f)
    }
}

/// Writes `value` / 10^`places` with all its digits.
pub(crate) fn print(value: u128, places: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = 10_u128.saturating_pow(places);
    let (whole, mut rest) = (value / unit, value % unit);
    write!(f, "{whole}")?;
    if rest == 0 {
        return Ok(());
    }
    let mut width = places as usize;
    while rest % 10 == 0 {
        rest /= 10;
        width -= 1;
    }
    write!(f, ".{rest:0width$}")
}

/// Why a text is no decimal that can be kept exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// It is no decimal number.
    NotANumber,
    /// It is below zero.
    Negative,
    /// It has more places than are kept.
    TooFine,
    /// It does not fit.
    TooLarge,
}

/// Reads a decimal as units of 10^-`places`: digits, at most one point, and an exponent as JSON and TOML write it.
///
/// # Errors
/// [`Inexact`]: nothing is ever rounded.
pub(crate) fn decimal(text: &str, places: u32) -> Result<u128, Inexact> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Some(positive) = text.strip_prefix('-') {
        // Minus zero is zero.
        return match decimal(positive, places)? {
            0 => Ok(0),
            _ => Err(Inexact::Negative),
        };
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, whole_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(Inexact::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut value: u128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| u128::from(byte - b'0')) {
        value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(Inexact::TooLarge)?;
    }
    if value == 0 {
        return Ok(0);
    }
    // value · 10^(exponent − places of the fraction), in units of 10^-places.
    let written = i64::try_from(fraction.len()).map_err(|_| Inexact::TooFine)?;
    let shift = i64::from(places) + exponent - written;
    let power = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
    let factor = 10_u128.checked_pow(power);
    if shift >= 0 {
        return factor.and_then(|factor| value.checked_mul(factor)).ok_or(Inexact::TooLarge);
    }
    match factor {
        Some(factor) if value.is_multiple_of(factor) => Ok(value / factor),
        _ => Err(Inexact::TooFine),
    }
}

/// An exponent; one so large that no number could have it is as good as the largest that is told apart.
fn whole_exponent(text: &str) -> Result<i64, Inexact> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Inexact::NotANumber);
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    Ok(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_to_the_last_digit_or_not_at_all() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("0.10", "0.1"),
            ("12", "12"),
            ("+12.5", "12.5"),
            ("1e3", "1000"),
            ("1.5e-7", "0.00000015"),
            ("250E-2", "2.5"),
            ("0.000000000000000000000001", "0.000000000000000000000001"),
            ("0.1000000000000000000000000000000", "0.1"),
            ("0e999999999999999999999", "0"),
            ("300000000000000", "300000000000000"),
        ] {
            assert_eq!(Usd::parse(text).map(|usd| usd.to_string()).as_deref(), Some(shown), "{text}");
        }
        for (text, why) in [
            ("", Inexact::NotANumber),
            (".5", Inexact::NotANumber),
            ("5.", Inexact::NotANumber),
            ("1_000", Inexact::NotANumber),
            ("1.2.3", Inexact::NotANumber),
            ("1e", Inexact::NotANumber),
            ("1e1.5", Inexact::NotANumber),
            ("nan", Inexact::NotANumber),
            ("inf", Inexact::NotANumber),
            ("0x10", Inexact::NotANumber),
            ("٣", Inexact::NotANumber),
            ("-0.1", Inexact::Negative),
            ("1e-25", Inexact::TooFine),
            ("1e-99999999999999999999", Inexact::TooFine),
            ("1e15", Inexact::TooLarge),
            ("1e99999999999999999999", Inexact::TooLarge),
            ("999999999999999999999999999999999999999999", Inexact::TooLarge),
        ] {
            assert_eq!(decimal(text, PLACES), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(parts in 0..u128::MAX) {
            let usd = Usd(parts);
            prop_assert_eq!(Usd::parse(&usd.to_string()), Some(usd));
        }

        #[test]
        fn millionths_and_their_remainder_are_the_whole(parts in 0..10_u128.pow(37)) {
            let (micros, rest) = Usd(parts).micros();
            prop_assert_eq!(u128::from(micros) * u128::from(PARTS_PER_MICRO) + u128::from(rest), parts);
        }

        #[test]
        fn no_text_breaks_the_reading(text in "\\PC{0,40}|[-+0-9.eE_]{0,60}") {
            if let Some(usd) = Usd::parse(&text) {
                let read: f64 = text.parse().unwrap();
                let printed: f64 = usd.to_string().parse().unwrap();
                prop_assert!((read - printed).abs() <= read.abs() * 1e-12, "{} {}", read, printed);
            }
        }
    }
}
