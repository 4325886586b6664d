//! Knows who may call, with which key, for which models, within which limits.
//!
//! Must not know HTTP or upstreams.

pub mod directory;
pub mod key;
pub mod meters;
pub mod policy;
pub mod sign_ins;

use std::sync::{Arc, OnceLock};

use crate::limits::{LearnedTable, LimitTree, PlanLimits};
use crate::routing::Pattern;
use crate::telemetry::metrics::Metrics;
use meters::TenantMeters;
use policy::Policy;

/// Who is billed and limited. Owns its limit tree.
pub struct Tenant {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its bounded label: the name, or `other` beyond `[metrics] max_tenants`.
    pub label: Arc<str>,
    /// Which label that is, counted from 0; tenants that share `other` share its number.
    pub label_index: usize,
    /// The name of its plan.
    pub plan: Arc<str>,
    /// The plan's limits.
    pub quotas: PlanLimits,
    /// What its calls may ask for.
    pub policy: Arc<Policy>,
    /// Their levels.
    pub limits: Arc<LimitTree>,
    /// What its calls were like so far.
    pub learned: LearnedTable,
    /// The models it may use; `None`: every one that is routed.
    pub models: Option<Vec<Pattern>>,
    /// The upstream that keeps its state, by name; `None`: calls that need one are refused.
    pub stateful: Option<Arc<str>>,
    meters: OnceLock<TenantMeters>,
}

impl Tenant {
    /// Its metric handles, resolved on first use.
    pub fn meters(&self, metrics: &Metrics) -> &TenantMeters {
        self.meters.get_or_init(|| TenantMeters::new(self, metrics))
    }

    /// Whether it may use a model, by the name that the client asks for.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(model)))
    }
}

/// Who makes a call: the proof that a call was authenticated.
#[derive(Clone)]
pub struct Caller {
    /// Who is billed and limited.
    pub tenant: Arc<Tenant>,
    /// The label of the key that was shown; `anonymous` for none.
    pub key: Arc<str>,
}
