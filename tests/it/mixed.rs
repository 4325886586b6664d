//! Holds the real program to its books over a day's traffic: calls of every kind and ending, each with the record it deserves.
//!
//! A seeded script says what each call is and how it ends; the upstream keeps a ledger of its own of what it read and wrote,
//! counted by `o200k_base`, a tokenizer that the gateway does not have. A call's number goes with it in a header, which is the
//! tag of its record. `TOLLGATE_MIXED_CALLS` says how many calls there are.

mod books;
mod client;
mod script;
mod upstream;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use crate::support::gateway::{digest, sum};
use crate::support::{KEY, Program, within};
use client::Client;
use script::{Plan, WARM_UP, World};
use upstream::Upstream;

/// Calls, unless the variable says otherwise.
const CALLS: u32 = 100_000;
const VARIABLE: &str = "TOLLGATE_MIXED_CALLS";
/// Clients at once, each with one call after the other; fewer while the gateway learns what calls are like.
const AT_ONCE: u32 = 48;
const AT_ONCE_FIRST: u32 = 4;
/// How long a call may take before the test is given up: less than what its parts may, so that the call is named.
const CALL_PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// One tenant on a plan that refuses nothing, and an upstream under three names, two of which are hasty.
fn config(upstream: &Upstream) -> String {
    let key = digest(KEY);
    let address = upstream.address;
    let mut config = format!(
        r#"
[server]
listen = "127.0.0.1:0"
drain_delay = "0s"
[admin]
listen = "127.0.0.1:0"
[plans.wide]
requests = "24/day burst 10M"
tokens = "24/day burst 100000M"
concurrent = 10000
[tenants.acme]
plan = "wide"
keys = [{{ sha256 = "{key}", label = "ci" }}]
[records]
to = {{ file = "{{folder}}/usage.jsonl" }}
tag = {{ header = "{}" }}
"#,
        script::NUMBER
    );
    for (name, timeouts) in [
        ("patient", ""),
        ("hasty", "timeouts = { idle = \"200ms\" }"),
        ("hastier", "timeouts = { first_byte = \"500ms\" }"),
    ] {
        config.push_str(&format!(
            "[upstreams.{name}]\nprovider = \"compatible\"\nbase_url = \"http://{address}/v1\"\ncredential = \"none\"\n{timeouts}\n"
        ));
    }
    for (model, upstream) in script::MODELS {
        config
            .push_str(&format!("[[routes]]\nmodels = [\"{model}\"]\nto = [\"{upstream}\"]\nmax_output_tokens = 500\n"));
    }
    config
}

async fn call_all(world: &Arc<World>, program: &Program, numbers: std::ops::Range<u32>, at_once: u32) {
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..at_once {
        let (world, address, numbers) = (Arc::clone(world), program.address, numbers.clone());
        workers.spawn(async move {
            let mut client = Client::new(address);
            for number in numbers.skip(worker as usize).step_by(at_once as usize) {
                let plan = Plan::of(&world, number);
                let called = tokio::time::timeout(CALL_PATIENCE, client.call(&world, &plan)).await;
                assert!(called.is_ok(), "not within {CALL_PATIENCE:?}: {plan:?}");
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_mixed_crowd_ends_as_scripted_and_is_charged_what_the_upstream_counted() {
    let calls = std::env::var(VARIABLE).map_or(CALLS, |number| number.parse().unwrap());
    assert!(calls > 2 * WARM_UP, "{calls} calls are too few");
    let began = Instant::now();
    let world = Arc::new(World::new(calls));
    let upstream = Upstream::start(Arc::clone(&world)).await;
    let program = Program::serve(&config(&upstream), Stdio::null());
    call_all(&world, &program, 0..WARM_UP, AT_ONCE_FIRST).await;
    call_all(&world, &program, WARM_UP..calls, AT_ONCE).await;
    let seconds = began.elapsed().as_secs_f64();
    println!("{calls} calls in {seconds:.1} s, {:.0} a second", f64::from(calls) / seconds);

    let gauges = ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"];
    within("every gauge to be 0", async {
        loop {
            let metrics = program.metrics().await;
            if gauges.iter().all(|gauge| sum(&metrics, gauge, &[]) == 0.0) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let metrics = program.metrics().await;
    for never in ["tollgate_panics_total", "tollgate_records_dropped_total", "tollgate_usage_anomalies_total"] {
        assert_eq!(sum(&metrics, never, &[]), 0.0, "{never}");
    }
    assert_eq!(sum(&metrics, "tollgate_requests_total", &[]), f64::from(calls));
    let folder = program.end().await;
    let records = std::fs::read_to_string(folder.path().join("usage.jsonl")).unwrap();
    let totals = books::check(&world, calls, &records);
    for (kind, tokens) in [("input", totals.input), ("output", totals.output)] {
        assert_eq!(sum(&metrics, "tollgate_tokens_total", &[("kind", kind)]), tokens as f64, "{kind}");
    }
    assert_eq!(sum(&metrics, "tollgate_usage_estimated_total", &[]), totals.estimated as f64);
}
