//! Ends connections whose client keeps us waiting.
//!
//! Must not know what is spoken on the connection. One timer per connection, re-armed only when it fires or when something
//! is due before it: a frame, a call, a keep-alive cost no timer operation.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Timeouts;
use super::pulse::{Protocol, Pulse};

/// What has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A head was begun and not ended in time.
    SlowHead,
    /// The client takes no bytes.
    Stalled,
    /// Nothing was asked for the length of a keep-alive.
    Idle,
    /// We said that we close, and the client did not.
    Overstayed,
}

/// How long a closing HTTP/2 connection without calls may stay.
const CLOSING: Duration = Duration::from_secs(5);

pin_project_lite::pin_project! {
    pub(super) struct Watchdog<'a> {
        pulse: &'a Pulse,
        timeouts: Timeouts,
        tick: u64,
        armed: u64,
        closing_since: u64,
        #[pin]
        sleep: Sleep,
    }
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(pulse: &'a Pulse, timeouts: Timeouts) -> Self {
        let tick = match pulse.protocol {
            Protocol::Http1 => timeouts.keep_alive,
            Protocol::Http2 => timeouts.keep_alive.min(timeouts.write_stall / 4),
        };
        let tick = millis(tick).max(1);
        let armed = pulse.now().saturating_add(tick);
        let sleep = tokio::time::sleep_until(pulse.instant(armed));
        Watchdog { pulse, timeouts, tick, armed, closing_since: 0, sleep }
    }

    /// From now on a connection without calls has only a few seconds left.
    pub(super) fn close_soon(self: Pin<&mut Self>) {
        let me = self.project();
        if *me.closing_since == 0 {
            *me.closing_since = me.pulse.now();
        }
    }

    /// Ready when something ran out. To be called after every poll of the connection.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let mut me = self.project();
        loop {
            let due = due(me.pulse, *me.timeouts, *me.closing_since);
            if let Some((at, _)) = due
                && at < *me.armed
            {
                *me.armed = at;
                me.sleep.as_mut().reset(me.pulse.instant(at));
            }
            if me.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = me.pulse.now();
            if let Some((at, verdict)) = due
                && at <= now
            {
                return Poll::Ready(verdict);
            }
            if stream_stalled(me.pulse, *me.timeouts, now) {
                return Poll::Ready(Verdict::Stalled);
            }
            *me.armed = now.saturating_add(*me.tick).min(due.map_or(u64::MAX, |(at, _)| at.max(now + 1)));
            me.sleep.as_mut().reset(me.pulse.instant(*me.armed).max(Instant::now() + Duration::from_millis(1)));
        }
    }
}

/// What is due first, and when.
fn due(pulse: &Pulse, timeouts: Timeouts, closing_since: u64) -> Option<(u64, Verdict)> {
    let blocked = pulse.blocked_since();
    if blocked != 0 {
        return Some((after(blocked, timeouts.write_stall), Verdict::Stalled));
    }
    if pulse.calls() > 0 {
        return None;
    }
    let head = pulse.head_since();
    if head != 0 {
        return Some((after(head, timeouts.head), Verdict::SlowHead));
    }
    if closing_since != 0 {
        let since = closing_since.max(pulse.idle_since());
        return Some((after(since, CLOSING), Verdict::Overstayed));
    }
    Some((after(pulse.idle_since(), timeouts.keep_alive), Verdict::Idle))
}

fn stream_stalled(pulse: &Pulse, timeouts: Timeouts, now: u64) -> bool {
    let since = pulse.longest_wait(now);
    since != 0 && after(since, timeouts.write_stall) <= now
}

fn after(stamp: u64, wait: Duration) -> u64 {
    stamp.saturating_add(millis(wait))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
