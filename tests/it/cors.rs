//! Holds the gateway to what it lets web pages do: those of allowed origins may call and read, others may not, and asking is free.
//!
//! A browser is played by the heads that it sends (Fetch Standard 3.3).

use crate::support::client::post;
use crate::support::{Answer, Head, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, standard};

const CHAT: &str = "/v1/chat/completions";
const APP: &str = "https://app.example";
const ASKED: &str = "authorization,content-type,x-stainless-lang,x-stainless-retry-count";

async fn answering() -> MockUpstream {
    let own = [("access-control-allow-origin", "https://provider.example"), ("access-control-expose-headers", "x-own")];
    MockUpstream::playing(Script::answer_with(200, "application/json", &own, fixture("chat_response.json"))).await
}

fn with(upstream: &MockUpstream, server: &str) -> TestGateway {
    TestGateway::start(&format!("{}\n[server]\n{server}\n", standard(upstream)))
}

fn chat() -> String {
    r#"{"model":"m","messages":[{"role":"user","content":"Name a river."}]}"#.to_owned()
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS {CHAT} HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: {ASKED}\r\n\r\n"
    )
}

async fn exchange(gateway: &TestGateway, request: impl AsRef<[u8]>) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request.as_ref()).await;
    client.answer().await
}

async fn head(gateway: &TestGateway, request: impl AsRef<[u8]>) -> Head {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request.as_ref()).await;
    client.head().await
}

fn readable_by(answer: &Head) -> Option<&str> {
    let allowed = answer.get("access-control-allow-origin");
    let exposed = answer.get("access-control-expose-headers");
    assert_eq!(allowed.is_some(), exposed.is_some_and(|names| names.contains("x-request-id")), "{answer:?}");
    allowed
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_is_neither_limited_nor_recorded() {
    let upstream = answering().await;
    let text = standard(&upstream).replace("24/day burst 1M", "1/day");
    let gateway = TestGateway::start(&format!("{text}\n[server]\nallow_origins = [\"{APP}\"]\n"));
    let mut client = RawClient::connect(gateway.address()).await;
    for _ in 0..20 {
        client.write(preflight(APP).as_bytes()).await;
        let answer = client.head().await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.get("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.get("access-control-allow-methods"), Some("GET, HEAD, POST"));
        assert_eq!(answer.get("access-control-allow-headers"), Some(ASKED));
        assert!(answer.get("vary").unwrap().contains("Origin"), "{answer:?}");
        assert_eq!(answer.get("access-control-allow-credentials"), None);
    }
    let foreign = head(&gateway, preflight("https://evil.example")).await;
    assert_eq!((foreign.status(), foreign.get("access-control-allow-origin")), (204, None));
    assert_eq!(foreign.get("access-control-allow-headers"), None);
    let answer = client.call(CHAT, &[("origin", APP)], chat().as_bytes()).await;
    assert_eq!((answer.status(), readable_by(&answer.head)), (200, Some(APP)));
    assert_eq!(gateway.records(1).await.len(), 1);
    let metrics = gateway.metrics().await;
    assert_eq!(crate::support::gateway::sum(&metrics, "tollgate_requests_total", &[]), 1.0);
    assert_eq!(crate::support::gateway::sum(&metrics, "tollgate_rejected_total", &[]), 0.0);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn every_answer_is_readable_for_an_allowed_page_and_for_no_other() {
    let upstream = answering().await;
    let gateway = with(&upstream, &format!("allow_origins = [\"https://other.example\", \"{APP}\"]"));
    let body = chat();
    let cases = [
        (200, post(CHAT, &[("origin", APP)], body.as_bytes())),
        (400, post(CHAT, &[("origin", APP)], b"{")),
        (401, post(CHAT, &[("origin", APP), ("authorization", "Bearer sk-none")], body.as_bytes())),
        (404, post("/v1/nothing", &[("origin", APP)], body.as_bytes())),
        (
            405,
            format!("OPTIONS {CHAT} HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\nauthorization: Bearer {KEY}\r\n\r\n")
                .into(),
        ),
        (415, post(CHAT, &[("origin", APP), ("content-encoding", "deflate")], body.as_bytes())),
        (417, post(CHAT, &[("origin", APP), ("expect", "200-ok")], body.as_bytes())),
        // Refused before it has a path.
        (400, post(CHAT, &[("origin", APP), ("transfer-encoding", "gzip, chunked")], body.as_bytes())),
    ];
    for (status, request) in cases {
        let text = String::from_utf8(request).unwrap();
        let answer = exchange(&gateway, &text).await;
        assert_eq!((answer.status(), readable_by(&answer.head)), (status, Some(APP)), "{text}");
        assert!(answer.head.all("vary").contains(&"Origin"), "{text}");
        let foreign = exchange(&gateway, text.replace(APP, "https://evil.example")).await;
        assert_eq!((foreign.status(), readable_by(&foreign.head)), (status, None), "{text}");
        assert!(foreign.head.all("vary").contains(&"Origin"), "{text}");
    }
    let untold = exchange(&gateway, post(CHAT, &[], body.as_bytes())).await;
    assert_eq!((untold.status(), readable_by(&untold.head)), (200, None), "the upstream's own word is not ours");
}

#[tokio::test]
async fn a_star_lets_every_page_read_also_what_is_refused_before_its_head_is_known() {
    let upstream = answering().await;
    let gateway = with(&upstream, "allow_origins = [\"*\"]");
    let answer = exchange(&gateway, post(CHAT, &[("origin", "https://any.example")], chat().as_bytes())).await;
    assert_eq!((answer.status(), readable_by(&answer.head)), (200, Some("*")));
    assert_eq!(head(&gateway, preflight("null")).await.get("access-control-allow-origin"), Some("*"));
    let long = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\norigin: {APP}\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    let refused = exchange(&gateway, long).await;
    assert_eq!((refused.status(), readable_by(&refused.head)), (431, Some("*")));
}

#[tokio::test]
async fn without_the_key_there_is_none_of_it() {
    let upstream = answering().await;
    let gateway = TestGateway::over(&upstream);
    let asked = preflight(APP).replace("\r\n\r\n", &format!("\r\nauthorization: Bearer {KEY}\r\n\r\n"));
    let answer = exchange(&gateway, asked).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("POST")));
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, None));
    let answer = exchange(&gateway, post(CHAT, &[("origin", APP)], chat().as_bytes())).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://provider.example"), "as it came");
    assert_eq!(answer.header("vary"), None);
}

#[tokio::test]
async fn a_port_without_keys_is_open_to_pages_of_allowed_origins_alone() {
    let upstream = answering().await;
    let call = |origin: &str| {
        let text = String::from_utf8(post(CHAT, &[("origin", origin)], chat().as_bytes())).unwrap();
        text.replace("host: gateway", "host: localhost").replace(&format!("authorization: Bearer {KEY}\r\n"), "")
    };
    let closed = with(&upstream, "anonymous = \"acme\"");
    assert_eq!(exchange(&closed, call(APP)).await.status(), 403);
    let open = with(&upstream, &format!("anonymous = \"acme\"\nallow_origins = [\"{APP}\"]"));
    let answer = exchange(&open, call(APP)).await;
    assert_eq!((answer.status(), readable_by(&answer.head)), (200, Some(APP)));
    let foreign = exchange(&open, call("https://evil.example")).await;
    assert_eq!(
        (foreign.status(), foreign.code(), readable_by(&foreign.head)),
        (403, "origin_not_allowed".into(), None)
    );
    assert_eq!(exchange(&open, preflight("https://evil.example")).await.status(), 403);
    assert_eq!(head(&open, preflight(APP)).await.status(), 204);
}
