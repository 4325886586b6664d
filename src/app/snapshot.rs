//! Reads what is going on, for the admin port: metrics that nobody pushes, and the rows of the status page.
//!
//! Read-only. Must not change a call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::admin::{LimitRow, Status, TenantRow, UpstreamRow};
use crate::gateway::running::Running;
use crate::gateway::services::Services;
use crate::limits::Kind;
use crate::server::{Counts, Drain};
use crate::telemetry::series;
use crate::telemetry::writer::LineWriter;
use crate::tenant::Tenant;
use crate::upstream::Ledger;

/// What is watched.
pub(super) struct Watched {
    pub(super) services: Arc<Services>,
    pub(super) running: Arc<ArcSwap<Running>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) counts: Arc<Counts>,
    pub(super) drain: Drain,
    pub(super) started: Instant,
    pub(super) notices: Vec<String>,
}

impl Watched {
    /// Whether new calls are welcome.
    pub(super) fn ready(&self) -> bool {
        self.drain.ready()
    }

    /// Everything as Prometheus text.
    pub(super) fn metrics(&self) -> String {
        self.upkeep();
        self.services.metrics.render()
    }

    /// Folds histograms, and reads what is counted elsewhere.
    pub(super) fn upkeep(&self) {
        let metrics = &self.services.metrics;
        for upstream in &self.running.load().upstreams {
            let connections = self.ledger.connections(&upstream.name);
            metrics.gauge(&series::UPSTREAM_CONNECTIONS, &[&upstream.name]).set(connections as f64);
            metrics.gauge(&series::UPSTREAM_STATE, &[&upstream.name]).set(0.0);
        }
        for name in [series::STDOUT, series::FILE] {
            let mut sinks = self.services.records.iter().filter(|sink| sink.name() == name).peekable();
            if sinks.peek().is_some() {
                let dropped = sinks.map(LineWriter::dropped).sum();
                metrics.counter(&series::RECORDS_DROPPED, &[name]).absolute(dropped);
            }
        }
        metrics.counter(&series::PANICS, &[]).absolute(self.counts.panics.load(Ordering::Relaxed));
        metrics.gauge(&series::CONNECTIONS, &[]).set(self.drain.connections() as f64);
        metrics.upkeep();
    }

    /// The rows of the status page.
    pub(super) fn status(&self) -> Status {
        let running = self.running.load();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed(),
            generation: running.generation,
            tenants: running.directory.tenants().iter().map(|tenant| self.tenant(tenant)).collect(),
            upstreams: running
                .upstreams
                .iter()
                .map(|upstream| UpstreamRow {
                    name: upstream.name.to_string(),
                    provider: upstream.provider.as_str().to_owned(),
                    base: if upstream.is_simulated() { "built in".to_owned() } else { upstream.base.to_string() },
                    state: if upstream.is_simulated() { "simulated" } else { "healthy" }.to_owned(),
                    in_flight: self.services.upstream(&upstream.name).in_flight.now(),
                    connections: self.ledger.connections(&upstream.name) as u64,
                })
                .collect(),
            notices: self.notices.clone(),
        }
    }

    fn tenant(&self, tenant: &Arc<Tenant>) -> TenantRow {
        let levels = tenant.limits.levels(self.services.clock.now());
        let limits = levels
            .iter()
            .map(|level| LimitRow {
                name: if level.kind == Kind::Requests { "requests" } else { "tokens" }.to_owned(),
                quota: level.quota.to_string(),
                used: level.used,
                burst: level.quota.burst,
            })
            .collect();
        TenantRow {
            name: tenant.name.to_string(),
            plan: tenant.plan.to_string(),
            in_flight: u64::from(tenant.limits.in_flight()),
            limits,
        }
    }
}
