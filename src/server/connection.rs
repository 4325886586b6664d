//! Serves one connection: learns what it speaks, drives it, and ends it so that the client sees the last answer.
//!
//! Must not know where connections come from: a stream is anything that reads and writes.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::drain::{Drain, Stage, Turn};
use super::pulse::{Protocol, Pulse};
use super::stack::{self, Edge, Place};
use super::watchdog::{Verdict, Watchdog};
use super::wire::{Opening, Spoken, Wire};
use super::{Counts, Handler, LINGER, MAX_HEAD, ServerRefusal};

/// How long a connection that was taken at the last moment may still say nothing.
const LATE_HELLO: Duration = Duration::from_secs(1);

/// Most bytes that hyper holds for an HTTP/1 connection, in and out each.
const BUFFER: usize = 64 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const STREAMS: u32 = 100;

/// What a connection runs over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming close a reset. An HTTP/1.0 answer ends where the connection ends, so one that broke off would look
    /// complete after an orderly close. Nothing to do where a close without farewell shows (TLS: no `close_notify`).
    fn reset(&mut self) {}
}

impl Stream for tokio::net::TcpStream {
    fn reset(&mut self) {
        // Fails only on a socket that is gone already.
        let _ = self.set_zero_linger();
    }
}

#[cfg(unix)]
impl Stream for tokio::net::UnixStream {}

/// Serves a stream to its end. What speaks TLS or comes over a Unix socket is served by the same words.
pub async fn serve_stream<S, H>(mut stream: S, peer: SocketAddr, edge: Arc<Edge<H>>)
where
    S: Stream,
    H: Handler,
{
    let mut opening = Opening::default();
    let spoken = tokio::select! {
        spoken = opening.listen(&mut stream) => spoken,
        () = tokio::time::sleep(edge.settings.timeouts.hello) => {
            Counts::add(&edge.counts.timed_out);
            return;
        }
        () = too_late(&edge.drain) => return,
    };
    match spoken {
        Ok(Spoken::Http1) => Box::pin(serve_http1(stream, opening, peer, edge)).await,
        Ok(Spoken::Http2) => Box::pin(serve_http2(stream, opening, peer, edge)).await,
        Ok(Spoken::Nothing) | Err(_) => {}
    }
}

async fn too_late(drain: &Drain) {
    drain.reached(Stage::Closing).await;
    tokio::time::sleep(LATE_HELLO).await;
}

/// How an HTTP/1 connection came to its end.
enum End {
    /// hyper is done with it: the last answer is written.
    Answered,
    /// The client is gone, time is up, or an answer failed: to be dropped as it is.
    Broken,
    /// The client kept us waiting.
    Late(Verdict),
}

async fn serve_http1<S, H>(stream: S, opening: Opening, peer: SocketAddr, edge: Arc<Edge<H>>)
where
    S: Stream,
    H: Handler,
{
    let pulse = Arc::new(Pulse::new(Protocol::Http1));
    let wire = Wire::new(stream, opening, Arc::clone(&pulse), Arc::clone(&edge.render));
    let place = Place { edge: Arc::clone(&edge), pulse: Arc::clone(&pulse), peer };
    let service = service_fn(move |request| stack::call(place.clone(), request));
    let mut http = http1::Builder::new();
    // hyper's own head timer is off, as it also ends idle connections; `pipeline_flush` stays off, as it would hold back an answer
    // while a next request waits. `half_close(false)`: a client that ends its sending side has hung up, and its call is dropped at once.
    http.half_close(false).max_header_size(MAX_HEAD).max_buf_size(BUFFER);
    let mut connection = http.serve_connection(TokioIo::new(wire), service);
    let end = {
        let mut watchdog = pin!(Watchdog::new(&pulse, edge.settings.timeouts));
        let mut turn = pin!(Turn::new(&edge.drain));
        poll_fn(|cx| {
            if let Some(stage) = turn.as_mut().look(cx) {
                if stage >= Stage::Cut {
                    return Poll::Ready(End::Broken);
                }
                // One that has not been asked anything yet may be about to be: its answer will close it.
                if stage >= Stage::Closing && pulse.served() {
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(End::Answered),
                Poll::Ready(Err(error)) if error.is_parse() => Poll::Ready(End::Answered),
                Poll::Ready(Err(_)) => Poll::Ready(End::Broken),
                Poll::Pending => watchdog.as_mut().poll(cx).map(End::Late),
            }
        })
        .await
    };
    let mut wire = match end {
        End::Broken if pulse.ends_with_connection() => return connection.into_parts().io.into_inner().reset(),
        End::Broken => return,
        End::Answered => connection.into_parts().io.into_inner(),
        End::Late(verdict) => {
            Counts::add(&edge.counts.timed_out);
            let mut wire = connection.into_parts().io.into_inner();
            if verdict == Verdict::Stalled {
                return if pulse.ends_with_connection() {
                    wire.reset()
                };
            }
            if verdict == Verdict::SlowHead {
                let _ = tokio::time::timeout(LINGER, wire.refuse(ServerRefusal::RequestTimeout)).await;
            }
            wire
        }
    };
    let unread = pulse.body_open() || pulse.head_since() != 0;
    let most = if unread { edge.settings.max_body } else { 0 };
    tokio::select! {
        _ = tokio::time::timeout(LINGER, close(&mut wire, most)) => {}
        () = edge.drain.reached(Stage::Cut) => {}
    }
}

/// Ends our side, then reads what the client is still sending: closing over unread bytes would make the kernel reset the
/// connection, and the client would lose the answer (RFC 9112 9.6).
async fn close<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, most: u64) -> std::io::Result<()> {
    wire.end().await?;
    wire.discard(most).await
}

async fn serve_http2<S, H>(stream: S, opening: Opening, peer: SocketAddr, edge: Arc<Edge<H>>)
where
    S: Stream,
    H: Handler,
{
    let pulse = Arc::new(Pulse::new(Protocol::Http2));
    let wire = Wire::new(stream, opening, Arc::clone(&pulse), Arc::clone(&edge.render));
    let place = Place { edge: Arc::clone(&edge), pulse: Arc::clone(&pulse), peer };
    let service = service_fn(move |request| stack::call(place.clone(), request));
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buf_size(BUFFER);
    let mut connection = http.serve_connection(TokioIo::new(wire), service);
    let mut watchdog = pin!(Watchdog::new(&pulse, edge.settings.timeouts));
    let mut turn = pin!(Turn::new(&edge.drain));
    poll_fn(|cx| {
        if let Some(stage) = turn.as_mut().look(cx) {
            if stage >= Stage::Cut {
                return Poll::Ready(());
            }
            if stage >= Stage::Closing {
                Pin::new(&mut connection).graceful_shutdown();
                watchdog.as_mut().close_soon();
            }
        }
        loop {
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match watchdog.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Verdict::Idle) => {
                    Pin::new(&mut connection).graceful_shutdown();
                    watchdog.as_mut().close_soon();
                }
                Poll::Ready(_) => {
                    Counts::add(&edge.counts.timed_out);
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}
