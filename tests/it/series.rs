//! Floods a gateway with what clients can invent, and checks that nothing of it stays: no metric series, no memory.
//!
//! Must not share its process with other tests, whose memory would count: it runs itself again, alone.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::support::{KEY, MockUpstream, TestGateway, standard, within};

/// Calls in all, and those after which memory is measured first.
const CALLS: u32 = 100_000;
const WARM: u32 = 10_000;
/// Calls on one connection, and so from one address: as many failed sign-ins as are borne in a second.
const BATCH: u32 = 10;
/// Connections at once.
const AT_ONCE: u32 = 8;
/// What memory may grow by between the two measurements, in KiB.
const GROWTH: u64 = 2 * 1024;

const ALONE: &str = "TOLLGATE_FLOOD_ALONE";

/// Invented keys, and with a valid key invented models and paths, each unlike all others. Only where the body is read there
/// is one: an answer that comes before a body is read closes the connection.
fn invented(number: u32) -> String {
    let model = format!(r#"{{"model":"invented-{number}","messages":[]}}"#);
    let (start, key, body) = match number % 4 {
        0 => (format!("GET /v1/models/invented-{number}"), format!("sk-invented-{number}"), String::new()),
        1 => (format!("POST /v1/invented/{number}"), format!("sk-invented-{number}"), String::new()),
        2 => ("POST /v1/chat/completions".to_owned(), KEY.to_owned(), model),
        _ => (format!("POST /v1/invented/{number}"), KEY.to_owned(), String::new()),
    };
    let length = body.len();
    format!(
        "{start} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\nx-invented-{number}: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn expected(number: u32) -> &'static str {
    if number % 4 < 2 { "HTTP/1.1 401" } else { "HTTP/1.1 404" }
}

/// Sends a batch in one write, and checks each answer.
async fn batch(address: SocketAddr, first: u32) {
    let socket = TcpSocket::new_v4().unwrap();
    let [_, a, b, c] = (first / BATCH + 2).to_be_bytes();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, a, b, c), 0))).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let numbers = first..first + BATCH;
    let requests: String = numbers.clone().map(invented).collect();
    tcp.write_all(requests.as_bytes()).await.unwrap();
    let mut text = Vec::with_capacity(16 * 1024);
    let heads = |text: &[u8]| text.windows(4).filter(|window| window == b"\r\n\r\n").count();
    let last = |text: &[u8]| heads(text) == BATCH as usize && text.ends_with(b"}}");
    while !last(&text) {
        assert_ne!(tcp.read_buf(&mut text).await.unwrap(), 0, "closed after {}", String::from_utf8_lossy(&text));
    }
    let text = String::from_utf8(text).unwrap();
    let mut rest = &*text;
    for number in numbers {
        let at = rest.find("HTTP/1.1 ").unwrap();
        assert!(rest[at..].starts_with(expected(number)), "{number}: {}", &rest[at..]);
        rest = &rest[at + 9..];
    }
}

async fn flood(address: SocketAddr, calls: std::ops::Range<u32>) {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (start, end) = (calls.start, calls.end);
        workers.spawn(async move {
            let mut first = start + worker * BATCH;
            while first < end {
                within("a batch", batch(address, first)).await;
                first += AT_ONCE * BATCH;
            }
        });
    }
    workers.join_all().await;
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn names(gateway: &TestGateway) -> BTreeSet<String> {
    gateway.metrics().await.into_keys().collect()
}

#[tokio::test]
async fn a_hundred_thousand_invented_keys_models_and_paths_leave_neither_a_series_nor_memory() {
    if std::env::var_os(ALONE).is_none() {
        let name = "series::a_hundred_thousand_invented_keys_models_and_paths_leave_neither_a_series_nor_memory";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, "1");
        let output = tokio::task::spawn_blocking(move || alone.output().unwrap()).await.unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::start(&standard(&upstream).replace("models = [\"*\"]", "models = [\"gpt-*\"]"));
    flood(gateway.address(), 0..WARM).await;
    let (before, series) = (resident(), names(&gateway).await);
    flood(gateway.address(), WARM..CALLS).await;
    let after = resident();
    assert_eq!(names(&gateway).await, series);
    assert!(series.len() < 500 && !series.iter().any(|name| name.contains("invented")), "{series:?}");
    println!("{before} KiB after {WARM} calls, {after} KiB after {CALLS}; {} series", series.len());
    assert!(after <= before + GROWTH, "{before} KiB, then {after} KiB");

    let metrics = gateway.metrics().await;
    let total = |name: &str| crate::support::gateway::sum(&metrics, name, &[]);
    assert_eq!(total("tollgate_rejected_total"), f64::from(CALLS) / 2.0);
    assert_eq!(total("tollgate_requests_total"), f64::from(CALLS) / 2.0);
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn an_operator_sees_limits_as_the_file_has_them_and_every_upstream_before_its_first_call() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    let page = String::from_utf8(gateway.admin("/status").await.body).unwrap();
    for limit in ["24/day burst 1M", "24/day burst 1000M"] {
        assert!(page.contains(limit), "{limit}: {page}");
    }
    let state = "tollgate_upstream_state{upstream=\"mock\"}";
    assert_eq!(gateway.metrics().await.get(state), Some(&0.0));
}
