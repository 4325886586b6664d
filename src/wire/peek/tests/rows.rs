//! The rows of 5-reliability.md 4a that a body alone can show.

use super::*;
use FaultCode::{
    AmbiguousKey, DuplicateKey, InvalidEncoding, InvalidJson, InvalidValue, MissingRequiredParameter, TooDeep,
};

#[test]
fn j1_a_policy_key_twice_is_refused_also_with_the_same_value() {
    for key in POLICY_KEYS.into_iter().filter(|key| *key != "model") {
        let twice = format!(r#""{key}":null,"{key}":null"#);
        assert_eq!(refusal(with(&twice)), about(DuplicateKey, key));
    }
    assert_eq!(refusal(with(r#""model":"m""#)), about(DuplicateKey, "model"));
    assert_eq!(refusal(with(r#""model":"other""#)), about(DuplicateKey, "model"));
}

#[test]
fn j2_escapes_do_not_hide_a_key_that_came_before() {
    assert_eq!(refusal(with(r#""mod\u0065l":"m""#)), about(DuplicateKey, "model"));
    assert_eq!(refusal(with(r#""\u006D\u006f\u0064\u0065\u006c":"m""#)), about(DuplicateKey, "model"));
    assert_eq!(refusal(with(r#""😀":1,"\ud83d\uDE00":1"#)), about(DuplicateKey, r"\u{1f600}"));
    assert_eq!(refusal(with(r#""a\/b":1,"a/b":1"#)), about(DuplicateKey, "a/b"));
    assert_eq!(refusal(with(r#""\n":1,"\u000a":1"#)).0, DuplicateKey);
}

#[test]
fn j2_a_key_spelled_with_escapes_means_what_it_decodes_to() {
    let read = chat(r#"{"mod\u0065l":"m\u0031","\u0073tream":true,"max\u005ftokens":7}"#).unwrap();
    assert_eq!((read.model.as_str(), read.stream, read.output_cap), ("m1", true, Some(7)));
}

#[test]
fn j3_any_key_twice_at_the_top_or_in_stream_options_is_refused_and_deeper_is_allowed() {
    assert_eq!(refusal(with(r#""x":1,"y":2,"x":1"#)), about(DuplicateKey, "x"));
    assert_eq!(refusal(with(r#""":1,"":1"#)), about(DuplicateKey, ""));
    let nested = r#""stream_options":{"include_usage":true,"include_usag\u0065":false}"#;
    assert_eq!(refusal(with(nested)), about(DuplicateKey, "stream_options.include_usage"));
    assert_eq!(refusal(with(r#""stream_options":{"x":1,"x":1}"#)), about(DuplicateKey, "stream_options.x"));
    with(r#""metadata":{"a":1,"a":2},"messages":[{"role":1,"role":2}]"#).unwrap();
}

#[test]
fn j4_look_alikes_of_policy_keys_are_refused_unless_keys_are_lenient() {
    for key in [
        "Model",
        "MODEL",
        "mODEL",
        "ſtream",
        "MAX_TOKENS",
        "max_to\u{212a}ens",
        " model",
        "model ",
        "model\\u0000",
        "\u{200b}model",
        "model\u{feff}",
        "\\u004dodel",
        "\u{a0}Tools\u{3000}",
        "Stream_Options",
        "N",
        "\\tuser",
        "Conversation",
    ] {
        let body = format!(r#"{{"model":"m","{key}":null}}"#);
        assert_eq!(refusal(chat(&body)).0, AmbiguousKey, "{key}");
        peek(Endpoint::ChatCompletions, body.as_bytes(), LENIENT).unwrap();
    }
    assert_eq!(refusal(with(r#""Model":"x""#)), about(AmbiguousKey, "Model"));
    let usage = with(r#""stream_options":{"Include_Usage":true}"#);
    assert_eq!(refusal(usage), about(AmbiguousKey, "stream_options.Include_Usage"));
}

#[test]
fn j4_keys_that_only_resemble_a_policy_key_pass() {
    for key in
        ["models", "mod el", "m", "Max Tokens", "max-tokens", "Моdel", "modél", "model\u{200b}s", "İnput", "x-model"]
    {
        with(&format!(r#""{key}":1"#)).unwrap();
    }
}

#[test]
fn j5_names_that_no_model_can_have_are_refused() {
    for name in [
        "",
        " m",
        "m ",
        "m\\u0000",
        "\\u0000",
        "m\\n",
        "a\\u001bb",
        "\u{7f}m",
        "\u{a0}m",
        "cafe\u{301}",
        "\u{212b}",
        "m\\ud83d",
        "\\ude00m",
        "\\ud83d\\u0041",
    ] {
        let body = format!(r#"{{"model":"{name}"}}"#);
        assert_eq!(refusal(chat(&body)), about(InvalidValue, "model"), "{name:?}");
    }
    let longest = "x".repeat(256);
    assert_eq!(chat(format!(r#"{{"model":"{longest}"}}"#)).unwrap().model, longest);
    assert_eq!(refusal(chat(format!(r#"{{"model":"{longest}x"}}"#))), about(InvalidValue, "model"));
    let escaped = "\\u00e9".repeat(128);
    assert_eq!(chat(format!(r#"{{"model":"{escaped}"}}"#)).unwrap().model, "é".repeat(128));
}

#[test]
fn j5_a_model_is_needed_and_is_a_string() {
    assert_eq!(refusal(chat("{}")), about(MissingRequiredParameter, "model"));
    assert_eq!(refusal(chat(r#"{"messages":[]}"#)), about(MissingRequiredParameter, "model"));
    assert_eq!(refusal(chat(r#"{"model":null}"#)), about(MissingRequiredParameter, "model"));
    for value in ["1", "true", r#"["m"]"#, r#"{"model":"m"}"#] {
        assert_eq!(refusal(chat(format!(r#"{{"model":{value}}}"#))), about(InvalidValue, "model"), "{value}");
    }
}

#[test]
fn j6_other_encodings_and_byte_order_marks_are_refused() {
    let text = r#"{"model":"m"}"#;
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
    let widest = |order: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| order(c as u32)).collect::<Vec<_>>();
    let after = |mark: &[u8], rest: Vec<u8>| [mark, &rest].concat();
    for body in [
        after(b"\xef\xbb\xbf", text.into()),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
        after(b"\xff\xfe", wide(u16::to_le_bytes)),
        after(b"\xfe\xff", wide(u16::to_be_bytes)),
        widest(u32::to_le_bytes),
        widest(u32::to_be_bytes),
        after(b"\xff\xfe\0\0", widest(u32::to_le_bytes)),
        after(b"\0\0\xfe\xff", widest(u32::to_be_bytes)),
        b"\xef\xbb\xbf".to_vec(),
    ] {
        assert_eq!(refusal(chat(&body)).0, InvalidEncoding, "{body:?}");
    }
}

#[test]
fn j7_bytes_that_are_no_utf8_are_refused_wherever_they_stand() {
    for bad in [
        &b"\x80"[..],
        b"\xff",
        b"\xc0\xaf",
        b"\xc1\x81",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ] {
        for (before, after) in [
            (r#"{"model":"m"#, r#""}"#),
            (r#"{"model":"m","x":""#, r#""}"#),
            (r#"{"model":"m","x":"a long text of plain characters before, and then at last "#, r#" more"}"#),
            (r#"{"model":"m","x":[{"a":"é"#, r#""}]}"#),
            (r#"{"model":"m","x":{"a"#, r#"":1}}"#),
            (r#"{"model":"m","k"#, r#"":1}"#),
            (r#"{"model":"m","stream_options":{"k"#, r#"":1}}"#),
            (r#"{"model":"m","x":"#, "}"),
            (r#"{"model":"m"} "#, ""),
        ] {
            let body = [before.as_bytes(), bad, after.as_bytes()].concat();
            let fault = chat(&body).unwrap_err();
            assert_eq!(fault.code, InvalidEncoding, "{bad:x?} after {before}");
            assert!(fault.message.contains(&format!("byte {}", before.len())), "{}", fault.message);
        }
    }
}

#[test]
fn j7_half_surrogate_pairs_pass_as_text_and_are_refused_in_keys() {
    let read =
        with(r#""messages":[{"content":"cut \ud83d"},{"content":"\ude00 \ude00\ud83d \ud83d\ud83d\ude00"}]"#).unwrap();
    assert_eq!(read.text_bytes, 7 + 3 + 1 + 6 + 1 + 3 + 4);
    for key in [r"\ud83d", r"\ude00", r"\ude00\ud83d", r"a\ud83db"] {
        assert_eq!(refusal(with(&format!(r#""{key}":1"#))).0, InvalidJson, "{key}");
        assert_eq!(refusal(with(&format!(r#""x":[{{"{key}":1}}]"#))).0, InvalidJson, "{key}");
    }
}

#[test]
fn j8_what_only_some_readers_take_for_json_is_refused() {
    for value in [
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "-01",
        ".5",
        "5.",
        "0x10",
        "1e",
        "1e+",
        "-",
        "'a'",
        "/*c*/1",
        "1//c",
        "[1,]",
        "[,1]",
        r#"{"a":1,}"#,
        "{a:1}",
        "{'a':1}",
        "True",
        "nul",
        "nulll",
        "undefined",
        "1_000",
        "\"a\nb\"",
        "\"\x1f\"",
        "\"\0\"",
        r#""\x41""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\'""#,
        r#""\"#,
        "\"a",
        "",
        "1 2",
        "[1 2]",
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{1:1}"#,
        "\u{a0}1",
        "1\u{c}",
        "[1}",
        "{]",
    ] {
        assert_eq!(refusal(with(&format!(r#""x":{value}"#))).0, InvalidJson, "{value}");
        assert_eq!(refusal(with(&format!(r#""x":[{{"y":{value}}}]"#))).0, InvalidJson, "{value}");
    }
    for body in [r#"{"model":"m",}"#, r#"{,"model":"m"}"#, r#"{"model":"m""#, r#"{"model""#, "{", r#"{"model":"m";}"#] {
        assert_eq!(refusal(chat(body)).0, InvalidJson, "{body}");
    }
}

#[test]
fn j9_nothing_may_follow_the_document_but_white_space() {
    chat("  {\"model\":\"m\"} \r\n\t ").unwrap();
    for after in ["{}", "\0", "\n{\"model\":\"m\"}", "}", ",", "x", "\u{a0}", "#"] {
        assert_eq!(refusal(chat(format!(r#"{{"model":"m"}}{after}"#))).0, InvalidJson, "{after:?}");
    }
}

#[test]
fn j10_the_root_is_an_object() {
    for body in [r#"["m",true]"#, r#""model""#, "1", "null", "true", "", " ", "[]", "x", "[1,", "\"a"] {
        assert_eq!(refusal(chat(body)).0, InvalidJson, "{body:?}");
    }
    assert!(chat("").unwrap_err().message.contains("empty"));
    assert!(chat("[]").unwrap_err().message.contains("not an object"));
}

#[test]
fn j11_policy_numbers_are_whole_and_below_2_to_the_53() {
    let digits = "9".repeat(1_000_000);
    for key in ["n", "best_of", "max_tokens", "max_completion_tokens", "max_output_tokens"] {
        for value in [
            "\"5\"",
            "1.0",
            "1e3",
            "0.0",
            "true",
            "false",
            "-0",
            "-2",
            "-10",
            "9007199254740993",
            "18446744073709551616",
            "1e400",
            "[]",
            "{}",
            "[1]",
            &digits,
        ] {
            let body = format!(r#""{key}":{value}"#);
            assert_eq!(refusal(with(&body)), about(InvalidValue, key), "{key} {value:.20}");
        }
        for none in ["0", "-1", "null"] {
            let read = with(&format!(r#""{key}":{none}"#)).unwrap();
            assert_eq!((read.output_cap, read.choices), (None, 1), "{key} {none}");
        }
    }
    assert_eq!(with(r#""max_tokens":9007199254740992"#).unwrap().output_cap, Some(1 << 53));
    assert_eq!(refusal(with(r#""n":01"#)).0, InvalidJson);
}

#[test]
fn j11_of_several_caps_the_largest_counts_and_of_n_and_best_of_too() {
    let read = with(r#""max_tokens":5,"max_completion_tokens":9,"max_output_tokens":0,"n":2,"best_of":3"#).unwrap();
    assert_eq!((read.output_cap, read.choices), (Some(9), 3));
    assert_eq!(read.caps.max_output_tokens.unwrap().tokens, None);
}

#[test]
fn j12_stream_is_true_false_null_or_absent() {
    for (value, stream) in [("true", true), ("false", false), ("null", false)] {
        assert_eq!(with(&format!(r#""stream": {value} "#)).unwrap().stream, stream);
    }
    let absent = chat(r#"{"model":"m"}"#).unwrap();
    assert_eq!((absent.stream, absent.stream_span), (false, None));
    for value in [r#""true""#, "1", "0", r#""false""#, "[]", "{}", "[true]"] {
        assert_eq!(refusal(with(&format!(r#""stream":{value}"#))), about(InvalidValue, "stream"), "{value}");
        let options = format!(r#""stream_options":{{"include_usage":{value}}}"#);
        assert_eq!(refusal(with(&options)), about(InvalidValue, "stream_options.include_usage"), "{value}");
    }
    for value in ["true", "[]", "1", r#""x""#] {
        assert_eq!(
            refusal(with(&format!(r#""stream_options":{value}"#))),
            about(InvalidValue, "stream_options"),
            "{value}"
        );
    }
}

#[test]
fn j13_64_levels_pass_and_65_do_not_in_any_field() {
    for field in ["x", "messages", "input", "tools", "metadata", "store", "prompt"] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            for (levels, passes) in [(63, true), (64, false)] {
                // The root is one level.
                let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                let body = format!(r#"{{"model":"m","{field}":{value}}}"#);
                for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings] {
                    let code = peek(endpoint, body.as_bytes(), STRICT).map(|_| ()).map_err(|fault| fault.code);
                    assert_eq!(code, if passes { Ok(()) } else { Err(TooDeep) }, "{field} {levels}");
                }
            }
        }
    }
    for (levels, passes) in [(62, true), (63, false)] {
        let options = format!(r#""stream_options":{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(with(&options).is_ok(), passes, "{levels}");
    }
}

#[test]
fn j13_a_megabyte_of_brackets_is_too_deep() {
    for bomb in ["[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18), r#"[{"a":"#.repeat(1 << 18)] {
        assert_eq!(refusal(chat(&bomb)).0, TooDeep);
        assert_eq!(refusal(with(&format!(r#""x":{bomb}"#))).0, TooDeep);
        assert_eq!(refusal(with(&format!(r#""n":{bomb}"#))).0, TooDeep);
    }
}

#[test]
fn j14_many_keys_and_elements_are_read_and_more_than_10000_top_level_keys_refused() {
    let keys = |count: usize| (1..count).map(|i| format!(r#""k{i}":{i}"#)).collect::<Vec<_>>().join(",");
    with(&keys(10_000)).unwrap();
    assert_eq!(refusal(with(&keys(10_001))), (InvalidValue, None));
    with(&format!(r#""metadata":{{{}}}"#, keys(100_000))).unwrap();
    assert_eq!(refusal(with(&format!(r#""stream_options":{{{}}}"#, keys(10_002)))), (InvalidValue, None));
    with(&format!(r#""x":[{}1]"#, "1,".repeat(1_000_000))).unwrap();
    let long = "x".repeat(1000);
    let alike = (0..9_000).map(|i| format!(r#""{long}{i}":0"#)).collect::<Vec<_>>().join(",");
    with(&alike).unwrap();
    assert_eq!(refusal(with(&format!("{alike},\"{long}8\\u0039\":0"))).0, DuplicateKey);
}

#[test]
fn j15_a_huge_string_passes_and_a_model_may_follow_it() {
    let image = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(2_000_000));
    let body = format!(
        r#"{{"messages":[{{"content":[{{"type":"image_url","image_url":{{"url":"{image}"}}}}]}}],"model":"m"}}"#
    );
    let read = chat(&body).unwrap();
    assert_eq!((read.attachments, read.attachment_bytes), (1, image.len() as u64));
    assert_eq!(&body[read.model_span.unwrap()], r#""m""#);
}

#[test]
fn j16_unknown_fields_pass() {
    with(r##""__proto__":{"model":"x"},"constructor":1,"$ref":"#/a","api_base":"http://x","x":1e400,"y":-0.0e-0"##)
        .unwrap();
}

#[test]
fn faults_name_their_place_and_echo_little() {
    let long = "K".repeat(100_000);
    for body in [
        format!(r#"{{"model":"m","{long}":1,"{long}":2}}"#),
        format!(r#"{{"model":" {long}"}}"#),
        format!(r#"{{"model":"m","stream_options":{{"{long}":1,"{long}":1}}}}"#),
    ] {
        let fault = chat(&body).unwrap_err();
        let echoed = fault.message.matches('K').count();
        assert!(echoed <= 64 && fault.message.len() < 300, "{}", fault.message);
        assert!(fault.param.unwrap_or_default().len() <= "stream_options.".len() + 64);
    }
    let fault = with("\"x\": [1,\u{7}]").unwrap_err();
    assert_eq!(
        fault.message,
        "The body is not valid JSON: found byte 0x07 where a JSON value should stand, at byte 21."
    );
}
