//! Weighs one refusal against another: the longest wait is what a call is told.
//!
//! Must not know levels or quotas: the tree puts the winner into the words of a [`Refusal`](crate::limits::Refusal).

use std::time::Duration;

use crate::limits::Why;

/// What refuses, before it is put into words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Veto {
    pub(super) subject: Subject,
    pub(super) why: Why,
    /// `None`: the level of the bucket says it.
    pub(super) used: Option<u64>,
    pub(super) requested: Option<u64>,
    /// `None`: never.
    pub(super) wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    Cell(usize),
    InFlight,
}

impl Veto {
    pub(super) fn new(subject: Subject, why: Why, wait: Duration) -> Self {
        Veto { subject, why, used: None, requested: None, wait: Some(wait) }
    }

    pub(super) fn longer(one: Option<Veto>, other: Veto) -> Option<Veto> {
        match one {
            Some(one) if one.wait >= other.wait => Some(one),
            _ => Some(other),
        }
    }
}
