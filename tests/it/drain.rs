//! Checks that a gateway that is told to end loses no call, and ends.
//!
//! Must not send signals: what they start is started here by hand.

use std::time::{Duration, Instant};

use crate::support::client::post;
use crate::support::{Ended, Gate, MockUpstream, RawClient, Script, TestGateway, fixture, standard, within};

const CHAT: &str = "/v1/chat/completions";
const CALL: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}"#;
const FIRST: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello there\"}}]}\n\n";

fn with_server(upstream: &MockUpstream, server: &str) -> TestGateway {
    TestGateway::start(&format!("{}\n[server]\n{server}\n", standard(upstream)))
}

/// A stream under way: its first event has come, and it waits for `gate`.
async fn stream(upstream: &MockUpstream, gateway: &TestGateway, gate: &Gate) -> RawClient {
    let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    upstream.push(Script::stream_head().chunk(FIRST).wait(gate).chunk(last).last_chunk());
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&post(CHAT, &[], CALL.as_bytes())).await;
    client.until(b"Hello there").await;
    client
}

async fn ready(address: std::net::SocketAddr) -> u16 {
    let mut client = RawClient::connect(address).await;
    client.write(b"GET /readyz HTTP/1.1\r\nhost: admin\r\n\r\n").await;
    client.answer().await.status()
}

async fn port_closes(address: std::net::SocketAddr) {
    within("the port to close", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_unready_at_once_still_accepts_and_cuts_no_stream() {
    let (upstream, gate) = (MockUpstream::start().await, Gate::new());
    let gateway = with_server(&upstream, "drain_delay = \"0s\"\ndrain_deadline = \"60s\"");
    let (address, admin) = (gateway.address(), gateway.admin_address());
    let mut client = stream(&upstream, &gateway, &gate).await;
    assert_eq!(ready(admin).await, 200);
    // The delay's beginning; its end comes with `shut_down`, when this test is ready for it.
    gateway.app().drain().begin();
    assert_eq!(ready(admin).await, 503);

    // Endpoints lag: callers still come, and are served.
    upstream.push(Script::json(200, fixture("chat_response.json")));
    let late = RawClient::connect(address).await.call(CHAT, &[], CALL.as_bytes()).await;
    assert_eq!((late.status(), late.header("connection")), (200, Some("close")));

    let ending = tokio::spawn(gateway.shut_down());
    port_closes(address).await;
    assert_eq!(ready(admin).await, 503, "the admin port answers to the end");
    assert!(!ending.is_finished(), "a stream is in flight");
    gate.open();
    client.until(b"data: [DONE]\n\n").await;
    client.until(b"0\r\n\r\n").await;
    assert_eq!(client.rest().await, b"");
    let records = within("the end", ending).await.unwrap();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record["outcome"] == "ok"), "{records:?}");
}

#[tokio::test]
async fn the_port_does_not_close_before_the_delay_is_over() {
    let upstream = MockUpstream::start().await;
    let gateway = with_server(&upstream, "drain_delay = \"400ms\"\ndrain_deadline = \"60s\"");
    let (address, began) = (gateway.address(), Instant::now());
    let ending = tokio::spawn(gateway.shut_down());
    port_closes(address).await;
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(within("the end", ending).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_outlasts_the_deadline_is_cut_and_charged_and_written_down() {
    let (upstream, gate) = (MockUpstream::start().await, Gate::new());
    let gateway = with_server(&upstream, "drain_delay = \"0s\"\ndrain_deadline = \"100ms\"");
    let mut client = stream(&upstream, &gateway, &gate).await;
    let ending = tokio::spawn(gateway.shut_down());
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut stream must not look whole");
    let records = within("the end", ending).await.unwrap();
    assert_eq!(records.len(), 1);
    // "Hello there" is 11 bytes: three tokens by the start ratio.
    assert_eq!((&records[0]["usage_source"], &records[0]["output_tokens"]), (&"estimated".into(), &3.into()));
    assert_ne!(records[0]["outcome"], "ok");
    upstream.closed_during(0).await;
}

#[tokio::test]
async fn a_call_that_still_waits_for_its_answer_is_no_less_in_flight() {
    let (upstream, gate) = (MockUpstream::start().await, Gate::new());
    let body = fixture("chat_response.json");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    upstream.push(Script::new().wait(&gate).send([head.as_bytes(), &body].concat()));
    let gateway = with_server(&upstream, "drain_delay = \"0s\"\ndrain_deadline = \"60s\"");
    let (address, mut client) = (gateway.address(), RawClient::connect(gateway.address()).await);
    client.write(&post(CHAT, &[], CALL.as_bytes())).await;
    upstream.request(0).await;
    let ending = tokio::spawn(gateway.shut_down());
    port_closes(address).await;
    gate.open();
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.ended, answer.body), (200, Ended::Whole, body));
    assert_eq!(answer.head.get("connection"), Some("close"));
    assert_eq!(within("the end", ending).await.unwrap().len(), 1);
}
