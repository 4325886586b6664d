//! What must hold of an answer on its way: every byte passes, and its call ends once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::Waker;

use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::gateway::settle::InputCharge;
use crate::gateway::testing::Rig;
use crate::wire::endpoint::Endpoint;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

mod compressed;
mod fixtures;
mod left;

const STREAM: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"gpt-real\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":4,\"total_tokens\":25}}\n\n",
    "data: [DONE]\n\n",
);
const JSON: &str = "{\"id\":\"c\",\"model\":\"gpt-real\",\"choices\":[{\"message\":{\"content\":\"Hello\"}}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":4}}";

/// What an upstream's body does next.
#[derive(Clone)]
enum Step {
    Data(Bytes),
    Trailers,
    Fail(UpstreamError),
    /// Nothing more, for ever.
    Silence,
}

/// An upstream's body that does as it is told, and is never late.
struct Scripted {
    steps: VecDeque<Step>,
    /// Says that it has ended together with its last bytes, as a body with a known length does.
    knows_its_end: bool,
}

impl Scripted {
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Scripted { steps: steps.into_iter().collect(), knows_its_end: false }
    }

    fn text(pieces: &[&str]) -> Self {
        Scripted::of(pieces.iter().map(data))
    }
}

fn data(text: impl AsRef<[u8]>) -> Step {
    Step::Data(Bytes::copy_from_slice(text.as_ref()))
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if matches!(self.steps.front(), Some(Step::Silence)) {
            return Poll::Pending;
        }
        Poll::Ready(self.steps.pop_front().map(|step| match step {
            Step::Data(bytes) => Ok(Frame::data(bytes)),
            Step::Trailers | Step::Silence => Ok(Frame::trailers(HeaderMap::new())),
            Step::Fail(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.knows_its_end {
            return SizeHint::default();
        }
        SizeHint::with_exact(
            self.steps.iter().map(|step| if let Step::Data(bytes) = step { bytes.len() as u64 } else { 0 }).sum(),
        )
    }
}

struct Answer {
    content_type: &'static str,
    headers: Vec<(http::HeaderName, HeaderValue)>,
    body: Scripted,
    usage_chunk: UsageChunk,
    endpoint: Endpoint,
}

fn stream(body: Scripted, usage_chunk: UsageChunk) -> Answer {
    let headers = vec![(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))];
    Answer { content_type: "text/event-stream", headers, body, usage_chunk, endpoint: Endpoint::ChatCompletions }
}

fn json(mut body: Scripted) -> Answer {
    body.knows_its_end = true;
    let length = body.size_hint().exact().unwrap();
    let headers = vec![(CONTENT_LENGTH, HeaderValue::from(length))];
    let usage_chunk = UsageChunk::Keep;
    Answer { content_type: "application/json", headers, body, usage_chunk, endpoint: Endpoint::ChatCompletions }
}

async fn metered(rig: &Rig, answer: Answer) -> Response<ResponseBody<Scripted>> {
    let (mut call, admission) = rig.admitted(answer.endpoint, answer.content_type == "text/event-stream").await;
    let now = rig.clock.now();
    call.note(|facts| facts.sent = Some(now));
    let at_upstream = rig.services.upstream(&"up".into()).in_flight.raise();
    let mut parts = Response::new(()).into_parts().0;
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in answer.headers {
        parts.headers.insert(name, value);
    }
    let reply = Reply::Answer { parts, body: answer.body, usage_chunk: answer.usage_chunk, at_upstream };
    meter(reply, call, admission.flight, HeaderValue::from_static("req_1"), &admission.view)
}

/// The next frame's bytes; never pending, as the script never is.
fn next(body: &mut ResponseBody<Scripted>) -> Option<Result<Bytes, CutShort>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())),
        Poll::Pending => panic!("pending"),
    }
}

/// All bytes of a text, and whether they ended well.
fn drained(body: &mut ResponseBody<Scripted>) -> (String, Result<(), CutShort>) {
    let (bytes, ended) = drained_bytes(body);
    (String::from_utf8(bytes).unwrap(), ended)
}

/// All bytes, and whether they ended well.
fn drained_bytes(body: &mut ResponseBody<Scripted>) -> (Vec<u8>, Result<(), CutShort>) {
    let mut bytes = Vec::new();
    let ended = loop {
        match next(body) {
            Some(Ok(data)) => {
                assert!(!data.is_empty(), "an empty frame");
                bytes.extend_from_slice(&data);
            }
            Some(Err(cut)) => break Err(cut),
            None => break Ok(()),
        }
    };
    assert!(next(body).is_none(), "something follows the end");
    (bytes, ended)
}

fn only_record(rig: &Rig) -> serde_json::Value {
    let mut records = rig.records();
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

fn without_usage_chunk() -> String {
    let chunk = STREAM.split_inclusive("\n\n").find(|event| event.contains("prompt_tokens")).unwrap();
    STREAM.replace(chunk, "")
}

#[tokio::test]
async fn a_stream_passes_as_it_came_and_is_charged_what_it_reports() {
    let rig = Rig::new();
    let mut response = metered(&rig, stream(Scripted::text(&[STREAM]), UsageChunk::Keep)).await;
    assert_eq!(rig.metric("tollgate_upstream_in_flight{upstream=\"up\"}"), 1.0);
    assert_eq!(drained(response.body_mut()), (STREAM.to_owned(), Ok(())));
    assert_eq!(rig.used(), (25, 1));
    drop(response);
    assert_eq!(rig.metric("tollgate_upstream_in_flight{upstream=\"up\"}"), 0.0);
    assert_eq!(rig.metric("tollgate_in_flight{tenant=\"acme\"}"), 0.0);
    let record = only_record(&rig);
    assert_eq!(record["outcome"], "ok");
    assert_eq!(record["served_model"], "gpt-real");
    assert_eq!(record["bytes_out"], STREAM.len());
    assert_eq!(record["usage_source"], "reported");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn the_chunk_that_only_we_asked_for_is_taken_out_wherever_the_stream_is_split(
        mut cuts in prop::collection::vec(0..STREAM.len(), 0..6)
    ) {
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&STREAM[from..cut]);
            from = cut;
        }
        pieces.push(&STREAM[from..]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let mut response = metered(&rig, stream(Scripted::text(&pieces), UsageChunk::TakeOut)).await;
            assert_eq!(drained(response.body_mut()), (without_usage_chunk(), Ok(())));
            drop(response);
            assert_eq!(rig.used(), (25, 1));
            assert_eq!(only_record(&rig)["bytes_out"], without_usage_chunk().len());
        });
    }
}

#[tokio::test]
async fn a_client_that_leaves_at_any_frame_is_settled_once_by_what_had_passed() {
    let pieces: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
    for read in 0..=pieces.len() + 1 {
        for body in [Scripted::text(&pieces), Scripted { knows_its_end: true, ..Scripted::text(&pieces) }] {
            let knows_its_end = body.knows_its_end;
            let mut rig = Rig::new();
            let task = tokio::spawn(rig.task().run());
            let mut response = metered(&rig, stream(body, UsageChunk::Keep)).await;
            for _ in 0..read {
                let _ = next(response.body_mut());
            }
            drop(response);
            rig.services.settling.flush().await;
            let whole = read > pieces.len() || knows_its_end && read == pieces.len();
            let record = only_record(&rig);
            assert_eq!(record["outcome"], if whole { "ok" } else { "client_gone" }, "{read}");
            // The third event reports; before it, what passed is estimated: "Hello" is one token.
            let expected = match read {
                0 => (rig.used().0, "estimated"),
                1 | 2 => (record["input_tokens"].as_u64().unwrap() + 1, "estimated"),
                _ => (25, "reported"),
            };
            assert_eq!((rig.used().0, record["usage_source"].as_str().unwrap()), expected, "{read}");
            assert_eq!(rig.used().1, 1);
            assert_eq!(rig.metric("tollgate_in_flight{tenant=\"acme\"}"), 0.0);
            task.abort();
        }
    }
}

#[tokio::test]
async fn a_cut_between_two_events_is_told_inside_the_stream_and_ends_unclean() {
    let first = STREAM.split_inclusive("\n\n").next().unwrap();
    for (error, code, outcome, attempt) in [
        (UpstreamError::Cut("reset".into()), "upstream_protocol", "upstream_truncated", "cut"),
        (UpstreamError::Protocol("chunk".into()), "upstream_protocol", "upstream_truncated", "protocol"),
        (UpstreamError::TimedOut(Waited::Idle), "upstream_timeout", "timeout", "timeout"),
        (UpstreamError::TimedOut(Waited::Total), "upstream_timeout", "timeout", "timeout"),
    ] {
        for usage_chunk in [UsageChunk::Keep, UsageChunk::TakeOut] {
            let rig = Rig::new();
            let body = Scripted::of([data(first), Step::Fail(error.clone()), data("data: never\n\n")]);
            let mut response = metered(&rig, stream(body, usage_chunk)).await;
            let (text, ended) = drained(response.body_mut());
            assert_eq!(ended, Err(CutShort));
            let told = text.strip_prefix(first).unwrap().strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
            let told: serde_json::Value = serde_json::from_str(told).unwrap();
            assert_eq!(told["error"]["code"], code);
            drop(response);
            let series = format!("tollgate_upstream_attempts_total{{upstream=\"up\",result=\"{attempt}\"}}");
            assert_eq!(rig.metric(&series), 1.0);
            let record = only_record(&rig);
            assert_eq!((&record["outcome"], &record["usage_source"]), (&outcome.into(), &"estimated".into()));
            assert_eq!(record["output_tokens"], 1);
        }
    }
}

#[tokio::test]
async fn a_cut_inside_an_event_is_a_cut_without_a_word() {
    let rig = Rig::new();
    let body = Scripted::of([data(&STREAM[..20]), Step::Fail(UpstreamError::Cut("reset".into()))]);
    let mut response = metered(&rig, stream(body, UsageChunk::Keep)).await;
    assert_eq!(drained(response.body_mut()), (STREAM[..20].to_owned(), Err(CutShort)));
    drop(response);
    assert_eq!(only_record(&rig)["outcome"], "upstream_truncated");
}

#[tokio::test]
async fn a_stream_that_ends_before_its_end_is_not_laundered_into_a_whole_one() {
    let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
    let with_usage = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":4}}\n\n";
    let second = "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    for (pieces, whole) in [
        (vec![events[0]], false),
        (vec![], false),
        // Some upstreams never say [DONE]; that each choice has its reason to end tells that the answer is whole.
        (events[..2].to_vec(), true),
        (events[..3].to_vec(), true),
        (vec![events[0], second, events[1]], false),
        // A usage tells nothing: some report it all along.
        (vec![with_usage], false),
        (vec![with_usage, with_usage], false),
        (vec![events[0], events[2]], false),
        (vec![with_usage, events[1]], true),
        (vec![events[0], events[3]], true),
    ] {
        let rig = Rig::new();
        let mut response = metered(&rig, stream(Scripted::text(&pieces), UsageChunk::Keep)).await;
        let (_, ended) = drained(response.body_mut());
        assert_eq!(ended.is_ok(), whole, "{pieces:?}");
        drop(response);
        assert_eq!(only_record(&rig)["outcome"], if whole { "ok" } else { "upstream_truncated" });
    }
}

#[tokio::test]
async fn a_failure_told_by_the_upstream_itself_passes_and_is_written_down_as_one() {
    let text = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\ndata: [DONE]\n\n";
    let rig = Rig::new();
    let mut response = metered(&rig, stream(Scripted::text(&[text]), UsageChunk::TakeOut)).await;
    assert_eq!(drained(response.body_mut()), (text.to_owned(), Ok(())));
    drop(response);
    assert_eq!(only_record(&rig)["outcome"], "upstream_error");
}

#[tokio::test]
async fn a_json_answer_keeps_its_length_and_ends_with_its_last_byte() {
    let rig = Rig::new();
    let (head, tail) = JSON.split_at(30);
    let mut response = metered(&rig, json(Scripted::text(&[head, tail]))).await;
    assert_eq!(response.headers()[CONTENT_LENGTH], JSON.len().to_string());
    assert_eq!(response.body().size_hint().exact(), Some(JSON.len() as u64));
    assert!(!response.body().is_end_stream());
    assert_eq!(next(response.body_mut()).unwrap().unwrap(), head);
    assert_eq!(response.body().size_hint().exact(), Some(tail.len() as u64));
    assert!(!response.body().is_end_stream());
    assert_eq!(rig.metric("tollgate_reservations{tenant=\"acme\"}"), 1.0);
    assert_eq!(next(response.body_mut()).unwrap().unwrap(), tail);
    assert!(response.body().is_end_stream());
    assert_eq!(response.body().size_hint().exact(), Some(0));
    assert_eq!(rig.used(), (25, 1), "settled with the last byte, not with the drop");
    drop(response);
    let record = only_record(&rig);
    assert_eq!((&record["outcome"], &record["served_model"]), (&"ok".into(), &"gpt-real".into()));
}

#[tokio::test]
async fn an_empty_answer_with_a_known_length_is_over_before_it_is_asked() {
    let rig = Rig::new();
    let response = metered(&rig, json(Scripted::text(&[]))).await;
    assert!(response.body().is_end_stream());
    assert_eq!(response.body().size_hint().exact(), Some(0));
    drop(response);
    assert_eq!(only_record(&rig)["outcome"], "ok");
}

#[tokio::test]
async fn a_json_answer_framed_by_the_end_of_the_connection_is_whole_only_if_the_document_is() {
    for (text, whole) in [(JSON, true), (&JSON[..60], false)] {
        let rig = Rig::new();
        let mut answer = json(Scripted::text(&[text]));
        answer.headers.clear();
        answer.body.knows_its_end = false;
        let mut response = metered(&rig, answer).await;
        let (passed, ended) = drained(response.body_mut());
        assert_eq!((passed.as_str(), ended.is_ok()), (text, whole));
        drop(response);
        assert_eq!(only_record(&rig)["outcome"], if whole { "ok" } else { "upstream_truncated" });
    }
}

#[tokio::test]
async fn a_json_answer_that_breaks_is_cut_without_a_word() {
    let rig = Rig::new();
    let mut answer = json(Scripted::of([data(&JSON[..40]), Step::Fail(UpstreamError::Cut("reset".into()))]));
    answer.body.knows_its_end = false;
    let mut response = metered(&rig, answer).await;
    assert_eq!(drained(response.body_mut()), (JSON[..40].to_owned(), Err(CutShort)));
    drop(response);
    assert_eq!(only_record(&rig)["outcome"], "upstream_truncated");
}

#[tokio::test]
async fn what_cannot_be_read_passes_untouched_and_is_counted() {
    let gzip = || vec![(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
    for (content_type, headers, why) in [
        ("audio/mpeg", Vec::new(), "content_type"),
        ("application/json", gzip(), "compressed"),
        ("text/event-stream", gzip(), "compressed"),
        ("text/event-streams", Vec::new(), "content_type"),
    ] {
        let rig = Rig::new();
        let (body, usage_chunk) = (Scripted::text(&[STREAM]), UsageChunk::TakeOut);
        let answer = Answer { content_type, headers, body, usage_chunk, endpoint: Endpoint::ChatCompletions };
        let mut response = metered(&rig, answer).await;
        assert_eq!(drained(response.body_mut()), (STREAM.to_owned(), Ok(())), "{content_type} {why}");
        drop(response);
        let series = |name: &str, reason: &str| format!("{name}{{endpoint=\"chat/completions\",reason=\"{reason}\"}}");
        assert_eq!(rig.metric(&series("tollgate_unmetered_responses_total", why)), 1.0, "{content_type} {why}");
        assert_eq!(rig.metric(&series("tollgate_usage_estimated_total", "not_reported")), 1.0, "{content_type} {why}");
        let record = only_record(&rig);
        assert_eq!((&record["outcome"], &record["usage_source"]), (&"ok".into(), &"estimated".into()));
    }
}

#[tokio::test]
async fn sound_and_plain_text_pass_untouched_and_are_not_amiss() {
    let text = "1\n00:00:00,000 --> 00:00:02,000\nHello there.\n";
    for (endpoint, content_type, output, why) in [
        (Endpoint::Speech, "audio/mpeg", None, "by_table"),
        (Endpoint::Speech, "application/octet-stream", None, "by_table"),
        (Endpoint::Transcriptions, "text/plain; charset=utf-8", Some(11), "not_reported"),
        (Endpoint::Transcriptions, "text/vtt", Some(11), "not_reported"),
        (Endpoint::Translations, "application/x-subrip", Some(0), "by_table"),
    ] {
        let rig = Rig::new();
        let (body, usage_chunk) = (Scripted::text(&[&text[..9], &text[9..]]), UsageChunk::TakeOut);
        let mut response =
            metered(&rig, Answer { content_type, headers: Vec::new(), body, usage_chunk, endpoint }).await;
        assert_eq!(drained(response.body_mut()), (text.to_owned(), Ok(())), "{content_type}");
        drop(response);
        let series = format!("tollgate_usage_estimated_total{{endpoint=\"{}\",reason=\"{why}\"}}", endpoint.path());
        assert_eq!(rig.metric(&series), 1.0, "{content_type}");
        assert!(!rig.services.metrics.render().contains("tollgate_unmetered_responses_total{"), "{content_type}");
        let record = only_record(&rig);
        let expected = output.unwrap_or(record["input_tokens"].as_u64().unwrap());
        assert_eq!((&record["output_tokens"], &record["outcome"]), (&expected.into(), &"ok".into()), "{content_type}");
    }
}

#[test]
fn a_body_on_its_way_is_small() {
    // A frame, the call, what is held, who reads along.
    assert!(size_of::<MeteredBody<()>>() <= 320, "{}", size_of::<MeteredBody<()>>());
    assert!(size_of::<Reader>() <= 24, "{}", size_of::<Reader>());
    assert!(size_of::<crate::gateway::call::Reading>() <= 96, "{}", size_of::<crate::gateway::call::Reading>());
}

#[tokio::test]
async fn empty_frames_and_trailers_go_no_further() {
    let rig = Rig::new();
    let body = Scripted::of([data(""), data(STREAM), data(""), Step::Trailers]);
    let mut response = metered(&rig, stream(body, UsageChunk::Keep)).await;
    assert_eq!(drained(response.body_mut()), (STREAM.to_owned(), Ok(())));
}

#[tokio::test]
async fn an_upstreams_refusal_passes_whole_and_charges_the_request_alone() {
    for (input, usage, tokens) in [
        (InputCharge::None, None, 0),
        (InputCharge::None, Some(crate::usage::Usage { input: 3, ..Default::default() }), 3),
    ] {
        let rig = Rig::new();
        let (mut call, admission) = rig.admitted(Endpoint::ChatCompletions, true).await;
        let now = rig.clock.now();
        call.note(|facts| facts.sent = Some(now));
        let mut parts = Response::new(()).into_parts().0;
        parts.status = http::StatusCode::TOO_MANY_REQUESTS;
        parts.headers.insert("retry-after", HeaderValue::from_static("7"));
        parts.headers.insert("x-request-id", HeaderValue::from_static("theirs"));
        let reply = Reply::<Scripted>::Refusal { parts, body: Bytes::from_static(b"{\"error\":{}}"), input, usage };
        let id = HeaderValue::from_static("req_1");
        let mut response = meter(reply, call, admission.flight, id, &admission.view);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(response.headers()["x-request-id"], "theirs");
        assert_eq!(response.headers()["x-tollgate-request-id"], "req_1");
        assert!(!response.headers().contains_key("x-tollgate-error"));
        assert_eq!(drained(response.body_mut()), ("{\"error\":{}}".to_owned(), Ok(())));
        assert_eq!(rig.used(), (tokens, 1));
        let record = only_record(&rig);
        assert_eq!((&record["outcome"], &record["status"]), (&"upstream_error".into(), &429.into()));
    }
}

/// What a server built on hyper writes for an answer, byte for byte, until it closes.
async fn on_the_wire(response: Response<ResponseBody<Scripted>>) -> String {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let response = Mutex::new(Some(response));
    let service = hyper::service::service_fn(move |_request| {
        let response = response.lock().unwrap().take().unwrap();
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(near), service);
    far.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let (_, read) = tokio::join!(connection, far.read_to_end(&mut bytes));
    read.unwrap();
    String::from_utf8(bytes).unwrap().to_lowercase()
}

#[tokio::test]
async fn hyper_frames_a_known_length_by_it_and_a_stripped_stream_in_chunks() {
    let rig = Rig::new();
    let wire = on_the_wire(metered(&rig, json(Scripted::text(&[JSON]))).await).await;
    assert!(wire.contains(&format!("content-length: {}\r\n", JSON.len())), "{wire}");
    assert!(!wire.contains("transfer-encoding") && wire.ends_with(&JSON.to_lowercase()), "{wire}");

    let mut answer = stream(Scripted::text(&[STREAM]), UsageChunk::TakeOut);
    answer.headers = vec![(CONTENT_LENGTH, HeaderValue::from(STREAM.len()))];
    answer.body.knows_its_end = true;
    let wire = on_the_wire(metered(&rig, answer).await).await;
    assert!(wire.contains("transfer-encoding: chunked\r\n") && !wire.contains("content-length"), "{wire}");
    assert!(wire.ends_with("\r\n0\r\n\r\n"), "{wire}");
}

#[tokio::test]
async fn a_body_made_here_is_one_frame_with_its_length() {
    let mut body = ResponseBody::<Scripted>::Full(Bytes::from_static(b"abc"));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
    assert_eq!(next(&mut body), Some(Ok(Bytes::from_static(b"abc"))));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    assert_eq!(next(&mut body), None);
    let empty = ResponseBody::<Scripted>::Full(Bytes::new());
    assert!(empty.is_end_stream());
    assert_eq!(empty.collect().await.unwrap().to_bytes().len(), 0);
}
