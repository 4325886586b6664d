//! The real binary with everything on, direct against through: time, calls, events, CPU, memory, start.
//!
//! `cargo bench --bench proxy`; about 25 s. Client and upstream share this process and one thread, so "direct" needs no wake-up
//! of another core: what is added includes what any proxy must pay. CPU a call hardly moves when the machine is busy, times
//! do. Fails where an answer is wrong, or where memory or start are beyond twice (five times) what the design promises.

#[path = "support/client.rs"]
mod client;
#[path = "support/proc.rs"]
mod proc;
#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;
#[path = "support/texts.rs"]
mod texts;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::HashSet;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use client::{Connection, Until, chat_call, page};
use process::{Cores, Gateway};
use report::{Report, percentile, say};
use upstream::Left;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(3);
/// Connections that call at once.
const CONNECTIONS: usize = 64;
/// Open streams whose memory is weighed.
const STREAMS: usize = 1_000;
/// Calls one at a time: so many on each side, in turns of fifty.
const SINGLE: usize = 2_000;

fn main() -> ExitCode {
    let cores = process::prepare();
    match run(cores) {
        Ok(report) => report.finish(),
        Err(error) => {
            say(&format!("proxy could not run: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cores: Cores) -> Fallible<Report> {
    let place = match cores {
        Cores::Own => "it has core 0 to itself",
        Cores::Shared => "it shares every core with this bench",
    };
    say(&format!("{}: {place}", process::binary()?.display()));
    if std::env::var_os("TOLLGATE").is_none() {
        say("built for benches, with tokio's test-util; TOLLGATE names another binary");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measured(cores))
}

async fn measured(cores: Cores) -> Fallible<Report> {
    let (upstream, left) = upstream::start().await?;
    let begun = Instant::now();
    let gateway = Gateway::start(upstream, cores)?;
    let mut bench =
        Bench { upstream, left, begun, gateway, report: Report::new(&["", "direct", "through", "gateway's CPU, µs"]) };
    bench.start_and_size().await?;
    bench.open_streams().await?;
    bench.one_at_a_time().await?;
    let call = chat_call(&texts::chat(false));
    bench.load("calls a second, 64 connections", &call, Count::Calls).await?;
    let call = chat_call(&usage_asked());
    bench.load("events a second, 64 streams", &call, Count::Events).await?;
    let call = chat_call(&texts::chat(true));
    bench.load("the same, usage chunk taken out", &call, Count::Events).await?;
    bench.nothing_lost().await?;
    Ok(bench.report)
}

/// A streamed chat whose client asks for the usage itself.
fn usage_asked() -> Vec<u8> {
    let text = String::from_utf8_lossy(&texts::chat(true)).into_owned();
    text.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1).into_bytes()
}

/// What a load is counted in.
#[derive(Clone, Copy)]
enum Count {
    Calls,
    Events,
}

/// What a load brought.
#[derive(Default)]
struct Done {
    calls: usize,
    events: usize,
    seconds: f64,
}

impl Done {
    fn number(&self, count: Count) -> f64 {
        match count {
            Count::Calls => self.calls as f64,
            Count::Events => self.events as f64,
        }
    }

    fn each_second(&self, count: Count) -> String {
        format!("{:.0}", self.number(count) / self.seconds)
    }
}

struct Bench {
    upstream: SocketAddr,
    left: UnboundedReceiver<Left>,
    begun: Instant,
    gateway: Gateway,
    report: Report,
}

impl Bench {
    async fn start_and_size(&mut self) -> Fallible<()> {
        let call = chat_call(&texts::chat(false));
        Connection::open(self.gateway.address).await?.call(&call, Until::End).await?;
        let first = self.begun.elapsed().as_secs_f64() * 1e3;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let idle = proc::resident(self.gateway.process.id())? as f64 / 1024.0;
        self.report.row("start to first answer, ms", ["–".to_owned(), format!("{first:.0}")]);
        self.report.row("resident when idle, MiB", ["–".to_owned(), format!("{idle:.1}")]);
        self.report.at_most("ms from start to the first answer, promised within 100", first, 500.0);
        self.report.at_most("MiB when idle, promised within 20", idle, 40.0);
        Ok(())
    }

    async fn open_streams(&mut self) -> Fallible<()> {
        let idle = proc::resident(self.gateway.process.id())?;
        // Each takes two files of this process, its own and the upstream's.
        let number = STREAMS.min(proc::files_allowed().saturating_sub(200) / 2);
        let mut open = Vec::with_capacity(number);
        for index in 0..number {
            let body = format!(
                r#"{{"model":"{}{index}","stream":true,"messages":[{{"role":"user","content":"Go on."}}]}}"#,
                upstream::SILENT
            );
            let mut connection = Connection::open(self.gateway.address).await?;
            connection.call(&chat_call(body.as_bytes()), Until::FirstEvent).await?;
            open.push(connection);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let each = proc::resident(self.gateway.process.id())?.saturating_sub(idle) as f64 / number as f64;
        self.report.row(&format!("{number} open streams over idle, KiB each"), ["–".to_owned(), format!("{each:.1}")]);
        self.report.at_most("KiB for an open stream, promised within 40", each, 80.0);
        let closed = Instant::now();
        drop(open);
        let mut last = closed;
        let mut seen = HashSet::new();
        let until = tokio::time::Instant::now() + Duration::from_secs(5);
        while let Ok(Some(left)) = tokio::time::timeout_at(until, self.left.recv()).await {
            last = last.max(left.at);
            seen.insert(left.number);
            if seen.len() == number {
                break;
            }
        }
        let late = last.duration_since(closed).as_secs_f64() * 1e3;
        self.report.row("until the upstream saw them all leave, ms", ["–".to_owned(), format!("{late:.0}")]);
        self.same("streams that the upstream saw their clients leave", seen.len(), number);
        Ok(())
    }

    fn same(&mut self, what: &str, got: usize, wanted: usize) {
        self.report.at_most(&format!("{what}: {got}, not {wanted}; apart by"), got.abs_diff(wanted) as f64, 0.0);
    }

    /// Both sides in turns, so that what the machine does besides touches both alike.
    async fn one_at_a_time(&mut self) -> Fallible<()> {
        let call = chat_call(&texts::chat(false));
        let mut connections = [Connection::open(self.upstream).await?, Connection::open(self.gateway.address).await?];
        let mut times = [Vec::with_capacity(SINGLE), Vec::with_capacity(SINGLE)];
        for connection in &mut connections {
            for _ in 0..200 {
                connection.call(&call, Until::End).await?;
            }
        }
        let before = proc::cpu(self.gateway.process.id())?;
        for _ in 0..SINGLE / 50 {
            for (connection, times) in connections.iter_mut().zip(&mut times) {
                for _ in 0..50 {
                    let begun = Instant::now();
                    connection.call(&call, Until::End).await?;
                    times.push(begun.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        let cpu = (proc::cpu(self.gateway.process.id())? - before).as_secs_f64() * 1e6 / SINGLE as f64;
        let [direct, through] = times.map(|mut times| percentile(&mut times, 0.5));
        let cells = [format!("{direct:.0}"), format!("{through:.0}"), format!("{cpu:.1} a call")];
        self.report.row("one call at a time, p50, µs", cells);
        self.report.row("  added", ["–".to_owned(), format!("{:+.0}", through - direct)]);
        Ok(())
    }

    async fn load(&mut self, name: &str, call: &[u8], count: Count) -> Fallible<()> {
        let direct = load(self.upstream, call, LOAD / 2).await?;
        load(self.gateway.address, call, LOAD / 6).await?;
        let before = proc::cpu(self.gateway.process.id())?;
        let through = load(self.gateway.address, call, LOAD).await?;
        let cpu = (proc::cpu(self.gateway.process.id())? - before).as_secs_f64() * 1e6 / through.number(count);
        let unit = match count {
            Count::Calls => "a call",
            Count::Events => "an event",
        };
        self.report.row(name, [direct.each_second(count), through.each_second(count), format!("{cpu:.1} {unit}")]);
        Ok(())
    }

    /// One record for each call counted, none of them dropped.
    async fn nothing_lost(&mut self) -> Fallible<()> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let metrics = page(self.gateway.admin, "/metrics").await?;
        let sum = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.trim().parse::<f64>().ok()).sum()
        };
        let records = self.gateway.records()?.len();
        self.report.row("usage records", ["–".to_owned(), records.to_string()]);
        self.same("records against calls counted", records, sum("tollgate_requests_total{") as usize);
        Ok(())
    }
}

/// Calls from all connections at once; each ends with the last call that it began in time.
async fn load(to: SocketAddr, call: &[u8], length: Duration) -> Fallible<Done> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let call = call.to_vec();
        tasks.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut done = Done::default();
            while begun.elapsed() < length {
                done.events += connection.call(&call, Until::End).await?;
                done.calls += 1;
            }
            Ok::<_, std::io::Error>(done)
        });
    }
    let mut all = Done::default();
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        all.calls += done.calls;
        all.events += done.events;
    }
    all.seconds = begun.elapsed().as_secs_f64();
    Ok(all)
}
