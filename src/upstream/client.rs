//! Sends a shaped request to its upstream and hands back the answer: the `tower` service below the gateway.
//!
//! Must not know what is asked, by whom, or what happens on a failure: it tries once. The one exception is a kept
//! connection that turns out to be closed before a byte of the request was written: then the same request goes out on
//! a fresh one, as nobody can have seen it. Redirects are not followed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::time::Instant;

use super::answer::{NetworkBody, UpstreamBody};
use super::connection::{Limits, SendFault};
use super::ledger::Ledger;
use super::outgoing::{OutBody, Outgoing, Sent};
use super::pool::{Pool, Reuse};
use super::timer::after;
use super::{Upstream, UpstreamError, Waited};
use crate::net::resolver::Resolver;
use crate::net::tls::TlsClients;
use crate::simulator::{self, Simulator};

/// The client of one worker: its connections live on that worker's runtime. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    simulator: Arc<Simulator>,
}

impl Client {
    /// A client with a pool of its own. `ledger` counts the connections of all workers and is shared by them, as are
    /// `tls` and `resolver`.
    #[must_use]
    pub fn new(tls: Arc<TlsClients>, resolver: Resolver, ledger: Arc<Ledger>) -> Self {
        Client { pool: Arc::new(Pool::new(ledger, tls, resolver)), simulator: Arc::default() }
    }

    /// Connections that are open to `upstream`, idle ones included, over all workers that share the ledger.
    #[must_use]
    pub fn connections(&self, upstream: &str) -> usize {
        self.pool.ledger().connections(upstream)
    }
}

impl tower::Service<Outgoing> for Client {
    type Response = Response<UpstreamBody>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UpstreamError>> + Send>>;

    /// Always: waiting for a connection is part of the call, so that it can be bounded.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        let Outgoing { upstream, request, sent } = outgoing;
        if upstream.is_simulated() {
            return Box::pin(simulate(Arc::clone(&self.simulator), upstream, request, sent));
        }
        Box::pin(exchange(Arc::clone(&self.pool), upstream, request, sent))
    }
}

/// Asks the built-in upstream, with the upstream's time-outs and no socket.
async fn simulate(
    simulator: Arc<Simulator>,
    upstream: Arc<Upstream>,
    request: Request<OutBody>,
    sent: Option<Sent>,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let (head, body) = request.into_parts();
    // Time-outs begin when the request is read.
    let lost = |broken: &dyn std::fmt::Display| UpstreamError::Lost(broken.to_string());
    let upload = if simulator::is_form(&head.headers) {
        Ok(simulator::read_form(&head.headers, body).await.map_err(|broken| lost(&broken))?)
    } else {
        Err(body.collected().await.map_err(|broken| lost(&broken))?)
    };
    if let Some(sent) = sent {
        sent.mark();
    }
    let path = head.uri.path();
    let path = path.strip_prefix(&*upstream.base.path).unwrap_or(path);
    let answer = async {
        match upload {
            Ok(form) => simulator.answer_form(&head.method, path, form).await,
            Err(json) => simulator.answer(&head.method, path, json).await,
        }
    };
    let patience = upstream.timeouts.first_byte;
    let answered = if patience.is_zero() {
        answer.await
    } else {
        let late = |_| UpstreamError::TimedOut(Waited::FirstByte);
        tokio::time::timeout(patience, answer).await.map_err(late)?
    };
    let response = answered.map_err(|fault| UpstreamError::Lost(fault.to_string()))?;
    Ok(response.map(UpstreamBody::Simulated))
}

async fn exchange(
    pool: Arc<Pool>,
    upstream: Arc<Upstream>,
    mut request: Request<OutBody>,
    sent: Option<Sent>,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let total = upstream.timeouts.total;
    let end = if total.is_zero() { None } else { after(Instant::now(), total) };
    let limits = Limits { timeouts: upstream.timeouts, end };
    let shelf = pool.shelf(&upstream);
    let mut reuse = Reuse::Allowed;
    loop {
        let mut found = match pool.idle(&upstream, &shelf, reuse) {
            Some(found) => found,
            // Boxed: rare, and larger than all the rest of an exchange.
            None => Box::pin(pool.find(&upstream, &shelf, reuse, limits.end)).await?,
        };
        match found.connection.send(request, limits, sent.as_ref()).await {
            Ok(response) => {
                let (head, incoming) = response.into_parts();
                let body = NetworkBody::new(incoming, found.connection, shelf, limits);
                return Ok(Response::from_parts(head, UpstreamBody::Network(body)));
            }
            Err(SendFault::Unsent(unsent)) if found.reused => {
                request = *unsent;
                reuse = Reuse::Never;
            }
            Err(SendFault::Unsent(_)) => {
                let fault = "the connection was closed before the request was sent".to_owned();
                return Err(UpstreamError::Connect(fault));
            }
            Err(SendFault::Failed(error)) => return Err(error),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
