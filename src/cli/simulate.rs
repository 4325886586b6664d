//! Serves the simulator on a port of its own: `tollgate simulate`.
//!
//! Must not know the gateway. A tool for demonstrations, staging and load tests: it asks for no key and trusts whoever
//! reaches it, so it has none of the gateway's guards but a cap on bodies.

use crate::simulator::{self, SimBody, SimFault, Simulator};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The largest request body that is held, in bytes; a form is not held, and may be larger.
pub const MAX_BODY: usize = 64 << 20;
/// How long a connection may be without a request: longer than any client's pool keeps it.
const IDLE: Duration = Duration::from_secs(120);
/// Pause after a failed `accept`: most often there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A request ended without an answer, so its connection must be dropped.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    AsAsked(#[from] SimFault),
    #[error("the request's body could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// Listens on `listen`, says so on standard output, and answers until Ctrl-C or SIGTERM.
///
/// # Errors
/// The address cannot be listened on, or standard output is closed.
pub async fn run(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "the simulator listens on http://{address}/v1 (any key, any model; Ctrl-C ends it)")?;
    tokio::select! {
        ended = serve(listener, Arc::new(Simulator::new())) => ended,
        stopped = stop() => stopped,
    }
}

/// Waits for Ctrl-C, or for SIGTERM, which a process that is the first of its container would otherwise never notice.
async fn stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Answers whoever connects to `listener`, with HTTP/1.1 or HTTP/2 by prior knowledge. Ends when dropped, and all
/// connections with it.
///
/// # Errors
/// None so far: failures to accept are waited out.
pub async fn serve(listener: TcpListener, simulator: Arc<Simulator>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&simulator)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, simulator: Arc<Simulator>) {
    // Without this every event of a stream would wait for the one before it to be acknowledged. A socket that refuses
    // is on its way out.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&simulator), request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    server.http2().timer(TokioTimer::new());
    // How a connection ends is the client's business, or was asked for by a model's name.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(simulator: Arc<Simulator>, request: Request<Incoming>) -> Result<Response<SimBody>, Unanswered> {
    let (parts, body) = request.into_parts();
    // Forms hold files: they are read as they come, whatever their size.
    if simulator::is_form(&parts.headers) {
        let upload = simulator::read_form(&parts.headers, body).await?;
        return Ok(simulator.answer_form(&parts.method, parts.uri.path(), upload).await?);
    }
    match collect(body).await? {
        Some(body) => Ok(simulator.answer(&parts.method, parts.uri.path(), body).await?),
        None => Ok(simulator::too_large(MAX_BODY)),
    }
}

/// The whole body; none if it is larger than [`MAX_BODY`].
async fn collect(body: Incoming) -> Result<Option<Bytes>, Unanswered> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(None);
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(Some(whole.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(Unanswered::Body(error)),
    }
}

#[cfg(test)]
mod tests;
