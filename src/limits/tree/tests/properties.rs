//! The properties of the design over random schedules, with time injected and a plain model beside the tree.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::limits::testing::{Model, Step, Verdict, any_ask, any_limits, any_quota, any_step, schedules};

/// One admitted call, as the promise counts it in one bucket.
#[derive(Clone, Copy, Debug)]
struct Held {
    at: u64,
    units: i128,
}

/// A call in flight.
struct Open {
    call: usize,
    whole: u64,
    reservation: Reservation,
    in_flight: InFlight,
}

/// A tree, its model, and what is remembered to judge them.
struct World {
    tree: Arc<LimitTree>,
    model: Model,
    now: u64,
    open: Vec<Open>,
    /// For each bucket, for each admitted call.
    held: Vec<Vec<Held>>,
    /// Sums over tightest token buckets: reserved, covered by use, given back, forgone.
    sums: [u64; 4],
    ids: Vec<u64>,
}

impl World {
    fn new(limits: &PlanLimits) -> Self {
        let model = Model::new(limits);
        World {
            tree: LimitTree::new(limits),
            held: vec![Vec::new(); model.buckets.len()],
            model,
            now: 0,
            open: Vec::new(),
            sums: [0; 4],
            ids: Vec::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment::from_nanos(self.now)
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Call(ask) => self.call(&ask),
            Step::PatientCall(ask) => self.patient_call(&ask),
            Step::Settle { which, thousandths } => self.end(which, |open| Some(used(open.whole * thousandths / 1_000))),
            Step::NeverSent { which } => self.end(which, |_| Some(NEVER_SENT)),
            Step::Drop { which } => self.end(which, |_| None),
            Step::Pass { thousandths } => {
                let fill = self.model.buckets.first().map_or(1_000, |bucket| bucket.fill_time());
                self.pass(fill / 1_000 * thousandths);
                Ok(())
            }
        }?;
        self.check()
    }

    fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        self.model.pass(nanos);
    }

    /// Property 6: admitted exactly when every bucket of the model would. Properties 8 and 9: a refusal changes nothing.
    fn call(&mut self, ask: &Ask) -> TestCaseResult {
        let verdict = self.model.verdict(ask);
        let before = (self.tree.levels(self.moment()), self.tree.view(self.moment()), self.tree.outstanding());
        let made = self.tree.admit(ask, self.moment());
        let refusal = match made {
            Ok(admitted) => {
                prop_assert_eq!(verdict, Verdict::Admitted);
                return self.admitted(ask, admitted);
            }
            Err(refusal) => refusal,
        };
        let wait = refusal.wait.map(|wait| u64::try_from(wait.as_nanos()).unwrap());
        match verdict {
            Verdict::Admitted => prop_assert!(false, "refused what fits: {refusal:?}"),
            Verdict::TooLarge => prop_assert_eq!((refusal.why, wait), (Why::TooLarge, None)),
            Verdict::Wait(nanos) => prop_assert_eq!((refusal.why, wait), (Why::Exhausted, Some(nanos))),
            Verdict::NoPromise(nanos) => prop_assert_eq!(wait, Some(nanos)),
        }
        let after = (self.tree.levels(self.moment()), self.tree.view(self.moment()), self.tree.outstanding());
        prop_assert_eq!(refusal.view, after.1);
        prop_assert_eq!(before, after);
        Ok(())
    }

    /// Property 9: one nanosecond before the time told is too early, and the time told is late enough.
    fn patient_call(&mut self, ask: &Ask) -> TestCaseResult {
        let Verdict::Wait(wait) = self.model.verdict(ask) else { return self.call(ask) };
        self.call(ask)?;
        self.pass(wait - 1);
        prop_assert_eq!(self.model.verdict(ask), Verdict::Wait(1));
        self.call(ask)?;
        self.pass(1);
        let admitted = self.tree.admit(ask, self.moment());
        prop_assert!(admitted.is_ok(), "{:?}", admitted.err());
        admitted.map_or(Ok(()), |admitted| self.admitted(ask, admitted))
    }

    fn admitted(&mut self, ask: &Ask, admitted: Admitted) -> TestCaseResult {
        self.model.take(ask);
        prop_assert_eq!(admitted.view, self.tree.view(self.moment()));
        let holds = self.model.open.last().unwrap();
        for ((held, hold), bucket) in zip(zip(&mut self.held, holds), &self.model.buckets) {
            held.push(Held { at: self.now, units: bucket.units(hold.taken) });
        }
        self.sums[0] += admitted.reservation.tokens();
        self.ids.push(admitted.reservation.id());
        self.open.push(Open {
            call: self.ids.len() - 1,
            whole: ask.whole(),
            reservation: admitted.reservation,
            in_flight: admitted.in_flight,
        });
        // Property 1: in every interval that ends here.
        for (bucket, held) in zip(&self.model.buckets, &self.held) {
            let mut sum = 0;
            for call in held.iter().rev() {
                sum += call.units;
                let burst = i128::from(bucket.quota.burst);
                prop_assert!(
                    bucket.within(sum, burst, self.now - call.at),
                    "{sum} held since {} in {bucket:?}",
                    call.at
                );
            }
        }
        Ok(())
    }

    /// Property 4: every ending settles once, as told; `None` is a drop.
    fn end(&mut self, which: usize, charge: impl Fn(&Open) -> Option<Charge>) -> TestCaseResult {
        if self.open.is_empty() {
            return Ok(());
        }
        let which = which % self.open.len();
        let open = self.open.remove(which);
        let charge = charge(&open);
        let reserved = open.reservation.tokens();
        let returned = self.model.end(which, |bucket, hold| match charge {
            None => hold.taken,
            Some(charge) if bucket.requests && charge.request == RequestCharge::GivenBack => 0,
            Some(_) if bucket.requests => 1,
            Some(charge) => i128::from(charge.tokens),
        });
        for (held, returned) in zip(&mut self.held, returned) {
            held[open.call].units -= returned;
        }
        let settled = match charge {
            Some(charge) => open.reservation.settle(charge, self.moment()),
            None => {
                drop(open.reservation);
                Settled::default()
            }
        };
        drop(open.in_flight);
        let covered = charge.map_or(reserved, |charge| charge.tokens.min(reserved));
        self.sums[1] += covered;
        self.sums[2] += settled.given_back;
        self.sums[3] += settled.forgone;
        let limited = self.model.buckets.iter().any(|bucket| !bucket.requests);
        let overrun = charge.filter(|_| limited).map_or(0, |charge| charge.tokens.saturating_sub(reserved));
        prop_assert_eq!(settled.overrun, overrun);
        prop_assert_eq!(settled.given_back + settled.forgone, reserved - covered);
        Ok(())
    }

    /// After every step: the model's levels, property 3, and the counts of what is open.
    fn check(&self) -> TestCaseResult {
        let levels = self.tree.levels(self.moment());
        prop_assert_eq!(levels.len(), self.model.buckets.len());
        for (level, bucket) in zip(&levels, &self.model.buckets) {
            prop_assert_eq!(i128::from(level.used), bucket.used());
            prop_assert_eq!(i128::from(level.uncovered), bucket.uncovered);
            prop_assert_eq!(i128::from(level.reserved), bucket.reserved);
        }
        let fewest = |requests: bool| {
            let of_kind = self.model.buckets.iter().filter(|bucket| bucket.requests == requests);
            of_kind.map(|bucket| bucket.remaining()).min()
        };
        let view = self.tree.view(self.moment());
        prop_assert_eq!(view.requests.map(|shown| i128::from(shown.remaining)), fewest(true));
        prop_assert_eq!(view.tokens.map(|shown| i128::from(shown.remaining)), fewest(false));
        let [reserved, covered, given_back, forgone] = self.sums;
        let outstanding = self.tree.outstanding();
        prop_assert_eq!(reserved, covered + given_back + forgone + outstanding.tokens);
        prop_assert_eq!(outstanding.reservations, self.open.len() as u64);
        prop_assert_eq!(self.tree.in_flight() as usize, self.open.len());
        Ok(())
    }
}

proptest! {
    #![proptest_config(schedules())]

    #[test]
    fn the_tree_keeps_its_promise_and_decides_as_the_model_at_every_step(
        limits in any_limits(), steps in prop::collection::vec(any_step(), 1..90),
    ) {
        let mut world = World::new(&limits);
        for step in steps {
            world.step(step)?;
        }
        while !world.open.is_empty() {
            world.step(Step::Drop { which: 0 })?;
        }
        prop_assert_eq!(world.tree.outstanding(), Outstanding::default());
        world.ids.dedup();
        prop_assert!(world.ids.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn a_peek_refuses_exactly_when_a_bucket_is_spent_or_all_places_are_taken(
        limits in any_limits(), steps in prop::collection::vec(any_step(), 1..40), least in 0_u64..400,
    ) {
        let mut world = World::new(&limits);
        for step in steps {
            world.step(step)?;
            let crowded = limits.concurrent.is_some_and(|cap| world.tree.in_flight() >= cap);
            let buckets = &world.model.buckets;
            let spent = buckets.iter().any(|bucket| if bucket.requests { bucket.remaining() < 1 } else { bucket.is_spent() });
            let peeked = world.tree.peek(least, world.moment());
            prop_assert_eq!(peeked.is_err(), crowded || spent);
            if let Err(refusal) = peeked {
                prop_assert!(refusal.wait >= Some(LEAST_PEEK) && refusal.requested.is_none());
            }
            world.check()?;
        }
    }

    /// Property 2: calls that come again as soon as they may get at least what refills, less the largest of them, beyond the first burst.
    #[test]
    fn constant_demand_is_given_all_that_refills(
        quota in any_quota(300),
        calls in prop::collection::vec((1_u64..300, 0_u64..=1_000, 0_u64..2_000), 1..60),
    ) {
        let limits = PlanLimits { tokens: vec![quota], reserve_output: ReserveOutput::Cap, ..PlanLimits::default() };
        let tree = LimitTree::new(&limits);
        let model = Model::new(&limits);
        let bucket = &model.buckets[0];
        let mut open: Vec<(u64, u64, Reservation)> = Vec::new();
        let burst = i128::from(quota.burst);
        let (mut now, mut net, mut waits) = (0_u64, 0_i128, 0);
        for (tokens, thousandths, length) in calls {
            let ask = input(tokens.min(quota.burst));
            let wanted = i128::from(ask.input);
            let admitted = loop {
                let refusal = match tree.admit(&ask, Moment::from_nanos(now)) {
                    Ok(admitted) => break admitted,
                    Err(refusal) => refusal,
                };
                // A wait is rounded up to a nanosecond, in which a bucket that is full already refills nothing.
                let nanos = now.saturating_sub(waits);
                prop_assert!(bucket.is_more_than_refilled(net + wanted - burst, nanos), "{net} net of {quota:?} at {now}");
                waits += 1;
                let end = now + u64::try_from(refusal.wait.unwrap().as_nanos()).unwrap();
                // Whoever wants all comes at every settlement too.
                let first = (0..open.len()).min_by_key(|&index| open[index].0).filter(|&index| open[index].0 <= end);
                now = first.map_or(end, |index| open[index].0);
                if let Some(index) = first {
                    let (_, tokens, reservation) = open.swap_remove(index);
                    net -= i128::from(reservation.settle(used(tokens), Moment::from_nanos(now)).given_back);
                }
            };
            net += wanted;
            let due = now + 1 + bucket.fill_time() / 1_000 * length;
            open.push((due, ask.input * thousandths / 1_000, admitted.reservation));
        }
    }

    /// Property 15: calls whose cap is true use at most rate × time + burst + max(burst, largest call − burst) in any interval.
    #[test]
    fn what_is_used_beyond_reservations_is_bounded(
        quota in any_quota(300),
        calls in prop::collection::vec((any_ask(), 0_u64..=1_000, prop_oneof![2 => Just(0_u64), 1 => 0_u64..400], any::<bool>()), 1..80),
        order in any::<usize>(),
    ) {
        let limits = PlanLimits { tokens: vec![quota], ..PlanLimits::default() };
        let tree = LimitTree::new(&limits);
        let model = Model::new(&limits);
        let bucket = &model.buckets[0];
        let mut open: Vec<(u64, Reservation)> = Vec::new();
        let mut admitted: Vec<(u64, i128)> = Vec::new();
        let (mut now, mut largest) = (0, 0);
        for (ask, thousandths, pass, settles) in calls {
            now += bucket.fill_time() / 1_000 * pass;
            if settles && !open.is_empty() {
                let (tokens, reservation) = open.swap_remove(order % open.len());
                let _ = reservation.settle(used(tokens), Moment::from_nanos(now));
            }
            if let Ok(made) = tree.admit(&ask, Moment::from_nanos(now)) {
                let tokens = if thousandths > 300 { ask.whole() } else { ask.whole() * thousandths / 300 };
                open.push((tokens, made.reservation));
                admitted.push((now, i128::from(tokens)));
                largest = largest.max(i128::from(ask.whole()));
            }
        }
        let burst = i128::from(quota.burst);
        let bound = burst + burst.max(largest - burst);
        for (last, &(end, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for &(start, tokens) in admitted[..=last].iter().rev() {
                sum += tokens;
                let is_within = bucket.within(bucket.units(sum), bound, end - start);
                prop_assert!(is_within, "{sum} used from {start} to {end} of {quota:?}");
            }
        }
    }

    /// Property 13.
    #[test]
    fn any_numbers_are_borne(
        amounts in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        shadow in any::<bool>(),
        calls in prop::collection::vec((any::<[u64; 4]>(), 0_u32..64, any::<u64>(), any::<u64>()), 1..30),
    ) {
        let tokens = amounts.iter().map(|&(amount, burst)| quota(amount >> (burst % 64), Period::Hour, burst >> (amount % 64)));
        let limits = PlanLimits { tokens: tokens.collect(), shadow, ..requests(1, Period::Day, u64::MAX) };
        let tree = LimitTree::new(&limits);
        let mut now = 0_u64;
        let mut open = Vec::new();
        for ([input, least_input, output_cap, learned], shift, elapsed, charged) in calls {
            now = now.saturating_add(elapsed >> shift);
            let at = Moment::from_nanos(now);
            let ask = Ask {
                input: input >> shift,
                least_input: least_input >> shift,
                output_cap: output_cap >> shift,
                learned_output: (learned % 3 > 0).then_some(learned),
            };
            let _ = tree.peek(learned, at);
            if let Ok(admitted) = tree.admit(&ask, at) {
                open.push(admitted);
            }
            if charged % 2 == 0 && let Some(admitted) = open.pop() {
                let reserved = admitted.reservation.tokens();
                let settled = admitted.reservation.settle(used(charged >> (shift / 2)), at);
                prop_assert!(settled.given_back.checked_add(settled.forgone).is_some_and(|unused| unused <= reserved));
            }
        }
        drop(open);
        prop_assert_eq!(tree.outstanding(), Outstanding::default());
        prop_assert!(tree.levels(Moment::from_nanos(now)).iter().all(|level| level.reserved == 0 && level.uncovered == 0));
    }
    #[test]
    fn a_shadow_plan_admits_all_and_never_goes_into_debt_by_admission(
        limits in any_limits(), calls in prop::collection::vec((any_ask(), 0_u64..400, 0_u64..500), 1..60),
    ) {
        let tree = LimitTree::new(&PlanLimits { shadow: true, ..limits });
        let mut open = Vec::new();
        let mut now = 0;
        for (ask, charge, pass) in calls {
            now += pass * 1_000_000;
            let at = Moment::from_nanos(now);
            prop_assert!(tree.peek(charge, at).is_ok());
            let before = tree.levels(at);
            let admitted = tree.admit(&ask, at).unwrap();
            for (before, after) in zip(&before, tree.levels(at)) {
                prop_assert!(after.used <= before.used.max(after.quota.burst));
                prop_assert!(after.used == before.used || before.used < after.quota.burst);
            }
            open.push(admitted);
            if charge % 2 == 0 {
                let partial = open.swap_remove(usize::try_from(pass).unwrap() % open.len());
                let before = tree.levels(at);
                let refused = partial.shadow_refused.is_some();
                let settled = partial.reservation.settle(used(charge), at);
                let rose = zip(&before, tree.levels(at)).any(|(before, after)| after.used > before.used);
                prop_assert!(refused || !rose || settled.overrun > 0 || before.len() > 1);
            }
        }
        prop_assert_eq!(tree.outstanding().reservations, open.len() as u64);
        prop_assert_eq!(tree.in_flight() as usize, open.len());
        drop(open);
        prop_assert_eq!(tree.outstanding(), Outstanding::default());
    }
}
