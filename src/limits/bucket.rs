//! Takes an amount from one bucket, puts back what was not used, and lets a bucket go into debt.
//!
//! Pure arithmetic: must not know what is counted, who asks, or that other buckets exist; holds no lock and reads no clock.
//!
//! The algorithm is GCRA with one number, the theoretical arrival time (TAT): the moment at which the bucket will be full again.
//! A limit of L per W nanoseconds weighs n tokens as n·W/L nanoseconds. That is rarely whole: at 7/min each of seven calls would be
//! rounded up, and the seventh of a full bucket refused. So time is counted here in *ticks* of 1/L nanosecond (both sides divided by
//! their greatest common divisor): a token weighs W ticks, a nanosecond refills L ticks, and nothing is ever rounded but what is told
//! to people (waits up, remaining and give-backs down). Where a token takes whole nanoseconds, a tick is a nanosecond.
//! The largest product is u64 × u64, so no product can exceed u128; sums saturate.

use std::time::Duration;

use super::Quota;
use crate::net::clock::Moment;

/// A quota turned into ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Ticks that one token weighs.
    token: u64,
    /// Ticks that refill in one nanosecond.
    nano: u64,
    /// Tokens that a full bucket holds.
    burst: u64,
    /// Ticks that a full bucket holds.
    capacity: u128,
}

impl Rate {
    /// Zeroes in the quota, which the configuration refuses, count as 1.
    pub(super) fn of(quota: &Quota) -> Self {
        let period = u64::try_from(quota.period.length().as_nanos()).unwrap_or(u64::MAX);
        let amount = quota.amount.max(1);
        let divisor = greatest_common_divisor(period, amount);
        let token = period / divisor;
        let burst = quota.burst.max(1);
        Rate { token, nano: amount / divisor, burst, capacity: u128::from(burst) * u128::from(token) }
    }

    /// Tokens that a full bucket holds.
    pub(super) const fn burst(&self) -> u64 {
        self.burst
    }

    /// Whole tokens that a bucket of this level still holds; 0 in debt.
    pub(super) fn remaining(&self, level: Ticks) -> u64 {
        saturate(self.capacity.saturating_sub(level.0) / u128::from(self.token))
    }

    /// Tokens that are used at this level, rounded up; above the burst in debt.
    pub(super) fn used(&self, level: Ticks) -> u64 {
        saturate(level.0.div_ceil(u128::from(self.token)))
    }

    /// Time until a bucket of this level is full.
    pub(super) fn reset(&self, level: Ticks) -> Duration {
        Duration::from_nanos(saturate(level.0.div_ceil(u128::from(self.nano))))
    }

    /// Whether nothing at all is left, or less.
    pub(super) const fn is_spent(&self, level: Ticks) -> bool {
        level.0 >= self.capacity
    }

    fn weigh(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.token)
    }

    fn ticks(&self, now: Moment) -> u128 {
        u128::from(now.nanos()) * u128::from(self.nano)
    }
}

/// How much of a bucket is used at some moment, in ticks of its rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks(u128);

/// Where a bucket stood right after a take: what a later give-back is measured by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    tat: u128,
    returned: u128,
}

/// One bucket. The default is a full one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When it is full again, in ticks since the clock's origin.
    tat: u128,
    /// Running sum S of all give-backs, in ticks. Only differences are read, so it wraps and never saturates.
    returned: u128,
}

impl Bucket {
    pub(super) fn level(&self, rate: &Rate, now: Moment) -> Ticks {
        Ticks(self.tat.saturating_sub(rate.ticks(now)))
    }

    /// Whether `tokens` can be taken now without debt.
    pub(super) fn fits(&self, rate: &Rate, tokens: u64, now: Moment) -> bool {
        tokens <= rate.burst && self.level(rate, now).0.saturating_add(rate.weigh(tokens)) <= rate.capacity
    }

    /// The first moment at which `tokens` fit, in nanoseconds since the clock's origin; what is above the burst counts as the burst.
    pub(super) fn ready(&self, rate: &Rate, tokens: u64) -> u64 {
        let weight = rate.weigh(tokens.min(rate.burst));
        let excess = self.tat.saturating_add(weight).saturating_sub(rate.capacity);
        saturate(excess.div_ceil(u128::from(rate.nano)))
    }

    /// The first moment at which anything at all is left, in nanoseconds since the clock's origin.
    pub(super) fn unspent(&self, rate: &Rate) -> u64 {
        match self.tat.checked_sub(rate.capacity) {
            Some(excess) => saturate(excess / u128::from(rate.nano)).saturating_add(1),
            None => 0,
        }
    }

    /// Takes `tokens`, into debt if they do not fit.
    pub(super) fn take(&mut self, rate: &Rate, tokens: u64, now: Moment) -> Mark {
        let from = self.tat.max(rate.ticks(now));
        self.tat = from.saturating_add(rate.weigh(tokens));
        Mark { tat: self.tat, returned: self.returned }
    }

    /// Puts back what of `tokens` time has not returned already, to the tick, and says how many whole tokens that was.
    ///
    /// With the TAT and S of the take: min(tokens, TAT − (S now − S then) − now). A part of a token goes back too: else a
    /// call that was never sent would stay charged where a whole token takes an hour to refill.
    pub(super) fn give_back(&mut self, rate: &Rate, tokens: u64, taken: Mark, now: Moment) -> u64 {
        let since = self.returned.wrapping_sub(taken.returned);
        let left = taken.tat.saturating_sub(since).saturating_sub(rate.ticks(now));
        let weight = left.min(rate.weigh(tokens));
        self.tat = self.tat.saturating_sub(weight);
        self.returned = self.returned.wrapping_add(weight);
        saturate(weight / u128::from(rate.token))
    }
}

fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
