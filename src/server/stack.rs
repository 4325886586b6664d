//! Stands around the gateway with what knows only HTTP: the guard, caught panics, the count of calls in flight, and
//! `Connection: close` where the connection cannot go on.
//!
//! Must not know what a call means. Plain functions, not tower layers, and for a reason: the body of an answer must stay one
//! concrete type (tower-http's `CatchPanic` boxes it, at one virtual call per frame), the guard needs the head by reference
//! before the body is wrapped, and a call must count from the moment hyper hands it over, not from its future's first poll.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::body::{BoxError, CallBody, RequestBody, count_of_panics};
use super::cors::{self, Page};
use super::drain::{Drain, Stage};
use super::guard;
use super::pulse::{CallGuard, Pulse};
use super::wire::Render;
use super::{Counts, Handler, ServerRefusal, Settings};

/// What all connections of one worker share.
pub struct Edge<H> {
    pub(super) handler: H,
    pub(super) settings: Arc<Settings>,
    pub(super) drain: Drain,
    pub(super) counts: Arc<Counts>,
    pub(super) render: Render,
}

impl<H: Handler> Edge<H> {
    /// What a worker puts around its `handler`.
    #[must_use]
    pub fn new(handler: H, settings: Arc<Settings>, drain: Drain, counts: Arc<Counts>) -> Self {
        let for_refusals = handler.clone();
        // Nobody knows whose request it is.
        let page = settings.cors.as_ref().map(|cors| cors.page(None));
        let render: Render = Arc::new(move |refusal| render(&for_refusals, refusal, page.as_ref()));
        Edge { handler, settings, drain, counts, render }
    }
}

/// One connection as its calls see it.
pub(super) struct Place<H> {
    pub(super) edge: Arc<Edge<H>>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) peer: SocketAddr,
}

impl<H> Clone for Place<H> {
    fn clone(&self) -> Self {
        Place { edge: Arc::clone(&self.edge), pulse: Arc::clone(&self.pulse), peer: self.peer }
    }
}

/// Answers one call. Not an `async fn`: the call is counted before the first poll.
pub(super) fn call<H: Handler>(
    place: Place<H>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<CallBody<H::Body>>, Infallible>> + Send {
    let guard = place.pulse.begin();
    async move { Ok(answer(place, request, guard).await) }
}

async fn answer<H: Handler>(
    place: Place<H>,
    request: Request<Incoming>,
    call: CallGuard,
) -> Response<CallBody<H::Body>> {
    let Place { edge, pulse, peer } = place;
    let (mut parts, body) = request.into_parts();
    let body = RequestBody::new(body, edge.settings.timeouts.body_idle, Arc::clone(&pulse));
    parts.extensions.clear();
    let version = parts.version;
    if version == Version::HTTP_10 {
        pulse.set_ends_with_connection();
    }
    let page = edge.settings.cors.as_ref().map(|cors| cors.page(Some(&parts.headers)));
    let mut response = match (inspect(&parts, &edge.settings), &page) {
        (Ok(()), Some(page)) if cors::is_preflight(&parts) => {
            drop(body);
            let mut response = preflight(page, &parts, call, Arc::clone(&edge.counts));
            closing(&mut response, &pulse, &edge, version);
            return response;
        }
        (Ok(()), _) => {
            let handler = edge.handler.clone();
            let request = Request::from_parts(parts, body);
            let work = CatchPanic { work: async move { handler.handle(request, peer).await } };
            work.await.unwrap_or_else(|panic| {
                Counts::add(count_of_panics(&edge.counts, &*panic));
                edge.handler.refuse(ServerRefusal::InternalError)
            })
        }
        (Err(refusal), _) => {
            Counts::add(&edge.counts.refused);
            drop(body);
            // What follows may be a body that the client framed in a way we do not read: it must not be taken for a request.
            pulse.set_body_open(true);
            edge.handler.refuse(refusal)
        }
    };
    if let Some(page) = page {
        page.mark(response.headers_mut());
    }
    closing(&mut response, &pulse, &edge, version);
    response.map(|body| CallBody::new(body, call, Arc::clone(&edge.counts)))
}

/// The answer to a browser that asks what a page may send. No handler sees it: it needs no key, and is neither limited nor
/// recorded.
fn preflight<B>(
    page: &Page,
    parts: &http::request::Parts,
    call: CallGuard,
    counts: Arc<Counts>,
) -> Response<CallBody<B>> {
    let mut response = Response::new(CallBody::empty(call, counts));
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = page.preflight(&parts.headers);
    response
}

/// Tells the client where the connection cannot go on.
fn closing<B, H>(response: &mut Response<B>, pulse: &Pulse, edge: &Edge<H>, version: Version) {
    let last = pulse.body_open() || edge.drain.stage() >= Stage::Leaving;
    if last && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn inspect(parts: &http::request::Parts, settings: &Settings) -> Result<(), ServerRefusal> {
    guard::check(parts)?;
    match &settings.anonymous {
        Some(anonymous) if guard::foreign(parts, anonymous).is_some() => Err(ServerRefusal::OriginNotAllowed),
        _ => Ok(()),
    }
}

/// A refusal as the bytes of an HTTP/1.1 answer after which the connection closes, for where hyper does not write.
pub(super) fn render<H: Handler>(handler: &H, refusal: ServerRefusal, page: Option<&Page>) -> bytes::Bytes {
    let (mut parts, body) = handler.refuse(refusal).into_parts();
    if let Some(page) = page {
        page.mark(&mut parts.headers);
    }
    let body = ready_bytes(body);
    let mut answer = Vec::with_capacity(512 + body.len());
    let reason = parts.status.canonical_reason().unwrap_or("Error");
    answer.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).as_bytes());
    for (name, value) in &parts.headers {
        if *name == CONNECTION || *name == http::header::CONTENT_LENGTH || *name == http::header::TRANSFER_ENCODING {
            continue;
        }
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(&body);
    answer.into()
}

/// What a body holds that needs no waiting.
fn ready_bytes<B>(body: B) -> Vec<u8>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>>,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes
}

pin_project_lite::pin_project! {
    /// Turns a panic of `work` into an error.
    struct CatchPanic<F> {
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = std::thread::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.project().work;
        match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
