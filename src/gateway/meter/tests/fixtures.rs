//! What must hold of every fixture, and of every split of it: record and counters say the usage stated, and bytes are equal.

use super::*;

/// Input, cached, output, reasoning.
type Stated = (u64, u64, u64, u64);

/// What the books must say.
#[derive(Clone, Copy, Debug)]
enum Books {
    /// What the fixture states.
    Reported(Stated),
    /// The input estimate, and these output tokens.
    Estimated(u64),
    /// These tokens whatever was asked: seconds of sound.
    Table(u64, u64),
    /// Nothing was charged.
    Nothing,
}

struct Case {
    name: &'static str,
    endpoint: Endpoint,
    bytes: &'static [u8],
    books: Books,
    outcome: &'static str,
}

macro_rules! cases {
    ($($endpoint:ident $name:literal $outcome:literal $books:expr;)*) => {
        [$(Case {
            name: $name,
            endpoint: Endpoint::$endpoint,
            bytes: include_bytes!(concat!("../../../../tests/fixtures/", $name)),
            books: $books,
            outcome: $outcome,
        },)*]
    };
}

fn cases() -> impl IntoIterator<Item = Case> {
    use Books::{Estimated, Nothing, Reported, Table};
    cases! {
        ChatCompletions "chat_response.json" "ok" Reported((19, 0, 7, 0));
        ChatCompletions "chat_stream_with_usage.sse" "ok" Reported((19, 0, 7, 0));
        ChatCompletions "chat_stream_no_usage.sse" "ok" Estimated(3);
        ChatCompletions "chat_stream_tool_calls.sse" "ok" Estimated(7);
        ChatCompletions "azure_stream_prompt_filter.sse" "ok" Reported((19, 0, 5, 0));
        ChatCompletions "azure_stream_async_filter.sse" "ok" Estimated(3);
        ChatCompletions "vllm_stream_continuous_usage.sse" "ok" Reported((19, 16, 3, 0));
        ChatCompletions "vllm_stream_midstream_error.sse" "upstream_error" Estimated(0);
        ChatCompletions "gemini_stream_usage_every_chunk.sse" "ok" Reported((8, 0, 4, 0));
        ChatCompletions "usage_on_finish_chunk.sse" "ok" Reported((8, 0, 3, 0));
        ChatCompletions "openrouter_stream_comments_and_error.sse" "upstream_error" Estimated(1);
        ChatCompletions "sse_crlf.sse" "ok" Estimated(1);
        ChatCompletions "sse_edge_multiline_nospace.sse" "ok" Estimated(0);
        ChatCompletions "sse_edge_truncated.sse" "upstream_truncated" Estimated(1);
        Completions "ollama_completions_stream_zero_usage.sse" "ok" Reported((9, 0, 2, 0));
        Responses "responses_response.json" "ok" Reported((19, 0, 70, 64));
        Responses "responses_stream.sse" "ok" Reported((19, 0, 6, 0));
        Responses "responses_stream_failed.sse" "upstream_error" Estimated(0);
        Responses "responses_stream_error_event.sse" "upstream_error" Estimated(0);
        InputTokens "responses_input_tokens_response.json" "ok" Nothing;
        Decisions "decisions_response.json" "ok" Reported((41, 0, 1, 0));
        Embeddings "embeddings_response_float.json" "ok" Reported((5, 0, 0, 0));
        Embeddings "embeddings_response_base64.json" "ok" Reported((5, 0, 0, 0));
        ImageGenerations "images_response.json" "ok" Reported((26, 0, 4160, 0));
        ImageGenerations "images_stream.sse" "ok" Reported((26, 0, 4160, 0));
        Speech "speech_stream.sse" "ok" Reported((6, 0, 40, 0));
        Transcriptions "transcription_response_tokens.json" "ok" Reported((14, 0, 5, 0));
        Transcriptions "transcription_response_duration.json" "ok" Table(40, 0);
        Transcriptions "transcription_stream.sse" "ok" Reported((14, 0, 5, 0));
    }
}

/// The bytes cut at these places.
fn pieces(bytes: &[u8], places: &[usize]) -> Scripted {
    let cut = crate::stream::scan::tests::cut(bytes, places);
    Scripted::of(cut.into_iter().filter(|piece| !piece.is_empty()).map(data))
}

/// Random places; the same ones each time.
fn random_places(seed: u64, length: usize) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % (length + 1)
    };
    (0..2 + seed % 20).map(|_| next()).collect()
}

/// Each place, each byte alone, and random cuts.
fn splits(bytes: &[u8]) -> Vec<Vec<usize>> {
    let each = (0..=bytes.len()).map(|place| vec![place]);
    let random = (0..100).map(|seed| random_places(seed, bytes.len()));
    each.chain(random).chain([(0..bytes.len()).collect()]).collect()
}

fn answer(case: &Case, body: Scripted, usage_chunk: UsageChunk) -> Answer {
    let is_stream = case.name.ends_with(".sse");
    let content_type = if is_stream { "text/event-stream" } else { "application/json" };
    let framing = (TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Answer { content_type, headers: vec![framing], body, usage_chunk, endpoint: case.endpoint }
}

/// What may follow the fixture's bytes: our word about a cut between two events.
fn is_expected(case: &Case, expected: &[u8], passed: &[u8]) -> bool {
    let Some(rest) = passed.strip_prefix(expected) else { return false };
    rest.is_empty() || case.outcome == "upstream_truncated" && rest.starts_with(b"data: {\"error\":")
}

/// What the record must say of its source, and of its four numbers, given the input estimated.
fn stated(books: Books, input: u64) -> (Option<&'static str>, [Option<u64>; 4]) {
    let estimated = |input, output| (Some("estimated"), [Some(input), Some(0), Some(output), Some(0)]);
    match books {
        Books::Reported((input, cached, output, reasoning)) => {
            (Some("reported"), [input, cached, output, reasoning].map(Some))
        }
        Books::Estimated(output) => estimated(input, output),
        Books::Table(input, output) => estimated(input, output),
        Books::Nothing => (None, [None; 4]),
    }
}

/// One call for each list of places, all on one rig; then the books.
async fn check(case: &Case, usage_chunk: UsageChunk, expected: &[u8]) {
    let rig = Rig::with_burst(1 << 40);
    let splits = splits(case.bytes);
    for places in &splits {
        let mut response = metered(&rig, answer(case, pieces(case.bytes, places), usage_chunk)).await;
        let (passed, ended) = drained_bytes(response.body_mut());
        assert!(is_expected(case, expected, &passed), "{} {places:?}\n{}", case.name, String::from_utf8_lossy(&passed));
        assert_eq!(ended.is_err(), case.outcome == "upstream_truncated", "{} {places:?}", case.name);
    }
    let calls = splits.len() as u64;
    let mut charged = 0;
    let records = rig.records();
    assert_eq!(records.len() as u64, calls, "{}", case.name);
    // 400 bytes of text, and the role.
    let input = records[0]["input_tokens"].as_u64().unwrap_or(0);
    let is_estimate = matches!(case.books, Books::Estimated(_));
    assert!(!is_estimate || (100..110).contains(&input), "{}: {input}", case.name);
    for record in &records {
        assert_eq!(record["outcome"], case.outcome, "{}: {record}", case.name);
        let keys = ["input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"];
        let told = keys.map(|key| record[key].as_u64());
        assert_eq!((record["usage_source"].as_str(), told), stated(case.books, input), "{}: {record}", case.name);
        charged += told[0].unwrap_or(0) + told[2].unwrap_or(0);
    }
    assert_eq!(rig.used(), (charged, calls), "{}", case.name);
    let series = |kind| format!("tollgate_tokens_total{{tenant=\"acme\",route=\"*\",kind=\"{kind}\"}}");
    let counted = rig.metric(&series("input")) + rig.metric(&series("output"));
    assert_eq!(counted, charged as f64, "{}", case.name);
    let metrics = rig.services.metrics.render();
    assert!(!metrics.contains("tollgate_unmetered_responses_total{"), "{} could be read", case.name);
}

#[tokio::test]
async fn every_split_of_every_fixture_passes_equal_and_is_charged_what_it_states() {
    for case in cases() {
        check(&case, UsageChunk::Keep, case.bytes).await;
    }
}

#[tokio::test]
async fn every_split_of_every_stream_loses_the_usage_chunk_and_no_other_byte() {
    let mut stripped = 0;
    for case in cases() {
        let may_have_one = matches!(case.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        // Of an answer that breaks off, an unfinished event that may be the chunk is held back for ever.
        let breaks_off = case.outcome == "upstream_truncated";
        if !may_have_one || breaks_off || case.name.ends_with(".json") {
            continue;
        }
        let text = std::str::from_utf8(case.bytes).unwrap();
        let is_usage_chunk = |event: &&str| event.contains("\"choices\":[],") && event.contains("\"usage\":{");
        let kept: String = text.split_inclusive("\n\n").filter(|event| !is_usage_chunk(event)).collect();
        stripped += usize::from(kept.len() < text.len());
        check(&case, UsageChunk::TakeOut, kept.as_bytes()).await;
    }
    assert!(stripped >= 3, "azure, chat, vllm: {stripped}");
}

#[tokio::test]
async fn a_cut_after_any_event_is_told_in_the_dialect_of_the_endpoint_and_never_ends_clean() {
    for (endpoint, name, told) in [
        (Endpoint::ChatCompletions, "chat_stream_with_usage.sse", "data: {\"error\":{"),
        (Endpoint::Responses, "responses_stream.sse", "event: response.failed\ndata: {"),
        (Endpoint::ImageGenerations, "images_stream.sse", "event: error\ndata: {\"type\":\"error\",\"error\":{"),
        (Endpoint::Speech, "speech_stream.sse", "data: {\"type\":\"error\",\"error\":{"),
        (Endpoint::Transcriptions, "transcription_stream.sse", "data: {\"type\":\"error\",\"error\":{"),
    ] {
        let case = cases().into_iter().find(|case| case.name == name && case.endpoint == endpoint).unwrap();
        let text = std::str::from_utf8(case.bytes).unwrap();
        let ends: Vec<usize> = text.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        let rig = Rig::with_burst(1 << 40);
        for place in 0..=text.len() {
            let broken = Step::Fail(UpstreamError::Cut("reset".to_owned()));
            let first = Some(data(&text[..place])).filter(|_| place > 0);
            let body = Scripted::of(first.into_iter().chain([broken]));
            let mut response = metered(&rig, answer(&case, body, UsageChunk::Keep)).await;
            let (passed, ended) = drained(response.body_mut());
            assert_eq!(ended, Err(CutShort), "{name} {place}");
            let word = passed.strip_prefix(&text[..place]).unwrap();
            let between = place == 0 || ends.contains(&place);
            assert_eq!(word.starts_with(told), between, "{name} {place}: {word}");
            assert!(between || word.is_empty(), "{name} {place}: {word}");
            assert!(!word.contains("[DONE]"));
            if between {
                let json = word.strip_suffix("\n\n").unwrap().rsplit("data: ").next().unwrap();
                let event: serde_json::Value = serde_json::from_str(json).unwrap();
                let error = if endpoint == Endpoint::Responses { &event["response"]["error"] } else { &event["error"] };
                assert_eq!(error["code"], "upstream_protocol", "{name} {place}");
            }
        }
        assert!(rig.records().iter().all(|record| record["outcome"] == "upstream_truncated"), "{name}");
    }
}
