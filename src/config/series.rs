//! Says how many metric series a configuration can create at most, from the file alone.
//!
//! Must not know a metric's name: the list of them, with their labels, is `telemetry::series`.

use super::Config;
use crate::telemetry::series::Extent;
use crate::wire::endpoint::{Class, Endpoint};

impl Config {
    /// The most metric series that this configuration can create: no label value comes from a client.
    #[must_use]
    pub fn series_bound(&self) -> u64 {
        self.extent().series()
    }

    /// How many values each label can have.
    fn extent(&self) -> Extent {
        // Tenants that share the label `other` may have plans whose limits have different names.
        let limits = |tenant: &super::TenantSpec| {
            let quotas = tenant.limits.requests.len() + tenant.limits.tokens.len();
            quotas + usize::from(tenant.limits.concurrent.is_some())
        };
        let mut plans: Vec<(&str, usize)> = self.tenants.iter().map(|tenant| (&*tenant.plan, limits(tenant))).collect();
        plans.sort_unstable();
        plans.dedup();
        let shared = self.tenants.len() > self.metrics.max_tenants;
        let counts = plans.iter().map(|(_, limits)| *limits);
        let limits = if shared { counts.sum() } else { counts.max().unwrap_or(0) };
        let inference = Endpoint::ALL.into_iter().filter(|endpoint| endpoint.class() == Class::Inference);
        let by_path = self.unknown_paths.is_some() || self.tenants.iter().any(|tenant| tenant.stateful.is_some());
        Extent {
            tenants: count(self.tenants.len()),
            max_tenants: count(self.metrics.max_tenants),
            patterns: count(self.routes.iter().count()),
            // Calls that go by their path count as one endpoint more.
            endpoints: count(inference.count() + usize::from(by_path)),
            upstreams: count(self.upstreams.len()),
            limits: count(limits),
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
