//! Answers which models there are, from the routes alone: no upstream is asked, nothing is charged.
//!
//! Must not know limits or usage.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::body::ResponseBody;
use super::error::GatewayError;
use super::running::Running;
use crate::tenant::Tenant;

/// The list that this tenant may see, or one model of it. A model that is routed answers, also where only a pattern names it.
///
/// # Errors
/// 404 `model_not_found` for a model that is not routed, or not this tenant's.
pub fn answer<B>(
    id: Option<&str>,
    tenant: &Tenant,
    running: &Running,
) -> Result<Response<ResponseBody<B>>, GatewayError> {
    let value = match id {
        None => json!({ "object": "list", "data": list(tenant, running) }),
        Some(id) => {
            super::route::route(tenant, id, &running.routes)?;
            model(id, running.since)
        }
    };
    let mut response = Response::new(ResponseBody::Full(Bytes::from(value.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Literal names of the routes, and the simulator's own models where a pattern leads to it.
fn list(tenant: &Tenant, running: &Running) -> Vec<Value> {
    let simulated = crate::simulator::model_names();
    let mut names: Vec<&str> = Vec::new();
    for (pattern, route) in running.routes.iter() {
        if pattern.is_literal() {
            names.push(pattern.text());
        } else if route.deployment.upstream.is_simulated() {
            names.extend(simulated.iter().map(String::as_str).filter(|name| pattern.matches(name)));
        }
    }
    names.retain(|name| tenant.may_use(name));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| model(name, running.since)).collect()
}

fn model(id: &str, created: i64) -> Value {
    json!({ "id": id, "object": "model", "created": created, "owned_by": "tollgate" })
}
