//! Counts the bytes of request bodies that are held for all calls together, and lets no more in than there is room for.
//!
//! What a call holds is a value, [`Held`]: it gives its bytes back when it is dropped, whatever the ending. A body that has
//! arrived takes it along ([`Held::with`]), so that its bytes count until its last slice is gone. Must not know calls or
//! configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// What is held; one for the whole process, so that it outlives a configuration.
#[derive(Debug, Default)]
pub struct Memory(AtomicU64);

impl Memory {
    /// Bytes that are held now. Where nothing bounds them, they are not counted.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets bytes in up to a bound.
#[derive(Clone, Debug)]
pub struct Gate {
    memory: Arc<Memory>,
    most: u64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for more bytes")]
pub struct Full;

impl Gate {
    /// A gate for `most` bytes in all; `None` for 0, which bounds nothing and counts nothing.
    #[must_use]
    pub fn new(memory: &Arc<Memory>, most: u64) -> Option<Self> {
        (most > 0).then(|| Gate { memory: Arc::clone(memory), most })
    }

    /// Whether so much more would be let in now. Takes nothing.
    ///
    /// # Errors
    /// [`Full`].
    pub fn look(&self, more: u64) -> Result<(), Full> {
        if self.memory.held().saturating_add(more) > self.most { Err(Full) } else { Ok(()) }
    }

    /// Holds nothing yet.
    #[must_use]
    pub fn open(&self) -> Held {
        Held { gate: self.clone(), bytes: 0 }
    }
}

/// Bytes that one call holds. Dropped, it gives them back.
#[derive(Debug)]
pub struct Held {
    gate: Gate,
    bytes: u64,
}

impl Held {
    /// Takes more. One atomic addition; a second one takes it back where there is no room.
    ///
    /// # Errors
    /// [`Full`]; what was held before still is.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let more = more as u64;
        let before = self.gate.memory.0.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.gate.most {
            self.gate.memory.0.fetch_sub(more, Ordering::Relaxed);
            return Err(Full);
        }
        self.bytes = self.bytes.saturating_add(more);
        Ok(())
    }

    /// The bytes, which give themselves back when their last slice is dropped.
    #[must_use]
    pub fn with(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() { bytes } else { Bytes::from_owner(Owned { bytes, _held: self }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.gate.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Bytes, and what they hold.
struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// As [`Held::grow`], where there may be no gate.
///
/// # Errors
/// [`Full`].
pub(super) fn grow(held: &mut Option<Held>, more: usize) -> Result<(), Full> {
    held.as_mut().map_or(Ok(()), |held| held.grow(more))
}

/// As [`Held::with`], where there may be no gate.
pub(super) fn with(held: Option<Held>, bytes: Bytes) -> Bytes {
    match held {
        Some(held) => held.with(bytes),
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;
    use crate::net::random::Random;

    fn gate(most: u64) -> (Arc<Memory>, Gate) {
        let memory = Arc::new(Memory::default());
        let gate = Gate::new(&memory, most).unwrap();
        (memory, gate)
    }

    #[test]
    fn nothing_is_bounded_by_nothing() {
        assert!(Gate::new(&Arc::default(), 0).is_none());
        let bytes = Bytes::from_static(b"as it came");
        assert_eq!(with(None, bytes.clone()).as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_takes_nothing() {
        let (memory, gate) = gate(10);
        let mut first = gate.open();
        first.grow(7).unwrap();
        let mut second = gate.open();
        assert_eq!((gate.look(3), gate.look(4), second.grow(4)), (Ok(()), Err(Full), Err(Full)));
        assert_eq!(memory.held(), 7);
        second.grow(3).unwrap();
        drop(first);
        assert_eq!(memory.held(), 3);
        second.grow(7).unwrap();
        drop(second);
        assert_eq!((memory.held(), gate.look(10)), (0, Ok(())));
    }

    #[test]
    fn bytes_count_until_their_last_slice_is_gone() {
        let (memory, gate) = gate(10);
        let mut held = gate.open();
        held.grow(6).unwrap();
        let bytes = held.with(Bytes::from_static(b"sliced"));
        let slice = bytes.slice(2..4);
        drop(bytes);
        assert_eq!((memory.held(), &*slice), (6, &b"ic"[..]));
        drop(slice);
        assert_eq!(memory.held(), 0);
        let mut empty = gate.open();
        empty.grow(1).unwrap();
        drop(empty.with(Bytes::new()));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_panic_gives_back_what_was_held() {
        let (memory, gate) = gate(10);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let mut held = gate.open();
            held.grow(5).unwrap();
            panic!("as the test asked");
        }));
        assert!(unwound.is_err());
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn many_threads_give_back_to_the_byte_and_never_hold_more_than_there_is() {
        const MOST: u64 = 10_000;
        let (memory, gate) = gate(MOST);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (gate, admitted) = (gate.clone(), &admitted);
                scope.spawn(move || {
                    let random = Random::from_seed(seed);
                    for _ in 0..20_000 {
                        let mut held = gate.open();
                        let mut mine = 0;
                        for _ in 0..random.next() % 4 {
                            let more = random.next() % 3_000;
                            if held.grow(more as usize).is_ok() {
                                mine += more;
                                assert!(admitted.fetch_add(more, Ordering::SeqCst) + more <= MOST);
                            }
                        }
                        admitted.fetch_sub(mine, Ordering::SeqCst);
                        match random.next() % 3 {
                            0 => drop(held.with(Bytes::from_static(b"x"))),
                            _ => drop(held),
                        }
                    }
                });
            }
        });
        assert_eq!((memory.held(), admitted.into_inner()), (0, 0));
    }

    proptest! {
        #[test]
        fn it_holds_the_sum_of_what_was_let_in(steps in prop::collection::vec((0_usize..4, 0_usize..400, any::<bool>()), 0..64)) {
            let (memory, gate) = gate(1_000);
            let mut calls: [Vec<(Held, u64)>; 4] = Default::default();
            for (call, more, leaves) in steps {
                if leaves {
                    calls[call].clear();
                    continue;
                }
                let mut held = gate.open();
                let sum: u64 = calls.iter().flatten().map(|(_, bytes)| bytes).sum();
                let fits = sum + more as u64 <= 1_000;
                prop_assert_eq!(gate.look(more as u64).is_ok(), fits);
                prop_assert_eq!(held.grow(more).is_ok(), fits);
                if fits {
                    calls[call].push((held, more as u64));
                }
                let sum: u64 = calls.iter().flatten().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(memory.held(), sum);
            }
            drop(calls);
            prop_assert_eq!(memory.held(), 0);
        }
    }
}
