//! Clients that hang up before the usage event, through the real binary over HTTP/1.1: how soon the upstream sees its
//! connection end, and whether record, level and gauge agree afterwards.
//!
//! `cargo bench --bench hangup`. Half of the clients close in order right after an event, half break off later with bytes
//! unread, which is a reset. The promise: p50 within 20 ms, p99 within 250 ms, none over 2 s; fails beyond it.

#[path = "support/client.rs"]
mod client;
#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;
#[path = "support/texts.rs"]
mod texts;
#[path = "support/upstream.rs"]
mod upstream;

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use client::{Connection, Until, chat_call, page};
use process::{Cores, Gateway};
use report::{Report, percentile, say};
use upstream::Left;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Clients that hang up.
const CALLS: u64 = 500;
/// Of them, so many at once.
const LANES: u64 = 10;
/// Calls before them that are read to their end, so that the gateway knows what answers are like.
const WHOLE: u64 = 20;
/// After this nobody waits any longer.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cores = process::prepare();
    match run(cores) {
        Ok(report) => report.finish(),
        Err(error) => {
            say(&format!("hangup could not run: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cores: Cores) -> Fallible<Report> {
    say(&format!("{}, gateway's cores: {cores:?}", process::binary()?.display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measured(cores))
}

async fn measured(cores: Cores) -> Fallible<Report> {
    let (upstream, left) = upstream::start().await?;
    let gateway = Gateway::start(upstream, cores)?;
    let mut report = Report::new(&["", "figure", "promised"]);
    let mut connection = Connection::open(gateway.address).await?;
    for _ in 0..WHOLE {
        connection.call(&chat_call(&texts::chat(true)), Until::End).await?;
    }
    let mut times = hang_ups(gateway.address, left).await?;
    same(&mut report, "upstream connections that ended", times.len() as u64, CALLS);
    report.row("clients that hung up", [CALLS.to_string(), "–".to_owned()]);
    for (name, share, bound) in [("p50", 0.5, 20.0), ("p99", 0.99, 250.0), ("longest", 1.0, 2_000.0)] {
        let time = percentile(&mut times, share);
        report.row(&format!("until the upstream sees it, {name}, ms"), [format!("{time:.2}"), format!("{bound:.0}")]);
        report.at_most(&format!("ms until the upstream sees it, {name}"), time, bound);
    }
    books(&gateway, &mut report).await?;
    Ok(report)
}

/// Milliseconds from each client's close to the upstream's end of connection.
async fn hang_ups(gateway: SocketAddr, mut left: UnboundedReceiver<Left>) -> Fallible<Vec<f64>> {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(async move {
            let mut closed = Vec::new();
            for number in (lane..CALLS).step_by(LANES as usize) {
                closed.push((number, hang_up(gateway, number).await?));
            }
            Ok::<_, std::io::Error>(closed)
        });
    }
    let mut closed = HashMap::new();
    while let Some(lane) = lanes.join_next().await {
        closed.extend(lane??);
    }
    let mut times = Vec::new();
    let until = tokio::time::Instant::now() + PATIENCE;
    while times.len() < closed.len() {
        let Ok(Some(seen)) = tokio::time::timeout_at(until, left.recv()).await else {
            break;
        };
        if let Some(at) = closed.get(&seen.number) {
            times.push(seen.at.saturating_duration_since(*at).as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}

/// One call that is left before its end; returns when.
async fn hang_up(gateway: SocketAddr, number: u64) -> std::io::Result<Instant> {
    let body = format!(
        r#"{{"model":"{}{number}","stream":true,"max_tokens":500,"messages":[{{"role":"user","content":"Go on."}}]}}"#,
        upstream::HELD
    );
    let mut connection = Connection::open(gateway).await?;
    connection.call(&chat_call(body.as_bytes()), Until::FirstEvent).await?;
    if number % 2 == 1 {
        // Some events come meanwhile, and stay unread.
        tokio::time::sleep(Duration::from_millis(12 + number % 17)).await;
    }
    let now = Instant::now();
    drop(connection);
    Ok(now)
}

/// What is written, what is charged and what is shown must agree.
async fn books(gateway: &Gateway, report: &mut Report) -> Fallible<()> {
    let until = Instant::now() + PATIENCE;
    let records = loop {
        let records = gateway.records()?;
        if records.len() as u64 >= WHOLE + CALLS || Instant::now() > until {
            break records;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let gone: Vec<&Value> = records.iter().filter(|record| record["outcome"] == "client_gone").collect();
    let tokens = |record: &Value, name: &str| record[name].as_u64().unwrap_or(0);
    let free = gone.iter().filter(|record| tokens(record, "output_tokens") == 0).count() as u64;
    let charged: u64 =
        records.iter().map(|record| tokens(record, "input_tokens") + tokens(record, "output_tokens")).sum();
    let status = page(gateway.admin, "/status").await?;
    let metrics = page(gateway.admin, "/metrics").await?;
    let counted = sum(&metrics, "tollgate_requests_total{", "outcome=\"client_gone\"");
    for (name, got, wanted) in [
        ("usage records of all calls", records.len() as u64, WHOLE + CALLS),
        ("usage records client_gone", gone.len() as u64, CALLS),
        ("  of them, charged no output", free, 0),
        ("calls counted as client_gone", counted, CALLS),
        ("calls in flight", sum(&metrics, "tollgate_in_flight{", ""), 0),
        ("calls at the upstream", sum(&metrics, "tollgate_upstream_in_flight{", ""), 0),
        ("open reservations", sum(&metrics, "tollgate_reservations{", ""), 0),
        ("calls used, by the limit's level", used(&status, "requests"), WHOLE + CALLS),
    ] {
        report.row(name, [got.to_string(), wanted.to_string()]);
        same(report, name, got, wanted);
    }
    // What was reserved, not used and not given back either stays on the level: a give-back never returns more than it can be
    // sure that time or other give-backs did not return before. Parts of a token make it less than what is counted.
    let forgone = sum(&metrics, "tollgate_tokens_forgone_total{", "");
    let level = used(&status, "tokens");
    let name = "tokens used, by the limit's level";
    report.row("tokens charged, by the records", [charged.to_string(), "–".to_owned()]);
    report.row("tokens forgone", [forgone.to_string(), "–".to_owned()]);
    report.row(name, [level.to_string(), format!("{charged} to {}", charged + forgone)]);
    same(report, name, level, level.clamp(charged, charged + forgone));
    Ok(())
}

fn same(report: &mut Report, what: &str, got: u64, wanted: u64) {
    report.at_most(&format!("{}: {got}, not {wanted}; apart by", what.trim()), got.abs_diff(wanted) as f64, 0.0);
}

/// The sum of a metric's series with this in their labels.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.trim().parse::<f64>().ok()).sum::<f64>() as u64
}

/// What the status page says of the first limit of this kind.
fn used(status: &str, kind: &str) -> u64 {
    let row = status.split_once(&format!("<td>{kind}</td>")).map_or("", |(_, row)| row);
    let level = row.split_once(" of ").map_or("", |(level, _)| level);
    level.rsplit('>').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}
