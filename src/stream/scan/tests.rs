//! What must hold of `scan`.

use proptest::prelude::*;

use super::*;
use crate::usage::Anomaly;

mod finish;
mod nesting;
mod strip;
mod template;

/// Everything that a scanner can tell about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    usage: Option<Usage>,
    text: u64,
    events: u64,
    ended: Ended,
    finished: bool,
    failure: bool,
    sequence: Option<u64>,
    id: Option<String>,
    created: Option<u64>,
    model: Option<String>,
    details: Option<Details>,
    tier: Option<Tier>,
    anomalies: Anomalies,
}

impl Seen {
    fn of(scanner: &Scanner) -> Seen {
        Seen {
            usage: scanner.usage(),
            text: scanner.text_bytes(),
            events: scanner.events(),
            ended: scanner.ended(),
            finished: scanner.finished(),
            failure: scanner.told_failure(),
            sequence: scanner.last_sequence(),
            id: scanner.response_id().map(String::from),
            created: scanner.response_created_at(),
            model: scanner.served_model().map(String::from),
            details: scanner.details(),
            tier: scanner.tier(),
            anomalies: scanner.anomalies(),
        }
    }
}

/// Feeds the frames; gives what passed, and what was seen.
pub(super) fn run<'a>(
    dialect: Dialect,
    chunk: UsageChunk,
    frames: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Seen) {
    let mut scanner = Scanner::new(dialect, chunk);
    let mut out = Vec::new();
    for frame in frames {
        let frame = Bytes::copy_from_slice(frame);
        match scanner.feed(frame.clone()) {
            Passed::Whole(bytes) => {
                assert_eq!(bytes.as_ptr(), frame.as_ptr(), "the very frame goes on");
                out.extend_from_slice(&bytes);
            }
            Passed::Parts(parts) => {
                assert_eq!(chunk, UsageChunk::TakeOut);
                assert!(!parts.is_empty() && parts.iter().all(|part| !part.is_empty()));
                parts.iter().for_each(|part| out.extend_from_slice(part));
            }
            Passed::Nothing => assert_eq!(chunk, UsageChunk::TakeOut),
        }
    }
    out.extend_from_slice(&scanner.finish().unwrap_or_default());
    (out, Seen::of(&scanner))
}

pub(super) fn keep(dialect: Dialect, stream: &[u8]) -> Seen {
    run(dialect, UsageChunk::Keep, [stream]).1
}

pub(super) fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

/// `stream` cut at the places, which are taken modulo its length.
pub(crate) fn cut<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (stream.len() + 1)).collect();
    places.push(stream.len());
    places.sort_unstable();
    let mut from = 0;
    places.into_iter().map(|to| &stream[std::mem::replace(&mut from, to)..to]).collect()
}

macro_rules! fixtures {
    ($($dialect:ident $name:literal)*) => {
        pub(super) const FIXTURES: &[(&str, Dialect, &[u8])] = &[
            $(($name, Dialect::$dialect, include_bytes!(concat!("../../../tests/fixtures/", $name, ".sse"))),)*
        ];
    };
}

fixtures! {
    Chat "azure_stream_async_filter"
    Chat "azure_stream_prompt_filter"
    Chat "chat_stream_no_usage"
    Chat "chat_stream_tool_calls"
    Chat "chat_stream_with_usage"
    Chat "gemini_stream_usage_every_chunk"
    Completions "ollama_completions_stream_zero_usage"
    Chat "openrouter_stream_comments_and_error"
    Images "images_stream"
    Responses "responses_stream"
    Responses "responses_stream_error_event"
    Responses "responses_stream_failed"
    Speech "speech_stream"
    Transcription "transcription_stream"
    Chat "sse_crlf"
    Chat "sse_edge_multiline_nospace"
    Chat "sse_edge_truncated"
    Chat "usage_on_finish_chunk"
    Chat "vllm_stream_continuous_usage"
    Chat "vllm_stream_midstream_error"
}

pub(super) fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|(known, ..)| *known == name).unwrap().2
}

/// The fixture with other line ends.
pub(super) fn with_line_ends(stream: &[u8], line_end: &str) -> Vec<u8> {
    let text = std::str::from_utf8(stream).unwrap().replace("\r\n", "\n");
    text.replace('\n', line_end).into_bytes()
}

/// All line ends for short streams; long ones would only take long.
pub(super) fn line_ends(stream: &[u8]) -> &'static [&'static str] {
    if stream.len() < 1400 { &["\n", "\r\n", "\r"] } else { &["\n"] }
}

#[test]
fn every_fixture_is_read_as_it_says() {
    // name, usage, bytes of text, events, end, told a failure, model
    let gpt = Some("gpt-x-2026-01-01");
    let table = [
        ("azure_stream_async_filter", None, 11, 4, Ended::Done, false, gpt),
        ("azure_stream_prompt_filter", Some(usage(19, 5)), 11, 5, Ended::Done, false, gpt),
        ("chat_stream_no_usage", None, 11, 4, Ended::Done, false, gpt),
        ("chat_stream_tool_calls", None, 26, 4, Ended::Done, false, gpt),
        ("chat_stream_with_usage", Some(usage(19, 7)), 11, 5, Ended::Done, false, gpt),
        ("gemini_stream_usage_every_chunk", Some(usage(8, 4)), 11, 2, Ended::Done, false, Some("gemini-x")),
        ("ollama_completions_stream_zero_usage", Some(usage(9, 2)), 10, 4, Ended::Done, false, Some("qwen3:8b")),
        ("images_stream", Some(usage(26, 4160)), 0, 2, Ended::Terminal, false, None),
        ("speech_stream", Some(usage(6, 40)), 0, 2, Ended::Terminal, false, None),
        ("transcription_stream", Some(usage(14, 5)), 12, 3, Ended::Done, false, None),
        ("openrouter_stream_comments_and_error", None, 3, 2, Ended::ErrorEvent, true, Some("a/b")),
        ("responses_stream", Some(usage(19, 6)), 11, 10, Ended::Terminal, false, gpt),
        ("responses_stream_error_event", None, 0, 2, Ended::Terminal, true, gpt),
        ("responses_stream_failed", None, 0, 2, Ended::Terminal, true, gpt),
        ("sse_crlf", None, 2, 1, Ended::Done, false, None),
        ("sse_edge_multiline_nospace", None, 0, 1, Ended::Done, false, None),
        ("sse_edge_truncated", None, 2, 1, Ended::Open, false, None),
        ("usage_on_finish_chunk", Some(usage(8, 3)), 7, 3, Ended::Done, false, Some("grok-x")),
        (
            "vllm_stream_continuous_usage",
            Some(Usage { cached: 16, ..usage(19, 3) }),
            11,
            5,
            Ended::Done,
            false,
            Some("my/llama"),
        ),
        ("vllm_stream_midstream_error", None, 0, 2, Ended::ErrorEvent, true, Some("my/llama")),
    ];
    assert_eq!(table.len(), FIXTURES.len());
    for (name, usage, text, events, ended, failure, model) in table {
        let (_, dialect, stream) = FIXTURES.iter().find(|(known, ..)| *known == name).unwrap();
        let seen = keep(*dialect, stream);
        let expected = (usage, text, events, ended, failure, model);
        let found = (seen.usage, seen.text, seen.events, seen.ended, seen.failure, seen.model.as_deref());
        assert_eq!(found, expected, "{name}");
        assert!(seen.anomalies.is_empty(), "{name}");
    }
}

#[test]
fn a_responses_stream_tells_its_id_and_sequence() {
    let seen = keep(Dialect::Responses, fixture("responses_stream"));
    assert_eq!((seen.sequence, seen.id.as_deref(), seen.created), (Some(9), Some("resp_fx1"), Some(1_790_000_008)));
    let before_the_end = String::from_utf8(fixture("responses_stream").to_vec()).unwrap();
    let (cut_short, _) = before_the_end.split_once("event: response.output_text.done").unwrap();
    let seen = keep(Dialect::Responses, cut_short.as_bytes());
    assert_eq!((seen.sequence, seen.ended, seen.text), (Some(5), Ended::Open, 11));
}

#[test]
fn every_fixture_cut_in_two_at_every_byte_says_the_same_and_stays_the_same() {
    for (name, dialect, stream) in FIXTURES {
        for line_end in line_ends(stream) {
            let stream = with_line_ends(stream, line_end);
            let expected = keep(*dialect, fixture(name));
            for place in 0..=stream.len() {
                let (out, seen) = run(*dialect, UsageChunk::Keep, cut(&stream, &[place]));
                assert!(out == stream, "{name} {line_end:?} {place}");
                assert_eq!(seen, expected, "{name} {line_end:?} {place}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_answer(index in 0..FIXTURES.len(), places: Vec<usize>) {
        let (_, dialect, stream) = FIXTURES[index];
        let (out, seen) = run(dialect, UsageChunk::Keep, cut(stream, &places));
        prop_assert_eq!(out, stream);
        prop_assert_eq!(seen, keep(dialect, stream));
    }

    #[test]
    fn arbitrary_bytes_pass_unaltered(frames: Vec<Vec<u8>>, responses: bool) {
        let dialect = if responses { Dialect::Responses } else { Dialect::Chat };
        let (out, _) = run(dialect, UsageChunk::Keep, frames.iter().map(Vec::as_slice));
        prop_assert_eq!(out, frames.concat());
    }

    #[test]
    fn arbitrary_pieces_of_events_pass_unaltered_however_cut(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        places: Vec<usize>,
    ) {
        let stream = pieces.concat().into_bytes();
        for dialect in [Dialect::Chat, Dialect::Responses] {
            let (out, seen) = run(dialect, UsageChunk::Keep, cut(&stream, &places));
            prop_assert!(out == stream);
            prop_assert_eq!(seen, keep(dialect, &stream));
        }
    }
}

/// What streams are made of, and what may confuse a reader of them.
pub(super) const PIECES: &[&str] = &[
    "data: ",
    "data:",
    "data",
    "event: x\n",
    ": usage\n",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\r\r",
    "\u{feff}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0022",
    "\\ud83d",
    "\"choices\":",
    "{\"choices\":[{\"index\":1,\"finish_reason\":\"",
    "\"finish_reason\":",
    "\"index\":",
    "[]",
    "null",
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
    "{\"choices\":[{\"delta\":{\"content\":\"",
    "\"}}]}",
    "\"usage\":",
    "{\"prompt_tokens\":7}",
    "{\"type\":\"response.output_text.delta\",\"sequence_number\":",
    "12",
    "[DONE]",
    "data: [DONE]\n\n",
    "é",
];

fn chat(body: &str) -> Seen {
    keep(Dialect::Chat, format!("data: {body}\n\n").as_bytes())
}

#[test]
fn j19_usage_counts_at_its_place_only() {
    let told = |body: &str| chat(body).usage;
    let fake = r#"{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9}}"#;
    assert_eq!(told(&format!(r#"{{"choices":[{{"delta":{{"content":"{fake}"}}}}]}}"#)), None);
    assert_eq!(told(r#"{"choices":[{"delta":{"content":"\",\"usage\":{\"prompt_tokens\":9}"}}]}"#), None);
    assert_eq!(told(r#"{"choices":[{"delta":{"usage":{"prompt_tokens":9}}}]}"#), None);
    assert_eq!(told(r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":9}}]}"#), Some(usage(9, 0)));
    assert_eq!(told(r#"{"x":{"usage":{"prompt_tokens":9}}}"#), None);
    assert_eq!(told(r#"{"response":{"usage":{"prompt_tokens":9}}}"#), None);
    assert_eq!(told(r#"[{"usage":{"prompt_tokens":9}}]"#), None);
    assert_eq!(told(r#""usage":{"prompt_tokens":9}"#), None);
    assert_eq!(told(r#"{"a\":{\"usage":{"prompt_tokens":9}}"#), None);
    assert_eq!(told(r#"{"usage":{"prompt_tokens":9}}"#), Some(usage(9, 0)));
    assert_eq!(told(r#"{"us\u0061ge":{"prompt\u005ftokens":9}}"#), Some(usage(9, 0)));
    assert_eq!(told(r#"{"x_groq":{"id":"r","usage":{"prompt_tokens":9}}}"#), Some(usage(9, 0)));
    assert_eq!(told(r#"{"a":"\ud83d","usage":{"prompt_tokens":9}}"#), Some(usage(9, 0)));
    let deep = format!(r#"{{"a":{}{},"usage":{{"prompt_tokens":9}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(told(&deep), Some(usage(9, 0)));
}

#[test]
fn the_last_tier_wins_also_between_events_that_look_alike() {
    let event =
        |tier: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"service_tier\":{tier}}}\n\n");
    let [default, flex, none] = ["\"default\"", "\"flex\"", "null"].map(event);
    let odd = "data: {\"choices\":[],\"service_tier\":\"priority\"}\n\n".to_owned();
    for (events, expected) in [
        (vec![&default, &default, &flex, &none], "flex"),
        (vec![&flex, &flex, &default, &flex], "flex"),
        (vec![&flex, &odd, &flex], "flex"),
        (vec![&flex, &flex, &odd], "priority"),
    ] {
        let stream: String = events.iter().map(|event| event.as_str()).collect();
        for step in [1, 50, 10_000] {
            let seen = run(Dialect::Chat, UsageChunk::Keep, stream.as_bytes().chunks(step)).1;
            assert_eq!(seen.tier, Tier::new(expected.as_bytes()), "{step} {stream}");
        }
    }
}

#[test]
fn images_are_counted_as_they_are_completed() {
    let done = "event: image_edit.completed\ndata: {\"type\":\"image_edit.completed\",\"b64_json\":\"AA\"}\n\n";
    let partial = "data: {\"type\":\"image_edit.partial_image\",\"b64_json\":\"AA\"}\n\n";
    let seen = keep(Dialect::Images, format!("{partial}{done}{partial}{done}").as_bytes());
    assert_eq!((seen.usage, seen.details), (None, Some(Details { images: 2, ..Details::default() })));
}

#[test]
fn j19_the_last_usage_that_says_something_wins() {
    let twice = r#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}"#;
    assert_eq!(chat(twice).usage, Some(usage(2, 0)));
    for silent in ["null", "{}", r#"{"prompt_tokens":0,"completion_tokens":0}"#, "[]", "7", "\"x\""] {
        let stream = format!("data: {{\"usage\":{{\"prompt_tokens\":5}}}}\n\ndata: {{\"usage\":{silent}}}\n\n");
        assert_eq!(keep(Dialect::Chat, stream.as_bytes()).usage, Some(usage(5, 0)), "{silent}");
    }
}

#[test]
fn j19_impossible_numbers_are_clamped_and_noted() {
    let table = [
        (r#"{"prompt_tokens":-5,"completion_tokens":3}"#, Some(usage(0, 3)), Anomaly::Negative),
        (
            r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":3}"#,
            Some(usage(20_000_000, 3)),
            Anomaly::TooLarge,
        ),
        (r#"{"prompt_tokens":"7","completion_tokens":3}"#, Some(usage(7, 3)), Anomaly::WrongType),
        (r#"{"prompt_tokens":true,"completion_tokens":3}"#, Some(usage(0, 3)), Anomaly::WrongType),
        (r#"{"prompt_tokens":{"a":1},"completion_tokens":3}"#, Some(usage(0, 3)), Anomaly::WrongType),
        (r#"{"prompt_tokens":7.9,"completion_tokens":3}"#, Some(usage(7, 3)), Anomaly::NotWhole),
        (r#"{"prompt_tokens":-7,"completion_tokens":0}"#, None, Anomaly::Negative),
        (r#""a lot""#, None, Anomaly::WrongType),
    ];
    for (object, expected, anomaly) in table {
        let seen = chat(&format!(r#"{{"choices":[],"usage":{object}}}"#));
        assert_eq!(seen.usage, expected, "{object}");
        assert_eq!(seen.anomalies.iter().collect::<Vec<_>>(), [anomaly], "{object}");
    }
}

#[test]
fn j20_lines_may_be_framed_in_any_way_the_standard_allows() {
    let event = r#"{"choices":[{"delta":{"content":"hi"}}],"usage":{"prompt_tokens":3}}"#;
    let (head, tail) = event.split_at(11);
    for stream in [
        format!("data: {event}\n\n"),
        format!("data:{event}\n\n"),
        format!("\u{feff}data: {event}\r\n\r\n"),
        format!("data: {event}\r\r"),
        format!("\n\n\ndata: {event}\n\n"),
        format!(": usage\nid: 4\nretry: 1\nevent: e\ndata: {event}\n\n"),
        format!("data: {head}\ndata: {tail}\n\n"),
        format!("data:{head}\r\n: between\r\ndata:{tail}\r\n\r\n"),
        format!("datax: 1\ndat: 2\ndata\ndata: {event}\n\n"),
    ] {
        let seen = keep(Dialect::Chat, stream.as_bytes());
        assert_eq!((seen.usage, seen.text, seen.events), (Some(usage(3, 0)), 2, 1), "{stream:?}");
    }
    for unfinished in [format!("data: {event}"), format!("data: {event}\n"), format!("data: {event}\r")] {
        let seen = keep(Dialect::Chat, unfinished.as_bytes());
        assert_eq!((seen.usage, seen.text, seen.events), (Some(usage(3, 0)), 2, 0), "{unfinished:?}");
    }
    for no_data in [format!("xdata: {event}\n\n"), format!(" data: {event}\n\n"), format!(":data: {event}\n\n")] {
        let seen = keep(Dialect::Chat, no_data.as_bytes());
        assert_eq!((seen.usage, seen.text, seen.events), (None, 0, 0), "{no_data:?}");
    }
}

#[test]
fn j20_a_line_of_64_mb_without_end_passes_and_is_not_held() {
    let frame = Bytes::from(vec![b'x'; 1 << 20]);
    for chunk in [UsageChunk::Keep, UsageChunk::TakeOut] {
        let mut scanner = Scanner::new(Dialect::Chat, chunk);
        let mut passed = 0;
        let mut count = |result: Passed| match result {
            Passed::Whole(bytes) => passed += bytes.len(),
            Passed::Parts(parts) => passed += parts.iter().map(Bytes::len).sum::<usize>(),
            Passed::Nothing => {}
        };
        count(scanner.feed(Bytes::from_static(b"data: {\"choices\":[],\"pad\":\"")));
        let begun = 27;
        for fed in 1..=64 {
            count(scanner.feed(frame.clone()));
            if fed == 2 {
                assert_eq!(scanner.gave_up(), chunk == UsageChunk::TakeOut);
            }
        }
        count(scanner.feed(Bytes::from_static(b"\",\"usage\":{\"prompt_tokens\":3}}\n\n")));
        assert_eq!(passed, begun + 64 * frame.len() + 32);
        assert_eq!((scanner.usage(), scanner.boundary()), (Some(usage(3, 0)), Boundary::Between));
    }
}

#[test]
fn text_is_counted_as_it_was_before_json_escaped_it() {
    let text = |content: &str| chat(&format!(r#"{{"choices":[{{"delta":{{"content":{content}}}}}]}}"#)).text;
    assert_eq!(text(r#""plain""#), 5);
    assert_eq!(text(r#""\"\\\/\n\t""#), 5);
    assert_eq!(text(r#""\u0041\u00e9\u4e2d""#), 1 + 2 + 3);
    assert_eq!(text(r#""é中🚀""#), 2 + 3 + 4);
    assert_eq!(text(r#""\ud83d\ude80""#), 4);
    assert_eq!(text(r#""\ud83d""#) + text(r#""\ude80""#), 4);
    assert_eq!(
        text(r#"[{"type":"text","text":"abc"},{"type":"thinking","thinking":[{"type":"text","text":"de"}]}]"#),
        5
    );
    assert_eq!(text("null"), 0);
    let all = r#"{"choices":[{"delta":{"reasoning":"ab","refusal":"c","audio":{"data":"AAAA","transcript":"de"}}},{"delta":
        {"reasoning_content":"fgh","function_call":{"name":"i","arguments":"jk"},"custom":"no"}}],"obfuscation":"nothing"}"#;
    assert_eq!(chat(&all.replace('\n', "")).text, 11);
}

#[test]
fn a_delta_counts_by_its_type_wherever_the_type_stands() {
    let text = |body: &str| keep(Dialect::Responses, format!("data: {body}\n\n").as_bytes()).text;
    assert_eq!(text(r#"{"type":"response.output_text.delta","delta":"abc"}"#), 3);
    assert_eq!(text(r#"{"delta":"abc","type":"response.function_call_arguments.delta"}"#), 3);
    assert_eq!(text(r#"{"delta":"abc","type":"response.something_new.delta"}"#), 3);
    assert_eq!(text(r#"{"delta":"abc","type":"response.audio.delta"}"#), 0);
    assert_eq!(text(r#"{"type":"response.audio.delta","delta":"abc"}"#), 0);
    assert_eq!(text(r#"{"type":"response.shell_call_output_content.delta","delta":{"stdout":"abc"}}"#), 0);
    let only_at_the_end = r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"abcd"}]}]}}"#;
    assert_eq!(text(only_at_the_end), 4);
}

#[test]
fn the_boundary_is_where_the_client_stands() {
    let table = [
        ("", Boundary::Between),
        (": hello\n\n", Boundary::Between),
        (": hello\n", Boundary::Inside),
        ("data: {\"choices\":[{}]}\n", Boundary::Inside),
        ("data: {\"choices\":[{}]}\n\n", Boundary::Between),
        ("data: {\"choices\":[{}]}\r\n\r", Boundary::Between),
        ("data: {\"choices\":[{}]}\n\nd", Boundary::Inside),
    ];
    for (stream, expected) in table {
        let mut scanner = Scanner::new(Dialect::Chat, UsageChunk::Keep);
        scanner.feed(Bytes::from_static(stream.as_bytes()));
        assert_eq!(scanner.boundary(), expected, "{stream:?}");
    }
}

#[test]
fn names_from_upstream_are_bounded() {
    let long = "é".repeat(400);
    let model = chat(&format!(r#"{{"model":"{long}"}}"#)).model.unwrap();
    assert_eq!(model, "é".repeat(64));
    let stream = format!("data: {{\"response\":{{\"id\":\"{long}\",\"model\":\"my\\/model\"}}}}\n\n");
    let seen = keep(Dialect::Responses, stream.as_bytes());
    assert_eq!((seen.id, seen.model.as_deref()), (None, Some("my/model")));
}
