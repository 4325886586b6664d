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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const FAR: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_to_the_millisecond_whichever_was_watched_before() {
        let mut timer = Timer::default();
        let origin = Instant::now();
        for (earlier_watched, wait) in [(600, 600), (900, 30), (20, 70), (5, 5)] {
            let watched = origin.elapsed() + Duration::from_secs(earlier_watched);
            let polled = poll_fn(|cx| Poll::Ready(timer.poll_past(cx, Some(origin + watched)))).await;
            assert!(polled.is_pending());
            let began = Instant::now();
            let deadline = began + Duration::from_secs(wait);
            poll_fn(|cx| timer.poll_past(cx, Some(deadline))).await;
            let late = Instant::now() - deadline;
            assert!(late <= Duration::from_millis(1), "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_on_never_passes_early() {
        let mut timer = Timer::default();
        let begin = Instant::now();
        let mut moved = 0;
        poll_fn(|cx| {
            moved += 1;
            let deadline = if moved < 5 { Instant::now() + FAR } else { begin + 5 * FAR };
            timer.poll_past(cx, Some(deadline))
        })
        .await;
        assert!(begin.elapsed() >= 5 * FAR);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_nothing_passes() {
        let mut timer = Timer::default();
        assert!(poll_fn(|cx| Poll::Ready(timer.poll_past(cx, None))).await.is_pending());
        assert_eq!(after(Instant::now(), Duration::ZERO), None);
        assert_eq!(after(Instant::now(), Duration::MAX), None);
    }
}
