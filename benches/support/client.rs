//! Calls over plain TCP with kept connections, and reads answers no further than to their end.
//!
//! Must not understand HTTP beyond status, lengths and chunks.

use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::KEY;

/// A connection that is called on again and again.
pub(crate) struct Connection {
    /// The socket, to be closed as a bench wants it.
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// The bytes of a chat call with this body.
pub(crate) fn chat_call(body: &[u8]) -> Vec<u8> {
    let mut call = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    call.extend_from_slice(body);
    call
}

/// How far an answer is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end.
    End,
    /// To its first event.
    FirstEvent,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, read: Vec::with_capacity(32 * 1024) })
    }

    /// Makes a call and reads its answer; what came of it stays in the connection until the next call. Returns the number of
    /// events, 0 for an answer that is no stream.
    ///
    /// # Errors
    /// Any status but 200, and any connection that ends before the answer does.
    pub(crate) async fn call(&mut self, call: &[u8], until: Until) -> std::io::Result<usize> {
        self.read.clear();
        self.stream.write_all(call).await?;
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(broken("the connection ended before its answer"));
            }
            if self.is_there(until)? {
                break;
            }
        }
        Ok(memmem::find_iter(&self.read, b"data: ").count())
    }

    /// What came with the last answer.
    pub(crate) fn answer(&self) -> &[u8] {
        &self.read
    }

    fn is_there(&self, until: Until) -> std::io::Result<bool> {
        let Some(head) = memmem::find(&self.read, b"\r\n\r\n") else {
            return Ok(false);
        };
        if !self.read.starts_with(b"HTTP/1.1 200") {
            return Err(broken(&String::from_utf8_lossy(&self.read)));
        }
        let body = &self.read[head + 4..];
        if until == Until::FirstEvent {
            return Ok(memmem::find(body, b"\n\n").is_some());
        }
        let head = self.read[..head].to_ascii_lowercase();
        let Some(at) = memmem::find(&head, b"content-length: ") else {
            return Ok(body.ends_with(b"0\r\n\r\n"));
        };
        let digits = head[at + 16..].split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        let length: usize = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Ok(body.len() >= length)
    }
}

/// The body of a page on the admin port.
pub(crate) async fn page(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = Connection::open(admin).await?;
    let call = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\n\r\n");
    connection.call(call.as_bytes(), Until::End).await?;
    Ok(String::from_utf8_lossy(connection.answer()).into_owned())
}

fn broken(why: &str) -> std::io::Error {
    std::io::Error::other(format!("not answered as it should be: {}", why.chars().take(400).collect::<String>()))
}
