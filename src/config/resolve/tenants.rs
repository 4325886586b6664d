//! Makes tenants with their plans' limits and their keys, and finds the tenant of anonymous calls.
//!
//! Must not know upstreams.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::fault::{Complaint, shown};
use super::super::{KeySpec, TenantSpec, raw};
use super::{Resolver, no_such};
use crate::limits::{PlanLimits, Quota, ReserveOutput};
use crate::routing::{Pattern, RouteTable};
use crate::tenant::policy::{Excess, Policy};

/// The least burst of a token limit. A call is too large for ever where its body's bytes / 16 exceed the burst (3-limits.md),
/// and the smallest chat call, `{"model":"m","messages":[{"role":"user","content":"a"}]}`, has 54 bytes.
const LEAST_TOKEN_BURST: u64 = 4;

/// All tenants that can be made; faults for the others.
pub(super) fn resolve(
    tenants: &raw::Named<raw::Tenant>,
    plans: &raw::Named<raw::Plan>,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<TenantSpec> {
    let lost = resolver.faults.was_dropped("tenants") || resolver.faults.dropped_within("tenants");
    if tenants.is_empty() && !lost {
        let complaint = Complaint::new("no tenant: nobody could call", "at least one table [tenants.NAME]");
        resolver.faults.add(&(0..0), complaint.hint("[tenants.demo] with plan = \"demo\""));
    }
    let one = |(name, plan)| -> (&str, (PlanLimits, Arc<Policy>)) {
        let (name, plan): (&serde_spanned::Spanned<String>, &raw::Plan) = (name, plan);
        (name.get_ref().as_str(), (limits(name.get_ref(), plan, resolver), Arc::new(policy(plan))))
    };
    let plans: HashMap<&str, (PlanLimits, Arc<Policy>)> = plans.iter().map(one).collect();
    let mut seen = HashMap::new();
    tenants
        .iter()
        .filter_map(|(name, tenant)| {
            let name = super::name(name.get_ref());
            let keys = keys(&name, &tenant.keys, &mut seen, resolver);
            let plan = tenant.plan.as_ref()?;
            let Some((limits, policy)) = plans.get(plan.get_ref().as_str()) else {
                if !resolver.faults.was_dropped(&format!("plans.{}", plan.get_ref())) {
                    let mut known: Vec<&str> = plans.keys().copied().collect();
                    known.sort_unstable();
                    resolver.faults.add(&plan.span(), no_such("plan", plan.get_ref(), known.into_iter()));
                }
                return None;
            };
            let models = tenant.models.as_ref().map(|all| all.iter().map(|text| Pattern::new(text)).collect());
            Some(TenantSpec {
                name,
                plan: super::name(plan.get_ref()),
                limits: limits.clone(),
                policy: Arc::clone(policy),
                keys,
                models,
                stateful: tenant.stateful.as_ref().map(|home| super::name(home.get_ref())),
            })
        })
        .collect()
}

fn limits(name: &str, plan: &raw::Plan, resolver: &mut Resolver<'_, '_>) -> PlanLimits {
    for rate in &plan.tokens {
        let Quota { burst, .. } = rate.get_ref().0;
        if burst < LEAST_TOKEN_BURST {
            let complaint = Complaint::new(
                format!(
                    "`plans.{}.tokens` holds at most {burst} tokens at once: no call would ever fit",
                    name.escape_debug()
                ),
                format!("a burst of at least {LEAST_TOKEN_BURST}; thousands are usual"),
            );
            let hint = "without `burst`, a bucket holds a whole minute's amount, and a tenth of an hour's or a day's";
            resolver.faults.add(&rate.span(), complaint.hint(hint));
        }
    }
    PlanLimits {
        requests: plan.requests.iter().map(|rate| rate.get_ref().0).collect(),
        tokens: plan.tokens.iter().map(|rate| rate.get_ref().0).collect(),
        concurrent: plan.concurrent.as_ref().map(|n| u32::try_from(n.get_ref().0).unwrap_or(u32::MAX)),
        reserve_output: match plan.reserve_output {
            raw::ReserveOutput::Learned => ReserveOutput::Learned,
            raw::ReserveOutput::Cap => ReserveOutput::Cap,
        },
        shadow: plan.shadow,
    }
}

fn policy(plan: &raw::Plan) -> Policy {
    let tiers = |tiers: &Vec<String>| tiers.iter().map(|tier| tier.as_str().into()).collect();
    Policy {
        max_output_tokens: plan.max_output_tokens.map(|most| most.0),
        excess: if plan.clamp { Excess::Clamped } else { Excess::Refused },
        max_choices: plan.max_choices.map(|most| most.0),
        service_tiers: plan.service_tiers.as_ref().map(tiers),
    }
}

/// Where a digest was seen first: whose it is, and the line.
type Seen = HashMap<[u8; 32], (Arc<str>, usize)>;

fn keys(tenant: &Arc<str>, written: &[raw::Key], seen: &mut Seen, resolver: &mut Resolver<'_, '_>) -> Vec<KeySpec> {
    let mut keys = Vec::with_capacity(written.len());
    for (place, key) in written.iter().enumerate() {
        let Some(sha256) = &key.sha256 else { continue };
        let digest = bytes_of_hex(sha256.get_ref());
        let at = sha256.span();
        if let Some((first, line)) = seen.get(&digest) {
            let found =
                format!("this key of tenant {} is also a key of tenant {} (line {line})", shown(tenant), shown(first));
            let complaint = Complaint::new(found, "every key once: a key names one tenant");
            resolver.faults.add(&at, complaint.hint("`tollgate keys new` makes another"));
            continue;
        }
        seen.insert(digest, (Arc::clone(tenant), resolver.faults.place(at.start).line));
        let label = key.label.clone().unwrap_or_else(|| format!("key-{}", place + 1));
        keys.push(KeySpec { digest, label: label.into(), expires: key.expires.map(|day| day.0) });
    }
    keys
}

/// The bytes of 64 hex digits, as the check left them.
fn bytes_of_hex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().fold(0, |sum, digit| (sum << 4) | (char::from(*digit).to_digit(16).unwrap_or(0) as u8));
    }
    bytes
}

/// The tenant of calls without a key.
pub(super) fn anonymous(
    server: &raw::Server,
    tenants: &raw::Named<raw::Tenant>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Arc<str>> {
    let anonymous = server.anonymous.as_ref()?;
    let wanted = anonymous.get_ref().as_str();
    let known = tenants.keys().map(|name| name.get_ref().as_str());
    if !known.clone().any(|name| name == wanted) && !resolver.faults.was_dropped(&format!("tenants.{wanted}")) {
        resolver.faults.add(&anonymous.span(), no_such("tenant", wanted, known));
    }
    Some(super::name(wanted))
}

/// What an operator should know about tenants and plans.
pub(super) fn notices(
    tenants: &[TenantSpec],
    anonymous: Option<&str>,
    plans: &raw::Named<raw::Plan>,
    routes: &RouteTable,
    notices: &mut Vec<String>,
) {
    for tenant in tenants {
        if tenant.keys.is_empty() && anonymous != Some(&*tenant.name) {
            notices.push(format!(
                "tenant {}: it has no key and is not `server.anonymous`: nobody can call as it",
                tenant.name
            ));
        }
        if &*tenant.name == "other" {
            notices.push("tenant other: in metrics, tenants beyond `metrics.max_tenants` share its name".to_owned());
        }
    }
    for (name, plan) in plans {
        let name = name.get_ref();
        if !tenants.iter().any(|tenant| *tenant.plan == **name) {
            notices.push(format!("plan {name}: no tenant has it"));
        }
        if plan.clamp && plan.max_output_tokens.is_none() {
            notices.push(format!("plan {name}: `clamp` has no effect without `max_output_tokens`"));
        }
        let burst = plan.tokens.iter().map(|rate| rate.get_ref().0.burst).min();
        let of_routes = routes.iter().map(|(_, route)| route.max_output_tokens).max();
        let cap = plan.max_output_tokens.map(|most| most.0).or(of_routes);
        if let (raw::ReserveOutput::Cap, Some(burst), Some(cap)) = (plan.reserve_output, burst, cap)
            && cap >= burst
        {
            notices.push(format!(
                "plan {name}: it reserves whole caps, and a call that names none reserves up to {cap} tokens, more than its burst of {burst}: such calls are always refused"
            ));
        }
    }
}
