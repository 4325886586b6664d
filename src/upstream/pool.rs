//! Keeps the idle connections of one worker, and finds one for a call or opens it.
//!
//! Must not know what is sent. Of each upstream there is a shelf; on it one stack per address, taken from the top, so
//! that surplus connections grow old at the bottom and go. A once-a-second sweep closes what is too old, unused for
//! too long, or closed by the other side; it runs only while something is on the shelf.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Address, Connection};
use super::ledger::{Account, Grant, Ledger, Seat};
use super::open::open;
use super::timer::{after, earlier};
use super::{Upstream, UpstreamError, Waited};
use crate::net::resolver::{Addresses, Resolver};
use crate::net::tls::TlsClients;

/// How often idle connections are looked after.
const SWEEP: Duration = Duration::from_secs(1);

/// The connections of one worker.
pub(super) struct Pool {
    ledger: Arc<Ledger>,
    tls: Arc<TlsClients>,
    resolver: Resolver,
    worker: u64,
    shelves: Mutex<HashMap<Arc<str>, Arc<Shelf>, foldhash::fast::RandomState>>,
}

/// The idle connections of a worker to one upstream.
pub(super) struct Shelf {
    account: Arc<Account>,
    worker: u64,
    idle: Mutex<Idle>,
}

/// Boxed, as a connection is larger than what moving it about should cost.
type Resting = Vec<Box<Connection>>;

#[derive(Default)]
struct Idle {
    stacks: Vec<Stack>,
    swept: bool,
}

struct Stack {
    address: Address,
    connections: Resting,
}

/// Whether a call may use a connection that has served another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Yes; opening one is dearer.
    Allowed,
    /// No: one has just turned out to be dead.
    Never,
}

/// A connection for a call.
pub(super) struct Found {
    pub(super) connection: Box<Connection>,
    pub(super) reused: bool,
}

impl Pool {
    pub(super) fn new(ledger: Arc<Ledger>, tls: Arc<TlsClients>, resolver: Resolver) -> Self {
        let worker = ledger.next_worker();
        Pool { ledger, tls, resolver, worker, shelves: Mutex::default() }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The shelf of `upstream`, by name: a reload that changes only its settings keeps its connections.
    pub(super) fn shelf(&self, upstream: &Upstream) -> Arc<Shelf> {
        let mut shelves = lock(&self.shelves);
        let shelf = match shelves.get(&upstream.name) {
            Some(shelf) => Arc::clone(shelf),
            None => {
                let account = self.ledger.account(&upstream.name);
                let shelf = Arc::new(Shelf { account, worker: self.worker, idle: Mutex::default() });
                shelf.account.register(&shelf);
                shelves.insert(Arc::clone(&upstream.name), Arc::clone(&shelf));
                shelf
            }
        };
        drop(shelves);
        shelf.account.set_limit(upstream.max_connections);
        shelf
    }

    /// An idle connection to one of the upstream's present addresses, if these are known and there is one.
    pub(super) fn idle(&self, upstream: &Upstream, shelf: &Shelf, reuse: Reuse) -> Option<Found> {
        if reuse == Reuse::Never {
            return None;
        }
        let addresses = self.resolver.known(&upstream.base.host, upstream.base.port)?;
        let tls = upstream.base.tls.then_some(&upstream.base.host);
        let connection = shelf.newest(&addresses, tls)?;
        Some(Found { connection, reused: true })
    }

    /// An idle connection to one of the upstream's present addresses, or a new one.
    ///
    /// # Errors
    /// `Busy`, `Connect` or `TimedOut(Connect)`; nothing was sent.
    pub(super) async fn find(
        &self,
        upstream: &Upstream,
        shelf: &Arc<Shelf>,
        reuse: Reuse,
        end: Option<Instant>,
    ) -> Result<Found, UpstreamError> {
        let base = &upstream.base;
        let tls = base.tls.then(|| Arc::clone(&base.host));
        let addresses = match self.resolver.known(&base.host, base.port) {
            Some(addresses) => addresses,
            None => {
                let deadline = earlier(after(Instant::now(), upstream.timeouts.connect), end);
                self.lookup(upstream, deadline).await?
            }
        };
        if reuse == Reuse::Allowed
            && let Some(connection) = shelf.newest(&addresses, tls.as_ref())
        {
            return Ok(Found { connection, reused: true });
        }
        let seat = match shelf.account.take() {
            Some(seat) => seat,
            None => match shelf.account.wait(self.worker).await? {
                Grant::Seat(seat) => seat,
                Grant::Connection(connection) if reuse == Reuse::Allowed && connection.leads_to(&addresses, &tls) => {
                    return Ok(Found { connection, reused: true });
                }
                Grant::Connection(connection) => connection.into_seat(),
            },
        };
        let deadline = earlier(after(Instant::now(), upstream.timeouts.connect), end);
        let connection = self.open(upstream, &addresses, tls, seat, deadline).await?;
        Ok(Found { connection, reused: false })
    }

    async fn lookup(&self, upstream: &Upstream, deadline: Option<Instant>) -> Result<Addresses, UpstreamError> {
        let lookup = self.resolver.lookup(&upstream.base.host, upstream.base.port);
        let found = match deadline {
            None => lookup.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline, lookup).await.map_err(|_| UpstreamError::TimedOut(Waited::Connect))?
            }
        };
        found.map_err(|error| UpstreamError::Connect(error.to_string()))
    }

    async fn open(
        &self,
        upstream: &Upstream,
        addresses: &Addresses,
        tls: Option<Arc<str>>,
        seat: Seat,
        deadline: Option<Instant>,
    ) -> Result<Box<Connection>, UpstreamError> {
        let (socket, address) = open(upstream, addresses, &self.tls, deadline).await?;
        let mut connection = Connection::new(socket, Address { socket: address, tls }, seat).await?;
        connection.retires = after(Instant::now(), jittered(upstream.pool.age));
        connection.idle_limit = upstream.pool.idle;
        Ok(Box::new(connection))
    }
}

impl Connection {
    fn leads_to(&self, addresses: &Addresses, tls: &Option<Arc<str>>) -> bool {
        self.address.tls == *tls && addresses.iter().any(|address| address == self.address.socket)
    }
}

impl Shelf {
    /// Takes back a connection whose call has ended; a call that waits gets it first. Call it on the worker that uses
    /// the connection.
    pub(super) fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        let now = Instant::now();
        connection.rest(now);
        if connection.is_retired(now) {
            return;
        }
        if !self.push(connection) {
            return;
        }
        while self.account.is_wanted() {
            let Some(connection) = self.oldest() else { return };
            if let Some(unwanted) = self.account.hand_over(connection, self.worker) {
                self.push(unwanted);
                return;
            }
        }
    }

    /// The connection that has been idle for longest.
    pub(super) fn oldest(&self) -> Option<Box<Connection>> {
        let mut idle = lock(&self.idle);
        let stack = idle
            .stacks
            .iter_mut()
            .filter(|stack| !stack.connections.is_empty())
            .min_by_key(|stack| stack.connections.first().map(|connection| connection.shelved))?;
        Some(stack.connections.remove(0))
    }

    /// The connection to one of these addresses that was used last and is still good.
    fn newest(&self, addresses: &Addresses, tls: Option<&Arc<str>>) -> Option<Box<Connection>> {
        let now = Instant::now();
        for socket in addresses.iter() {
            while let Some(mut connection) = self.pop(socket, tls) {
                if connection.still_good(now) {
                    return Some(connection);
                }
            }
        }
        None
    }

    fn pop(&self, socket: std::net::SocketAddr, tls: Option<&Arc<str>>) -> Option<Box<Connection>> {
        let mut idle = lock(&self.idle);
        let mut stacks = idle.stacks.iter_mut();
        let stack = stacks.find(|stack| stack.address.socket == socket && stack.address.tls.as_ref() == tls)?;
        stack.connections.pop()
    }

    /// `false` outside a runtime, where nobody would look after it: then it is closed.
    fn push(self: &Arc<Self>, connection: Box<Connection>) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let mut idle = lock(&self.idle);
        match idle.stacks.iter_mut().find(|stack| stack.address == connection.address) {
            Some(stack) => stack.connections.push(connection),
            None => {
                let address = connection.address.clone();
                idle.stacks.push(Stack { address, connections: vec![connection] });
            }
        }
        if !std::mem::replace(&mut idle.swept, true) {
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
        true
    }

    /// Takes out what must go; says whether anything is left to look after.
    fn sort_out(&self, now: Instant) -> (Resting, bool) {
        let mut idle = lock(&self.idle);
        let mut gone = Resting::new();
        for stack in &mut idle.stacks {
            gone.extend(stack.connections.extract_if(.., |connection| !connection.still_good(now)));
        }
        idle.stacks.retain(|stack| !stack.connections.is_empty());
        idle.swept = !idle.stacks.is_empty();
        (gone, idle.swept)
    }
}

async fn sweep(shelf: Weak<Shelf>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let (gone, more) = shelf.sort_out(Instant::now());
        drop(gone);
        if !more {
            return;
        }
    }
}

/// Up to a tenth less, so that connections opened together do not all retire together.
fn jittered(age: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    let less = (age / 10).mul_f64(f64::from(random) / f64::from(u32::MAX));
    age.saturating_sub(less)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
