//! What must hold of each way to say usage, to write a stream down and to fail.

use super::*;
use std::io::Read;

const BOTH: [&str; 2] = [CHAT, "completions"];

fn ask(words: &str, more: Value) -> Value {
    let mut body = chat(&format!("sim/{words}"), more);
    body["prompt"] = json!("What is a toll?");
    body
}

fn asking_usage(words: &str) -> Value {
    ask(words, json!({"stream": true, "stream_options": {"include_usage": true}}))
}

async fn streamed(path: &str, words: &str) -> Vec<Value> {
    events(&frames(path, ask(words, json!({"stream": true}))).await.0)
}

/// The raw bytes of an answer, and its head.
async fn raw(path: &str, body: Value) -> (http::response::Parts, Vec<u8>) {
    let (parts, body) = send(Method::POST, path, body).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes().to_vec())
}

/// Which events of a stream have figures in `usage`.
fn told(events: &[Value]) -> Vec<bool> {
    events.iter().map(|event| event["usage"].is_object()).collect()
}

/// What one choice of 20 tokens costs as output: by the whole answer, which the stream must agree with.
async fn whole_usage(path: &str, words: &str) -> Value {
    post(path, ask(words, json!({}))).await.2["usage"].clone()
}

#[tokio::test]
async fn every_way_to_tell_usage_tells_the_truth_last() {
    for path in BOTH {
        for (words, asked) in [
            ("usage-forced", false),
            ("usage-every-chunk", false),
            ("usage-every-chunk", true),
            ("usage-per-choice", false),
            ("usage-zero-until-end", true),
            ("usage-on-finish", false),
            ("plain", true),
            ("usage-bare", true),
            ("usage-top-reasoning+reasoning-9", true),
            ("reasoning-9+cached-4", true),
        ] {
            let words = format!("{words}+tokens-20+burst-6");
            let truth = whole_usage(path, &words).await;
            let body = if asked { asking_usage(&words) } else { ask(&words, json!({"stream": true})) };
            let events = events(&frames(path, body).await.0);
            let last = events.iter().rfind(|event| event["usage"].is_object()).expect(&words);
            assert_eq!(last["usage"], truth, "{path} {words}");
        }
    }
}

#[tokio::test]
async fn usage_stands_where_its_dialect_has_it() {
    let forced = streamed(CHAT, "usage-forced+tokens-2").await;
    assert_eq!(told(&forced), [false, false, false, false, true]);
    assert!(forced[0].get("usage").is_none());
    let finish = streamed(CHAT, "usage-on-finish+tokens-2").await;
    assert_eq!(told(&finish), [false, false, false, true, false]);
    assert_eq!((&finish[3]["choices"][0]["finish_reason"], &finish[4]["choices"]), (&json!("stop"), &json!([])));
    let null = events(&frames(CHAT, asking_usage("usage-null+tokens-2")).await.0);
    assert!(null.iter().all(|event| event.get("usage") == Some(&Value::Null)));
    assert_eq!(whole_usage(CHAT, "usage-null").await, Value::Null);
    let groq = streamed(CHAT, "usage-x-groq+tokens-2").await;
    assert!(groq.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(groq[3]["x_groq"]["usage"], whole_usage(CHAT, "tokens-2").await);
    assert!(groq[..3].iter().all(|event| event.get("x_groq").is_none()));
    let every = streamed(CHAT, "usage-every-chunk+tokens-2").await;
    assert_eq!(told(&every), [true; 4]);
}

#[tokio::test]
async fn with_several_choices_each_chunk_counts_its_own_and_the_end_counts_all() {
    let body = ask("usage-per-choice+tokens-6+burst-3+reasoning-5", json!({"stream": true, "n": 2}));
    let events = events(&frames(CHAT, body.clone()).await.0);
    let output: Vec<u64> = events.iter().map(|event| event["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(output, [5, 8, 11, 11, 5, 8, 11, 11, 22]);
    let mut whole = body;
    whole["stream"] = json!(false);
    assert_eq!(post(CHAT, whole).await.2["usage"]["completion_tokens"], 22);
}

#[tokio::test]
async fn figures_are_those_of_their_dialect() {
    let bare = whole_usage(CHAT, "usage-bare+tokens-5").await;
    assert_eq!(bare.as_object().unwrap().len(), 3);
    let top = whole_usage(CHAT, "usage-top-reasoning+reasoning-8+tokens-5").await;
    assert_eq!((&top["reasoning_tokens"], &top["completion_tokens"]), (&json!(8), &json!(13)));
    assert!(top.get("completion_tokens_details").is_none());
    let full = whole_usage(CHAT, "reasoning-8+cached-2+tokens-5").await;
    assert_eq!(full["completion_tokens_details"]["reasoning_tokens"], 8);
    assert_eq!(full["prompt_tokens_details"]["cached_tokens"], 2);
    let most = whole_usage(CHAT, "cached-1000000").await;
    assert_eq!(most["prompt_tokens_details"]["cached_tokens"], most["prompt_tokens"]);
    let responses = post("responses", json!({"model": "sim/reasoning-8+cached-2+tokens-5", "input": "hello"})).await.2;
    assert_eq!(responses["usage"]["output_tokens_details"]["reasoning_tokens"], 8);
    assert_eq!(
        (&responses["usage"]["output_tokens"], &responses["usage"]["input_tokens_details"]["cached_tokens"]),
        (&json!(13), &json!(2))
    );
}

#[tokio::test]
async fn emoji_are_cut_over_two_events_and_counted_as_what_they_are() {
    for (path, pointer) in [(CHAT, DELTA), ("completions", "/choices/0/text"), ("responses", "/delta")] {
        let body = |stream: bool| {
            let mut body = ask("emoji+tokens-80", json!({"stream": stream}));
            body["input"] = json!("x");
            body
        };
        let (frames, _) = frames(path, body(true)).await;
        let events = frames.iter().filter(|frame| frame.contains(r"\ud83d") || frame.contains(r"\ude80"));
        let lone = events.filter(|frame| frame.matches(r"\ud83d").count() != frame.matches(r"\ude80").count());
        assert!(lone.count() >= 4, "{path}");
        // Readers that look at UTF-16 see the whole text; serde does not take lone halves, so they are joined as text.
        let joined: String = frames
            .iter()
            .filter(|frame| !frame.contains("[DONE]") && !frame.contains(".done") && !frame.contains("completed"))
            .map(String::as_str)
            .collect();
        assert!(!joined.contains('\u{fdd0}') && !joined.contains('\u{fdd1}'));
        let (_, whole) = raw(path, body(false)).await;
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let text = [pointer.replace("delta", "message"), "/choices/0/text".into(), "/output/0/content/0/text".into()]
            .iter()
            .find_map(|pointer| Some(whole.pointer(pointer)?.as_str()?.to_owned()))
            .unwrap();
        assert!(text.contains("🚀🚀🚀🚀"));
        let output = whole["usage"]["completion_tokens"].as_u64().or(whole["usage"]["output_tokens"].as_u64());
        assert_eq!(output, Some(tokens::count(&text)), "{path}: {text}");
        assert_eq!(output, Some(80));
    }
}

#[tokio::test]
async fn text_that_looks_like_usage_is_text() {
    let (_, _, answer) = post(CHAT, ask("fake-usage", json!({}))).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains(r#"{"usage":{"prompt_tokens":99999"#));
    assert_eq!(answer["usage"]["completion_tokens"], tokens::count(text));
}

#[tokio::test]
async fn compressed_answers_are_the_same_answers() {
    for stream in [true, false] {
        let plain = raw(CHAT, ask("tokens-30", json!({"stream": stream}))).await.1;
        for (word, coding) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd")] {
            let (head, body) = raw(CHAT, ask(&format!("tokens-30+{word}"), json!({"stream": stream}))).await;
            assert_eq!(head.headers[CONTENT_ENCODING], coding);
            let mut text = Vec::new();
            match word {
                "gzip" => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap()),
                "br" => drop(brotli_decompressor::Decompressor::new(&body[..], 4096).read_to_end(&mut text).unwrap()),
                _ => text = zstd::stream::decode_all(&body[..]).unwrap(),
            }
            let (text, plain) = (String::from_utf8(text).unwrap(), String::from_utf8(plain.clone()).unwrap());
            assert_eq!(text.replace(&format!("+{word}"), "").len(), plain.len());
            assert_eq!(text.contains("[DONE]"), stream);
        }
    }
}

#[tokio::test]
async fn streams_are_written_as_asked() {
    let body = |words: &str| ask(&format!("tokens-4+{words}"), json!({"stream": true}));
    let text = async |words: &str| String::from_utf8(raw(CHAT, body(words)).await.1).unwrap();
    let same = |text: &str, words: &str| text.replace(&format!("+{words}"), "+plain");
    let plain = text("plain").await;
    assert_eq!(same(&text("crlf").await, "crlf").replace("\r\n", "\n"), plain);
    assert!(text("crlf").await.matches('\n').count() == text("crlf").await.matches("\r\n").count());
    assert_eq!(text("comments").await.matches(": the simulator").count(), 7);
    assert_eq!(format!("{}data: [DONE]\n\n", same(&text("no-done").await, "no-done")), plain);
    assert_eq!(format!("{}\n", same(&text("no-blank-line").await, "no-blank-line")), plain);
    assert_eq!(
        same(&text("two-lines").await, "two-lines").replace("data:{\ndata:", "data: {").replace("data:[", "data: ["),
        plain
    );
    assert!(text("pad-5000").await.lines().filter(|line| line.len() > 5000).count() == 6);
    let response = send(Method::POST, CHAT, body("pieces-7")).await.unwrap();
    let mut pieces = Vec::new();
    let mut body = response.into_body();
    while let Some(piece) = body.frame().await {
        pieces.push(piece.unwrap().into_data().unwrap());
    }
    assert!(pieces.split_last().unwrap().1.iter().all(|piece| piece.len() == 7));
    let joined = String::from_utf8(pieces.concat()).unwrap();
    assert_eq!(same(&joined, "pieces-7"), plain);
    let (_, answer) = raw(CHAT, ask("blank-lines", json!({}))).await;
    assert!(answer.starts_with(b"\n\n{") || answer.starts_with(b"\n\n\n{"));
    assert!(serde_json::from_slice::<Value>(&answer).is_ok());
}

#[tokio::test]
async fn a_filter_speaks_before_late_or_instead() {
    let prompt = streamed(CHAT, "azure-prompt-filter+tokens-2").await;
    assert_eq!((&prompt[0]["choices"], &prompt[0]["id"], &prompt[0]["created"]), (&json!([]), &json!(""), &json!(0)));
    assert!(prompt[0]["prompt_filter_results"].is_array());
    assert_eq!(prompt.len(), 5);
    let late = streamed(CHAT, "azure-async-filter+tokens-2").await;
    let choice = &late[late.len() - 2]["choices"][0];
    assert!(choice.get("delta").is_none() && choice["content_filter_offsets"]["end_offset"].as_u64() > Some(0));
    let (_, _, whole) = post(CHAT, ask("filtered-output+tokens-20", json!({}))).await;
    assert_eq!(
        (&whole["choices"][0]["finish_reason"], &whole["usage"]["completion_tokens"]),
        (&json!("content_filter"), &json!(10))
    );
    let (_, _, response) = post("responses", json!({"model": "sim/filtered-output", "input": "x"})).await;
    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("content_filter"))
    );
}

#[tokio::test]
async fn errors_in_the_middle_have_the_shape_of_their_dialect() {
    for path in BOTH {
        let vllm = frames(path, ask("error-event-vllm", json!({"stream": true}))).await.0;
        assert!(vllm.last().unwrap().contains("[DONE]"));
        assert_eq!(events(&vllm).last().unwrap()["error"]["code"], 500);
        let router = streamed(path, "error-event-openrouter").await;
        let last = router.last().unwrap();
        assert_eq!((&last["error"]["code"], &last["choices"][0]["finish_reason"]), (&json!(502), &json!("error")));
    }
    let responses = async |word: &str| {
        let body = json!({"model": format!("sim/{word}"), "input": "x", "stream": true});
        let (frames, _) = frames("responses", body).await;
        (frames.last().unwrap().contains("[DONE]"), events(&frames).last().unwrap().clone())
    };
    let (_, failed) = responses("error-event-failed").await;
    assert_eq!((&failed["type"], &failed["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(
        (&failed["response"]["error"]["code"], &failed["response"]["usage"]),
        (&json!("server_error"), &Value::Null)
    );
    assert_eq!(responses("error-event-vllm").await, (true, responses("error-event-vllm").await.1));
    for (path, body) in [
        ("audio/speech", json!({"input": "some words to say", "voice": "v", "stream_format": "sse"})),
        ("images/generations", json!({"prompt": "x", "stream": true, "partial_images": 2})),
    ] {
        let mut body = body;
        body["model"] = json!("sim/error-event");
        let all = events(&frames(path, body).await.0);
        assert_eq!(all.last().unwrap()["error"]["code"], "server_error", "{path}");
        assert!(all.len() > 1 && all.iter().all(|event| event.get("usage").is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_stall_and_break_inside_an_event() {
    let body = ask("stall-after-3", json!({"stream": true}));
    let mut stalled = send(Method::POST, CHAT, body).await.unwrap().into_body();
    for _ in 0..3 {
        assert!(stalled.frame().await.unwrap().is_ok());
    }
    assert!(tokio::time::timeout(Duration::from_secs(600), stalled.frame()).await.is_err());
    let (frames, cut) = frames(CHAT, ask("cut-inside-3", json!({"stream": true}))).await;
    assert_eq!((frames.len(), cut), (3, true));
    assert!(frames[2].starts_with("data: {") && !frames[2].contains('\n'));
}

#[tokio::test]
async fn failures_have_the_shape_and_the_wait_that_were_asked_for() {
    let fail = async |words: &str| {
        let (head, body) = raw(CHAT, ask(words, json!({}))).await;
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        (head, json, body)
    };
    let shapes = [
        ("errors-azure", json!({"code": "429"})),
        ("errors-vllm", json!({"code": 429, "type": "BadRequestError"})),
        ("errors-openrouter", json!({"code": 429, "metadata": {"provider_name": "simulator"}})),
    ];
    for (word, fields) in shapes {
        let (head, json, _) = fail(&format!("status-429+{word}")).await;
        assert_eq!(head.status, StatusCode::TOO_MANY_REQUESTS);
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&json["error"][name], value, "{word}");
        }
    }
    let (_, flat, _) = fail("status-429+errors-mistral").await;
    assert_eq!((&flat["object"], &flat["code"]), (&json!("error"), &json!("rate_limit_exceeded")));
    let (text, _, body) = fail("status-500+errors-text").await;
    assert!(text.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/plain") && body.starts_with(b"Simulated"));
    assert_eq!(fail("status-500+errors-html").await.0.headers[CONTENT_TYPE], "text/html");
    let (empty, _, body) = fail("status-500+errors-empty").await;
    assert!(body.is_empty() && !empty.headers.contains_key(CONTENT_TYPE));
    let (fine, json, _) = fail("error-in-200").await;
    assert_eq!((fine.status, &json["error"]["code"]), (StatusCode::OK, &json!(502)));

    for (word, status, code) in [
        ("quota", 429, "insufficient_quota"),
        ("too-long", 400, "context_length_exceeded"),
        ("content-filter", 400, "content_filter"),
    ] {
        let (head, json, _) = fail(word).await;
        assert_eq!((head.status.as_u16(), &json["error"]["code"]), (status, &json!(code)));
        assert!(!head.headers.contains_key(RETRY_AFTER));
    }
    assert_eq!(fail("content-filter").await.1["error"]["innererror"]["code"], "ResponsibleAIPolicyViolation");
    let mistral = fail("content-filter+errors-mistral").await.1;
    assert_eq!(mistral["code"], "content_filter");

    let header = async |words: &str, name: &str| {
        fail(words).await.0.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    for (words, name, value) in [
        ("status-429", "retry-after", Some("1")),
        ("status-429+retry-after-30", "retry-after", Some("30")),
        ("status-400+retry-after-0", "retry-after", Some("0")),
        ("status-429+retry-after-ms-250", "retry-after-ms", Some("250")),
        ("status-429+retry-after-ms-250", "retry-after", None),
        ("status-429+retry-after-none", "retry-after", None),
        ("status-429+retry-after-junk", "retry-after", Some("in a while")),
        ("status-429+should-retry-false", "x-should-retry", Some("false")),
        ("status-429", "x-should-retry", None),
    ] {
        assert_eq!(header(words, name).await.as_deref(), value, "{words} {name}");
    }
    let date = header("status-503+retry-after-date-2s", "retry-after").await.unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
}

#[tokio::test]
async fn kept_state_is_answered_as_an_id_that_nobody_knows() {
    for (field, value, status, code) in [
        ("previous_response_id", json!("resp_1"), StatusCode::BAD_REQUEST, json!("previous_response_not_found")),
        ("conversation", json!({"id": "conv_1"}), StatusCode::NOT_FOUND, Value::Null),
        ("background", json!(true), StatusCode::BAD_REQUEST, json!("unsupported_parameter")),
        ("input", json!([{"type": "item_reference", "id": "msg_1"}]), StatusCode::NOT_FOUND, Value::Null),
    ] {
        for path in ["responses", "responses/input_tokens", "responses/compact"] {
            let mut body = json!({"model": "m", "input": "x"});
            body[field] = value.clone();
            let (found, _, answer) = post(path, body).await;
            assert_eq!(
                (found, &answer["error"]["code"], &answer["error"]["param"]),
                (status, &code, &json!(field)),
                "{path}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_of_several_goes_wrong_and_the_others_do_not() {
    let simulator = Simulator::new();
    let call = async |model: &str| {
        let body = Bytes::from(chat(model, json!({"stream": true})).to_string());
        simulator.answer(&Method::POST, CHAT, body).await.map(|response| response.status().as_u16())
    };
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(call("sim/status-503+one-in-3").await.unwrap());
    }
    assert_eq!(seen, [200, 200, 503, 200, 200, 503]);
    assert!(call("sim/reset+one-in-2").await.is_ok());
    assert_eq!(call("sim/reset+one-in-2").await, Err(SimFault::Reset));
}
