//! Holds the gateway to the keys of `[server]`: each is accepted, and does what it says; without it, nothing of it is there.

use crate::support::{Answer, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, standard};

const CHAT: &str = "/v1/chat/completions";
const PRICES: &str = "[prices.\"*\"]\ninput = 1.25\noutput = 10\n";

fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

/// A form with these parts and a file that no one read brings whole.
fn form(before: &str, after: &str) -> String {
    let file = part("name=\"file\"; filename=\"a.wav\"", &"x".repeat(300_000));
    format!("{before}{file}{after}--b--\r\n")
}

fn chat(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Name a river."}}]{members}}}"#)
}

enum Call {
    Json(String),
    Form(String),
}

async fn call(gateway: &TestGateway, call: &Call) -> Answer {
    let (path, kind, body) = match call {
        Call::Json(body) => (CHAT, "application/json", body),
        Call::Form(body) => ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", body),
    };
    let mut client = RawClient::connect(gateway.address()).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\norigin: https://app.example\r\nx-api-key: {KEY}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write(head.as_bytes()).await;
    client.answer().await
}

async fn answering() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

fn with(upstream: &MockUpstream, server: &str) -> TestGateway {
    TestGateway::start(&format!("{}{PRICES}[server]\n{server}\n", standard(upstream)))
}

#[tokio::test]
async fn every_key_that_bounds_or_loosens_does_so() {
    let model = part("name=\"model\"", "m");
    let cases = [
        ("max_memory = \"60\"", Call::Json(chat("")), 200, 503),
        ("max_body = \"60\"", Call::Json(chat("")), 200, 413),
        ("max_upload = \"1000\"", Call::Form(form(&model, "")), 200, 413),
        ("form_spool = \"100\"", Call::Form(form("", &model)), 200, 400),
        ("lenient_keys = true", Call::Json(chat(r#","Model":"x""#)), 400, 200),
        ("lenient_keys = true", Call::Form(form(&format!("{model}{}", part("name=\"Model\"", "x")), "")), 400, 200),
    ];
    let upstream = answering().await;
    let plain = with(&upstream, "");
    for (key, asked, without, under) in cases {
        assert_eq!(call(&plain, &asked).await.status(), without, "without {key}");
        let gateway = with(&upstream, key);
        let answer = call(&gateway, &asked).await;
        assert_eq!(answer.status(), under, "{key}: {}", String::from_utf8_lossy(&answer.body));
    }
    let refused = call(&plain, &Call::Json(chat(r#","Model":"x""#))).await;
    assert_eq!(
        (refused.code(), refused.json()["error"]["param"].as_str()),
        ("ambiguous_key".to_owned(), Some("Model"))
    );
}

#[tokio::test]
async fn what_passes_under_lenient_keys_reaches_the_upstream_to_the_byte() {
    let upstream = answering().await;
    let gateway = with(&upstream, "lenient_keys = true");
    let body = chat(r#","Model":"x","MAX_TOKENS":7"#);
    assert_eq!(call(&gateway, &Call::Json(body.clone())).await.status(), 200);
    assert_eq!(upstream.request(0).await.body, body.as_bytes());
    assert_eq!(gateway.records(1).await[0]["model"], "m");
}

#[tokio::test]
async fn every_key_that_tells_something_tells_it_and_nothing_else() {
    let upstream = answering().await;
    let told = [
        (
            "allow_origins = [\"https://app.example\"]",
            &["access-control-allow-origin", "access-control-expose-headers", "vary"][..],
        ),
        ("server_timing = true", &["server-timing"]),
        ("reveal_upstream = true", &["x-tollgate-attempts", "x-tollgate-cost", "x-tollgate-upstream"]),
    ];
    let asked = Call::Json(chat(""));
    let plain = call(&with(&upstream, ""), &asked).await;
    for (key, names) in told {
        let answer = call(&with(&upstream, key), &asked).await;
        assert_eq!(answer.body, plain.body, "{key}");
        let before = plain.head.names();
        // The cost is told where the answer was whole at once.
        let new: Vec<&str> = answer
            .head
            .names()
            .into_iter()
            .filter(|name| !before.contains(name) && *name != "x-tollgate-cost")
            .collect();
        let wanted: Vec<&str> = names.iter().copied().filter(|name| *name != "x-tollgate-cost").collect();
        assert_eq!(new, wanted, "{key}");
    }
}

fn millis(timing: &str, name: &str) -> f64 {
    let part = timing.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(";dur="));
    let number = part.unwrap_or_else(|| panic!("no {name} in {timing}"));
    assert_eq!(number.split_once('.').map(|(_, decimals)| decimals.len()), Some(1), "{timing}");
    number.parse().unwrap()
}

#[tokio::test]
async fn an_answer_tells_who_gave_it_and_how_long_that_took_also_one_that_failed() {
    let upstream = MockUpstream::start().await;
    let gateway = with(&upstream, "server_timing = true\nreveal_upstream = true");
    let stream = chat(r#","stream":true"#);
    let events = String::from_utf8(fixture("chat_stream_with_usage.sse")).unwrap();
    for (script, body, status) in [
        (Script::json(200, fixture("chat_response.json")), chat(""), 200),
        (Script::stream([&events]), stream, 200),
        (Script::json(400, r#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#), chat(""), 400),
        (Script::json(401, r#"{"error":{"message":"no"}}"#), chat(""), 502),
    ] {
        upstream.push(script);
        let answer = call(&gateway, &Call::Json(body)).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("x-tollgate-upstream"), Some("mock"), "{status}");
        assert_eq!(answer.header("x-tollgate-attempts"), Some("1"), "{status}");
        let timing = answer.header("server-timing").unwrap();
        assert!(millis(timing, "gateway") >= 0.0 && millis(timing, "upstream") >= 0.0, "{timing}");
    }
    for body in ["{".to_owned(), "{}".to_owned()] {
        let refused = call(&gateway, &Call::Json(body)).await;
        assert!(
            !refused
                .head
                .names()
                .iter()
                .any(|name| name.starts_with("x-tollgate-upstream") || *name == "server-timing")
        );
    }
}

#[tokio::test]
async fn the_cost_is_told_with_a_whole_answer_and_is_that_of_the_record() {
    let whole = |framing: &str, body: &[u8]| {
        Script::new().send(
            [format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{framing}\r\n\r\n").as_bytes(), body]
                .concat(),
        )
    };
    let body = fixture("chat_response.json");
    let in_chunks = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let upstream = MockUpstream::start().await;
    // What is in one write with its head is here with it.
    upstream.push(whole(&format!("content-length: {}", body.len()), &body));
    upstream.push(whole("transfer-encoding: chunked", &in_chunks));
    upstream.push(Script::stream([fixture("chat_stream_with_usage.sse")]));
    let gateway = with(&upstream, "reveal_upstream = true");
    for _ in 0..2 {
        let answer = call(&gateway, &Call::Json(chat(""))).await;
        assert_eq!(answer.body, body);
        // 19 tokens at 1.25 and 7 at 10, in millionths.
        assert_eq!(answer.header("x-tollgate-cost"), Some("0.00009375"));
    }
    let streamed = call(&gateway, &Call::Json(chat(r#","stream":true"#))).await;
    assert_eq!(streamed.header("x-tollgate-cost"), None, "nobody knows it yet");
    let records = gateway.records(3).await;
    assert!(records.iter().all(|record| record["cost_usd"].as_number().is_some()), "{records:?}");
    assert_eq!(records[0]["cost_usd"], records[1]["cost_usd"]);
}
