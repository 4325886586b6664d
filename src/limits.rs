//! Admits a call or refuses it, and settles what it really took.
//!
//! Knows numbers only: no HTTP, no tenant's name, no clock but a [`Moment`](crate::net::clock::Moment) that is passed in.

use std::time::Duration;

/// The calendar-free periods of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `h`
    Hour,
    /// `day`, 24 hours
    Day,
}

impl Period {
    /// The period's length.
    #[must_use]
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3_600,
            Period::Day => 86_400,
        })
    }

    /// The word in configuration and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Second => "s",
            Period::Minute => "min",
            Period::Hour => "h",
            Period::Day => "day",
        }
    }
}

/// A limit: `amount` per `period`, at most `burst` at once. All three are at least 1; `amount` is at most 10^10 a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// What refills in one period.
    pub amount: u64,
    /// The period.
    pub period: Period,
    /// The most that the bucket holds.
    pub burst: u64,
}

/// How a call's output is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReserveOutput {
    /// The smaller of the cap and what 90 % of this tenant's calls on the route stayed under.
    #[default]
    Learned,
    /// The whole cap.
    Cap,
}

/// The limits of a plan, all of which must admit a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanLimits {
    /// Calls per period.
    pub requests: Vec<Quota>,
    /// Input and output tokens together per period.
    pub tokens: Vec<Quota>,
    /// Calls in flight.
    pub concurrent: Option<u32>,
    /// How output is reserved.
    pub reserve_output: ReserveOutput,
    /// Decide, count and log, but never refuse.
    pub shadow: bool,
}

/// What kind of limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Calls per period.
    Requests,
    /// Tokens per period.
    Tokens,
    /// Calls in flight.
    Concurrent,
}
