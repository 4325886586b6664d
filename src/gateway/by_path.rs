//! Leads a call that has no row in the table by its path: to its tenant's home for kept state, or where unknown paths go.
//!
//! Limited by request and concurrency, recorded as `other`, passed on unread in both directions but for usage in its answer.
//! Must not know what such a call means.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body;
use tower::Service;

use super::admit::{self, Admission};
use super::call::{Call, Detour};
use super::error::{GatewayError, ReceiveError};
use super::forward::{self, Reply, Sending};
use super::receive;
use super::running::Running;
use crate::stream::UsageChunk;
use crate::tenant::Tenant;
use crate::upstream::outgoing::{Outgoing, Sent, shape_by_path};
use crate::upstream::{Upstream, UpstreamError};
use crate::usage::Dialect;
use crate::wire::endpoint::NotServed;
use crate::wire::endpoint::by_path::{self, Bills, ByPath};

/// Sends a call on that the table does not serve, as `why` says.
///
/// # Errors
/// [`GatewayError::Endpoint`] where it goes nowhere; 413, 429 and those of an upstream.
pub(super) async fn answer<U, R, B>(
    upstreams: &U,
    running: &Running,
    parts: &Parts,
    body: B,
    call: &mut Call,
    why: NotServed,
) -> Result<(Reply<R>, Admission), GatewayError>
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError> + Clone,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<ReceiveError>,
{
    let Some((tenant, received)) = call.facts().map(|facts| (Arc::clone(&facts.caller.tenant), facts.received)) else {
        return Err(GatewayError::Internal);
    };
    let (upstream, path) = way(running, &tenant, parts, why).map_err(GatewayError::Endpoint)?;
    let bills = path.bills;
    let detour = Detour::ByPath { upstream: Arc::clone(&upstream), bills, prices: Arc::clone(&running.prices) };
    call.note(|facts| facts.detour = Some(Box::new(detour)));
    let services = Arc::clone(call.services());
    admit::peek(&tenant, None, &services.metrics, received)?;
    let sent = Sent::not_yet(services.clock.clone());
    let (body, upload) = receive::unread(&parts.headers, body, running.bounds.upload, &sent)?;
    let here = services.clock.now();
    call.note(|facts| facts.here = here);
    let outgoing = shape_by_path(&upstream, &parts.method, &path, parts.headers.clone(), body)
        .ok_or(GatewayError::Endpoint(NotServed::UnknownPath))?;
    let admission = admit::admit_by_path(call, here).await?;
    let dialect = (bills == Bills::New).then_some(Dialect::Chat);
    let sending = Sending { outgoing, sent, upload, usage_chunk: UsageChunk::Keep, dialect };
    let reply = forward::exchange(upstreams, call, sending).await?;
    Ok((reply, admission))
}

/// Where a call goes that the table does not serve, and by which path.
fn way(
    running: &Running,
    tenant: &Tenant,
    parts: &Parts,
    why: NotServed,
) -> Result<(Arc<Upstream>, ByPath), NotServed> {
    let upstream = match why {
        NotServed::Stateful => tenant.stateful.as_deref().and_then(|name| running.upstream(name)),
        NotServed::UnknownPath => running.unknown_paths.as_ref(),
        NotServed::Method { .. } => None,
    };
    let upstream = upstream.ok_or(why)?;
    let path = by_path::by_path(&parts.method, parts.uri.path(), parts.uri.query()).ok_or(NotServed::UnknownPath)?;
    if !by_path::is_passed_on(&parts.method) {
        return Err(NotServed::Method { allow: by_path::METHODS });
    }
    Ok((Arc::clone(upstream), path))
}
