//! Holds the gateway to what it says when an upstream breaks off, stalls or is not there, and to what it charges then.
//!
//! A cut is told inside the stream only at an event's end, and never looks like a whole answer.

use std::ops::RangeInclusive;

use serde_json::Value;
use tollgate::limits::Kind;

use crate::metering::{Books, books};
use crate::support::{
    Answer, Ended, Gate, Http2Client, MockUpstream, Script, TestGateway, Then, fixture, http2, position, shown,
    standard,
};

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Name a river."}]}"#;
const COMPLETION: &str = r#"{"model":"m","stream":true,"prompt":"Name a river."}"#;
const RESPONSE: &str = r#"{"model":"m","stream":true,"input":"Name a river.","store":false}"#;

/// A stream's fixture up to the end of the event that `mark` stands in.
fn up_to(name: &str, mark: &str) -> Vec<u8> {
    let stream = fixture(name);
    let mark = position(&stream, mark.as_bytes()).unwrap();
    let end = mark + position(&stream[mark..], b"\n\n").unwrap() + 2;
    stream[..end].to_vec()
}

async fn called(config: impl Fn(&MockUpstream) -> String, script: Script, path: &str, body: &str) -> (Answer, Books) {
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::start(&config(&upstream));
    let answer = gateway.post(path, body).await;
    (answer, books(gateway, 1).await)
}

/// What was added behind `passed`, read as one event of chat or completions.
fn added_error<'a>(answer: &'a Answer, passed: &[u8]) -> &'a str {
    assert!(answer.body.starts_with(passed), "{}", shown(&answer.body));
    std::str::from_utf8(&answer.body[passed.len()..]).unwrap()
}

fn assert_chat_error(added: &str, code: &str) {
    let data = added.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data: Value = serde_json::from_str(data.unwrap_or_else(|| panic!("not one event: {added:?}"))).unwrap();
    assert_eq!(data["error"]["code"], code);
    assert_eq!(data["error"]["type"], "server_error");
    assert!(data["error"]["message"].is_string() && data["error"]["param"].is_null(), "{data}");
}

/// `output` in tokens: what is seen, or what the upstream may have written unseen, at the 50 a second that are assumed at first.
fn assert_broken(books: &Books, outcome: &str, output: RangeInclusive<u64>) {
    assert_eq!(books.record["outcome"], outcome, "{}", books.record);
    assert_eq!(books.record["usage_source"], "estimated", "{}", books.record);
    assert!((3..=5).contains(&books.input), "{}", books.record);
    assert!(output.contains(&books.output), "{}", books.record);
}

#[tokio::test]
async fn a_cut_between_events_is_told_in_the_dialect_of_chat_and_the_end_is_unclean() {
    let passed = up_to("chat_stream_with_usage.sse", "Danube.");
    let completion = up_to("ollama_completions_stream_zero_usage.sse", " Danube");
    for then in [Then::Close, Then::Reset] {
        for (path, body, passed) in
            [("/v1/chat/completions", CHAT, &passed), ("/v1/completions", COMPLETION, &completion)]
        {
            // A reset may overtake bytes that were sent before: it waits until they were read.
            let read = Gate::new();
            let script = Script::stream_head().chunk(passed).wait(&read).then(then);
            let upstream = MockUpstream::playing(script).await;
            let gateway = TestGateway::over(&upstream);
            let mut client = crate::support::RawClient::connect(gateway.address()).await;
            client.write(&crate::support::client::post(path, &[], body.as_bytes())).await;
            let head = client.head().await;
            assert!(head.is_chunked() && head.status() == 200);
            let first = client.until(b"Danube").await;
            read.open();
            let rest = client.rest().await;
            let raw = [first, rest].concat();
            assert!(!raw.ends_with(b"0\r\n\r\n"), "the last chunk is missing on purpose: {}", shown(&raw));
            let body = crate::support::message::Chunks::parse(&raw);
            assert_eq!(body.end, None);
            let answer = Answer { head, body: body.data, ended: Ended::Cut };
            assert_chat_error(added_error(&answer, passed), "upstream_protocol");
            assert!(!shown(&answer.body).contains("[DONE]"));
            assert_broken(&books(gateway, 1).await, "upstream_truncated", 3..=3);
        }
    }
}

#[tokio::test]
async fn a_cut_between_events_is_told_in_the_dialect_of_responses() {
    let passed = up_to("responses_stream.sse", "\"delta\":\"Danube.\"");
    let script = Script::stream_head().chunk(&passed).then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/responses", RESPONSE).await;
    assert_eq!(answer.ended, Ended::Cut);
    let added = added_error(&answer, &passed);
    let data = added.strip_prefix("event: response.failed\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data: Value = serde_json::from_str(data.unwrap_or_else(|| panic!("{added:?}"))).unwrap();
    assert_eq!(data["type"], "response.failed");
    assert_eq!(data["sequence_number"], 6, "the next one");
    assert_eq!(data["response"]["id"], "resp_fx1");
    assert_eq!(data["response"]["status"], "failed");
    assert_eq!(data["response"]["error"]["code"], "upstream_protocol");
    assert_broken(&books, "upstream_truncated", 3..=3);
}

#[tokio::test]
async fn a_cut_over_http_2_resets_the_stream_and_not_the_connection() {
    let passed = up_to("chat_stream_with_usage.sse", "Danube.");
    let upstream = MockUpstream::start().await;
    upstream.push(Script::stream_head().chunk(&passed).then(Then::Close));
    upstream.push(Script::stream([fixture("chat_stream_with_usage.sse")]));
    let gateway = TestGateway::over(&upstream);
    let client = Http2Client::connect(gateway.address()).await;
    let response = client.call("/v1/chat/completions", CHAT.as_bytes()).await;
    assert_eq!(response.status(), 200);
    let (body, error) = http2::collect(response.into_body()).await;
    let error = error.expect("a cut answer must not end as a whole one");
    assert!(http2::is_reset(&error), "{error:?}");
    assert!(body.starts_with(&passed));
    assert_chat_error(std::str::from_utf8(&body[passed.len()..]).unwrap(), "upstream_protocol");

    let response = client.call("/v1/chat/completions", CHAT.as_bytes()).await;
    let (_, error) = http2::collect(response.into_body()).await;
    assert!(error.is_none(), "the connection goes on: {error:?}");
    drop(client);
    let records = gateway.shut_down().await;
    let outcomes: Vec<&str> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["upstream_truncated", "ok"]);
}

#[tokio::test]
async fn a_cut_inside_an_event_is_a_cut_without_a_word() {
    let mut passed = up_to("chat_stream_with_usage.sse", "\"The \"");
    // The choices are not empty, so none of this event need be held back.
    passed.extend_from_slice(br#"data: {"id":"chatcmpl-fx002","choices":[{"index":0,"delta":{"content":"Danu"#);
    let script = Script::stream_head().chunk(&passed).then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/chat/completions", CHAT).await;
    assert_eq!(answer.ended, Ended::Cut);
    assert_eq!(answer.body, passed, "not a byte is added: {}", shown(&answer.body));
    assert_eq!(books.record["outcome"], "upstream_truncated");
}

#[tokio::test]
async fn a_stream_that_ends_in_order_but_too_early_is_a_cut_one() {
    let passed = up_to("chat_stream_with_usage.sse", "\"finish_reason\":null");
    let stream = passed.clone();
    let (answer, books) = called(standard, Script::stream([&stream]), "/v1/chat/completions", CHAT).await;
    assert_eq!(answer.ended, Ended::Cut);
    assert_chat_error(added_error(&answer, &passed), "upstream_protocol");
    assert_eq!(books.record["outcome"], "upstream_truncated");

    let (answer, books) =
        called(standard, Script::stream([fixture("sse_edge_truncated.sse")]), "/v1/chat/completions", CHAT).await;
    assert_eq!(answer.ended, Ended::Cut);
    assert_eq!(books.record["outcome"], "upstream_truncated");
}

#[tokio::test]
async fn a_cut_json_answer_is_cut_without_a_word() {
    let body = fixture("chat_response.json");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let script = Script::new().send(head).send(&body[..300]).then(Then::Close);
    let plain = CHAT.replace("true", "false");
    let (answer, books) = called(standard, script, "/v1/chat/completions", &plain).await;
    assert_eq!((answer.ended, &*answer.body), (Ended::Cut, &body[..300]));
    assert_eq!(books.record["outcome"], "upstream_truncated");
    assert_eq!(books.record["usage_source"], "estimated");

    // Without length or chunks, only the JSON itself can tell.
    let unframed = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let script = Script::new().send(unframed).send(&body[..300]).then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/chat/completions", &plain).await;
    assert_eq!((answer.ended, &*answer.body), (Ended::Cut, &body[..300]));
    assert_eq!(books.record["outcome"], "upstream_truncated");

    let script = Script::new().send(unframed).send(&body).then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/chat/completions", &plain).await;
    assert_eq!((answer.ended, &answer.body), (Ended::Whole, &body));
    assert_eq!(books.record["outcome"], "ok");
}

#[tokio::test]
async fn usage_that_came_before_the_cut_is_charged() {
    let passed = up_to("vllm_stream_continuous_usage.sse", "Danube");
    let script = Script::stream_head().chunk(&passed).then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/chat/completions", CHAT).await;
    assert_eq!(answer.ended, Ended::Cut);
    assert_eq!(books.record["outcome"], "upstream_truncated");
    assert_eq!(books.record["usage_source"], "reported");
    assert_eq!((books.input, books.output), (19, 2));
}

fn impatient(upstream: &MockUpstream, key: &str) -> String {
    format!("{}[upstreams.mock.timeouts]\n{key} = \"150ms\"\n", standard(upstream))
}

#[tokio::test]
async fn an_upstream_that_falls_silent_in_a_stream_is_given_up_and_the_client_told() {
    let passed = up_to("chat_stream_with_usage.sse", "Danube.");
    let script = Script::stream_head().chunk(&passed).then(Then::Hang);
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::start(&impatient(&upstream, "idle"));
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!(answer.ended, Ended::Cut);
    assert_chat_error(added_error(&answer, &passed), "upstream_timeout");
    upstream.closed_during(0).await;
    assert_broken(&books(gateway, 1).await, "timeout", 3..=3);
}

#[tokio::test]
async fn an_upstream_that_says_nothing_at_all_is_a_504() {
    let upstream = MockUpstream::playing(Script::new().then(Then::Hang)).await;
    let gateway = TestGateway::start(&impatient(&upstream, "first_byte"));
    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.code(), "upstream_timeout");
    assert_eq!(answer.header("x-tollgate-error"), Some("upstream_first_byte_timeout"));
    assert_eq!(answer.header("x-should-retry"), Some("false"), "it may have been worked on");
    upstream.closed_during(0).await;
    assert_broken(&books(gateway, 1).await, "timeout", 7..=499);
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_a_502_and_the_call_may_have_cost() {
    for then in [Then::Close, Then::Reset] {
        let (answer, books) = called(standard, Script::new().then(then), "/v1/chat/completions", CHAT).await;
        assert_eq!(answer.status(), 502, "{then:?}");
        assert_eq!(answer.code(), "upstream_protocol");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_broken(&books, "upstream_error", 1..=499);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    let script = Script::new().send("SSH-2.0-OpenSSH_9.6\r\n\r\n").then(Then::Close);
    let (answer, books) = called(standard, script, "/v1/chat/completions", CHAT).await;
    assert_eq!((answer.status(), &*answer.code()), (502, "upstream_protocol"));
    assert_broken(&books, "upstream_error", 1..=499);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_a_503_and_costs_nothing() {
    let upstream = MockUpstream::start().await;
    // A port that was free a moment ago, and whose listener is gone.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let config = format!(
        "{}[upstreams.gone]\nprovider = \"compatible\"\nbase_url = \"http://{nobody}/v1\"\ncredential = \"none\"\n\
         [[routes]]\nmodels = [\"m\"]\nto = [\"gone\"]\n",
        standard(&upstream)
    );
    let gateway = TestGateway::start(&config);
    // What a bucket gives back is measured in whole calls, so one that is not brand new shows it to the call.
    upstream.push(Script::json(200, fixture("chat_response.json")));
    assert_eq!(gateway.post("/v1/chat/completions", CHAT.replace("\"m\"", "\"other\"")).await.status(), 200);
    gateway.records(1).await;
    let levels = || [Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind));
    assert_eq!(levels(), [1, 26]);

    let answer = gateway.post("/v1/chat/completions", CHAT).await;
    assert_eq!((answer.status(), &*answer.code()), (503, "upstream_unavailable"));
    assert_eq!(answer.header("x-should-retry"), None, "nothing was sent, so a client may try again");
    let record = gateway.records(2).await.remove(1);
    assert_eq!(record["outcome"], "upstream_error");
    assert_eq!(record["upstream"], "gone");
    for key in ["input_tokens", "output_tokens", "usage_source", "overhead_us"] {
        assert!(record[key].is_null(), "{key} of {record}");
    }
    assert_eq!(levels(), [1, 26], "the request is given back too");
    for gauge in ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"] {
        gateway.metric_becomes(gauge, &[], 0.0).await;
    }
    assert_eq!(gateway.shut_down().await.len(), 2);
}

#[tokio::test]
async fn an_error_whose_body_breaks_off_is_still_the_upstreams_error_and_costs_nothing() {
    let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\n";
    let script = Script::new().send(format!("{head}{{\"error\"")).then(Then::Close);
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::over(&upstream);
    let got = gateway.post("/v1/chat/completions", r#"{"model":"m","messages":[]}"#).await;
    assert_eq!((got.status(), got.header("retry-after")), (429, Some("7")));
    assert_eq!(got.header("x-tollgate-error"), None);
    let records = gateway.shut_down().await;
    assert_eq!(records[0]["outcome"], "upstream_error");
    assert!(records[0]["output_tokens"].is_null(), "{}", records[0]);
}
