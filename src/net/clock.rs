//! Tells a call what time it is; a test tells the clock.
//!
//! Must not know who asks. Arithmetic modules never hold a [`Clock`]: they are handed a [`Moment`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A monotonic point in time: nanoseconds since the origin of its [`Clock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The origin of the clock.
    pub const ORIGIN: Moment = Moment(0);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Moment(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment, `wait` later; saturates after 584 years.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanos))
    }
}

/// The process's monotonic clock, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(tokio::time::Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock whose origin is now. Follows tokio's paused time in tests.
    #[must_use]
    pub fn system() -> Self {
        Clock(Source::System(tokio::time::Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`] is called.
    #[must_use]
    pub fn manual() -> Self {
        Clock(Source::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System(_) => self.at(tokio::time::Instant::now()),
            Source::Manual(nanos) => Moment(nanos.load(Ordering::SeqCst)),
        }
    }

    /// The moment of an instant that was read off the system's clock; on a manual clock, which knows no other, the present.
    #[must_use]
    pub fn at(&self, instant: tokio::time::Instant) -> Moment {
        match &self.0 {
            Source::System(origin) => Moment::ORIGIN.plus(instant.saturating_duration_since(*origin)),
            Source::Manual(_) => self.now(),
        }
    }

    /// Moves a manual clock forward; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(nanos) = &self.0 {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(by, Ordering::SeqCst);
        }
    }
}
