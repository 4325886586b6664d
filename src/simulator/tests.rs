//! What must hold of `simulator`.

use super::*;
use http::header::RETRY_AFTER;
use http_body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

mod dialects;
mod endpoints;

const CHAT: &str = "/v1/chat/completions";

async fn send(method: Method, path: &str, body: impl ToString) -> Result<Response<SimBody>, SimFault> {
    Simulator::new().answer(&method, path, Bytes::from(body.to_string())).await
}

async fn post(path: &str, body: Value) -> (StatusCode, HeaderMap, Value) {
    let (parts, body) = send(Method::POST, path, body).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers[SIMULATED], "1");
    assert!(parts.headers.contains_key("x-request-id"));
    assert_eq!(parts.headers[CONTENT_TYPE], "application/json");
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
}

/// The frames of a stream, and whether it was cut.
async fn frames(path: &str, body: Value) -> (Vec<String>, bool) {
    let response = send(Method::POST, path, body).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream; charset=utf-8");
    let mut body = response.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()),
            Err(SimCut) => return (frames, true),
        }
    }
    (frames, false)
}

/// The JSON of each event but `[DONE]`.
fn events(frames: &[String]) -> Vec<Value> {
    let data = |frame: &String| {
        let lines = frame.strip_suffix("\n\n").expect("an event ends with a blank line");
        let data = lines.lines().find_map(|line| line.strip_prefix("data: ")).expect("every event has data");
        (data != "[DONE]").then(|| serde_json::from_str(data).unwrap())
    };
    frames.iter().filter_map(data).collect()
}

fn chat(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "What is a toll?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn said(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

const DELTA: &str = "/choices/0/delta/content";
const ARGUMENTS: &str = "/choices/0/delta/tool_calls/0/function/arguments";

fn weather(choice: Value) -> Value {
    json!({"tool_choice": choice, "tools": [{"type": "function", "function": {"name": "get_weather", "parameters":
        {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}}]})
}

#[tokio::test]
async fn a_chat_answer_has_openais_shape_and_true_usage() {
    let (status, _, answer) = post(CHAT, chat("any/model", json!({"unknown": {"a": []}, "n": 2}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "any/model");
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<&str> = choices.iter().map(|c| c["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 2);
    assert_ne!(texts[0], texts[1]);
    assert!(texts[0].contains("simulated") && choices[0]["finish_reason"] == "stop");
    let output: u64 = texts.iter().map(|text| tokens::count(text)).sum();
    let input = tokens::count("What is a toll?") + 3;
    assert_eq!(answer["usage"]["completion_tokens"], output);
    assert_eq!(answer["usage"]["prompt_tokens"], input);
    assert_eq!(answer["usage"]["total_tokens"], input + output);
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says_one_token_an_event() {
    let (_, _, whole) = post(CHAT, chat("m", json!({}))).await;
    let asked = chat("m", json!({"stream": true, "stream_options": {"include_usage": true}}));
    let (frames, cut) = frames(CHAT, asked).await;
    assert!(!cut && frames.last().unwrap() == "data: [DONE]\n\n");
    let events = events(&frames);
    assert_eq!(said(&events, DELTA), whole["choices"][0]["message"]["content"].as_str().unwrap());
    let (usage, others) = events.split_last().unwrap();
    assert_eq!(usage["usage"], whole["usage"]);
    assert_eq!(usage["choices"], json!([]));
    assert!(others.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    // The role, the tokens, the finish.
    assert_eq!(others.len() as u64, whole["usage"]["completion_tokens"].as_u64().unwrap() + 2);
    assert_eq!(others.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert_eq!(others[0]["choices"][0]["delta"]["role"], "assistant");
}

#[tokio::test]
async fn a_stream_without_include_usage_has_no_usage_key() {
    let (frames, _) = frames("chat/completions", chat("m", json!({"stream": true}))).await;
    assert!(events(&frames).iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn caps_end_answers_early_with_the_right_reason() {
    for cap in ["max_tokens", "max_completion_tokens"] {
        let (_, _, answer) = post(CHAT, chat("sim/tokens-500", json!({cap: 7}))).await;
        assert_eq!(answer["usage"]["completion_tokens"], 7);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let (_, _, answer) = post("completions", json!({"model": "m", "prompt": "hi", "max_tokens": 2})).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let body = json!({"model": "m", "input": "hi", "max_output_tokens": 3});
    let (_, _, answer) = post("responses", body).await;
    assert_eq!(answer["status"], "incomplete");
    assert_eq!(answer["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(answer["usage"]["output_tokens"], 3);
}

#[tokio::test]
async fn a_tool_call_streams_the_arguments_that_the_whole_answer_has() {
    let (_, _, whole) = post(CHAT, chat("m", weather(json!("required")))).await;
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "get_weather");
    let arguments = call["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"city": "simulated city"}));

    let mut asked = chat("m", weather(json!({"type": "function", "function": {"name": "get_weather"}})));
    asked["stream"] = json!(true);
    let (frames, _) = frames(CHAT, asked).await;
    let events = events(&frames);
    assert_eq!(said(&events, ARGUMENTS), arguments);
    assert_eq!(events[0].pointer("/choices/0/delta/tool_calls/0/function/name"), Some(&json!("get_weather")));
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(events.len() as u64, tokens::count(arguments) + 2);
}

#[tokio::test]
async fn after_a_tools_result_comes_the_text() {
    let mut asked = chat("m", weather(json!("required")));
    asked["messages"] = json!([{"role": "user", "content": "call get_weather"},
        {"role": "assistant", "content": null, "tool_calls": []}, {"role": "tool", "tool_call_id": "x", "content": "rain"}]);
    let (_, _, answer) = post(CHAT, asked).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn structured_answers_are_json_of_the_schema() {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let (_, _, answer) = post(CHAT, chat("m", json!({"response_format": format}))).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!({"name": "simulated name"}));
    let body = json!({"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "schema": schema}}});
    let (_, _, answer) = post("responses", body).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], text);
    let (_, _, answer) = post(CHAT, chat("m", json!({"response_format": {"type": "json_object"}}))).await;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap().is_object());
}

#[tokio::test]
async fn completions_answer_every_prompt_and_stream_the_same() {
    let prompts = json!({"model": "m", "prompt": ["one", "two"], "n": 2});
    let (_, _, answer) = post("/v1/completions/", prompts).await;
    let texts: Vec<&str> = answer["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 4);
    assert_eq!(answer["usage"]["completion_tokens"], texts.iter().map(|text| tokens::count(text)).sum::<u64>());
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    let (frames, _) = frames("completions", json!({"model": "m", "prompt": "one", "stream": true})).await;
    let events = events(&frames);
    assert_eq!(said(&events, "/choices/0/text"), texts[0]);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let (_, _, numbers) = post("completions", json!({"model": "m", "prompt": [1, 2, 3]})).await;
    assert_eq!(numbers["usage"]["prompt_tokens"], 3);
}

#[tokio::test]
async fn a_streamed_response_has_its_events_in_order_and_its_usage_at_the_end() {
    let (frames, _) = frames("/v1/responses", json!({"model": "m", "input": "hi", "stream": true})).await;
    let events = events(&frames);
    for (number, (frame, event)) in frames.iter().zip(&events).enumerate() {
        assert_eq!(event["sequence_number"], number);
        assert!(frame.starts_with(&format!("event: {}\n", event["type"].as_str().unwrap())));
    }
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    let names = ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"];
    let rest = ["output_text.done", "content_part.done", "output_item.done", "completed"];
    assert_eq!(kinds, names.iter().chain(&rest).map(|name| format!("response.{name}")).collect::<Vec<_>>());
    let response = &events.last().unwrap()["response"];
    let text = said(&events, "/delta");
    assert_eq!(response["output"][0]["content"][0]["text"], text);
    assert_eq!(response["usage"]["output_tokens"], tokens::count(&text));
    assert_eq!(events[0]["response"]["usage"], Value::Null);
    let fixture: Value = serde_json::from_str(include_str!("tests/response_completed.json")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(response), keys(&fixture), "the keys of OpenAI's object");
}

#[tokio::test]
async fn a_responses_call_of_a_function_streams_its_arguments() {
    let tool = json!({"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}});
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "use get_time"}]}]);
    let body = json!({"model": "m", "input": input, "tools": [tool], "stream": true});
    let (frames, _) = frames("responses", body.clone()).await;
    let events = events(&frames);
    let item = &events.last().unwrap()["response"]["output"][0];
    assert_eq!((&item["type"], &item["name"]), (&json!("function_call"), &json!("get_time")));
    assert_eq!(said(&events, "/delta"), item["arguments"].as_str().unwrap());
    let mut body = body;
    let result = json!({"type": "function_call_output", "call_id": item["call_id"], "output": "noon"});
    body["input"] = json!([{"role": "user", "content": "use get_time"}, item, result]);
    body["stream"] = json!(false);
    let (_, _, answer) = post("responses", body).await;
    assert_eq!(answer["output"][0]["type"], "message");
}

#[tokio::test]
async fn embeddings_come_as_floats_or_base64_of_the_same_numbers() {
    let ask = |format: &str| json!({"model": "m", "input": ["a", "b"], "dimensions": 2, "encoding_format": format});
    let (_, _, floats) = post("embeddings", ask("float")).await;
    let (_, _, encoded) = post("embeddings", ask("base64")).await;
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 2);
    assert_eq!(encoded["data"][1]["embedding"].as_str().unwrap().len(), 12);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let (_, _, default) = post("embeddings", json!({"model": "m", "input": "a"})).await;
    assert_eq!(default["data"][0]["embedding"].as_array().unwrap().len(), 1536);
}

#[tokio::test]
async fn models_are_listed_and_any_name_can_be_looked_up() {
    let get = async |path| {
        let response = send(Method::GET, path, "").await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (_, list) = get("/v1/models").await;
    assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "sim/status-429"));
    assert_eq!(get("/models/meta%2Fllama").await.1["id"], "meta/llama");
    assert_eq!(get("/models/sim%2Fnonsense").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get("/v1/nowhere").await.1["error"]["code"], "unknown_url");
    for kept in ["/v1/files", "/v1/responses/resp_1", "/v1/chat/completions"] {
        let (status, answer) = get(kept).await;
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::NOT_FOUND, &Value::Null), "{kept}");
    }
    let response = send(Method::PUT, CHAT, "").await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("POST"))
    );
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let texts = [
        (CHAT, "{", "invalid_json", Value::Null),
        (CHAT, "{}", "missing_required_parameter", json!("model")),
        (CHAT, r#"{"model":"m"}"#, "missing_required_parameter", json!("messages")),
        (CHAT, r#"{"model":"m","messages":[]}"#, "invalid_value", json!("messages")),
        (CHAT, r#"{"model":"m","messages":7}"#, "invalid_value", Value::Null),
        (CHAT, r#"{"model":"m","messages":[{"role":"user"}],"n":0}"#, "invalid_value", json!("n")),
        (CHAT, r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":0}"#, "invalid_value", json!("max_tokens")),
        (
            CHAT,
            r#"{"model":"m","messages":[{"role":"user"}],"stream_options":{}}"#,
            "invalid_value",
            json!("stream_options"),
        ),
        (CHAT, r#"{"model":"sim/tokens-200000","messages":[{"role":"user"}],"n":2}"#, "invalid_value", json!("n")),
        (CHAT, r#"{"model":"sim/x","messages":[{"role":"user"}]}"#, "model_not_found", json!("model")),
        (
            "responses",
            r#"{"model":"m","input":"x","previous_response_id":"r"}"#,
            "previous_response_not_found",
            json!("previous_response_id"),
        ),
        ("responses", r#"{"model":"m","input":[]}"#, "invalid_value", json!("input")),
        ("embeddings", r#"{"model":"m","input":""}"#, "invalid_value", json!("input")),
        ("embeddings", r#"{"model":"m","input":["a",1]}"#, "invalid_value", Value::Null),
        ("embeddings", r#"{"model":"m","input":"a","dimensions":0}"#, "invalid_value", json!("dimensions")),
        ("completions", r#"{"model":"m"}"#, "missing_required_parameter", json!("prompt")),
    ];
    for (path, text, code, param) in texts {
        let response = send(Method::POST, path, text).await.unwrap();
        let status = if code == "model_not_found" { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        assert_eq!(response.status(), status, "{text}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let error = &serde_json::from_slice::<Value>(&body).unwrap()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &param), "{text}");
        assert!(error["message"].as_str().unwrap().len() > 10 && error["type"] == "invalid_request_error", "{text}");
    }
}

#[tokio::test]
async fn awkward_but_valid_bodies_are_accepted() {
    for text in [
        r#"{"x":1e400,"y":123456789012345678901234567890,"model":"m","messages":[{"role":"user","content":null,"z":{"a":1e999}}]}"#,
        r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:"}},{"type":"text","text":"é"}],"role":"user"}],"model":"m"}"#,
    ] {
        assert_eq!(send(Method::POST, CHAT, text).await.unwrap().status(), StatusCode::OK, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_come_before_the_head_and_pauses_between_events() {
    let start = Instant::now();
    let response = send(Method::POST, CHAT, chat("sim/delay-2s", json!({}))).await.unwrap();
    assert_eq!((start.elapsed(), response.status()), (Duration::from_secs(2), StatusCode::OK));
    let start = Instant::now();
    let (frames, _) = frames(CHAT, chat("sim/slow-20ms+tokens-9", json!({"stream": true}))).await;
    // Role, nine tokens, finish, [DONE]: eleven pauses between twelve events, and none before the end.
    assert_eq!(frames.len(), 12);
    assert_eq!(start.elapsed(), Duration::from_millis(20 * 11));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_head_and_nothing_more() {
    for stream in [true, false] {
        let response = send(Method::POST, CHAT, chat("sim/silent", json!({"stream": stream}))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        assert!(tokio::time::timeout(Duration::from_secs(3600), body.frame()).await.is_err());
    }
}

#[tokio::test]
async fn a_status_that_was_asked_for_comes_with_a_fitting_error() {
    let (status, headers, answer) = post(CHAT, chat("sim/status-429", json!({"stream": true}))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[RETRY_AFTER], "1");
    assert_eq!(answer["error"]["code"], "rate_limit_exceeded");
    for (path, body) in [
        ("embeddings", json!({"model": "sim/status-500", "input": "x"})),
        ("responses", json!({"model": "sim/status-500", "input": "x"})),
    ] {
        let (status, headers, answer) = post(path, body).await;
        assert_eq!((status, headers.get(RETRY_AFTER)), (StatusCode::INTERNAL_SERVER_ERROR, None));
        assert_eq!(answer["error"]["type"], "server_error");
    }
}

#[tokio::test(start_paused = true)]
async fn cut_streams_and_bodies_break_off_where_they_should() {
    for (path, ask) in [
        (CHAT, chat("sim/cut-after-5", json!({"stream": true}))),
        ("responses", json!({"model": "sim/cut-after-5", "input": "x", "stream": true})),
    ] {
        let (frames, cut) = frames(path, ask).await;
        assert_eq!((frames.len(), cut), (5, true));
    }
    let (frames, cut) = frames(CHAT, chat("sim/cut-after-0", json!({"stream": true}))).await;
    assert_eq!((frames.len(), cut), (0, true));
    let response = send(Method::POST, CHAT, chat("sim/cut-after-5", json!({}))).await.unwrap();
    let mut body = response.into_body();
    let promised = body.size_hint().exact().unwrap();
    let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half.len() as u64, promised / 2);
    assert_eq!(body.frame().await.unwrap().unwrap_err(), SimCut);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_reset_has_no_answer_at_all() {
    let reset = send(Method::POST, CHAT, chat("sim/reset", json!({}))).await;
    assert_eq!(reset.err(), Some(SimFault::Reset));
}

#[tokio::test]
async fn an_error_event_ends_a_stream_in_the_middle() {
    let (frames_, cut) = frames(CHAT, chat("sim/error-event", json!({"stream": true}))).await;
    let all = events(&frames_);
    assert!(!cut && !frames_.last().unwrap().contains("[DONE]"));
    assert_eq!(all.last().unwrap()["error"]["type"], "server_error");
    assert!(!said(&all, DELTA).is_empty());
    let (frames_, _) = frames("responses", json!({"model": "sim/error-event", "input": "x", "stream": true})).await;
    let all = events(&frames_);
    assert_eq!(all.last().unwrap()["type"], "error");
    assert_eq!(all.last().unwrap()["sequence_number"], all.len() - 1);
    let (status, _, _) = post(CHAT, chat("sim/error-event", json!({}))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn usage_is_told_as_the_models_name_says() {
    let ask = |words: &str, asked: bool| {
        let more = if asked {
            json!({"stream": true, "stream_options": {"include_usage": true}})
        } else {
            json!({"stream": true})
        };
        frames(CHAT, chat(&format!("sim/tokens-20+burst-8+{words}"), more))
    };
    let never = events(&ask("no-usage", true).await.0);
    assert!(never.iter().all(|event| event.get("usage").is_none()));
    let every = events(&ask("usage-every-chunk", false).await.0);
    let output: Vec<u64> = every.iter().map(|event| event["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(output, [0, 8, 16, 20, 20], "role, three bursts, finish");
    let zero = events(&ask("usage-zero-until-end", true).await.0);
    let output: Vec<u64> = zero.iter().map(|event| event["usage"]["total_tokens"].as_u64().unwrap()).collect();
    assert!(output.split_last().is_some_and(|(last, before)| *last > 20 && before.iter().all(|n| *n == 0)));
    let (_, _, whole) = post(CHAT, chat("sim/no-usage", json!({}))).await;
    assert!(whole.get("usage").is_none());
}

/// The values that a parameter may be sent with, fitting or not.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "sim/(tokens|burst|cut-after)-[0-9]{1,4}|user|tool|required|base64|function|.{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let keys =
            "type|role|content|text|function|name|parameters|schema|json_schema|properties|items|format|\\$ref|[a-z]";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(keys, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_request_is_answered_with_anything_but_an_answer_or_a_reason(
        path in prop::sample::select(Endpoint::ALL.map(Endpoint::path).to_vec()),
        fields in prop::collection::hash_map(
            prop::sample::select(vec![
                "n", "max_tokens", "max_output_tokens", "stream", "stream_options", "stop", "tools", "tool_choice",
                "response_format", "text", "messages", "input", "prompt", "dimensions", "instructions", "metadata",
                "questions", "query", "documents", "top_n", "size", "quality", "partial_images", "images", "voice", "speed",
                "stream_format", "previous_response_id", "conversation", "background",
            ]),
            any_value(),
            0..6,
        ),
    ) {
        let mut body = json!({"model": "sim/plain", "messages": [{"role": "user", "content": "x"}], "input": "x", "prompt": "x",
            "questions": [{"type": "predicate"}], "query": "x", "documents": ["x"], "voice": "v"});
        body.as_object_mut().unwrap().extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let stamp = Stamp { number: 1, created: 0 };
        match plan(&Method::POST, path, Asked::Json(body.to_string().as_bytes()), stamp) {
            Ok(Plan { reply: Reply::Json(json), .. }) => {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok_and(|answer| answer.is_object()));
            }
            Ok(Plan { reply: Reply::Text(_, text), .. }) => prop_assert!(!text.is_empty()),
            Ok(Plan { reply: Reply::Sound(_, mut pieces), .. }) => prop_assert!(pieces.next().is_some()),
            Ok(Plan { reply: Reply::Events(events), .. }) => {
                prop_assert!(events.take(100_000).all(|event| event.ends_with(b"\n\n")));
            }
            Err(refusal) => prop_assert!(refusal.status.is_client_error() && refusal.error.message.len() > 10),
        }
    }

    #[test]
    fn bytes_that_are_no_request_are_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
        for path in Endpoint::ALL.into_iter().filter(|it| it.takes() != Takes::Nothing).map(Endpoint::path) {
            let stamp = Stamp { number: 1, created: 0 };
            prop_assert!(plan(&Method::POST, path, Asked::Json(&body), stamp).is_err());
        }
    }
}
