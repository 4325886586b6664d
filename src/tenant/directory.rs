//! Finds the tenant that a key belongs to.
//!
//! An unknown key leaves no trace here. Must not know how a key came over the wire.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::key::KeyDigest;
use super::policy::Policy;
use super::{Caller, Tenant};
use crate::limits::{LearnedTable, LimitTree, PlanLimits};
use crate::routing::Pattern;

/// What the configuration says of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its plan's name.
    pub plan: Arc<str>,
    /// Its plan's limits.
    pub limits: PlanLimits,
    /// What its plan lets calls ask for.
    pub policy: Arc<Policy>,
    /// Its keys.
    pub keys: Vec<KeySpec>,
    /// The models it may use; `None`: every one that is routed.
    pub models: Option<Vec<Pattern>>,
    /// The upstream that keeps its state, by name; `None`: calls that need one are refused.
    pub stateful: Option<Arc<str>>,
}

/// What the configuration says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    /// A word for people; goes into usage records.
    pub label: Arc<str>,
    /// Unix seconds from which the key is refused.
    pub expires: Option<i64>,
}

/// All tenants. Those of the configuration are fixed; others can be made while it runs.
pub struct Directory {
    keys: HashMap<KeyDigest, Holder, foldhash::fast::RandomState>,
    tenants: Vec<Arc<Tenant>>,
    made: RwLock<HashMap<Arc<str>, Arc<Tenant>>>,
    anonymous: Option<Caller>,
    max_labels: usize,
    max_made: usize,
}

struct Holder {
    caller: Caller,
    expires: Option<i64>,
}

/// What a key is worth.
pub enum Standing<'a> {
    /// It belongs to this caller.
    Known(&'a Caller),
    /// It belonged to someone, and its day has passed.
    Expired,
    /// Nobody knows it.
    Unknown,
}

/// The label that tenants beyond `max_tenants` share.
pub const OTHER: &str = "other";

impl Directory {
    /// Builds every tenant with full buckets. `anonymous` names the tenant of calls without a key; `max_labels` is
    /// `[metrics] max_tenants`; `max_made` bounds the tenants made while it runs.
    #[must_use]
    pub fn new(specs: Vec<TenantSpec>, anonymous: Option<&str>, max_labels: usize, max_made: usize) -> Self {
        let mut directory = Directory {
            keys: HashMap::default(),
            tenants: Vec::with_capacity(specs.len()),
            made: RwLock::default(),
            anonymous: None,
            max_labels,
            max_made,
        };
        for spec in specs {
            let tenant = directory.build(&spec, directory.tenants.len());
            for key in spec.keys {
                let caller = Caller { tenant: Arc::clone(&tenant), key: key.label };
                directory.keys.insert(KeyDigest(key.digest), Holder { caller, expires: key.expires });
            }
            if anonymous == Some(&*spec.name) {
                directory.anonymous = Some(Caller { tenant: Arc::clone(&tenant), key: "anonymous".into() });
            }
            directory.tenants.push(tenant);
        }
        directory
    }

    /// What a key is worth at `unix_now`, in unix seconds; that is asked for only where a key expires.
    pub fn standing(&self, digest: &KeyDigest, unix_now: impl FnOnce() -> i64) -> Standing<'_> {
        match self.keys.get(digest) {
            None => Standing::Unknown,
            Some(holder) if holder.expires.is_some_and(|expires| unix_now() >= expires) => Standing::Expired,
            Some(holder) => Standing::Known(&holder.caller),
        }
    }

    /// Who calls without a key, or with one that nobody knows.
    #[must_use]
    pub fn anonymous(&self) -> Option<&Caller> {
        self.anonymous.as_ref()
    }

    /// The tenants of the configuration, in its order.
    #[must_use]
    pub fn tenants(&self) -> &[Arc<Tenant>] {
        &self.tenants
    }

    /// The tenant of this name: the configuration's, or one made before, or one made now from `spec`. `None` when no
    /// more may be made.
    #[must_use]
    pub fn find_or_make(&self, spec: &TenantSpec) -> Option<Arc<Tenant>> {
        if let Some(tenant) = self.tenants.iter().find(|tenant| tenant.name == spec.name) {
            return Some(Arc::clone(tenant));
        }
        if let Some(tenant) = self.made.read().unwrap_or_else(PoisonError::into_inner).get(&spec.name) {
            return Some(Arc::clone(tenant));
        }
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = made.get(&spec.name) {
            return Some(Arc::clone(tenant));
        }
        if made.len() >= self.max_made {
            return None;
        }
        let tenant = self.build(spec, self.tenants.len() + made.len());
        made.insert(Arc::clone(&spec.name), Arc::clone(&tenant));
        Some(tenant)
    }

    fn build(&self, spec: &TenantSpec, index: usize) -> Arc<Tenant> {
        let own_label = index < self.max_labels;
        Arc::new(Tenant {
            name: Arc::clone(&spec.name),
            label: if own_label { Arc::clone(&spec.name) } else { OTHER.into() },
            label_index: index.min(self.max_labels),
            plan: Arc::clone(&spec.plan),
            quotas: spec.limits.clone(),
            policy: Arc::clone(&spec.policy),
            limits: LimitTree::new(&spec.limits),
            learned: LearnedTable::new(),
            models: spec.models.clone(),
            stateful: spec.stateful.clone(),
            meters: std::sync::OnceLock::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, keys: &[(&str, Option<i64>)]) -> TenantSpec {
        TenantSpec {
            name: name.into(),
            plan: "p".into(),
            limits: PlanLimits::default(),
            policy: Arc::default(),
            keys: keys
                .iter()
                .map(|(key, expires)| KeySpec {
                    digest: KeyDigest::of(key.as_bytes()).0,
                    label: "ci".into(),
                    expires: *expires,
                })
                .collect(),
            models: None,
            stateful: None,
        }
    }

    #[test]
    fn a_key_is_refused_from_the_first_second_of_its_last_day() {
        let directory = Directory::new(vec![spec("acme", &[("k", Some(100))])], None, 500, 0);
        let digest = KeyDigest::of(b"k");
        assert!(matches!(directory.standing(&digest, || 99), Standing::Known(c) if &*c.tenant.name == "acme"));
        assert!(matches!(directory.standing(&digest, || 100), Standing::Expired));
        assert!(matches!(directory.standing(&KeyDigest::of(b"x"), || 0), Standing::Unknown));
    }

    #[test]
    fn tenants_can_be_made_while_it_runs_once_each_and_not_without_bound() {
        let directory = Directory::new(vec![spec("acme", &[])], None, 2, 2);
        let first = directory.find_or_make(&spec("a", &[])).unwrap();
        assert!(Arc::ptr_eq(&first, &directory.find_or_make(&spec("a", &[])).unwrap()));
        assert_eq!(&*first.label, "a");
        assert_eq!(&*directory.find_or_make(&spec("b", &[])).unwrap().label, OTHER);
        assert!(directory.find_or_make(&spec("c", &[])).is_none());
        assert_eq!(&*directory.find_or_make(&spec("acme", &[])).unwrap().name, "acme");
    }
}
