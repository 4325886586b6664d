//! Opens a connection to an upstream: its addresses in turn, TCP, then TLS.
//!
//! Must not know which call wants it, nor what becomes of it afterwards.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, io::IoSlice};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{Upstream, UpstreamError, Waited};
use crate::net::resolver::Addresses;
use crate::net::tls::TlsClients;

/// A silent peer is probed after this, so that one that vanished during a long wait is noticed.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// A connection, plain or in TLS.
pub(super) enum Socket {
    /// `http://`
    Plain(TcpStream),
    /// `https://`
    Tls(Box<TlsStream<TcpStream>>),
}

/// Tries each address until one answers, all within `deadline`; each may use an equal part of the time that is left,
/// so that a first address that swallows packets leaves time for the second.
///
/// # Errors
/// `Connect` with the last address's fault, or `TimedOut(Connect)` when the time ran out on the last one.
pub(super) async fn open(
    upstream: &Upstream,
    addresses: &Addresses,
    tls: &TlsClients,
    deadline: Option<Instant>,
) -> Result<(Socket, SocketAddr), UpstreamError> {
    let mut fault = UpstreamError::TimedOut(Waited::Connect);
    for (turn, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.count() - turn).unwrap_or(u32::MAX);
        let attempt = attempt(upstream, address, tls);
        let outcome = match deadline {
            None => attempt.await,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let timed = tokio::time::timeout(left / others, attempt).await;
                timed.unwrap_or(Err(UpstreamError::TimedOut(Waited::Connect)))
            }
        };
        match outcome {
            Ok(socket) => return Ok((socket, address)),
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

async fn attempt(upstream: &Upstream, address: SocketAddr, tls: &TlsClients) -> Result<Socket, UpstreamError> {
    let refused = |error: io::Error| UpstreamError::Connect(format!("{address}: {error}"));
    let tcp = TcpStream::connect(address).await.map_err(refused)?;
    tcp.set_nodelay(true).map_err(refused)?;
    SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER)).map_err(refused)?;
    if !upstream.base.tls {
        return Ok(Socket::Plain(tcp));
    }
    let secured = tls.connect(&upstream.name, &upstream.base.host, tcp).await;
    secured.map(|stream| Socket::Tls(Box::new(stream))).map_err(UpstreamError::Connect)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Socket::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Plain(tcp) => tcp.is_write_vectored(),
            Socket::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
