//! Calls the gateway over HTTP/2 with prior knowledge, and can leave in each of the ways that HTTP/2 knows.
//!
//! Must not know what a call is about.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{KEY, within};

/// A request body whose pieces come from a test.
pub(crate) struct ClientBody(mpsc::UnboundedReceiver<Bytes>);

/// The other end of an open [`ClientBody`]; dropping it ends the body.
pub(crate) type OpenBody = mpsc::UnboundedSender<Bytes>;

impl ClientBody {
    /// A body in one piece.
    pub(crate) fn whole(bytes: &[u8]) -> ClientBody {
        let (pieces, body) = ClientBody::open();
        let _ = pieces.send(Bytes::copy_from_slice(bytes));
        body
    }

    /// A body that goes on as long as its sender lives.
    pub(crate) fn open() -> (OpenBody, ClientBody) {
        let (pieces, body) = mpsc::unbounded_channel();
        (pieces, ClientBody(body))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A connection to the gateway that speaks HTTP/2.
pub(crate) struct Http2Client {
    sender: http2::SendRequest<ClientBody>,
    driver: JoinHandle<()>,
}

impl Http2Client {
    pub(crate) async fn connect(address: SocketAddr) -> Http2Client {
        let tcp = within("a connection to the gateway", TcpStream::connect(address)).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp));
        let (sender, connection) = within("the HTTP/2 handshake", handshake).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Http2Client { sender, driver }
    }

    /// A POST with a key; the answer comes when it is awaited. Dropping that resets the stream.
    pub(crate) fn post(
        &self,
        path: &str,
        body: ClientBody,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + 'static {
        self.post_as("application/json", path, body)
    }

    /// The same, with a body of another type.
    pub(crate) fn post_as(
        &self,
        content_type: &str,
        path: &str,
        body: ClientBody,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + 'static {
        let request = Request::post(format!("http://gateway{path}"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", content_type)
            .body(body)
            .unwrap();
        // Queued now and not when it is first polled: calls go out in the order in which they were made.
        self.sender.clone().send_request(request)
    }

    /// Posts and waits for the head of the answer.
    pub(crate) async fn call(&self, path: &str, body: &[u8]) -> Response<Incoming> {
        within("an answer over HTTP/2", self.post(path, ClientBody::whole(body))).await.unwrap()
    }

    /// A call that leaves no record, and its answer: all that was sent before it on this connection has been read then.
    pub(crate) async fn probe(&self) {
        let request = Request::get("http://gateway/v1/models").body(ClientBody::whole(b"")).unwrap();
        let mut sender = self.sender.clone();
        let answer = within("an answer over HTTP/2", sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 401, "it shows no key");
    }

    /// Ends the whole connection, as a process that dies.
    pub(crate) async fn drop_connection(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}

/// The body of an answer as far as it came, and the error that it ended with.
pub(crate) async fn collect(mut body: Incoming) -> (Vec<u8>, Option<hyper::Error>) {
    let mut bytes = Vec::new();
    loop {
        match within("a frame over HTTP/2", body.frame()).await {
            None => return (bytes, None),
            Some(Err(error)) => return (bytes, Some(error)),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
        }
    }
}

/// Whether an answer ended because its stream was reset, and not its connection.
pub(crate) fn is_reset(error: &hyper::Error) -> bool {
    let text = format!("{error:?}");
    text.contains("Reset(StreamId(") && text.contains("Remote")
}
