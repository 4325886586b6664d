//! What is read out of a body that is accepted: spans, prompts, text.

use super::*;

fn text(members: &str) -> u64 {
    with(members).unwrap().text_bytes
}

#[test]
fn spans_are_those_of_the_values() {
    let body = "\n{ \"stream\" : true , \"model\"\t: \"a\\u002fb\" ,\"stream_options\" : { \"x\":1, \"include_usage\" : false } ,\"max_tokens\": -1 }";
    let read = chat(body).unwrap();
    assert_eq!(read.model, "a/b");
    assert_eq!(&body[read.model_span.unwrap()], "\"a\\u002fb\"");
    assert_eq!(&body[read.stream_span.unwrap()], "true");
    assert_eq!(&body[..read.object_start], "\n{");
    assert_eq!(&body[read.caps.max_tokens.unwrap().span], "-1");
    let StreamOptions::Object { span, include_usage: Some((Some(false), usage)), empty: false, insert_at } =
        read.stream_options
    else {
        panic!("{:?}", read.stream_options)
    };
    assert_eq!(&body[span.clone()], "{ \"x\":1, \"include_usage\" : false }");
    assert_eq!(&body[usage], "false");
    assert_eq!(insert_at, span.start + 1);
}

#[test]
fn the_larger_number_of_choices_counts_with_its_name() {
    for (members, choices, key) in [
        (r#""x":1"#, 1, "n"),
        (r#""n":3"#, 3, "n"),
        (r#""best_of":3"#, 3, "best_of"),
        (r#""best_of":3,"n":3"#, 3, "n"),
        (r#""n":2,"best_of":3"#, 3, "best_of"),
        (r#""best_of":1,"n":null"#, 1, "n"),
    ] {
        let read = with(members).unwrap();
        assert_eq!((read.choices, read.choices_key), (choices, key), "{members}");
    }
}

#[test]
fn a_service_tier_is_read_decoded_whatever_it_is_called() {
    for (value, tier) in
        [("\"flex\"", Some("flex")), ("\"fl\\u0065x\"", Some("flex")), ("\"\"", Some("")), ("null", None)]
    {
        let read = with(&format!(r#""service_tier":{value}"#)).unwrap();
        assert_eq!(read.service_tier.as_deref(), tier, "{value}");
    }
    assert_eq!(with(r#""x":1"#).unwrap().service_tier, None);
    for wrong in ["5", "[]", "true", &format!("\"{}\"", "x".repeat(65))] {
        let fault = with(&format!(r#""service_tier":{wrong}"#)).unwrap_err();
        assert_eq!((fault.code, fault.param.as_deref()), (FaultCode::InvalidValue, Some("service_tier")), "{wrong}");
    }
}

#[test]
fn stream_options_may_be_absent_null_or_empty() {
    assert_eq!(with(r#""x":1"#).unwrap().stream_options, StreamOptions::Absent);
    assert!(matches!(with(r#""stream_options":null"#).unwrap().stream_options, StreamOptions::Null { .. }));
    let empty = with(r#""stream_options":{ }"#).unwrap().stream_options;
    assert!(matches!(empty, StreamOptions::Object { include_usage: None, empty: true, .. }), "{empty:?}");
    let null = with(r#""stream_options":{"include_usage":null}"#).unwrap().stream_options;
    assert!(matches!(null, StreamOptions::Object { include_usage: Some((None, _)), empty: false, .. }), "{null:?}");
}

#[test]
fn prompts_are_counted_where_an_endpoint_has_several() {
    for (value, prompts, bytes) in [
        (r#""abc""#, 1, 3),
        (r#"["abc","de"]"#, 2, 5),
        ("[1,2,3]", 1, 12),
        ("[[1,2],[3]]", 2, 12),
        ("[]", 1, 0),
        ("[[]]", 1, 0),
        ("null", 1, 0),
        (r#"["a",[1],7,8]"#, 3, 13),
        (r#"[ {"image":"ab"} , {} ]"#, 2, 2),
    ] {
        for (endpoint, key) in [(Endpoint::Completions, "prompt"), (Endpoint::Embeddings, "input")] {
            let body = format!(r#"{{"model":"m","{key}":{value}}}"#);
            let read = peek(endpoint, body.as_bytes(), STRICT).unwrap();
            assert_eq!((read.prompts, read.text_bytes), (prompts, bytes), "{endpoint:?} {value}");
        }
    }
    let body = br#"{"model":"m","input":["a","b"],"prompt":["a","b"]}"#;
    assert_eq!(peek(Endpoint::Responses, body, STRICT).unwrap().prompts, 1);
    assert_eq!(peek(Endpoint::Responses, body, STRICT).unwrap().text_bytes, 4);
}

#[test]
fn text_is_counted_decoded() {
    assert_eq!(text(r#""messages":[{"role":"user","content":"abc"}]"#), 7);
    assert_eq!(text(r#""instructions":"\n\"\\\/""#), 4);
    assert_eq!(text(r#""instructions":"\u0041\u00e9\u20ac\ud83d\ude00é😀""#), 1 + 2 + 3 + 4 + 2 + 4);
    assert_eq!(text(r#""unknown":{"key":["ab",1,true,{"k":"c"}]}"#), 3);
}

#[test]
fn what_never_reaches_the_model_does_not_count() {
    assert_eq!(
        text(r#""user":"abc","metadata":{"a":"b"},"service_tier":"flex","stop":["x"],"store":true,"conversation":"c""#),
        0
    );
}

#[test]
fn schemas_count_with_their_keys() {
    assert_eq!(text(r#""tools":[{"type":"function","function":{"name":"f"}}]"#), 4 + 8 + 8 + 4 + 1);
    assert_eq!(text(r#""tools":[{"a\u0062":1}]"#), 2);
    assert_eq!(text(r#""response_format":{"a":{"b":1}}"#), 2);
}

#[test]
fn images_sounds_and_files_are_counted_apart() {
    let base64 = "QUJD".repeat(200);
    for (part, attachments, bytes) in [
        (r#"{"image_url":{"url":"data:image/png;base64,QQ==","detail":"low"}}"#.to_owned(), 1, 3),
        (r#"{"image_url":{"url":"https://example.com/a.png"}}"#.to_owned(), 1, 0),
        (r#"{"image_url":"data:image\/png;base64,QQ=="}"#.to_owned(), 1, 0),
        (r#"{"input_audio":{"data":"QQ==","format":"wav"}}"#.to_owned(), 1, 3),
        (r#"{"file":{"file_data":"QQ==","filename":"a.pdf"}}"#.to_owned(), 1, 5),
        (r#"{"file_id":"file-1"}"#.to_owned(), 1, 0),
        (r#"{"url":"DATA:text/plain,abc"}"#.to_owned(), 1, 0),
        (r#"{"url":"https://example.com"}"#.to_owned(), 0, 19),
        (format!(r#"{{"type":"image_generation_call","result":"{base64}"}}"#), 1, 21),
        (r#"{"data":"short"}"#.to_owned(), 0, 5),
        (format!(r#"{{"data":"not base 64 {base64}"}}"#), 0, 812),
        (r#"{"text":"data:image/png;base64,QQ=="}"#.to_owned(), 0, 26),
        (r#"{"content":"data:image/png;base64,QQ=="}"#.to_owned(), 0, 26),
        (r#"{"image_url":[{"url":"abc"}]}"#.to_owned(), 0, 3),
        (r#"{"image_url":{"a":{"url":"abc"},"b":[{"data":"de"}]}}"#.to_owned(), 0, 5),
    ] {
        let read = with(&format!(r#""messages":[{{"content":[{part}]}}]"#)).unwrap();
        assert_eq!((read.attachments, read.text_bytes), (attachments, bytes), "{part}");
        let elsewhere = with(&format!(r#""tools":[{part}]"#)).unwrap();
        assert_eq!(elsewhere.attachments, 0, "{part}");
    }
}

#[test]
fn what_is_asked_of_kept_state_is_recorded() {
    let all =
        with(r#""store":true,"previous_response_id":"r","conversation":{"id":"c"},"background":true"#).unwrap().state;
    assert!(all.store == Some(true) && all.previous_response_id && all.conversation && all.background, "{all:?}");
    let none =
        with(r#""store":null,"previous_response_id":null,"conversation":null,"background":false"#).unwrap().state;
    assert_eq!(none, State { store_span: none.store_span.clone(), ..State::default() });
    assert!(none.store_span.is_some());
    assert_eq!(with(r#""store":false"#).unwrap().state.store, Some(false));
}
