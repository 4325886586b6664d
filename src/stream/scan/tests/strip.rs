//! What must hold of `tests`.

use super::*;

/// The stream without each event that has empty `choices` and a usage; told apart by a real JSON parser.
fn without_usage_chunk(stream: &[u8], line_end: &str) -> Vec<u8> {
    let blank = line_end.repeat(2);
    let text = std::str::from_utf8(stream).unwrap();
    let is_usage_chunk = |event: &str| {
        let data: String = event.split(line_end).filter_map(|line| line.strip_prefix("data:")).collect();
        let json: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
        json["choices"].as_array().is_some_and(Vec::is_empty) && !json["usage"].is_null()
    };
    text.split_inclusive(&blank).filter(|event| !is_usage_chunk(event)).collect::<String>().into_bytes()
}

#[test]
fn the_usage_chunk_alone_goes_out_of_every_fixture_wherever_it_is_cut() {
    let mut changed = 0;
    for (name, dialect, stream) in FIXTURES {
        for line_end in line_ends(stream) {
            let stream = with_line_ends(stream, line_end);
            let expected = without_usage_chunk(&stream, line_end);
            changed += usize::from(expected != stream);
            let expected_seen = keep(*dialect, fixture(name));
            for place in 0..=stream.len() {
                let (out, seen) = run(*dialect, UsageChunk::TakeOut, cut(&stream, &[place]));
                assert!(out == expected, "{name} {line_end:?} {place}\n{}", String::from_utf8_lossy(&out));
                assert_eq!(seen, expected_seen, "{name} {line_end:?} {place}");
            }
            let (out, seen) = run(*dialect, UsageChunk::TakeOut, stream.chunks(1));
            assert_eq!((out, seen), (expected, expected_seen), "{name} {line_end:?}");
        }
    }
    assert_eq!(changed, 1 + 1 + 3 + 3, "azure, chat; ollama, vllm");
}

#[test]
fn what_is_not_the_usage_chunk_stays() {
    for event in [
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[],"x":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":1}}}"#,
        r#"{"choices":[{}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[0],"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":null,"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":{},"usage":{"prompt_tokens":1}}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1]}"#,
        r#"[{"choices":[],"usage":{"prompt_tokens":1}}]"#,
    ] {
        let stream = format!("data: {event}\n\n");
        for place in 0..=stream.len() {
            let (out, _) = run(Dialect::Chat, UsageChunk::TakeOut, cut(stream.as_bytes(), &[place]));
            assert_eq!(out, stream.as_bytes(), "{event} {place}");
        }
    }
}

#[test]
fn the_usage_chunk_goes_with_all_its_lines() {
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for chunk in [
        "data: {\"usage\":{\"prompt_tokens\":1},\"choices\":[ ]}\n\n",
        "data: {\"choices\":[],\"usage\":{}}\n\n",
        ": so\nevent: e\nid: 1\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1}}\nretry: 3\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\r\r\n",
    ] {
        let stream = format!("\u{feff}{content}{chunk}data: [DONE]\n\n");
        let expected = format!("\u{feff}{content}data: [DONE]\n\n");
        for place in 0..=stream.len() {
            let (out, _) = run(Dialect::Chat, UsageChunk::TakeOut, cut(stream.as_bytes(), &[place]));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{chunk:?} {place}");
        }
        let alone = chunk.trim_end();
        for place in 0..=alone.len() {
            let (out, _) = run(Dialect::Chat, UsageChunk::TakeOut, cut(alone.as_bytes(), &[place]));
            assert!(out.is_empty(), "{alone:?} {place}");
        }
    }
}

#[test]
fn responses_have_no_chunk_to_take_out() {
    let stream = b"data: {\"choices\":[],\"usage\":{\"input_tokens\":1}}\n\n";
    let mut scanner = Scanner::new(Dialect::Responses, UsageChunk::TakeOut);
    assert!(matches!(scanner.feed(Bytes::from_static(stream)), Passed::Whole(_)));
}

#[test]
fn a_frame_is_held_no_longer_than_it_may_be_the_usage_chunk() {
    let mut scanner = Scanner::new(Dialect::Chat, UsageChunk::TakeOut);
    let mut feed = |frame: &'static str| match scanner.feed(Bytes::from_static(frame.as_bytes())) {
        Passed::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Passed::Parts(parts) => String::from_utf8(parts.concat()).unwrap(),
        Passed::Nothing => String::new(),
    };
    assert_eq!(feed("data: {\"choices\":["), "");
    assert_eq!(feed("{"), "data: {\"choices\":[{");
    assert_eq!(feed("\"delta\":{\"content\":\"a"), "\"delta\":{\"content\":\"a");
    assert_eq!(feed("b\"}}]}\n\ndata: {\"us"), "b\"}}]}\n\n");
    assert_eq!(feed("age\":null,\"choices\":[]}"), "data: {\"usage\":null,\"choices\":[]}");
    assert_eq!(feed("\n\ndata: [D"), "\n\ndata: [D");
    assert_eq!(feed("ONE]\n"), "ONE]\n");
    assert_eq!(feed("\ndata: {\"choices\":[],\"usage\":{\"a\":1}}\n"), "\n");
    assert_eq!(feed("\n: x\n\n"), ": x\n\n");
}

#[test]
fn while_an_event_is_held_the_client_stands_between_two() {
    let mut scanner = Scanner::new(Dialect::Chat, UsageChunk::TakeOut);
    scanner.feed(Bytes::from_static(b"data: {\"choices\":[{}]}\n\ndata: {\"id\":\"x"));
    assert_eq!(scanner.boundary(), Boundary::Between);
    scanner.feed(Bytes::from_static(b"\",\"choices\":[{"));
    assert_eq!(scanner.boundary(), Boundary::Inside);
    let mut scanner = Scanner::new(Dialect::Chat, UsageChunk::TakeOut);
    scanner.feed(Bytes::from_static(b"data: {\"id\""));
    assert_eq!(scanner.finish(), Some(Bytes::from_static(b"data: {\"id\"")));
    assert_eq!((scanner.boundary(), scanner.finish()), (Boundary::Inside, None));
}

proptest! {
    #[test]
    fn any_cuts_take_out_the_same(index in 0..FIXTURES.len(), places: Vec<usize>) {
        let (_, dialect, stream) = FIXTURES[index];
        let whole = run(dialect, UsageChunk::TakeOut, [stream]);
        prop_assert_eq!(run(dialect, UsageChunk::TakeOut, cut(stream, &places)), whole);
    }

    #[test]
    fn pieces_of_events_are_judged_alike_however_cut(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        places: Vec<usize>,
    ) {
        let stream = pieces.concat().into_bytes();
        let whole = run(Dialect::Chat, UsageChunk::TakeOut, [stream.as_slice()]);
        prop_assert_eq!(&whole.1, &keep(Dialect::Chat, &stream));
        prop_assert_eq!(run(Dialect::Chat, UsageChunk::TakeOut, cut(&stream, &places)), whole);
    }
}
