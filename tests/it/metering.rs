//! Holds the gateway to its metering: record, counters and level say what the upstream said, or an estimate that is marked.
//!
//! Each case has a gateway of its own, so that exactly one record and nothing else may stand at its end.

use serde_json::Value;
use tollgate::limits::Kind;

use crate::support::gateway::sum;
use crate::support::{Answer, MockUpstream, Script, TestGateway, fixture, shown};

/// Usage as it is settled: input, its cached part, output, its reasoning part.
type Usage = (u64, u64, u64, u64);

/// What stands in the books after one call.
pub(crate) struct Books {
    pub(crate) record: Value,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// The path and a call of an endpoint.
fn call_of(endpoint: &str, stream: bool) -> (String, String) {
    let body = match endpoint {
        "chat/completions" => {
            format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"Name a river."}}]}}"#)
        }
        "completions" => format!(r#"{{"model":"m","stream":{stream},"prompt":"Name a river."}}"#),
        "images/generations" => r#"{"model":"m","prompt":"Name a river.","n":2}"#.to_owned(),
        "audio/speech" => r#"{"model":"m","input":"Name a river.","voice":"alloy"}"#.to_owned(),
        "responses" => format!(r#"{{"model":"m","stream":{stream},"input":"Name a river.","store":false}}"#),
        _ => r#"{"model":"m","input":"Name a river."}"#.to_owned(),
    };
    (format!("/v1/{endpoint}"), body)
}

/// Waits for the one record, and checks that record, counters, gauges and levels agree about it.
pub(crate) async fn books(gateway: TestGateway, requests: u64) -> Books {
    let record = gateway.records(1).await.remove(0);
    let number = |key: &str| record[key].as_u64().unwrap_or(0);
    let (input, output) = (number("input_tokens"), number("output_tokens"));
    for gauge in ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"] {
        gateway.metric_becomes(gauge, &[], 0.0).await;
    }
    let metrics = gateway.metrics().await;
    let outcome = record["outcome"].as_str().unwrap();
    let ended = sum(&metrics, "tollgate_requests_total", &[("tenant", "acme"), ("outcome", outcome)]);
    assert_eq!(ended, 1.0, "{record}");
    assert_eq!(sum(&metrics, "tollgate_requests_total", &[]), 1.0, "{record}");
    for (kind, key) in [
        ("input", "input_tokens"),
        ("cached_input", "cached_tokens"),
        ("output", "output_tokens"),
        ("reasoning", "reasoning_tokens"),
    ] {
        let counted = sum(&metrics, "tollgate_tokens_total", &[("tenant", "acme"), ("kind", kind)]);
        assert_eq!(counted, number(key) as f64, "{kind} of {record}");
    }
    let estimated = sum(&metrics, "tollgate_usage_estimated_total", &[]);
    assert_eq!(estimated, f64::from(record["usage_source"] == "estimated"), "{record}");
    // Limits give back whole tokens: of a bucket that was full before, time has already returned a part of one.
    let (level, charged) = (gateway.level("acme", Kind::Tokens), input + output);
    assert!(level == charged || (charged == 0 && level == 1), "{level} of {record}");
    assert_eq!(gateway.level("acme", Kind::Requests), requests, "{record}");
    assert_eq!(gateway.shut_down().await, std::slice::from_ref(&record), "exactly one record");
    Books { record, input, output }
}

/// One call, answered by a script, and the books after it.
async fn metered(endpoint: &str, stream: bool, script: Script) -> (Answer, Books) {
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::over(&upstream);
    let (path, body) = call_of(endpoint, stream);
    let answer = gateway.post(&path, &body).await;
    let books = books(gateway, 1).await;
    assert_eq!(books.record["endpoint"], endpoint);
    assert_eq!(books.record["stream"], stream);
    assert_eq!(books.record["status"], answer.status());
    assert_eq!(books.record["attempts"], 1);
    assert_eq!(books.record["key"], "ci");
    assert_eq!(books.record["bytes_in"], body.len());
    assert_eq!(books.record["bytes_out"], answer.body.len(), "{}", shown(&answer.body));
    (answer, books)
}

fn assert_reported(what: &str, books: &Books, (input, cached, output, reasoning): Usage) {
    let record = &books.record;
    assert_eq!(record["outcome"], "ok", "{what}");
    assert_eq!(record["usage_source"], "reported", "{what}");
    let found = ["input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"].map(|key| record[key].as_u64());
    assert_eq!(found, [input, cached, output, reasoning].map(Some), "{what}: {record}");
}

fn assert_estimated(what: &str, books: &Books, outcome: &str) {
    assert_eq!(books.record["outcome"], outcome, "{what}");
    assert_eq!(books.record["usage_source"], "estimated", "{what}");
    // 13 bytes of text, at four bytes a token, and the role.
    assert!((3..=5).contains(&books.input), "{what}: {}", books.record);
}

#[tokio::test]
async fn usage_that_a_stream_states_is_what_is_charged() {
    let cases: &[(&str, &str, Usage)] = &[
        ("chat/completions", "chat_stream_with_usage.sse", (19, 0, 7, 0)),
        ("chat/completions", "azure_stream_prompt_filter.sse", (19, 0, 5, 0)),
        ("chat/completions", "gemini_stream_usage_every_chunk.sse", (8, 0, 4, 0)),
        ("chat/completions", "usage_on_finish_chunk.sse", (8, 0, 3, 0)),
        ("completions", "ollama_completions_stream_zero_usage.sse", (9, 0, 2, 0)),
        ("responses", "responses_stream.sse", (19, 0, 6, 0)),
    ];
    for (endpoint, name, usage) in cases {
        let stream = fixture(name);
        for pieces in [vec![&*stream], stream.chunks(11).collect()] {
            let (answer, books) = metered(endpoint, true, Script::stream(pieces)).await;
            assert_eq!(answer.status(), 200);
            assert_reported(name, &books, *usage);
        }
    }
}

#[tokio::test]
async fn usage_that_grows_on_each_chunk_is_kept_and_never_added_up() {
    let stream = fixture("vllm_stream_continuous_usage.sse");
    let (_, books) = metered("chat/completions", true, Script::stream([&stream])).await;
    assert_reported("vllm", &books, (19, 16, 3, 0));
    assert_eq!(books.record["served_model"], "my/llama");
}

#[tokio::test]
async fn usage_that_an_answer_in_one_piece_states_is_what_is_charged() {
    let cases: &[(&str, &str, Usage)] = &[
        ("chat/completions", "chat_response.json", (19, 0, 7, 0)),
        ("responses", "responses_response.json", (19, 0, 70, 64)),
        ("embeddings", "embeddings_response_float.json", (5, 0, 0, 0)),
        ("embeddings", "embeddings_response_base64.json", (5, 0, 0, 0)),
        ("decisions", "decisions_response.json", (41, 0, 1, 0)),
        ("images/generations", "images_response.json", (26, 0, 4160, 0)),
    ];
    for (endpoint, name, usage) in cases {
        let (answer, books) = metered(endpoint, false, Script::json(200, fixture(name))).await;
        assert_eq!(answer.status(), 200);
        assert_reported(name, &books, *usage);
    }
}

#[tokio::test]
async fn usage_that_stays_zero_is_no_usage() {
    let text = String::from_utf8(fixture("ollama_completions_stream_zero_usage.sse")).unwrap();
    let zeros = text.replace(
        r#""usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#,
        r#""usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
    );
    assert_ne!(text, zeros);
    let (_, books) = metered("completions", true, Script::stream([zeros])).await;
    assert_estimated("zeros", &books, "ok");
    assert_eq!(books.output, 3, "\"The Danube\", ten bytes");
}

#[tokio::test]
async fn usage_that_a_model_only_talks_about_is_text() {
    let talk = r#"{\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":2000,\"total_tokens\":3000}}"#;
    let chunk = |data: &str| format!("data: {data}\n\n");
    let say = chunk(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{talk}"}}}}]}}"#));
    // A tool's arguments and an unknown field may hold an object of that name, at a place that is not usage's.
    let nested = chunk(
        r#"{"choices":[{"index":0,"delta":{"usage":{"prompt_tokens":4000}},"x":{"usage":{"prompt_tokens":1}}}]}"#,
    );
    let done = chunk("[DONE]");

    let (_, books) = metered("chat/completions", true, Script::stream([&*say, &nested, &done])).await;
    assert_estimated("talk alone", &books, "ok");
    assert!((10..100).contains(&books.output), "the talk itself is text: {}", books.record);

    let real = chunk(r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":30,"total_tokens":38}}"#);
    let (_, books) = metered("chat/completions", true, Script::stream([&*real, &say, &nested, &done])).await;
    assert_reported("talk after usage", &books, (8, 0, 30, 0));

    let answer = format!(
        r#"{{"choices":[{{"message":{{"content":"{talk}"}}}}],"x":{{"usage":{{"prompt_tokens":7000}}}},"usage":{{"prompt_tokens":8,"completion_tokens":30}}}}"#
    );
    let (_, books) = metered("chat/completions", false, Script::json(200, answer)).await;
    assert_reported("talk in one piece", &books, (8, 0, 30, 0));
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated_and_marked() {
    for (name, output) in [
        ("chat_stream_no_usage.sse", 3..=3),
        ("azure_stream_async_filter.sse", 3..=3),
        ("chat_stream_tool_calls.sse", 3..=8),
    ] {
        let (_, books) = metered("chat/completions", true, Script::stream([fixture(name)])).await;
        assert_estimated(name, &books, "ok");
        assert!(output.contains(&books.output), "{name}: {}", books.record);
    }
    let answer = r#"{"choices":[{"message":{"content":"The Danube."}}],"usage":null}"#;
    let (_, books) = metered("chat/completions", false, Script::json(200, answer)).await;
    assert_estimated("one piece", &books, "ok");
    assert_eq!(books.output, 3);
    let (_, books) = metered("embeddings", false, Script::json(200, r#"{"data":[]}"#)).await;
    assert_estimated("embeddings", &books, "ok");
    assert_eq!(books.output, 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_estimated_and_counted_as_unmetered() {
    let script = Script::answer_with(200, "application/json", &[("content-encoding", "gzip")], [0x1f, 0x8b, 8, 0, 1]);
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::over(&upstream);
    let (path, body) = call_of("chat/completions", false);
    let answer = gateway.post(&path, body).await;
    assert_eq!(answer.body, [0x1f, 0x8b, 8, 0, 1]);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    gateway.metric_becomes("tollgate_unmetered_responses_total", &[("reason", "compressed")], 1.0).await;
    let books = books(gateway, 1).await;
    assert_estimated("compressed", &books, "ok");
    assert!(books.output > 0, "{}", books.record);
}

#[tokio::test]
async fn answers_that_have_no_tokens_are_charged_by_their_kind() {
    let sound = Script::answer_with(200, "audio/mpeg", &[], [0xff, 0xf3, 0, 1, 2, 3]);
    let (answer, books) = metered("audio/speech", false, sound).await;
    assert_eq!(answer.body, [0xff, 0xf3, 0, 1, 2, 3]);
    assert_estimated("speech", &books, "ok");
    assert_eq!(books.output, books.input, "as many as the text that is spoken");

    // Half a second of plain samples.
    let (_, books) = metered("audio/speech", false, Script::answer_with(200, "audio/pcm", &[], [0; 24_000])).await;
    assert_estimated("samples", &books, "ok");
    assert_eq!(books.output, 10);

    let images = r#"{"created":1,"data":[{"url":"https://a"},{"url":"https://b"}]}"#;
    let (_, books) = metered("images/generations", false, Script::json(200, images)).await;
    assert_estimated("images", &books, "ok");
    assert_eq!(books.output, 2_400);

    let (_, books) = metered("moderations", false, Script::json(200, r#"{"id":"m","results":[]}"#)).await;
    assert_estimated("moderations", &books, "ok");
    assert_eq!(books.output, 0);
}

#[tokio::test]
async fn counting_tokens_is_charged_as_a_request_alone() {
    let script = Script::json(200, fixture("responses_input_tokens_response.json"));
    let (_, books) = metered("responses/input_tokens", false, script).await;
    assert_eq!((&books.record["outcome"], books.input), (&"ok".into(), 0));
    assert!(books.record["usage_source"].is_null() && books.record["input_tokens"].is_null(), "{}", books.record);
}

#[tokio::test]
async fn usage_in_a_compressed_stream_is_read_and_the_stream_passes_as_it_came() {
    let bytes = fixture("compressed/chat_stream_with_usage.sse.br");
    let script = Script::answer_with(200, "text/event-stream", &[("content-encoding", "br")], &bytes);
    let (answer, books) = metered("chat/completions", true, script).await;
    assert_eq!((&answer.body, answer.header("content-encoding")), (&bytes, Some("br")));
    assert_reported("brotli", &books, (19, 0, 7, 0));
}

#[tokio::test]
async fn numbers_that_cannot_be_true_are_mended_and_counted() {
    let answer = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":-3,"prompt_tokens_details":{"cached_tokens":9}}}"#;
    let upstream = MockUpstream::playing(Script::json(200, answer)).await;
    let gateway = TestGateway::over(&upstream);
    let (path, body) = call_of("chat/completions", false);
    assert_eq!(gateway.post(&path, body).await.status(), 200);
    gateway.records(1).await;
    assert!(gateway.metric("tollgate_usage_anomalies_total", &[]).await >= 1.0);
    assert_reported("anomalies", &books(gateway, 1).await, (5, 5, 0, 0));
}

#[tokio::test]
async fn an_error_of_the_upstream_passes_and_costs_a_request_and_no_tokens() {
    let cases = [
        (400, "error_400_context_length.json"),
        (400, "error_400_state_unsupported.json"),
        (400, "error_vllm_numeric_code.json"),
        (403, "error_404_model_not_found.json"),
        (404, "error_404_model_not_found.json"),
        (429, "error_429_insufficient_quota.json"),
        (429, "error_429_requests.json"),
        (429, "error_429_tokens.json"),
        (429, "error_azure_apim_429.json"),
        (500, "error_503_overloaded.json"),
        (503, "error_503_overloaded.json"),
    ];
    for (status, name) in cases {
        let body = fixture(name);
        let (answer, books) = metered("chat/completions", true, Script::json(status, &body)).await;
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.body, body, "{name}");
        assert_eq!(answer.header("x-tollgate-error"), None, "{name}");
        assert_eq!(books.record["outcome"], "upstream_error", "{name}");
        for key in ["input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "usage_source"] {
            assert!(books.record[key].is_null(), "nothing was charged, {name}: {}", books.record);
        }
    }
}

#[tokio::test]
async fn a_prompt_that_was_read_and_then_refused_costs_its_input() {
    let body = fixture("error_azure_content_filter_400.json");
    let (answer, books) = metered("chat/completions", false, Script::json(400, &body)).await;
    assert_eq!((answer.status(), &answer.body), (400, &body));
    assert_estimated("content filter", &books, "upstream_error");
    assert_eq!(books.output, 0);

    let reported = r#"{"error":{"message":"no","code":"other"},"usage":{"prompt_tokens":9,"completion_tokens":0}}"#;
    let (_, books) = metered("chat/completions", false, Script::json(400, reported)).await;
    assert_eq!((books.input, books.output), (9, 0), "{}", books.record);
    assert_eq!(books.record["usage_source"], "reported");
}

#[tokio::test]
async fn a_refusal_of_our_credential_is_ours_to_tell() {
    let refusals = [
        (401, "error_401_invalid_api_key.json"),
        (401, "error_503_overloaded.json"),
        (403, "error_401_invalid_api_key.json"),
    ];
    for (status, name) in refusals {
        let (answer, books) = metered("chat/completions", false, Script::json(status, fixture(name))).await;
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.code(), "upstream_credential_refused");
        assert_eq!(answer.header("x-tollgate-error"), Some("upstream_credential_refused"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(!shown(&answer.body).contains("sk-"), "{}", shown(&answer.body));
        assert_eq!(books.record["outcome"], "upstream_error");
        assert_eq!((books.input, books.output), (0, 0));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_nor_passed_on() {
    for status in [301, 302, 307, 308] {
        let headers = [("location", "http://169.254.169.254/latest/")];
        let (answer, books) =
            metered("chat/completions", false, Script::answer_with(status, "text/html", &headers, "moved")).await;
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.code(), "upstream_protocol");
        assert_eq!(answer.header("location"), None);
        assert_eq!(books.record["outcome"], "upstream_error");
        assert_eq!((books.input, books.output), (0, 0));
    }
}

#[tokio::test]
async fn ids_of_the_operators_account_are_masked_in_errors() {
    let body = r#"{"error":{"message":"Rate limit for gpt-x in organization org-AbC123dEf456 (proj_Zz9Zz9Zz9) with sk-proj-abcDEF123456","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let (answer, _) = metered("chat/completions", false, Script::json(429, body)).await;
    let text = shown(&answer.body);
    for id in ["AbC123dEf456", "Zz9Zz9Zz9", "abcDEF123456"] {
        assert!(!text.contains(id), "{text}");
    }
    assert_eq!(answer.head.content_length(), Some(body.len()));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    assert!(text.contains("Rate limit for gpt-x in organization"), "{text}");
}

#[tokio::test]
async fn a_failure_that_a_stream_tells_of_is_the_upstreams() {
    for (endpoint, name) in [
        ("chat/completions", "vllm_stream_midstream_error.sse"),
        ("chat/completions", "openrouter_stream_comments_and_error.sse"),
        ("responses", "responses_stream_failed.sse"),
        ("responses", "responses_stream_error_event.sse"),
    ] {
        let stream = fixture(name);
        let (answer, books) = metered(endpoint, true, Script::stream([&stream])).await;
        assert_eq!(answer.body, stream, "{name}: nothing is added to what it told itself");
        assert_estimated(name, &books, "upstream_error");
    }
}
