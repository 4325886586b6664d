//! What must hold of an answer that is compressed although nobody asked for that: its bytes pass, its usage is read.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

const BROTLI_STREAM: &[u8] = include_bytes!("../../../../tests/fixtures/compressed/chat_stream_with_usage.sse.br");
const BROTLI_JSON: &[u8] = include_bytes!("../../../../tests/fixtures/compressed/chat_response.json.br");
const FIXTURE: &[u8] = include_bytes!("../../../../tests/fixtures/chat_stream_with_usage.sse");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The bytes in each coding, with its name.
fn codings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(bytes).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(bytes).unwrap();
    // As a server does that sends each event at once.
    let mut flushed = GzEncoder::new(Vec::new(), Compression::default());
    for piece in bytes.chunks(40) {
        flushed.write_all(piece).unwrap();
        flushed.flush().unwrap();
    }
    let (first, second) = bytes.split_at(bytes.len() / 2);
    vec![
        ("gzip", gzip(bytes)),
        ("X-GZIP", flushed.finish().unwrap()),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
        ("zstd", zstd::stream::encode_all(bytes, 3).unwrap()),
        ("br", stored_brotli(bytes)),
    ]
}

/// A brotli stream (RFC 7932 9.1, 9.2) of one block that is not compressed, and an empty last one.
fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - 1).unwrap();
    assert!(length < 1 << 16);
    // Window: one bit 0. Not the last: 0. Four nibbles of length: 00. The length. Not compressed: 1.
    let head = length << 4 | 1 << 20;
    let mut stream = head.to_le_bytes()[..3].to_vec();
    stream.extend_from_slice(bytes);
    stream.push(0b11);
    stream
}

fn compressed(coding: &'static str, content_type: &'static str, bytes: &[u8], step: usize) -> Answer {
    let length = (CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let headers = vec![(CONTENT_ENCODING, HeaderValue::from_static(coding)), length];
    let mut body = Scripted::of(bytes.chunks(step).map(data));
    body.knows_its_end = true;
    Answer { content_type, headers, body, usage_chunk: UsageChunk::TakeOut, endpoint: Endpoint::ChatCompletions }
}

/// Sends it through; gives the record, and the reason why it could not be read.
async fn passed(answer: Answer, bytes: &[u8]) -> (serde_json::Value, Option<String>) {
    let rig = Rig::new();
    let mut response = metered(&rig, answer).await;
    assert_eq!(response.headers()[CONTENT_LENGTH], bytes.len().to_string());
    assert!(response.headers().contains_key(CONTENT_ENCODING));
    let (all, ended) = drained_bytes(response.body_mut());
    assert!(all == bytes, "not a byte is changed, not even to take out a chunk");
    assert_eq!(ended, Ok(()));
    drop(response);
    let metrics = rig.services.metrics.render();
    let unmetered = metrics.lines().find(|line| line.starts_with("tollgate_unmetered_responses_total{"));
    let reason = unmetered.and_then(|line| line.split("reason=\"").nth(1)?.split('"').next());
    (only_record(&rig), reason.map(str::to_owned))
}

#[tokio::test]
async fn usage_is_read_from_a_copy_in_every_coding_however_the_bytes_are_cut() {
    let mut cases = Vec::new();
    for (content_type, text) in [("text/event-stream", STREAM), ("application/json", JSON)] {
        let all = codings(text.as_bytes()).into_iter();
        cases.extend(all.map(|(coding, bytes)| (coding, content_type, bytes, (21, 4))));
    }
    cases.push(("br", "text/event-stream", BROTLI_STREAM.to_vec(), (19, 7)));
    cases.push(("br", "application/json", BROTLI_JSON.to_vec(), (19, 7)));
    for (coding, content_type, bytes, (input, output)) in cases {
        for step in [1, 7, 1_000_000] {
            let answer = compressed(coding, content_type, &bytes, step);
            let (record, unmetered) = passed(answer, &bytes).await;
            let what = format!("{coding} {content_type} {step}: {record}");
            assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&input.into(), &output.into()), "{what}");
            assert_eq!((&record["outcome"], &record["usage_source"]), (&"ok".into(), &"reported".into()), "{what}");
            assert_eq!(unmetered, None, "{what}");
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_that_says_no_usage_is_estimated_by_its_text() {
    let text = without_usage_chunk();
    let bytes = gzip(text.as_bytes());
    let (record, unmetered) = passed(compressed("gzip", "text/event-stream", &bytes, 9), &bytes).await;
    assert_eq!((&record["output_tokens"], &record["usage_source"]), (&1.into(), &"estimated".into()));
    assert_eq!(unmetered, None, "it could be read, and said nothing");
}

#[tokio::test]
async fn a_compressed_stream_that_ends_before_its_end_is_cut() {
    let cut = gzip(&FIXTURE[..400]);
    let rig = Rig::new();
    let mut response = metered(&rig, compressed("gzip", "text/event-stream", &cut, 50)).await;
    let (passed, ended) = drained_bytes(response.body_mut());
    assert_eq!((passed == cut, ended), (true, Err(CutShort)), "and no word of ours in between");
    drop(response);
    assert_eq!(only_record(&rig)["outcome"], "upstream_truncated");
}

#[tokio::test]
async fn a_bomb_costs_nothing_and_is_counted() {
    let mut bomb = b"{\"choices\":[{\"message\":{\"content\":\"".to_vec();
    bomb.resize(6 << 20, b'x');
    bomb.extend_from_slice(b"\"}}],\"usage\":{\"prompt_tokens\":1}}");
    for (coding, bytes) in [("gzip", gzip(&bomb)), ("zstd", zstd::stream::encode_all(&*bomb, 1).unwrap())] {
        let (record, unmetered) = passed(compressed(coding, "application/json", &bytes, 4096), &bytes).await;
        assert_eq!(unmetered.as_deref(), Some("decoded_too_large"), "{coding}");
        assert_eq!((&record["usage_source"], &record["outcome"]), (&"estimated".into(), &"ok".into()), "{coding}");
        let output = record["output_tokens"].as_u64().unwrap();
        assert!(output > 0 && output < (2 << 20) / 4, "{coding}: {record}");
    }
}

#[tokio::test]
async fn what_is_damaged_unknown_or_wants_too_much_memory_passes_and_is_counted() {
    let mut wide = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(STREAM.as_bytes()).unwrap();
    wide.flush().unwrap();
    let wide = wide.finish().unwrap();
    let good = gzip(STREAM.as_bytes());
    let mut damaged = good.clone();
    damaged[12..20].fill(0xff);
    for (coding, bytes) in [
        ("gzip, br", good.clone()),
        ("compress", good.clone()),
        ("gzip", STREAM.as_bytes().to_vec()),
        ("gzip", damaged),
        ("gzip", good[..30].to_vec()),
        ("zstd", wide),
        // A window of 2^24 bytes, and one of the reserved value.
        ("br", vec![0x0f, 0, 0]),
        ("br", vec![0x11, 0, 0]),
    ] {
        for step in [1, 1_000_000] {
            let (record, unmetered) = passed(compressed(coding, "text/event-stream", &bytes, step), &bytes).await;
            assert_eq!(unmetered.as_deref(), Some("compressed"), "{coding}: {record}");
            assert_eq!((&record["outcome"], &record["usage_source"]), (&"ok".into(), &"estimated".into()), "{coding}");
        }
    }
}
