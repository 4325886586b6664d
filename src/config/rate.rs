//! Reads the small grammars in which the configuration states numbers, sizes, durations, rates and days.
//!
//! Pure: text in, a number or a reason out. Must not know which key a text stands under, nor where in which file.
//! The grammars are those at the top of `config.reference.toml`.

use std::time::Duration;

use crate::limits::{Period, Quota, Short};

/// The most that a quota may refill in a minute (3-limits.md, "The bucket").
pub const MOST_PER_MINUTE: u64 = 10_000_000_000;
/// The largest burst: more than the largest amount of any period.
pub const LARGEST_BURST: u64 = 100_000_000_000_000;
/// The longest duration: a year. Longer ones are taken for a slip of the pen.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Why a text does not fit its grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// What would fit.
    pub expected: String,
    /// What the writer may have meant.
    pub hint: Option<String>,
}

impl Misread {
    fn new(expected: &str) -> Self {
        Misread { expected: expected.to_owned(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

const NUMBER: &str = "a whole number such as 12, \"12_000\", \"12k\" or \"1.5M\"";
const SIZE: &str = "a size such as \"64KiB\", \"32MiB\" or \"1GiB\"";
const DURATION: &str = "a duration such as \"250ms\", \"30s\", \"10m\" or \"1h\"";
const RATE: &str = "a rate such as \"600/min\", \"200k/min\" or \"5k/day burst 500\"";
const DAY: &str = "a day such as 2027-01-01";

/// Reads a number: `12`, `12_000`, `12k`, `1.5M`.
///
/// # Errors
/// [`Misread`] when it is negative, not whole, too large for 64 bits, or no number at all.
pub fn number(text: &str) -> Result<u64, Misread> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    scaled(digits, factor).ok_or_else(|| {
        let misread = Misread::new(NUMBER);
        match text.as_bytes().last() {
            Some(b'K') => misread.hint("thousands are written with a small k"),
            Some(b'm') => misread.hint("millions are written with a capital M"),
            Some(b'G' | b'B' | b'g' | b'b') => misread.hint("the largest unit is M, a million: write \"1000M\""),
            _ if text.starts_with('-') => misread.hint("a negative number means nothing here"),
            _ if text.contains(',') => misread.hint("digits are grouped with `_`: \"12_000\""),
            _ => misread,
        }
    })
}

/// Digits with `_` between them and at most one `.`, times `factor`; `None` unless the product is whole and fits.
fn scaled(text: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = digits(whole)?.checked_mul(factor)?;
    if fraction.is_empty() || fraction.len() > 12 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let parts = fraction.parse::<u64>().ok()?.checked_mul(factor)?;
    let unit = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    if parts % unit != 0 {
        return None;
    }
    whole.checked_add(parts / unit)
}

/// Plain digits, `_` allowed between two of them.
fn digits(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let grouped = bytes.first().is_some_and(u8::is_ascii_digit) && bytes.last().is_some_and(u8::is_ascii_digit);
    if !grouped || text.contains("__") || !bytes.iter().all(|b| b.is_ascii_digit() || *b == b'_') {
        return None;
    }
    bytes.iter().filter(|b| **b != b'_').try_fold(0_u64, |sum, b| sum.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// Prints a number in the shortest form that [`number`] reads back: `200k`, `1500k`, `12`.
#[must_use]
pub fn print_number(value: u64) -> String {
    Short(value).to_string()
}

/// Reads a size in bytes: `64KiB`, `32MiB`, `1GiB`, `512B` or a plain number of bytes.
///
/// # Errors
/// [`Misread`] when the unit is none of these or the size does not fit 64 bits.
pub fn size(text: &str) -> Result<u64, Misread> {
    let (digits, unit) = split_unit(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            let meant = match unit.to_ascii_lowercase().as_str() {
                "k" | "kb" | "kib" => Some("KiB"),
                "m" | "mb" | "mib" => Some("MiB"),
                "g" | "gb" | "gib" => Some("GiB"),
                _ => None,
            };
            let misread = Misread::new(SIZE);
            return Err(match meant {
                Some(meant) => misread.hint(format!("did you mean \"{digits}{meant}\"?")),
                None => misread,
            });
        }
    };
    scaled(digits, factor).ok_or_else(|| Misread::new(SIZE))
}

/// Prints a size in the largest unit that divides it.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Reads a duration: `250ms`, `30s`, `10m`, `1h`; at most [`LONGEST`].
///
/// # Errors
/// [`Misread`] when a unit is missing or unknown, or the duration is longer than a year.
pub fn duration(text: &str) -> Result<Duration, Misread> {
    let (count, unit) = split_unit(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong_time_unit(count, unit)),
    };
    let length = digits(count).and_then(|n| n.checked_mul(millis)).map(Duration::from_millis);
    match length {
        Some(length) if length <= LONGEST => Ok(length),
        Some(_) => Err(Misread::new(DURATION).hint("the longest duration is a year, 8784h")),
        None if count.contains('.') => Err(Misread::new(DURATION).hint("write whole numbers: 1500ms, not 1.5s")),
        None => Err(Misread::new(DURATION)),
    }
}

fn wrong_time_unit(count: &str, unit: &str) -> Misread {
    let misread = Misread::new(DURATION);
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "" => "s",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hour" | "hours" | "hr" => "h",
        "msec" | "millis" | "milliseconds" => "ms",
        _ => return misread,
    };
    match digits(count) {
        Some(_) => misread.hint(format!("did you mean \"{count}{meant}\"?")),
        None => misread,
    }
}

/// Prints a duration in the largest unit that divides it; exact to the millisecond.
#[must_use]
pub fn print_duration(length: Duration) -> String {
    let millis = length.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis != 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

/// The number in front and what follows it.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a rate: `AMOUNT/PERIOD`, then perhaps `burst N`.
///
/// Without `burst`, the bucket holds the whole amount for periods up to a minute, and a tenth of it, rounded up, for longer ones.
///
/// # Errors
/// [`Misread`] when a part is missing or not understood, when amount or burst is 0, or the amount is over [`MOST_PER_MINUTE`].
pub fn rate(text: &str) -> Result<Quota, Misread> {
    let mut words = text.split_ascii_whitespace();
    let (Some(per), keyword, burst, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(Misread::new(RATE));
    };
    let (amount, period) = per.split_once('/').ok_or_else(|| rate_without_period(per))?;
    let period = read_period(period, amount)?;
    let amount = number(amount).map_err(|e| Misread { expected: RATE.to_owned(), hint: e.hint })?;
    if amount == 0 {
        return Err(Misread::new("an amount of at least 1").hint("leave the limit out to have none"));
    }
    if too_fast(amount, period) {
        return Err(Misread::new("at most 10_000M a minute (10^10)"));
    }
    let burst = match (keyword, burst) {
        (None, _) => Quota::default_burst(amount, period),
        (Some("burst"), Some(burst)) => read_burst(burst)?,
        _ => return Err(Misread::new(RATE).hint("after the period only `burst N` may follow")),
    };
    Ok(Quota { amount, period, burst })
}

fn too_fast(amount: u64, period: Period) -> bool {
    u128::from(amount) * 60 > u128::from(MOST_PER_MINUTE) * u128::from(period.length().as_secs())
}

fn read_burst(text: &str) -> Result<u64, Misread> {
    match number(text) {
        Ok(0) => Err(Misread::new("a burst of at least 1").hint("a bucket that holds nothing admits no call")),
        Ok(burst) if burst <= LARGEST_BURST => Ok(burst),
        Ok(_) => Err(Misread::new("a burst of at most 10^14")),
        Err(e) => Err(Misread { expected: RATE.to_owned(), hint: e.hint }),
    }
}

fn rate_without_period(text: &str) -> Misread {
    let misread = Misread::new(RATE);
    match number(text) {
        Ok(_) => misread.hint(format!("did you mean \"{text}/min\"?")),
        Err(_) => misread,
    }
}

fn read_period(word: &str, amount: &str) -> Result<Period, Misread> {
    for period in PERIODS {
        if period.as_str() == word {
            return Ok(period);
        }
    }
    let meant = match word.to_ascii_lowercase().as_str() {
        "sec" | "second" | "seconds" => Some("s"),
        "m" | "minute" | "minutes" | "mins" => Some("min"),
        "hr" | "hour" | "hours" => Some("h"),
        "d" | "days" => Some("day"),
        _ => None,
    };
    let misread = Misread::new("a period of s, min, h or day");
    Err(match meant {
        Some(meant) => misread.hint(format!("did you mean \"{amount}/{meant}\"?")),
        None => misread,
    })
}

/// Every period, shortest first.
pub const PERIODS: [Period; 4] = [Period::Second, Period::Minute, Period::Hour, Period::Day];

/// Prints a rate as [`rate`] reads it; `burst` only where it is not the default.
#[must_use]
pub fn print_rate(quota: &Quota) -> String {
    quota.to_string()
}

/// Reads a day, `YYYY-MM-DD`, as the Unix second of its 00:00 UTC.
///
/// # Errors
/// [`Misread`] when it is no day of the calendar, or a time stands beside it.
pub fn day(text: &str) -> Result<i64, Misread> {
    let misread = || {
        let misread = Misread::new(DAY);
        match text.contains(['T', ':']) {
            true => misread.hint("a day without a time: a key is refused from 00:00 UTC of it"),
            false => misread,
        }
    };
    if text.len() != 10 {
        return Err(misread());
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| misread())?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| misread())?;
    Ok(midnight.timestamp().as_second())
}

/// Prints the UTC day of a Unix second.
#[must_use]
pub fn print_day(second: i64) -> String {
    match jiff::Timestamp::from_second(second) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string(),
        Err(_) => second.to_string(),
    }
}

#[cfg(test)]
mod tests;
