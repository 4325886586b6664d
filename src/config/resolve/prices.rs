//! Makes the price table, and says which routed models have no price.
//!
//! Must not know tenants, nor what calls use.

use std::sync::Arc;

use super::super::fault::{Complaint, shown};
use super::super::raw;
use super::Resolver;
use crate::routing::RouteTable;
use crate::routing::prices::PriceTable;
use crate::usage::Tier;
use crate::usage::price::Prices;

pub(super) fn resolve(written: &raw::Named<raw::Prices>, resolver: &mut Resolver<'_, '_>) -> Arc<PriceTable> {
    let mut entries = Vec::with_capacity(written.len());
    for (name, prices) in written {
        let prices = one(prices);
        let name_text = name.get_ref().as_str();
        let lost = resolver.faults.dropped_within(&format!("prices.{name_text}"));
        if prices.stated().next().is_none() && !lost {
            let found = format!("{} has no price", shown(&format!("prices.{name_text}")));
            let complaint = Complaint::new(found, "at least one price, such as input = 0.25");
            resolver.faults.add(&name.span(), complaint.hint("what costs nothing has the price 0"));
        }
        for (tier, _) in prices.tiers.iter().filter(|(tier, _)| Tier::new(tier.as_bytes()).is_none()) {
            let found = format!("{} is no service tier that an answer could name", shown(tier));
            let expected = "a word of at most 15 letters, digits, `_` and `-`, such as flex";
            resolver.faults.add(&name.span(), Complaint::new(found, expected));
        }
        entries.push((name_text, prices));
    }
    Arc::new(PriceTable::new(entries))
}

fn one(raw: &raw::Prices) -> Prices {
    let of = |price: Option<raw::Price>| price.map(|price| price.0);
    Prices {
        input: of(raw.input),
        cached_input: of(raw.cached_input),
        cache_write: of(raw.cache_write),
        output: of(raw.output),
        audio_input: of(raw.audio_input),
        audio_output: of(raw.audio_output),
        image_input: of(raw.image_input),
        image_output: of(raw.image_output),
        per_request: of(raw.per_request),
        per_second: of(raw.per_second),
        per_image: of(raw.per_image),
        tiers: raw.tiers.iter().map(|(tier, factor)| (tier.as_str().into(), factor.0)).collect(),
    }
}

/// Models that a route names in full and that have no price, where there are prices at all.
pub(super) fn notices(prices: &PriceTable, routes: &RouteTable, notices: &mut Vec<String>) {
    if prices.is_empty() {
        return;
    }
    for (pattern, route) in routes.iter().filter(|(pattern, _)| pattern.is_literal()) {
        let asked = &**pattern.text();
        let renamed = route.deployment.renamed(asked);
        let (upstream, model) = (&route.deployment.upstream.name, renamed.as_deref().unwrap_or(asked));
        if prices.find(upstream, model).is_none() {
            notices.push(format!("model {model} at upstream {upstream}: it has no price, so its calls have no cost"));
        }
    }
}
