//! Changed bodies against the obvious way of changing them: on the bytes, and on a tree.

use proptest::prelude::*;

use super::*;
use crate::wire::documents::{Doc, body};
use crate::wire::peek::{Rules, peek};

const CAPS: [&str; 3] = ["max_completion_tokens", "max_tokens", "max_output_tokens"];

fn read(endpoint: Endpoint, body: &Bytes) -> Peek {
    peek(endpoint, body, Rules::default()).unwrap_or_else(|fault| panic!("{fault}: {body:?}"))
}

fn joined(slices: &Slices) -> Bytes {
    slices.parts().concat().into()
}

/// The obvious way, from the last edit to the first.
fn slowly(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut body = body.to_vec();
    let mut edits = edits.to_vec();
    edits.sort_by_key(|edit| edit.span.start);
    for edit in edits.into_iter().rev() {
        body.splice(edit.span, edit.text);
    }
    body
}

/// What [`ask_for_usage`] means, on a tree.
fn with_usage(members: &mut Vec<(String, Doc)>) {
    let wanted = || ("include_usage".to_owned(), Doc::Bool(true));
    match members.iter_mut().find(|(key, _)| key == "stream_options") {
        None => members.insert(0, ("stream_options".to_owned(), Doc::Object(vec![wanted()]))),
        Some((_, Doc::Object(options))) => match options.iter_mut().find(|(key, _)| key == "include_usage") {
            Some((_, value)) => *value = Doc::Bool(true),
            None => options.insert(0, wanted()),
        },
        Some((_, null)) => *null = Doc::Object(vec![wanted()]),
    }
}

/// What [`cap_output`] means, on a tree.
fn with_cap(members: &mut Vec<(String, Doc)>, own: &[&str], cap: u64) {
    let names = |doc: &Doc| matches!(doc, Doc::Number(n) if n.as_u64().is_some_and(|n| n > 0));
    if members.iter().any(|(key, value)| own.contains(&key.as_str()) && names(value)) {
        return;
    }
    for name in own {
        if let Some((_, value)) = members.iter_mut().find(|(key, _)| key == name) {
            *value = Doc::Number(cap.into());
            return;
        }
    }
    members.insert(0, (own[0].to_owned(), Doc::Number(cap.into())));
}

fn check(endpoint: Endpoint, own: &[&str], text: &str, model: &str, cap: u64) -> Result<(), TestCaseError> {
    let body = Bytes::copy_from_slice(text.as_bytes());
    let Ok(peek) = peek(endpoint, &body, Rules::default()) else { return Ok(()) };
    let (usage, capped) = (ask_for_usage(&peek), cap_output(&peek, endpoint, cap));
    let may_ask = peek.stream && endpoint != Endpoint::Responses;
    prop_assert!(may_ask || usage.is_none());

    let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
    edits.extend(capped);
    edits.push(rename_model(&peek, model));
    edits.extend(usage);
    let slices = splice(&body, &mut edits);
    let result = joined(&slices);
    prop_assert_eq!(slices.len(), result.len());
    prop_assert_eq!(&result[..], &slowly(&body, &edits)[..]);

    let Ok(Doc::Object(mut members)) = Doc::read(&body) else { return Err(TestCaseError::fail("no object")) };
    // An insertion at the same place as an earlier one comes after it.
    if may_ask {
        with_usage(&mut members);
    }
    with_cap(&mut members, own, cap);
    for (key, value) in &mut members {
        if key == "model" {
            *value = Doc::Text(model.to_owned());
        }
    }
    let edited = Doc::read(&result).map_err(|e| TestCaseError::fail(format!("{e}: {result:?}")))?;
    prop_assert_eq!(edited, Doc::Object(members));

    // Read again, the wishes are fulfilled.
    let again = read_again(endpoint, &result)?;
    prop_assert_eq!((ask_for_usage(&again), cap_output(&again, endpoint, cap)), (None, None));
    prop_assert_eq!(again.model, model);
    Ok(())
}

fn read_again(endpoint: Endpoint, body: &Bytes) -> Result<Peek, TestCaseError> {
    peek(endpoint, body, Rules::default()).map_err(|fault| TestCaseError::fail(format!("{fault}: {body:?}")))
}

proptest! {
    #[test]
    fn a_changed_body_is_serdes_edit_of_the_same(text in body(), model in "[a-zé😀/:\"\\\\]{1,12}", cap in 1u64..1 << 53) {
        check(Endpoint::ChatCompletions, &CAPS[..2], &text, &model, cap)?;
        check(Endpoint::Completions, &CAPS[1..2], &text, &model, cap)?;
        check(Endpoint::Responses, &CAPS[2..], &text, &model, cap)?;
    }

    #[test]
    fn lowered_caps_are_at_most_that_and_nothing_else_changes(text in body(), most in 1u64..1 << 53) {
        let body = Bytes::from(text);
        let Ok(before) = peek(Endpoint::ChatCompletions, &body, Rules::default()) else { return Ok(()) };
        let mut edits: SmallVec<[Edit; 4]> = lower_caps(&before, most).collect();
        let lowered = joined(&splice(&body, &mut edits));
        let mut expected: serde_json::Value = serde_json::from_slice(&body).unwrap();
        for name in CAPS {
            if expected.get(name).and_then(serde_json::Value::as_u64).is_some_and(|cap| cap > most) {
                expected[name] = most.into();
            }
        }
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&lowered).unwrap(), expected);
        let after = read(Endpoint::ChatCompletions, &lowered);
        prop_assert_eq!(after.output_cap, before.output_cap.map(|cap| cap.min(most)));
    }

    #[test]
    fn any_edits_that_do_not_overlap_leave_all_other_bytes(
        length in 0usize..40_000,
        mut cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 8),
        text in "[a-z]{0,9}",
    ) {
        let body: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
        let mut cuts: Vec<_> = cuts.drain(..).map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let mut edits: SmallVec<[Edit; 4]> = cuts.chunks(2).rev()
            .map(|cut| Edit { span: cut[0]..cut[1], text: text.clone().into() }).collect();
        let mut sorted = edits.clone();
        sorted.sort_by_key(|edit| edit.span.start);
        let overlap = sorted.windows(2).any(|pair| pair[1].span.start < pair[0].span.end || pair[1].span.start == pair[0].span.start);
        prop_assume!(!overlap);
        let body = Bytes::from(body);
        let slices = splice(&body, &mut edits);
        prop_assert_eq!(&joined(&slices)[..], &slowly(&body, &edits)[..]);
        prop_assert!(slices.parts().iter().all(|part| !part.is_empty()));
    }

    #[test]
    fn foreign_edits_out_of_place_never_panic(spans in proptest::collection::vec((0usize..60, 0usize..60), 0..6)) {
        let body = Bytes::from_static(b"a body of forty bytes, or not even that");
        let mut edits = spans.into_iter().map(|(start, end)| Edit { span: start..end, text: Bytes::from_static(b"x") }).collect();
        let slices = splice(&body, &mut edits);
        prop_assert_eq!(slices.len(), joined(&slices).len());
    }

    #[test]
    fn a_quoted_name_reads_as_it_was(name in any::<String>()) {
        prop_assert_eq!(Doc::read(quoted(&name).as_bytes()).ok(), Some(Doc::Text(name)));
    }
}

#[test]
fn awkward_bodies_keep_every_byte_that_need_not_change() {
    for body in [
        r#"{"z":1,"a":2,"model":"m","stream":true,"0":1e400,"i":12345678901234567890,"f":1.50,"e":1E+2,"n0":-0.0}"#,
        "{\r\n\t\"model\" :\t\"m\" ,\n\"stream\":true\n}\n\n",
        r#"{"model":"m","stream":true,"x":"\u0041\/\ud83d\ud83d\ude00","x\u0000":{"a":1,"a":2},"é":"😀"}"#,
        r#"{"stream_options":{"include_usage":false},"stream":true,"model":"m"}"#,
        r#"{"model":"m","stream":true,"stream_options":{}}"#,
        r#"{"model":"m","stream":true,"stream_options":{ }}"#,
        r#"{"model":"m","stream":true,"stream_options":{"x":{"include_usage":true}}}"#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":null,"y":1e999}}"#,
        r#"{"model":"m","stream":true,"stream_options": null }"#,
        r#"{"messages":[{"content":"\"stream_options\":{\"include_usage\":false}"}],"model":"m","stream":true}"#,
        r#"{"str\u0065am":true,"mod\u0065l":"\u006d"}"#,
    ] {
        let bytes = Bytes::from_static(body.as_bytes());
        let peek = read(Endpoint::ChatCompletions, &bytes);
        assert_eq!(joined(&splice(&bytes, &mut SmallVec::new())), bytes);

        let usage = ask_for_usage(&peek).expect(body);
        let mut edits: SmallVec<[Edit; 4]> = smallvec![rename_model(&peek, "new"), usage];
        let result = joined(&splice(&bytes, &mut edits));
        assert_eq!(result, slowly(&bytes, &edits), "{body}");
        let again = read(Endpoint::ChatCompletions, &result);
        assert_eq!((again.model.as_str(), ask_for_usage(&again)), ("new", None), "{body}");
        // Taking the changes out again gives the body that came.
        let mut undone = result.to_vec();
        for Edit { span, text } in &edits {
            undone.splice(span.start..span.start + text.len(), bytes[span.clone()].to_vec());
        }
        assert_eq!(undone, bytes, "{body}");
    }
}

#[test]
fn usage_is_asked_for_where_a_stream_can_report_it_and_nobody_has_asked() {
    let asks = |endpoint, members: &str| {
        let body = Bytes::from(format!(r#"{{"model":"m"{members}}}"#));
        ask_for_usage(&read(endpoint, &body)).is_some()
    };
    assert!(asks(Endpoint::ChatCompletions, r#","stream":true"#));
    assert!(asks(Endpoint::Completions, r#","stream":true"#));
    assert!(asks(Endpoint::Completions, r#","stream":true,"stream_options":{"include_usage":false}"#));
    assert!(!asks(Endpoint::Responses, r#","stream":true"#));
    assert!(!asks(Endpoint::Embeddings, r#","stream":true"#));
    assert!(!asks(Endpoint::ChatCompletions, ""));
    assert!(!asks(Endpoint::ChatCompletions, r#","stream":null"#));
    assert!(!asks(Endpoint::ChatCompletions, r#","stream":true,"stream_options":{"include_usage":true}"#));
}

#[test]
fn a_cap_goes_where_none_is_named_and_never_twice() {
    for (endpoint, members, result) in [
        (Endpoint::ChatCompletions, "", Some(r#"{"max_completion_tokens":9,"model":"m"}"#)),
        (Endpoint::Completions, "", Some(r#"{"max_tokens":9,"model":"m"}"#)),
        (Endpoint::Responses, "", Some(r#"{"max_output_tokens":9,"model":"m"}"#)),
        (Endpoint::Embeddings, "", None),
        (Endpoint::ChatCompletions, r#","max_tokens":5"#, None),
        (Endpoint::ChatCompletions, r#","max_tokens":5,"max_completion_tokens":0"#, None),
        (Endpoint::ChatCompletions, r#","max_tokens":null"#, Some(r#"{"model":"m","max_tokens":9}"#)),
        (
            Endpoint::ChatCompletions,
            r#","max_completion_tokens": -1 "#,
            Some(r#"{"model":"m","max_completion_tokens": 9 }"#),
        ),
        (Endpoint::Completions, r#","max_tokens":0"#, Some(r#"{"model":"m","max_tokens":9}"#)),
        (Endpoint::Responses, r#","max_tokens":5"#, Some(r#"{"max_output_tokens":9,"model":"m","max_tokens":5}"#)),
    ] {
        let body = Bytes::from(format!(r#"{{"model":"m"{members}}}"#));
        let edit = cap_output(&read(endpoint, &body), endpoint, 9);
        let changed = edit.map(|edit| joined(&splice(&body, &mut smallvec![edit])));
        assert_eq!(changed.as_deref(), result.map(str::as_bytes), "{endpoint:?} {members}");
    }
}

#[test]
fn a_large_body_is_not_copied_and_a_small_one_becomes_one_piece() {
    let large = Bytes::from(format!(r#"{{"x":"{}","model":"m","stream":true}}"#, "a".repeat(20_000)));
    let peek = read(Endpoint::ChatCompletions, &large);
    let mut edits = smallvec![rename_model(&peek, "new")];
    edits.extend(ask_for_usage(&peek));
    let slices = splice(&large, &mut edits);
    let within = large.as_ptr_range();
    let own: Vec<_> = slices.parts().iter().filter(|part| !within.contains(&part.as_ptr())).collect();
    assert_eq!(
        own.iter().map(|part| part.len()).sum::<usize>(),
        edits.iter().map(|edit| edit.text.len()).sum::<usize>()
    );
    assert_eq!(slices.parts().len(), 5);

    let small = Bytes::from_static(br#"{"model":"m","stream":true}"#);
    let peek = read(Endpoint::ChatCompletions, &small);
    let slices = splice(&small, &mut smallvec![rename_model(&peek, "new")]);
    assert_eq!(slices.into_parts().as_slice(), [Bytes::from_static(br#"{"model":"new","stream":true}"#)]);
    let same = splice(&small, &mut SmallVec::new());
    assert_eq!(same.parts()[0].as_ptr(), small.as_ptr());
}
