//! Tells a call that its time is over, at the price of one timer for the whole life of a connection.
//!
//! Must not know which time-out it serves. A timer is not set anew for each frame: it is left to ring at an earlier
//! hour and is then, once, put forward to the deadline that has meanwhile moved.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline watched lazily.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `deadline` has passed; registers the task otherwise. `None` never passes.
    pub(super) fn poll_past(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.is_elapsed() || sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// `from` and `wait` later; `None` where `wait` is zero, which means no limit, or beyond what a clock can hold.
pub(super) fn after(from: Instant, wait: Duration) -> Option<Instant> {
    if wait.is_zero() { None } else { from.checked_add(wait) }
}

/// The earlier of two deadlines.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
