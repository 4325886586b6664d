//! Scripted servers and a client to call them with.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

pub(super) use super::super::*;
pub(super) use crate::net::resolver::Resolver;
pub(super) use crate::net::tls::{Peer as TlsPeer, TlsClients};
pub(super) use crate::wire::endpoint::Endpoint;

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that runs the same script on each connection.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The server's side of one connection.
pub(super) struct Peer {
    pub(super) tcp: TcpStream,
    /// How many connections were accepted before it.
    pub(super) number: usize,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    pub(super) async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Peer) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Server { address, accepted: Arc::clone(&accepted), requests: Arc::clone(&requests) };
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Peer { tcp, number, requests: Arc::clone(&requests) }));
            }
        });
        server
    }

    /// Answers every request of every connection with `answer`.
    pub(super) async fn answering(answer: &'static [u8]) -> Self {
        Server::start(move |mut peer| async move { while peer.serve(answer).await {} }).await
    }

    /// Reads one request, sends `answer`, closes.
    pub(super) async fn closing_after(answer: &'static [u8]) -> Self {
        Server::start(move |mut peer| async move {
            peer.serve(answer).await;
        })
        .await
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn upstream(&self) -> Upstream {
        upstream(&format!("http://{}/v1", self.address))
    }
}

impl Peer {
    /// A whole request, or nothing if the other side closed first.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = whole(&bytes) {
                assert_eq!(bytes.len(), end, "the client sent more than one request at once");
                self.requests.lock().unwrap().push(bytes.clone());
                return Some(bytes);
            }
            match self.tcp.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes).await;
    }

    pub(super) async fn serve(&mut self, answer: &[u8]) -> bool {
        let asked = self.read().await.is_some();
        if asked {
            self.send(answer).await;
        }
        asked
    }

    /// Waits until the other side is gone.
    pub(super) async fn gone(&mut self) {
        let mut sink = [0; 1024];
        while !matches!(self.tcp.read(&mut sink).await, Ok(0) | Err(_)) {}
    }
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (bytes.len() >= end).then_some(end)
}

pub(super) fn upstream(base: &str) -> Upstream {
    Upstream {
        name: "up".into(),
        provider: Provider::Compatible,
        base: BaseUri::parse(base).unwrap(),
        authorization: Some(HeaderValue::from_static("Bearer ours")),
        headers: Vec::new(),
        timeouts: Timeouts::default(),
        max_connections: 16,
        pool: PoolLimits::default(),
        usage_in_stream: true,
        on_disconnect: crate::upstream::OnDisconnect::Cancel,
        simulated: false,
    }
}

pub(super) fn client() -> Client {
    client_with(&Arc::new(Ledger::default()))
}

pub(super) fn client_with(ledger: &Arc<Ledger>) -> Client {
    Client::new(Arc::new(TlsClients::none()), Resolver::system(), Arc::clone(ledger))
}

pub(super) async fn send(
    client: &Client,
    upstream: &Arc<Upstream>,
    body: &'static [u8],
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let body = OutBody::from(Bytes::from_static(body));
    client.clone().call(shape(upstream, Endpoint::ChatCompletions, HeaderMap::new(), body)).await
}

/// A whole call: the answer's status and body.
pub(super) async fn call(client: &Client, upstream: &Arc<Upstream>) -> Result<(u16, Bytes), UpstreamError> {
    let answer = send(client, upstream, b"{}").await?;
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}
