//! What must hold of all limits of a tenant together: examples here, random schedules in `properties`, threads in `threads`.

mod properties;
mod threads;

use super::*;
use crate::limits::{Period, Quota};

const START: Moment = Moment::ORIGIN;
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn quota(amount: u64, period: Period, burst: u64) -> Quota {
    Quota { amount, period, burst }
}

fn tokens(amount: u64, reserve_output: ReserveOutput) -> PlanLimits {
    PlanLimits { tokens: vec![quota(amount, Period::Minute, amount)], reserve_output, ..PlanLimits::default() }
}

fn requests(amount: u64, period: Period, burst: u64) -> PlanLimits {
    PlanLimits { requests: vec![quota(amount, period, burst)], ..PlanLimits::default() }
}

fn input(tokens: u64) -> Ask {
    Ask { input: tokens, least_input: tokens / 4, ..Ask::default() }
}

fn used(tokens: u64) -> Charge {
    Charge { tokens, request: RequestCharge::Kept }
}

const NEVER_SENT: Charge = Charge { tokens: 0, request: RequestCharge::GivenBack };

#[test]
fn of_200_calls_at_once_on_10_an_hour_burst_10_exactly_10_pass() {
    let tree = LimitTree::new(&requests(10, Period::Hour, 10));
    let admitted: Vec<_> = (0..200).filter_map(|_| tree.admit(&input(1), START).ok()).collect();
    assert_eq!(admitted.len(), 10);
    let refusal = tree.admit(&input(1), START).unwrap_err();
    assert_eq!((refusal.kind, refusal.why, refusal.limit, refusal.used), (Kind::Requests, Why::Exhausted, 10, 10));
    assert_eq!(refusal.wait, Some(Duration::from_secs(360)));
    assert_eq!(admitted[0].view.requests.unwrap().remaining, 9);
}

/// Input 25, named cap 150, as in litellm#18730.
const FIVE: Ask = Ask { input: 25, least_input: 6, output_cap: 150, learned_output: None };

#[test]
fn five_calls_of_175_on_100_a_minute_are_all_too_large_under_cap() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Cap));
    for _ in 0..5 {
        let refusal = tree.admit(&FIVE, START).unwrap_err();
        assert_eq!((refusal.why, refusal.wait, refusal.requested), (Why::TooLarge, None, Some(175)));
        assert_eq!((refusal.kind, refusal.limit), (Kind::Tokens, 100));
    }
    assert_eq!(tree.levels(START)[0].used, 0);
}

#[test]
fn of_five_calls_of_175_on_100_a_minute_exactly_one_passes_under_learned_and_leaves_debt() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Learned));
    let mut admitted: Vec<_> = (0..5).filter_map(|_| tree.admit(&FIVE, START).ok()).collect();
    assert_eq!(admitted.len(), 1);
    assert_eq!((tree.levels(START)[0].used, tree.levels(START)[0].uncovered), (100, 75));
    let settled = admitted.remove(0).reservation.settle(used(175), START);
    assert_eq!(settled, Settled { given_back: 0, forgone: 0, overrun: 75 });
    assert_eq!((tree.levels(START)[0].used, tree.levels(START)[0].uncovered), (175, 0));
    let shown = tree.view(START).tokens.unwrap();
    assert_eq!((shown.remaining, shown.reset), (0, MINUTE * 175 / 100));
    let refusal = tree.admit(&FIVE, START).unwrap_err();
    assert_eq!((refusal.used, refusal.wait), (175, Some(MINUTE * 175 / 100)));
}

#[test]
fn a_call_larger_than_the_bucket_is_admitted_only_while_nothing_is_uncovered() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Learned));
    let huge = Ask { output_cap: 10_000, ..input(10) };
    let first = tree.admit(&huge, START).unwrap();
    assert_eq!(first.reservation.tokens(), 100);
    let later = START.plus(MINUTE);
    let refusal = tree.admit(&huge, later).unwrap_err();
    assert_eq!((refusal.why, refusal.wait, refusal.kind), (Why::Uncovered, Some(UNPROMISED), Kind::Tokens));
    assert_eq!((refusal.used, refusal.requested), (9_910, Some(9_910)));
    let _ = first.reservation.settle(used(100), later);
    assert!(tree.admit(&huge, later).is_ok());
}

#[test]
fn learned_reserves_what_most_calls_stay_under_until_the_uncovered_bound_is_met() {
    let tree = LimitTree::new(&tokens(1_000, ReserveOutput::Learned));
    let ask = Ask { output_cap: 500, learned_output: Some(20), ..input(10) };
    let reserved: Vec<_> = (0..4).map(|_| tree.admit(&ask, START).map(|admitted| admitted.reservation)).collect();
    let amounts: Vec<_> = reserved.iter().map(|made| made.as_ref().map(Reservation::tokens).ok()).collect();
    // 480 uncovered twice; a third would make 1,440, so it reserves all of its 510; a fourth finds 430 left.
    assert_eq!(amounts, [Some(30), Some(30), Some(510), None]);
    assert_eq!(tree.levels(START)[0].uncovered, 960);
    assert_eq!(tree.outstanding(), Outstanding { reservations: 3, tokens: 570 });
}

#[test]
fn cap_reserves_the_whole_cap_whatever_was_learned() {
    let tree = LimitTree::new(&tokens(1_000, ReserveOutput::Cap));
    let ask = Ask { output_cap: 500, learned_output: Some(20), ..input(10) };
    assert_eq!(tree.admit(&ask, START).unwrap().reservation.tokens(), 510);
}

#[test]
fn each_token_bucket_reserves_at_most_its_own_burst_and_the_tightest_is_told() {
    let hour = quota(60_000, Period::Hour, 6_000);
    let limits = PlanLimits { tokens: vec![hour, quota(100, Period::Minute, 100)], ..PlanLimits::default() };
    let tree = LimitTree::new(&limits);
    let admitted = tree.admit(&FIVE, START).unwrap();
    assert_eq!(admitted.reservation.tokens(), 100);
    assert_eq!(admitted.view.tokens.unwrap().limit, 100);
    assert_eq!(tree.levels(START).iter().map(|level| level.used).collect::<Vec<_>>(), [175, 100]);
    let settled = admitted.reservation.settle(used(60), START);
    assert_eq!(settled, Settled { given_back: 40, ..Settled::default() });
    assert_eq!(tree.levels(START).iter().map(|level| level.used).collect::<Vec<_>>(), [60, 60]);
}

#[test]
fn unused_tokens_that_time_returned_are_forgone() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Cap));
    let admitted = tree.admit(&input(100), START).unwrap();
    let settled = admitted.reservation.settle(used(10), START.plus(MINUTE / 2));
    assert_eq!(settled, Settled { given_back: 50, forgone: 40, overrun: 0 });
    assert_eq!(tree.outstanding(), Outstanding::default());
}

#[test]
fn a_call_that_was_never_sent_gets_its_request_back() {
    let limits = PlanLimits { tokens: tokens(100, ReserveOutput::Cap).tokens, ..requests(7, Period::Minute, 7) };
    let tree = LimitTree::new(&limits);
    let before = tree.view(START);
    let admitted = tree.admit(&input(30), START).unwrap();
    assert_ne!(tree.view(START), before);
    let _ = admitted.reservation.settle(NEVER_SENT, START);
    assert_eq!(tree.view(START), before);
    let _ = tree.admit(&input(30), START).unwrap().reservation.settle(used(0), START);
    assert_eq!(tree.view(START).requests.unwrap().remaining, 6);
}

#[test]
fn a_dropped_reservation_keeps_its_tokens_charged_and_leaks_nothing() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Learned));
    drop(tree.admit(&FIVE, START).unwrap());
    let level = tree.levels(START)[0];
    assert_eq!((level.used, level.reserved, level.uncovered), (100, 0, 0));
    assert_eq!(tree.outstanding(), Outstanding::default());
    assert_eq!(tree.in_flight(), 0);
}

#[test]
fn a_tenant_without_limits_is_admitted_and_counted() {
    let tree = LimitTree::new(&PlanLimits::default());
    let huge = Ask { input: u64::MAX, least_input: u64::MAX, output_cap: u64::MAX, learned_output: None };
    let admitted = tree.admit(&huge, START).unwrap();
    assert_eq!(admitted.view, View::default());
    assert_eq!(tree.outstanding(), Outstanding { reservations: 1, tokens: 0 });
    assert_eq!(tree.in_flight(), 1);
    assert!(tree.peek(u64::MAX, START).is_ok());
    assert_eq!(admitted.reservation.settle(used(u64::MAX), START), Settled::default());
    assert_eq!(tree.outstanding(), Outstanding::default());
}

#[test]
fn calls_in_flight_are_capped_to_the_last_byte() {
    let tree = LimitTree::new(&PlanLimits { concurrent: Some(2), ..PlanLimits::default() });
    let first = tree.admit(&input(1), START).unwrap();
    let second = tree.admit(&input(1), START).unwrap();
    let refusal = tree.admit(&input(1), START).unwrap_err();
    assert_eq!((refusal.kind, refusal.why, refusal.quota), (Kind::Concurrent, Why::Concurrency, None));
    assert_eq!((refusal.limit, refusal.used, refusal.wait), (2, 2, Some(UNPROMISED)));
    assert_eq!(tree.peek(0, START).unwrap_err().why, Why::Concurrency);
    let _ = first.reservation.settle(used(1), START);
    assert!(tree.admit(&input(1), START).is_err(), "settled, but its last byte has not passed");
    drop(second.in_flight);
    assert_eq!(tree.in_flight(), 1);
    assert!(tree.admit(&input(1), START).is_ok());
}

#[test]
fn a_refusal_tells_the_longest_of_all_waits() {
    let limits = PlanLimits {
        requests: vec![quota(1, Period::Second, 1), quota(60, Period::Hour, 1)],
        tokens: vec![quota(100, Period::Minute, 100)],
        concurrent: Some(1),
        ..PlanLimits::default()
    };
    let tree = LimitTree::new(&limits);
    let _open = tree.admit(&input(50), START).unwrap();
    let refusal = tree.admit(&input(60), START).unwrap_err();
    assert_eq!((refusal.kind, refusal.place, refusal.wait), (Kind::Requests, 1, Some(MINUTE)));
    assert_eq!(refusal.requested, Some(1));
    assert_eq!(refusal.quota, Some(quota(60, Period::Hour, 1)));
}

#[test]
fn a_peek_refuses_what_no_body_could_change_and_takes_nothing() {
    let limits = PlanLimits { tokens: vec![quota(100, Period::Minute, 100)], ..requests(60, Period::Second, 60) };
    let tree = LimitTree::new(&limits);
    let full = tree.view(START);
    assert!(tree.peek(1_000_000, START).is_ok());
    assert_eq!(tree.view(START), full);
    let _open = tree.admit(&input(99), START).unwrap();
    assert!(tree.peek(50, START).is_ok(), "one token is left; how many the call needs is not known yet");
    let _other = tree.admit(&input(1), START).unwrap();
    let refusal = tree.peek(0, START).unwrap_err();
    assert_eq!((refusal.kind, refusal.why, refusal.requested), (Kind::Tokens, Why::Exhausted, None));
    assert_eq!(refusal.wait, Some(MINUTE / 100));
    assert_eq!(tree.peek(50, START).unwrap_err().wait, Some(MINUTE / 2));
    assert_eq!(tree.peek(u64::MAX, START).unwrap_err().wait, Some(MINUTE));
    assert!(tree.peek(0, START.plus(Duration::from_nanos(1))).is_ok());
}

#[test]
fn a_peek_waits_a_quarter_of_a_second_at_least() {
    let tree = LimitTree::new(&requests(1_000, Period::Second, 1));
    let _open = tree.admit(&input(1), START).unwrap();
    let refusal = tree.peek(0, START).unwrap_err();
    assert_eq!((refusal.kind, refusal.wait), (Kind::Requests, Some(LEAST_PEEK)));
    assert!(tree.peek(0, START.plus(Duration::from_millis(1))).is_ok());
}

#[test]
fn a_peek_sees_a_give_back_at_once() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Cap));
    let admitted = tree.admit(&input(100), START).unwrap();
    assert!(tree.peek(0, START).is_err());
    let _ = admitted.reservation.settle(used(40), START);
    assert!(tree.peek(0, START).is_ok());
}

#[test]
fn a_debt_is_repaid_by_time_alone() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Learned));
    let admitted = tree.admit(&FIVE, START).unwrap();
    assert_eq!(admitted.reservation.settle(used(1_100), START).overrun, 1_000);
    let repaid = START.plus(MINUTE * 10);
    assert!(tree.peek(0, repaid).is_err());
    assert!(tree.admit(&input(1), repaid).is_err());
    assert!(tree.admit(&input(50), repaid.plus(MINUTE / 2)).is_ok());
}

#[test]
fn the_largest_overrun_does_not_wrap() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Learned));
    for _ in 0..3 {
        let now = START;
        let charge = used(u64::MAX);
        if let Ok(admitted) = tree.admit(&input(1), now) {
            assert_eq!(admitted.reservation.settle(charge, now).overrun, u64::MAX - 1);
        }
        assert_eq!(tree.levels(now)[0].used, u64::MAX);
        assert_eq!(tree.view(now).tokens.unwrap().remaining, 0);
        assert!(tree.admit(&input(1), now.plus(MINUTE * 1_000_000)).is_err());
    }
}

#[test]
fn a_shadow_plan_refuses_nothing_takes_what_fits_and_owes_nothing_for_the_rest() {
    let limits = PlanLimits {
        tokens: vec![quota(100, Period::Minute, 100)],
        concurrent: Some(1),
        shadow: true,
        ..requests(2, Period::Hour, 2)
    };
    let tree = LimitTree::new(&limits);
    let first = tree.admit(&input(70), START).unwrap();
    assert_eq!(first.shadow_refused, None);
    let second = tree.admit(&input(70), START).unwrap();
    let unspoken = second.shadow_refused.unwrap();
    assert_eq!((unspoken.kind, unspoken.used, unspoken.requested), (Kind::Tokens, 70, Some(70)));
    assert_eq!(second.reservation.tokens(), 30);
    let third = tree.admit(&input(70), START).unwrap();
    assert_eq!(third.shadow_refused.unwrap().kind, Kind::Requests);
    assert_eq!(third.reservation.tokens(), 0);
    assert_eq!(tree.in_flight(), 3);
    assert!(tree.peek(0, START).is_ok());
    assert_eq!(tree.levels(START).iter().map(|level| level.used).collect::<Vec<_>>(), [2, 100]);
    assert_eq!(third.reservation.settle(used(500), START), Settled::default());
    assert_eq!(second.reservation.settle(used(500), START), Settled::default());
    assert_eq!(tree.levels(START)[1].used, 100);
    assert_eq!(first.reservation.settle(used(90), START).overrun, 20);
    assert_eq!(tree.levels(START)[1].used, 120);
    drop((second.in_flight, third.in_flight));
    assert_eq!(tree.in_flight(), 1);
    let later = START.plus(MINUTE * 60);
    assert_eq!(tree.admit(&input(1), later).unwrap().shadow_refused.unwrap().why, Why::Concurrency);
    drop(first.in_flight);
    assert_eq!(tree.admit(&input(1), later).unwrap().shadow_refused, None);
}

#[test]
fn a_shadow_plan_says_that_a_call_is_too_large_and_lets_it_pass() {
    let tree = LimitTree::new(&PlanLimits { shadow: true, ..tokens(100, ReserveOutput::Cap) });
    let admitted = tree.admit(&FIVE, START).unwrap();
    assert_eq!(admitted.shadow_refused.unwrap().why, Why::TooLarge);
    assert_eq!(admitted.reservation.tokens(), 100);
}

#[test]
fn time_does_not_run_backwards_for_a_thread_that_was_overtaken() {
    let tree = LimitTree::new(&tokens(100, ReserveOutput::Cap));
    let late = START.plus(MINUTE);
    let _open = tree.admit(&input(100), late).unwrap();
    let refusal = tree.admit(&input(100), START).unwrap_err();
    assert_eq!(refusal.wait, Some(MINUTE * 2));
    assert_eq!(tree.view(START).tokens.unwrap().reset, MINUTE);
}

#[test]
fn what_holds_a_place_can_be_sent_to_another_thread() {
    fn sent<T: Send + 'static>() {}
    sent::<Admitted>();
    sent::<Reservation>();
    sent::<InFlight>();
}
