//! Tells on an answer how it came about, where the operator wants that: who answered, at which attempt, how long it took, what
//! it cost.
//!
//! Must not change anything else of an answer. Off, it costs two looks at a flag.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::call::Facts;
use crate::net::clock::Moment;
use crate::usage::money::Usd;

/// How long the gateway and its upstream took (W3C Server Timing).
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// The upstream that answered, by its name in the configuration.
pub const X_TOLLGATE_UPSTREAM: HeaderName = HeaderName::from_static("x-tollgate-upstream");
/// How many attempts there were at upstreams.
pub const X_TOLLGATE_ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
/// What the call cost, in US dollars with all digits.
pub const X_TOLLGATE_COST: HeaderName = HeaderName::from_static("x-tollgate-cost");

/// What answers tell of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reveal {
    /// `server_timing`.
    pub timing: bool,
    /// `reveal_upstream`.
    pub upstream: bool,
}

/// What is to be told on one answer.
pub(super) struct Revealed {
    timing: Option<(Duration, Duration)>,
    upstream: Option<(Arc<str>, u32)>,
    cost: Option<Arc<OnceLock<Usd>>>,
}

impl Reveal {
    /// What is known when an upstream has answered, or failed to; `None` where nothing is to be told, or none was asked.
    pub(super) fn look(self, facts: Option<&mut Facts>, now: impl FnOnce() -> Moment) -> Option<Box<Revealed>> {
        if !self.timing && !self.upstream {
            return None;
        }
        let facts = facts?;
        let name = facts.upstream.clone()?;
        let timing = self.timing.then(|| {
            let asked = facts.here.plus(facts.overhead);
            (facts.overhead, now().since(asked))
        });
        let upstream = self.upstream.then_some((name, facts.attempts));
        Some(Box::new(Revealed { timing, upstream, cost: None }))
    }
}

impl Revealed {
    /// Has the call's cost told too, if it is known when the head of the answer goes out.
    pub(super) fn with_cost(mut self: Box<Self>, facts: Option<&mut Facts>) -> Box<Self> {
        if let Some(facts) = facts.filter(|_| self.upstream.is_some()) {
            let told = Arc::new(OnceLock::new());
            self.cost = Some(Arc::clone(&told));
            facts.told_cost = Some(told);
        }
        self
    }

    /// Puts it into the head of the answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if let Some((own, upstream)) = self.timing {
            // An upstream's own timings stay beside ours.
            append(headers, SERVER_TIMING, &format!("gateway;dur={}, upstream;dur={}", millis(own), millis(upstream)));
        }
        if let Some((name, attempts)) = &self.upstream {
            append(headers, X_TOLLGATE_UPSTREAM, name);
            append(headers, X_TOLLGATE_ATTEMPTS, &attempts.to_string());
        }
        if let Some(usd) = self.cost.as_ref().and_then(|cost| cost.get()) {
            append(headers, X_TOLLGATE_COST, &usd.to_string());
        }
    }
}

/// A name of the configuration has no control characters, so it can stand in a header.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.append(name, value);
    }
}

/// Milliseconds with one decimal, rounded.
fn millis(time: Duration) -> String {
    let tenths = time.as_micros().saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::Rig;

    const BOTH: Reveal = Reveal { timing: true, upstream: true };

    #[test]
    fn times_are_milliseconds_with_one_decimal() {
        for (micros, text) in
            [(0, "0.0"), (49, "0.0"), (50, "0.1"), (1_234, "1.2"), (99_950, "100.0"), (61_000_000, "61000.0")]
        {
            assert_eq!(millis(Duration::from_micros(micros)), text);
        }
        assert!(millis(Duration::MAX).ends_with(".0"));
    }

    #[test]
    fn an_answer_tells_who_gave_it_at_which_attempt_and_how_long_that_took() {
        let rig = Rig::new();
        let mut call = rig.call();
        call.note(|facts| {
            facts.upstream = Some("up".into());
            facts.attempts = 2;
            facts.overhead = Duration::from_micros(1_260);
        });
        rig.clock.advance(Duration::from_millis(250));
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=1"));
        let revealed = BOTH.look(call.facts(), || rig.clock.now()).unwrap().with_cost(call.facts());
        let usd = Usd::parse("0.000125").unwrap();
        call.note(|facts| facts.told_cost.as_ref().unwrap().set(usd).unwrap());
        revealed.tell(&mut headers);
        let timings: Vec<&HeaderValue> = headers.get_all(SERVER_TIMING).iter().collect();
        assert_eq!(timings, ["db;dur=1", "gateway;dur=1.3, upstream;dur=248.7"]);
        assert_eq!(headers[X_TOLLGATE_UPSTREAM], "up");
        assert_eq!(headers[X_TOLLGATE_ATTEMPTS], "2");
        assert_eq!(headers[X_TOLLGATE_COST], &*usd.to_string());
    }

    #[test]
    fn nothing_is_told_that_is_not_wanted_or_not_known() {
        let rig = Rig::new();
        let mut call = rig.call();
        assert!(BOTH.look(call.facts(), || rig.clock.now()).is_none(), "no upstream was asked");
        call.note(|facts| facts.upstream = Some("up".into()));
        assert!(Reveal::default().look(call.facts(), || unreachable!("no clock is read")).is_none());
        let mut headers = HeaderMap::new();
        let timing = Reveal { timing: true, upstream: false };
        timing.look(call.facts(), || rig.clock.now()).unwrap().with_cost(call.facts()).tell(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [SERVER_TIMING]);
        call.note(|facts| assert!(facts.told_cost.is_none()));
        let mut headers = HeaderMap::new();
        let upstream = Reveal { timing: false, upstream: true };
        upstream.look(call.facts(), || rig.clock.now()).unwrap().with_cost(call.facts()).tell(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [X_TOLLGATE_UPSTREAM, X_TOLLGATE_ATTEMPTS]);
    }
}
