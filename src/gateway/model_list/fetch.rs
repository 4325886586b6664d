//! Asks upstreams for their models, at start and every five minutes, so that the list can be answered without them.
//!
//! Must not hold up anything: it runs beside the calls, over connections of its own. What an upstream told stays until it tells
//! again; what one fails to tell is not there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::task::JoinSet;
use tower::Service;

use crate::gateway::running::Running;
use crate::gateway::services::Services;
use crate::routing::RouteTable;
use crate::upstream::outgoing::{OutBody, Outgoing, shape};
use crate::upstream::{Upstream, UpstreamError};
use crate::wire::endpoint::Endpoint;
use crate::wire::model_name;

/// How long a list is taken for true; jitter lengthens it.
const EVERY: Duration = Duration::from_secs(300);
/// How long an upstream may take for its list, connection and all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest list in bytes.
const LARGEST: usize = 4 * 1024 * 1024;
/// The most names that are kept of one list.
const MOST_NAMES: usize = 10_000;

/// Why an upstream's list was not had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its list has more than {LARGEST} bytes")]
    TooLarge,
    #[error("its answer is not a list of models")]
    NotAList,
    #[error("it took longer than {PATIENCE:?}")]
    Late,
}

/// Fetches the lists of all upstreams that a pattern leads to, again and again, until it is dropped.
pub async fn keep_fetching<U, R>(upstreams: U, running: Arc<ArcSwap<Running>>, services: Arc<Services>)
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError, Future: Send> + Clone + Send + 'static,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    let mut silent: BTreeSet<Arc<str>> = BTreeSet::new();
    loop {
        let mut fetching = JoinSet::new();
        for (name, upstream) in wanted(&running.load().routes) {
            let service = upstreams.clone();
            fetching.spawn(async move { (name, in_time(service, upstream).await) });
        }
        while let Some(fetched) = fetching.join_next().await {
            match fetched {
                Ok((name, Ok(names))) => {
                    silent.remove(&name);
                    services.listings.keep(&name, names);
                }
                // Said once: an upstream without a list would say it for ever.
                Ok((name, Err(fault))) if silent.insert(Arc::clone(&name)) => {
                    tracing::warn!(
                        upstream = &*name,
                        reason = %fault,
                        "upstream did not list its models; what it listed before, if anything, is shown"
                    );
                }
                Ok(_) | Err(_) => {}
            }
        }
        tokio::time::sleep(services.random.jittered(EVERY)).await;
    }
}

/// Upstreams that routes lead to by a pattern: without them nobody knows what names there are.
fn wanted(routes: &RouteTable) -> BTreeMap<Arc<str>, Arc<Upstream>> {
    let patterns = routes.iter().filter(|(pattern, _)| !pattern.is_literal());
    let upstreams = patterns.map(|(_, route)| &route.deployment.upstream).filter(|upstream| !upstream.is_simulated());
    upstreams.map(|upstream| (Arc::clone(&upstream.name), Arc::clone(upstream))).collect()
}

async fn in_time<U, R>(service: U, upstream: Arc<Upstream>) -> Result<Vec<String>, Fault>
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError>,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    tokio::time::timeout(PATIENCE, Box::pin(fetch(service, upstream))).await.map_err(|_| Fault::Late)?
}

async fn fetch<U, R>(mut service: U, upstream: Arc<Upstream>) -> Result<Vec<String>, Fault>
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError>,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let outgoing = shape(&upstream, Endpoint::Models, HeaderMap::new(), OutBody::empty());
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    let response = service.call(outgoing).await?;
    if !response.status().is_success() {
        return Err(Fault::Status(response.status().as_u16()));
    }
    let mut body = response.into_body();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if all.len().saturating_add(data.len()) > LARGEST {
            return Err(Fault::TooLarge);
        }
        all.extend_from_slice(&data);
    }
    names(&all).ok_or(Fault::NotAList)
}

/// The ids of `{"data":[{"id":…}]}`, or of the bare list that some servers give; those that no client could ask for are left
/// out. Sorted, each once.
fn names(body: &[u8]) -> Option<Vec<String>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let list = match &mut value {
        Value::Object(fields) => fields.get_mut("data")?.take(),
        list => list.take(),
    };
    let Value::Array(models) = list else { return None };
    let mut names: Vec<String> = models
        .into_iter()
        .filter_map(|mut model| match model.get_mut("id").map(Value::take) {
            Some(Value::String(id)) if model_name::fault(&id).is_none() => Some(id),
            _ => None,
        })
        .take(MOST_NAMES)
        .collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests;
