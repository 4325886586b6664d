//! A stream in one frame is read by the short cut, one in frames of one byte never is: both must say the same.

use super::*;

fn by_walk(dialect: Dialect, stream: &[u8]) -> Seen {
    run(dialect, UsageChunk::Keep, stream.chunks(1)).1
}

const BASES: &[(Dialect, &str)] = &[
    (
        Dialect::Chat,
        "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@\"},\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"@\"}\n\n",
    ),
    (Dialect::Chat, "data: {\"choices\":[{\"delta\":{\"content\":\"@\",\"reasoning\":\"@\"}}]}\r\n\r\n"),
    (Dialect::Chat, "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"@\"}}]}}]}\n\n"),
    (Dialect::Chat, "data: {\"choices\":[{\"index\":#,\"delta\":{\"content\":\"@\"},\"finish_reason\":\"@\"}]}\n\n"),
    (Dialect::Chat, "data: {\"choices\":[{\"finish_reason\":#,\"delta\":{\"content\":\"@\"},\"index\":#}]}\n\n"),
    (Dialect::Completions, "data:{\"choices\":[{\"text\":\"@\"}],\"x\":[1,\"@\"]}\n\n"),
    (
        Dialect::Responses,
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":#,\"item_id\":\"i\",\"delta\":\"@\",\"logprobs\":[],\"obfuscation\":\"@\"}\n\n",
    ),
    (Dialect::Responses, "data: {\"delta\":\"@\",\"sequence_number\":#,\"type\":\"response.audio.delta\"}\n\n"),
    (
        Dialect::Responses,
        "data: {\"response\":{\"id\":\"r\",\"created_at\":#,\"output\":[{\"name\":\"@\"}]},\"delta\":\"@\"}\n\n",
    ),
];

/// What may stand in a string; some of it ends the string, the line or the event.
const TEXTS: &[&str] = &[
    "",
    "a",
    "Hello wörld",
    "\\n",
    "\\\"",
    "\\\\",
    "\\u00e9",
    "\\ud83d",
    "\\ude80",
    "\\u00zz",
    "\\x",
    "\\",
    "\"",
    "\n",
    "\r",
    "\n\n",
    "\",\"usage\":{\"prompt_tokens\":7},\"x\":\"",
    "\\\",\\\"usage\\\":{}",
    "\u{1}",
    "中文",
];

const NUMBERS: &[&str] =
    &["0", "7", "12345", "999999999999999999", "9999999999999999999", "-1", "1.5", "null", "", "1e3", "007", "\"4\""];

fn stream() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    let fill = prop::collection::vec((0..TEXTS.len(), 0..TEXTS.len(), 0..NUMBERS.len(), 0..8u8), 1..12);
    let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (0..BASES.len(), fill, damage).prop_map(|(base, fill, damage)| {
        let (dialect, base) = BASES[base];
        let mut stream = String::new();
        for (first, second, number, oddness) in fill {
            // Most events are ordinary ones, so that the short cut has something to do.
            let (first, second) = if oddness > 1 { (first % 3, second % 3) } else { (first, second) };
            let number = if oddness > 1 { number % 4 } else { number };
            let event = base.replacen('@', TEXTS[first], 1).replacen('@', TEXTS[second], 1);
            stream.push_str(&event.replace('#', NUMBERS[number]));
        }
        let mut stream = stream.into_bytes();
        if let Some((place, byte)) = damage {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        (dialect, stream)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn the_short_cut_says_what_the_walk_says((dialect, stream) in stream()) {
        prop_assert_eq!(keep(dialect, &stream), by_walk(dialect, &stream));
        let kept = run(dialect, UsageChunk::TakeOut, [stream.as_slice()]);
        prop_assert_eq!(kept, run(dialect, UsageChunk::TakeOut, stream.chunks(1)));
    }
}

#[test]
fn the_short_cut_reads_what_it_was_made_for() {
    // One has a string that varies at no place we know, one a text that may not be counted twice, two say what must be
    // read each time: which choice is meant, and whether it ended.
    let is_for_it = |base: &str| !["\"x\"", "\"output\"", "\"index\":#"].iter().any(|odd| base.contains(odd));
    for (dialect, base) in BASES.iter().filter(|(_, base)| is_for_it(base)) {
        let event = |text: &str, number: &str| base.replace('@', text).replace('#', number);
        let mut events = Events::new(*dialect);
        let stream = event("a", "1");
        events.begin_frame(stream.as_bytes());
        let _after_bom = events.next(stream.as_bytes(), 0);
        let next = event("\\u00e9b", "12");
        assert_eq!(events.read_by_template(next.as_bytes()), Some(next.len()), "{base}");
        let other = event("a", "1").replace("delta", "delto").replace("text", "texd");
        assert_eq!(events.read_by_template(other.as_bytes()), None, "{base}");
    }
}

#[test]
fn an_event_that_says_more_than_its_varying_places_is_no_template() {
    let content = r#"data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#;
    let chunk = r#"data: {"choices":[],"usage":{"prompt_tokens":2}}"#;
    let seen = keep(Dialect::Chat, format!("{content}\n\n{chunk}\n\n{content}\n\n").as_bytes());
    assert_eq!((seen.usage, seen.text), (Some(usage(1, 0)), 2));
    let created =
        |at: u32, kind: &str| format!("data: {{\"type\":\"{kind}\",\"response\":{{\"created_at\":{at}}}}}\n\n");
    let stream =
        [created(1, "response.created"), created(2, "response.completed"), created(1, "response.created")].concat();
    let seen = keep(Dialect::Responses, stream.as_bytes());
    assert_eq!(seen, by_walk(Dialect::Responses, stream.as_bytes()));
    assert_eq!((seen.created, seen.events), (Some(1), 3));
}
