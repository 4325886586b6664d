//! Notes what each part of a connection did last, so that one watchdog can see who keeps whom waiting.
//!
//! Must not know hyper, sockets or timers: it is a handful of numbers that others write and one reads.
//! All stamps are milliseconds since the connection was opened, plus one; zero means "not so".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Streams of one HTTP/2 connection that are watched one by one: the 100 we allow, and some that end late.
const SLOTS: usize = 128;

/// What an HTTP/2 client may send while no call moves (bytes): an upload that was refused may fill the connection's window of
/// 1 MiB once more before the client hears of it.
const FLOOD: u64 = 2 * 1024 * 1024;

const FREE: u64 = 0;
const ACTIVE: u64 = 1;
const HANDED: u64 = 2;
/// Stamps in slots lie above the states.
const STAMP: u64 = 3;

/// Which protocol the connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

#[derive(Debug)]
pub(super) struct Pulse {
    origin: Instant,
    pub(super) protocol: Protocol,
    calls: AtomicU32,
    served: AtomicBool,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    blocked_since: AtomicU64,
    /// HTTP/1: the request body has not been read to its end.
    body_open: AtomicBool,
    /// HTTP/1.0: the end of the answer is the end of the connection.
    close_delimited: AtomicBool,
    /// HTTP/2: bytes that came in since a call, or a piece of one, last did.
    idle_bytes: AtomicU64,
    /// HTTP/2: one state per stream; see the constants above.
    slots: Box<[AtomicU64]>,
}

impl Pulse {
    pub(super) fn new(protocol: Protocol) -> Self {
        let slots = match protocol {
            Protocol::Http1 => 0,
            Protocol::Http2 => SLOTS,
        };
        Pulse {
            origin: Instant::now(),
            protocol,
            calls: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            body_open: AtomicBool::new(false),
            close_delimited: AtomicBool::new(false),
            idle_bytes: AtomicU64::new(0),
            slots: (0..slots).map(|_| AtomicU64::new(FREE)).collect(),
        }
    }

    /// Now, as a stamp.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
    }

    /// The instant of a stamp.
    pub(super) fn instant(&self, stamp: u64) -> Instant {
        let after = std::time::Duration::from_millis(stamp.saturating_sub(1).min(u64::from(u32::MAX)));
        self.origin + after
    }

    /// So many bytes came in. In HTTP/1, between calls, they are the head of the next one.
    pub(super) fn read(&self, count: usize) {
        match self.protocol {
            Protocol::Http1 => {
                if self.calls.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
                    self.head_since.store(self.now(), Relaxed);
                }
            }
            Protocol::Http2 => {
                self.idle_bytes.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
            }
        }
    }

    /// Whether an HTTP/2 client has sent more than any orderly one does while no call moves: PINGs, SETTINGS, priorities,
    /// none of which the library limits.
    pub(super) fn is_flooded(&self) -> bool {
        self.idle_bytes.load(Relaxed) > FLOOD
    }

    /// A piece of a call went in or out.
    pub(super) fn moved(&self) {
        if self.protocol == Protocol::Http2 {
            self.idle_bytes.store(0, Relaxed);
        }
    }

    /// The socket takes no more bytes now.
    pub(super) fn blocked(&self) {
        if self.blocked_since.load(Relaxed) == 0 {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    /// The socket took bytes.
    pub(super) fn wrote(&self) {
        if self.blocked_since.load(Relaxed) != 0 {
            self.blocked_since.store(0, Relaxed);
        }
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Whether a call was ever begun here.
    pub(super) fn served(&self) -> bool {
        self.served.load(Relaxed)
    }

    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.load(Relaxed)
    }

    /// When the head now being read began; zero between heads.
    pub(super) fn head_since(&self) -> u64 {
        self.head_since.load(Relaxed)
    }

    /// Since when the socket takes nothing; zero while it does.
    pub(super) fn blocked_since(&self) -> u64 {
        self.blocked_since.load(Relaxed)
    }

    /// Whether the client takes an orderly close for the end of its answer.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.close_delimited.load(Relaxed)
    }

    pub(super) fn set_ends_with_connection(&self) {
        self.close_delimited.store(true, Relaxed);
    }

    pub(super) fn body_open(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    pub(super) fn set_body_open(&self, open: bool) {
        self.body_open.store(open, Relaxed);
    }

    /// HTTP/2: since when the slowest stream has waited for its client; zero if none does. Called at every tick; a stream
    /// found waiting for the first time gets its stamp here, so that no frame costs a look at the clock.
    pub(super) fn longest_wait(&self, now: u64) -> u64 {
        let mut longest = 0;
        for slot in &self.slots {
            let state = slot.load(Relaxed);
            if state == HANDED {
                let _ = slot.compare_exchange(HANDED, now.saturating_add(STAMP), Relaxed, Relaxed);
            } else if state >= STAMP {
                let since = state - STAMP;
                longest = if longest == 0 { since } else { longest.min(since) };
            }
        }
        longest
    }

    /// A call begins; it lasts until the guard is dropped, that is, to the last byte of its answer.
    pub(super) fn begin(self: &Arc<Self>) -> CallGuard {
        self.calls.fetch_add(1, Relaxed);
        self.served.store(true, Relaxed);
        self.head_since.store(0, Relaxed);
        self.moved();
        let slot = self.slots.iter().position(|slot| slot.compare_exchange(FREE, ACTIVE, Relaxed, Relaxed).is_ok());
        CallGuard { pulse: Arc::clone(self), slot }
    }
}

/// One call under way.
#[derive(Debug)]
pub(super) struct CallGuard {
    pulse: Arc<Pulse>,
    slot: Option<usize>,
}

impl CallGuard {
    /// The connection asked for the next frame.
    pub(super) fn asked(&self) {
        self.set(ACTIVE);
    }

    /// A frame was handed out, and the client has to make room before the next is asked for.
    pub(super) fn handed(&self) {
        self.set(HANDED);
        self.pulse.moved();
    }

    /// Whether the socket takes nothing at the moment (HTTP/1 only: there the connection polls the body again itself).
    pub(super) fn is_blocked(&self) -> bool {
        self.pulse.protocol == Protocol::Http1 && self.pulse.blocked_since() != 0
    }

    fn set(&self, state: u64) {
        if let Some(slot) = self.slot.and_then(|index| self.pulse.slots.get(index)) {
            slot.store(state, Relaxed);
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.set(FREE);
        self.pulse.idle_since.store(self.pulse.now(), Relaxed);
        self.pulse.calls.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_between_calls_begin_a_head_and_a_call_ends_it() {
        let pulse = Arc::new(Pulse::new(Protocol::Http1));
        tokio::time::advance(Duration::from_millis(40)).await;
        pulse.read(1);
        tokio::time::advance(Duration::from_millis(40)).await;
        pulse.read(1);
        assert_eq!(pulse.head_since(), 41, "the first byte counts");
        let call = pulse.begin();
        pulse.read(1);
        assert_eq!((pulse.head_since(), pulse.calls()), (0, 1), "bytes of a body begin no head");
        drop(call);
        assert_eq!((pulse.idle_since(), pulse.calls()), (81, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_from_the_tick_that_finds_it_until_it_is_asked_again() {
        let pulse = Arc::new(Pulse::new(Protocol::Http2));
        let (first, second) = (pulse.begin(), pulse.begin());
        first.handed();
        assert_eq!(pulse.longest_wait(100), 0);
        second.handed();
        assert_eq!(pulse.longest_wait(200), 100);
        first.asked();
        assert_eq!(pulse.longest_wait(300), 200, "the second is found at 200");
        drop(second);
        assert_eq!(pulse.longest_wait(400), 0);
    }
}
