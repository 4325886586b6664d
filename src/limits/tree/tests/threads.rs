//! Properties 1 to 3 and the counts, with 64 threads on one tree and a clock that they share.

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::limits::testing::Model;

const THREADS: u64 = 64;

/// Runs `work` on 64 threads that start together, and collects what they return.
fn together<T: Send>(work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        let run = |thread| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A cheap deterministic sequence, another one for each thread.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// An admitted call between two readings of the clock.
struct Call {
    id: u64,
    before: u64,
    after: u64,
    held: u64,
    settled: Settled,
    charged: u64,
}

#[test]
fn at_one_moment_exactly_the_burst_is_admitted() {
    let tree = LimitTree::new(&PlanLimits { requests: vec![quota(7, Period::Minute, 1_000)], ..PlanLimits::default() });
    let admitted = together(|_| (0..50).filter_map(|_| tree.admit(&input(1), START).ok()).count());
    assert_eq!(admitted.iter().sum::<usize>(), 1_000);
    assert_eq!(tree.outstanding(), Outstanding::default());
    assert_eq!(tree.in_flight(), 0);
}

#[test]
fn no_more_than_the_cap_is_ever_in_flight() {
    let tree = LimitTree::new(&PlanLimits { concurrent: Some(5), ..PlanLimits::default() });
    let most = together(|_| {
        let mut most = 0;
        for _ in 0..500 {
            let admitted = tree.admit(&input(1), START);
            if admitted.is_ok() {
                most = most.max(tree.in_flight());
            }
        }
        most
    });
    assert!(most.iter().all(|&most| most <= 5));
    assert_eq!(tree.in_flight(), 0);
    let open: Vec<_> = (0..6).map(|_| tree.admit(&input(1), START)).collect();
    assert_eq!(open.iter().filter(|made| made.is_ok()).count(), 5);
}

#[test]
fn the_promise_and_conservation_hold_while_threads_overtake_each_other() {
    let limits = PlanLimits {
        tokens: vec![quota(70_000, Period::Minute, 900)],
        reserve_output: ReserveOutput::Cap,
        ..PlanLimits::default()
    };
    let tree = LimitTree::new(&limits);
    let clock = AtomicU64::new(0);
    let mut calls: Vec<Call> = together(|thread| {
        let mut seed = thread;
        let mut calls = Vec::new();
        let mut open: Option<(Reservation, Call)> = None;
        for _ in 0..60 {
            let before = clock.load(Ordering::SeqCst);
            if let Ok(admitted) = tree.admit(&input(1 + next(&mut seed) % 200), Moment::from_nanos(before)) {
                let after = clock.load(Ordering::SeqCst);
                let (id, held) = (admitted.reservation.id(), admitted.reservation.tokens());
                let call = Call { id, before, after, held, settled: Settled::default(), charged: 0 };
                if let Some((reservation, call)) = open.replace((admitted.reservation, call)) {
                    calls.push(settle(reservation, call, &mut seed, &clock));
                }
            }
            clock.fetch_add(next(&mut seed) % 20_000_000, Ordering::SeqCst);
        }
        calls.extend(open.map(|(reservation, call)| settle(reservation, call, &mut seed, &clock)));
        calls
    })
    .into_iter()
    .flatten()
    .collect();
    calls.sort_by_key(|call| call.id);
    assert!(calls.len() > 100, "{}", calls.len());
    let model = Model::new(&limits);
    for (last, end) in calls.iter().enumerate() {
        let (mut sum, mut parts) = (0, 0);
        for start in calls[..=last].iter().rev() {
            sum += i128::from(start.held - start.settled.given_back);
            // Where some was forgone, what went back is told in whole tokens: up to one more did.
            parts += i128::from(start.settled.forgone > 0);
            let nanos = end.after.saturating_sub(start.before);
            assert!(model.buckets[0].within(model.buckets[0].units(sum - parts), 900, nanos));
        }
    }
    for call in &calls {
        let unused = call.settled.given_back + call.settled.forgone;
        assert_eq!(call.held + call.settled.overrun, call.charged + unused);
    }
    assert_eq!(tree.outstanding(), Outstanding::default());
    let level = tree.levels(Moment::from_nanos(clock.load(Ordering::SeqCst)))[0];
    assert_eq!((level.reserved, level.uncovered), (0, 0));
}

fn settle(reservation: Reservation, mut call: Call, seed: &mut u64, clock: &AtomicU64) -> Call {
    call.charged = next(seed) % 220;
    call.settled = reservation.settle(used(call.charged), Moment::from_nanos(clock.load(Ordering::SeqCst)));
    call
}

#[test]
fn constant_demand_of_many_threads_is_given_all_that_refills() {
    let limits = PlanLimits { tokens: vec![quota(70_000, Period::Minute, 900)], ..PlanLimits::default() };
    let tree = LimitTree::new(&limits);
    let clock = AtomicU64::new(0);
    let admitted: u64 = together(|thread| {
        let mut seed = thread;
        let mut sum = 0;
        for _ in 0..200 {
            let ask = input(1 + next(&mut seed) % 200);
            let now = clock.load(Ordering::SeqCst);
            match tree.admit(&ask, Moment::from_nanos(now)) {
                Ok(admitted) => sum += admitted.reservation.tokens(),
                Err(refusal) => {
                    // Time goes on only as far as the one who waits least far ahead must wait.
                    let wait = u64::try_from(refusal.wait.unwrap().as_nanos()).unwrap();
                    let _ = clock.compare_exchange(now, now + wait, Ordering::SeqCst, Ordering::SeqCst);
                }
            }
        }
        sum
    })
    .into_iter()
    .sum();
    let now = clock.load(Ordering::SeqCst);
    let model = Model::new(&limits);
    assert!(model.buckets[0].within(model.buckets[0].units(i128::from(admitted)), 900, now));
    // The last wait may have ended with nobody coming again: the largest call and the burst bound what is missing.
    assert!(model.buckets[0].is_more_than_refilled(i128::from(admitted) + 200 - 900 + 200, now));
    let level = i128::from(tree.levels(Moment::from_nanos(now))[0].used);
    assert!(level <= 900);
}
