//! Makes each error that a client can cause by one real call, and checks what arrives: status, shape, headers.
//!
//! Limits, keys and time-outs of upstreams have files of their own. Must not know how an error is found.

use crate::support::{Answer, Gate, KEY, MockUpstream, RawClient, Script, TestGateway, position, standard, within};

const GOOD: &str = r#"{"model":"gpt-a","messages":[]}"#;

async fn start(upstream: &MockUpstream, server: &str) -> TestGateway {
    let text = standard(upstream).replace("models = [\"*\"]", "models = [\"gpt-*\"]");
    TestGateway::start(&format!("{text}\n[server]\nmax_body = \"64KiB\"\n{server}\n"))
}

/// One call: its first line, its headers beside Host and key, its body.
async fn call(gateway: &TestGateway, start: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{start} HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&[head.as_bytes(), body].concat()).await;
    client.answer().await
}

/// What an error must be, whatever it is about.
fn assert_error(answer: &Answer, status: u16, code: &str, param: Option<&str>, reason: &str) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status(), status, "{text}");
    let value = answer.json();
    assert_eq!(value.as_object().unwrap().len(), 1, "{text}");
    let error = value["error"].as_object().unwrap();
    let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"]);
    assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some(code), param), "{text}");
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    assert_eq!(error["type"], kind);
    assert!(error["message"].as_str().unwrap().len() > 15, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-tollgate-error"), Some(reason));
    let id = answer.header("x-tollgate-request-id").unwrap();
    assert!(id.starts_with("req_") && id.len() == 36, "{id}");
    assert_eq!(answer.header("x-request-id"), Some(id));
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_body_that_is_not_understood_is_refused_with_its_rule_and_its_parameter() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "").await;
    let deep = format!(r#"{{"model":"gpt-a","messages":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for (body, code, param) in [
        (&b"{"[..], "invalid_json", None),
        (b"", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (br#"{"model":"gpt-a","messages":[],"x":NaN}"#, "invalid_json", None),
        (b"{\"model\":\"gpt-a\",\"messages\":[],\"x\":\"\xff\"}", "invalid_encoding", None),
        (b"\xef\xbb\xbf{\"model\":\"gpt-a\"}", "invalid_encoding", None),
        (deep.as_bytes(), "too_deep", Some("messages")),
        (br#"{"model":"gpt-a","model":"gpt-a"}"#, "duplicate_key", Some("model")),
        (br#"{"model":"gpt-a","mod\u0065l":"gpt-b"}"#, "duplicate_key", Some("model")),
        (br#"{"model":"gpt-a","Model":"gpt-b"}"#, "ambiguous_key", Some("model")),
        (br#"{"model":"gpt-a","max_tokens":"5"}"#, "invalid_value", Some("max_tokens")),
        (br#"{"model":"gpt-a","stream":1}"#, "invalid_value", Some("stream")),
        (br#"{"messages":[]}"#, "missing_required_parameter", Some("model")),
    ] {
        let answer = call(&gateway, "POST /v1/chat/completions", &[JSON], body).await;
        let told = answer.json()["error"]["param"].as_str().map(str::to_owned);
        // Which parameter is told for a broken document, or for a key that only looks like one, is the peek's to say.
        let param = if matches!(code, "too_deep" | "ambiguous_key" | "invalid_json" | "invalid_encoding") {
            told.as_deref()
        } else {
            param
        };
        assert_error(&answer, 400, code, param, code);
    }
    assert_eq!(upstream.received().len(), 0);
    for record in gateway.records(13).await {
        assert_eq!((&record["outcome"], &record["status"]), (&"refused".into(), &400.into()));
        assert!(record["input_tokens"].is_null());
    }
}

#[tokio::test]
async fn what_is_not_served_says_why() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "").await;
    let upgrade = &[("connection", "Upgrade"), ("upgrade", "websocket")][..];
    for (start, headers, status, code, allow) in [
        ("POST /v1/nothing", &[JSON][..], 404, "unknown_url", None),
        ("GET /metrics", &[], 404, "unknown_url", None),
        ("GET /admin", &[], 404, "unknown_url", None),
        ("POST /v1/../v1/chat/completions", &[JSON], 404, "unknown_url", None),
        ("POST /V1/chat/completions", &[JSON], 404, "unknown_url", None),
        ("GET /v1/files", &[], 404, "stateful_not_served", None),
        ("POST /v1/threads", &[JSON], 404, "stateful_not_served", None),
        ("PUT /v1/chat/completions", &[JSON], 405, "method_not_allowed", Some("POST")),
        ("POST /v1/models", &[JSON], 405, "method_not_allowed", Some("GET, HEAD")),
        ("post /v1/chat/completions", &[JSON], 405, "method_not_allowed", Some("GET, HEAD, POST")),
        ("GET /v1/responses", upgrade, 426, "upgrade_not_supported", None),
        ("GET /v1/realtime", upgrade, 426, "upgrade_not_supported", None),
        ("GET /v1/models/nowhere", &[], 404, "model_not_found", None),
    ] {
        let answer = call(&gateway, start, headers, b"").await;
        assert_error(&answer, status, code, None, code);
        assert_eq!(answer.header("allow"), allow, "{start}");
    }
    let answer = call(&gateway, "POST /v1/chat/completions", &[JSON], br#"{"model":"nowhere"}"#).await;
    assert_error(&answer, 404, "model_not_found", None, "model_not_found");
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_taken_says_what_can() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "").await;
    let large = vec![b' '; 64 * 1024 + 1];
    let long = format!("POST /v1/chat/completions?{}", "x".repeat(9_000));
    let many: Vec<(String, String)> = (0..70).map(|number| (format!("x-{number}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let post = "POST /v1/chat/completions";
    for (start, headers, body, status, code) in [
        (post, &[JSON][..], &large[..], 413, "request_too_large"),
        (post, &[], GOOD.as_bytes(), 415, "unsupported_media_type"),
        (post, &[("content-type", "text/plain")], GOOD.as_bytes(), 415, "unsupported_media_type"),
        (post, &[JSON, ("content-encoding", "deflate")], GOOD.as_bytes(), 415, "unsupported_media_type"),
        (post, &[JSON, ("content-encoding", "gzip")], GOOD.as_bytes(), 400, "invalid_encoding"),
        (post, &[("content-type", "application/json; charset=utf-16")], GOOD.as_bytes(), 400, "invalid_encoding"),
        (post, &[JSON, ("expect", "200-ok")], GOOD.as_bytes(), 417, "expectation_failed"),
        (post, &many, GOOD.as_bytes(), 431, "headers_too_large"),
        (&long, &[JSON], GOOD.as_bytes(), 431, "headers_too_large"),
        (post, &[JSON, ("host", "b")], GOOD.as_bytes(), 400, "invalid_request"),
        (post, &[JSON, JSON], GOOD.as_bytes(), 400, "invalid_request"),
        (post, &[JSON, ("authorization", "Bearer other")], GOOD.as_bytes(), 400, "conflicting_credentials"),
    ] {
        let answer = call(&gateway, start, headers, body).await;
        assert_error(&answer, status, code, None, code);
    }
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn a_body_in_chunks_is_measured_as_it_comes() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "").await;
    let mut client = RawClient::connect(gateway.address()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    client.write(head.as_bytes()).await;
    for _ in 0..5 {
        client.write(format!("4000\r\n{}\r\n", " ".repeat(0x4000)).as_bytes()).await;
    }
    let answer = client.answer().await;
    assert_error(&answer, 413, "request_too_large", None, "request_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_are_told_and_closed() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "[server.timeouts]\nhead = \"100ms\"\nbody_idle = \"100ms\"").await;
    let mut slow_head = RawClient::connect(gateway.address()).await;
    slow_head.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n").await;
    let answer = slow_head.answer().await;
    assert_error(&answer, 408, "request_timeout", None, "request_timeout");
    assert_eq!(slow_head.rest().await, b"");

    let mut slow_body = RawClient::connect(gateway.address()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    slow_body.write(head.as_bytes()).await;
    let answer = slow_body.answer().await;
    assert_error(&answer, 408, "request_timeout", None, "request_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(slow_body.rest().await, b"");
    assert_eq!(upstream.connections(), 0, "no upstream is opened before the body is whole");
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let (upstream, gate) = (MockUpstream::start().await, Gate::new());
    upstream.push(
        Script::new()
            .wait(&gate)
            .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
    );
    let gateway = start(&upstream, "max_connections = 1").await;
    let mut first = RawClient::connect(gateway.address()).await;
    first.write(&crate::support::client::post("/v1/chat/completions", &[], GOOD.as_bytes())).await;
    upstream.request(0).await;
    let mut second = RawClient::connect(gateway.address()).await;
    let answer = second.answer().await;
    assert_error(&answer, 503, "overloaded", None, "overloaded");
    assert!(answer.header("retry-after").is_some());
    gate.open();
    assert_eq!(first.answer().await.status(), 200);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending_30_mebibytes() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    const SIZE: usize = 30 * 1024 * 1024;
    for (path, key, status) in [("/v1/chat/completions", "sk-nobody", 401), ("/v1/nothing", KEY, 404)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {SIZE}\r\n\r\n"
        );
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(head.as_bytes()).await;
        let piece = vec![b'x'; 1024 * 1024];
        // It reads nothing before it has sent everything, as simple clients do.
        for _ in 0..SIZE / piece.len() {
            client.write(&piece).await;
        }
        let answer = within("the refusal", client.answer()).await;
        assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")));
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn an_error_says_no_more_of_what_the_client_wrote_than_64_characters() {
    let upstream = MockUpstream::start().await;
    let gateway = start(&upstream, "").await;
    let model = "n".repeat(200);
    let answer =
        call(&gateway, "POST /v1/chat/completions", &[JSON], format!(r#"{{"model":"{model}"}}"#).as_bytes()).await;
    assert_eq!(answer.status(), 404);
    assert!(position(&answer.body, "n".repeat(64).as_bytes()).is_some());
    assert!(position(&answer.body, "n".repeat(65).as_bytes()).is_none());
}

#[tokio::test]
async fn work_that_outlives_its_call_is_refused_and_h2c_is_no_websocket() {
    let answer = Script::json(200, r#"{"output":[],"usage":{"input_tokens":1,"output_tokens":1}}"#);
    let upstream = MockUpstream::playing(answer).await;
    let gateway = TestGateway::over(&upstream);
    let got = gateway.post("/v1/responses", r#"{"model":"m","input":"x","background":true}"#).await;
    assert_eq!((got.status(), got.code()), (400, "unsupported_parameter".to_owned()));
    assert_eq!(upstream.received().len(), 0);

    let body = r#"{"model":"m","input":"x"}"#;
    let got = gateway.post_with("/v1/responses", &[("upgrade", "h2c"), ("connection", "upgrade")], body).await;
    assert_eq!(got.status(), 200, "{got:?}");
    let got = gateway.post_with("/v1/responses", &[("upgrade", "h2c, WebSocket")], body).await;
    assert_eq!(got.status(), 426, "{got:?}");
}
