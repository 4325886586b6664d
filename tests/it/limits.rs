//! Holds limits to their promise at the socket: who passes when many come at once, what the others are told, what is left.
//!
//! Must not know how a bucket keeps its numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate::gateway::limit_headers::go_duration;
use tollgate::limits::Kind;

use crate::support::gateway::digest;
use crate::support::{Answer, Gate, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, within};

const CHAT: &str = "/v1/chat/completions";

/// One tenant, `acme`, on a plan of these lines.
fn with_plan(upstream: &MockUpstream, plan: &str) -> TestGateway {
    TestGateway::start(&format!(
        r#"
[plans.p]
{plan}
[tenants.acme]
plan = "p"
keys = [{{ sha256 = "{}", label = "ci" }}]
[[routes]]
models = ["*"]
to = ["mock"]
max_output_tokens = 50
[upstreams.mock]
provider = "compatible"
base_url = "{}"
credential = {{ api_key = {{ env = "UPSTREAM_KEY" }} }}
"#,
        digest(KEY),
        upstream.base_url()
    ))
}

/// 100 bytes of text: 25 tokens by the start ratio.
fn call(max_tokens: u64) -> String {
    let text = "x".repeat(100);
    format!(r#"{{"model":"m","max_tokens":{max_tokens},"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn used(input: u64, output: u64) -> Script {
    let usage =
        format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#, input + output);
    Script::json(200, format!(r#"{{"choices":[{{"message":{{"content":"x"}}}}],"usage":{usage}}}"#))
}

/// As many calls at once; the answers in the order in which they come.
fn at_once(gateway: &TestGateway, number: usize, body: &str) -> JoinSet<Answer> {
    let mut calls = JoinSet::new();
    for _ in 0..number {
        let (address, body) = (gateway.address(), body.to_owned());
        calls.spawn(async move { RawClient::connect(address).await.call(CHAT, &[], body.as_bytes()).await });
    }
    calls
}

/// That an answer is a refusal by a limit of this kind, in OpenAI's shape.
fn assert_refused(answer: &Answer, kind: &str, reason: &str) {
    assert_eq!(answer.status(), 429);
    let error = &answer.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&kind.into(), &"rate_limit_exceeded".into()), "{error}");
    assert!(error["param"].is_null() && error.as_object().unwrap().contains_key("param"));
    assert_eq!(answer.header("x-tollgate-error"), Some(reason));
}

fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name}: {:?}", answer.head));
    value.parse().unwrap()
}

#[tokio::test]
async fn of_200_calls_at_once_on_a_burst_of_10_exactly_10_pass() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = with_plan(&upstream, r#"requests = "10/h burst 10""#);
    let began = Instant::now();
    let answers = within("200 answers", at_once(&gateway, 200, &call(5)).join_all()).await;
    let elapsed = began.elapsed();
    let (passed, refused): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status() == 200);
    assert_eq!((passed.len(), refused.len()), (10, 190));
    assert_eq!(upstream.received().len(), 10);
    for answer in &refused {
        assert_refused(answer, "requests", "request_limit");
        // The next one comes back after 6 minutes, which is longer than an SDK would wait by itself.
        let wait = Duration::from_millis(number(answer, "retry-after-ms"));
        assert!(wait + elapsed >= Duration::from_secs(360) && wait <= Duration::from_secs(396), "{wait:?}");
        assert_eq!(number(answer, "retry-after"), wait.as_millis().div_ceil(1_000) as u64);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(number(answer, "x-ratelimit-limit-requests"), 10);
        assert_eq!(number(answer, "x-ratelimit-remaining-requests"), 0);
    }
    let mut remaining: Vec<u64> = passed.iter().map(|a| number(a, "x-ratelimit-remaining-requests")).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..10).collect::<Vec<u64>>(), "each admission shows its own level");
    assert_eq!(gateway.level("acme", Kind::Requests), 10);
    let decisions = |decision| [("limit", "requests_per_h"), ("decision", decision)];
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decisions("allowed")).await, 10.0);
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decisions("refused")).await, 190.0);
    let mut outcomes = BTreeMap::new();
    for record in gateway.records(200).await {
        *outcomes.entry(record["outcome"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([("ok".to_owned(), 10), ("refused".to_owned(), 190)]));
}

#[tokio::test]
async fn a_call_whose_cap_never_fits_is_told_so_and_not_to_come_back() {
    let upstream = MockUpstream::start().await;
    let gateway = with_plan(&upstream, "tokens = \"100/min\"\nreserve_output = \"cap\"");
    for answer in within("five answers", at_once(&gateway, 5, &call(150)).join_all()).await {
        assert_refused(&answer, "tokens", "token_limit");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (None, None));
        assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("Request too large"));
        assert_eq!(number(&answer, "x-ratelimit-remaining-tokens"), 100);
    }
    assert_eq!(gateway.level("acme", Kind::Tokens), 0);
}

#[tokio::test]
async fn of_five_calls_larger_than_the_bucket_one_is_admitted_and_its_overrun_is_owed() {
    let (upstream, gate) = (MockUpstream::start().await, Gate::new());
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":25,"completion_tokens":150,"total_tokens":175}}"#;
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{usage}", usage.len());
    upstream.push(Script::new().wait(&gate).send(answer));
    let gateway = with_plan(&upstream, "tokens = \"100/min\"\nreserve_output = \"learned\"");
    let began = Instant::now();
    let mut calls = at_once(&gateway, 5, &call(150));
    for _ in 0..4 {
        let answer = within("a refusal", calls.join_next()).await.unwrap().unwrap();
        assert_refused(&answer, "tokens", "token_limit");
        assert!(number(&answer, "retry-after") >= 1);
    }
    gate.open();
    let admitted = within("the admitted call", calls.join_next()).await.unwrap().unwrap();
    assert_eq!(admitted.status(), 200);
    assert_eq!(number(&admitted, "x-ratelimit-remaining-tokens"), 0);
    gateway.records(5).await;
    assert_eq!(upstream.received().len(), 1);

    let (level, elapsed) = (gateway.level("acme", Kind::Tokens), began.elapsed());
    let returned = (elapsed.as_secs_f64() * 100.0 / 60.0).ceil() as u64;
    assert!(level <= 175 && level + returned >= 175, "{level} used after {elapsed:?}");
    assert!(level > 100, "this took longer than a debt of 75 tokens lasts: {elapsed:?}");
    // In debt: full only after more than the whole period, and nothing passes.
    let answer = gateway.post(CHAT, call(1)).await;
    assert_refused(&answer, "tokens", "token_limit");
    assert_eq!(number(&answer, "x-ratelimit-remaining-tokens"), 0);
    assert!(answer.header("x-ratelimit-reset-tokens").unwrap().starts_with("1m"));
    assert_eq!(gateway.metric("tollgate_tokens_overrun_total", &[("tenant", "acme")]).await, 75.0);
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_the_plan_allows_and_a_place_is_free_with_the_last_byte() {
    let (upstream, gate, there) = (MockUpstream::start().await, Gate::new(), Gate::new());
    let slow = || {
        Script::stream_head()
            .chunk("data: {\"choices\":[]}\n\n")
            .tell(&there)
            .wait(&gate)
            .chunk("data: [DONE]\n\n")
            .last_chunk()
    };
    upstream.push(slow());
    upstream.push(slow());
    let gateway = with_plan(&upstream, "concurrent = 2");
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let (mut one, mut two) = (RawClient::connect(gateway.address()).await, RawClient::connect(gateway.address()).await);
    for client in [&mut one, &mut two] {
        client.write(&crate::support::client::post(CHAT, &[], body.as_bytes())).await;
        assert_eq!(client.head().await.status(), 200);
    }
    let refused = gateway.post(CHAT, body).await;
    assert_refused(&refused, "concurrent", "concurrency_limit");
    assert!((1_000..=1_250).contains(&number(&refused, "retry-after-ms")));
    gate.open();
    for client in [&mut one, &mut two] {
        client.until(b"0\r\n\r\n").await;
    }
    gateway.metric_becomes("tollgate_in_flight", &[("tenant", "acme")], 0.0).await;
    upstream.push(used(1, 1));
    assert_eq!(gateway.post(CHAT, call(1)).await.status(), 200);
}

#[tokio::test]
async fn a_shadow_plan_refuses_nobody_and_counts_whom_it_would_have() {
    let upstream = MockUpstream::playing(used(1, 1)).await;
    let gateway = with_plan(&upstream, "requests = \"2/day burst 2\"\nshadow = true");
    let mut remaining = Vec::new();
    for _ in 0..5 {
        let answer = gateway.post(CHAT, call(1)).await;
        assert_eq!(answer.status(), 200);
        remaining.push(number(&answer, "x-ratelimit-remaining-requests"));
    }
    assert_eq!(remaining, [1, 0, 0, 0, 0]);
    assert_eq!(gateway.level("acme", Kind::Requests), 2, "admission never puts a shadow limit into debt");
    let decisions = |decision| [("limit", "requests_per_day"), ("decision", decision)];
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decisions("allowed")).await, 2.0);
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decisions("shadow_refused")).await, 3.0);
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decisions("refused")).await, 0.0);
}

#[tokio::test]
async fn the_headers_show_the_level_after_this_calls_reservation_to_the_token() {
    let upstream = MockUpstream::playing(used(20, 4)).await;
    let gateway =
        with_plan(&upstream, "requests = [\"60/h burst 60\", \"5k/day burst 5k\"]\ntokens = \"24k/day burst 24k\"");
    let answer = gateway.post(CHAT, call(100)).await;
    let reserved = gateway.metric("tollgate_tokens_reserved_total", &[]).await as u64;
    assert!((125..=130).contains(&reserved), "25 or a little more in, 100 out: {reserved}");
    for (name, value) in [
        ("x-ratelimit-limit-requests", "60".to_owned()),
        ("x-ratelimit-remaining-requests", "59".to_owned()),
        ("x-ratelimit-reset-requests", "1m0s".to_owned()),
        ("x-ratelimit-limit-tokens", "24000".to_owned()),
        ("x-ratelimit-remaining-tokens", (24_000 - reserved).to_string()),
        ("x-ratelimit-reset-tokens", go_duration(Duration::from_millis(3_600 * reserved))),
    ] {
        assert_eq!(answer.header(name), Some(&*value), "{name}");
    }
    gateway.records(1).await;
    assert_eq!(gateway.level("acme", Kind::Tokens), 24, "settled by what was reported");
}

#[tokio::test]
async fn an_exhausted_tenant_is_told_before_a_byte_of_its_body_is_read() {
    let upstream = MockUpstream::playing(used(1, 1)).await;
    let gateway = with_plan(&upstream, r#"requests = "1/day burst 1""#);
    assert_eq!(gateway.post(CHAT, call(1)).await.status(), 200);
    let mut client = RawClient::connect(gateway.address()).await;
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    );
    client.write(head.as_bytes()).await;
    let answer = client.answer().await;
    assert_refused(&answer, "requests", "request_limit");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(!answer.json()["error"]["message"].as_str().unwrap().contains("Requested"), "nothing is known of it yet");
}

#[tokio::test]
async fn a_refusal_changes_no_level_and_its_wait_agrees_with_the_level_that_operators_see() {
    let upstream = MockUpstream::playing(used(10, 10)).await;
    let gateway = with_plan(&upstream, "requests = \"1/h burst 3\"\ntokens = \"24/day burst 1000\"");
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(gateway.post(CHAT, call(10)).await.status(), 200);
    }
    gateway.records(3).await;
    let levels = || (gateway.level("acme", Kind::Requests), gateway.level("acme", Kind::Tokens));
    assert_eq!(levels(), (3, 60));
    for _ in 0..20 {
        let answer = gateway.post(CHAT, call(10)).await;
        assert_refused(&answer, "requests", "request_limit");
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), 0);
        assert_eq!(number(&answer, "x-ratelimit-remaining-tokens"), 940);
        // Three are used of three: one comes back an hour after the first was taken from a full bucket.
        let wait = Duration::from_millis(number(&answer, "retry-after-ms"));
        assert!(wait + began.elapsed() >= Duration::from_secs(3_600) && wait <= Duration::from_secs(3_961), "{wait:?}");
    }
    // Nor do calls that are refused for what they are.
    assert_eq!(gateway.post("/v1/nowhere", "{}").await.status(), 404);
    assert_eq!(levels(), (3, 60));
    let status = String::from_utf8(gateway.admin("/status").await.body).unwrap();
    assert!(status.contains("acme") && status.contains("1/h"), "{status}");
}
