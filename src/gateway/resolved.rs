//! Keeps the metric handles of routes and upstreams, resolved on first use; a tenant's stand beside the tenant.
//!
//! Must not know one call from another.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use metrics::{Counter, Gauge, Histogram};

use crate::telemetry::metrics::Metrics;
use crate::telemetry::series;
use crate::upstream::UpstreamError;

/// Handles by what they belong to.
pub struct Resolved<K, V> {
    known: RwLock<HashMap<K, Arc<V>, foldhash::fast::RandomState>>,
}

impl<K, V> Default for Resolved<K, V> {
    fn default() -> Self {
        Resolved { known: RwLock::default() }
    }
}

impl<K: Hash + Eq + Clone, V> Resolved<K, V> {
    /// The handles of `key`, made on first use.
    pub fn get(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(found) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Arc::clone(found);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key.clone()).or_insert_with(|| Arc::new(make())))
    }
}

/// The histograms of one route pattern and endpoint, whatever the tenant.
pub struct RouteMeters {
    /// Input tokens of a call.
    pub input: Histogram,
    /// Output tokens of a call.
    pub output: Histogram,
    /// Seconds to the last byte.
    pub duration: Histogram,
    /// Seconds to the first byte of a stream.
    pub first_token: Histogram,
    /// Seconds for each output token after the first.
    pub per_token: Histogram,
}

impl RouteMeters {
    /// Resolves the handles.
    #[must_use]
    pub fn new(pattern: &str, endpoint: &str, metrics: &Metrics) -> Self {
        let tokens = |kind: &str| metrics.histogram(&series::GEN_AI_TOKENS, &[pattern, endpoint, kind]);
        let of = |definition| metrics.histogram(definition, &[pattern, endpoint]);
        RouteMeters {
            input: tokens("input"),
            output: tokens("output"),
            duration: of(&series::GEN_AI_DURATION),
            first_token: of(&series::GEN_AI_FIRST_TOKEN),
            per_token: of(&series::GEN_AI_PER_TOKEN),
        }
    }
}

/// How an attempt at an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// An answer below 400.
    Ok,
    /// A 4xx other than 429.
    ClientError,
    /// 429.
    Limited,
    /// A 5xx.
    ServerError,
    /// No connection.
    Connect,
    /// A time-out.
    Timeout,
    /// Broken HTTP, or a redirect.
    Protocol,
    /// Cut before its end.
    Cut,
}

impl Attempt {
    /// What a status says.
    #[must_use]
    pub fn of_status(status: http::StatusCode) -> Self {
        match status.as_u16() {
            200..300 => Attempt::Ok,
            429 => Attempt::Limited,
            400..500 => Attempt::ClientError,
            500.. => Attempt::ServerError,
            _ => Attempt::Protocol,
        }
    }

    /// What a failure says.
    #[must_use]
    pub fn of_error(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Busy | UpstreamError::Connect(_) => Attempt::Connect,
            UpstreamError::TimedOut(_) => Attempt::Timeout,
            UpstreamError::Protocol(_) => Attempt::Protocol,
            UpstreamError::Lost(_) | UpstreamError::Cut(_) => Attempt::Cut,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Attempt::Ok => "ok",
            Attempt::ClientError => "4xx",
            Attempt::Limited => "429",
            Attempt::ServerError => "5xx",
            Attempt::Connect => "connect",
            Attempt::Timeout => "timeout",
            Attempt::Protocol => "protocol",
            Attempt::Cut => "cut",
        }
    }
}

/// The handles of one upstream.
pub struct UpstreamMeters {
    name: Arc<str>,
    attempts: [OnceLock<Counter>; 8],
    /// Calls that it is working on.
    pub in_flight: Level,
    complaints: Complaints,
}

impl UpstreamMeters {
    /// Resolves the handles.
    #[must_use]
    pub fn new(name: &Arc<str>, metrics: &Metrics) -> Self {
        UpstreamMeters {
            name: Arc::clone(name),
            attempts: Default::default(),
            complaints: Complaints::default(),
            in_flight: Level::new(metrics.gauge(&series::UPSTREAM_IN_FLIGHT, &[name])),
        }
    }

    /// Counts an attempt.
    pub fn attempted(&self, attempt: Attempt, metrics: &Metrics) {
        self.attempts[attempt as usize]
            .get_or_init(|| metrics.counter(&series::ATTEMPTS, &[&self.name, attempt.as_str()]))
            .increment(1);
    }
}

impl UpstreamMeters {
    /// Whether a log line may say what is wrong with this upstream now, and how many have been kept back since the last:
    /// one a second, so that an outage does not drown the log. The metrics count all.
    pub fn may_complain(&self) -> Option<u64> {
        self.complaints.next()
    }
}

/// Thins out log lines.
struct Complaints {
    pace: DefaultDirectRateLimiter,
    kept_back: AtomicU64,
}

impl Default for Complaints {
    fn default() -> Self {
        Complaints { pace: RateLimiter::direct(Quota::per_second(NonZeroU32::MIN)), kept_back: AtomicU64::new(0) }
    }
}

impl Complaints {
    fn next(&self) -> Option<u64> {
        if self.pace.check().is_ok() {
            return Some(self.kept_back.swap(0, Ordering::Relaxed));
        }
        self.kept_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// A gauge that can also be read here.
pub struct Level {
    gauge: Gauge,
    now: Arc<AtomicU64>,
}

impl Level {
    /// A level of 0 shown by `gauge`.
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        Level { gauge, now: Arc::default() }
    }

    /// The level now.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// One higher, until what is returned is dropped.
    #[must_use]
    pub fn raise(&self) -> Raised {
        self.now.fetch_add(1, Ordering::Relaxed);
        self.gauge.increment(1.0);
        Raised { gauge: self.gauge.clone(), now: Arc::clone(&self.now) }
    }
}

/// Holds a [`Level`] one higher while it lives.
pub struct Raised {
    gauge: Gauge,
    now: Arc<AtomicU64>,
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_writes_one_line_and_counts_the_others() {
        let complaints = Complaints::default();
        assert_eq!(complaints.next(), Some(0));
        let kept_back = (0..1_000).filter(|_| complaints.next().is_none()).count();
        assert!(kept_back >= 990, "{kept_back}");
    }
}
