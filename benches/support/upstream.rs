//! Plays an upstream on loopback: answers at once, streams event by event, or holds a stream open until its client leaves.
//!
//! What a call gets follows from words in its body. Must not understand HTTP beyond heads, lengths and chunks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::texts;

/// Text events in a stream.
pub(crate) const EVENTS: usize = 64;
/// The model whose streams are held open: an event at once, then one every 10 ms, and no end. Followed by a number.
pub(crate) const HELD: &str = "held-";
/// As [`HELD`], with one event and then silence.
pub(crate) const SILENT: &str = "silent-";

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const PAUSE: Duration = Duration::from_millis(10);

/// A held stream whose client went away.
pub(crate) struct Left {
    /// The number in its model's name.
    pub(crate) number: u64,
    /// When its connection was seen to end.
    pub(crate) at: Instant,
}

struct Answers {
    json: Vec<u8>,
    /// Each in a chunk of its own.
    plain: Vec<Vec<u8>>,
    with_usage: Vec<Vec<u8>>,
    left: mpsc::UnboundedSender<Left>,
}

/// Starts it on the runtime that this is called in.
pub(crate) async fn start() -> std::io::Result<(SocketAddr, mpsc::UnboundedReceiver<Left>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let answer = texts::answer();
    let mut json =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len())
            .into_bytes();
    json.extend_from_slice(&answer);
    let chunks = |usage| texts::events(EVENTS, usage).iter().map(chunk).collect();
    let (tell, left) = mpsc::unbounded_channel();
    let answers = Arc::new(Answers { json, plain: chunks(false), with_usage: chunks(true), left: tell });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                // A connection that breaks is its client's affair.
                let _ = serve(stream, &answers).await;
            });
        }
    });
    Ok((address, left))
}

fn chunk(event: &Bytes) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
    chunk.extend_from_slice(event);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut read = Vec::with_capacity(4 * 1024);
    loop {
        let end = loop {
            if let Some(end) = request_end(&read) {
                break end;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let has = |words: &str| memmem::find(&read[..end], words.as_bytes()).is_some();
        if let Some(number) = number_after(&read[..end], HELD) {
            return hold(stream, answers, number, Some(PAUSE)).await;
        }
        if let Some(number) = number_after(&read[..end], SILENT) {
            return hold(stream, answers, number, None).await;
        }
        if has("\"stream\":true") {
            let events = if has("\"include_usage\":true") { &answers.with_usage } else { &answers.plain };
            stream.write_all(STREAM_HEAD).await?;
            for event in events {
                stream.write_all(event).await?;
                // Others have their turn between two events, as between two tokens.
                tokio::task::yield_now().await;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        } else {
            stream.write_all(&answers.json).await?;
        }
        read.drain(..end);
    }
}

/// Where the first request of these bytes ends; `None` if more must come.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let length = number_after(&bytes[..head].to_ascii_lowercase(), "content-length: ").unwrap_or(0);
    let end = head + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some(end)
}

fn number_after(bytes: &[u8], mark: &str) -> Option<u64> {
    let at = memmem::find(bytes, mark.as_bytes())? + mark.len();
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[at..at + digits]).ok()?.parse().ok()
}

/// A stream that only its client ends.
async fn hold(mut stream: TcpStream, answers: &Answers, number: u64, pause: Option<Duration>) -> std::io::Result<()> {
    stream.write_all(STREAM_HEAD).await?;
    let mut rest = [0; 256];
    for event in answers.plain[..EVENTS].iter().cycle() {
        let written = stream.write_all(event).await;
        let closed = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
        let over = match pause {
            _ if written.is_err() => true,
            Some(pause) => tokio::time::timeout(pause, closed).await.is_ok(),
            None => {
                closed.await;
                true
            }
        };
        if over {
            break;
        }
    }
    let _ = answers.left.send(Left { number, at: Instant::now() });
    Ok(())
}
