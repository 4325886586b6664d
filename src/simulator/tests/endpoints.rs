//! What must hold of each endpoint: its shape, its usage, and that the same question has the same answer.

use super::*;
use http_body_util::Full;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

const BOUNDARY: &str = "multipart/form-data; boundary=b";

fn form(fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, text) in fields {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(head.as_bytes());
    }
    for (name, file) in files {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

async fn upload(path: &str, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> (StatusCode, String, Bytes) {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(BOUNDARY))]);
    assert!(is_form(&headers));
    let body = Full::new(Bytes::from(form(fields, files)));
    let upload = read_form(&headers, body).await.unwrap();
    let response = Simulator::new().answer_form(&Method::POST, path, upload).await.unwrap();
    let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    (response.status(), kind, response.into_body().collect().await.unwrap().to_bytes())
}

/// The same, with JSON as its answer.
async fn uploaded(path: &str, fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> Value {
    let (status, _, body) = upload(path, fields, files).await;
    let answer = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The events of a body.
fn events_of(body: &Bytes) -> Vec<Value> {
    let frames: Vec<String> = std::str::from_utf8(body).unwrap().split_inclusive("\n\n").map(str::to_owned).collect();
    events(&frames)
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
    match name.strip_suffix(".sse") {
        Some(_) => events_of(&text.into()).into(),
        None => serde_json::from_str(&text).unwrap(),
    }
}

/// The keys of an object, and of the objects in it.
fn keys(value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else { return Vec::new() };
    let below = |(name, value): (&String, &Value)| {
        let inner = keys(value).into_iter().map(|key| format!("{name}.{key}")).collect::<Vec<_>>();
        [vec![name.clone()], inner].concat()
    };
    let mut all: Vec<String> = fields.iter().flat_map(below).collect();
    all.sort();
    all
}

/// A second of silence with a head that says so: 8 000 samples of 8 bits.
fn second() -> Vec<u8> {
    let mut wav =
        b"RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x40\x1f\0\0".to_vec();
    wav.resize(44 + 8000, 128);
    wav
}

#[tokio::test]
async fn every_endpoint_of_the_table_answers_what_it_takes_and_tells_what_else_it_takes() {
    let (file, question) = (second(), json!([{"type": "predicate", "instructions": "x"}]));
    for endpoint in Endpoint::ALL {
        let path = endpoint.path().replace("{id}", "m");
        let body = json!({"model": "m", "messages": [{"role": "user"}], "prompt": "x", "input": "x", "query": "x",
            "documents": ["x"], "questions": question, "voice": "alloy", "images": [{"image_url": "data:"}]});
        match endpoint.takes() {
            Takes::Nothing => {
                assert_eq!(send(Method::GET, &path, "").await.unwrap().status(), StatusCode::OK, "{path}");
                continue;
            }
            Takes::Json | Takes::JsonOrForm => {
                assert_eq!(send(Method::POST, &path, body).await.unwrap().status(), StatusCode::OK, "{path}");
            }
            Takes::Form => {
                let refused = send(Method::POST, &path, body).await.unwrap();
                assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
            }
        }
        let files = [("file", &file[..]), ("image", &file[..])];
        let (status, _, _) = upload(&path, &[("model", "m"), ("prompt", "x")], &files).await;
        let expected =
            if endpoint.takes() == Takes::Json { StatusCode::UNSUPPORTED_MEDIA_TYPE } else { StatusCode::OK };
        assert_eq!(status, expected, "{path}");
    }
}

#[tokio::test]
async fn counting_an_input_gives_what_answering_it_costs() {
    let body = json!({"model": "sim/plain", "input": [{"role": "user", "content": "What is a toll?"}],
        "instructions": "Be brief.", "tools": weather(json!("auto"))["tools"]});
    let (_, _, count) = post("responses/input_tokens", body.clone()).await;
    let (_, _, answer) = post("responses", body).await;
    assert_eq!(keys(&count), keys(&fixture("responses_input_tokens_response.json")));
    assert_eq!(count["input_tokens"], answer["usage"]["input_tokens"]);
}

#[tokio::test]
async fn a_compaction_keeps_the_users_words_and_adds_one_item() {
    let input = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]);
    let (_, _, answer) = post("responses/compact", json!({"model": "sim/tokens-30+reasoning-5", "input": input})).await;
    let kinds: Vec<&str> =
        answer["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        (answer["object"].as_str(), &kinds[..]),
        (Some("response.compaction"), &["message", "message", "compaction"][..])
    );
    assert_eq!(answer["output"][1]["content"][0]["text"], "three");
    let usage = &answer["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(1 + 1 + 2 + 9), &json!(35)));
    assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 5);
}

#[tokio::test]
async fn decisions_answer_each_question_with_shares_of_one_whole() {
    let questions = json!([
        {"type": "predicate", "name": "is_spam", "instructions": "Is it spam?"},
        {"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}, {"value": true}, {"value": "c"}]},
        {"type": "score", "name": "s", "instructions": "How good?", "levels": [{"label": "bad"}, {"label": "good"}]},
    ]);
    let (_, _, answer) = post("decisions", json!({"model": "m", "input": "Buy now", "questions": questions})).await;
    let shape = fixture("decisions_response.json");
    assert_eq!(keys(&answer), keys(&shape));
    assert_eq!(keys(&answer["answers"][0]), keys(&shape["answers"][0]));
    assert_eq!((&answer["usage"]["output_tokens"], &answer["answers"][1]["name"]), (&json!(3), &Value::Null));
    for at in [1, 2] {
        let shares = answer["answers"][at]["probabilities"].as_array().unwrap();
        let whole: f64 = shares.iter().map(|share| share["probability"].as_f64().unwrap()).sum();
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
    }
    let again = post("decisions", json!({"model": "m", "input": "Buy now", "questions": questions})).await.2;
    assert_eq!(again, answer);
    let (status, _, _) = post("decisions", json!({"model": "m", "input": "x", "questions": []})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn moderations_flag_what_names_a_category_and_have_no_usage() {
    let (_, _, answer) = post("moderations", json!({"input": ["a nice day", "graphic violence"]})).await;
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["flagged"], &results[1]["flagged"]), (&json!(false), &json!(true)));
    assert_eq!(results[1]["categories"]["violence"], true);
    assert_eq!(keys(&results[0]["categories"]).len(), 13);
    assert!(answer.get("usage").is_none());
    let parts = json!([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]);
    let (_, _, mixed) = post("moderations", json!({"model": "m", "input": parts})).await;
    assert_eq!(mixed["results"].as_array().unwrap().len(), 1);
    assert_eq!(mixed["results"][0]["category_applied_input_types"]["violence"], json!(["text", "image"]));
}

#[tokio::test]
async fn reranking_puts_the_document_with_the_querys_words_first() {
    let documents = json!(["a heron", {"text": "the toll of the bridge"}, "the river"]);
    let body = json!({"model": "m", "query": "bridge toll", "documents": documents, "top_n": 2});
    let (_, _, answer) = post("rerank", body).await;
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["index"]), (2, &json!(1)));
    assert_eq!(results[0]["document"]["text"], "the toll of the bridge");
    let tokens: u64 =
        ["bridge toll", "a heron", "the toll of the bridge", "the river"].iter().map(|t| tokens::count(t)).sum();
    assert_eq!(answer["usage"], json!({"prompt_tokens": tokens, "total_tokens": tokens}));
}

#[tokio::test]
async fn pictures_are_pngs_that_cost_by_size_quality_and_number() {
    let ask = |more: Value| {
        let mut body = json!({"model": "gpt-image-1", "prompt": "a stone bridge"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post("images/generations", body)
    };
    let (_, _, answer) = ask(json!({"n": 2, "quality": "high"})).await;
    assert_eq!(keys(&answer), keys(&fixture("images_response.json")));
    let pictures = answer["data"].as_array().unwrap();
    assert!(pictures[0]["b64_json"].as_str().unwrap().starts_with("iVBORw0KGgo") && pictures[0] != pictures[1]);
    let prompt = tokens::count("a stone bridge");
    assert_eq!(
        (&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]),
        (&json!(prompt), &json!(2 * 256 * 16))
    );
    let (_, _, small) = ask(json!({"size": "512x100", "quality": "low"})).await;
    assert_eq!(small["usage"]["output_tokens"], 8 * 2);
    let (_, _, told) = ask(json!({"model": "sim/tokens-7", "n": 3})).await;
    assert_eq!(told["usage"]["output_tokens"], 21);
    let (_, _, old) = ask(json!({"model": "dall-e-3"})).await;
    assert!(
        old["data"][0]["url"].as_str().unwrap().starts_with("data:image/png;base64,") && old.get("usage").is_none()
    );
    for (wrong, param) in
        [(json!({"n": 11}), "n"), (json!({"size": "0x1"}), "size"), (json!({"n": 2, "stream": true}), "n")]
    {
        assert_eq!(ask(wrong).await.2["error"]["param"], param);
    }
}

#[tokio::test]
async fn a_streamed_picture_has_its_drafts_and_its_usage_at_the_end() {
    let body = json!({"model": "m", "prompt": "x", "stream": true, "partial_images": 2});
    let (frames, _) = frames("images/generations", body.clone()).await;
    assert!(frames[0].starts_with("event: image_generation.partial_image\n"));
    let events = events(&frames);
    let (draft, done) = (&fixture("images_stream.sse")[0], &fixture("images_stream.sse")[1]);
    assert_eq!(keys(&events[1]), keys(draft));
    assert!(keys(done).iter().all(|key| keys(&events[2]).contains(key)));
    let mut whole = body;
    whole["stream"] = json!(false);
    let (_, _, whole) = post("images/generations", whole).await;
    assert_eq!((&events[2]["b64_json"], &events[2]["usage"]), (&whole["data"][0]["b64_json"], &whole["usage"]));
}

#[tokio::test]
async fn edits_come_as_forms_or_json_and_count_their_pictures() {
    let fields = [("model", "gpt-image-1"), ("prompt", "a bridge"), ("n", "2")];
    let answer = uploaded("images/edits", &fields, &[("image[]", b"one"), ("image[]", b"two"), ("mask", b"m")]).await;
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(answer["usage"]["input_tokens_details"], json!({"text_tokens": 3, "image_tokens": 3 * 85}));
    let streamed = [("model", "m"), ("prompt", "x"), ("stream", "true"), ("partial_images", "1")];
    let (_, kind, body) = upload("images/edits", &streamed, &[("image", b"one")]).await;
    let kinds: Vec<Value> = events_of(&body).into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        (kinds, &kind[..17]),
        (vec![json!("image_edit.partial_image"), json!("image_edit.completed")], "text/event-stream")
    );
    let images = json!([{"image_url": "data:x"}]);
    let (_, _, json) = post("images/edits", json!({"model": "m", "prompt": "a bridge", "images": images})).await;
    assert_eq!(json["usage"]["input_tokens_details"]["image_tokens"], 85);
    let varied = uploaded("images/variations", &[("n", "2")], &[("image", b"one")]).await;
    assert!(varied["data"][1]["url"].is_string() && varied.get("usage").is_none());
    let (status, _, body) = upload("images/edits", &fields, &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("'image'"));
}

#[tokio::test]
async fn speech_lasts_as_long_as_its_text_and_can_be_heard_again() {
    let ask = |more: Value| {
        let mut body =
            json!({"model": "m", "input": "The toll is one coin.", "voice": "alloy", "response_format": "wav"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let sound = async |body| {
        let response = send(Method::POST, "audio/speech", body).await.unwrap();
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (kind, response.into_body().collect().await.unwrap().to_bytes())
    };
    let tokens = tokens::count("The toll is one coin.");
    let (kind, wav) = sound(ask(json!({}))).await;
    assert_eq!((kind.as_str(), wav.len() as u64), ("audio/wav", 44 + tokens * 5760));
    assert_eq!(sound(ask(json!({"speed": 2.0}))).await.1.len() as u64, 44 + tokens.div_ceil(2) * 5760);
    assert_eq!(sound(ask(json!({"response_format": "mp3"}))).await.0, "audio/mpeg");
    assert_eq!(sound(ask(json!({"model": "sim/tokens-3", "response_format": "pcm"}))).await.1.len(), 3 * 5760);

    let (frames, _) = frames("audio/speech", ask(json!({"stream_format": "sse", "instructions": "Slowly."}))).await;
    let events = events(&frames);
    let (done, deltas) = events.split_last().unwrap();
    assert_eq!(keys(done), keys(&fixture("speech_stream.sse")[1]));
    assert_eq!((deltas.len() as u64, &deltas[0]["type"]), (tokens, &json!("speech.audio.delta")));
    let input = tokens + tokens::count("Slowly.");
    assert_eq!(done["usage"], json!({"input_tokens": input, "output_tokens": tokens, "total_tokens": input + tokens}));
    let encoded: usize =
        deltas.iter().map(|delta| delta["audio"].as_str().unwrap().trim_end_matches('=').len() * 3 / 4).sum();
    assert_eq!(encoded, wav.len());

    let heard = uploaded("audio/transcriptions", &[("model", "whisper-1")], &[("file", &wav)]).await;
    let seconds = (tokens * 12) as f64 / 100.0;
    assert_eq!(heard["usage"], json!({"type": "duration", "seconds": seconds}));
    for (wrong, param) in [
        (json!({"input": ""}), "input"),
        (json!({"speed": 9}), "speed"),
        (json!({"response_format": "flac"}), "response_format"),
    ] {
        assert_eq!(post("audio/speech", ask(wrong)).await.2["error"]["param"], param);
    }
}

#[tokio::test]
async fn transcriptions_report_tokens_or_seconds_by_the_models_name() {
    let file = second();
    let hear = async |fields: &[(&str, &str)]| uploaded("audio/transcriptions", fields, &[("file", &file)]).await;
    let answer = hear(&[("model", "gpt-4o-transcribe"), ("prompt", "a toll")]).await;
    assert_eq!(keys(&answer), keys(&fixture("transcription_response_tokens.json")));
    let said = tokens::count(answer["text"].as_str().unwrap());
    assert_eq!(
        answer["usage"],
        json!({"type": "tokens", "input_tokens": 13, "output_tokens": said, "total_tokens": 13 + said,
        "input_token_details": {"text_tokens": 3, "audio_tokens": 10}})
    );
    let seconds = hear(&[("model", "whisper-1")]).await;
    assert_eq!(keys(&seconds), keys(&fixture("transcription_response_duration.json")));
    assert_eq!(hear(&[("model", "sim/usage-seconds")]).await["usage"]["seconds"], 1.0);
    assert_eq!(hear(&[("model", "sim/tokens-40")]).await["usage"]["output_tokens"], 40);
    assert!(hear(&[("model", "sim/no-usage")]).await.get("usage").is_none());
    assert_eq!(hear(&[("model", "m")]).await, hear(&[("model", "m")]).await);
    let (status, _, body) = upload("audio/transcriptions", &[("model", "m")], &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("'file'"));
}

#[tokio::test]
async fn every_format_of_a_transcription_says_the_same_words() {
    let file = second();
    let hear = async |path: &str, format: &str, more: (&str, &str)| {
        upload(path, &[("model", "m"), ("response_format", format), more], &[("file", &file)]).await
    };
    let none = ("temperature", "0");
    let path = "audio/transcriptions";
    let text = String::from_utf8(hear(path, "text", none).await.2.to_vec()).unwrap();
    let text = text.strip_suffix('\n').unwrap();
    let verbose: Value = serde_json::from_slice(&hear(path, "verbose_json", none).await.2).unwrap();
    assert_eq!(
        (&verbose["text"], &verbose["duration"], &verbose["task"]),
        (&json!(text), &json!(1.0), &json!("transcribe"))
    );
    assert_eq!(said(verbose["segments"].as_array().unwrap(), "/text").replace('.', ". ").trim_end(), text);
    let words: Value =
        serde_json::from_slice(&hear(path, "verbose_json", ("timestamp_granularities[]", "word")).await.2).unwrap();
    assert_eq!(words["words"].as_array().unwrap().len(), text.split(' ').count());
    let speakers: Value = serde_json::from_slice(&hear(path, "diarized_json", none).await.2).unwrap();
    assert_eq!(speakers["segments"][1]["speaker"], "B");
    for (format, kind, start) in
        [("srt", "application/x-subrip", "1\n00:00:00,000 --> "), ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> ")]
    {
        let (_, found, body) = hear(path, format, none).await;
        assert!(found.starts_with(kind) && body.starts_with(start.as_bytes()), "{found}");
    }
    let (_, _, body) = hear(path, "json", ("stream", "true")).await;
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    let events = events_of(&body);
    assert_eq!(said(&events, "/delta"), text);
    let whole: Value = serde_json::from_slice(&hear(path, "json", none).await.2).unwrap();
    let done = events.last().unwrap();
    assert_eq!((&done["text"], &done["usage"]), (&whole["text"], &whole["usage"]));
    let translated: Value = serde_json::from_slice(&hear("audio/translations", "json", none).await.2).unwrap();
    assert!(translated["text"].is_string() && translated.get("usage").is_none());
    let old = [("model", "whisper-1"), ("stream", "true")];
    assert_eq!(upload(path, &old, &[("file", &file)]).await.1, "application/json");
}

/// An upload in pieces of a mebibyte, none of which is kept, that counts how many were asked for.
struct Upload {
    head: Option<Bytes>,
    piece: Bytes,
    left: u32,
    tail: Option<Bytes>,
    asked: Arc<AtomicU64>,
}

impl Upload {
    fn new(model: &str, left: u32) -> (Self, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let whole = form(&[("model", model)], &[("file", b"#")]);
        let middle = whole.iter().position(|byte| *byte == b'#').unwrap();
        let (head, tail) = (whole[..middle].to_vec(), whole[middle + 1..].to_vec());
        let piece = vec![b'x'; 1 << 20].into();
        (Upload { head: Some(head.into()), piece, left, tail: Some(tail.into()), asked: asked.clone() }, asked)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = SimCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, SimCut>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let piece = self.head.take().or_else(|| {
            self.left = self.left.checked_sub(1)?;
            Some(self.piece.clone())
        });
        Poll::Ready(piece.or_else(|| self.tail.take()).map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

#[tokio::test]
async fn a_large_upload_is_read_as_it_comes_and_an_early_failure_reads_no_more_than_the_model() {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(BOUNDARY))]);
    let simulator = Simulator::new();
    let (body, asked) = Upload::new("whisper-1", 20);
    let body = read_form(&headers, body).await.unwrap();
    let response = simulator.answer_form(&Method::POST, "audio/transcriptions", body).await.unwrap();
    let answer: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(answer["usage"]["seconds"], ((20 << 20) as f64 / 320.0).round() / 100.0);
    assert_eq!(asked.load(Ordering::Relaxed), 23);
    let (body, asked) = Upload::new("sim/status-413+early", 20);
    let body = read_form(&headers, body).await.unwrap();
    let response = simulator.answer_form(&Method::POST, "audio/transcriptions", body).await.unwrap();
    assert_eq!((response.status(), asked.load(Ordering::Relaxed)), (StatusCode::PAYLOAD_TOO_LARGE, 1));
}

proptest! {
    #[test]
    fn no_form_is_answered_with_anything_but_an_answer_or_a_reason(
        path in prop::sample::select(vec!["images/edits", "images/variations", "audio/transcriptions", "audio/translations"]),
        fields in prop::collection::vec((prop::sample::select(vec![
            "prompt", "n", "size", "quality", "response_format", "stream", "partial_images", "language", "model",
            "timestamp_granularities[]", "output_format",
        ]), "true|[0-9]{1,20}|auto|url|srt|vtt|word|sim/emoji|verbose_json|diarized_json|1x1|.{0,8}"), 0..6),
        file in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut reader = form::Reader::new("b");
        let fields: Vec<(&str, &str)> =
            [("model", "m"), ("prompt", "x")].into_iter().chain(fields.iter().map(|(name, text)| (*name, &**text))).collect();
        let body = form(&fields, &[("file", &file), ("image", &file)]);
        let read = reader.read(&body).and_then(|()| reader.finish());
        let Ok(read) = read else { return Ok(()) };
        match plan(&Method::POST, path, Asked::Form(&read), Stamp { number: 1, created: 0 }) {
            Ok(Plan { reply: Reply::Json(json), .. }) => prop_assert!(serde_json::from_slice::<Value>(&json).is_ok()),
            Ok(Plan { reply: Reply::Text(_, text), .. }) => prop_assert!(text.ends_with('\n')),
            Ok(Plan { reply: Reply::Events(mut events), .. }) => prop_assert!(events.all(|event| event.ends_with(b"\n\n"))),
            Ok(Plan { reply: Reply::Sound(..), .. }) => prop_assert!(false, "no endpoint for files speaks"),
            Err(refusal) => prop_assert!(refusal.status.is_client_error() && refusal.error.message.len() > 10),
        }
    }
}
