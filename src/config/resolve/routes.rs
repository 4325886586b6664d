//! Makes the route table: patterns, and the deployment that each leads to.
//!
//! Must not know tenants.

use std::collections::HashMap;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::fault::{Complaint, shown};
use super::super::raw;
use super::Resolver;
use super::upstreams::{self, Upstreams};
use crate::routing::prices::PriceTable;
use crate::routing::{Deployment, Pattern, Route, RouteTable, StatePolicy};

pub(super) fn resolve(
    written: &[Spanned<raw::Route>],
    upstreams: &Upstreams,
    prices: &Arc<PriceTable>,
    resolver: &mut Resolver<'_, '_>,
) -> RouteTable {
    if written.is_empty() && !resolver.faults.was_dropped("routes") {
        let complaint = Complaint::new("no route: no call could go anywhere", "at least one table [[routes]]");
        let upstream = upstreams.names().next().unwrap_or("openai");
        resolver.faults.add(
            &(0..0),
            complaint.hint(format!("[[routes]] with models = [\"*\"] and to = [\"{}\"]", upstream.escape_debug())),
        );
    }
    let mut seen = HashMap::new();
    let routes = written.iter().filter_map(|route| one(route.get_ref(), upstreams, prices, &mut seen, resolver));
    RouteTable::new(routes.map(Arc::new).collect())
}

fn one<'w>(
    written: &'w raw::Route,
    upstreams: &Upstreams,
    prices: &Arc<PriceTable>,
    seen: &mut HashMap<&'w str, usize>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Route> {
    for pattern in &written.models {
        let first = *seen.entry(pattern.get_ref()).or_insert(pattern.span().start);
        if first != pattern.span().start {
            let first = resolver.faults.place(first);
            let found = format!(
                "the pattern {} stands in a route already, at {}:{}",
                shown(pattern.get_ref()),
                first.line,
                first.column
            );
            let complaint = Complaint::new(found, "every pattern once: a model name leads to one route");
            resolver.faults.add(&pattern.span(), complaint.hint("take one of the two out"));
        }
    }
    let deployment = deployment(&written.to, upstreams, resolver)?;
    let lost = "this route has no home for what is kept";
    let stateful = written.stateful.as_ref().map(|name| upstreams::serving(name, lost, upstreams, resolver));
    let models: Vec<Pattern> = written.models.iter().map(|text| Pattern::new(text.get_ref())).collect();
    Some(Route {
        models,
        deployment,
        max_output_tokens: written.max_output_tokens.0,
        enforce_cap: written.enforce_cap,
        state: match written.state {
            raw::State::Auto => StatePolicy::Auto,
            raw::State::Pass => StatePolicy::Pass,
            raw::State::Strip => StatePolicy::Strip,
            raw::State::Refuse => StatePolicy::Refuse,
        },
        stateful: stateful.flatten(),
        prices: Arc::clone(prices),
    })
}

/// The one deployment of a route.
fn deployment(
    to: &[Spanned<raw::Target>],
    upstreams: &Upstreams,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Deployment> {
    if let [_, second, ..] = to {
        let complaint = Complaint::new(
            format!(
                "`to` has {} entries: fallback over several upstreams is not supported by this version of Tollgate",
                to.len()
            ),
            "one entry",
        );
        resolver
            .faults
            .add(&second.span(), complaint.hint("leave the others out, or give each upstream a route of its own"));
    }
    let mut found = None;
    for target in to {
        let upstream = target
            .get_ref()
            .upstream
            .as_ref()
            .and_then(|name| upstreams::serving(name, "this route has nowhere to go", upstreams, resolver));
        found = found.or(upstream.map(|upstream| (target, upstream)));
    }
    let (target, upstream) = found?;
    Some(Deployment { upstream, model: target.get_ref().model.as_deref().map(Arc::from) })
}
