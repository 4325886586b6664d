//! Forms as clients write them, forms that two readers could understand in two ways, and any cut of either.

use proptest::prelude::*;

use super::*;
use crate::wire::peek::FaultCode::{self, *};
use crate::wire::peek::KeyRule;

const B: &str = "XbX";

/// A part with this head and content.
fn part(head: &str, content: &str) -> String {
    format!("--{B}\r\n{head}\r\n\r\n{content}\r\n")
}

fn field(name: &str, value: &str) -> String {
    part(&format!("Content-Disposition: form-data; name=\"{name}\""), value)
}

fn file(content: &str) -> String {
    part("Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav", content)
}

fn form(parts: &[String]) -> String {
    format!("{}--{B}--\r\n", parts.concat())
}

fn read(form: impl AsRef<[u8]>) -> Result<FormHead, BodyFault> {
    read_all(B.as_bytes(), [form])
}

fn refused(form: impl AsRef<[u8]>) -> (FaultCode, Option<String>) {
    let fault = read(form).expect_err("a refusal");
    assert!(fault.message.len() < 400, "{}", fault.message);
    (fault.code, fault.param)
}

#[test]
fn what_decides_is_read_and_the_models_place_is_that_of_its_bytes() {
    let text = form(&[
        field("model", "whisper-1"),
        field("stream", "true"),
        field("n", "3"),
        field("response_format", "srt"),
        field("prompt", "Ein Wort über Flüsse"),
        field("timestamp_granularities[]", "word"),
        field("timestamp_granularities[]", "segment"),
        file("RIFF\r\n--Xb\r\n\r\r\n-- not it"),
    ]);
    let head = read(&text).unwrap();
    let span = head.model_span.clone().unwrap();
    assert_eq!(&text[span.start as usize..span.end as usize], "whisper-1");
    let wanted = FormHead {
        model: Some("whisper-1".to_owned()),
        model_span: head.model_span.clone(),
        stream: true,
        choices: Some(3),
        response_format: Some("srt".to_owned()),
        prompt_bytes: "Ein Wort über Flüsse".len() as u64,
        files: 1,
        newer_image_parts: true,
        ended: true,
    };
    assert_eq!(head, wanted);
}

#[test]
fn forms_as_http_libraries_write_them_are_read() {
    for head in [
        "Content-Disposition: form-data; name=\"model\"",
        "content-disposition:form-data;name=model",
        "CONTENT-DISPOSITION: Form-Data ; NAME=\"model\"; ",
        "Content-Type: text/plain; charset=UTF-8\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Length: 1",
    ] {
        assert_eq!(read(form(&[part(head, "m")])).unwrap().model.as_deref(), Some("m"), "{head}");
    }
    for head in [
        "Content-Disposition: form-data; name=\"image[]\"; filename=\"C:\\pictures\\a;b.png\"; filename*=UTF-8''a",
        "Content-Disposition: form-data; name=\"file\"; filename=\"\u{fc}; name=%22model%22\"",
        "Content-Disposition: form-data; name=\"file\"; filename=\"\"",
    ] {
        assert_eq!(read(form(&[part(head, "x"), field("model", "m")])).unwrap().files, 1, "{head}");
    }
    let no_last_line = format!("{}--{B}--", field("model", "m"));
    assert!(read(no_last_line).unwrap().ended);
    assert_eq!(read(format!("--{B}--\r\n")).unwrap(), FormHead { ended: true, ..FormHead::default() });
    assert_eq!(read(form(&[field("prompt", ""), field("x", "\r\n\r\n")])).unwrap().prompt_bytes, 0);
}

#[test]
fn a_part_that_decides_stands_once_in_one_spelling_and_is_no_file() {
    for name in ["model", "stream", "n", "response_format", "prompt"] {
        let value = if name == "stream" { "true" } else { "1" };
        let twice = form(&[field(name, value), file("x"), field(name, value)]);
        assert_eq!(refused(twice), (DuplicateKey, Some(name.to_owned())));
        for more in ["; filename=\"a\"", "; filename*=UTF-8''a", "; filename=\"\""] {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"{more}");
            assert_eq!(refused(form(&[part(&head, value)])), (InvalidValue, Some(name.to_owned())), "{more}");
        }
        for kind in ["application/json", "text/plain; charset=utf-16", "text/plain; x", "TEXT/HTML", ""] {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}");
            assert_eq!(refused(form(&[part(&head, value)])), (InvalidValue, Some(name.to_owned())), "{kind}");
        }
    }
    for name in
        ["Model", "MODEL", " model", "model ", "model\u{200b}", "model[]", "model[0]", "ſtream", "N", "_charset_"]
    {
        let text = form(&[field(name, "x")]);
        assert_eq!(refused(&text).0, AmbiguousKey, "{name}");
        let boundary = Boundary::new(B.as_bytes()).unwrap();
        let mut lenient = Reader::new(&boundary, Rules { keys: KeyRule::Lenient });
        lenient.feed(text.as_bytes()).unwrap();
        lenient.finish().unwrap();
    }
    for name in ["models", "include[]", "image[]", "mod el", "", "\u{440}"] {
        read(form(&[field(name, "x")])).unwrap();
    }
}

#[test]
fn values_are_what_they_must_be() {
    for (name, value) in [
        ("model", ""),
        ("model", " m"),
        ("model", "a\nb"),
        ("model", &"x".repeat(257)),
        ("stream", "True"),
        ("stream", "1"),
        ("stream", ""),
        ("n", "-1"),
        ("n", "1.0"),
        ("n", ""),
        ("n", "\u{661}"),
        ("n", "9007199254740993"),
        ("n", &"1".repeat(65)),
        ("response_format", &"x".repeat(65)),
    ] {
        assert_eq!(refused(form(&[field(name, value)])), (InvalidValue, Some(name.to_owned())), "{name}={value}");
    }
    let bytes = form(&[field("model", "m#")]).replace('#', "\u{1}").into_bytes();
    let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    assert_eq!(refused(bytes), (InvalidEncoding, Some("model".to_owned())));
    assert_eq!(read(form(&[field("n", "0"), field("stream", "false")])).unwrap().choices, None);
    assert_eq!(read(form(&[field("model", &"x".repeat(256))])).unwrap().model.map(|model| model.len()), Some(256));
}

#[test]
fn heads_that_two_readers_could_understand_differently_are_refused() {
    for head in [
        "",
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=\"model\"",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; filename=\"a\"",
        "Content-Disposition: form-data; name=\"a\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"a\"; NAME=model",
        "Content-Disposition: form-data; name=\"a\"; name*=utf-8''model",
        "Content-Disposition: form-data; name=\"a\"; filename=\"b\"; filename=\"c\"",
        "Content-Disposition: form-data; name=\"a\"; filename=\"b\\\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"a\\b\"",
        "Content-Disposition: form-data; name=\"a",
        "Content-Disposition: form-data; name=\"a\"b",
        "Content-Disposition: form-data name=\"a\"",
        "Content-Disposition: form-data; name",
        "Content-Disposition: form-data; =a",
        "Content-Disposition: form-data; name=a b",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: a/b\r\ncontent-type: text/plain",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
        "Content-Disposition: form-data;\r\n name=\"a\"",
        "Content-Disposition: form-data; name=\"a\"\r\nX : y",
        "Content-Disposition: form-data; name=\"a\"\r\n: y",
        "Content-Disposition: form-data; name=\"a\"\r\nno colon",
        "Content-Disposition: form-data; name=\"a\"\nContent-Type: text/plain",
        "Content-Disposition: form-data; name=\"a\rb\"",
        "Content-Disposition: form-data; name=\"a\0b\"",
    ] {
        assert_eq!(refused(form(&[part(head, "x"), field("model", "m")])), (InvalidForm, None), "{head:?}");
    }
}

#[test]
fn forms_that_are_not_framed_as_one_are_refused() {
    let whole = form(&[field("model", "m"), file("x")]);
    for (form, why) in [
        (String::new(), "nothing"),
        (format!("\r\n{whole}"), "a line before the first boundary"),
        (format!("preamble\r\n{whole}"), "text before the first boundary"),
        (whole.replacen(B, "XbX ", 1), "padding"),
        (whole.replacen(B, "XbXY", 1), "a boundary that goes on"),
        (whole.replacen("--XbX\r\n", "--XbX\n", 1), "a bare line feed"),
        (format!("{whole}x"), "text after the end"),
        (format!("{whole}\r\n"), "another line after the end"),
        (format!("{whole}{}", form(&[field("model", "other")])), "a form after the form"),
        (whole.replacen("\r\n\r\nm\r\n", "\r\n\r\n", 1), "a part without content"),
        (
            form(&[part("Content-Disposition: form-data; name=\"file\"; filename=\"a\"", &format!("x\r\n--{B}y"))]),
            "the boundary in a file",
        ),
        (whole.trim_end_matches("--\r\n").to_owned(), "no closing boundary"),
        (format!("{}--{B}-", field("model", "m")), "half a closing boundary"),
        (format!("{}--{B}--\r", field("model", "m")), "half a line's end"),
    ] {
        assert_eq!(refused(&form), (InvalidForm, None), "{why}");
    }
    for end in 0..whole.len() - 2 {
        assert_eq!(refused(&whole[..end]), (InvalidForm, None), "cut at {end}");
    }
}

#[test]
fn heads_and_parts_are_bounded() {
    let name = "n".repeat(9_000);
    let long = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
    assert_eq!(refused(form(&[part(&long, "x")])), (InvalidForm, None));
    assert_eq!(refused(format!("--{B}\r\n{}", "a".repeat(1 << 20))), (InvalidForm, None));
    read(form(&[part(&long.replace(&name, &"n".repeat(8_000)), "x")])).unwrap();
    read(form(&vec![file("x"); 1_000])).unwrap();
    assert_eq!(refused(form(&vec![file("x"); 1_001])), (InvalidForm, None));
}

#[test]
fn hostile_repetition_takes_linear_time() {
    // Each would take minutes at a look back for each byte.
    for piece in ["\r", "\r\n", "\r\n--", "\r\n--X", "\r\n--Xb", "-", "\r\n\r"] {
        let text = form(&[file(&piece.repeat((1 << 20) / piece.len())), field("model", "m")]);
        for size in [1 << 16, 100_003] {
            let head = read_all(B.as_bytes(), text.as_bytes().chunks(size)).unwrap();
            assert_eq!(head.model.as_deref(), Some("m"), "{piece:?}");
        }
    }
}

#[test]
fn a_fault_stays() {
    let mut reader = Reader::new(&Boundary::new(b"b").unwrap(), Rules::default());
    let fault = reader.feed(b"x").unwrap_err();
    assert_eq!(reader.feed(b"--b--").unwrap_err(), fault);
    assert_eq!(reader.finish().unwrap_err(), fault);
}

#[test]
fn an_unnamed_model_is_the_documented_default_or_missing() {
    let model = |endpoint, head: &FormHead| head.peek(endpoint).map(|peek| peek.model).map_err(|fault| fault.code);
    let plain = FormHead::default();
    assert_eq!(model(Endpoint::ImageVariations, &plain).as_deref(), Ok("dall-e-2"));
    assert_eq!(model(Endpoint::ImageEdits, &plain).as_deref(), Ok("dall-e-2"));
    assert_eq!(model(Endpoint::Transcriptions, &plain), Err(MissingRequiredParameter));
    let newer = read(form(&[field("background", "opaque"), field("prompt", "a cat")])).unwrap();
    assert_eq!(model(Endpoint::ImageEdits, &newer), Err(MissingRequiredParameter));
    let named = read(form(&[field("model", "whisper-1"), field("prompt", "abc"), file("x")])).unwrap();
    let peek = named.peek(Endpoint::Transcriptions).unwrap();
    assert_eq!((peek.model.as_str(), peek.text_bytes, peek.attachments, peek.choices), ("whisper-1", 3, 1, 1));
}

/// Pieces of which forms, and nearly forms, are made.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop_oneof![Just(field("model", "m")), Just(field("prompt", "ab\r\n")), Just(file("x\r\n--Xb")), Just(field("n", "2")), Just(field("stream", "true"))],
        2 => "[\\r\\n\\-Xb;=\"a:]{0,12}".prop_map(String::from),
        2 => prop_oneof![Just(format!("--{B}\r\n")), Just(format!("\r\n--{B}--")), Just(format!("--{B}--\r\n")), Just("\r\n\r\n".to_owned())],
        1 => Just("Content-Disposition: form-data; name=\"model\"".to_owned()),
    ];
    let text = proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
    let whole = (text, any::<bool>()).prop_map(|(mut text, ends)| {
        if ends {
            text.extend_from_slice(format!("--{B}--\r\n").as_bytes());
        }
        text
    });
    (whole, proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2)).prop_map(
        |(mut text, changes)| {
            for (at, byte) in changes {
                if !text.is_empty() {
                    let at = at.index(text.len());
                    text[at] = byte;
                }
            }
            text
        },
    )
}

/// The obvious way: the whole form split at its boundary lines. Right for forms that were accepted.
fn slowly(form: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text: String = form.iter().map(|&byte| char::from(byte)).collect();
    let mut parts = Vec::new();
    for part in format!("\r\n{text}").split(&format!("\r\n--{B}")).skip(1) {
        let Some(part) = part.strip_prefix("\r\n") else { continue };
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        parts.push((head.to_owned(), content.chars().map(|c| c as u8).collect()));
    }
    parts
}

proptest! {
    #[test]
    fn any_cut_of_any_bytes_reads_as_one_piece(text in pieces(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6)) {
        let whole = read(&text);
        let each = read_all(B.as_bytes(), text.chunks(1));
        prop_assert_eq!(&whole, &each);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut from = 0;
        let chunks: Vec<&[u8]> = cuts.into_iter().map(|cut| &text[std::mem::replace(&mut from, cut)..cut]).collect();
        prop_assert_eq!(&whole, &read_all(B.as_bytes(), chunks));
    }

    #[test]
    fn a_form_that_is_accepted_is_what_the_obvious_reading_sees(text in pieces()) {
        let Ok(head) = read(&text) else { return Ok(()) };
        let parts = slowly(&text);
        let named = |name: &str| {
            let name = format!("name=\"{name}\"");
            let found: Vec<&Vec<u8>> = parts.iter().filter(|(head, _)| head.contains(&name)).map(|(_, content)| content).collect();
            assert!(found.len() <= 1, "{name} twice was accepted");
            found.first().map(|content| (*content).clone())
        };
        prop_assert_eq!(head.model.clone().map(String::into_bytes), named("model"));
        prop_assert_eq!(head.prompt_bytes, named("prompt").map_or(0, |prompt| prompt.len() as u64));
        prop_assert_eq!(head.stream, named("stream").is_some());
        prop_assert_eq!(head.files, parts.iter().filter(|(head, _)| head.contains("filename=")).count() as u64);
        if let Some(span) = head.model_span {
            let model = head.model.unwrap();
            prop_assert_eq!(&text[span.start as usize..span.end as usize], model.as_bytes());
        }
    }
}
