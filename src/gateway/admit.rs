//! Asks the tenant's limits: a glance before the body is read, and the take of all or nothing after.
//!
//! Must not know where the call goes, but for what was learned of its route.

use super::call::{Call, Estimate, Flight};
use super::error::GatewayError;
use super::policy::Allowed;
use crate::limits::{Ask, Kind, Refusal, View};
use crate::net::clock::Moment;
use crate::routing::Matched;
use crate::telemetry::metrics::Metrics;
use crate::tenant::Tenant;
use crate::usage::estimate;
use crate::wire::peek::Peek;

/// The smallest number of bytes that a token can stand for on average: less input than this is impossible (3-limits.md).
const MOST_BYTES_A_TOKEN: u64 = 16;

/// The proof that a call was admitted, with its place in flight. What it reserved stands in the call's facts.
pub struct Admission {
    /// To be kept to the last byte of the answer.
    pub flight: Flight,
    /// The tenant's levels after the take.
    pub view: View,
    /// What its plan allowed, and wants changed.
    pub allowed: Allowed,
}

/// Refuses a call that cannot be admitted whatever its body says, before any of that is read. Takes nothing.
///
/// # Errors
/// 429, with the least possible wait.
pub fn peek(tenant: &Tenant, content_length: Option<u64>, metrics: &Metrics, now: Moment) -> Result<(), GatewayError> {
    // Before the body is read its route is not known, nor what was learned of it.
    let least = estimate::tokens(content_length.unwrap_or(0), estimate::START_BYTES_PER_TOKEN);
    tenant.limits.peek(least, now).map_err(|refusal| refused(tenant, refusal, None, metrics))
}

/// Takes what the call needs from every limit at once, and a place in flight. Async, as a limit store will be asked.
///
/// # Errors
/// 429, with what was asked for and when to come back. Nothing was taken then.
pub async fn admit(
    call: &mut Call,
    matched: &Matched,
    peek: &Peek,
    allowed: Allowed,
    now: Moment,
) -> Result<Admission, GatewayError> {
    let services = std::sync::Arc::clone(call.services());
    let Some(facts) = call.facts() else {
        return Err(GatewayError::Internal);
    };
    let tenant = std::sync::Arc::clone(&facts.caller.tenant);
    let learned = tenant.learned.of(&matched.pattern);

    let attachments = peek.attachments.saturating_mul(estimate::TOKENS_PER_ATTACHMENT);
    let input = estimate::tokens(peek.text_bytes, learned.bytes_per_input_token(now)).saturating_add(attachments);
    let output_cap = allowed.output_cap.saturating_mul(peek.choices).saturating_mul(peek.prompts);
    let learned_output = learned.output_p90(now);
    let ask = Ask { input, least_input: peek.text_bytes / MOST_BYTES_A_TOKEN, output_cap, learned_output };
    facts.estimate = Estimate {
        input,
        output: learned_output.map_or(output_cap, |likely| likely.min(output_cap)),
        input_bytes: if peek.attachments == 0 { peek.text_bytes } else { 0 },
        answers: peek.choices,
    };
    facts.learned = Some(learned);

    let admitted = tenant
        .limits
        .admit(&ask, now)
        .map_err(|refusal| refused(&tenant, refusal, Some(&peek.model), &services.metrics))?;
    let meters = tenant.meters(&services.metrics);
    match admitted.shadow_refused {
        Some(refusal) => meters.shadow_refused(refusal.kind, refusal.place),
        None => meters.allowed(),
    }
    meters.reserved.increment(admitted.reservation.tokens());
    meters.reservations.increment(1.0);
    if admitted.reservation.tokens() > 0 {
        facts.estimate.output = admitted.reservation.tokens().saturating_sub(input);
    }
    facts.reservation = Some(admitted.reservation);
    let flight = Flight::new(admitted.in_flight, &meters.in_flight);
    Ok(Admission { flight, view: admitted.view, allowed })
}

fn refused(tenant: &Tenant, refusal: Refusal, model: Option<&str>, metrics: &Metrics) -> GatewayError {
    let place = if refusal.kind == Kind::Concurrent { 0 } else { refusal.place };
    tenant.meters(metrics).refused(refusal.kind, place);
    GatewayError::Limit { refusal: Box::new(refusal), model: model.map(str::to_owned) }
}
