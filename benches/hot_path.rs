//! What each stage of a call takes: nanoseconds, the median of 21 batches, and allocations. No network.
//!
//! `cargo bench --bench hot_path`. Fails where a promise of the design is broken by a wide margin: a decision of the limiter
//! within a microsecond, 300 MB/s for the strict reading of bodies, no allocation for an event that passes.

#[path = "support/measure.rs"]
mod measure;
#[path = "support/report.rs"]
mod report;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/texts.rs"]
mod texts;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use smallvec::SmallVec;
use tollgate::gateway::authenticate::authenticate;
use tollgate::limits::{Ask, Charge, LimitTree, Period, PlanLimits, Quota, RequestCharge};
use tollgate::net::clock::Moment;
use tollgate::stream::{Scanner, UsageChunk};
use tollgate::tenant::key::KeyDigest;
use tollgate::upstream::{OutBody, shape};
use tollgate::usage::record::{Outcome, UsageRecord};
use tollgate::usage::{BodyScanner, Dialect, Source};
use tollgate::wire::endpoint::{self, Endpoint};
use tollgate::wire::peek::{Rules, peek};
use tollgate::wire::splice::{ask_for_usage, splice};

use measure::{Figure, Meter};
use report::{Report, say};
use rig::{Played, Rig, bare, call, client_headers, request, upstream};

/// Calls to the limiter in each of its threads.
const TAKES: u64 = 4_000;
/// Events of the streams that are scanned.
const EVENTS: usize = 256;

fn main() -> ExitCode {
    match run() {
        Ok(report) => report.finish(),
        Err(error) => {
            say(&format!("hot_path could not run: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report, Box<dyn Error>> {
    let mut bench =
        Bench { meter: Meter::new()?, rig: Rig::new()?, report: Report::new(&["stage", "ns", "allocations"]) };
    bench.before_the_body()?;
    bench.bodies(&texts::chat(true), "500 B")?;
    bench.bodies(&long_chat(10 << 20), "10 MiB")?;
    bench.limits();
    bench.outgoing()?;
    bench.streams();
    bench.after_the_answer();
    bench.calls()?;
    Ok(bench.report)
}

/// A chat request of about `size` bytes: text, with a line end, written as an escape, every hundred bytes.
fn long_chat(size: usize) -> Bytes {
    let line = format!("{}\\n", "some words of a long document, as they come ".repeat(2));
    let head = r#"{"model":"bench-model","stream":true,"messages":[{"role":"user","content":""#;
    Bytes::from(format!("{head}{}\"}}],\"max_tokens\":256}}", line.repeat(size / line.len())))
}

struct Bench {
    meter: Meter,
    rig: Rig,
    report: Report,
}

impl Bench {
    fn stage(&mut self, name: &str, pieces: u64, work: impl FnMut()) -> Figure {
        let figure = self.meter.measure(pieces, work);
        self.report.row(name, figure.cells());
        figure
    }

    fn before_the_body(&mut self) -> Result<(), Box<dyn Error>> {
        let headers = client_headers(500);
        let running = self.rig.running.load_full();
        let services = Arc::clone(&self.rig.services);
        let peer = self.rig.peer;
        let who = || authenticate(black_box(&headers), &running.directory, &services.sign_ins, peer);
        who()?;
        self.stage("authenticate", 1, || drop(black_box(who())));
        self.stage("  of that, SHA-256 of the key", 1, || {
            black_box(KeyDigest::of(black_box(b"sk-gateway")));
        });
        let path = "/v1/chat/completions";
        self.stage("find the endpoint", 1, || {
            let _ = black_box(endpoint::find(&Method::POST, black_box(path)));
        });
        self.stage("make a request id", 1, || drop(black_box(services.random.request_id())));
        Ok(())
    }

    /// The strict reading, and what is changed after it.
    fn bodies(&mut self, body: &Bytes, size: &str) -> Result<(), Box<dyn Error>> {
        let read = || peek(Endpoint::ChatCompletions, black_box(body), Rules::default());
        let seen = read().map_err(|fault| format!("a body of the bench is refused: {fault:?}"))?;
        let figure = self.stage(&format!("peek, {size}"), 1, || drop(black_box(read())));
        let megabytes = body.len() as f64 / figure.nanos * 1e3;
        if body.len() > 1 << 20 {
            self.report.row("  in MB/s", [format!("{megabytes:.0}")]);
            self.report.at_most("ns a byte to read a body of 10 MiB", figure.nanos / body.len() as f64, 6.7);
        }
        self.stage(&format!("splice in include_usage, {size}"), 1, || {
            let mut edits: SmallVec<_> = ask_for_usage(black_box(&seen)).into_iter().collect();
            black_box(splice(body, &mut edits));
        });
        Ok(())
    }

    fn limits(&mut self) {
        for buckets in [1, 3] {
            let tree = LimitTree::new(&plan(buckets));
            let mut at = 0;
            let figure = self.stage(&format!("admit and settle, {}", count(buckets)), 1, || {
                at += 1_000;
                take(&tree, at);
            });
            self.report.at_most(&format!("ns to admit and settle, {}", count(buckets)), figure.nanos, 4_000.0);
        }
        for threads in [1, 64] {
            let nanos = contended(threads);
            let name = format!("admit and settle, 3 buckets, {threads} threads on one tenant");
            self.report.row(&name, [format!("{nanos:.1}")]);
            self.report.at_most(&format!("ns of wall time: {name}"), nanos, 20_000.0);
        }
    }

    fn outgoing(&mut self) -> Result<(), Box<dyn Error>> {
        let running = self.rig.running.load_full();
        let upstream = running.upstreams.first().ok_or("the bench has no upstream")?;
        let body = texts::chat(false);
        let headers = client_headers(body.len());
        self.stage("shape the upstream's request", 1, || {
            let body = OutBody::from(body.clone());
            black_box(shape(upstream, Endpoint::ChatCompletions, black_box(headers.clone()), body));
        });
        Ok(())
    }

    fn streams(&mut self) {
        for (name, usage_chunk) in [("Keep", UsageChunk::Keep), ("TakeOut", UsageChunk::TakeOut)] {
            let events = texts::events(EVENTS, true);
            let figure = self.stage(&format!("scan a stream, an event, {name}"), events.len() as u64, || {
                let mut scanner = Scanner::new(Dialect::Chat, usage_chunk);
                for event in &events {
                    black_box(scanner.feed(black_box(event.clone())));
                }
                black_box(scanner.usage());
            });
            // A few for the scanner itself; none for an event.
            self.report.at_most(&format!("allocations for a scanned event, {name}"), figure.allocations, 0.1);
        }
    }

    fn after_the_answer(&mut self) {
        let answer = texts::answer();
        self.stage("scan a JSON answer, 600 B", 1, || {
            let mut scanner = BodyScanner::new(Dialect::Chat);
            scanner.feed(black_box(&answer));
            black_box(scanner.usage());
        });
        let mut line = Vec::with_capacity(1_024);
        let record = record();
        self.stage("write the record's line", 1, || {
            line.clear();
            black_box(&record).write(&mut line);
            black_box(&line);
        });
    }

    /// The whole of `Gateway::handle`, less what making the request, playing the upstream and reading the answer costs.
    fn calls(&mut self) -> Result<(), Box<dyn Error>> {
        self.whole("a whole call, 600 B answer", &Played::json(texts::answer()), &texts::chat(false))?;
        for (name, body) in [("Keep", usage_asked()), ("TakeOut", texts::chat(true))] {
            let short = self.net(&Played::stream(texts::events(0, true)), &body)?;
            let long = self.net(&Played::stream(texts::events(EVENTS, true)), &body)?;
            let each = long.without(short, EVENTS as f64);
            self.report.row(&format!("a whole call, streamed, no text, {name}"), short.cells());
            self.report.row(&format!("  each event more, {name}"), each.cells());
            self.report.at_most(&format!("allocations for an event of a call, {name}"), each.allocations, 0.1);
        }
        Ok(())
    }

    fn whole(&mut self, name: &str, played: &Played, body: &Bytes) -> Result<(), Box<dyn Error>> {
        let figure = self.net(played, body)?;
        self.report.row(name, figure.cells());
        Ok(())
    }

    fn net(&mut self, played: &Played, body: &Bytes) -> Result<Figure, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let running = self.rig.running.load_full();
        let to = running.upstreams.first().ok_or("the bench has no upstream")?;
        let headers = client_headers(body.len());
        let upstream = upstream(played.clone());
        let gateway = self.rig.gateway(upstream.clone());
        let peer = self.rig.peer;
        let expected = runtime.block_on(call(&gateway, request(&headers, body), peer));
        if expected < 100 {
            return Err("a call of the bench is not answered".into());
        }
        let through = self.meter.measure(1, || {
            black_box(runtime.block_on(call(&gateway, request(&headers, body), peer)));
        });
        let empty = http::HeaderMap::new();
        let direct = self.meter.measure(1, || {
            let outgoing = shape(to, Endpoint::ChatCompletions, empty.clone(), OutBody::empty());
            black_box(runtime.block_on(bare(&upstream, outgoing, request(&headers, body))));
        });
        // The request that `bare` is handed is shaped by the gateway in the other case.
        let shaped = self.meter.measure(1, || {
            black_box(shape(to, Endpoint::ChatCompletions, empty.clone(), OutBody::empty()));
        });
        self.rig.services.metrics.upkeep();
        Ok(through.without(direct.without(shaped, 1.0), 1.0))
    }
}

/// A streamed chat whose client asks for the usage itself.
fn usage_asked() -> Bytes {
    let text =
        String::from_utf8_lossy(&texts::chat(true)).replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    Bytes::from(text)
}

fn count(buckets: usize) -> String {
    if buckets == 1 { "1 bucket".to_owned() } else { format!("{buckets} buckets") }
}

/// Limits that never bind.
fn plan(buckets: usize) -> PlanLimits {
    let quota = |period| Quota { amount: 100_000_000, period, burst: 1_000_000_000_000 };
    let mut plan = PlanLimits { tokens: vec![quota(Period::Minute)], ..PlanLimits::default() };
    if buckets > 1 {
        plan.requests = vec![quota(Period::Second), quota(Period::Hour)];
        plan.concurrent = Some(100_000);
    }
    plan
}

/// One call's dealings with its limits, `at` nanoseconds from the start.
fn take(tree: &Arc<LimitTree>, at: u64) {
    let ask = Ask { input: 60, least_input: 20, output_cap: 256, learned_output: Some(80) };
    if let Ok(admitted) = tree.admit(black_box(&ask), Moment::from_nanos(at)) {
        let charge = Charge { tokens: 98, request: RequestCharge::Kept };
        black_box(admitted.reservation.settle(charge, Moment::from_nanos(at + 500)));
    }
}

/// Wall nanoseconds for each of the calls that so many threads make at once.
fn contended(threads: u64) -> f64 {
    let tree = LimitTree::new(&plan(3));
    let ready = Barrier::new(threads as usize + 1);
    let begun = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                ready.wait();
                (1..=TAKES).for_each(|n| take(&tree, n * 1_000));
            });
        }
        ready.wait();
        Instant::now()
    });
    begun.elapsed().as_nanos() as f64 / (threads * TAKES) as f64
}

fn record() -> UsageRecord<'static> {
    UsageRecord {
        time: 1_795_322_400_123,
        id: "req_ceeeb786ab1318468a45bb79032e4f2b",
        tenant: "bench",
        key: Some("bench"),
        route: Some("*"),
        model: Some("bench-model"),
        served_model: Some("bench-model-1"),
        upstream: Some("mock"),
        endpoint: "chat/completions",
        stream: true,
        status: Some(200),
        outcome: Outcome::Ok,
        attempts: 1,
        input_tokens: Some(57),
        cached_tokens: Some(0),
        output_tokens: Some(41),
        reasoning_tokens: Some(0),
        usage_source: Some(Source::Reported),
        cost_usd: None,
        price_version: None,
        first_byte_ms: Some(312),
        duration_ms: 1_204,
        overhead_us: Some(41),
        bytes_in: 503,
        bytes_out: 12_345,
        tag: None,
    }
}
