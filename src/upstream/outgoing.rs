//! Builds the request that goes to an upstream: its path from the table, its headers by rule, its body as slices.
//!
//! Must not know how it is sent, nor anything of the client's path: an upstream's path is never built from it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::Upstream;
use super::headers::{copy_request, is_hop_by_hop};
use crate::net::clock::{Clock, Moment};
use crate::wire::endpoint::{Class, Endpoint};

/// A request on its way to an upstream.
#[derive(Debug)]
pub struct Outgoing {
    /// Where it goes.
    pub upstream: Arc<Upstream>,
    /// What is sent there.
    pub request: Request<OutBody>,
    /// Is told when the first bytes are handed to a connection; `None` where nobody asks.
    pub sent: Option<Sent>,
}

/// Says when a request began to be written, also to someone who stops waiting for its answer. Clones share the word.
#[derive(Clone, Debug)]
pub struct Sent(Arc<Word>);

#[derive(Debug)]
struct Word {
    clock: Clock,
    /// Nanoseconds of that clock, plus one; 0 as long as nothing was written.
    at: AtomicU64,
}

impl Sent {
    /// A request of which nothing was written yet; `clock` will be asked when.
    #[must_use]
    pub fn not_yet(clock: Clock) -> Self {
        Sent(Arc::new(Word { clock, at: AtomicU64::new(0) }))
    }

    /// It is being written now; only the first time counts.
    pub fn mark(&self) {
        if self.at().is_none() {
            self.mark_at(self.0.clock.now());
        }
    }

    /// As [`Sent::mark`], for whoever has read the clock already.
    pub(super) fn mark_since(&self, instant: Instant) {
        if self.at().is_none() {
            self.mark_at(self.0.clock.at(instant));
        }
    }

    fn mark_at(&self, moment: Moment) {
        self.0.at.store(moment.nanos().saturating_add(1), Ordering::Relaxed);
    }

    /// When the first bytes were handed to a connection; `None` if none were.
    #[must_use]
    pub fn at(&self) -> Option<Moment> {
        self.0.at.load(Ordering::Relaxed).checked_sub(1).map(Moment::from_nanos)
    }
}

/// A request body in slices: what the client sent, with our spans spliced in between. Cloning it copies no bytes.
///
/// Kept small, as every connection keeps room for dozens of requests: usually there is one slice, and no list.
#[derive(Clone, Debug, Default)]
pub struct OutBody {
    /// Empty once all is sent.
    next: Bytes,
    /// What follows, the last slice first.
    rest: Vec<Bytes>,
    left: u64,
}

impl OutBody {
    /// A body of these slices, in this order; empty ones are left out.
    #[must_use]
    pub fn new(slices: impl IntoIterator<Item = Bytes>) -> Self {
        let mut slices = slices.into_iter().filter(|slice| !slice.is_empty());
        let next = slices.next().unwrap_or_default();
        let mut rest: Vec<Bytes> = slices.collect();
        rest.reverse();
        let left = rest.iter().fold(next.len() as u64, |sum, slice| sum.saturating_add(slice.len() as u64));
        OutBody { next, rest, left }
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        OutBody::default()
    }

    /// All of it in one piece; copied only where it has several slices.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.next;
        }
        let slices = std::iter::once(&self.next).chain(self.rest.iter().rev());
        let mut whole = Vec::with_capacity(usize::try_from(self.left).unwrap_or(0));
        slices.for_each(|slice| whole.extend_from_slice(slice));
        whole.into()
    }

    /// Bytes that are still to be sent.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl From<Bytes> for OutBody {
    fn from(whole: Bytes) -> Self {
        OutBody::new([whole])
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.next.is_empty() {
            return Poll::Ready(None);
        }
        let slice = std::mem::replace(&mut this.next, this.rest.pop().unwrap_or_default());
        this.left = this.left.saturating_sub(slice.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// What each call to a base URI repeats.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Prepared {
    host: HeaderValue,
    /// In the order of [`Endpoint`].
    targets: [Uri; Endpoint::ALL.len()],
}

impl Prepared {
    /// `None` when host or path cannot stand in a request.
    pub(super) fn new(host: &str, path: &str) -> Option<Self> {
        let targets: Option<Vec<Uri>> =
            Endpoint::ALL.iter().map(|&endpoint| format!("{path}/{}", target(endpoint)).parse().ok()).collect();
        Some(Prepared { host: HeaderValue::from_str(host).ok()?, targets: targets?.try_into().ok()? })
    }
}

/// The upstream's path. A single model is looked up in the list of all: an id that a client sent never becomes part of an
/// upstream's path.
fn target(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Model => Endpoint::Models.path(),
        _ => endpoint.path(),
    }
}

/// Shapes a call: method and path of the endpoint under the upstream's base URI, the client's headers that may pass,
/// the operator's headers, which win over those, and at last what must be true: host, length, encoding, credential.
#[must_use]
pub fn shape(upstream: &Arc<Upstream>, endpoint: Endpoint, client: &HeaderMap, body: OutBody) -> Outgoing {
    let prepared = &upstream.base.prepared;
    let method = if endpoint.class() == Class::ModelList { Method::GET } else { Method::POST };
    let mut headers = HeaderMap::with_capacity(client.len() + upstream.headers.len() + 4);
    copy_request(upstream.provider, client, &mut headers);
    for (name, value) in upstream.headers.iter().filter(|(name, _)| !is_hop_by_hop(name.as_str())) {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(HOST, prepared.host.clone());
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if method == Method::POST {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.left()));
    }
    if let Some(credential) = &upstream.authorization {
        headers.insert(AUTHORIZATION, credential.clone());
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = prepared.targets[endpoint as usize].clone();
    *request.headers_mut() = headers;
    Outgoing { upstream: Arc::clone(upstream), request, sent: None }
}
