//! Admits a call or refuses it, and settles what it really took.
//!
//! Knows numbers only: no HTTP, no tenant's name, no clock but a [`Moment`](crate::net::clock::Moment) that is passed in.

mod bucket;
mod in_flight;
mod learned;
mod quota;
mod reservation;
#[cfg(test)]
mod testing;
mod tree;

use std::time::Duration;

pub use in_flight::InFlight;
pub use learned::{Learned, LearnedTable, Observed};
pub use quota::Short;
pub use reservation::{Charge, RequestCharge, Reservation, Settled};
pub use tree::LimitTree;

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

impl Kind {
    /// The word in error types and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Requests => "requests",
            Kind::Tokens => "tokens",
            Kind::Concurrent => "concurrent",
        }
    }
}

/// What a call asks of its tenant's limits. All amounts are tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The estimate of the input.
    pub input: u64,
    /// The least that the input can be: its bytes over 16. Decides what is too large for ever.
    pub least_input: u64,
    /// The whole output cap, times choices, times prompts; 0 where nothing is generated.
    pub output_cap: u64,
    /// What 90 % of this tenant's calls on this route stayed under; `None` until 20 answers were seen.
    pub learned_output: Option<u64>,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A bucket holds too little now.
    Exhausted,
    /// The call is larger than the whole bucket: it never fits.
    TooLarge,
    /// The calls in flight may already use as much beyond their reservations as the limit bears.
    Uncovered,
    /// As many calls are in flight as the plan allows.
    Concurrency,
}

/// A refusal. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of limit decided: of all that refuse, the one with the longest wait.
    pub kind: Kind,
    /// Why.
    pub why: Why,
    /// The quota of the bucket; `None` for calls in flight.
    pub quota: Option<Quota>,
    /// The bucket's burst, or the most calls in flight.
    pub limit: u64,
    /// What is used of it, above `limit` in debt. For [`Why::Uncovered`]: what the calls in flight may use beyond their reservations.
    pub used: u64,
    /// What the call asked of it; `None` in a peek. For [`Why::Uncovered`]: what the call may use beyond its reservation.
    pub requested: Option<u64>,
    /// After exactly this time the same call, alone, is admitted. `None`: it never fits ([`Why::TooLarge`]). One second, without
    /// that promise, for [`Why::Uncovered`] and [`Why::Concurrency`]; at least 250 ms and without it in a peek.
    pub wait: Option<Duration>,
    /// The place of the quota in its list, from 0.
    pub place: usize,
    /// The levels at the refusal, for the headers.
    pub view: View,
}

/// What the rate-limit headers show: of each kind the bucket with the fewest remaining; `None` where no such limit is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Calls.
    pub requests: Option<Shown>,
    /// Tokens.
    pub tokens: Option<Shown>,
}

/// One bucket as the headers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The bucket's burst.
    pub limit: u64,
    /// Whole calls or tokens left; debt shows as 0.
    pub remaining: u64,
    /// Time until the bucket is full.
    pub reset: Duration,
}

/// The level of one bucket, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Calls or tokens.
    pub kind: Kind,
    /// The place of the quota in its list, from 0.
    pub place: usize,
    /// The quota.
    pub quota: Quota,
    /// What is used now, rounded up; above the quota's burst it is debt.
    pub used: u64,
    /// What the open reservations took from this bucket.
    pub reserved: u64,
    /// What the calls in flight may use beyond their reservations.
    pub uncovered: u64,
}

/// What is reserved and not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Open reservations.
    pub reservations: u64,
    /// The sum of their [`Reservation::tokens`].
    pub tokens: u64,
}

/// An admitted call.
#[derive(Debug)]
pub struct Admitted {
    /// What the call took; settle it.
    pub reservation: Reservation,
    /// The call's place in flight; keep it to the answer's last byte.
    pub in_flight: InFlight,
    /// The levels after the take, for the headers.
    pub view: View,
    /// The refusal that a shadow plan did not speak out.
    pub shadow_refused: Option<Refusal>,
}
