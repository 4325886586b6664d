//! Checks what the tests stand on: a call passes, both sides see its bytes, and it leaves its record, metrics and levels.

use tollgate::limits::Kind;

use crate::support::{Ended, Http2Client, MockUpstream, Script, TestGateway, UPSTREAM_KEY, fixture, http2};

const CALL: &[u8] = br#"{"model":"gpt-x","messages":[{"role":"user","content":"Name a river."}]}"#;

#[tokio::test]
async fn a_call_passes_and_leaves_its_traces() {
    let answer = fixture("chat_response.json");
    let upstream = MockUpstream::playing(Script::json(200, &answer)).await;
    let gateway = TestGateway::over(&upstream);

    let got = gateway.post("/v1/chat/completions", CALL).await;
    assert_eq!((got.status(), got.ended), (200, Ended::Whole));
    assert_eq!(got.body, answer);

    let sent = upstream.request(0).await;
    assert_eq!(sent.head.start, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(sent.head.get("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
    assert_eq!(sent.body, CALL);

    let records = gateway.records(1).await;
    assert_eq!(records[0]["outcome"], "ok");
    assert_eq!(records[0]["input_tokens"], 19);
    let labels = [("tenant", "acme"), ("route", "*"), ("outcome", "ok")];
    assert_eq!(gateway.metric("tollgate_requests_total", &labels).await, 1.0);
    gateway.metric_becomes("tollgate_in_flight", &[("tenant", "acme")], 0.0).await;
    assert_eq!(gateway.level("acme", Kind::Tokens), 26);
    assert_eq!(gateway.level("acme", Kind::Requests), 1);
    assert_eq!(gateway.shut_down().await, records);
}

#[tokio::test]
async fn a_call_passes_over_http_2() {
    let answer = fixture("chat_response.json");
    let upstream = MockUpstream::playing(Script::json(200, &answer)).await;
    let gateway = TestGateway::over(&upstream);
    let client = Http2Client::connect(gateway.address()).await;
    let response = client.call("/v1/chat/completions", CALL).await;
    assert_eq!(response.status(), 200);
    let (body, error) = http2::collect(response.into_body()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(body, answer);
    drop(client);
    assert_eq!(gateway.shut_down().await.len(), 1);
}
