//! Builds the request that goes to an upstream: its path from the table, its headers by rule, its body as slices, or as it arrives.
//!
//! Must not know how it is sent, nor anything of the client's path: an upstream's path is never built from it, but for the
//! calls that go by their path, which `wire::endpoint::by_path` has checked ([`shape_by_path`]).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::Upstream;
use super::headers::{clean_request, is_hop_by_hop};
use crate::net::clock::{Clock, Moment};
use crate::wire::endpoint::by_path::ByPath;
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

/// Says when a request began to be written (one whose body arrives meanwhile: when that was whole), also to someone who stops waiting for its answer. Clones share the word.
#[derive(Clone, Debug)]
pub struct Sent(Arc<Word>);

#[derive(Debug)]
struct Word {
    clock: Clock,
    /// Nanoseconds of that clock, plus one; 0 as long as nothing was written.
    at: AtomicU64,
    /// How much of the body is here, by the constants below.
    body: AtomicU8,
}

/// All of the body.
const HERE: u8 = 0;
/// A part; more has come, or was not asked for yet.
const ARRIVING: u8 = 1;
/// A part, and its client is waited for.
const AWAITED: u8 = 2;

impl Sent {
    /// A request of which nothing was written yet; `clock` will be asked when.
    #[must_use]
    pub fn not_yet(clock: Clock) -> Self {
        Sent(Arc::new(Word { clock, at: AtomicU64::new(0), body: AtomicU8::new(HERE) }))
    }

    /// The body arrives while it is sent: nobody can work on the request before it is whole, so until then it is not sent.
    pub fn body_arrives(&self) {
        self.0.body.store(ARRIVING, Ordering::Relaxed);
    }

    /// More of the body is waited for: what the upstream does not answer meanwhile is not its fault.
    pub fn body_is_awaited(&self) {
        self.0.body.store(AWAITED, Ordering::Relaxed);
    }

    /// The body has arrived whole.
    pub fn body_is_here(&self) {
        self.0.body.store(HERE, Ordering::Relaxed);
    }

    /// Whether the whole body has arrived.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) == HERE
    }

    /// Whether the client is waited for.
    pub(super) fn awaits_body(&self) -> bool {
        self.0.body.load(Ordering::Relaxed) == AWAITED
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

/// A request's body: all of it, or as it arrives. Only the first can be sent again.
#[derive(Debug)]
pub enum OutBody {
    /// All of it.
    Whole(WholeBody),
    /// What has come of it, and the rest when it comes.
    Arriving(ArrivingBody),
}

/// The body did not come to its end; whoever made it knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not come to its end")]
pub struct Broken;

/// A request body that is sent while its client still sends it.
pub struct ArrivingBody(UnsyncBoxBody<Bytes, Broken>);

impl std::fmt::Debug for ArrivingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivingBody").finish_non_exhaustive()
    }
}

/// A request body in slices: what the client sent, with our spans spliced in between. Cloning it copies no bytes.
///
/// Kept small, as every connection keeps room for dozens of requests: usually there is one slice, and no list.
#[derive(Clone, Debug, Default)]
pub struct WholeBody {
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
        OutBody::Whole(WholeBody { next, rest, left })
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        OutBody::Whole(WholeBody::default())
    }

    /// A body that arrives while it is sent. Its exact size hint, where it has one, becomes the request's length.
    #[must_use]
    pub fn arriving(body: impl Body<Data = Bytes, Error = Broken> + Send + 'static) -> Self {
        OutBody::Arriving(ArrivingBody(body.boxed_unsync()))
    }

    /// All of it in one piece; copied only where it has several slices. One that arrives is waited for.
    ///
    /// # Errors
    /// [`Broken`] where it does not arrive.
    pub async fn collected(self) -> Result<Bytes, Broken> {
        match self {
            OutBody::Whole(whole) => Ok(whole.joined()),
            OutBody::Arriving(body) => Ok(body.0.collect().await?.to_bytes()),
        }
    }

    /// Bytes that are still to be sent; `None` where its client does not say.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self {
            OutBody::Whole(whole) => Some(whole.left),
            OutBody::Arriving(body) => body.0.size_hint().exact(),
        }
    }
}

impl WholeBody {
    fn next_slice(&mut self) -> Option<Bytes> {
        if self.next.is_empty() {
            return None;
        }
        let slice = std::mem::replace(&mut self.next, self.rest.pop().unwrap_or_default());
        self.left = self.left.saturating_sub(slice.len() as u64);
        Some(slice)
    }

    /// All of it in one piece; copied only where it has several slices.
    fn joined(self) -> Bytes {
        if self.rest.is_empty() {
            return self.next;
        }
        let slices = std::iter::once(&self.next).chain(self.rest.iter().rev());
        let mut whole = Vec::with_capacity(usize::try_from(self.left).unwrap_or(0));
        slices.for_each(|slice| whole.extend_from_slice(slice));
        whole.into()
    }
}

impl From<Bytes> for OutBody {
    fn from(whole: Bytes) -> Self {
        OutBody::new([whole])
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            OutBody::Whole(whole) => Poll::Ready(whole.next_slice().map(|slice| Ok(Frame::data(slice)))),
            OutBody::Arriving(body) => Pin::new(&mut body.0).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            OutBody::Whole(whole) => whole.left == 0,
            OutBody::Arriving(body) => body.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Whole(whole) => SizeHint::with_exact(whole.left),
            OutBody::Arriving(body) => body.0.size_hint(),
        }
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

/// Whether the headers state this length already, once and as plain digits.
fn states_length(headers: &HeaderMap, length: u64) -> bool {
    let mut stated = headers.get_all(CONTENT_LENGTH).iter();
    let value = stated.next().and_then(|value| value.to_str().ok());
    let plain = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    stated.next().is_none() && plain.and_then(|value| value.parse().ok()) == Some(length)
}

/// Shapes a call: method and path of the endpoint under the upstream's base URI, the client's headers that may pass,
/// the operator's headers, which win over those, and at last what must be true: host, length, encoding, credential.
#[must_use]
pub fn shape(upstream: &Arc<Upstream>, endpoint: Endpoint, client: HeaderMap, body: OutBody) -> Outgoing {
    let method = if endpoint.class() == Class::ModelList { Method::GET } else { Method::POST };
    let target = upstream.base.prepared.targets[endpoint as usize].clone();
    shape_to(upstream, method, target, client, body)
}

/// Shapes a call that goes by its path, which stands below the upstream's base URI as it came. Its body is passed on unread,
/// in the content coding that it came in. `None` where that path cannot stand in a request.
#[must_use]
pub fn shape_by_path(
    upstream: &Arc<Upstream>,
    method: &Method,
    path: &ByPath,
    client: HeaderMap,
    body: OutBody,
) -> Option<Outgoing> {
    let target = format!("{}/{}", upstream.base.path, path.target).parse().ok()?;
    let coding = client.get(CONTENT_ENCODING).cloned();
    let mut outgoing = shape_to(upstream, method.clone(), target, client, body);
    if let Some(coding) = coding {
        outgoing.request.headers_mut().insert(CONTENT_ENCODING, coding);
    }
    Some(outgoing)
}

fn shape_to(upstream: &Arc<Upstream>, method: Method, target: Uri, client: HeaderMap, body: OutBody) -> Outgoing {
    let mut headers = client;
    clean_request(upstream.provider, &mut headers);
    for (name, value) in upstream.headers.iter().filter(|(name, _)| !is_hop_by_hop(name.as_str())) {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(HOST, upstream.base.prepared.host.clone());
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    // Without a length hyper sends it in chunks.
    match body.left().filter(|&length| has_body || length > 0) {
        Some(length) if states_length(&headers, length) => {}
        Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(headers.remove(CONTENT_LENGTH)),
    }
    match &upstream.authorization {
        Some(credential) => headers.insert(AUTHORIZATION, credential.clone()),
        None => headers.remove(AUTHORIZATION),
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    Outgoing { upstream: Arc::clone(upstream), request, sent: None }
}
