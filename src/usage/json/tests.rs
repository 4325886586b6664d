//! What must hold of `json`.

use proptest::prelude::*;

use super::*;
use crate::usage::counts::MOST_TOKENS;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/", $name, ".json")).as_slice()
    };
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

/// Usage, bytes of text, model, complete.
type Seen = (Option<Usage>, u64, Option<String>, bool);

fn scan<'a>(dialect: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut scanner = BodyScanner::new(dialect);
    pieces.into_iter().for_each(|piece| scanner.feed(piece));
    (scanner.usage(), scanner.text_bytes(), scanner.served_model().map(String::from), scanner.is_complete())
}

fn whole(dialect: Dialect, body: &str) -> Seen {
    scan(dialect, [body.as_bytes()])
}

const BODIES: &[(Dialect, &[u8], Usage, u64, &str)] = &[
    (
        Dialect::Chat,
        fixture!("chat_response"),
        Usage { input: 19, cached: 0, output: 7, reasoning: 0 },
        22,
        "gpt-x-2026-01-01",
    ),
    (
        Dialect::Responses,
        fixture!("responses_response"),
        Usage { input: 19, cached: 0, output: 70, reasoning: 64 },
        11,
        "gpt-x-2026-01-01",
    ),
    (
        Dialect::Embeddings,
        fixture!("embeddings_response_float"),
        Usage { input: 5, cached: 0, output: 0, reasoning: 0 },
        0,
        "text-embedding-x",
    ),
    (
        Dialect::Embeddings,
        fixture!("embeddings_response_base64"),
        Usage { input: 5, cached: 0, output: 0, reasoning: 0 },
        0,
        "text-embedding-x",
    ),
    (
        Dialect::Responses,
        fixture!("decisions_response"),
        Usage { input: 41, cached: 0, output: 1, reasoning: 0 },
        0,
        "gpt-6-luna",
    ),
    (Dialect::Images, fixture!("images_response"), Usage { input: 26, cached: 0, output: 4160, reasoning: 0 }, 0, ""),
    (
        Dialect::Transcription,
        fixture!("transcription_response_tokens"),
        Usage { input: 14, cached: 0, output: 5, reasoning: 0 },
        12,
        "",
    ),
];

#[test]
fn every_fixture_is_read_wherever_it_is_cut() {
    for (dialect, body, usage, text, model) in BODIES {
        let expected = (Some(*usage), *text, Some(String::from(*model)).filter(|model| !model.is_empty()), true);
        for place in 0..=body.len() {
            let (head, tail) = body.split_at(place);
            assert_eq!(scan(*dialect, [head, tail]), expected, "{dialect:?} {place}");
        }
        assert_eq!(scan(*dialect, body.chunks(1)), expected, "{dialect:?}");
    }
}

#[test]
fn a_body_may_begin_with_white_space() {
    let body = [b"\n\n  \r\n".as_slice(), fixture!("chat_response")].concat();
    assert_eq!(scan(Dialect::Chat, [body.as_slice()]).0, Some(usage(19, 7)));
}

#[test]
fn a_body_without_usage_tells_its_text() {
    let chat = r#"{"choices":[{"message":{"content":"ab","reasoning_content":"cd","refusal":"e","tool_calls":[
        {"id":"no","function":{"name":"fg","arguments":"{\"h\":1}"}},{"custom":{"name":"i","input":"j"}}]}},
        {"message":{"content":[{"type":"text","text":"kl"},{"type":"image","url":"no"}]}}],"x":{"content":"no"}}"#;
    assert_eq!(whole(Dialect::Chat, chat).1, 5 + 2 + 7 + 2 + 2);
    assert_eq!(whole(Dialect::Completions, r#"{"choices":[{"text":"abc"},{"text":"\u00e9"}]}"#).1, 5);
    let responses = r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"ab"}],
        "content":[{"type":"reasoning_text","text":"c"}],"encrypted_content":"no"},
        {"type":"function_call","name":"d","arguments":"{}","call_id":"no"},
        {"type":"message","content":[{"type":"output_text","text":"ef","annotations":[{"text":"no"}]},
        {"type":"refusal","refusal":"g"}]}],"instructions":"no","text":{"format":"no"}}"#;
    assert_eq!(whole(Dialect::Responses, responses).1, 9);
}

#[test]
fn only_the_usage_at_the_top_counts() {
    let fake = r#"{"a":{"usage":{"prompt_tokens":1}},"b":[{"usage":{"prompt_tokens":2}}],"c":"\"usage\":{\"prompt_tokens\":3}",
        "choices":[{"message":{"content":"\\\",\"usage\":{}","usage":{"prompt_tokens":5}}}]"#;
    for dialect in [Dialect::Chat, Dialect::Completions, Dialect::Responses, Dialect::Embeddings] {
        assert_eq!(whole(dialect, &format!("{fake}}}")).0, None);
        assert_eq!(whole(dialect, &format!(r#"{fake},"usage":{{"input_tokens":6}}}}"#)).0, Some(usage(6, 0)));
    }
}

#[test]
fn usage_in_a_choice_counts_where_there_is_none_at_the_top() {
    let choice = r#"{"choices":[{"usage":{"prompt_tokens":4,"completion_tokens":2},"message":{"content":"abc"}}]"#;
    let told = |rest: &str| whole(Dialect::Chat, &format!("{choice}{rest}}}")).0;
    assert_eq!(told(""), Some(usage(4, 2)));
    assert_eq!(told(r#","usage":null"#), Some(usage(4, 2)));
    assert_eq!(told(r#","usage":{"prompt_tokens":9}"#), Some(usage(9, 0)));
    assert_eq!(whole(Dialect::Responses, &format!("{choice}}}")).0, None);
}

fn details(dialect: Dialect, body: &str) -> Option<Details> {
    let mut scanner = BodyScanner::new(dialect);
    body.as_bytes().chunks(7).for_each(|piece| scanner.feed(piece));
    let mut whole = BodyScanner::new(dialect);
    whole.feed_whole(body.as_bytes());
    assert_eq!((whole.usage(), whole.details(), whole.tier()), (scanner.usage(), scanner.details(), scanner.tier()));
    scanner.details()
}

#[test]
fn what_prices_ask_for_is_read_beside_the_totals() {
    let chat = r#"{"choices":[],"usage":{"prompt_tokens":90,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":10,
        "cache_write_tokens":20,"audio_tokens":30,"image_tokens":5,"text_tokens":55},"completion_tokens_details":
        {"audio_tokens":40,"image_tokens":1,"reasoning_tokens":3}},"service_tier":"flex"}"#;
    let expected = Details {
        cache_write: 20,
        audio_input: 30,
        image_input: 5,
        audio_output: 40,
        image_output: 1,
        ..Details::default()
    };
    assert_eq!(details(Dialect::Chat, chat), Some(expected));
    let mut scanner = BodyScanner::new(Dialect::Chat);
    scanner.feed(chat.as_bytes());
    assert_eq!(scanner.tier().map(|tier| tier.as_str().to_owned()).as_deref(), Some("flex"));
    assert_eq!(details(Dialect::Chat, r#"{"usage":{"prompt_tokens":90,"completion_tokens":50}}"#), None);

    let text = |name| std::str::from_utf8(name).unwrap();
    let image = details(Dialect::Images, text(fixture!("images_response")));
    assert_eq!(image, Some(Details { images: 1, image_output: 4160, ..Details::default() }));
    let sound = details(Dialect::Transcription, text(fixture!("transcription_response_tokens")));
    assert_eq!(sound, Some(Details { audio_input: 14, ..Details::default() }));
}

#[test]
fn usage_in_seconds_is_no_usage_in_tokens() {
    let millis = |body: &str| {
        assert_eq!(whole(Dialect::Transcription, body).0, None, "{body}");
        details(Dialect::Transcription, body).map(|details| details.audio_millis)
    };
    assert_eq!(millis(std::str::from_utf8(fixture!("transcription_response_duration")).unwrap()), Some(2_000));
    assert_eq!(millis(r#"{"text":"a","usage":{"type":"duration","seconds":3}}"#), Some(3_000));
    assert_eq!(millis(r#"{"text":"a","usage":{"type":"duration","seconds":0.0005}}"#), Some(1));
    assert_eq!(millis(r#"{"text":"a","usage":{"type":"duration","seconds":1e99}}"#), Some(3_600_000_000));
    assert_eq!(millis(r#"{"text":"a","usage":{"type":"duration","seconds":-1}}"#), None);
    assert_eq!(
        millis(r#"{"task":"transcribe","duration":8.47,"text":"a","segments":[{"text":"a","duration":99}]}"#),
        Some(8_470)
    );
    assert_eq!(millis(r#"{"duration":"8.47","text":"a"}"#), Some(8_470));
    assert_eq!(millis(r#"{"text":"a"}"#), None);
}

#[test]
fn the_usage_of_a_second_model_is_added_to_that_of_the_first() {
    let svg = r#""svg_usage":{"model":"m","input":3,"output":40,"reasoning":30,"total":43}"#;
    let told = |body: String| whole(Dialect::Images, &body).0;
    let sum = Usage { input: 29, cached: 0, output: 4_200, reasoning: 30 };
    assert_eq!(told(format!(r#"{{"usage":{{"input_tokens":26,"output_tokens":4160}},{svg}}}"#)), Some(sum));
    assert_eq!(told(format!(r#"{{{svg},"usage":{{"input_tokens":26,"output_tokens":4160}}}}"#)), Some(sum));
    let spelt_out =
        r#""svg_usage":{"model":"m","input_tokens":3,"output_tokens":40,"reasoning_tokens":30,"total_tokens":43}"#;
    assert_eq!(told(format!(r#"{{"usage":{{"input_tokens":26,"output_tokens":4160}},{spelt_out}}}"#)), Some(sum));
    assert_eq!(told(format!("{{{svg}}}")), Some(Usage { input: 3, cached: 0, output: 40, reasoning: 30 }));
    assert_eq!(told(r#"{"usage":{"input_tokens":6},"svg_usage":null}"#.to_owned()), Some(usage(6, 0)));
}

#[test]
fn a_count_of_tokens_is_no_usage_and_other_servers_words_for_it_are() {
    let count = std::str::from_utf8(fixture!("responses_input_tokens_response")).unwrap();
    assert_eq!(whole(Dialect::Count, count).0, None);
    let rerank = r#"{"results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":12}}}"#;
    assert_eq!(whole(Dialect::Embeddings, rerank).0, Some(usage(12, 0)));
    assert_eq!(whole(Dialect::Embeddings, r#"{"usage":{"total_tokens":15},"results":[]}"#).0, Some(usage(15, 0)));
    assert_eq!(whole(Dialect::Embeddings, r#"{"id":"modr","results":[{"flagged":false}]}"#).0, None);
}

#[test]
fn usage_counts_though_the_body_was_cut_behind_it() {
    let cut = r#"{"usage":{"prompt_tokens":6},"choices":[{"message":{"content":"abc"#;
    assert_eq!(whole(Dialect::Chat, cut), (Some(usage(6, 0)), 3, None, false));
    assert_eq!(whole(Dialect::Chat, r#"{"usage":{"prompt_tokens":6"#).0, None);
}

#[test]
fn what_lies_before_usage_may_be_large_and_is_not_held() {
    let mut scanner = BodyScanner::new(Dialect::Embeddings);
    scanner.feed(br#"{"data":[{"embedding":""#);
    let base64 = vec![b'A'; 1 << 20];
    (0..8).for_each(|_| scanner.feed(&base64));
    scanner.feed(br#""},{"embedding":["#);
    let numbers = b"0.5,-0.25,1e-9,".repeat(70_000);
    (0..8).for_each(|_| scanner.feed(&numbers));
    scanner.feed(br#"0]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#);
    assert_eq!((scanner.usage(), scanner.is_complete()), (Some(usage(8, 0)), true));
    assert!(size_of::<BodyScanner>() < 1024, "{}", size_of::<BodyScanner>());
}

#[test]
fn an_error_in_an_answer_is_told() {
    let told = |body: &str| {
        let mut scanner = BodyScanner::new(Dialect::Chat);
        scanner.feed(body.as_bytes());
        scanner.told_failure()
    };
    assert!(told(r#"{"error":{"code":502}}"#));
    assert!(!told(r#"{"error":null,"choices":[]}"#));
}

#[test]
fn a_usage_object_of_any_dialect_is_read() {
    let all = |input, cached, output, reasoning| Some(Usage { input, cached, output, reasoning });
    let table = [
        (
            r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3},
            "completion_tokens_details":{"reasoning_tokens":2}}"#,
            all(9, 3, 4, 2),
        ),
        (
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":3},"output_tokens":4,
            "output_tokens_details":{"reasoning_tokens":2},"total_tokens":13}"#,
            all(9, 3, 4, 2),
        ),
        (r#"{"input_tokens":9,"input_token_details":{"cached_tokens":3}}"#, all(9, 3, 0, 0)),
        (r#"{"prompt_tokens":9,"completion_tokens":4,"reasoning_tokens":2}"#, all(9, 0, 4, 2)),
        (r#"{"prompt_tokens":9,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":1}"#, all(9, 8, 0, 0)),
        (r#"{"prompt_tokens":9,"completion_tokens":4,"input_tokens":0,"output_tokens":0}"#, all(9, 0, 4, 0)),
        (r#"{"prompt_tokens":5,"total_tokens":5}"#, all(5, 0, 0, 0)),
        (r#"{"total_tokens":5}"#, all(5, 0, 0, 0)),
        (
            r#"{"prompt_tokens":null,"completion_tokens":4,"prompt_tokens_details":null,"cost":0.25,"x":{"y":[1]}}"#,
            all(0, 0, 4, 0),
        ),
        (r#" { "prompt_tokens" : 1 , "prompt_tokens" : 2 } "#, all(2, 0, 0, 0)),
        ("null", None),
        ("{}", None),
        ("", None),
        ("[]", None),
        (r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, None),
        (r#"{"prompt_tokens":9"#, None),
        (r#"{"prompt_tokens":9]"#, None),
    ];
    for (object, expected) in table {
        let reading = read(object.as_bytes());
        assert_eq!(reading.map(|reading| reading.usage), expected, "{object}");
        assert_eq!(reading.and_then(|reading| reading.anomaly), None, "{object}");
    }
}

#[test]
fn impossible_numbers_are_made_possible_and_flagged() {
    let table = [
        (r#"{"prompt_tokens":-9,"completion_tokens":4}"#, usage(0, 4), Anomaly::Negative),
        (r#"{"prompt_tokens":20000001}"#, usage(MOST_TOKENS, 0), Anomaly::TooLarge),
        (r#"{"prompt_tokens":1e300}"#, usage(MOST_TOKENS, 0), Anomaly::TooLarge),
        (r#"{"prompt_tokens":2.5}"#, usage(2, 0), Anomaly::NotWhole),
        (r#"{"prompt_tokens":"12"}"#, usage(12, 0), Anomaly::WrongType),
        (r#"{"prompt_tokens":[1],"completion_tokens":4}"#, usage(0, 4), Anomaly::WrongType),
        (r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":14}"#, usage(9, 4), Anomaly::TotalDiffers),
        (
            r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":10}}"#,
            Usage { cached: 9, ..usage(9, 0) },
            Anomaly::DetailAboveTotal,
        ),
        (
            r#"{"completion_tokens":9,"reasoning_tokens":10}"#,
            Usage { reasoning: 9, ..usage(0, 9) },
            Anomaly::DetailAboveTotal,
        ),
    ];
    for (object, usage, anomaly) in table {
        assert_eq!(
            read(object.as_bytes()),
            Some(Reading { usage, details: Details::default(), anomaly: Some(anomaly) }),
            "{object}"
        );
    }
}

/// JSON with names and numbers that mean something, at random places.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop::sample::select(vec![
        "usage",
        "choices",
        "message",
        "content",
        "prompt_tokens",
        "total_tokens",
        "model",
        "output",
        "é\"",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(serde_json::Value::from),
        (0..1000u32).prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::hash_map(key.clone().prop_map(String::from), inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The text of a chat answer's contents, found by a real parser.
fn content_bytes(answer: &serde_json::Value) -> u64 {
    let choices = answer["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
    choices.iter().filter_map(|choice| choice["message"]["content"].as_str()).map(|text| text.len() as u64).sum()
}

proptest! {
    #[test]
    fn any_json_is_understood_as_a_real_parser_does(answer in json(), places: Vec<usize>) {
        let body = answer.to_string();
        let seen = scan(Dialect::Chat, crate::stream::scan::tests::cut(body.as_bytes(), &places));
        // A number's end is known only by what follows it.
        prop_assert_eq!(seen.3, answer.is_object() || answer.is_array() || answer.is_string());
        prop_assert_eq!(seen.1, if answer.is_object() { content_bytes(&answer) } else { 0 });
        let alone = serde_json::to_vec(&answer["usage"]).unwrap();
        prop_assert_eq!(seen.0, read(&alone).map(|reading| reading.usage));
        prop_assert_eq!(seen.2.as_deref(), answer["model"].as_str().filter(|model| !model.is_empty()));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_say_the_same_in_any_pieces(bytes: Vec<u8>, places: Vec<usize>) {
        let pieces = crate::stream::scan::tests::cut(&bytes, &places);
        prop_assert_eq!(scan(Dialect::Chat, pieces), scan(Dialect::Chat, [bytes.as_slice()]));
        prop_assert_eq!(read(&bytes).map(|reading| reading.usage), None);
    }

    #[test]
    fn details_stay_parts_of_their_totals(numbers: [i64; 5]) {
        let [input, output, total, cached, reasoning] = numbers;
        let object = format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"cached_tokens":{cached},"reasoning_tokens":{reasoning}}}"#
        );
        if let Some(Reading { usage, .. }) = read(object.as_bytes()) {
            prop_assert!(usage.cached <= usage.input && usage.reasoning <= usage.output && usage.total() <= 2 * MOST_TOKENS);
        }
    }
}
