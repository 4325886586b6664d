//! Writes a limit the way the configuration does, so that a person finds it again.
//!
//! Must not know how a limit is read, nor its level.

use std::fmt;

use super::{Period, Quota};

/// A number in its shortest form: `200k`, `1500k`, `12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short(pub u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            v if v >= 1_000_000 && v.is_multiple_of(1_000_000) => write!(f, "{}M", v / 1_000_000),
            v if v >= 1_000 && v.is_multiple_of(1_000) => write!(f, "{}k", v / 1_000),
            v => write!(f, "{v}"),
        }
    }
}

impl Quota {
    /// What a bucket holds unless the file says otherwise: the whole amount for periods up to a minute, and a tenth of it,
    /// rounded up, for longer ones.
    #[must_use]
    pub fn default_burst(amount: u64, period: Period) -> u64 {
        match period {
            Period::Second | Period::Minute => amount,
            Period::Hour | Period::Day => amount.div_ceil(10).max(1),
        }
    }
}

impl fmt::Display for Quota {
    /// `600/min`, `5k/day burst 2k`: the burst only where it is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Short(self.amount), self.period.as_str())?;
        if self.burst == Quota::default_burst(self.amount, self.period) {
            return Ok(());
        }
        write!(f, " burst {}", Short(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_as_it_was_written() {
        let cases = [
            (1_000_000, Period::Minute, 1_000_000, "1M/min"),
            (1_500_000, Period::Minute, 1_500_000, "1500k/min"),
            (600, Period::Second, 1, "600/s burst 1"),
            (5_000, Period::Day, 500, "5k/day"),
            (5_000, Period::Day, 2_000, "5k/day burst 2k"),
            (3, Period::Hour, 1, "3/h"),
        ];
        for (amount, period, burst, text) in cases {
            assert_eq!(Quota { amount, period, burst }.to_string(), text);
        }
    }
}
