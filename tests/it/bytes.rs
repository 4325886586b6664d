//! Holds the gateway to "bytes pass untouched": what one side sent is what the other side got, but for the named spans.
//!
//! Must not look at usage, records or limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Ended, MockUpstream, RawClient, Received, Script, TestGateway, fixture, shown, standard};

const CHAT: &str = "/v1/chat/completions";
const ASKED_FOR: &str = r#""stream_options":{"include_usage":true},"#;

/// Bodies that a gateway which parses and writes again would change.
fn awkward_bodies() -> Vec<(&'static str, String)> {
    let message = r#"[{"role":"user","content":"Name a river."}]"#;
    let nested = format!("{}1{}", "[".repeat(63), "]".repeat(63));
    let image = format!("data:image/png;base64,{}", "iVBORw0KGgo+".repeat(20 * 1024 * 1024 / 12));
    vec![
        ("order of keys", format!(r#"{{"zeta":1,"messages":{message},"alpha":2,"model":"gpt-x","beta":3}}"#)),
        ("numbers beyond a double", format!(r#"{{"model":"gpt-x","messages":{message},"x":1e400,"y":-1E-400,"z":0.10}}"#)),
        ("twenty digits", format!(r#"{{"model":"gpt-x","messages":{message},"seed":12345678901234567890,"n":1}}"#)),
        (
            "escapes",
            r#"{"model":"gpt-x","messages":[{"role":"user","content":"\u00e4\/\b\f\t\"\\ \ud83d\ude80 \ud83d alone \ude80"}]}"#
                .to_owned(),
        ),
        ("an escaped model", format!(r#"{{"model":"\u0067pt\u002dx","messages":{message}}}"#)),
        ("an escaped key", format!(r#"{{"\u006dodel":"gpt-x","messages":{message}}}"#)),
        ("raw text beyond ASCII", r#"{"model":"gpt-x","messages":[{"role":"user","content":"Дунай 多瑙河 🚀 \u0000"}]}"#.to_owned()),
        (
            "unknown fields",
            format!(r#"{{"model":"gpt-x","messages":{message},"x_new":{{"deep":[null,true,{{}}],"":0}},"usage":{{"prompt_tokens":1}}}}"#),
        ),
        ("white space", format!("\r\n\t {{ \"model\" :\n\t\"gpt-x\" ,\r\n\"messages\" : {message}\t}} \n\n")),
        ("nesting of 64", format!(r#"{{"model":"gpt-x","messages":{message},"x":{nested}}}"#)),
        (
            "an image of 20 MiB",
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{image}"}}}}]}}],"model":"gpt-x"}}"#
            ),
        ),
    ]
}

async fn answering_upstream() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

fn assert_same(what: &str, got: &[u8], wanted: &[u8]) {
    let differs = got.iter().zip(wanted).position(|(a, b)| a != b).unwrap_or(got.len().min(wanted.len()));
    let near = |bytes: &[u8]| shown(&bytes[differs.saturating_sub(40)..bytes.len().min(differs + 80)]);
    assert!(got == wanted, "{what}: differs at byte {differs}\n got {}\nwant {}", near(got), near(wanted));
}

#[tokio::test]
async fn a_body_reaches_the_upstream_as_it_was_sent() {
    let upstream = answering_upstream().await;
    let gateway = TestGateway::over(&upstream);
    let mut client = RawClient::connect(gateway.address()).await;
    for (number, (what, body)) in awkward_bodies().into_iter().enumerate() {
        let answer = client.call(CHAT, &[], body.as_bytes()).await;
        assert_eq!(answer.status(), 200, "{what}: {}", shown(&answer.body));
        let received = upstream.request(number).await;
        assert_same(what, &received.body, body.as_bytes());
        assert_eq!(received.head.content_length(), Some(body.len()), "{what}");
    }
}

#[tokio::test]
async fn a_body_in_chunks_reaches_the_upstream_whole_and_with_its_length() {
    let upstream = answering_upstream().await;
    let gateway = TestGateway::over(&upstream);
    let (_, body) = awkward_bodies().swap_remove(3);
    let mut request =
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n".to_vec();
    request.extend_from_slice(format!("x-api-key: {}\r\n", crate::support::KEY).as_bytes());
    request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(7) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&request).await;
    assert_eq!(client.answer().await.status(), 200);
    let received = upstream.request(0).await;
    assert_same("a chunked body", &received.body, body.as_bytes());
    assert_eq!(received.head.content_length(), Some(body.len()));
    assert_eq!(received.head.get("transfer-encoding"), None);
}

#[tokio::test]
async fn with_an_alias_only_the_models_name_differs() {
    let upstream = answering_upstream().await;
    let aliased = r#"to = [{ upstream = "mock", model = "prod-{model}" }]"#;
    let gateway = TestGateway::start(&standard(&upstream).replace(r#"to = ["mock"]"#, aliased));
    let mut client = RawClient::connect(gateway.address()).await;
    for (number, (what, body)) in awkward_bodies().into_iter().enumerate() {
        assert_eq!(client.call(CHAT, &[], body.as_bytes()).await.status(), 200, "{what}");
        let written = if what == "an escaped model" { r#""\u0067pt\u002dx""# } else { r#""gpt-x""# };
        let expected = body.replacen(written, r#""prod-gpt-x""#, 1);
        assert_ne!(expected, body, "{what}");
        assert_same(what, &upstream.request(number).await.body, expected.as_bytes());
    }
}

#[tokio::test]
async fn usage_is_asked_for_in_a_stream_by_that_span_alone() {
    let upstream = MockUpstream::playing(Script::stream([fixture("chat_stream_with_usage.sse")])).await;
    let gateway = TestGateway::over(&upstream);
    let rest = r#""messages":[{"role":"user","content":"Name a river."}],"x":1e400"#;
    let put_in = |options: &str| format!(r#"{{"stream":true,"model":"gpt-x",{options}{rest}}}"#);
    let without = put_in("");
    let cases = [
        ("absent", without.clone(), without.replacen('{', &format!("{{{ASKED_FOR}"), 1)),
        ("null", put_in(r#""stream_options": null ,"#), put_in(r#""stream_options": {"include_usage":true} ,"#)),
        ("empty", put_in(r#""stream_options":{ },"#), put_in(r#""stream_options":{"include_usage":true },"#)),
        (
            "false",
            put_in(r#""stream_options":{"include_usage": false,"z":0},"#),
            put_in(r#""stream_options":{"include_usage": true,"z":0},"#),
        ),
        (
            "other options",
            put_in(r#""stream_options":{"include_obfuscation":false},"#),
            put_in(r#""stream_options":{"include_usage":true,"include_obfuscation":false},"#),
        ),
        (
            "asked for by the client",
            put_in(r#""stream_options":{"include_usage": true},"#),
            put_in(r#""stream_options":{"include_usage": true},"#),
        ),
        (
            "no stream",
            format!(r#"{{"model":"gpt-x","stream":false,{rest}}}"#),
            format!(r#"{{"model":"gpt-x","stream":false,{rest}}}"#),
        ),
    ];
    for (number, (what, body, expected)) in cases.into_iter().enumerate() {
        assert_eq!(gateway.post(CHAT, &body).await.status(), 200, "{what}");
        let got = upstream.request(number).await.body;
        // White space in an empty object may stand before or after what is put in.
        let expected = if what == "empty" && got != expected.as_bytes() {
            put_in(r#""stream_options":{ "include_usage":true},"#)
        } else {
            expected
        };
        assert_same(what, &got, expected.as_bytes());
    }
}

#[tokio::test]
async fn usage_is_not_asked_for_where_the_upstream_does_not_understand_it() {
    let upstream = MockUpstream::playing(Script::stream([fixture("chat_stream_with_usage.sse")])).await;
    let config =
        standard(&upstream).replace("provider = \"compatible\"", "provider = \"compatible\"\nusage_in_stream = false");
    let gateway = TestGateway::start(&config);
    let body = r#"{"model":"gpt-x","stream":true,"messages":[{"role":"user","content":"Name a river."}]}"#;
    let answer = gateway.post(CHAT, body).await;
    assert_same("the request", &upstream.request(0).await.body, body.as_bytes());
    assert_same("the answer", &answer.body, &fixture("chat_stream_with_usage.sse"));
}

/// The streams that end well, by the endpoint that speaks so.
const STREAMS: &[(&str, &str)] = &[
    ("chat/completions", "azure_stream_async_filter.sse"),
    ("chat/completions", "azure_stream_prompt_filter.sse"),
    ("chat/completions", "chat_stream_no_usage.sse"),
    ("chat/completions", "chat_stream_tool_calls.sse"),
    ("chat/completions", "chat_stream_with_usage.sse"),
    ("chat/completions", "gemini_stream_usage_every_chunk.sse"),
    ("chat/completions", "openrouter_stream_comments_and_error.sse"),
    ("chat/completions", "sse_crlf.sse"),
    ("chat/completions", "sse_edge_multiline_nospace.sse"),
    ("chat/completions", "usage_on_finish_chunk.sse"),
    ("chat/completions", "vllm_stream_continuous_usage.sse"),
    ("chat/completions", "vllm_stream_midstream_error.sse"),
    ("completions", "ollama_completions_stream_zero_usage.sse"),
    ("responses", "responses_stream.sse"),
    ("responses", "responses_stream_error_event.sse"),
    ("responses", "responses_stream_failed.sse"),
];

/// The one event that carries usage and no choices, taken out by the plainest means there are.
fn without_usage_chunk(stream: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(stream).unwrap();
    let is_usage_chunk = |event: &&str| {
        let data: serde_json::Value = match event.trim_start_matches("data: ").trim_end().parse() {
            Ok(data) => data,
            Err(_) => return false,
        };
        data["choices"].as_array().is_some_and(Vec::is_empty) && data["usage"].is_object()
    };
    text.split_inclusive("\n\n").filter(|event| !is_usage_chunk(event)).collect::<String>().into_bytes()
}

fn request_for(endpoint: &str, asked: bool) -> String {
    let options = if asked && endpoint != "responses" { ASKED_FOR } else { "" };
    match endpoint {
        "chat/completions" => {
            format!(
                r#"{{"model":"m",{options}"stream":true,"messages":[{{"role":"user","content":"Name a river."}}]}}"#
            )
        }
        "completions" => format!(r#"{{"model":"m",{options}"stream":true,"prompt":"Name a river."}}"#),
        _ => format!(r#"{{"model":"m",{options}"stream":true,"input":"Name a river.","store":false}}"#),
    }
}

/// Plays the fixture that the request names, in pieces: cut at `x-cut`, or each byte apart.
fn cut_stream(received: &Received) -> Script {
    let stream = fixture(received.head.get("x-fixture").unwrap());
    match received.head.get("x-cut").unwrap() {
        "everywhere" => Script::stream(stream.chunks(1)),
        at => {
            let (before, after) = stream.split_at(at.parse().unwrap());
            Script::stream([before, after])
        }
    }
}

#[tokio::test]
async fn the_removed_chunk_is_the_only_one_and_only_where_it_was_not_asked_for() {
    let removed = ["azure_stream_prompt_filter", "chat_stream_with_usage", "vllm_stream_continuous_usage"];
    let removed = [&removed[..], &["ollama_completions_stream_zero_usage"]].concat();
    let upstream = MockUpstream::choosing(cut_stream).await;
    let gateway = TestGateway::over(&upstream);
    for (endpoint, name) in STREAMS {
        let stream = fixture(name);
        let expected = without_usage_chunk(&stream);
        assert_eq!(expected.len() < stream.len(), removed.contains(&name.trim_end_matches(".sse")), "{name}");
        let path = format!("/v1/{endpoint}");
        for (asked, expected) in [(false, &expected), (true, &stream)] {
            for cut in ["0", "everywhere"] {
                let headers = [("x-fixture", *name), ("x-cut", cut)];
                let answer = gateway.post_with(&path, &headers, request_for(endpoint, asked)).await;
                assert_eq!(answer.status(), 200, "{name}");
                assert_eq!(answer.ended, Ended::Whole, "{name}, cut {cut}");
                assert_same(name, &answer.body, expected);
            }
        }
    }
}

/// Between any two bytes where a chunk is taken out; elsewhere around each line's end, and at every second byte.
fn cuts(stream: &[u8]) -> Vec<usize> {
    let takes_out = without_usage_chunk(stream).len() < stream.len();
    let at_line_end = |at: usize| stream[at - 1] == b'\n' || stream[at] == b'\n';
    (1..stream.len()).filter(|&at| takes_out || at % 2 == 0 || at_line_end(at)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_passes_the_same_wherever_the_upstream_cuts_it() {
    let upstream = MockUpstream::choosing(cut_stream).await;
    let gateway = TestGateway::over(&upstream);
    let mut work = Vec::new();
    for (endpoint, name) in STREAMS {
        let stream = fixture(name);
        let expected: Arc<[u8]> = without_usage_chunk(&stream).into();
        work.extend(cuts(&stream).into_iter().map(|at| (*endpoint, *name, at, Arc::clone(&expected))));
    }
    let (work, next, began) = (Arc::new(work), Arc::new(AtomicUsize::new(0)), Instant::now());
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (work, next, address) = (Arc::clone(&work), Arc::clone(&next), gateway.address());
            tokio::spawn(async move {
                let mut client = RawClient::connect(address).await;
                while let Some((endpoint, name, at, expected)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let headers = [("x-fixture", *name), ("x-cut", &*at.to_string())];
                    let body = request_for(endpoint, false);
                    let answer = client.call(&format!("/v1/{endpoint}"), &headers, body.as_bytes()).await;
                    assert_eq!(answer.ended, Ended::Whole, "{name}, cut at {at}");
                    assert_same(&format!("{name}, cut at {at}"), &answer.body, expected);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    println!("{} cuts in {:?}", work.len(), began.elapsed());
    assert!(work.len() > 10_000, "{}", work.len());
}

#[tokio::test]
async fn the_end_of_a_stream_without_framing_is_its_own_last_event() {
    let stream = fixture("chat_stream_with_usage.sse");
    let unframed = Script::new().send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n");
    let upstream = MockUpstream::playing(unframed.send(&stream).then(crate::support::Then::Close)).await;
    let gateway = TestGateway::over(&upstream);
    let answer = gateway.post(CHAT, request_for("chat/completions", false)).await;
    assert_eq!(answer.ended, Ended::Whole);
    assert!(answer.head.is_chunked(), "the client must be able to tell a whole answer from a cut one");
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_same("an unframed stream", &answer.body, &without_usage_chunk(&stream));
}

#[tokio::test]
async fn an_answer_in_one_piece_passes_with_its_bytes_and_its_length() {
    let cases = [
        ("chat/completions", "chat_response.json"),
        ("responses", "responses_response.json"),
        ("embeddings", "embeddings_response_float.json"),
        ("embeddings", "embeddings_response_base64.json"),
    ];
    for (endpoint, name) in cases {
        let answer = fixture(name);
        let upstream = MockUpstream::start().await;
        upstream.push(Script::json(200, &answer));
        upstream.push(Script::answer(200, "application/json; charset=utf-8", [b"\r\n\n ", &*answer, b"\n"].concat()));
        let gateway = TestGateway::over(&upstream);
        let body = r#"{"model":"m","input":"Name a river.","messages":[],"store":false}"#;
        let path = format!("/v1/{endpoint}");
        let got = gateway.post(&path, body).await;
        assert_same(name, &got.body, &answer);
        assert_eq!(got.head.content_length(), Some(answer.len()), "{name}");
        assert_eq!(got.header("content-type"), Some("application/json"));
        let got = gateway.post(&path, body).await;
        assert_same(name, &got.body, &[b"\r\n\n ", &*answer, b"\n"].concat());
        assert_eq!(got.header("content-type"), Some("application/json; charset=utf-8"));
    }
}
