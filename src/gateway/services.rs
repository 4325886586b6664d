//! Holds what every call uses and no configuration changes: clock, randomness, metrics, records, the settle task.
//!
//! Must not know what is in force: that is [`Running`](super::running::Running).

use std::sync::Arc;

use metrics::Histogram;

use super::memory::Memory;
use super::meter::read_on::ReadOn;
use super::model_list::Listings;
use super::resolved::{Resolved, RouteMeters, UpstreamMeters};
use super::settle::SettleQueue;
use crate::net::clock::Clock;
use crate::net::random::Random;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::series;
use crate::telemetry::writer::LineWriter;
use crate::tenant::sign_ins::FailedSignIns;
use crate::wire::endpoint::Endpoint;

/// What every call uses.
pub struct Services {
    /// Monotonic time.
    pub clock: Clock,
    /// Jitter and request ids.
    pub random: Random,
    /// The registry.
    pub metrics: Arc<Metrics>,
    /// Where usage records go.
    pub records: Vec<LineWriter>,
    /// Failed sign-ins by address.
    pub sign_ins: FailedSignIns,
    /// The task that settles what was dropped.
    pub settling: SettleQueue,
    /// Handles by route pattern and endpoint.
    pub routes: Resolved<(Arc<str>, Endpoint), RouteMeters>,
    /// Handles by upstream.
    pub upstreams: Resolved<Arc<str>, UpstreamMeters>,
    /// Our own share of calls.
    pub overhead: Histogram,
    /// Answers that are read on although their clients left.
    pub read_on: ReadOn,
    /// Bytes that are held for calls.
    pub memory: Arc<Memory>,
    /// The models that upstreams say they have.
    pub listings: Listings,
}

impl Services {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        clock: Clock,
        random: Random,
        metrics: Arc<Metrics>,
        records: Vec<LineWriter>,
        settling: SettleQueue,
    ) -> Self {
        let overhead = metrics.histogram(&series::OVERHEAD_SECONDS, &[]);
        Services {
            clock,
            random,
            metrics,
            records,
            sign_ins: FailedSignIns::default(),
            settling,
            routes: Resolved::default(),
            upstreams: Resolved::default(),
            overhead,
            read_on: ReadOn::default(),
            memory: Arc::default(),
            listings: Listings::default(),
        }
    }

    /// An upstream's handles.
    pub fn upstream(&self, name: &Arc<str>) -> Arc<UpstreamMeters> {
        self.upstreams.get(name, || UpstreamMeters::new(name, &self.metrics))
    }

    /// A route's handles.
    pub fn route(&self, pattern: &Arc<str>, endpoint: Endpoint) -> Arc<RouteMeters> {
        let key = (Arc::clone(pattern), endpoint);
        self.routes.get(&key, || RouteMeters::new(pattern, endpoint.path(), &self.metrics))
    }

    /// Opens the files of usage records anew, as after a rename: no line is lost or torn, and no call waits.
    pub fn reopen_records(&self) {
        self.records.iter().for_each(LineWriter::reopen);
    }

    /// Counts a call that was refused before it had a tenant, or later for want of memory.
    pub fn rejected(&self, reason: &'static str) {
        self.metrics.counter(&series::REJECTED, &[reason]).increment(1);
    }
}
