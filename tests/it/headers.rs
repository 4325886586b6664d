//! Holds the gateway to its header rules: what an upstream may not see of a client, and a client not of an upstream.
//!
//! The names are listed whole, so that one more on either side fails. Must not look at bodies.

use crate::support::{KEY, MockUpstream, Script, TestGateway, UPSTREAM_KEY, fixture, standard};

const CHAT: &str = "/v1/chat/completions";
const CALL: &str = r#"{"model":"gpt-x","messages":[{"role":"user","content":"Name a river."}]}"#;

#[tokio::test]
async fn an_upstream_sees_the_call_and_not_its_caller() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::over(&upstream);
    let sent = [
        // What is the caller's, or only of this hop.
        ("api-key", KEY),
        ("x-api-key", KEY),
        ("cookie", "session=1"),
        ("openai-organization", "org-caller"),
        ("openai-project", "proj_caller"),
        ("openai-beta", "assistants=v2"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "inside.example"),
        ("x-forwarded-proto", "https"),
        ("x_forwarded_for", "10.0.0.2"),
        ("forwarded", "for=10.0.0.1"),
        ("via", "1.1 inside"),
        ("x-real-ip", "10.0.0.1"),
        ("referer", "http://inside.example/"),
        ("sec-fetch-mode", "cors"),
        ("connection", "keep-alive, x-only-here"),
        ("x-only-here", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic eDp5"),
        ("x-http-method-override", "GET"),
        ("x-original-url", "/admin"),
        ("x-tollgate-anything", "1"),
        ("accept-encoding", "gzip, br"),
        // What passes.
        ("accept", "application/json"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("x-stainless-lang", "python"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("idempotency-key", "stainless-1"),
        ("x-client-request-id", "mine"),
        ("x_custom", "one"),
    ];
    assert_eq!(gateway.post_with(CHAT, &sent, CALL).await.status(), 200);
    let head = upstream.request(0).await.head;
    let mut passed = vec![
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "traceparent",
        "user-agent",
        "x-client-request-id",
        "x-stainless-lang",
        "x_custom",
    ];
    passed.sort_unstable();
    assert_eq!(head.names(), passed);
    for (name, value) in sent.iter().filter(|(name, _)| passed.contains(name) && *name != "accept-encoding") {
        assert_eq!(head.get(name), Some(*value), "{name}");
    }
    assert_eq!(head.get("authorization"), Some(&*format!("Bearer {UPSTREAM_KEY}")));
    assert_eq!(head.get("accept-encoding"), Some("identity"));
    assert_eq!(head.get("host"), Some(&*upstream.address.to_string()));
    let seen = String::from_utf8_lossy(&head.raw).into_owned();
    assert!(!seen.contains(KEY) && !seen.contains("10.0.0.") && !seen.contains("inside"), "{seen}");
}

#[tokio::test]
async fn an_upstreams_path_is_its_own_whatever_the_client_wrote() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::start(&standard(&upstream).replace("/v1\"", "/deep/api/\""));
    let paths = ["/v1/chat/completions", "/chat/completions", "/v1//chat/completions/", "/v1/chat/completions?a=/../b"];
    for (number, path) in paths.into_iter().enumerate() {
        assert_eq!(gateway.post(path, CALL).await.status(), 200, "{path}");
        assert_eq!(upstream.request(number).await.head.start, "POST /deep/api/chat/completions HTTP/1.1", "{path}");
    }
}

#[tokio::test]
async fn a_client_sees_the_answer_and_not_the_operators_account() {
    let headers = [
        ("set-cookie", "__cf_bm=1; path=/"),
        ("set-cookie", "second=2"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-tokens", "123456"),
        ("x-ratelimit-anything-new", "1"),
        ("openai-organization", "the-operator"),
        ("openai-project", "proj_operator"),
        ("server", "cloudflare"),
        ("cf-ray", "1-FRA"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("connection", "keep-alive, x-only-there"),
        ("x-only-there", "1"),
        ("keep-alive", "timeout=5, max=100"),
        ("proxy-authenticate", "Basic"),
        ("x-tollgate-error", "forged"),
        ("x-tollgate-request-id", "forged"),
        // What passes.
        ("x-request-id", "req_upstream"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-custom", "one"),
        ("x-custom", "two"),
        ("date", "Sun, 22 Nov 2026 04:00:00 GMT"),
    ];
    let script = Script::answer_with(200, "application/json", &headers, fixture("chat_response.json"));
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::over(&upstream);
    let answer = gateway.post(CHAT, CALL).await;
    let expected = [
        "content-length",
        "content-type",
        "date",
        "openai-processing-ms",
        "openai-version",
        "x-custom",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
        "x-request-id",
        "x-tollgate-request-id",
    ];
    assert_eq!(answer.head.names(), expected);
    assert_eq!(answer.head.all("x-custom"), ["one", "two"]);
    assert_eq!(answer.header("date"), Some("Sun, 22 Nov 2026 04:00:00 GMT"));
    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("1000000"), "the tenant's own");
    assert_ne!(answer.header("x-tollgate-request-id"), Some("forged"));
}

#[tokio::test]
async fn an_answer_has_the_upstreams_request_id_or_ours_and_always_ours_beside_it() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    upstream.push(Script::answer_with(200, "application/json", &[("x-request-id", "req_theirs")], "{}"));
    upstream.push(Script::json(200, "{}"));
    upstream.push(Script::answer_with(404, "application/json", &[("x-request-id", "req_404")], "{}"));
    upstream.push(Script::json(401, "{}"));

    let mut ours = Vec::new();
    for (theirs, status) in [(Some("req_theirs"), 200), (None, 200), (Some("req_404"), 404), (None, 502)] {
        let answer = gateway.post(CHAT, CALL).await;
        assert_eq!(answer.status(), status);
        let id = answer.header("x-tollgate-request-id").unwrap().to_owned();
        assert_eq!(answer.header("x-request-id"), Some(theirs.unwrap_or(&id)));
        assert!(!ours.contains(&id), "an id comes once");
        ours.push(id);
    }
    let recorded: Vec<String> =
        gateway.records(4).await.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(recorded, ours, "the record has the id that the client was told");
    let unknown = gateway.post_with(CHAT, &[("authorization", "Bearer nobody")], CALL).await;
    assert_eq!(unknown.status(), 401);
    assert_eq!(unknown.header("x-request-id"), unknown.header("x-tollgate-request-id"));
    assert!(unknown.header("x-request-id").is_some());
}

#[tokio::test]
async fn a_429_of_the_upstream_passes_as_its_own() {
    let body = fixture("error_429_requests.json");
    let headers = [
        ("retry-after", "7"),
        ("retry-after-ms", "6500"),
        ("x-should-retry", "true"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "6.5s"),
    ];
    let upstream = MockUpstream::playing(Script::answer_with(429, "application/json", &headers, &body)).await;
    let gateway = TestGateway::over(&upstream);
    let answer = gateway.post(CHAT, CALL).await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.body, body);
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("retry-after-ms"), Some("6500"));
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    assert_eq!(answer.header("x-tollgate-error"), None);
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("999999"), "the tenant's own level");
}

#[tokio::test]
async fn a_429_of_ours_says_so_and_never_reaches_the_upstream() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let config = standard(&upstream).replace("24/day burst 1M\"", "60/min burst 1\"");
    let gateway = TestGateway::start(&config);
    assert_eq!(gateway.post(CHAT, CALL).await.status(), 200);
    let answer = gateway.post(CHAT, CALL).await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.header("x-tollgate-error"), Some("request_limit"));
    assert_eq!(answer.code(), "rate_limit_exceeded");
    assert_eq!(answer.json()["error"]["type"], "requests");
    let wait: u64 = answer.header("retry-after-ms").unwrap().parse().unwrap();
    assert!((1..=1_400).contains(&wait), "{wait}");
    assert_eq!(answer.header("retry-after"), Some(&*wait.div_ceil(1_000).to_string()));
    assert_eq!(upstream.received().len(), 1);
}
