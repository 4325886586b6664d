//! Finds what a call cost, once it is known what it used.
//!
//! Must not know how a call is charged against limits, nor where its cost is written.

use std::sync::Arc;

use super::call::Facts;
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
    let (Some(matched), Some(model)) = (&facts.matched, &facts.model) else {
        return Cost::Unasked;
    };
    let (prices, deployment) = (&matched.route.prices, &matched.route.deployment);
    if prices.is_empty() || billed.source.is_none() {
        return Cost::Unasked;
    }
    let renamed = deployment.renamed(model);
    let Some(found) = prices.find(&deployment.upstream.name, renamed.as_deref().unwrap_or(model)) else {
        return Cost::Unknown(Unpriced::Model);
    };
    match found.cost(billed) {
        Ok(usd) => Cost::Known { usd, version: Arc::clone(prices.version()) },
        Err(why) => Cost::Unknown(why),
    }
}
