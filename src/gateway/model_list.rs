//! Answers which models there are, from the routes and from what upstreams have told before: no call waits for an upstream,
//! nothing is charged.
//!
//! Must not know limits or usage. [`fetch`] asks the upstreams, in the background.

pub mod fetch;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::body::ResponseBody;
use super::error::GatewayError;
use super::running::Running;
use crate::routing::{Pattern, Route};
use crate::tenant::Tenant;

/// The names of the models that upstreams say they have, by upstream. A cache: lost, it fills again.
#[derive(Debug, Default)]
pub struct Listings(ArcSwap<BTreeMap<Arc<str>, Arc<[String]>>>);

impl Listings {
    /// What an upstream told last; `None` if it never did.
    #[must_use]
    pub fn of(&self, upstream: &str) -> Option<Arc<[String]>> {
        self.0.load().get(upstream).cloned()
    }

    /// Keeps what an upstream told, in the place of what it told before.
    pub fn keep(&self, upstream: &Arc<str>, names: Vec<String>) {
        let names: Arc<[String]> = names.into();
        self.0.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.insert(Arc::clone(upstream), Arc::clone(&names));
            known
        });
    }
}

/// The list that this tenant may see, or one model of it. A model that is routed answers, also where only a pattern names it.
///
/// # Errors
/// 404 `model_not_found` for a model that is not routed, or not this tenant's.
pub fn answer<B>(
    id: Option<&str>,
    tenant: &Tenant,
    running: &Running,
    listings: &Listings,
) -> Result<Response<ResponseBody<B>>, GatewayError> {
    let value = match id {
        None => {
            let names = list(tenant, running, listings);
            let data: Vec<Value> = names.iter().map(|name| model(name, running.since)).collect();
            json!({ "object": "list", "data": data })
        }
        Some(id) => {
            super::route::route(tenant, id, &running.routes)?;
            model(id, running.since)
        }
    };
    let mut response = Response::new(ResponseBody::Full(Bytes::from(value.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Literal names of the routes, and of each pattern the names that its upstream has; sorted, each once.
fn list(tenant: &Tenant, running: &Running, listings: &Listings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, (pattern, route)) in running.routes.iter().enumerate() {
        if pattern.is_literal() {
            names.push(pattern.text().to_string());
            continue;
        }
        // A name that a more specific pattern takes elsewhere is not this upstream's to offer.
        let leads_here = |name: &String| running.routes.find(name).is_some_and(|found| found.index == index);
        names.extend(offered(pattern, route, listings).into_iter().filter(leads_here));
    }
    names.retain(|name| tenant.may_use(name));
    names.sort_unstable();
    names.dedup();
    names
}

/// The names that fit a pattern, as clients write them, of the models that its upstream has.
fn offered(pattern: &Pattern, route: &Route, listings: &Listings) -> Vec<String> {
    let deployment = &route.deployment;
    let asked = |theirs: &String| deployment.asked(theirs).filter(|name| pattern.matches(name));
    if deployment.upstream.is_simulated() {
        return crate::simulator::model_names().iter().filter_map(asked).collect();
    }
    let theirs = listings.of(&deployment.upstream.name);
    theirs.iter().flat_map(|names| names.iter()).filter_map(asked).collect()
}

fn model(id: &str, created: i64) -> Value {
    json!({ "id": id, "object": "model", "created": created, "owned_by": "tollgate" })
}
