//! Keeps a call's place in flight until its answer's last byte.
//!
//! Must not know of buckets: a place is freed without the tree's mutex, as it is only ever taken under it.

use std::sync::Arc;

use super::tree::LimitTree;

/// Whether a call took one of the plan's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of those that the plan allows.
    Held,
    /// None was left, and a shadow plan let the call pass.
    Beyond,
}

/// A call in flight. Rides in the answer's body; dropping it frees the place.
#[derive(Debug)]
#[must_use = "dropping it says that the answer's last byte has passed"]
pub struct InFlight {
    tree: Arc<LimitTree>,
    place: Place,
}

impl InFlight {
    /// The caller has entered the call in the tree's counts.
    pub(super) fn new(tree: Arc<LimitTree>, place: Place) -> Self {
        InFlight { tree, place }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.tree.leave(self.place);
    }
}
