//! Leads a call through its stages: who calls, may they, what do they ask, where does it go, what did it take.
//!
//! The path of a call is [`Gateway::handle`], top to bottom. Must not know sockets, nor the configuration's file.

pub mod admit;
pub mod authenticate;
pub mod body;
mod by_path;
pub mod call;
mod cost;
pub mod decode;
pub mod error;
pub mod forward;
pub mod limit_headers;
pub mod memory;
pub mod meter;
pub mod model_list;
pub mod policy;
mod reader;
pub mod receive;
pub mod resolved;
pub mod respond;
pub mod reveal;
pub mod route;
pub mod running;
pub mod services;
pub mod settle;
pub mod state;
mod tag;
#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use tower::Service;

use crate::limits::View;
use crate::net::clock::Moment;
use crate::upstream::UpstreamError;
use crate::upstream::outgoing::Outgoing;
use crate::usage::record::Outcome;
use crate::wire::endpoint::{self, Class, Endpoint};
use admit::Admission;
use body::ResponseBody;
use call::Call;
use error::{GatewayError, ReceiveError, TransportError};
use forward::Reply;
use memory::Gate;
use receive::Inbound;
use running::Running;
use services::Services;
use settle::Ending;

/// The gateway: what is in force, what every call uses, and the way to the upstreams.
pub struct Gateway<U> {
    services: Arc<Services>,
    running: Arc<ArcSwap<Running>>,
    upstreams: U,
}

impl<U: Clone> Clone for Gateway<U> {
    fn clone(&self) -> Self {
        Gateway {
            services: Arc::clone(&self.services),
            running: Arc::clone(&self.running),
            upstreams: self.upstreams.clone(),
        }
    }
}

impl<U> Gateway<U> {
    /// A gateway over a running configuration; `upstreams` carries calls out.
    #[must_use]
    pub fn new(services: Arc<Services>, running: Arc<ArcSwap<Running>>, upstreams: U) -> Self {
        Gateway { services, running, upstreams }
    }

    /// The answer to a request that was refused before it had a path. Counted, not recorded: it has no tenant.
    pub fn refuse<R>(&self, error: TransportError) -> Response<ResponseBody<R>> {
        let error = GatewayError::Transport(error);
        self.services.rejected(error.reason());
        let id = self.services.random.request_id();
        respond::failure(&error, &header(&id), None, &self.services.random)
    }

    /// The answer to a call in which this program failed.
    pub fn failed<R>(&self) -> Response<ResponseBody<R>> {
        let id = self.services.random.request_id();
        respond::failure(&GatewayError::Internal, &header(&id), None, &self.services.random)
    }
}

impl<U, R> Gateway<U>
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError> + Clone,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    /// Answers one call. `peer` is the socket's address, never a header's.
    pub async fn handle<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<ResponseBody<R>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<ReceiveError>,
    {
        let received = self.services.clock.now();
        let running = self.running.load_full();
        let id = self.services.random.request_id();
        let id_header = header(&id);
        let (mut parts, body) = request.into_parts();
        let mut response = self.answer(&running, &mut parts, body, peer, received, id, id_header).await;
        if parts.method == http::Method::HEAD {
            without_body(&mut response);
        }
        response
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of a call before it has a name")]
    async fn answer<B>(
        &self,
        running: &Running,
        parts: &mut Parts,
        body: B,
        peer: SocketAddr,
        received: Moment,
        id: String,
        id_header: HeaderValue,
    ) -> Response<ResponseBody<R>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<ReceiveError>,
    {
        if let Err(error) = room(running, parts, &body) {
            self.services.rejected(error.reason());
            return respond::failure(&error, &id_header, None, &self.services.random);
        }
        let caller = match authenticate::authenticate(&parts.headers, &running.directory, &self.services.sign_ins, peer)
        {
            Ok(caller) => caller,
            Err(error) => {
                let error = GatewayError::from(error);
                self.services.rejected(error.reason());
                return respond::failure(&error, &id_header, None, &self.services.random);
            }
        };
        let mut call = Call::open(&self.services, id, caller, received);
        call.note(|facts| {
            facts.log = running.log_calls;
            facts.tag = running.tag.as_ref().and_then(|name| tag::tag(&parts.headers, name));
        });

        match self.stages(running, parts, body, &mut call).await {
            Ok(Answered::Upstream(reply, admission)) => {
                let revealed = running.reveal.look(call.facts(), || self.now());
                let revealed = revealed.map(|revealed| revealed.with_cost(call.facts()));
                let mut response = meter::meter(reply, call, admission.flight, id_header, &admission.view);
                if let Some(revealed) = revealed {
                    revealed.tell(response.headers_mut());
                }
                response
            }
            Ok(Answered::Here(response)) => self.answered_here(response, call, id_header),
            Err(error) => {
                let revealed = running.reveal.look(call.facts(), || self.now());
                let mut response = self.fail(error, call, id_header);
                if let Some(revealed) = revealed {
                    revealed.tell(response.headers_mut());
                }
                response
            }
        }
    }

    /// The stages that can refuse, in their order. What each returns, the next one demands.
    async fn stages<B>(
        &self,
        running: &Running,
        parts: &mut Parts,
        body: B,
        call: &mut Call,
    ) -> Result<Answered<R>, GatewayError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<ReceiveError>,
    {
        let (endpoint, model_id) = match find(parts) {
            Ok(found) => found,
            // Boxed: rare, and held in every call's future otherwise.
            Err(GatewayError::Endpoint(why)) => {
                let (reply, admission) =
                    Box::pin(by_path::answer(&self.upstreams, running, parts, body, call, why)).await?;
                return Ok(Answered::Upstream(reply, admission));
            }
            Err(error) => return Err(error),
        };
        call.note(|facts| facts.endpoint = Some(endpoint));
        let Some((tenant, received)) = call.facts().map(|facts| (Arc::clone(&facts.caller.tenant), facts.received))
        else {
            return Err(GatewayError::Internal);
        };
        if endpoint.class() == Class::ModelList {
            let listings = &self.services.listings;
            return model_list::answer(model_id.as_deref(), &tenant, running, listings).map(Answered::Here);
        }

        let promised = receive::promised_text(&parts.headers);
        admit::peek(&tenant, promised, &self.services.metrics, received)?;
        let kind = receive::kind(endpoint, &parts.headers)?;
        let named = model_id.as_deref();
        let payload = {
            let held = running.memory.as_ref().map(Gate::open);
            receive::receive(kind, &parts.headers, body, running.bounds, held, running.rules, named).await
        };
        let payload = payload.inspect_err(|error| self.full(error))?;
        let here = self.now();
        let Inbound { payload, peek } = receive::understand(endpoint, payload, running.rules, named)?;
        call.note(|facts| {
            facts.here = here;
            facts.bytes_in = payload.arrived();
            facts.stream = peek.stream;
            facts.model = Some(peek.model.clone());
        });
        let matched = route::route(&tenant, &peek.model, &running.routes)?;
        call.note(|facts| facts.matched = Some(matched.clone()));
        let home = tenant.stateful.as_deref().and_then(|name| running.upstream(name));
        let wanted = state::hold(&matched.route, home, &peek, payload.json())?;
        let allowed = policy::hold(&tenant.policy, &matched.route, &peek)?;
        let admission = admit::admit(call, &matched, &peek, allowed, here).await?;
        let headers = &mut parts.headers;
        let reply =
            forward::forward(&self.upstreams, call, &admission, &matched, wanted, headers, &peek, payload).await?;
        Ok(Answered::Upstream(reply, admission))
    }

    fn answered_here(
        &self,
        mut response: Response<ResponseBody<R>>,
        mut call: Call,
        id: HeaderValue,
    ) -> Response<ResponseBody<R>> {
        let status = response.status().as_u16();
        let length = response.body().size_hint().exact().unwrap_or(0);
        call.note(|facts| {
            facts.status = status;
            facts.bytes_out = length;
        });
        call.end(Ending::Whole);
        response.headers_mut().insert(respond::X_REQUEST_ID, id.clone());
        response.headers_mut().insert(respond::X_TOLLGATE_REQUEST_ID, id);
        response
    }

    fn fail(&self, error: GatewayError, mut call: Call, id: HeaderValue) -> Response<ResponseBody<R>> {
        let view = self.shown_limits(&error, &mut call);
        let response = respond::failure(&error, &id, view.as_ref(), &self.services.random);
        let outcome = error.outcome();
        // Nobody is there to be sent this answer if the client left.
        if outcome != Outcome::ClientGone {
            let status = response.status().as_u16();
            let length = response.body().size_hint().exact().unwrap_or(0);
            call.note(|facts| {
                facts.status = status;
                facts.bytes_out = length;
            });
        }
        call.end(match &error {
            GatewayError::CredentialRefused | GatewayError::Redirected => {
                Ending::UpstreamRefused(settle::InputCharge::None)
            }
            _ if error.sent() => Ending::Broken(outcome),
            _ => Ending::NeverSent(outcome),
        });
        response
    }

    /// The tenant's limits, where the answer is about them.
    fn shown_limits(&self, error: &GatewayError, call: &mut Call) -> Option<View> {
        match error {
            GatewayError::Limit { refusal, .. } => Some(refusal.view),
            GatewayError::Upstream(_) | GatewayError::CredentialRefused | GatewayError::Redirected => {
                call.facts().map(|facts| facts.caller.tenant.limits.view(self.now()))
            }
            _ => None,
        }
    }

    /// Counts a call that ran out of memory, where all that are refused for this are counted.
    fn full(&self, error: &GatewayError) {
        if matches!(error, GatewayError::Receive(ReceiveError::Overloaded)) {
            self.services.rejected(error.reason());
        }
    }

    fn now(&self) -> Moment {
        self.services.clock.now()
    }
}

/// An answer to HEAD has the headers of one to GET, and no body (RFC 9110 9.3.2).
fn without_body<R>(response: &mut Response<ResponseBody<R>>) {
    if let ResponseBody::Full(bytes) = response.body() {
        let length = HeaderValue::from(bytes.len());
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
        *response.body_mut() = ResponseBody::Empty;
    }
}

/// Who answered.
enum Answered<R> {
    /// An upstream.
    Upstream(Reply<R>, Admission),
    /// This gateway, from what it knows.
    Here(Response<ResponseBody<R>>),
}

/// Whether there is room for what a request promises to bring. Asked first of all: no work is done for what cannot be held.
/// What is too large for any call is let through to be told so.
fn room<B: Body>(running: &Running, parts: &Parts, body: &B) -> Result<(), GatewayError> {
    let Some(gate) = running.memory.as_ref().filter(|_| !body.is_end_stream()) else {
        return Ok(());
    };
    let promised = receive::promised_text(&parts.headers).filter(|&promised| promised <= running.bounds.body as u64);
    gate.look(promised.unwrap_or(0).max(1)).map_err(|_| GatewayError::Transport(TransportError::Overloaded))
}

/// The operation that a request means.
fn find(parts: &Parts) -> Result<(Endpoint, Option<String>), GatewayError> {
    let path = parts.uri.path();
    if asks_for_websocket(&parts.headers) && endpoint::is_upgradable(path) {
        return Err(GatewayError::Upgrade);
    }
    let found = endpoint::find(&parts.method, path).map_err(GatewayError::Endpoint)?;
    Ok((found.endpoint, found.model_id.map(std::borrow::Cow::into_owned)))
}

/// Whether `Upgrade` names WebSocket (RFC 6455 4.1). Anything else in it, such as h2c, may be ignored (RFC 9110 7.8).
fn asks_for_websocket(headers: &http::HeaderMap) -> bool {
    let names = headers.get_all(UPGRADE).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    names.into_iter().any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Our ids are ASCII.
fn header(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("req_unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_head_tells_the_length_and_has_no_body() {
        let mut response = Response::new(ResponseBody::<()>::Full(Bytes::from_static(b"{\"error\":1}")));
        without_body(&mut response);
        assert_eq!(response.headers()[http::header::CONTENT_LENGTH], "11");
        assert!(matches!(response.body(), ResponseBody::Empty));
    }

    #[test]
    fn only_websocket_is_an_upgrade_that_is_refused() {
        for (value, refused) in [("websocket", true), ("h2c, WebSocket", true), ("h2c", false), ("websockets", false)] {
            let mut headers = http::HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static(value));
            assert_eq!(asks_for_websocket(&headers), refused, "{value}");
        }
    }
}
