//! Finds what a call cost, once it is known what it used.
//!
//! Must not know how a call is charged against limits, nor where its cost is written.

use std::sync::Arc;

use super::call::{Detour, Facts};
use crate::routing::prices::PriceTable;
use crate::upstream::Upstream;
use crate::usage::Billed;
use crate::usage::money::Usd;
use crate::usage::price::Unpriced;

/// The cost of a call, or why it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// Nobody asks: no prices are configured, or nothing was used.
    Unasked,
    /// This much, by the prices of this version.
    Known {
        /// The amount.
        usd: Usd,
        /// The version of the price table.
        version: Arc<str>,
    },
    /// It cost something, and nobody knows how much.
    Unknown(Unpriced),
}

impl Cost {
    /// The amount, where it is known.
    pub(super) fn usd(&self) -> Option<Usd> {
        match self {
            Cost::Known { usd, .. } => Some(*usd),
            Cost::Unasked | Cost::Unknown(_) => None,
        }
    }

    /// The version of the prices that were used.
    pub(super) fn version(&self) -> Option<&str> {
        match self {
            Cost::Known { version, .. } => Some(version),
            Cost::Unasked | Cost::Unknown(_) => None,
        }
    }
}

/// What a call cost at the deployment that answered it.
pub(super) fn cost(facts: &Facts, billed: &Billed) -> Cost {
    if let Some(Detour::ByPath { upstream, prices, .. }) = facts.detour.as_deref() {
        // Nobody asked for a model that we know of, but the answer may name one.
        return priced(prices, upstream, facts.served_model.as_deref(), billed);
    }
    let (Some(matched), Some(model)) = (&facts.matched, &facts.model) else {
        return Cost::Unasked;
    };
    let deployment = match facts.detour.as_deref() {
        Some(Detour::Home(deployment)) => deployment,
        _ => &matched.route.deployment,
    };
    let renamed = deployment.renamed(model);
    priced(&matched.route.prices, &deployment.upstream, Some(renamed.as_deref().unwrap_or(model)), billed)
}

fn priced(prices: &PriceTable, upstream: &Upstream, model: Option<&str>, billed: &Billed) -> Cost {
    if prices.is_empty() || billed.source.is_none() {
        return Cost::Unasked;
    }
    let Some(found) = model.and_then(|model| prices.find(&upstream.name, model)) else {
        return Cost::Unknown(Unpriced::Model);
    };
    match found.cost(billed) {
        Ok(usd) => Cost::Known { usd, version: Arc::clone(prices.version()) },
        Err(why) => Cost::Unknown(why),
    }
}
