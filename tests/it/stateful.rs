//! Holds the gateway to how it lets calls through by their path: to the tenant's home for kept state, and to where unknown paths
//! go; byte by byte, limited and recorded, and never where they must not.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tollgate::config;
use tollgate::limits::Kind;

use crate::support::gateway::digest;
use crate::support::{Answer, Gate, KEY, MockUpstream, RawClient, Script, TestGateway, UPSTREAM_KEY, standard};

/// The standard gateway, whose tenant has its home at the upstream.
fn at_home(upstream: &MockUpstream) -> String {
    standard(upstream).replace("[tenants.acme]\n", "[tenants.acme]\nstateful = \"mock\"\n")
}

/// The standard gateway, which passes unknown paths on.
fn passing_on(upstream: &MockUpstream) -> String {
    format!("{}[server]\nunknown_paths = \"mock\"\n", standard(upstream))
}

async fn send(gateway: &TestGateway, line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    let head = format!("{line} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n{headers}\r\n");
    client.write(&[head.as_bytes(), body].concat()).await;
    if line.starts_with("HEAD") {
        let head = client.head().await;
        return Answer { head, body: Vec::new(), ended: crate::support::Ended::Whole };
    }
    client.answer().await
}

#[tokio::test]
async fn method_path_query_and_body_reach_the_home_as_they_came() {
    let upstream = MockUpstream::playing(Script::json(200, r#"{"object":"list","data":[]}"#)).await;
    let gateway = TestGateway::start(&at_home(&upstream));
    let odd = b"\0\xff not json \r\n{\"model\":1";
    for (line, arrives, body) in [
        ("GET /v1/files?limit=2&order=asc", "GET /v1/files?limit=2&order=asc", &b""[..]),
        ("GET /v1//responses/resp_1/?include[]=a", "GET /v1/responses/resp_1?include[]=a", b""),
        ("DELETE /v1/responses/resp_1", "DELETE /v1/responses/resp_1", b""),
        ("POST /v1/responses/resp_1/cancel", "POST /v1/responses/resp_1/cancel", b""),
        ("POST /v1/uploads/u/parts", "POST /v1/uploads/u/parts", odd),
        ("PUT /v1/files/f", "PUT /v1/files/f", odd),
        ("GET /v1/chat/completions?model=m", "GET /v1/chat/completions?model=m", b""),
        ("DELETE /v1/models/ft:m:a", "DELETE /v1/models/ft:m:a", b""),
        ("GET /openai/files?api-version=2024-10-21&after=f", "GET /v1/files?after=f", b""),
    ] {
        let framing = if body.is_empty() && !line.starts_with("POST") {
            String::new()
        } else {
            format!(
                "content-type: application/octet-stream\r\ncontent-encoding: x-own\r\ncontent-length: {}\r\n",
                body.len()
            )
        };
        let answer = send(&gateway, line, &framing, body).await;
        assert_eq!(answer.status(), 200, "{line}: {answer:?}");
        let got = upstream.received().pop().unwrap();
        assert_eq!(got.head.start, format!("{arrives} HTTP/1.1"));
        assert_eq!(got.body, body, "{line}");
        assert_eq!(got.head.get("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
        let coding = (!framing.is_empty()).then_some("x-own");
        assert_eq!(got.head.get("content-encoding"), coding, "{line}");
        assert_eq!(answer.body, br#"{"object":"list","data":[]}"#);
        assert_eq!(answer.header("x-tollgate-error"), None);
    }
    let records = gateway.records(9).await;
    for record in &records {
        assert_eq!((record["endpoint"].as_str(), record["outcome"].as_str()), (Some("other"), Some("ok")), "{record}");
        assert_eq!((record["upstream"].as_str(), record["input_tokens"].as_u64()), (Some("mock"), None), "{record}");
        assert_eq!((record["route"].as_str(), record["attempts"].as_u64()), (None, Some(1)));
    }
    assert_eq!(records[4]["bytes_in"].as_u64(), Some(odd.len() as u64));
    assert_eq!(gateway.level("acme", Kind::Requests), 9);
    assert_eq!(gateway.metric("tollgate_requests_total", &[("route", "none"), ("outcome", "ok")]).await, 9.0);
    assert_eq!(gateway.metric("tollgate_in_flight", &[]).await, 0.0);
}

#[tokio::test]
async fn head_is_answered_as_the_home_answers_it() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1234\r\n\r\n";
    let upstream = MockUpstream::playing(Script::new().send(head)).await;
    let gateway = TestGateway::start(&at_home(&upstream));
    let answer = send(&gateway, "HEAD /v1/files/f/content", "", b"").await;
    assert_eq!((answer.status(), answer.header("content-length")), (200, Some("1234")));
    assert_eq!(upstream.received().pop().unwrap().head.start, "HEAD /v1/files/f/content HTTP/1.1");
    assert_eq!(gateway.records(1).await[0]["outcome"], "ok");
}

#[tokio::test]
async fn bodies_pass_both_ways_while_they_come() {
    let go_on = Gate::new();
    let script = Script::new()
        .send("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .chunk("first")
        .wait(&go_on)
        .chunk("second")
        .last_chunk();
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::start(&at_home(&upstream));
    let mut client = RawClient::connect(gateway.address()).await;
    client
        .write(
            format!("GET /v1/files/f/content HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert_eq!(client.head().await.status(), 200);
    client.until(b"first").await;
    go_on.open();
    client.until(b"second").await;
    assert_eq!(gateway.records(1).await[0]["bytes_out"].as_u64(), Some(11));
}

#[tokio::test]
async fn a_body_above_the_largest_upload_is_refused_and_a_limit_holds() {
    let upstream = MockUpstream::playing(Script::json(200, "{}")).await;
    let text = at_home(&upstream).replace("requests = \"24/day burst 1M\"", "requests = \"1/day burst 1\"");
    let gateway = TestGateway::start(&format!("{text}[server]\nmax_upload = \"1KiB\"\n"));
    let answer = send(&gateway, "POST /v1/files", "content-length: 1025\r\n", &[b'x'; 1025]).await;
    assert_eq!((answer.status(), answer.code()), (413, "request_too_large".to_owned()));
    assert_eq!(send(&gateway, "GET /v1/files", "", b"").await.status(), 200);
    let answer = send(&gateway, "GET /v1/files", "", b"").await;
    assert_eq!((answer.status(), answer.code()), (429, "rate_limit_exceeded".to_owned()));
    assert_eq!(upstream.received().len(), 1);
    let outcomes: Vec<Value> = gateway.records(3).await.iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["refused", "ok", "refused"]);
}

#[tokio::test]
async fn usage_that_a_stored_answer_shows_is_not_charged_again() {
    let stored = r#"{"object":"response","model":"m","usage":{"input_tokens":7,"output_tokens":2,"total_tokens":9}}"#;
    let upstream = MockUpstream::playing(Script::json(200, stored)).await;
    let gateway = TestGateway::start(&at_home(&upstream));
    for line in ["GET /v1/responses/r", "POST /v1/responses/r/cancel", "POST /v1/chat/completions/c"] {
        assert_eq!(send(&gateway, line, "content-length: 0\r\n", b"").await.status(), 200, "{line}");
    }
    assert_eq!(gateway.level("acme", Kind::Tokens), 0);
    assert_eq!(send(&gateway, "POST /v1/threads/runs", "content-length: 0\r\n", b"").await.status(), 200);
    assert_eq!(gateway.level("acme", Kind::Tokens), 9);
    let records = gateway.records(4).await;
    assert!(records[..3].iter().all(|record| record["usage_source"].is_null()), "{records:#?}");
    assert_eq!(
        (records[3]["usage_source"].as_str(), records[3]["output_tokens"].as_u64()),
        (Some("reported"), Some(2))
    );
    assert_eq!(gateway.metric("tollgate_unmetered_responses_total", &[]).await, 0.0);
}

#[tokio::test]
async fn without_a_home_it_is_404_and_says_how_to_get_one() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::start(&passing_on(&upstream));
    for line in ["GET /v1/files", "POST /v1/threads", "GET /v1/responses/r", "DELETE /v1/models/m", "OPTIONS /v1/files"]
    {
        let answer = send(&gateway, line, "content-length: 0\r\n", b"").await;
        assert_eq!((answer.status(), answer.code()), (404, "stateful_not_served".to_owned()), "{line}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("`stateful`"));
    }
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn hostile_and_administrative_paths_go_nowhere() {
    let upstream = MockUpstream::start().await;
    let text = passing_on(&upstream).replace("[tenants.acme]\n", "[tenants.acme]\nstateful = \"mock\"\n");
    let gateway = TestGateway::start(&text);
    for path in [
        "/v1/files/../organization/users",
        "/v1/files/%2e%2e/organization",
        "/v1/files/a%2f..%2fb",
        "/v1/files/a%5Cb",
        "/v1/files/a;b",
        "/v1/files/%41",
        "/v1/files/a%00",
        "/v1/organization/users",
        "/v1/v1/organization/users",
        "/v1/Projects",
        "/v1/webhook_endpoints",
        "/v1/safety/x",
        "/v1/v1/chat/completions",
        "/v1/CHAT/completions",
        "/v1/../embeddings",
        "/",
    ] {
        for method in ["GET", "POST"] {
            let answer = send(&gateway, &format!("{method} {path}"), "content-length: 0\r\n", b"").await;
            assert_eq!((answer.status(), answer.code()), (404, "unknown_url".to_owned()), "{method} {path}");
        }
    }
    assert_eq!(upstream.received().len(), 0);
    let answer = send(&gateway, "OPTIONS /v1/files", "", b"").await;
    assert_eq!((answer.status(), answer.code()), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
}

#[tokio::test]
async fn unknown_paths_are_passed_on_and_what_they_used_is_charged() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::start(&passing_on(&upstream));
    upstream.push(Script::json(
        200,
        r#"{"model":"m2","usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}"#,
    ));
    let answer = send(&gateway, "POST /v1/score?x=1", "content-type: text/odd\r\ncontent-length: 3\r\n", b"abc").await;
    assert_eq!(answer.status(), 200);
    let got = upstream.received().pop().unwrap();
    assert_eq!((&*got.head.start, &*got.body), ("POST /v1/score?x=1 HTTP/1.1", &b"abc"[..]));

    let events = ["data: {\"a\":1}\n\n", "data: {\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n"];
    upstream.push(Script::stream(events));
    let answer = send(&gateway, "POST /v1/messages", "content-length: 0\r\n", b"").await;
    assert_eq!(answer.body, events.concat().as_bytes());
    assert_eq!(answer.ended, crate::support::Ended::Whole);

    upstream.push(Script::answer(503, "text/plain", "busy"));
    let answer = send(&gateway, "GET /v1/tokenize", "", b"").await;
    assert_eq!((answer.status(), &*answer.body, answer.header("x-tollgate-error")), (503, &b"busy"[..], None));

    let records = gateway.records(3).await;
    let told = |record: &Value| (record["input_tokens"].as_u64(), record["output_tokens"].as_u64());
    assert_eq!(
        (told(&records[0]), told(&records[1]), told(&records[2])),
        ((Some(5), Some(6)), (Some(3), Some(4)), (None, None))
    );
    assert_eq!(records[0]["served_model"], "m2");
    assert_eq!(records[2]["outcome"], "upstream_error");
    assert_eq!(gateway.level("acme", Kind::Tokens), 18);
}

#[tokio::test]
async fn what_unknown_paths_used_has_its_price_or_is_counted_as_without() {
    let upstream = MockUpstream::start().await;
    let prices = "[prices.m2]\ninput = 1\noutput = 1\n";
    let gateway = TestGateway::start(&format!("{}{prices}", passing_on(&upstream)));
    for model in ["m2", "m3"] {
        upstream.push(Script::json(
            200,
            format!(r#"{{"model":"{model}","usage":{{"prompt_tokens":5,"completion_tokens":6}}}}"#),
        ));
        assert_eq!(send(&gateway, "POST /v1/score", "content-length: 0\r\n", b"").await.status(), 200);
    }
    let records = gateway.records(2).await;
    assert_eq!((records[0]["cost_usd"].is_number(), records[1]["cost_usd"].is_null()), (true, true), "{records:#?}");
    assert_eq!(gateway.metric("tollgate_usage_unpriced_total", &[("endpoint", "other")]).await, 1.0);
}

#[tokio::test]
async fn wrong_methods_get_405_with_those_that_are_allowed() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    for endpoint in tollgate::wire::endpoint::Endpoint::ALL {
        let path = format!("/v1/{}", endpoint.path().replace("{id}", "m"));
        for method in ["PUT", "PATCH", "OPTIONS"] {
            let answer = send(&gateway, &format!("{method} {path}"), "", b"").await;
            assert_eq!((answer.status(), answer.header("allow")), (405, Some(endpoint.allow())), "{method} {path}");
            assert_eq!(answer.code(), "method_not_allowed");
        }
    }
    let answer = send(&gateway, "HEAD /v1/embeddings", "", b"").await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
}

#[test]
fn two_tenants_share_a_home_only_where_the_file_says_so() {
    let read = |shared: &str, second: &str| {
        let text = format!(
            r#"
[plans.p]
[tenants.a]
plan = "p"
keys = [{{ sha256 = "{}" }}]
stateful = "up"
[tenants.b]
plan = "p"
keys = [{{ sha256 = "{}" }}]
stateful = "{second}"
[upstreams.up]
provider = "compatible"
base_url = "http://127.0.0.1:1/v1"
credential = "none"
{shared}
[[routes]]
models = "*"
to = "up"
"#,
            digest("a"),
            digest("b")
        );
        config::parse("t.toml", &text, Path::new("."), &BTreeMap::new()).map_err(|faults| faults.to_string())
    };
    let refused = read("", "up").unwrap_err();
    assert!(refused.contains("keep their state at upstream") && refused.contains("shared_state = true"), "{refused}");
    assert!(read("shared_state = true", "up").is_ok());
    let unknown = read("", "upp").unwrap_err();
    assert!(unknown.contains("upp") && unknown.contains("up"), "{unknown}");
}
