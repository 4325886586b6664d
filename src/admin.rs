//! Answers operators on a port of their own: alive, ready, metrics, configuration, and a page for people.
//!
//! Read-only, and must not know where its numbers come from: it is handed closures and renders what they return. Here, off the
//! hot path, the layers are tower's and tower-http's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::server::Listener;

mod page;

#[cfg(test)]
mod tests;

/// Connections to the admin port that are served at once; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// To the end of a request head; also how long an unused connection is kept.
const HEAD: Duration = Duration::from_secs(30);
/// A connection is closed after this, whatever it does: a client that does not read its answer must not hold a place.
const LIFE: Duration = Duration::from_secs(600);
/// How long accepting pauses after it failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the admin port's answers come from. Each is called once per request, on the admin port's runtime.
#[derive(Clone)]
pub struct AdminState {
    /// Whether new calls are welcome: false while draining, never because of an upstream.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The resolved configuration as JSON, without secrets.
    pub config: Arc<dyn Fn() -> String + Send + Sync>,
    /// What the status page shows.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
}

/// A snapshot for people.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Version of the binary.
    pub version: String,
    /// Since the process started.
    pub uptime: Duration,
    /// How many configurations were loaded, the first included.
    pub generation: u64,
    /// One row per tenant.
    pub tenants: Vec<TenantRow>,
    /// One row per upstream.
    pub upstreams: Vec<UpstreamRow>,
    /// Sentences that the operator should read, such as the last failed reload.
    pub notices: Vec<String>,
}

/// A tenant on the status page.
#[derive(Clone, Debug, Default)]
pub struct TenantRow {
    /// Its name.
    pub name: String,
    /// Its plan's name.
    pub plan: String,
    /// Calls between admission and last byte.
    pub in_flight: u64,
    /// Its limits and their levels.
    pub limits: Vec<LimitRow>,
}

/// A limit on the status page.
#[derive(Clone, Debug, Default)]
pub struct LimitRow {
    /// What is limited, such as `tokens` or `requests gpt-5*`.
    pub name: String,
    /// The rate as configured, such as `200k/min`.
    pub quota: String,
    /// Used of the burst now (requests or tokens).
    pub used: u64,
    /// The most at once (requests or tokens).
    pub burst: u64,
}

/// An upstream on the status page.
#[derive(Clone, Debug, Default)]
pub struct UpstreamRow {
    /// Its name.
    pub name: String,
    /// Its provider's dialect.
    pub provider: String,
    /// Its base URL.
    pub base: String,
    /// Its health, in a word.
    pub state: String,
    /// Calls under way there.
    pub in_flight: u64,
    /// Connections open to it.
    pub connections: u64,
}

/// Serves the admin port until `stop` resolves; connections open then are dropped. Run it on a runtime that no call runs on,
/// so that it answers when the workers are busy.
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub async fn serve(listener: Listener, state: AdminState, stop: impl Future<Output = ()>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener.into_std())?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => return Ok(()),
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let state = state.clone();
                connections.spawn(async move {
                    serve_connection(stream, state).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, state: AdminState) {
    let service = ServiceBuilder::new()
        // Numbers of this moment: no proxy may keep them, and no browser may guess another type.
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        // A closure of ours that panics costs one answer, not the port.
        .layer(CatchPanicLayer::new())
        .service_fn(move |request: Request<hyper::body::Incoming>| {
            let answer = answer(&state, request.method(), request.uri().path());
            std::future::ready(Ok::<_, Infallible>(answer))
        });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let _ = tokio::time::timeout(LIFE, connection).await;
}

/// Everything that the admin port can say.
fn answer(state: &AdminState, method: &Method, path: &str) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let known = matches!(path, "/livez" | "/readyz" | "/metrics" | "/config" | "/status");
    if !known {
        let paths = "Not found. Here are /livez /readyz /metrics /config /status.\n";
        return respond(StatusCode::NOT_FOUND, TEXT, paths);
    }
    if method != Method::GET {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "This port is read-only; use GET.\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match path {
        "/livez" => respond(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if (state.ready)() => respond(StatusCode::OK, TEXT, "ready\n"),
        "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", (state.metrics)()),
        "/config" => respond(StatusCode::OK, "application/json", (state.config)()),
        _ => {
            let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page::render(&(state.status)()));
            let policy =
                HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            response
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
