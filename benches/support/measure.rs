//! Times a piece of work and counts its allocations.
//!
//! The allocator is the program's own, the system's, wrapped by one that can count: lints forbid `unsafe` in this package,
//! benches included, so the wrapper comes from a crate. It counts only while it is told to, and only what the measuring thread does;
//! while time is taken it costs about two nanoseconds an allocation. Growing a buffer counts as an allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracking_allocator::{AllocationGroupId, AllocationGroupToken, AllocationRegistry, AllocationTracker, Allocator};

use crate::report::percentile;

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

/// Allocations in the measured group.
static COUNTED: AtomicU64 = AtomicU64::new(0);

/// Batches of which the median is taken.
const BATCHES: usize = 21;
/// The least that a batch lasts.
const BATCH: Duration = Duration::from_millis(5);
/// Rounds whose allocations are counted.
const ROUNDS: u64 = 64;

struct Counter;

impl AllocationTracker for Counter {
    fn allocated(&self, _: usize, _: usize, _: usize, group: AllocationGroupId) {
        if group != AllocationGroupId::ROOT {
            COUNTED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {}
}

/// What one piece of work takes.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// Median over the batches.
    pub(crate) nanos: f64,
    /// Mean.
    pub(crate) allocations: f64,
}

impl Figure {
    /// What is left of it without `part`, for one of `number` pieces.
    pub(crate) fn without(self, part: Figure, number: f64) -> Figure {
        Figure {
            nanos: (self.nanos - part.nanos) / number,
            allocations: (self.allocations - part.allocations) / number,
        }
    }

    /// As cells of the table.
    pub(crate) fn cells(self) -> [String; 2] {
        let nanos = self.nanos;
        let time = if nanos < 1_000.0 { format!("{nanos:.1}") } else { format!("{nanos:.0}") };
        [time, format!("{:.2}", self.allocations)]
    }
}

/// Measures.
pub(crate) struct Meter {
    group: AllocationGroupToken,
}

impl Meter {
    /// The one meter of the process.
    pub(crate) fn new() -> Result<Meter, Box<dyn std::error::Error>> {
        AllocationRegistry::set_global_tracker(Counter)
            .map_err(|error| format!("cannot count allocations: {error}"))?;
        let group = AllocationGroupToken::register().ok_or("no group of allocations is to be had")?;
        Ok(Meter { group })
    }

    /// What one of the `pieces` takes that `work` does at each call.
    pub(crate) fn measure(&mut self, pieces: u64, mut work: impl FnMut()) -> Figure {
        let mut timed = |times: u64| {
            let begun = Instant::now();
            for _ in 0..times {
                work();
            }
            begun.elapsed()
        };
        let mut times = 1;
        while timed(times) < BATCH {
            times *= 2;
        }
        let mut batches: Vec<f64> =
            (0..BATCHES).map(|_| timed(times).as_nanos() as f64 / times as f64 / pieces as f64).collect();
        let rounds = times.min(ROUNDS);
        let before = COUNTED.load(Ordering::Relaxed);
        AllocationRegistry::enable_tracking();
        let counting = self.group.enter();
        timed(rounds);
        drop(counting);
        AllocationRegistry::disable_tracking();
        let allocations = COUNTED.load(Ordering::Relaxed) - before;
        Figure { nanos: percentile(&mut batches, 0.5), allocations: allocations as f64 / rounds as f64 / pieces as f64 }
    }
}
