//! Holds what a call took from its tenant's buckets until it is known what the call really used.
//!
//! Must not know why a call ended or how its usage was found: it is told an amount.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bucket::Mark;
use super::tree::LimitTree;
use crate::net::clock::Moment;

/// What a call took from one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// The bucket's place in the tree.
    pub(super) cell: usize,
    /// What the call asked for.
    pub(super) asked: u64,
    /// What it got: less only under a shadow plan.
    pub(super) taken: u64,
    /// What it may use beyond that, as counted in the bucket.
    pub(super) uncovered: u64,
    /// Where the bucket stood after the take.
    pub(super) mark: Mark,
}

impl Hold {
    /// A hold on what was asked for; it counts once the bucket was taken from.
    pub(super) fn new(cell: usize, asked: u64, uncovered: u64) -> Self {
        Hold { cell, asked, taken: asked, uncovered, mark: Mark::default() }
    }

    /// Contents itself with what there is. What does not fit is not owed later either.
    pub(super) fn shrink_to(&mut self, remaining: u64) {
        if remaining < self.taken {
            self.taken = remaining;
            self.uncovered = 0;
        }
    }
}

/// Most plans have two or three buckets; more are put on the heap, before the mutex is taken.
pub(super) type Holds = SmallVec<[Hold; 3]>;

/// Everything that a call took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) holds: Holds,
    /// The index in `holds` of the token bucket with the fewest remaining after the take.
    pub(super) tightest: Option<usize>,
    /// What was taken from that bucket.
    pub(super) tokens: u64,
}

/// What an admitted call holds. Settle it with what the call used. Dropped without that, the call counts as having used exactly what
/// was reserved: nothing is given back, nothing leaks.
#[derive(Debug)]
#[must_use = "settle it with what the call used, or everything reserved is charged"]
pub struct Reservation {
    tree: Arc<LimitTree>,
    id: u64,
    tokens: u64,
    /// `None` once settled.
    taken: Option<Taken>,
}

/// What a call really used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Input and output tokens.
    pub tokens: u64,
    /// Whether the call itself counts.
    pub request: RequestCharge,
}

/// Whether a call counts against limits of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestCharge {
    /// It counts: something was sent upstream.
    Kept,
    /// It was never sent.
    GivenBack,
}

/// What became of a reservation, in tokens of the tightest token bucket at the take; all 0 where the plan limits no tokens.
///
/// Of the reserved tokens, min(used, reserved) stay charged; the rest is `given_back` + `forgone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Unused, and put back.
    pub given_back: u64,
    /// Unused, but time had returned it already.
    pub forgone: u64,
    /// Used beyond the reservation: the bucket was debited for it.
    pub overrun: u64,
}

impl Reservation {
    pub(super) fn new(tree: Arc<LimitTree>, id: u64, taken: Taken) -> Self {
        Reservation { tree, id, tokens: taken.tokens, taken: Some(taken) }
    }

    /// Unique among the reservations of its tenant while the process lives.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The tokens reserved, in the tightest token bucket; 0 where the plan limits no tokens.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Charges what was used: puts back the unused part as far as time has not returned it already, or debits the overrun, into debt
    /// if need be.
    pub fn settle(mut self, charge: Charge, now: Moment) -> Settled {
        match self.taken.take() {
            Some(taken) => self.tree.settle(&taken, charge, now),
            None => Settled::default(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.tree.forget(&taken);
        }
    }
}
