//! Calls the gateway over plain TCP, byte by byte as a test wants it, and keeps what comes back as it came.
//!
//! Must not understand HTTP beyond heads, lengths and chunks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::Chunks;
use super::{Head, KEY, position, shown, within};

/// A connection to the gateway.
pub(crate) struct RawClient {
    tcp: TcpStream,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
}

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As its framing says.
    Whole,
    /// The connection ended before that.
    Cut,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// Without chunk sizes.
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Ended,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", shown(&self.body)))
    }

    /// `error.code` of an error in OpenAI's shape.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The bytes of a POST with a key, a JSON body and its length.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        head.push_str(&format!("authorization: Bearer {KEY}\r\n"));
    }
    head.push_str("content-type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> RawClient {
        let tcp = within("a connection to the gateway", TcpStream::connect(address)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        RawClient { tcp, buffer: Vec::new() }
    }

    /// Sends exactly these bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within("the gateway to read", self.tcp.write_all(bytes)).await.unwrap();
    }

    /// Posts a body and waits for the whole answer.
    pub(crate) async fn call(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = post(path, headers, body);
        self.write(&request).await;
        self.answer().await
    }

    /// Whether more came; `false` at the connection's end, however it ended.
    async fn more(&mut self) -> bool {
        matches!(within("bytes from the gateway", self.tcp.read_buf(&mut self.buffer)).await, Ok(1..))
    }

    /// The head of the next answer.
    pub(crate) async fn head(&mut self) -> Head {
        loop {
            if let Some(head) = Head::parse(&self.buffer) {
                self.buffer.drain(..head.raw.len());
                return head;
            }
            assert!(self.more().await, "the connection ended before an answer's head: {}", shown(&self.buffer));
        }
    }

    /// Everything up to and with `needle`, framing included.
    pub(crate) async fn until(&mut self, needle: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = position(&self.buffer, needle) {
                return self.buffer.drain(..at + needle.len()).collect();
            }
            assert!(self.more().await, "{} never came: {}", shown(needle), shown(&self.buffer));
        }
    }

    /// Reads on in a body that comes in chunks until `needle` stands in it, however it was cut.
    pub(crate) async fn data_until(&mut self, needle: &[u8]) {
        while position(&Chunks::parse(&self.buffer).data, needle).is_none() {
            assert!(self.more().await, "{} never came: {}", shown(needle), shown(&self.buffer));
        }
    }

    /// Everything until the connection ends, framing included.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// The next answer, whole or as far as it came.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let (body, ended) = self.body(&head).await;
        Answer { head, body, ended }
    }

    /// The body that belongs to `head`.
    pub(crate) async fn body(&mut self, head: &Head) -> (Vec<u8>, Ended) {
        if head.is_chunked() {
            let mut seen = 0;
            loop {
                // Parsed again only when much came, or the end may be here: bodies of megabytes come in many reads.
                if self.buffer.ends_with(b"0\r\n\r\n") || self.buffer.len() > 2 * seen {
                    seen = self.buffer.len();
                    let chunks = Chunks::parse(&self.buffer);
                    if let Some(end) = chunks.end {
                        self.buffer.drain(..end);
                        return (chunks.data, Ended::Whole);
                    }
                }
                if !self.more().await {
                    return (Chunks::parse(&std::mem::take(&mut self.buffer)).data, Ended::Cut);
                }
            }
        }
        let Some(length) = head.content_length() else {
            return (self.rest().await, Ended::Whole);
        };
        while self.buffer.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.buffer), Ended::Cut);
            }
        }
        (self.buffer.drain(..length).collect(), Ended::Whole)
    }

    /// Ends the connection in order (FIN).
    pub(crate) fn close(self) {}

    /// Ends the connection with a reset (RST).
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
