//! Holds what a call asks for against what its tenant's plan lets calls ask for: refuses it, or lowers what it asks.
//!
//! Knows no level of any limit: how much may be used in all is decided after this, at admission.

use super::error::GatewayError;
use crate::routing::Route;
use crate::tenant::policy::{Excess, Policy};
use crate::wire::peek::Peek;

/// The proof that a call asks for no more than its plan allows, and what is to be changed in it for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Output tokens that one answer of this call can have, as far as anybody bound them: what is to be reserved.
    pub output_cap: u64,
    /// Caps above this are to be lowered to it.
    pub lowered: Option<u64>,
    /// The cap to be sent where the call names none.
    pub added: Option<u64>,
}

/// Holds a call against its plan.
///
/// A call that names no cap is reserved the plan's `max_output_tokens`; without one, the route's. That number is also sent
/// upstream where the plan clamps, or the route enforces its own: then the smaller of the two.
///
/// # Errors
/// 400 `unsupported_value` with the parameter and the plan's bound.
pub fn hold(policy: &Policy, route: &Route, peek: &Peek) -> Result<Allowed, GatewayError> {
    if let Some(most) = policy.max_choices
        && peek.choices > most
    {
        return Err(above(peek.choices_key, peek.choices, most));
    }
    if let (Some(tiers), Some(asked)) = (&policy.service_tiers, &peek.service_tier)
        && !tiers.contains(asked)
    {
        let bound = format!("one of the service tiers {}", tiers.join(", "));
        return Err(GatewayError::NotInPlan { param: "service_tier", asked: asked.to_string(), bound });
    }
    if !peek.endpoint.generates() {
        return Ok(Allowed { output_cap: 0, lowered: None, added: None });
    }
    output(policy, route, peek)
}

fn output(policy: &Policy, route: &Route, peek: &Peek) -> Result<Allowed, GatewayError> {
    let enforced = route.enforce_cap.then_some(route.max_output_tokens);
    let Some(most) = policy.max_output_tokens else {
        let output_cap = peek.output_cap.unwrap_or(route.max_output_tokens);
        return Ok(Allowed { output_cap, lowered: None, added: enforced });
    };
    let clamped = policy.excess == Excess::Clamped;
    if !clamped && let Some((param, asked)) = largest_cap(peek).filter(|(_, asked)| *asked > most) {
        return Err(above(param, asked, most));
    }
    let unnamed = enforced.map_or(most, |enforced| enforced.min(most));
    Ok(Allowed {
        output_cap: peek.output_cap.map_or(unnamed, |asked| asked.min(most)),
        lowered: clamped.then_some(most),
        added: (clamped || route.enforce_cap).then_some(unnamed),
    })
}

/// The largest cap that a call names, and under which parameter.
fn largest_cap(peek: &Peek) -> Option<(&'static str, u64)> {
    let caps = [
        ("max_tokens", &peek.caps.max_tokens),
        ("max_completion_tokens", &peek.caps.max_completion_tokens),
        ("max_output_tokens", &peek.caps.max_output_tokens),
    ];
    let named = caps.into_iter().filter_map(|(param, cap)| Some((param, cap.as_ref()?.tokens?)));
    named.max_by_key(|(_, tokens)| *tokens)
}

fn above(param: &'static str, asked: u64, most: u64) -> GatewayError {
    GatewayError::NotInPlan { param, asked: asked.to_string(), bound: format!("at most {most}") }
}

#[cfg(test)]
mod tests;
