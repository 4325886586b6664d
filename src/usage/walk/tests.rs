//! What must hold of `walk`.

use super::*;

fn walk(root: Node, json: &str) -> Walk {
    let mut walk = Walk::new(root);
    walk.feed(json.as_bytes());
    walk
}

#[test]
fn brackets_and_quotes_are_found_at_every_distance() {
    for distance in 0..200 {
        for mark in *b"\"[]{}" {
            let mut bytes = vec![b'1'; distance];
            bytes.extend_from_slice(&[mark, b'1', b'"']);
            assert_eq!(text::bracket_or_quote(&bytes, 0), Some(distance));
            assert_eq!(text::bracket_or_quote(&bytes, distance + 1), Some(distance + 2));
        }
    }
    let others: Vec<u8> = (0..=255).filter(|byte| !b"\"[]{}".contains(byte)).collect();
    assert_eq!(text::bracket_or_quote(&others, 0), None);
    assert_eq!(text::bracket_or_quote(&others, 9999), None);
}

#[test]
fn marks_stand_at_the_content_of_varying_places() {
    let json = r#"{"sequence_number":12,"delta":"abc","obfuscation":"xy","type":"t"}"#;
    let walk = walk(Node::ResponseEvent, json);
    let marked: Vec<_> =
        walk.marks().unwrap().iter().map(|mark| (mark.what, &json[mark.start as usize..mark.end as usize])).collect();
    assert_eq!(marked, [(Varying::Sequence, "12"), (Varying::Delta, "abc"), (Varying::Pad, "xy")]);
}

#[test]
fn too_many_varying_places_are_none() {
    let call = r#"{"function":{"name":"a","arguments":"b"}},"#;
    let json = format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{}]}}}}]}}"#, call.repeat(3).trim_end_matches(','));
    let walk = walk(Node::Completion, &json);
    assert!(walk.is_closed() && walk.marks().is_none());
    assert_eq!(walk.text_bytes(), 6);
}

#[test]
fn what_breaks_the_grammar_ends_the_walk() {
    for broken in [
        "}",
        "{,",
        "{]",
        "{\"a\"1",
        "{\"a\":}",
        "{\"a\":1]",
        "{\"a\":1,}",
        "{\"choices\":[}",
        "nope",
        "{\"model\":\"\\u12",
        "",
    ] {
        assert!(!walk(Node::Completion, broken).is_closed(), "{broken}");
    }
}

#[test]
fn a_restart_forgets_the_document_but_not_the_findings() {
    let mut walk = walk(Node::Completion, r#"{"model":"m","usage":{"prompt_tokens":3},"choices":[{"text":"a\u00"#);
    walk.restart();
    assert_eq!((walk.found.usage.map(|usage| usage.input), walk.event.choices), (Some(3), Choices::Unseen));
    walk.feed(br#"{"choices":[{"text":"bc"}]}"#);
    assert!(walk.is_closed());
    assert_eq!((walk.text_bytes(), walk.found.model.as_deref()), (3, Some("m")));
}
