//! Keeps the metric handles of a tenant and of its routes, resolved on first use.
//!
//! They live beside the tenant, as a handle must go when its tenant goes. Must not know HTTP.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Gauge};

use super::Tenant;
use crate::limits::{Kind, Quota};
use crate::telemetry::metrics::{Carried, Metrics};
use crate::telemetry::series;
use crate::usage::money::{PARTS_PER_MICRO, Usd};
use crate::usage::record::Outcome;

/// The label of calls that found no route.
pub const NO_ROUTE: &str = "none";

/// The handles of one tenant.
pub struct TenantMeters {
    /// Tokens reserved.
    pub reserved: Counter,
    /// Tokens given back.
    pub given_back: Counter,
    /// Tokens forgone to time.
    pub forgone: Counter,
    /// Tokens used beyond the reservation.
    pub overrun: Counter,
    /// Calls in flight.
    pub in_flight: Gauge,
    /// Open reservations.
    pub reservations: Gauge,
    decisions: Vec<Decisions>,
    unrouted: OnceLock<Arc<CallMeters>>,
    routed: RwLock<Vec<Option<Arc<CallMeters>>>>,
}

/// The handles of one limit.
struct Decisions {
    kind: Kind,
    place: usize,
    allowed: Counter,
    refused: Counter,
    shadow_refused: Counter,
}

/// The handles of one tenant on one route.
pub struct CallMeters {
    outcomes: [OnceLock<Counter>; 7],
    cost: OnceLock<Carried>,
    label: Arc<str>,
    pattern: Arc<str>,
    /// Settled input tokens.
    pub input: Counter,
    /// The cached part of them.
    pub cached: Counter,
    /// Settled output tokens.
    pub output: Counter,
    /// The reasoning part of them.
    pub reasoning: Counter,
}

impl TenantMeters {
    /// Resolves a tenant's own handles; those of its routes follow on first use.
    #[must_use]
    pub fn new(tenant: &Tenant, metrics: &Metrics) -> Self {
        let label = [&*tenant.label];
        let decisions = limit_names(tenant)
            .into_iter()
            .map(|(kind, place, name)| {
                let counter =
                    |decision: &str| metrics.counter(&series::LIMIT_DECISIONS, &[&tenant.label, &name, decision]);
                Decisions {
                    kind,
                    place,
                    allowed: counter("allowed"),
                    refused: counter("refused"),
                    shadow_refused: counter("shadow_refused"),
                }
            })
            .collect();
        TenantMeters {
            reserved: metrics.counter(&series::TOKENS_RESERVED, &label),
            given_back: metrics.counter(&series::TOKENS_GIVEN_BACK, &label),
            forgone: metrics.counter(&series::TOKENS_FORGONE, &label),
            overrun: metrics.counter(&series::TOKENS_OVERRUN, &label),
            in_flight: metrics.gauge(&series::IN_FLIGHT, &label),
            reservations: metrics.gauge(&series::RESERVATIONS, &label),
            decisions,
            unrouted: OnceLock::new(),
            routed: RwLock::default(),
        }
    }

    /// Every limit let a call pass.
    pub fn allowed(&self) {
        for limit in &self.decisions {
            limit.allowed.increment(1);
        }
    }

    /// One limit refused a call.
    pub fn refused(&self, kind: Kind, place: usize) {
        if let Some(limit) = self.limit(kind, place) {
            limit.refused.increment(1);
        }
    }

    /// One limit would have refused a call, were it not in shadow.
    pub fn shadow_refused(&self, kind: Kind, place: usize) {
        if let Some(limit) = self.limit(kind, place) {
            limit.shadow_refused.increment(1);
        }
    }

    fn limit(&self, kind: Kind, place: usize) -> Option<&Decisions> {
        self.decisions.iter().find(|limit| limit.kind == kind && limit.place == place)
    }

    /// The handles for calls that found no route.
    pub fn unrouted(&self, tenant: &Tenant, metrics: &Metrics) -> Arc<CallMeters> {
        Arc::clone(self.unrouted.get_or_init(|| Arc::new(CallMeters::new(tenant, NO_ROUTE, metrics))))
    }

    /// The handles for calls on the route pattern at `index` of the route table.
    pub fn routed(&self, index: usize, tenant: &Tenant, pattern: &str, metrics: &Metrics) -> Arc<CallMeters> {
        let known = self.routed.read().unwrap_or_else(PoisonError::into_inner).get(index).cloned().flatten();
        if let Some(meters) = known {
            return meters;
        }
        let mut routed = self.routed.write().unwrap_or_else(PoisonError::into_inner);
        if routed.len() <= index {
            routed.resize(index + 1, None);
        }
        Arc::clone(routed[index].get_or_insert_with(|| Arc::new(CallMeters::new(tenant, pattern, metrics))))
    }
}

impl CallMeters {
    fn new(tenant: &Tenant, pattern: &str, metrics: &Metrics) -> Self {
        let tokens = |kind: &str| metrics.counter(&series::TOKENS_TOTAL, &[&tenant.label, pattern, kind]);
        CallMeters {
            outcomes: Default::default(),
            cost: OnceLock::new(),
            label: Arc::clone(&tenant.label),
            pattern: pattern.into(),
            input: tokens("input"),
            cached: tokens("cached_input"),
            output: tokens("output"),
            reasoning: tokens("reasoning"),
        }
    }

    /// Adds what a call cost.
    pub fn cost(&self, usd: Usd, metrics: &Metrics) {
        let labels = [&*self.label, &*self.pattern];
        let (micros, parts) = usd.micros();
        self.cost.get_or_init(|| metrics.carried(&series::COST, &labels, PARTS_PER_MICRO)).add(micros, parts);
    }

    /// Counts an ended call.
    pub fn ended(&self, outcome: Outcome, metrics: &Metrics) {
        let counter = self.outcomes[outcome as usize]
            .get_or_init(|| metrics.counter(&series::REQUESTS, &[&self.label, &self.pattern, outcome.as_str()]));
        counter.increment(1);
    }
}

/// The limits of a tenant's plan and their bounded names, such as `tokens_per_min`; a second of the same period is `tokens_per_min_2`.
fn limit_names(tenant: &Tenant) -> Vec<(Kind, usize, String)> {
    let mut names = Vec::new();
    let mut add = |kind: Kind, word: &str, quotas: &[Quota]| {
        for (place, quota) in quotas.iter().enumerate() {
            let earlier = quotas[..place].iter().filter(|other| other.period == quota.period).count();
            let name = format!("{word}_per_{}", quota.period.as_str());
            names.push((kind, place, if earlier == 0 { name } else { format!("{name}_{}", earlier + 1) }));
        }
    };
    add(Kind::Requests, "requests", &tenant.quotas.requests);
    add(Kind::Tokens, "tokens", &tenant.quotas.tokens);
    if tenant.quotas.concurrent.is_some() {
        names.push((Kind::Concurrent, 0, "concurrent".to_owned()));
    }
    names
}
