//! Lets the calls under way end, while no new ones are taken.
//!
//! Must not know signals, nor what a call is: it counts connections and tells them, in order, to leave, to close, to end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How far the way out we are. Stages only ever advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Ready, accepting, keeping connections alive.
    Serving,
    /// Not ready, yet still accepting; HTTP/1 answers already say `Connection: close`.
    Leaving,
    /// No new connections; idle ones close, the others after their call.
    Closing,
    /// What is left is dropped.
    Cut,
    /// The workers' runtimes may end.
    Released,
}

impl Stage {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Stage::Serving,
            1 => Stage::Leaving,
            2 => Stage::Closing,
            3 => Stage::Cut,
            _ => Stage::Released,
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every connection ended by itself.
    Finished,
    /// So many connections were dropped at the deadline.
    Cut(usize),
}

/// The handle that everyone concerned holds; clones are the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    open: AtomicUsize,
    connections: AtomicUsize,
    advanced: Notify,
    emptied: Notify,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        Stage::from_number(self.0.stage.load(Ordering::SeqCst))
    }

    /// What `/readyz` says: true until [`Drain::begin`].
    #[must_use]
    pub fn ready(&self) -> bool {
        self.stage() == Stage::Serving
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Not ready from now on; accepting goes on until [`Drain::close`].
    pub fn begin(&self) {
        self.advance(Stage::Leaving);
    }

    /// Closes the listener and idle connections, and the others after their call.
    pub fn close(&self) {
        self.advance(Stage::Closing);
    }

    /// Drops what is left.
    pub fn cut(&self) {
        self.advance(Stage::Cut);
    }

    /// Lets the workers' runtimes end, and whatever still runs on them with them.
    pub fn release(&self) {
        self.advance(Stage::Released);
    }

    /// The whole way: [`Drain::begin`]; after `delay` [`Drain::close`]; `deadline` later [`Drain::cut`]. Returns when all
    /// connections have ended. A second signal may call [`Drain::cut`] meanwhile.
    pub async fn run(&self, delay: Duration, deadline: Duration) -> Outcome {
        self.begin();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.reached(Stage::Cut) => {}
        }
        self.close();
        let ended = tokio::select! {
            biased;
            () = self.finished() => true,
            () = tokio::time::sleep(deadline) => false,
            () = self.reached(Stage::Cut) => false,
        };
        if ended {
            return Outcome::Finished;
        }
        let left = self.connections();
        self.cut();
        self.finished().await;
        Outcome::Cut(left)
    }

    /// Waits until the listener is closed and every connection has ended.
    pub async fn finished(&self) {
        self.reached(Stage::Closing).await;
        loop {
            let emptied = self.0.emptied.notified();
            if self.0.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Waits until `stage` is reached.
    pub async fn reached(&self, stage: Stage) {
        loop {
            let advanced = self.0.advanced.notified();
            if self.stage() >= stage {
                return;
            }
            advanced.await;
        }
    }

    /// Takes the place of one connection; dropping it gives the place back.
    #[must_use]
    pub fn enter(&self) -> Seat {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Seat { _hold: self.hold(), drain: self.clone() }
    }

    /// Keeps [`Drain::finished`] waiting without counting as a connection: an accept loop holds one.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Hold(self.clone())
    }

    fn advance(&self, stage: Stage) {
        let before = self.0.stage.fetch_max(stage as u8, Ordering::SeqCst);
        if before < stage as u8 {
            self.0.advanced.notify_waiters();
        }
    }
}

/// One connection's place in the count.
#[derive(Debug)]
pub struct Seat {
    _hold: Hold,
    drain: Drain,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.drain.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the drain from finishing.
#[derive(Debug)]
pub struct Hold(Drain);

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.emptied.notify_waiters();
        }
    }
}

pin_project_lite::pin_project! {
    /// Wakes one task when the stage advances, at no more than one atomic load per look.
    pub(super) struct Turn<'a> {
        drain: &'a Drain,
        #[pin]
        advanced: Notified<'a>,
        seen: Option<Stage>,
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(drain: &'a Drain) -> Self {
        Turn { drain, advanced: drain.0.advanced.notified(), seen: None }
    }

    /// The stage, when it is another than at the last look. The first look always answers.
    pub(super) fn look(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Option<Stage> {
        let mut me = self.project();
        let stage = me.drain.stage();
        if *me.seen == Some(stage) {
            return None;
        }
        // Registered before the stage is read again, so that no advance falls in between.
        me.advanced.set(me.drain.0.advanced.notified());
        let _ = me.advanced.as_mut().poll(cx);
        let stage = me.drain.stage();
        *me.seen = Some(stage);
        Some(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_without_connections_ends_after_its_delay() {
        let drain = Drain::new();
        assert!(drain.ready());
        let started = tokio::time::Instant::now();
        assert_eq!(drain.run(Duration::from_secs(5), Duration::from_secs(60)).await, Outcome::Finished);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        assert!(!drain.ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_waited_for_until_the_deadline_and_then_told_to_end() {
        let drain = Drain::new();
        let seat = drain.enter();
        let listener = drain.clone();
        let task = tokio::spawn(async move {
            listener.reached(Stage::Cut).await;
            drop(seat);
        });
        let outcome = drain.run(Duration::from_secs(1), Duration::from_secs(9)).await;
        assert_eq!(outcome, Outcome::Cut(1));
        assert_eq!(drain.connections(), 0);
        assert!(task.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_connection_ends_the_drain() {
        let drain = Drain::new();
        let (first, second) = (drain.enter(), drain.enter());
        drop(first);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            drop(second);
        });
        let started = tokio::time::Instant::now();
        assert_eq!(drain.run(Duration::ZERO, Duration::from_secs(60)).await, Outcome::Finished);
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_at_once() {
        let drain = Drain::new();
        let other = drain.clone();
        tokio::spawn(async move { other.cut() });
        let started = tokio::time::Instant::now();
        assert_eq!(drain.run(Duration::from_secs(5), Duration::from_secs(60)).await, Outcome::Finished);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[test]
    fn stages_never_go_back() {
        let drain = Drain::new();
        drain.cut();
        drain.begin();
        assert_eq!(drain.stage(), Stage::Cut);
    }
}
