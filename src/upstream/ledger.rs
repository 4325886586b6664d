//! Counts the connections of each upstream over all workers, and lets a call wait a moment for one of them.
//!
//! Must not know HTTP or sockets. A connection holds a [`Seat`] for as long as its socket is open; the hot path, which
//! uses a connection again, touches nothing here but one counter.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::UpstreamError;
use super::connection::Connection;
use super::pool::Shelf;

/// The connections of all upstreams; one value for the whole process, handed to the client of every worker.
#[derive(Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<Arc<str>, Arc<Account>>>,
    waiting: Waiting,
    workers: AtomicU64,
}

/// How calls wait for a connection when an upstream has no more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The longest wait; then the call is refused.
    pub longest: Duration,
    /// How many may wait for one upstream; more are refused at once.
    pub places: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting { longest: Duration::from_secs(1), places: 1024 }
    }
}

impl Ledger {
    /// A ledger with waits of its own, for tests and tools.
    #[must_use]
    pub fn with_waiting(waiting: Waiting) -> Self {
        Ledger { waiting, ..Ledger::default() }
    }

    /// Connections that are open to `upstream`, idle ones included, over all workers.
    #[must_use]
    pub fn connections(&self, upstream: &str) -> usize {
        let accounts = lock(&self.accounts);
        accounts.get(upstream).map_or(0, |account| lock(&account.book).open)
    }

    /// Calls that wait for a connection to `upstream`.
    #[must_use]
    pub fn waiting(&self, upstream: &str) -> usize {
        let accounts = lock(&self.accounts);
        accounts
            .get(upstream)
            .map_or(0, |account| lock(&account.book).queue.iter().filter(|waiter| !waiter.tell.is_closed()).count())
    }

    /// A number that tells one worker's pool from another's.
    pub(super) fn next_worker(&self) -> u64 {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn account(&self, upstream: &Arc<str>) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        let fresh = || {
            Arc::new(Account {
                limit: AtomicUsize::new(usize::MAX),
                waiting: self.waiting,
                waiters: AtomicUsize::new(0),
                book: Mutex::default(),
                shelves: Mutex::default(),
            })
        };
        Arc::clone(accounts.entry(Arc::clone(upstream)).or_insert_with(fresh))
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// The connections of one upstream.
pub(super) struct Account {
    limit: AtomicUsize,
    waiting: Waiting,
    /// The length of the queue, so that nobody locks the book to find that it is empty.
    waiters: AtomicUsize,
    book: Mutex<Book>,
    /// The shelves of all workers, to make one of them give up an idle connection.
    shelves: Mutex<Vec<Weak<Shelf>>>,
}

#[derive(Default)]
struct Book {
    open: usize,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    worker: u64,
    tell: oneshot::Sender<Grant>,
}

/// What a call that waited is given.
pub(super) enum Grant {
    /// Leave to open a connection.
    Seat(Seat),
    /// A connection of the same worker, ready for use.
    Connection(Box<Connection>),
}

/// The right to have one connection open; dropping it passes it on.
pub(super) struct Seat(Arc<Account>);

impl Account {
    /// Follows the configuration, which may have changed.
    pub(super) fn set_limit(&self, limit: usize) {
        let limit = limit.max(1);
        if self.limit.load(Ordering::Relaxed) != limit {
            self.limit.store(limit, Ordering::Relaxed);
        }
    }

    /// Makes a worker's shelf known.
    pub(super) fn register(&self, shelf: &Arc<Shelf>) {
        let mut shelves = lock(&self.shelves);
        shelves.retain(|known| known.strong_count() > 0);
        shelves.push(Arc::downgrade(shelf));
    }

    /// Whether a call waits; read after a connection was shelved (see [`Account::wait`]).
    pub(super) fn is_wanted(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0
    }

    /// A seat, now: a free one, or that of an idle connection of any worker, which is closed for it.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut book = lock(&self.book);
        if book.open < limit {
            book.open += 1;
            return Some(Seat(Arc::clone(self)));
        }
        drop(book);
        self.evict()
    }

    /// Waits for a seat or a connection.
    ///
    /// # Errors
    /// `Busy` when too many wait already, or none came within [`Waiting::longest`].
    pub(super) async fn wait(self: &Arc<Self>, worker: u64) -> Result<Grant, UpstreamError> {
        let (tell, told) = oneshot::channel();
        self.enqueue(Waiter { worker, tell })?;
        // Whoever shelves a connection looks at the queue after that, and we look at the shelves after queueing: so
        // one of us sees the other.
        if let Some(seat) = self.take() {
            return Ok(Grant::Seat(seat));
        }
        match tokio::time::timeout(self.waiting.longest, told).await {
            Ok(Ok(grant)) => Ok(grant),
            _ => Err(UpstreamError::Busy),
        }
    }

    /// Gives a ready connection to a call of the same worker that waits, or its seat to one of another worker; hands it
    /// back when nobody waits. (A socket belongs to the runtime that opened it.)
    pub(super) fn hand_over(&self, connection: Box<Connection>, worker: u64) -> Option<Box<Connection>> {
        let Some(waiter) = self.next_waiter(worker) else {
            return Some(connection);
        };
        let grant =
            if waiter.worker == worker { Grant::Connection(connection) } else { Grant::Seat(connection.into_seat()) };
        // A call that has just given up drops the grant, and with it the seat, which then goes to the next.
        let _ = waiter.tell.send(grant);
        None
    }

    fn enqueue(&self, waiter: Waiter) -> Result<(), UpstreamError> {
        let mut book = lock(&self.book);
        if book.queue.len() >= self.waiting.places {
            book.queue.retain(|waiter| !waiter.tell.is_closed());
        }
        let full = book.queue.len() >= self.waiting.places;
        if !full {
            book.queue.push_back(waiter);
        }
        self.waiters.store(book.queue.len(), Ordering::SeqCst);
        if full { Err(UpstreamError::Busy) } else { Ok(()) }
    }

    /// The first that still waits, of this worker if there is one among the first few.
    fn next_waiter(&self, worker: u64) -> Option<Waiter> {
        const FEW: usize = 16;
        let mut book = lock(&self.book);
        while book.queue.front().is_some_and(|waiter| waiter.tell.is_closed()) {
            book.queue.pop_front();
        }
        let near = book.queue.iter().take(FEW).position(|near| near.worker == worker && !near.tell.is_closed());
        let waiter = book.queue.remove(near.unwrap_or(0));
        self.waiters.store(book.queue.len(), Ordering::SeqCst);
        waiter
    }

    fn evict(&self) -> Option<Seat> {
        let shelves: Vec<Arc<Shelf>> = lock(&self.shelves).iter().filter_map(Weak::upgrade).collect();
        shelves.iter().find_map(|shelf| shelf.oldest()).map(|connection| connection.into_seat())
    }

    /// A seat came free: the first that waits gets it, unless the limit has been lowered meanwhile.
    fn vacate(self: &Arc<Self>) {
        let mut book = lock(&self.book);
        let within = book.open <= self.limit.load(Ordering::Relaxed);
        let mut next = None;
        while within && next.is_none() {
            match book.queue.pop_front() {
                Some(waiter) if waiter.tell.is_closed() => {}
                Some(waiter) => next = Some(waiter),
                None => break,
            }
        }
        self.waiters.store(book.queue.len(), Ordering::SeqCst);
        let Some(waiter) = next else {
            book.open = book.open.saturating_sub(1);
            return;
        };
        drop(book);
        let _ = waiter.tell.send(Grant::Seat(Seat(Arc::clone(self))));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.vacate();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
