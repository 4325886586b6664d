//! Bodies in any number of frames, whole and beyond every limit; forms that can be routed early, late, and never.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body::Frame;

use super::*;
use crate::net::clock::Clock;
use crate::upstream::outgoing::{Broken, OutBody, Sent};
use crate::wire::form::Boundary;
use crate::wire::peek::FaultCode;

const BOUNDS: Bounds = Bounds { body: 1 << 20, upload: 1 << 20, spool: 4_096 };

impl From<Infallible> for ReceiveError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

struct Frames<E = Infallible>(VecDeque<Result<Frame<Bytes>, E>>);

impl<E: Unpin> http_body::Body for Frames<E> {
    type Data = Bytes;
    type Error = E;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn frames<E>(data: &[u8], step: usize) -> Frames<E> {
    Frames(data.chunks(step).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect())
}

#[tokio::test]
async fn a_body_in_any_number_of_frames_is_collected_whole_and_never_beyond_the_limit() {
    for size in [0usize, 1, 7, 100_000, 700_000] {
        for step in [1usize, 1_000, 65_536, 1_000_000] {
            if size / step > 2_000 {
                continue;
            }
            let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
            for promised in [None, Some(size)] {
                assert_eq!(collect(frames::<Infallible>(&data, step), promised, 1 << 20, None).await.unwrap(), data);
            }
            if size > 1 {
                let refused = collect(frames::<Infallible>(&data, step), None, size - 1, None).await;
                assert_eq!(refused, Err(ReceiveError::TooLarge { limit: size - 1 }));
            }
        }
    }
}

#[tokio::test]
async fn a_coded_body_is_bounded_on_the_wire_and_decoded() {
    let text = vec![b' '; 5_000];
    let coded = zstd::encode_all(&text[..], 3).unwrap();
    let read = |most| decoded(frames::<Infallible>(&coded, 7), Coding::Zstd, most, None);
    assert_eq!(read(5_000).await.unwrap(), text);
    assert_eq!(read(4_999).await, Err(ReceiveError::TooLarge { limit: 4_999 }));
    assert_eq!(read(coded.len() - 1).await, Err(ReceiveError::TooLarge { limit: coded.len() - 1 }));
    let cut = decoded(frames::<Infallible>(&coded[..coded.len() - 1], 7), Coding::Zstd, 5_000, None).await;
    assert_eq!(cut, Err(ReceiveError::Corrupt));
}

const MODEL: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalias\r\n";
const STREAM: &str = "--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";

fn file(size: usize) -> String {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    format!("{head}{}\r\n", "x".repeat(size))
}

fn form(parts: &[&str]) -> String {
    format!("{}--b--\r\n", parts.concat())
}

async fn begin(text: &str, step: usize, promised: Option<usize>) -> Result<Form, GatewayError> {
    let mut headers = HeaderMap::new();
    if let Some(length) = promised {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let kind = Kind::Form(Boundary::new(b"b").unwrap());
    let body = frames::<Infallible>(text.as_bytes(), step);
    match receive(kind, &headers, body, BOUNDS, None, Rules::default(), None).await? {
        Payload::Form(form) => Ok(*form),
        Payload::Json(_) => panic!("a form is no JSON"),
    }
}

/// What goes out, the length that is promised, and how the upload ended.
async fn sent(form: Form, model: Option<&str>) -> (Result<Bytes, Broken>, Option<u64>, Option<Upload>, Sent) {
    let sent = Sent::not_yet(Clock::manual());
    let (body, upload) = form.into_body(model, &sent);
    let length = body.left();
    (body.collected().await, length, upload, sent)
}

#[tokio::test]
async fn a_form_passes_byte_by_byte_and_only_its_model_is_spliced() {
    let texts =
        [form(&[MODEL, STREAM, &file(300_000)]), form(&[&file(2_000), MODEL, STREAM]), form(&[MODEL, &file(10)])];
    for text in &texts {
        for step in [1, 7, 1_000, 65_536, 1 << 20] {
            if text.len() / step > 20_000 {
                continue;
            }
            for promised in [None, Some(text.len())] {
                for model in [None, Some("m"), Some("a-longer-name")] {
                    let form = begin(text, step, promised).await.unwrap();
                    assert!(form.head.model.as_deref() == Some("alias") && form.arrived() < 140_000 + step as u64);
                    assert_eq!(form.head.stream, text.contains("stream"));
                    let (body, length, upload, sent) = sent(form, model).await;
                    let wanted = model.map_or(text.clone(), |model| text.replacen("alias", model, 1));
                    assert_eq!(body.unwrap(), wanted);
                    let known = promised.is_some() || upload.is_none();
                    assert_eq!(length, known.then_some(wanted.len() as u64));
                    assert!(sent.has_body());
                    assert!(upload.is_none_or(|upload| upload.arrived() == text.len() as u64));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_form_that_names_no_model_gets_one_only_where_another_is_asked_for() {
    let text = form(&[&file(10)]);
    for (model, wanted) in [(None, text.clone()), (Some("m"), format!("{}{text}", MODEL.replace("alias", "m")))] {
        let form = begin(&text, 5, None).await.unwrap();
        assert_eq!(form.head.peek(Endpoint::ImageVariations, None).unwrap().model, "dall-e-2");
        assert_eq!(sent(form, model).await.0.unwrap(), wanted);
    }
}

#[tokio::test]
async fn a_model_that_comes_after_more_than_the_spool_is_refused_in_words() {
    for step in [1, 100, 1_000] {
        for promised in [None, Some(20_000)] {
            let refused = begin(&form(&[&file(20_000), MODEL]), step, promised).await;
            let Err(GatewayError::Body(fault)) = refused else { panic!("{refused:?}") };
            assert_eq!((fault.code, fault.param.as_deref()), (FaultCode::MissingRequiredParameter, Some("model")));
            assert!(
                fault.message.contains("first") && fault.message.contains("server.form_spool"),
                "{}",
                fault.message
            );
        }
        assert!(begin(&form(&[&file(3_000), MODEL]), step, None).await.is_ok());
    }
}

#[tokio::test]
async fn a_form_beyond_the_limit_is_refused_at_once_or_on_its_way() {
    let text = form(&[MODEL, &file(BOUNDS.upload as usize)]);
    let refused = begin(&text, 65_536, Some(text.len())).await;
    let too_large = ReceiveError::UploadTooLarge { limit: BOUNDS.upload };
    assert!(matches!(refused, Err(GatewayError::Receive(error)) if error == too_large));
    let (body, length, upload, sent) = sent(begin(&text, 65_536, None).await.unwrap(), None).await;
    assert_eq!((body, length), (Err(Broken), None));
    let upload = upload.unwrap();
    assert_eq!(upload.fault(), Some(UploadFault::Receive(too_large)));
    assert!(!sent.has_body(), "what is not whole was not sent");
}

#[tokio::test]
async fn a_form_that_breaks_on_its_way_never_gets_whole() {
    let whole = form(&[MODEL, &file(100_000)]);
    let (cut, again) = (&whole[..whole.len() - 9], form(&[MODEL, &file(100_000), MODEL]));
    for (text, code) in [(cut, FaultCode::InvalidForm), (&*again, FaultCode::DuplicateKey)] {
        for promised in [None, Some(text.len())] {
            let (body, _, upload, sent) = sent(begin(text, 1_000, promised).await.unwrap(), None).await;
            assert_eq!(body, Err(Broken));
            let Some(UploadFault::Body(fault)) = upload.unwrap().fault() else { panic!("a fault of the form") };
            assert_eq!(fault.code, code);
            assert!(!sent.has_body());
        }
    }
}

#[tokio::test]
async fn the_last_byte_of_a_form_that_is_not_whole_is_never_handed_on() {
    use http_body_util::BodyExt;
    let text = form(&[MODEL, &file(100_000)]);
    let text = &text[..text.len() - 9];
    let form = begin(text, 1_000, Some(text.len())).await.unwrap();
    let (mut body, _) = form.into_body(None, &Sent::not_yet(Clock::manual()));
    let mut passed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        passed += frame.into_data().unwrap().len();
    }
    assert!(passed < text.len(), "the upstream would take it for whole");
}

#[tokio::test]
async fn a_form_that_is_longer_than_it_promised_is_refused() {
    let text = form(&[MODEL, &file(100_000)]);
    let (body, ..) = sent(begin(&text, 1_000, Some(text.len() - 500)).await.unwrap(), None).await;
    assert_eq!(body, Err(Broken));
    assert!(begin(&text, 1_000, Some(500)).await.is_err());
}

#[tokio::test]
async fn a_client_that_fails_on_its_way_is_why_the_upload_broke() {
    for error in [ReceiveError::Gone, ReceiveError::TimedOut] {
        let mut body = frames(form(&[MODEL, &file(100_000)]).as_bytes(), 1_000);
        body.0.truncate(50);
        body.0.push_back(Err(error.clone()));
        let kind = Kind::Form(Boundary::new(b"b").unwrap());
        let payload = receive(kind, &HeaderMap::new(), body, BOUNDS, None, Rules::default(), None).await.unwrap();
        let Payload::Form(form) = payload else { panic!("a form") };
        let (body, _, upload, sent) = sent(*form, None).await;
        assert_eq!((body, sent.has_body()), (Err(Broken), false));
        assert_eq!(upload.unwrap().fault(), Some(UploadFault::Receive(error)));
    }
}

#[tokio::test]
async fn a_form_that_was_read_whole_can_be_sent_again_and_one_under_way_cannot() {
    let word = Sent::not_yet(Clock::manual());
    let (body, _) = begin(&form(&[MODEL, &file(10)]), 1 << 16, None).await.unwrap().into_body(None, &word);
    assert!(matches!(body, OutBody::Whole(_)) && word.has_body());
    let (body, _) = begin(&form(&[MODEL, &file(90_000)]), 1 << 16, None).await.unwrap().into_body(None, &word);
    assert!(matches!(body, OutBody::Arriving(_)) && !word.has_body());
}
