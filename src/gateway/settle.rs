//! Settles a call exactly once: what it is charged, what is counted, its one record.
//!
//! Must not know how a call came to its end: it is told ([`Ending`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::call::Facts;
use super::cost::{Cost, cost};
use super::services::Services;
use crate::limits::{Charge, Observed, RequestCharge};
use crate::net::clock::Moment;
use crate::telemetry::series;
use crate::usage::record::{Outcome, UsageRecord};
use crate::usage::{Billed, Source, Usage};
use crate::wire::endpoint::Endpoint;

mod verdict;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer passed whole.
    Whole,
    /// The upstream answered with an error.
    UpstreamRefused(InputCharge),
    /// Nothing was sent upstream: nothing is charged, the request neither.
    NeverSent(Outcome),
    /// It broke off, on whichever side.
    Broken(Outcome),
}

/// Whether a refused call's input was worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputCharge {
    /// Refused unread: no tokens.
    None,
    /// Read, then refused by a content filter: its input is charged.
    Filtered,
}

/// What a call is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    usage: Usage,
    /// Who counted; `None` where no token is charged.
    source: Option<Source>,
    request: RequestCharge,
    /// Why the usage is an estimate.
    estimated: Option<&'static str>,
}

impl Verdict {
    fn reported(usage: Usage) -> Self {
        Verdict { usage, source: Some(Source::Reported), request: RequestCharge::Kept, estimated: None }
    }

    fn no_tokens(request: RequestCharge) -> Self {
        Verdict { usage: Usage::default(), source: None, request, estimated: None }
    }

    /// What the call is billed by.
    fn billed(&self, facts: &Facts) -> Billed {
        let details = facts.reading.details.as_deref().copied().unwrap_or_default();
        Billed { usage: self.usage, details, tier: facts.reading.tier, source: self.source }
    }
}

type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Settlements that wait at most; beyond, they are done where they arise.
const QUEUE: usize = 65_536;

/// The way to the settle task.
#[derive(Clone)]
pub struct SettleQueue {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Settle(Settling),
    Flush(oneshot::Sender<()>),
}

/// The settle task: does what was dropped unsettled, in order.
pub struct SettleTask {
    jobs: mpsc::Receiver<Job>,
}

impl SettleQueue {
    /// A queue and its task.
    #[must_use]
    pub fn new() -> (Self, SettleTask) {
        let (send, receive) = mpsc::channel(QUEUE);
        (SettleQueue { jobs: send }, SettleTask { jobs: receive })
    }

    /// Settles here and now where that needs no waiting (limits of one replica never do), else in the task.
    pub fn finish(&self, settling: impl Future<Output = ()> + Send + 'static) {
        let mut settling: Settling = Box::pin(settling);
        if settling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.enqueue_boxed(settling);
        }
    }

    /// Hands a dropped call's settlement to the task.
    pub fn enqueue(&self, settling: impl Future<Output = ()> + Send + 'static) {
        self.enqueue_boxed(Box::pin(settling));
    }

    fn enqueue_boxed(&self, settling: Settling) {
        let refused = match self.jobs.try_send(Job::Settle(settling)) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => job,
        };
        // The task is behind or gone: nothing may be lost, so it is done here.
        if let Job::Settle(mut settling) = refused {
            let _ = settling.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Waits until all that was handed over before is settled.
    pub async fn flush(&self) {
        let (done, all_done) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            let _ = all_done.await;
        }
    }
}

impl SettleTask {
    /// Runs until every queue handle is gone.
    pub async fn run(mut self) {
        while let Some(job) = self.jobs.recv().await {
            match job {
                Job::Settle(settling) => settling.await,
                Job::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }
}

/// Does all that is due at a call's end. Async, as a limit store will be asked; with limits of one replica it never waits.
pub async fn settle(services: Arc<Services>, mut facts: Box<Facts>, ending: Ending, now: Moment) {
    let verdict = verdict::verdict(&facts, ending, now);
    let outcome = outcome(ending);
    settle_limits(&services, &mut facts, &verdict, now);
    let cost = cost(&facts, &verdict.billed(&facts));
    if let (Some(told), Some(usd)) = (&facts.told_cost, cost.usd()) {
        let _ = told.set(usd);
    }
    count(&services, &facts, &verdict, &cost, outcome, now);
    if ending == Ending::Whole && verdict.source == Some(Source::Reported) {
        learn(&facts, &verdict.usage, now);
    }
    write_record(&services, &facts, &verdict, &cost, outcome, now);
    if facts.log {
        log_line(&facts, &verdict, outcome, now);
    }
}

fn outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Whole => Outcome::Ok,
        Ending::UpstreamRefused(_) => Outcome::UpstreamError,
        Ending::NeverSent(outcome) | Ending::Broken(outcome) => outcome,
    }
}

fn settle_limits(services: &Services, facts: &mut Facts, verdict: &Verdict, now: Moment) {
    let Some(reservation) = facts.reservation.take() else {
        return;
    };
    let meters = facts.caller.tenant.meters(&services.metrics);
    let settled = reservation.settle(Charge { tokens: verdict.usage.total(), request: verdict.request }, now);
    meters.reservations.decrement(1.0);
    meters.given_back.increment(settled.given_back);
    meters.forgone.increment(settled.forgone);
    meters.overrun.increment(settled.overrun);
}

fn count(services: &Services, facts: &Facts, verdict: &Verdict, cost: &Cost, outcome: Outcome, now: Moment) {
    let (metrics, tenant) = (&services.metrics, &facts.caller.tenant);
    let meters = match &facts.matched {
        Some(matched) => tenant.meters(metrics).routed(matched.index, tenant, &matched.pattern, metrics),
        None => tenant.meters(metrics).unrouted(tenant, metrics),
    };
    meters.ended(outcome, metrics);
    let usage = verdict.usage;
    for (counter, tokens) in [
        (&meters.input, usage.input),
        (&meters.cached, usage.cached),
        (&meters.output, usage.output),
        (&meters.reasoning, usage.reasoning),
    ] {
        if tokens > 0 {
            counter.increment(tokens);
        }
    }
    if let Some(usd) = cost.usd() {
        meters.cost(usd, metrics);
    }
    if facts.matched.is_none() && facts.by_path().is_none() {
        return;
    }
    let word = endpoint_word(facts);
    if let Cost::Unknown(why) = cost {
        metrics.counter(&series::UNPRICED, &[word, why.as_str()]).increment(1);
    }
    if let Some(reason) = verdict.estimated {
        metrics.counter(&series::ESTIMATED, &[word, reason]).increment(1);
    }
    if let Some(reason) = facts.reading.unmetered {
        metrics.counter(&series::UNMETERED, &[word, reason]).increment(1);
    }
    for anomaly in facts.reading.anomalies.iter() {
        metrics.counter(&series::ANOMALIES, &[word, anomaly.as_str()]).increment(1);
    }
    let (Some(matched), Some(endpoint)) = (&facts.matched, facts.endpoint) else {
        return;
    };
    if facts.sent.is_none() {
        return;
    }
    services.overhead.record(facts.overhead);
    let route = services.route(&matched.pattern, endpoint);
    let duration = now.since(facts.received);
    route.duration.record(duration);
    route.input.record(usage.input as f64);
    if endpoint.generates() {
        route.output.record(usage.output as f64);
    }
    if let (true, Some(first)) = (facts.stream, facts.first_byte) {
        route.first_token.record(first.since(facts.received));
        if usage.output > 1 {
            let each = now.since(first).as_secs_f64() / (usage.output - 1) as f64;
            route.per_token.record(each);
        }
    }
}

/// What this call teaches about the next ones.
fn learn(facts: &Facts, usage: &Usage, now: Moment) {
    let (Some(learned), Some(sent)) = (&facts.learned, facts.sent) else {
        return;
    };
    // Hidden reasoning has tokens and no text, so it says nothing about bytes a token.
    let output_bytes = if usage.reasoning == 0 { facts.reading.text_bytes } else { 0 };
    let output_time = now.since(sent);
    learned.observe(
        &Observed {
            input_bytes: facts.estimate.input_bytes,
            input_tokens: usage.input,
            output_bytes,
            output_tokens: usage.output,
            output_time,
        },
        now,
    );
}

fn write_record(services: &Services, facts: &Facts, verdict: &Verdict, cost: &Cost, outcome: Outcome, now: Moment) {
    if services.records.is_empty() {
        return;
    }
    let millis = |to: Moment| u64::try_from(to.since(facts.received).as_millis()).unwrap_or(u64::MAX);
    let billed = verdict.billed(facts);
    let charged = billed.source.map(|_| billed.usage);
    let record = UsageRecord {
        time: unix_millis().saturating_sub_unsigned(millis(now)),
        id: &facts.id,
        tenant: &facts.caller.tenant.name,
        key: Some(&facts.caller.key),
        route: facts.matched.as_ref().map(|matched| &*matched.pattern),
        model: facts.model.as_deref(),
        served_model: facts.served_model.as_deref(),
        upstream: facts.upstream.as_deref(),
        endpoint: endpoint_word(facts),
        stream: facts.stream,
        status: (facts.status != 0).then_some(facts.status),
        outcome,
        attempts: facts.attempts,
        input_tokens: charged.map(|usage| usage.input),
        cached_tokens: charged.map(|usage| usage.cached),
        output_tokens: charged.map(|usage| usage.output),
        reasoning_tokens: charged.map(|usage| usage.reasoning),
        usage_source: billed.source,
        cost_usd: cost.usd(),
        price_version: cost.version(),
        first_byte_ms: facts.first_byte.map(millis),
        duration_ms: millis(now),
        overhead_us: facts.sent.map(|_| u64::try_from(facts.overhead.as_micros()).unwrap_or(u64::MAX)),
        bytes_in: facts.bytes_in,
        bytes_out: facts.bytes_out,
        tag: facts.tag.as_deref(),
    };
    let mut line = Vec::with_capacity(640);
    record.write(&mut line);
    for sink in &services.records {
        sink.push(&line);
    }
}

/// The bounded word for what was asked for.
fn endpoint_word(facts: &Facts) -> &'static str {
    facts.endpoint.map_or("other", Endpoint::path)
}

fn unix_millis() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn log_line(facts: &Facts, verdict: &Verdict, outcome: Outcome, now: Moment) {
    tracing::info!(
        id = facts.id,
        tenant = &*facts.caller.tenant.name,
        route = facts.matched.as_ref().map(|matched| &*matched.pattern),
        upstream = facts.upstream.as_deref(),
        status = facts.status,
        outcome = outcome.as_str(),
        input_tokens = verdict.usage.input,
        output_tokens = verdict.usage.output,
        duration_ms = u64::try_from(now.since(facts.received).as_millis()).unwrap_or(u64::MAX),
        "call"
    );
}

#[cfg(test)]
mod tests;
