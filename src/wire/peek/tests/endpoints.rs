//! What is read of the bodies that only one endpoint has.

use super::*;
use crate::wire::splice::{rename_model, splice};
use bytes::Bytes;
use smallvec::smallvec;

fn read(endpoint: Endpoint, body: &str) -> Peek {
    peek(endpoint, body.as_bytes(), STRICT).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

#[test]
fn text_and_attachments_are_those_of_the_endpoint() {
    let base64 = "iVBORw0KGgo".repeat(100);
    for (endpoint, members, text, attachments) in [
        (Endpoint::Moderations, r#""input":"abc""#, 3, 0),
        (Endpoint::Moderations, r#""input":["abc","de"]"#, 5, 0),
        (
            Endpoint::Moderations,
            r#""input":[{"type":"text","text":"abc"},{"type":"image_url","image_url":{"url":"https://a"}}]"#,
            4 + 3 + 9,
            1,
        ),
        (
            Endpoint::Rerank,
            r#""query":"abc","documents":["de",{"text":"fgh"}],"top_n":3,"return_documents":true"#,
            8,
            0,
        ),
        (Endpoint::Rerank, r#""query":"a","documents":[{"image_url":{"url":"data:image/png;base64,QQ=="}}]"#, 1, 1),
        (
            Endpoint::ImageGenerations,
            r#""prompt":"a cat","size":"1024x1024","quality":"high","background":"transparent","response_format":"b64_json","output_format":"png","moderation":"low","style":"vivid","user":"u""#,
            5,
            0,
        ),
        (
            Endpoint::ImageEdits,
            r#""prompt":"a","images":[{"file_id":"f"},{"image_url":"https://a/b"}],"mask":{"file_id":"g"}"#,
            1,
            3,
        ),
        (
            Endpoint::ImageEdits,
            &format!(r#""prompt":"a","image":"data:image/png;base64,QQ==","mask":"{base64}""#),
            1,
            2,
        ),
        (Endpoint::ImageEdits, r#""prompt":"a","image":"a long text that is no image""#, 1 + 28, 0),
        (
            Endpoint::Speech,
            r#""input":"abc","instructions":"de","voice":{"id":"voice_1"},"response_format":"mp3","speed":1.5"#,
            5,
            0,
        ),
        (Endpoint::Decisions, r#""input":"abc","questions":[{"question":"de"},"f"]"#, 6, 0),
        (Endpoint::InputTokens, r#""input":"abc","instructions":"de""#, 5, 0),
        (Endpoint::Compact, r#""input":[{"role":"user","content":"abc"}],"instructions":"de""#, 4 + 3 + 2, 0),
    ] {
        let peek = read(endpoint, &format!(r#"{{"model":"m",{members}}}"#));
        assert_eq!((peek.text_bytes, peek.attachments), (text, attachments), "{endpoint:?} {members}");
        assert_eq!((peek.prompts, peek.output_cap), (1, None));
        let place = State { input_span: peek.state.input_span.clone(), ..State::default() };
        assert_eq!(peek.state, place, "{endpoint:?} {members}");
    }
}

#[test]
fn images_that_are_asked_for_are_choices() {
    for endpoint in [Endpoint::ImageGenerations, Endpoint::ImageEdits] {
        assert_eq!(read(endpoint, r#"{"model":"m","prompt":"a","n":4}"#).choices, 4);
        assert_eq!(read(endpoint, r#"{"model":"m","prompt":"a"}"#).choices, 1);
        let fault = peek(endpoint, br#"{"model":"m","n":"4"}"#, STRICT);
        assert_eq!(refusal(fault), about(FaultCode::InvalidValue, "n"));
    }
}

#[test]
fn speech_is_a_stream_by_its_own_parameter() {
    let speech = |members: &str| peek(Endpoint::Speech, format!(r#"{{"model":"m",{members}}}"#).as_bytes(), STRICT);
    for (value, stream) in [(r#""sse""#, true), (r#""\u0073se""#, true), (r#""audio""#, false), ("null", false)] {
        assert_eq!(speech(&format!(r#""stream_format":{value}"#)).unwrap().stream, stream, "{value}");
        let both = format!(r#""stream_format":{value},"stream":false"#);
        assert_eq!(speech(&both).unwrap().stream, stream, "{value}");
    }
    for value in ["true", "1", "[\"sse\"]", "{}"] {
        let refused = speech(&format!(r#""stream_format":{value}"#));
        assert_eq!(refusal(refused), about(FaultCode::InvalidValue, "stream_format"), "{value}");
    }
    assert_eq!(refusal(speech(r#""Stream_Format":"sse""#)).0, FaultCode::AmbiguousKey);
    assert!(!with(r#""stream_format":"sse""#).unwrap().stream, "it is speech's alone");
}

#[test]
fn responses_operations_say_what_they_ask_of_kept_state() {
    for endpoint in [Endpoint::Responses, Endpoint::InputTokens, Endpoint::Compact, Endpoint::Decisions] {
        let state = read(endpoint, r#"{"model":"m","previous_response_id":"r","store":true,"background":true}"#).state;
        assert!(state.previous_response_id && state.background && state.store == Some(true), "{endpoint:?}");
    }
}

#[test]
fn a_model_may_be_left_out_only_where_a_default_is_documented() {
    for endpoint in Endpoint::ALL {
        for body in [r#"{"input":"a"}"#, r#"{"model":null,"input":"a"}"#, "{}"] {
            let read = peek(endpoint, body.as_bytes(), STRICT);
            match endpoint.default_model() {
                Some(default) => assert_eq!(read.unwrap().model, default, "{endpoint:?} {body}"),
                None => assert_eq!(refusal(read), about(FaultCode::MissingRequiredParameter, "model"), "{endpoint:?}"),
            }
        }
    }
    assert_eq!(read(Endpoint::Moderations, r#"{"input":"a"}"#).model, "omni-moderation-latest");
    assert_eq!(read(Endpoint::ImageGenerations, r#"{"prompt":"a","n":2,"size":"256x256"}"#).model, "dall-e-2");
}

#[test]
fn the_default_of_images_is_none_where_it_could_not_do_what_is_asked() {
    for member in [r#""background":"opaque""#, r#""output_format":"webp""#, r#""stream":true"#, r#""moderation":"low""#]
    {
        for endpoint in [Endpoint::ImageGenerations, Endpoint::ImageEdits] {
            let read = peek(endpoint, format!(r#"{{"prompt":"a",{member}}}"#).as_bytes(), STRICT);
            assert_eq!(refusal(read), about(FaultCode::MissingRequiredParameter, "model"), "{member}");
        }
        let named = format!(r#"{{"prompt":"a",{member},"model":"gpt-image-1"}}"#);
        assert_eq!(read(Endpoint::ImageGenerations, &named).model, "gpt-image-1");
    }
}

#[test]
fn a_model_that_is_not_named_is_put_in_only_where_another_is_asked_for() {
    for (body, wanted) in [
        (r#"{"input":"a"}"#, r#"{"model":"m\"x","input":"a"}"#),
        (r#" { "model" : null , "input":"a"}"#, r#" { "model" : "m\"x" , "input":"a"}"#),
        ("{ }", r#"{"model":"m\"x" }"#),
    ] {
        let peek = read(Endpoint::Moderations, body);
        let slices = splice(&Bytes::from(body), &mut smallvec![rename_model(&peek, "m\"x")]);
        assert_eq!(slices.parts().concat(), wanted.as_bytes());
        let again = read(Endpoint::Moderations, wanted);
        assert_eq!((again.model.as_str(), again.text_bytes), ("m\"x", peek.text_bytes));
    }
}
