//! What must hold of one bucket.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, FakeRelativeClock};
use proptest::prelude::*;

use super::*;
use crate::limits::Period;
use crate::limits::testing::{any_period, schedules};

const SECOND: u64 = 1_000_000_000;

fn rate(amount: u64, period: Period, burst: u64) -> Rate {
    Rate::of(&Quota { amount, period, burst })
}

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

#[test]
fn a_full_bucket_bears_its_burst_in_single_takes_where_a_token_weighs_no_whole_nanoseconds() {
    let rate = rate(7, Period::Minute, 7);
    let mut bucket = Bucket::default();
    for left in (0..7).rev() {
        assert!(bucket.fits(&rate, 1, at(5)));
        bucket.take(&rate, 1, at(5));
        assert_eq!(rate.remaining(bucket.level(&rate, at(5))), left);
    }
    assert!(!bucket.fits(&rate, 1, at(5)));
}

#[test]
fn what_time_has_returned_is_not_given_back_again() {
    // The counterexample of the design: both hundreds would be held, and a third taken.
    let rate = rate(100, Period::Minute, 100);
    let mut bucket = Bucket::default();
    let first = bucket.take(&rate, 100, at(0));
    let full_again = at(60 * SECOND);
    assert!(bucket.fits(&rate, 100, full_again));
    bucket.take(&rate, 100, full_again);
    assert_eq!(bucket.give_back(&rate, 100, first, full_again), 0);
    assert!(!bucket.fits(&rate, 1, full_again));
}

#[test]
fn a_give_back_counts_those_that_came_before_it() {
    let rate = rate(100, Period::Minute, 100);
    let mut bucket = Bucket::default();
    let first = bucket.take(&rate, 50, at(0));
    let second = bucket.take(&rate, 50, at(0));
    assert_eq!(bucket.give_back(&rate, 50, first, at(0)), 50);
    assert_eq!(bucket.give_back(&rate, 50, second, at(15 * SECOND)), 25);
    assert_eq!(rate.used(bucket.level(&rate, at(15 * SECOND))), 0);
}

#[test]
fn the_rule_counts_a_later_takes_give_back_too() {
    let rate = rate(100, Period::Minute, 100);
    let mut bucket = Bucket::default();
    let first = bucket.take(&rate, 60, at(0));
    let second = bucket.take(&rate, 40, at(0));
    assert_eq!(bucket.give_back(&rate, 40, second, at(0)), 40);
    assert_eq!(bucket.give_back(&rate, 60, first, at(0)), 20);
}

#[test]
fn a_running_sum_that_wraps_gives_back_as_any_other() {
    let rate = rate(100, Period::Minute, 100);
    let mut bucket = Bucket { tat: 0, returned: u128::MAX - 5 };
    let first = bucket.take(&rate, 60, at(0));
    let second = bucket.take(&rate, 40, at(0));
    assert_eq!(bucket.give_back(&rate, 60, first, at(0)), 60);
    assert!(bucket.returned < 60 * 600_000_000);
    assert_eq!(bucket.give_back(&rate, 40, second, at(0)), 40);
    assert_eq!(rate.remaining(bucket.level(&rate, at(0))), 100);
}

#[test]
fn extremes_neither_wrap_nor_round_to_nothing() {
    for (amount, period) in
        [(1, Period::Hour), (1, Period::Day), (10_000_000_000, Period::Minute), (u64::MAX, Period::Second)]
    {
        for burst in [1, 1_000, u64::MAX] {
            for now in [0, SECOND, u64::MAX] {
                let rate = rate(amount, period, burst);
                let mut bucket = Bucket::default();
                assert!(bucket.fits(&rate, burst, at(now)));
                assert!(burst == u64::MAX || !bucket.fits(&rate, u64::MAX, at(now)));
                let mark = bucket.take(&rate, burst, at(now));
                assert_eq!(rate.remaining(bucket.level(&rate, at(now))), 0);
                assert!(!bucket.fits(&rate, 1, at(now)));
                assert_eq!(bucket.give_back(&rate, burst, mark, at(now)), burst);
                assert_eq!(rate.remaining(bucket.level(&rate, at(now))), burst);
                for _ in 0..3 {
                    bucket.take(&rate, u64::MAX, at(now));
                }
                assert_eq!(rate.used(bucket.level(&rate, at(now))), u64::MAX);
                assert!(bucket.ready(&rate, 1) > now || now == u64::MAX || amount == u64::MAX);
            }
        }
    }
}

#[test]
fn the_slowest_limit_returns_one_call_after_its_whole_hour() {
    let rate = rate(1, Period::Hour, 1);
    let mut bucket = Bucket::default();
    bucket.take(&rate, 1, at(7));
    let ready = bucket.ready(&rate, 1);
    assert_eq!(ready, 3_600 * SECOND + 7);
    assert!(!bucket.fits(&rate, 1, at(ready - 1)));
    assert!(bucket.fits(&rate, 1, at(ready)));
}

#[test]
fn the_fastest_limit_admits_a_minute_of_itself() {
    let ten_billion = 10_000_000_000;
    let rate = rate(ten_billion, Period::Minute, ten_billion);
    let mut bucket = Bucket::default();
    bucket.take(&rate, ten_billion, at(0));
    assert_eq!(bucket.ready(&rate, 1), 6);
    assert_eq!(rate.remaining(bucket.level(&rate, at(30 * SECOND))), ten_billion / 2);
}

proptest! {
    #![proptest_config(schedules())]

    #[test]
    fn it_decides_as_governor_where_both_are_defined(
        period in any_period(),
        per_second in prop_oneof![Just(1_u64), Just(2), Just(5), Just(8), Just(64), Just(1_000), Just(1_000_000)],
        burst in 1_u32..200,
        steps in prop::collection::vec((0_u64..2_000, 1_u32..40), 1..80),
    ) {
        // Divisors of 10^9 make a token whole nanoseconds, as governor needs it.
        let amount = per_second * period.length().as_secs();
        let interval = SECOND / per_second;
        let rate = rate(amount, period, u64::from(burst));
        let quota = governor::Quota::with_period(Duration::from_nanos(interval)).unwrap();
        let clock = FakeRelativeClock::default();
        let theirs = governor::RateLimiter::direct_with_clock(
            quota.allow_burst(NonZeroU32::new(burst).unwrap()), clock.clone());
        let mut ours = Bucket::default();
        let mut now = 0;
        for (thousandths, tokens) in steps {
            let elapsed = interval * u64::from(tokens) * thousandths / 1_000;
            clock.advance(Duration::from_nanos(elapsed));
            now += elapsed;
            let fits = ours.fits(&rate, u64::from(tokens), at(now));
            let verdict = if tokens == 1 {
                Ok(theirs.check())
            } else {
                theirs.check_n(NonZeroU32::new(tokens).unwrap())
            };
            match verdict {
                Err(_) => prop_assert!(tokens > burst && !fits),
                Ok(Ok(())) => {
                    prop_assert!(fits);
                    ours.take(&rate, u64::from(tokens), at(now));
                }
                Ok(Err(until)) => {
                    prop_assert!(!fits);
                    let wait = at(ours.ready(&rate, u64::from(tokens))).since(at(now));
                    prop_assert_eq!(wait, until.wait_time_from(clock.now()));
                }
            }
        }
    }

    #[test]
    fn any_numbers_are_borne(
        amount in any::<u64>(), burst in any::<u64>(), period in any_period(),
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..40),
    ) {
        let rate = rate(amount, period, burst);
        let mut bucket = Bucket::default();
        let mut now = 0_u64;
        for (elapsed, tokens, unused) in steps {
            now = now.saturating_add(elapsed >> (tokens % 64));
            let before = bucket.level(&rate, at(now));
            let mark = bucket.take(&rate, tokens, at(now));
            prop_assert!(rate.used(bucket.level(&rate, at(now))) >= rate.used(before));
            let returned = bucket.give_back(&rate, unused.min(tokens), mark, at(now));
            prop_assert_eq!(returned, unused.min(tokens));
            prop_assert!(rate.remaining(bucket.level(&rate, at(now))) <= rate.burst());
            prop_assert!(bucket.ready(&rate, u64::MAX) >= bucket.ready(&rate, 1));
            let _ = (rate.reset(before), bucket.unspent(&rate));
        }
    }
}

#[test]
fn a_call_that_was_never_sent_leaves_a_slow_bucket_as_it_would_be_without_it() {
    let rate = rate(24, Period::Day, 24);
    let mut bucket = Bucket::default();
    let taken = bucket.take(&rate, 1, at(0));
    bucket.give_back(&rate, 1, taken, at(SECOND / 100));
    assert_eq!(rate.remaining(bucket.level(&rate, at(SECOND / 100))), 24);
}
