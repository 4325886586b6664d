//! Says what a call wants of one bucket, keeps the bucket's sums, and settles the call in it.
//!
//! Must not know the other buckets of the tenant: what they decide together stands in the tree.

use crate::limits::bucket::{Bucket, Rate};
use crate::limits::reservation::{Hold, Settled};
use crate::limits::{Ask, Kind, Quota, ReserveOutput};
use crate::net::clock::Moment;

/// What does not change about a bucket.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) kind: Kind,
    /// Place in the list of its kind.
    pub(super) place: usize,
    pub(super) quota: Quota,
    pub(super) rate: Rate,
}

/// What changes about a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) bucket: Bucket,
    /// What open reservations took. Sums are u128 so that they never saturate and come back to 0.
    pub(super) reserved: u128,
    /// What the calls in flight may use beyond their reservations.
    pub(super) uncovered: u128,
}

/// What a call wants of one bucket.
pub(super) struct Want {
    pub(super) amount: u64,
    pub(super) uncovered: u64,
    pub(super) bound: Bound,
}

/// Whether the calls in flight may use so much beyond their reservations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Kept,
    Broken,
}

impl Ask {
    /// The most that the call says it can use.
    pub(super) const fn whole(&self) -> u64 {
        self.input.saturating_add(self.output_cap)
    }
}

impl Spec {
    pub(super) fn new(kind: Kind, (place, quota): (usize, &Quota)) -> Self {
        Spec { kind, place, quota: *quota, rate: Rate::of(quota) }
    }

    /// Whether a peek refuses for this bucket.
    pub(super) fn is_spent(&self, cell: &Cell, at: Moment) -> bool {
        match self.kind {
            Kind::Tokens => self.rate.is_spent(cell.bucket.level(&self.rate, at)),
            Kind::Requests | Kind::Concurrent => !cell.bucket.fits(&self.rate, 1, at),
        }
    }

    /// Until when a peek refuses for this bucket, in nanoseconds since the clock's origin.
    pub(super) fn spent_until(&self, cell: &Cell, at: Moment) -> u64 {
        if !self.is_spent(cell, at) {
            return 0;
        }
        match self.kind {
            Kind::Tokens => cell.bucket.unspent(&self.rate),
            Kind::Requests | Kind::Concurrent => cell.bucket.ready(&self.rate, 1),
        }
    }

    /// How much to reserve in one bucket, and what then stays uncovered.
    pub(super) fn want(&self, cell: &Cell, ask: &Ask, reserve_output: ReserveOutput) -> Want {
        if self.kind != Kind::Tokens {
            return Want { amount: 1, uncovered: 0, bound: Bound::Kept };
        }
        let burst = self.rate.burst();
        let whole = ask.whole();
        let expected = match (reserve_output, ask.learned_output) {
            (ReserveOutput::Learned, Some(learned)) => ask.input.saturating_add(learned.min(ask.output_cap)),
            _ => whole,
        };
        let breaks = |uncovered: u64| uncovered > 0 && cell.uncovered.saturating_add(uncovered.into()) > burst.into();
        let mut amount = expected.min(burst);
        if breaks(whole - amount) {
            amount = whole.min(burst);
        }
        let uncovered = whole - amount;
        let alone = cell.uncovered == 0;
        let bound = if breaks(uncovered) && !alone { Bound::Broken } else { Bound::Kept };
        Want { amount, uncovered, bound }
    }
}

impl Cell {
    pub(super) fn hold(&mut self, hold: &Hold) {
        self.reserved = self.reserved.saturating_add(hold.taken.into());
        self.uncovered = self.uncovered.saturating_add(hold.uncovered.into());
    }

    pub(super) fn release(&mut self, hold: &Hold) {
        self.reserved = self.reserved.saturating_sub(hold.taken.into());
        self.uncovered = self.uncovered.saturating_sub(hold.uncovered.into());
    }

    /// A call that a shadow plan let pass though it did not fit owes nothing beyond what it took.
    pub(super) fn settle(&mut self, rate: &Rate, hold: &Hold, used: u64, at: Moment) -> Settled {
        let unused = hold.taken.saturating_sub(used);
        if unused > 0 {
            let given_back = self.bucket.give_back(rate, unused, hold.mark, at);
            return Settled { given_back, forgone: unused - given_back, overrun: 0 };
        }
        let overrun = if hold.taken < hold.asked { 0 } else { used - hold.taken };
        if overrun > 0 {
            self.bucket.take(rate, overrun, at);
        }
        Settled { given_back: 0, forgone: 0, overrun }
    }
}
