//! Plays an upstream on plain TCP: records what comes to the byte, and sends what a script says, whatever that is.
//!
//! Must not understand HTTP beyond heads and `content-length`, and must never wait for time to pass.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Head, PATIENCE, shown};

/// Something that a script and a test wait for, or tell each other. Once open, it stays so.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(crate) async fn opened(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What the upstream does with one call, once the request is there whole.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    steps: Vec<Step>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Bytes),
    Tell(Gate),
    Wait(Gate),
}

/// What happens to the connection after a script's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next request may come.
    KeepAlive,
    /// An orderly close (FIN).
    Close,
    /// A reset (RST).
    Reset,
    /// Nothing, until the peer closes.
    Hang,
}

impl Script {
    /// Says nothing, keeps the connection.
    pub(crate) fn new() -> Script {
        Script { steps: Vec::new(), then: Then::KeepAlive }
    }

    /// A whole answer with its length.
    pub(crate) fn answer(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Script {
        Script::answer_with(status, content_type, &[], body)
    }

    /// A whole answer with its length and more headers.
    pub(crate) fn answer_with(
        status: u16,
        content_type: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Script {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} Said\r\ncontent-type: {content_type}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        Script::new().send([head.as_bytes(), body].concat())
    }

    /// A whole JSON answer.
    pub(crate) fn json(status: u16, body: impl AsRef<[u8]>) -> Script {
        Script::answer(status, "application/json", body)
    }

    /// A whole event stream, each piece a chunk and a write of its own.
    pub(crate) fn stream<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Script {
        pieces.into_iter().fold(Script::stream_head(), |script, piece| script.chunk(piece)).last_chunk()
    }

    /// The head of an event stream in chunks.
    pub(crate) fn stream_head() -> Script {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        Script::new().send(head)
    }

    /// Writes these bytes.
    pub(crate) fn send(mut self, bytes: impl AsRef<[u8]>) -> Script {
        self.steps.push(Step::Send(Bytes::copy_from_slice(bytes.as_ref())));
        self
    }

    /// Writes a chunk; nothing for an empty one, which would be the last.
    pub(crate) fn chunk(self, data: impl AsRef<[u8]>) -> Script {
        let data = data.as_ref();
        if data.is_empty() {
            return self;
        }
        self.send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
    }

    /// Writes the last chunk.
    pub(crate) fn last_chunk(self) -> Script {
        self.send("0\r\n\r\n")
    }

    /// Opens a gate.
    pub(crate) fn tell(mut self, gate: &Gate) -> Script {
        self.steps.push(Step::Tell(gate.clone()));
        self
    }

    /// Waits for a gate, or until the peer closes.
    pub(crate) fn wait(mut self, gate: &Gate) -> Script {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// What becomes of the connection.
    pub(crate) fn then(mut self, then: Then) -> Script {
        self.then = then;
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
}

/// How a peer closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With an orderly end.
    End,
    /// With a reset.
    Reset,
}

/// A connection that its peer closed.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) connection: usize,
    /// The number of the call that was not answered to its end; `None` between calls.
    pub(crate) during: Option<usize>,
    pub(crate) how: How,
    pub(crate) at: Instant,
}

type Chooser = dyn Fn(&Received) -> Script + Send + Sync;

#[derive(Default)]
struct State {
    queue: VecDeque<Script>,
    received: Vec<Received>,
    closed: Vec<Closed>,
    connections: usize,
    panicked: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    otherwise: Box<Chooser>,
}

/// The upstream.
pub(crate) struct MockUpstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl MockUpstream {
    /// Plays the scripts that are pushed, then fails the test on each further call.
    pub(crate) async fn start() -> MockUpstream {
        MockUpstream::choosing(|received| panic!("no script for {}", shown(&received.head.raw))).await
    }

    /// Plays the same script for each call.
    pub(crate) async fn playing(script: Script) -> MockUpstream {
        MockUpstream::choosing(move |_| script.clone()).await
    }

    /// Plays the scripts that are pushed, then those that `otherwise` chooses by the request.
    pub(crate) async fn choosing(otherwise: impl Fn(&Received) -> Script + Send + Sync + 'static) -> MockUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            otherwise: Box::new(otherwise),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        MockUpstream { address, shared, accepting }
    }

    /// Plays this for the next call that has no script yet.
    pub(crate) fn push(&self, script: Script) {
        self.shared.lock().queue.push_back(script);
    }

    /// What a configuration calls it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests that came whole so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// The request with this number, from 0, as soon as it is there.
    pub(crate) async fn request(&self, number: usize) -> Received {
        self.until(&format!("request {number}"), |state| state.received.get(number).cloned()).await
    }

    /// When and how its peer closed in the middle of this call.
    pub(crate) async fn closed_during(&self, call: usize) -> Closed {
        let closed = |state: &State| state.closed.iter().find(|closed| closed.during == Some(call)).cloned();
        self.until(&format!("a close during call {call}"), closed).await
    }

    /// Closes that broke a call off, so far.
    pub(crate) fn closed(&self) -> Vec<Closed> {
        self.shared.lock().closed.clone()
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = look(&self.shared.lock()) {
                    return found;
                }
                let _ = changed.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => {
                let state = self.shared.lock();
                panic!("the upstream waited in vain for {what}; closed: {:?}", state.closed)
            }
        }
    }
}

impl Drop for MockUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
        let panicked = self.shared.lock().panicked;
        assert!(!panicked || std::thread::panicking(), "the upstream's script panicked: see above");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, write: impl FnOnce(&mut State)) {
        write(&mut self.lock());
        self.changed.send_replace(());
    }

    fn script(&self, received: &Received) -> Script {
        let queued = self.lock().queue.pop_front();
        queued.unwrap_or_else(|| (self.otherwise)(received))
    }
}

/// Notices that a connection's task unwinds.
struct PanicWatch(Arc<Shared>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note(|state| state.panicked = true);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut number = 0;
        shared.note(|state| {
            number = state.connections;
            state.connections += 1;
        });
        tokio::spawn(serve(tcp, number, Arc::clone(&shared)));
    }
}

async fn serve(mut tcp: TcpStream, connection: usize, shared: Arc<Shared>) {
    let _watch = PanicWatch(Arc::clone(&shared));
    let mut buffer = Vec::new();
    loop {
        let received = match read_request(&mut tcp, &mut buffer, connection).await {
            Ok(received) => received,
            Err(how) => return shared.note(|state| state.closed.push(closed(connection, None, how))),
        };
        let mut call = 0;
        shared.note(|state| {
            call = state.received.len();
            state.received.push(received.clone());
        });
        let script = shared.script(&received);
        let played = play(&mut tcp, &mut buffer, &script).await;
        match (played, script.then) {
            (Ok(()), Then::KeepAlive) => {}
            (Ok(()), Then::Close) => return,
            (Ok(()), Then::Reset) => {
                return socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
            }
            (Ok(()), Then::Hang) => {
                let (mut reading, _) = tcp.split();
                let how = gone(&mut reading, &mut buffer).await;
                return shared.note(|state| state.closed.push(closed(connection, Some(call), how)));
            }
            (Err(how), _) => return shared.note(|state| state.closed.push(closed(connection, Some(call), how))),
        }
    }
}

fn closed(connection: usize, during: Option<usize>, how: How) -> Closed {
    Closed { connection, during, how, at: Instant::now() }
}

async fn read_request(tcp: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Result<Received, How> {
    loop {
        if let Some(head) = Head::parse(buffer) {
            let end = head.raw.len() + head.content_length().unwrap_or(0);
            if buffer.len() >= end {
                let body = buffer[head.raw.len()..end].to_vec();
                buffer.drain(..end);
                return Ok(Received { head, body, connection });
            }
            buffer.reserve(end - buffer.len());
        }
        match tcp.read_buf(buffer).await {
            Ok(0) => return Err(How::End),
            Ok(_) => {}
            Err(_) => return Err(How::Reset),
        }
    }
}

async fn play(tcp: &mut TcpStream, buffer: &mut Vec<u8>, script: &Script) -> Result<(), How> {
    let (mut reading, mut writing) = tcp.split();
    for step in &script.steps {
        match step {
            Step::Send(bytes) => tokio::select! {
                written = writing.write_all(bytes) => written.map_err(|_| How::Reset)?,
                how = gone(&mut reading, buffer) => return Err(how),
            },
            Step::Tell(gate) => gate.open(),
            Step::Wait(gate) => tokio::select! {
                () = gate.opened() => {}
                how = gone(&mut reading, buffer) => return Err(how),
            },
        }
    }
    Ok(())
}

/// Waits until the peer closes. What it still sends is kept for the next request.
async fn gone(reading: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) -> How {
    loop {
        match reading.read_buf(buffer).await {
            Ok(0) => return How::End,
            Ok(_) => {}
            Err(_) => return How::Reset,
        }
    }
}
