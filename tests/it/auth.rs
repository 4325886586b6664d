//! Checks who is let in, as whom, and what strangers learn.
//!
//! Must not know where keys are kept.

use crate::support::gateway::digest;
use crate::support::{Answer, KEY, MockUpstream, RawClient, Script, TestGateway, fixture};

const BODY: &str = r#"{"model":"gpt-a","messages":[]}"#;
const EXPIRED: &str = "sk-tg-expired-0123456789";

/// Two tenants: `acme` may use `gpt-*`, `rich` everything; one key of `acme` has expired.
fn config(upstream: &MockUpstream, server: &str) -> String {
    format!(
        r#"
[server]
{server}
[plans.wide]
concurrent = 100
[tenants.acme]
plan = "wide"
models = ["gpt-*"]
keys = [{{ sha256 = "{}", label = "ci" }}, {{ sha256 = "{}", label = "old", expires = 2020-01-01 }}]
[tenants.rich]
plan = "wide"
keys = [{{ sha256 = "{}", label = "rich" }}]
[[routes]]
models = ["gpt-a", "gpt-b", "internal-x", "gpt-wild-*"]
to = ["mock"]
[upstreams.mock]
provider = "compatible"
base_url = "{}"
credential = "none"
"#,
        digest(KEY),
        digest(EXPIRED),
        digest("sk-rich"),
        upstream.base_url()
    )
}

async fn upstream() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

/// A request with just these headers.
fn request(start: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{start} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text.push_str("host: 127.0.0.1\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + &format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn chat(gateway: &TestGateway, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request("POST /v1/chat/completions", headers, body).as_bytes()).await;
    client.answer().await
}

async fn get(gateway: &TestGateway, key: &str, path: &str) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request(&format!("GET {path}"), &[("authorization", &format!("Bearer {key}"))], "").as_bytes()).await;
    client.answer().await
}

#[tokio::test]
async fn a_key_is_taken_from_each_of_its_headers_and_reaches_no_upstream() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    let bearer = format!("bearer {KEY}");
    let both = [("authorization", &*bearer), ("x-api-key", KEY)];
    for headers in [&both[..1], &[("api-key", KEY)], &[("x-api-key", KEY)], &both] {
        assert_eq!(chat(&gateway, headers, BODY).await.status(), 200, "{headers:?}");
    }
    for record in gateway.records(4).await {
        assert_eq!((&record["tenant"], &record["key"]), (&"acme".into(), &"ci".into()));
    }
    for received in upstream.received() {
        assert!(!String::from_utf8_lossy(&received.head.raw).contains(KEY));
        for name in ["authorization", "api-key", "x-api-key"] {
            assert_eq!(received.head.all(name), Vec::<&str>::new(), "{name}");
        }
    }
}

#[tokio::test]
async fn strangers_and_expired_keys_are_refused_in_words_that_sdks_know_and_leave_no_record() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    let expired = format!("Bearer {EXPIRED}");
    for (headers, reason) in [
        (&[][..], "no_api_key"),
        (&[("authorization", "Bearer ")], "no_api_key"),
        (&[("authorization", "Bearer sk-unknown-0123456789abcdef")], "invalid_api_key"),
        (&[("authorization", "Basic dXNlcjpwYXNz")], "invalid_api_key"),
        (&[("authorization", &*expired)], "expired_api_key"),
    ] {
        let answer = chat(&gateway, headers, BODY).await;
        assert_eq!((answer.status(), &*answer.code()), (401, "invalid_api_key"), "{headers:?}");
        assert_eq!(answer.header("x-tollgate-error"), Some(reason));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("Incorrect API key provided"), "{text}");
        assert!(!text.contains("0123456789"), "a key is not said back: {text}");
        assert_eq!(gateway.metric("tollgate_rejected_total", &[("reason", reason)]).await.min(1.0), 1.0);
    }
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(gateway.shut_down().await.len(), 0);
}

#[tokio::test]
async fn two_keys_that_differ_are_refused_though_one_is_right() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    let bearer = format!("Bearer {KEY}");
    let answer = chat(&gateway, &[("authorization", &bearer), ("x-api-key", "sk-rich")], BODY).await;
    assert_eq!((answer.status(), &*answer.code()), (400, "conflicting_credentials"));
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn on_an_anonymous_port_no_key_and_unknown_keys_are_the_named_tenants_and_expired_ones_are_not() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, r#"anonymous = "acme""#));
    for headers in [&[][..], &[("authorization", "Bearer sk-anything")], &[("x-api-key", "dummy")]] {
        assert_eq!(chat(&gateway, headers, BODY).await.status(), 200, "{headers:?}");
    }
    let expired = chat(&gateway, &[("authorization", &format!("Bearer {EXPIRED}"))], BODY).await;
    assert_eq!((expired.status(), expired.header("x-tollgate-error")), (401, Some("expired_api_key")));
    assert_eq!(chat(&gateway, &[("x-api-key", "sk-rich")], BODY).await.status(), 200);
    let keys: Vec<String> = gateway.records(4).await.iter().map(|r| format!("{} {}", r["tenant"], r["key"])).collect();
    let anonymous = "\"acme\" \"anonymous\"";
    assert_eq!(keys, [anonymous, anonymous, anonymous, "\"rich\" \"rich\""]);
}

#[tokio::test]
async fn a_web_page_cannot_spend_what_an_anonymous_port_has() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, r#"anonymous = "acme""#));
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "evil.example:8080")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("host", "127.0.0.1.evil.example")],
    ] {
        let answer = chat(&gateway, headers, BODY).await;
        assert_eq!((answer.status(), &*answer.code()), (403, "origin_not_allowed"), "{headers:?}");
    }
    assert_eq!(upstream.received().len(), 0);
    for headers in [&[("host", "localhost:8080")][..], &[("host", "127.0.0.1")], &[("host", "[::1]:80")]] {
        assert_eq!(chat(&gateway, headers, BODY).await.status(), 200, "{headers:?}");
    }
    // Where keys are asked for, a name of its own is no sin.
    let keyed = TestGateway::start(&config(&upstream, ""));
    assert_eq!(chat(&keyed, &[("host", "gateway.example"), ("x-api-key", KEY)], BODY).await.status(), 200);
}

#[tokio::test]
async fn a_model_that_is_another_tenants_looks_like_one_that_does_not_exist() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    let ask = async |model: &str| {
        let answer = chat(&gateway, &[("x-api-key", KEY)], &BODY.replace("gpt-a", model)).await;
        let names = answer.head.names().join(" ");
        (answer.status(), names, String::from_utf8(answer.body).unwrap().replace(model, "MODEL"))
    };
    let forbidden = ask("internal-x").await;
    assert_eq!(forbidden, ask("no-such-xy").await);
    assert_eq!(forbidden, ask("gpt-nowhere").await);
    assert_eq!(forbidden.0, 404);
    assert!(forbidden.2.contains("model_not_found"));
    assert_eq!(upstream.received().len(), 0);
    let rich = chat(&gateway, &[("x-api-key", "sk-rich")], &BODY.replace("gpt-a", "internal-x")).await;
    assert_eq!(rich.status(), 200);
}

#[tokio::test]
async fn the_model_list_shows_each_tenant_its_own() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    for (key, models) in [(KEY, &["gpt-a", "gpt-b"][..]), ("sk-rich", &["gpt-a", "gpt-b", "internal-x"])] {
        let list = get(&gateway, key, "/v1/models").await.json();
        assert_eq!(list["object"], "list");
        let ids: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(ids, models);
    }
    assert_eq!(get(&gateway, KEY, "/v1/models/gpt-b").await.json()["id"], "gpt-b");
    assert_eq!(get(&gateway, KEY, "/v1/models/gpt-wild-7").await.status(), 200, "a pattern answers for what it routes");
    assert_eq!(get(&gateway, KEY, "/v1/models/internal-x").await.code(), "model_not_found");
    assert_eq!(get(&gateway, "sk-nobody", "/v1/models").await.status(), 401);
    assert_eq!(upstream.received().len(), 0, "no upstream is asked");
}

#[tokio::test]
async fn whoever_guesses_keys_loses_the_connection_and_holders_of_keys_notice_nothing() {
    let upstream = upstream().await;
    let gateway = TestGateway::start(&config(&upstream, ""));
    // Without a body: an answer that comes before a body is read closes the connection anyway.
    let guess = request("GET /v1/models", &[("x-api-key", "sk-guess")], "");
    let mut client = RawClient::connect(gateway.address()).await;
    let mut closing = None;
    for attempt in 0..1_000 {
        client.write(guess.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), &*answer.code()), (401, "invalid_api_key"));
        if answer.header("connection") == Some("close") {
            closing = Some(attempt);
            break;
        }
    }
    let closing = closing.expect("a thousand guesses, and the connection stays");
    assert!(closing >= 10, "closed after {closing} guesses; 10 a second are borne");
    assert_eq!(client.rest().await, b"");
    assert_eq!(chat(&gateway, &[("x-api-key", KEY)], BODY).await.status(), 200);
}
