//! A gateway with everything on and no network: requests are handed to it, and a closure plays the upstream.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tollgate::config;
use tollgate::gateway::Gateway;
use tollgate::gateway::error::ReceiveError;
use tollgate::gateway::receive::Bounds;
use tollgate::gateway::reveal::Reveal;
use tollgate::gateway::running::Running;
use tollgate::gateway::services::Services;
use tollgate::gateway::settle::{SettleQueue, SettleTask};
use tollgate::net::clock::Clock;
use tollgate::net::random::Random;
use tollgate::telemetry::metrics::Metrics;
use tollgate::telemetry::writer::{LineWriter, QUEUE_BYTES};
use tollgate::tenant::directory::Directory;
use tollgate::upstream::{Outgoing, UpstreamError};
use tollgate::wire::peek::Rules;
use tower::{Service, ServiceExt};

/// The key that every request shows.
const KEY: &str = "Bearer sk-gateway";

/// The plan of the benches: two limits of requests, one of tokens, and calls in flight; none of them binds.
const CONFIG: &str = r#"
[plans.bench]
requests = ["1M/s", "1000M/h burst 1000M"]
tokens = "10000M/min"
concurrent = 100_000
[tenants.bench]
plan = "bench"
keys = [{ sha256 = "49ffead3de7c4c5710ecb4eb59711106313384fefea479cab41aab6a4885f2fb", label = "bench" }]
[upstreams.mock]
provider = "compatible"
base_url = "http://127.0.0.1:9/v1"
credential = { api_key = { env = "UPSTREAM_KEY" } }
[[routes]]
models = ["*"]
to = ["mock"]
"#;

/// The parts that stages are called with.
pub(crate) struct Rig {
    pub(crate) services: Arc<Services>,
    pub(crate) running: Arc<ArcSwap<Running>>,
    pub(crate) peer: SocketAddr,
    /// Kept, as a closed queue settles elsewhere.
    _settling: SettleTask,
}

/// A request body that is there in one piece.
pub(crate) struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = ReceiveError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
        Poll::Ready(self.get_mut().0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What the upstream answers to every call. Cloning it copies no bytes.
#[derive(Clone)]
pub(crate) struct Played {
    headers: HeaderMap,
    frames: Arc<[Bytes]>,
    next: usize,
}

impl Played {
    /// One JSON document.
    pub(crate) fn json(document: Bytes) -> Played {
        let length = HeaderValue::from(document.len());
        let mut played = Played::of("application/json", vec![document]);
        played.headers.insert("content-length", length);
        played
    }

    /// A stream with one event in each frame.
    pub(crate) fn stream(events: Vec<Bytes>) -> Played {
        Played::of("text/event-stream", events)
    }

    fn of(kind: &'static str, frames: Vec<Bytes>) -> Played {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers.insert("x-request-id", HeaderValue::from_static("req_upstream"));
        headers.insert("date", HeaderValue::from_static("Sun, 22 Nov 2026 05:00:00 GMT"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        if frames.len() == 1 {
            headers.remove("transfer-encoding");
        }
        Played { headers, frames: frames.into(), next: 0 }
    }

    fn response(&self) -> Response<Played> {
        let mut response = Response::new(self.clone());
        *response.headers_mut() = std::mem::take(&mut response.body_mut().headers);
        response
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        let frame = this.frames.get(this.next).cloned();
        this.next += 1;
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.frames.get(self.next..).unwrap_or_default();
        SizeHint::with_exact(left.iter().map(|bytes| bytes.len() as u64).sum())
    }
}

/// What plays the upstream.
pub(crate) fn upstream(
    played: Played,
) -> impl Service<Outgoing, Response = Response<Played>, Error = UpstreamError> + Clone {
    tower::service_fn(move |_: Outgoing| std::future::ready(Ok(played.response())))
}

impl Rig {
    /// Everything but the network: records go to a writer whose sink drops them.
    pub(crate) fn new() -> Result<Rig, Box<dyn std::error::Error>> {
        let env = BTreeMap::from([("UPSTREAM_KEY".to_owned(), "sk-upstream".to_owned())]);
        let config = config::parse("bench.toml", CONFIG, Path::new("."), &env).map_err(|faults| faults.to_string())?;
        let (settling, task) = SettleQueue::new();
        let records = LineWriter::start("records", std::io::sink(), QUEUE_BYTES)?;
        let metrics = Arc::new(Metrics::new()?);
        let services = Services::new(Clock::system(), Random::from_seed(1), metrics, vec![records], settling);
        let running = Running {
            generation: 1,
            directory: Directory::new(config.tenants, None, config.metrics.max_tenants, 0),
            routes: config.routes,
            upstreams: config.upstreams,
            unknown_paths: None,
            prices: config.prices,
            bounds: Bounds {
                body: config.server.max_body,
                upload: config.server.max_upload,
                spool: config.server.form_spool,
            },
            memory: None,
            rules: Rules::default(),
            since: 0,
            log_calls: false,
            tag: None,
            reveal: Reveal::default(),
        };
        Ok(Rig {
            services: Arc::new(services),
            running: Arc::new(ArcSwap::from_pointee(running)),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
            _settling: task,
        })
    }

    /// The whole gateway over this upstream.
    pub(crate) fn gateway<U>(&self, upstream: U) -> Gateway<U> {
        Gateway::new(Arc::clone(&self.services), Arc::clone(&self.running), upstream)
    }
}

/// The headers that a client of OpenAI's SDK sends.
pub(crate) fn client_headers(length: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "127.0.0.1:8080"),
        ("authorization", KEY),
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("connection", "keep-alive"),
        ("user-agent", "OpenAI/Python 2.8.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-runtime", "CPython"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("content-length", HeaderValue::from(length));
    headers
}

/// What a server would hand over for this body.
pub(crate) fn request(headers: &HeaderMap, body: &Bytes) -> Request<Whole> {
    let mut request = Request::new(Whole(Some(body.clone())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("/v1/chat/completions");
    *request.headers_mut() = headers.clone();
    request
}

/// Lets one call through, to the last byte of its answer, which it counts.
pub(crate) async fn call<U>(gateway: &Gateway<U>, request: Request<Whole>, peer: SocketAddr) -> usize
where
    U: Service<Outgoing, Response = Response<Played>, Error = UpstreamError> + Clone,
{
    drained(gateway.handle(request, peer).await.into_body()).await
}

/// The same without a gateway: the request is made, the upstream plays, the answer is read. What the bench itself costs.
pub(crate) async fn bare<U>(upstream: &U, outgoing: Outgoing, request: Request<Whole>) -> usize
where
    U: Service<Outgoing, Response = Response<Played>, Error = UpstreamError> + Clone,
{
    let read = drained(request.into_body()).await;
    match upstream.clone().oneshot(outgoing).await {
        Ok(response) => read + drained(response.into_body()).await,
        Err(_) => 0,
    }
}

async fn drained<B: Body<Data = Bytes> + Unpin>(mut body: B) -> usize {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}
