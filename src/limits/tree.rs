//! Decides over all limits of a tenant at once: a call takes from every bucket, or from none.
//!
//! Must not know who the tenant is, what a call says, or how its tokens were estimated.
//!
//! The buckets stand in one list, addressed by place, under one mutex that is held for arithmetic only: what needs memory is sized
//! before it is taken, and what people read is computed after it is let go.

mod cell;
mod veto;

use std::iter::zip;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use self::cell::{Bound, Cell, Spec};
use self::veto::{Subject, Veto};
use super::bucket::Ticks;
use super::in_flight::{InFlight, Place};
use super::reservation::{Charge, Hold, Holds, RequestCharge, Reservation, Settled, Taken};
use super::{Admitted, Ask, Kind, Level, Outstanding, PlanLimits, Refusal, ReserveOutput, Shown, View, Why};
use crate::net::clock::Moment;

/// What a call is told to wait where no moment can be promised.
const UNPROMISED: Duration = Duration::from_secs(1);
/// The least wait that a peek tells.
const LEAST_PEEK: Duration = Duration::from_millis(250);

/// The limits of one tenant and their levels.
#[derive(Debug)]
pub struct LimitTree {
    specs: Vec<Spec>,
    concurrent: Option<u32>,
    reserve_output: ReserveOutput,
    mode: Mode,
    state: Mutex<State>,
    /// Calls in flight.
    in_flight: AtomicU32,
    /// Those of them that hold one of the plan's places. Raised under the mutex only.
    places: AtomicU32,
    /// Until when a peek must refuse, in nanoseconds since the clock's origin; published so that most peeks need no mutex.
    spent_until: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Enforce,
    Shadow,
}

#[derive(Debug)]
struct State {
    cells: Vec<Cell>,
    /// The latest moment at which something was taken or settled: time does not run backwards when threads overtake each other on the way to the mutex.
    latest: Moment,
    reservations: u64,
    tokens: u128,
    next_id: u64,
}

/// The level of each bucket at one moment, copied out of the mutex.
type Levels = SmallVec<[Ticks; 4]>;

impl LimitTree {
    /// A tree with full buckets.
    #[must_use]
    pub fn new(limits: &PlanLimits) -> Arc<Self> {
        let requests = limits.requests.iter().enumerate().map(|quota| Spec::new(Kind::Requests, quota));
        let tokens = limits.tokens.iter().enumerate().map(|quota| Spec::new(Kind::Tokens, quota));
        let specs: Vec<Spec> = requests.chain(tokens).collect();
        let state = State {
            cells: vec![Cell::default(); specs.len()],
            latest: Moment::ORIGIN,
            reservations: 0,
            tokens: 0,
            next_id: 0,
        };
        Arc::new(LimitTree {
            specs,
            concurrent: limits.concurrent,
            reserve_output: limits.reserve_output,
            mode: if limits.shadow { Mode::Shadow } else { Mode::Enforce },
            state: Mutex::new(state),
            in_flight: AtomicU32::new(0),
            places: AtomicU32::new(0),
            spent_until: AtomicU64::new(0),
        })
    }

    /// Refuses a call that could not be admitted whatever it says, before its body is read; takes nothing.
    ///
    /// `least_tokens`: what the body's announced length makes at the learned ratio, or 0; it lengthens the wait and never refuses.
    /// A shadow plan refuses nothing here.
    ///
    /// # Errors
    /// When a bucket of requests cannot take one, a bucket of tokens is at or below nothing, or all places in flight are taken.
    pub fn peek(&self, least_tokens: u64, now: Moment) -> Result<(), Refusal> {
        if self.mode == Mode::Shadow {
            return Ok(());
        }
        let crowded = self.crowded();
        if crowded.is_none() && now.nanos() >= self.spent_until.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut levels = self.room_for_levels();
        let state = self.lock();
        let at = now.max(state.latest);
        let mut veto = crowded;
        let mut longest = LEAST_PEEK;
        for (index, (spec, cell)) in zip(&self.specs, &state.cells).enumerate() {
            let least = if spec.kind == Kind::Tokens { least_tokens.max(1) } else { 1 };
            let wait = wait_until(cell.bucket.ready(&spec.rate, least), now);
            longest = longest.max(wait);
            if spec.is_spent(cell, at) {
                let spent = Veto::new(Subject::Cell(index), Why::Exhausted, wait);
                veto = Veto::longer(veto, spent);
            }
        }
        let Some(mut veto) = veto else { return Ok(()) };
        self.copy_levels(&state, at, &mut levels);
        drop(state);
        let told = veto.wait.unwrap_or_default().max(longest);
        veto.wait = Some(told);
        veto.requested = None;
        Err(self.refusal(veto, &levels))
    }

    /// Takes what the call asks for from every bucket, and one place in flight; or nothing at all.
    ///
    /// A shadow plan admits always: it takes what fits, and says in [`Admitted::shadow_refused`] what did not.
    ///
    /// # Errors
    /// When a limit refuses; nothing has changed then.
    pub fn admit(self: &Arc<Self>, ask: &Ask, now: Moment) -> Result<Admitted, Refusal> {
        let mut levels = self.room_for_levels();
        let mut holds = Holds::with_capacity(self.specs.len());
        let too_large = self.too_large(ask);
        let mut state = self.lock();
        let at = now.max(state.latest);
        let judged = self.judge(&state, ask, at, now, &mut holds);
        let veto = too_large.or(judged);
        if let (Some(veto), Mode::Enforce) = (veto, self.mode) {
            self.copy_levels(&state, at, &mut levels);
            drop(state);
            return Err(self.refusal(veto, &levels));
        }
        state.latest = at;
        let taken = self.take(&mut state, holds, at);
        let id = state.open(taken.tokens);
        let place = self.enter();
        self.publish(&state, at);
        self.copy_levels(&state, at, &mut levels);
        drop(state);
        Ok(Admitted {
            reservation: Reservation::new(Arc::clone(self), id, taken),
            in_flight: InFlight::new(Arc::clone(self), place),
            view: self.show(&levels),
            shadow_refused: veto.map(|veto| self.refusal(veto, &levels)),
        })
    }

    /// The levels for the headers; takes nothing.
    #[must_use]
    pub fn view(&self, now: Moment) -> View {
        let mut levels = self.room_for_levels();
        let state = self.lock();
        self.copy_levels(&state, now.max(state.latest), &mut levels);
        drop(state);
        self.show(&levels)
    }

    /// The level of each bucket, requests before tokens, each kind in the order of its list.
    #[must_use]
    pub fn levels(&self, now: Moment) -> Vec<Level> {
        let mut cells = Vec::with_capacity(self.specs.len());
        let state = self.lock();
        let at = now.max(state.latest);
        cells.extend_from_slice(&state.cells);
        drop(state);
        let level = |(spec, cell): (&Spec, &Cell)| Level {
            kind: spec.kind,
            place: spec.place,
            quota: spec.quota,
            used: spec.rate.used(cell.bucket.level(&spec.rate, at)),
            reserved: saturate(cell.reserved),
            uncovered: saturate(cell.uncovered),
        };
        zip(&self.specs, &cells).map(level).collect()
    }

    /// Calls in flight now, those that a shadow plan let pass included.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// What is reserved and not settled yet.
    #[must_use]
    pub fn outstanding(&self) -> Outstanding {
        let state = self.lock();
        Outstanding { reservations: state.reservations, tokens: saturate(state.tokens) }
    }

    /// Settles what a reservation took; see [`Reservation::settle`].
    pub(super) fn settle(&self, taken: &Taken, charge: Charge, now: Moment) -> Settled {
        let mut told = Settled::default();
        let mut state = self.lock();
        let at = now.max(state.latest);
        state.latest = at;
        for (index, hold) in taken.holds.iter().enumerate() {
            let (Some(spec), Some(cell)) = (self.specs.get(hold.cell), state.cells.get_mut(hold.cell)) else {
                continue;
            };
            cell.release(hold);
            let used = match (spec.kind, charge.request) {
                (Kind::Tokens, _) => charge.tokens,
                (_, RequestCharge::Kept) => hold.taken,
                (_, RequestCharge::GivenBack) => 0,
            };
            let settled = cell.settle(&spec.rate, hold, used, at);
            if taken.tightest == Some(index) {
                told = settled;
            }
        }
        state.close(taken.tokens);
        self.publish(&state, at);
        told
    }

    /// Closes a reservation that was dropped: what it took stays charged.
    pub(super) fn forget(&self, taken: &Taken) {
        let mut state = self.lock();
        for hold in &taken.holds {
            if let Some(cell) = state.cells.get_mut(hold.cell) {
                cell.release(hold);
            }
        }
        state.close(taken.tokens);
    }

    /// A call's last byte has passed.
    pub(super) fn leave(&self, place: Place) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        if place == Place::Held {
            self.places.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Enters a call in the counts. Called under the mutex.
    fn enter(&self) -> Place {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        if self.crowded().is_some() {
            return Place::Beyond;
        }
        self.places.fetch_add(1, Ordering::AcqRel);
        Place::Held
    }

    /// Refuses while all places in flight are taken.
    fn crowded(&self) -> Option<Veto> {
        let cap = self.concurrent?;
        let places = self.places.load(Ordering::Acquire);
        (places >= cap).then(|| Veto {
            used: Some(u64::from(places)),
            requested: Some(1),
            ..Veto::new(Subject::InFlight, Why::Concurrency, UNPROMISED)
        })
    }

    /// Refuses a call that no full bucket could bear; of several such buckets the smallest speaks.
    fn too_large(&self, ask: &Ask) -> Option<Veto> {
        let (least, requested) = match self.reserve_output {
            ReserveOutput::Cap => (ask.least_input.saturating_add(ask.output_cap), ask.whole()),
            ReserveOutput::Learned => (ask.least_input, ask.input),
        };
        let too_small = |spec: &Spec| spec.kind == Kind::Tokens && least > spec.rate.burst();
        let specs = self.specs.iter().enumerate().filter(|(_, spec)| too_small(spec));
        let (index, _) = specs.min_by_key(|(_, spec)| spec.rate.burst())?;
        Some(Veto {
            subject: Subject::Cell(index),
            why: Why::TooLarge,
            used: None,
            requested: Some(requested.max(least)),
            wait: None,
        })
    }

    /// Writes down what the call wants of each bucket, and finds the longest wait of those that refuse.
    fn judge(&self, state: &State, ask: &Ask, at: Moment, now: Moment, holds: &mut Holds) -> Option<Veto> {
        let mut veto = None;
        for (index, (spec, cell)) in zip(&self.specs, &state.cells).enumerate() {
            let want = spec.want(cell, ask, self.reserve_output);
            if !cell.bucket.fits(&spec.rate, want.amount, at) {
                let wait = wait_until(cell.bucket.ready(&spec.rate, want.amount), now);
                let used = spec.rate.used(cell.bucket.level(&spec.rate, at));
                let exhausted = Veto::new(Subject::Cell(index), Why::Exhausted, wait);
                veto = Veto::longer(veto, Veto { used: Some(used), requested: Some(want.amount), ..exhausted });
            }
            let mut hold = Hold::new(index, want.amount, want.uncovered);
            if want.bound == Bound::Broken {
                let uncovered = Veto {
                    used: Some(saturate(cell.uncovered)),
                    requested: Some(want.uncovered),
                    ..Veto::new(Subject::Cell(index), Why::Uncovered, UNPROMISED)
                };
                veto = Veto::longer(veto, uncovered);
                hold.uncovered = 0;
            }
            holds.push(hold);
        }
        match self.crowded() {
            Some(crowded) => Veto::longer(veto, crowded),
            None => veto,
        }
    }

    /// Takes from every bucket; under a shadow plan no more than it holds.
    fn take(&self, state: &mut State, mut holds: Holds, at: Moment) -> Taken {
        let mut tightest: Option<(u64, usize)> = None;
        for (index, hold) in holds.iter_mut().enumerate() {
            let (Some(spec), Some(cell)) = (self.specs.get(hold.cell), state.cells.get_mut(hold.cell)) else {
                continue;
            };
            if self.mode == Mode::Shadow {
                hold.shrink_to(spec.rate.remaining(cell.bucket.level(&spec.rate, at)));
            }
            hold.mark = cell.bucket.take(&spec.rate, hold.taken, at);
            cell.hold(hold);
            if spec.kind == Kind::Tokens {
                let remaining = spec.rate.remaining(cell.bucket.level(&spec.rate, at));
                if tightest.is_none_or(|(least, _)| remaining < least) {
                    tightest = Some((remaining, index));
                }
            }
        }
        let tightest = tightest.map(|(_, index)| index);
        let tokens = tightest.and_then(|index| holds.get(index)).map_or(0, |hold| hold.taken);
        Taken { holds, tightest, tokens }
    }

    /// Publishes until when a peek must take the mutex.
    fn publish(&self, state: &State, at: Moment) {
        let until = zip(&self.specs, &state.cells).map(|(spec, cell)| spec.spent_until(cell, at)).max();
        self.spent_until.store(until.unwrap_or(0), Ordering::Release);
    }

    /// Puts what refuses into the words of a [`Refusal`].
    fn refusal(&self, veto: Veto, levels: &Levels) -> Refusal {
        let found = match veto.subject {
            Subject::Cell(index) => zip(&self.specs, levels).nth(index),
            Subject::InFlight => None,
        };
        let (kind, quota, limit, level, place) = match found {
            Some((spec, &level)) => (spec.kind, Some(spec.quota), spec.rate.burst(), spec.rate.used(level), spec.place),
            None => (Kind::Concurrent, None, self.concurrent.map_or(u64::MAX, u64::from), 0, 0),
        };
        Refusal {
            kind,
            why: veto.why,
            quota,
            limit,
            used: veto.used.unwrap_or(level),
            requested: veto.requested,
            wait: veto.wait,
            place,
            view: self.show(levels),
        }
    }

    /// Of each kind the bucket with the fewest remaining; of equals the one that is full last.
    fn show(&self, levels: &Levels) -> View {
        let mut view = View::default();
        for (spec, &level) in zip(&self.specs, levels) {
            let slot = match spec.kind {
                Kind::Requests => &mut view.requests,
                Kind::Tokens => &mut view.tokens,
                Kind::Concurrent => continue,
            };
            let (remaining, reset) = (spec.rate.remaining(level), spec.rate.reset(level));
            let tighter =
                |shown: Shown| remaining < shown.remaining || (remaining == shown.remaining && reset > shown.reset);
            if slot.is_none_or(tighter) {
                *slot = Some(Shown { limit: spec.rate.burst(), remaining, reset });
            }
        }
        view
    }

    fn room_for_levels(&self) -> Levels {
        Levels::with_capacity(self.specs.len())
    }

    fn copy_levels(&self, state: &State, at: Moment, levels: &mut Levels) {
        levels.extend(zip(&self.specs, &state.cells).map(|(spec, cell)| cell.bucket.level(&spec.rate, at)));
    }

    /// Nothing that runs under the mutex leaves the numbers half written, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, tokens: u64) -> u64 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.reservations = self.reservations.saturating_add(1);
        self.tokens = self.tokens.saturating_add(tokens.into());
        id
    }

    fn close(&mut self, tokens: u64) {
        self.reservations = self.reservations.saturating_sub(1);
        self.tokens = self.tokens.saturating_sub(tokens.into());
    }
}

fn wait_until(nanos: u64, now: Moment) -> Duration {
    Moment::from_nanos(nanos).since(now)
}

fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
