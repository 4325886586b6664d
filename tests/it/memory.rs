//! Holds the gateway to its memory gate: what does not fit is refused with 503, and every byte is given back on every ending.
//!
//! Nothing sleeps: a client stops or leaves when it knows how much of its body is held.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::client::post;
use crate::support::{
    Answer, Gate, KEY, MockUpstream, RawClient, Script, TestGateway, Then, fixture, standard, within,
};

const CHAT: &str = "/v1/chat/completions";

/// A gateway that holds this many bytes at most.
fn holding(upstream: &MockUpstream, most: &str) -> TestGateway {
    TestGateway::start(&format!("{}\n[server]\nmax_memory = \"{most}\"\n", standard(upstream)))
}

async fn answering() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

/// A body of this many bytes.
fn chat(size: usize) -> Vec<u8> {
    let (start, end) = (r#"{"model":"m","messages":[{"role":"user","content":""#, r#""}]}"#);
    format!("{start}{}{end}", "x".repeat(size - start.len() - end.len())).into_bytes()
}

fn head(framing: &str) -> Vec<u8> {
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
    )
    .into_bytes()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

async fn holds(gateway: &TestGateway, bytes: u64) {
    within(&format!("{bytes} bytes to be held"), async {
        while gateway.app().services.memory.held() != bytes {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn assert_full(answer: &Answer) {
    assert_eq!((answer.status(), answer.code()), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("x-tollgate-error"), Some("overloaded"));
    assert!(answer.header("retry-after").is_some() && answer.header("retry-after-ms").is_some(), "{answer:?}");
}

async fn refusals(gateway: &TestGateway) -> f64 {
    gateway.metric("tollgate_rejected_total", &[("reason", "overloaded")]).await
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_refused_unread_until_there_is_room_again() {
    let upstream = answering().await;
    let gateway = holding(&upstream, "1000");
    let mut slow = RawClient::connect(gateway.address()).await;
    slow.write(&[head("content-length: 900"), chat(900)[..600].to_vec()].concat()).await;
    holds(&gateway, 600).await;
    // Only its head is sent: nobody waits for its body.
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&head("content-length: 401")).await;
    assert_full(&client.answer().await);
    assert_eq!((refusals(&gateway).await, gateway.records(0).await.len()), (1.0, 0), "it had no tenant yet");
    assert_eq!(gateway.post(CHAT, chat(400)).await.status(), 200);
    let mut listing = RawClient::connect(gateway.address()).await;
    listing.write(format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\n\r\n").as_bytes()).await;
    assert_eq!(listing.answer().await.status(), 200, "what brings no body needs no room");
    slow.reset();
    holds(&gateway, 0).await;
    assert_eq!(gateway.post(CHAT, chat(1000)).await.status(), 200);
    holds(&gateway, 0).await;
}

#[tokio::test]
async fn a_body_that_grows_beyond_the_gate_is_refused_and_given_back() {
    let upstream = answering().await;
    let gateway = holding(&upstream, "1000");
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&[head("transfer-encoding: chunked"), chunk(&chat(1100)[..700])].concat()).await;
    holds(&gateway, 700).await;
    client.write(&chunk(&chat(1100)[700..])).await;
    assert_full(&client.answer().await);
    holds(&gateway, 0).await;
    let record = gateway.records(1).await.remove(0);
    assert_eq!((record["outcome"].as_str(), record["status"].as_u64()), (Some("refused"), Some(503)), "{record}");
    assert_eq!(refusals(&gateway).await, 1.0);
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn what_a_body_decodes_to_counts_and_not_what_it_was() {
    let upstream = answering().await;
    let gateway = holding(&upstream, "20000");
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let coded = [("content-encoding", "gzip")];
    assert_full(&gateway.post_with(CHAT, &coded, gzip(&chat(20_001))).await);
    assert_eq!(gateway.post_with(CHAT, &coded, gzip(&chat(20_000))).await.status(), 200);
    holds(&gateway, 0).await;
    assert_eq!(refusals(&gateway).await, 1.0);
}

#[tokio::test]
async fn the_start_of_a_form_counts_while_its_model_is_awaited_and_the_rest_does_not() {
    let upstream = answering().await;
    let gateway = holding(&upstream, "100000");
    let boundary = "----b";
    let file = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{}\r\n",
        "x".repeat(2_000)
    );
    let model = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n");
    let end = format!("--{boundary}--\r\n");
    let head = |length: usize| {
        format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: multipart/form-data; boundary={boundary}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(format!("{}{file}", head(file.len() + model.len() + end.len())).as_bytes()).await;
    holds(&gateway, file.len() as u64).await;
    assert_full(&gateway.post(CHAT, chat(99_000)).await);
    client.write(format!("{model}{end}").as_bytes()).await;
    assert_eq!(client.answer().await.status(), 200);
    holds(&gateway, 0).await;
    // Ten times the gate, as only its start is held.
    let large = file.replace(&"x".repeat(2_000), &"x".repeat(1_000_000));
    client.write(format!("{}{model}{large}{end}", head(large.len() + model.len() + end.len())).as_bytes()).await;
    assert_eq!(client.answer().await.status(), 200);
    let mut leaving = RawClient::connect(gateway.address()).await;
    leaving.write(format!("{}{file}", head(file.len() + model.len() + end.len())).as_bytes()).await;
    holds(&gateway, file.len() as u64).await;
    leaving.close();
    holds(&gateway, 0).await;
}

#[tokio::test]
async fn every_byte_is_given_back_on_every_ending() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = MockUpstream::choosing(move |received| match received.body.len() % 5 {
        0 => Script::json(200, fixture("chat_response.json")),
        1 => Script::json(500, r#"{"error":{"message":"no"}}"#),
        2 => Script::new().then(Then::Reset),
        3 => Script::stream_head().chunk("data: {").then(Then::Close),
        _ => Script::new().wait(&held),
    })
    .await;
    let gateway = holding(&upstream, "100000");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100_usize {
        let address = gateway.address();
        calls.spawn(async move {
            let mut client = RawClient::connect(address).await;
            let body = if number.is_multiple_of(7) { vec![b'{'; 150] } else { chat(200 + number) };
            let request = post(CHAT, &[], &body);
            // Each eleventh leaves in the middle of its body; each fifth while its upstream is silent.
            let length = if number.is_multiple_of(11) { request.len() - 50 } else { request.len() };
            client.write(&request[..length]).await;
            if length == request.len() && (body.len() % 5 != 4 || body[1] == b'{') {
                client.head().await;
            }
            if number.is_multiple_of(2) { client.reset() } else { client.close() }
        });
    }
    within("all calls", async { while calls.join_next().await.is_some_and(|call| call.is_ok()) {} }).await;
    holds(&gateway, 0).await;
    gate.open();
    assert_eq!(gateway.post(CHAT, chat(200)).await.status(), 200);
    holds(&gateway, 0).await;
    assert_eq!(refusals(&gateway).await, 0.0);
}

#[tokio::test]
async fn without_a_gate_nothing_is_refused_or_counted() {
    let upstream = answering().await;
    let gateway = holding(&upstream, "0");
    let mut slow = RawClient::connect(gateway.address()).await;
    slow.write(&[head("content-length: 900"), chat(900)[..600].to_vec()].concat()).await;
    assert_eq!(gateway.post(CHAT, chat(100_000)).await.status(), 200);
    assert_eq!(gateway.app().services.memory.held(), 0);
}
