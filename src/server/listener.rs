//! Takes connections and spreads them over the workers.
//!
//! Must not know what is spoken on them. A worker is one thread with a runtime of its own; all workers accept from one shared
//! socket, and a connection stays where it was accepted. Over the cap a connection is accepted, told 503 and closed: a
//! client that is told can go elsewhere, one that waits in the kernel's queue cannot.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::connection::serve_stream;
use super::drain::{Drain, Hold, Seat, Stage};
use super::stack::Edge;
use super::{Counts, Handler, ServerRefusal, Settings};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 4096;
/// A client that sends nothing for so long is asked by its kernel whether it is still there,
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// and so often again, until the kernel gives it up (Linux: after nine).
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How long accepting pauses when the process is out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that is turned away may take to read why.
const TURN_AWAY: Duration = Duration::from_secs(1);
/// How many are told why at once; further ones are closed without a word.
const TURNED_AWAY_AT_ONCE: usize = 256;
/// How many connections a worker may have above its fair share before it lets others accept first.
const SLACK: usize = 4;

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener(StdListener);

impl Listener {
    /// Binds, and lets the kernel queue connections from now on.
    ///
    /// # Errors
    /// What the operating system says, such as `AddrInUse`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit both. Without the first, Nagle's algorithm holds back streamed events; the second notices
        // clients that vanished without a word while their call waits.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener(socket.into()))
    }

    /// Where it listens; tells the port when 0 was asked for.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The socket itself, non-blocking.
    #[must_use]
    pub fn into_std(self) -> StdListener {
        self.0
    }
}

/// A server at work.
#[derive(Debug)]
pub struct Serving {
    drain: Drain,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Lets the workers end, and waits for them. To be called after the drain, when nothing on their runtimes is wanted any
    /// more; it blocks, so not from inside a runtime.
    pub fn stop(self) {
        self.drain.close();
        self.drain.release();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Starts the workers. `handler_for_worker` is called once on each worker's own thread, inside its runtime.
///
/// # Errors
/// When a runtime, a thread or a copy of the socket cannot be had.
pub fn serve<H, F>(listener: Listener, settings: Settings, handler_for_worker: F, drain: Drain) -> io::Result<Serving>
where
    H: Handler,
    F: Fn(usize) -> H + Send + Sync + 'static,
{
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let counts = Arc::new(Counts::default());
    let settings = Arc::new(settings);
    let handler_for_worker = Arc::new(handler_for_worker);
    let mut threads = Vec::with_capacity(workers);
    for index in 0..workers {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener.0.try_clone()?)?
        };
        let hold = drain.hold();
        let (drain, counts, settings) = (drain.clone(), Arc::clone(&counts), Arc::clone(&settings));
        let handler_for_worker = Arc::clone(&handler_for_worker);
        let work = move || {
            runtime.block_on(async move {
                let edge = Arc::new(Edge::new(handler_for_worker(index), settings, drain.clone(), counts));
                Worker { edge, workers, own: Arc::default(), leaving: Arc::default() }.accept(socket, hold).await;
                drain.reached(Stage::Released).await;
            });
        };
        threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(work)?);
    }
    Ok(Serving { drain, counts, threads })
}

struct Worker<H> {
    edge: Arc<Edge<H>>,
    workers: usize,
    /// Connections of this worker.
    own: Arc<AtomicUsize>,
    /// Connections that are being turned away.
    leaving: Arc<AtomicUsize>,
}

/// One more of something, until dropped.
struct OneOf(Arc<AtomicUsize>);

impl OneOf {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        OneOf(Arc::clone(count))
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<H: Handler> Worker<H> {
    async fn accept(&self, listener: TcpListener, _hold: Hold) {
        let mut closing = pin!(self.edge.drain.reached(Stage::Closing));
        let mut paused = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = self.next(&listener) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut paused) {
                        tracing::info!("accepting connections again");
                    }
                    self.take(stream, peer);
                }
                Err(error) if is_exhausted(&error) => {
                    Counts::add(&self.edge.counts.accept_pauses);
                    if !std::mem::replace(&mut paused, true) {
                        tracing::error!(%error, "cannot accept connections for now; raise the limit of open files");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                // The client went away between connecting and being accepted: none of our business.
                Err(_) => tokio::task::yield_now().await,
            }
        }
        self.take_queued(listener);
    }

    /// The next connection; a worker with more than its share steps back for a moment.
    async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let own = self.own.load(Ordering::Relaxed);
        let share = self.edge.drain.connections() / self.workers.max(1);
        if own > share.saturating_add(SLACK) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        listener.accept().await
    }

    /// What the kernel has queued when the listener closes would be reset; it is served instead.
    fn take_queued(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            let Ok((stream, peer)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if let Ok(stream) = TcpStream::from_std(stream) {
                self.take(stream, peer);
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        // Inherited on Linux; elsewhere not. A socket that refuses it is dead already.
        if !cfg!(target_os = "linux") {
            let _ = stream.set_nodelay(true);
        }
        let seat = self.edge.drain.enter();
        if self.edge.drain.connections() > self.edge.settings.max_connections {
            self.turn_away(stream, seat);
            return;
        }
        Counts::add(&self.edge.counts.accepted);
        let one = OneOf::new(&self.own);
        let edge = Arc::clone(&self.edge);
        tokio::spawn(async move {
            serve_stream(stream, peer, edge).await;
            drop((one, seat));
        });
    }

    fn turn_away(&self, mut stream: TcpStream, seat: Seat) {
        Counts::add(&self.edge.counts.turned_away);
        // It does not count against the cap while it reads why, else the cap would feed itself.
        drop(seat);
        let one = OneOf::new(&self.leaving);
        if self.leaving.load(Ordering::Relaxed) > TURNED_AWAY_AT_ONCE {
            return;
        }
        let answer = (self.edge.render)(ServerRefusal::Overloaded);
        tokio::spawn(async move {
            let tell = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                let mut bin = [0; 512];
                while stream.read(&mut bin).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(TURN_AWAY, tell).await;
            drop(one);
        });
    }
}

/// Whether accepting failed for want of descriptors or memory: EMFILE, ENFILE, ENOBUFS, ENOMEM (Linux numbers).
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_do_not_hold_back_events_and_are_probed() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = TcpListener::from_std(listener.into_std()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(stream.nodelay().unwrap() || !cfg!(target_os = "linux"));
        assert!(socket2::SockRef::from(&stream).keepalive().unwrap() || !cfg!(target_os = "linux"));
    }

    #[test]
    fn only_want_of_descriptors_or_memory_pauses_accepting() {
        for number in [12, 23, 24, 105] {
            assert!(is_exhausted(&io::Error::from_raw_os_error(number)));
        }
        for number in [4, 71, 103, 104] {
            assert!(!is_exhausted(&io::Error::from_raw_os_error(number)), "{number} is about one connection only");
        }
    }
}
