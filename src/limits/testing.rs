//! Makes random limits and schedules of calls for the tests of this module, and a plain model to hold the tree against.
//!
//! Must not know how the tree keeps its numbers: the model restates the rules of the design in the slowest way that is surely right.

use proptest::prelude::*;

use super::{Ask, Period, PlanLimits, Quota, ReserveOutput};

/// `TOLLGATE_SCHEDULES` raises the number of random schedules from 256.
pub(super) fn schedules() -> ProptestConfig {
    let cases = std::env::var("TOLLGATE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(256);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

pub(super) fn any_period() -> impl Strategy<Value = Period> {
    prop_oneof![Just(Period::Second), Just(Period::Minute), Just(Period::Hour), Just(Period::Day)]
}

pub(super) fn any_quota(most: u64) -> impl Strategy<Value = Quota> {
    (1..=most, any_period(), 1..=most).prop_map(|(amount, period, burst)| Quota { amount, period, burst })
}

/// Plans with up to two quotas of requests, up to two of tokens, and perhaps a cap in flight.
pub(super) fn any_limits() -> impl Strategy<Value = PlanLimits> {
    let lists = (prop::collection::vec(any_quota(12), 0..3), prop::collection::vec(any_quota(300), 0..3));
    let reserve = prop_oneof![Just(ReserveOutput::Learned), Just(ReserveOutput::Cap)];
    (lists, prop::option::of(1_u32..8), reserve).prop_map(|((requests, tokens), concurrent, reserve_output)| {
        PlanLimits { requests, tokens, concurrent, reserve_output, shadow: false }
    })
}

pub(super) fn any_ask() -> impl Strategy<Value = Ask> {
    (0_u64..120, 0_u64..200, prop::option::of(0_u64..120)).prop_map(|(input, output_cap, learned_output)| Ask {
        input,
        least_input: input / 4,
        output_cap,
        learned_output,
    })
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A call arrives.
    Call(Ask),
    /// A call arrives, and comes again after exactly the time that it is told.
    PatientCall(Ask),
    /// An open reservation is settled; the whole it may use is scaled by thousandths, which may exceed 1,000.
    Settle { which: usize, thousandths: u64 },
    /// An open reservation ends without anything sent.
    NeverSent { which: usize },
    /// An open reservation is dropped.
    Drop { which: usize },
    /// Time passes: thousandths of what fills the first bucket.
    Pass { thousandths: u64 },
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_ask().prop_map(Step::Call),
        2 => any_ask().prop_map(Step::PatientCall),
        4 => (any::<usize>(), 0_u64..1_300).prop_map(|(which, thousandths)| Step::Settle { which, thousandths }),
        1 => any::<usize>().prop_map(|which| Step::NeverSent { which }),
        1 => any::<usize>().prop_map(|which| Step::Drop { which }),
        5 => prop_oneof![4 => 0_u64..300, 1 => 0_u64..3_000].prop_map(|thousandths| Step::Pass { thousandths }),
    ]
}

/// One bucket of the model: a level that drains, in units of 1/amount nanosecond, and for each open call what is left of its take.
#[derive(Clone, Debug)]
pub(super) struct ModelBucket {
    pub(super) quota: Quota,
    pub(super) requests: bool,
    weight: i128,
    speed: i128,
    level: i128,
    pub(super) uncovered: i128,
    pub(super) reserved: i128,
}

/// What a call holds in one bucket of the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelHold {
    pub(super) taken: i128,
    uncovered: i128,
    /// The level after the take, less what time and give-backs took away since.
    left: i128,
}

/// The rules, restated.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) buckets: Vec<ModelBucket>,
    pub(super) open: Vec<Vec<ModelHold>>,
    concurrent: Option<usize>,
    cap: bool,
}

/// What the model says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    TooLarge,
    /// Refused by buckets alone: the wait, in nanoseconds, is a promise.
    Wait(u64),
    /// Refused by the cap in flight or the uncovered bound, perhaps by buckets too: the wait.
    NoPromise(u64),
}

impl ModelBucket {
    fn new(quota: Quota, requests: bool) -> Self {
        ModelBucket {
            quota,
            requests,
            weight: i128::try_from(quota.period.length().as_nanos()).unwrap(),
            speed: i128::from(quota.amount),
            level: 0,
            uncovered: 0,
            reserved: 0,
        }
    }

    fn burst(&self) -> i128 {
        i128::from(self.quota.burst)
    }

    pub(super) fn used(&self) -> i128 {
        (self.level + self.weight - 1) / self.weight
    }

    pub(super) fn remaining(&self) -> i128 {
        (self.burst() * self.weight - self.level).max(0) / self.weight
    }

    /// Nanoseconds in which a full bucket empties.
    pub(super) fn fill_time(&self) -> u64 {
        u64::try_from(self.burst() * self.weight / self.speed).unwrap()
    }

    /// What tokens weigh in units of the level.
    pub(super) fn units(&self, tokens: i128) -> i128 {
        tokens * self.weight
    }

    /// Whether `units` are within `burst + rate × nanos`.
    pub(super) fn within(&self, units: i128, burst: i128, nanos: u64) -> bool {
        units <= burst * self.weight + i128::from(nanos) * self.speed
    }

    /// Whether `tokens` are more than what refills in `nanos`.
    pub(super) fn is_more_than_refilled(&self, tokens: i128, nanos: u64) -> bool {
        tokens * self.weight > i128::from(nanos) * self.speed
    }

    pub(super) fn is_spent(&self) -> bool {
        self.level >= self.burst() * self.weight
    }

    fn missing(&self, tokens: i128) -> i128 {
        self.level + tokens * self.weight - self.burst() * self.weight
    }

    /// (amount, uncovered, whether the bound refuses)
    fn want(&self, ask: &Ask, cap: bool) -> (i128, i128, bool) {
        if self.requests {
            return (1, 0, false);
        }
        let whole = i128::from(ask.input + ask.output_cap);
        let output = if cap { ask.output_cap } else { ask.learned_output.unwrap_or(u64::MAX).min(ask.output_cap) };
        let reserve = i128::from(ask.input + output).min(self.burst());
        let too_much = |uncovered: i128| uncovered > 0 && self.uncovered + uncovered > self.burst();
        if !too_much(whole - reserve) {
            return (reserve, whole - reserve, false);
        }
        let reserve = whole.min(self.burst());
        (reserve, whole - reserve, too_much(whole - reserve) && self.uncovered > 0)
    }
}

impl Model {
    pub(super) fn new(limits: &PlanLimits) -> Self {
        let requests = limits.requests.iter().map(|&quota| ModelBucket::new(quota, true));
        let tokens = limits.tokens.iter().map(|&quota| ModelBucket::new(quota, false));
        Model {
            buckets: requests.chain(tokens).collect(),
            open: Vec::new(),
            concurrent: limits.concurrent.map(|cap| cap as usize),
            cap: limits.reserve_output == ReserveOutput::Cap,
        }
    }

    pub(super) fn pass(&mut self, nanos: u64) {
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            let drained = i128::from(nanos) * bucket.speed;
            bucket.level = (bucket.level - drained).max(0);
            self.open.iter_mut().for_each(|holds| holds[index].left -= drained);
        }
    }

    pub(super) fn verdict(&self, ask: &Ask) -> Verdict {
        let second = 1_000_000_000;
        let least = ask.least_input + if self.cap { ask.output_cap } else { 0 };
        if self.buckets.iter().any(|bucket| !bucket.requests && i128::from(least) > bucket.burst()) {
            return Verdict::TooLarge;
        }
        let mut wait = 0;
        let mut promise = true;
        for bucket in &self.buckets {
            let (amount, _, refused) = bucket.want(ask, self.cap);
            let nanos = (bucket.missing(amount).max(0) + bucket.speed - 1) / bucket.speed;
            wait = wait.max(u64::try_from(nanos).unwrap());
            promise &= !refused;
        }
        promise &= self.concurrent.is_none_or(|cap| self.open.len() < cap);
        match (promise, wait) {
            (true, 0) => Verdict::Admitted,
            (true, wait) => Verdict::Wait(wait),
            (false, wait) => Verdict::NoPromise(wait.max(second)),
        }
    }

    /// Takes what an admitted call asks for.
    pub(super) fn take(&mut self, ask: &Ask) {
        let mut holds = Vec::new();
        for bucket in &mut self.buckets {
            let (taken, uncovered, _) = bucket.want(ask, self.cap);
            bucket.level += taken * bucket.weight;
            bucket.uncovered += uncovered;
            bucket.reserved += taken;
            holds.push(ModelHold { taken, uncovered, left: bucket.level });
        }
        self.open.push(holds);
    }

    /// Ends a call: `used` says for each bucket what it used; `None`: it was dropped. Returns what each bucket got back, in its units.
    pub(super) fn end(&mut self, which: usize, used: impl Fn(&ModelBucket, &ModelHold) -> i128) -> Vec<i128> {
        let ended = self.open.remove(which);
        let mut returned = Vec::new();
        for (index, (bucket, hold)) in self.buckets.iter_mut().zip(ended).enumerate() {
            let used = used(bucket, &hold);
            bucket.uncovered -= hold.uncovered;
            bucket.reserved -= hold.taken;
            let unused = (hold.taken - used).max(0);
            let back = bucket.units(unused).min(hold.left.max(0));
            let overrun = (used - hold.taken).max(0);
            bucket.level += bucket.units(overrun) - back;
            self.open.iter_mut().for_each(|holds| holds[index].left -= back);
            returned.push(back);
        }
        returned
    }
}
