//! Says how many metric series a configuration can create at most, from the file alone.
//!
//! Must not know a metric's name: only how many series there are per tenant, route, upstream and sink. `telemetry/metrics.rs`
//! holds the metrics; whoever adds one there raises its number here.

use super::Config;

/// How many series each label adds. A histogram counts one series per bucket, and its sum and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesPer {
    /// For each pair of a tenant and a route pattern: outcomes, kinds of tokens, histograms.
    pub tenant_and_route: u64,
    /// For each tenant: limit decisions, what became of reservations, calls in flight.
    pub tenant: u64,
    /// For each upstream: results of attempts, connections, state.
    pub upstream: u64,
    /// For each sink of records.
    pub sink: u64,
    /// Without a label of the configuration: reasons, endpoints, process.
    pub process: u64,
}

/// The numbers for the metrics of 1-product.md that this version has.
pub const SERIES: SeriesPer = SeriesPer {
    // requests_total: 7 outcomes; tokens_total: 4 kinds; four GenAI histograms of at most 20 buckets, token usage by two types.
    tenant_and_route: 7 + 4 + 5 * 22,
    // limit_decisions_total: 3 limits × 3 decisions; reserved, given back, forgone, overrun; in flight, reservations.
    tenant: 9 + 4 + 2,
    // upstream_attempts_total: 8 results; in flight, connections, state, retry budget.
    upstream: 8 + 4,
    // records_dropped_total, logs_dropped_total.
    sink: 2,
    // rejected_total by reason (40), unmetered, estimated, anomalies by endpoint and reason (12 × 12), overhead histogram, build and generation.
    process: 40 + 144 + 22 + 8,
};

impl Config {
    /// The most metric series that this configuration can create: no label value comes from a client.
    #[must_use]
    pub fn series_bound(&self) -> u64 {
        self.series_bound_with(&SERIES)
    }

    /// The same for other numbers per label.
    #[must_use]
    pub fn series_bound_with(&self, per: &SeriesPer) -> u64 {
        let own = self.tenants.len().min(self.metrics.max_tenants);
        let tenants = count(own).saturating_add(u64::from(self.tenants.len() > own));
        // One more for calls that no route fits.
        let routes = count(self.routes.iter().count()).saturating_add(1);
        let pairs = tenants.saturating_mul(routes);
        [
            pairs.saturating_mul(per.tenant_and_route),
            tenants.saturating_mul(per.tenant),
            count(self.upstreams.len()).saturating_mul(per.upstream),
            count(self.records.len()).saturating_mul(per.sink),
            per.process,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
