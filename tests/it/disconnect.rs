//! Holds the gateway to what it does when a client leaves: the upstream's work ends at once, and the books are closed once.
//!
//! Each way to leave is tried at each stage of a call. Nothing sleeps: a test leaves when it knows where the call stands.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tollgate::limits::Kind;

use crate::metering::{Books, books};
use crate::support::client::post;
use crate::support::http2::ClientBody;
use crate::support::{
    Closed, Gate, Http2Client, MockUpstream, RawClient, Script, TestGateway, fixture, position, standard, within,
};

const PATH: &str = "/v1/chat/completions";
const CALL: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Name a river."}]}"#;
/// How soon the upstream must see it. It is a matter of milliseconds; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// HTTP/1.1: an orderly end of the connection.
    Close,
    /// HTTP/1.1: a reset of the connection.
    Reset,
    /// HTTP/2: RST_STREAM, the connection goes on.
    Stream,
    /// HTTP/2: the whole connection.
    Connection,
}

const WAYS: [Leave; 4] = [Leave::Close, Leave::Reset, Leave::Stream, Leave::Connection];

/// A client in the middle of its call.
enum Client {
    Http1(RawClient),
    Http2(Http2Client, Box<dyn std::any::Any + Send>),
}

impl Client {
    /// Leaves, and says when.
    async fn leave(self, how: Leave) -> Instant {
        let now = Instant::now();
        match (self, how) {
            (Client::Http1(client), Leave::Reset) => client.reset(),
            (Client::Http1(client), _) => client.close(),
            (Client::Http2(client, call), Leave::Stream) => {
                drop(call);
                // The connection works on, which also sends what the drop has to say.
                client.probe().await;
            }
            (Client::Http2(client, call), _) => {
                client.drop_connection().await;
                drop(call);
            }
        }
        now
    }
}

fn speaks_http2(how: Leave) -> bool {
    matches!(how, Leave::Stream | Leave::Connection)
}

/// Leaves when the upstream has the call, which plays `script`, and the client has read `seen` of the answer.
async fn leave_at(stage: &str, script: Script, seen: Option<&[u8]>, how: Leave) -> Books {
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::over(&upstream);
    let client = if speaks_http2(how) {
        let client = Http2Client::connect(gateway.address()).await;
        let call = client.post(PATH, ClientBody::whole(CALL.as_bytes()));
        match seen {
            None => {
                let waiting = tokio::spawn(call);
                upstream.request(0).await;
                Client::Http2(client, Box::new(AbortOnDrop(waiting.abort_handle())))
            }
            Some(seen) => {
                let mut body = within("the answer's head", call).await.unwrap().into_body();
                let mut read = Vec::new();
                while position(&read, seen).is_none() {
                    let frame = within("the answer's next frame", body.frame()).await.unwrap().unwrap();
                    read.extend_from_slice(&frame.into_data().unwrap());
                }
                Client::Http2(client, Box::new(body))
            }
        }
    } else {
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&post(PATH, &[], CALL.as_bytes())).await;
        if let Some(seen) = seen {
            client.until(seen).await;
        }
        Client::Http1(client)
    };
    upstream.request(0).await;
    assert_eq!(gateway.metric("tollgate_in_flight", &[("tenant", "acme")]).await, 1.0);
    assert_eq!(gateway.metric("tollgate_reservations", &[("tenant", "acme")]).await, 1.0);
    assert!(gateway.level("acme", Kind::Tokens) >= 500, "the whole cap is reserved meanwhile");

    let left = client.leave(how).await;
    let Closed { at, how: closed, .. } = upstream.closed_during(0).await;
    let took = at.saturating_duration_since(left);
    println!("{stage}, {how:?}: the upstream saw it after {took:?} ({closed:?})");
    assert!(took < SOON, "{stage}, {how:?}: {took:?}");

    let books = books(gateway, 1).await;
    assert_eq!(books.record["outcome"], "client_gone", "{stage}, {how:?}");
    assert_eq!(books.record["usage_source"], "estimated", "{stage}, {how:?}");
    assert!((3..=5).contains(&books.input), "{stage}, {how:?}: {}", books.record);
    books
}

/// A call that is waited for in a task of its own.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_upstreams_work() {
    for how in WAYS {
        let books = leave_at("before the head", Script::new().wait(&Gate::new()), None, how).await;
        assert_eq!(books.record["first_byte_ms"], serde_json::Value::Null);
        assert_eq!(books.record["bytes_out"], 0);
        assert!(books.output <= 499, "at most what was reserved: {}", books.record);
    }
}

#[tokio::test]
async fn a_client_that_leaves_between_chunks_ends_the_upstreams_work() {
    let stream = fixture("chat_stream_with_usage.sse");
    let first = position(&stream, b"Danube").unwrap();
    let first = &stream[..first - position_back(&stream[..first], b"data: ")];
    for how in WAYS {
        let script = Script::stream_head().chunk(first).wait(&Gate::new());
        let books = leave_at("between chunks", script, Some(b"The "), how).await;
        assert_eq!(books.output, 1, "\"The \", four bytes: {}", books.record);
    }
}

/// How many bytes before the end `needle` last begins.
fn position_back(haystack: &[u8], needle: &[u8]) -> usize {
    let begins = haystack.windows(needle.len()).rposition(|window| window == needle).unwrap();
    haystack.len() - begins
}

#[tokio::test]
async fn a_client_that_leaves_just_before_the_usage_is_charged_by_an_estimate() {
    let stream = fixture("chat_stream_with_usage.sse");
    let usage = position(&stream, b"prompt_tokens").unwrap();
    let before = &stream[..usage - position_back(&stream[..usage], b"data: ")];
    // Also with a part of that event under way: it is held back, so the client has not seen it.
    for part in [before, &stream[..usage]] {
        for how in WAYS {
            let script = Script::stream_head().chunk(part).wait(&Gate::new());
            let books = leave_at("before the usage", script, Some(b"\"finish_reason\":\"stop\""), how).await;
            assert_eq!(books.output, 3, "\"The Danube.\", eleven bytes: {}", books.record);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_usage_is_charged_by_it() {
    let stream = fixture("chat_stream_with_usage.sse");
    let before_done = &stream[..stream.len() - b"data: [DONE]\n\n".len()];
    let asked = CALL.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    let upstream = MockUpstream::playing(Script::stream_head().chunk(before_done).wait(&Gate::new())).await;
    let gateway = TestGateway::over(&upstream);
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&post(PATH, &[], asked.as_bytes())).await;
    client.until(b"total_tokens").await;
    client.reset();
    upstream.closed_during(0).await;
    let books = books(gateway, 1).await;
    assert_eq!(books.record["outcome"], "client_gone");
    assert_eq!(books.record["usage_source"], "reported");
    assert_eq!((books.input, books.output), (19, 7));
}

#[tokio::test]
async fn where_the_upstream_is_to_be_drained_its_answer_is_read_to_its_usage() {
    let stream = fixture("chat_stream_with_usage.sse");
    let first = position(&stream, b"Danube").unwrap();
    let first = first - position_back(&stream[..first], b"data: ");
    let gate = Gate::new();
    let script = Script::stream_head().chunk(&stream[..first]).wait(&gate).chunk(&stream[first..]).last_chunk();
    let upstream = MockUpstream::playing(script).await;
    let drained = "provider = \"compatible\"\non_disconnect = \"drain\"";
    let gateway = TestGateway::start(&standard(&upstream).replace("provider = \"compatible\"", drained));
    let client = Http2Client::connect(gateway.address()).await;
    let call = client.post(PATH, ClientBody::whole(CALL.as_bytes()));
    let mut body = within("the answer's head", call).await.unwrap().into_body();
    let mut read = Vec::new();
    while position(&read, b"The ").is_none() {
        let frame = within("the answer's next frame", body.frame()).await.unwrap().unwrap();
        read.extend_from_slice(&frame.into_data().unwrap());
    }
    Client::Http2(client, Box::new(body)).leave(Leave::Stream).await;
    assert_eq!(gateway.metric("tollgate_in_flight", &[("tenant", "acme")]).await, 1.0, "it keeps its place");
    gate.open();
    let books = books(gateway, 1).await;
    assert_eq!((&books.record["outcome"], &books.record["usage_source"]), (&"client_gone".into(), &"reported".into()));
    assert_eq!((books.input, books.output), (19, 7), "{}", books.record);
    assert_eq!(books.record["bytes_out"], read.len());
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_never_reaches_an_upstream_and_pays_nothing() {
    for how in WAYS {
        let upstream = MockUpstream::start().await;
        let gateway = TestGateway::over(&upstream);
        // Held to the end: a body that ended would be a whole one.
        let (pieces, body) = ClientBody::open();
        let client = if speaks_http2(how) {
            let client = Http2Client::connect(gateway.address()).await;
            let waiting = tokio::spawn(client.post(PATH, body));
            pieces.send(CALL.as_bytes()[..20].to_vec().into()).unwrap();
            // Frames of one connection are read in their order, so after this answer the call has begun.
            client.probe().await;
            Client::Http2(client, Box::new(AbortOnDrop(waiting.abort_handle())))
        } else {
            let mut client = RawClient::connect(gateway.address()).await;
            let request = post(PATH, &[("expect", "100-continue")], CALL.as_bytes());
            let head = request.len() - CALL.len();
            client.write(&request[..head]).await;
            // Said when someone wants the body: the call has begun.
            assert_eq!(client.head().await.status(), 100);
            client.write(&request[head..head + 20]).await;
            Client::Http1(client)
        };
        client.leave(how).await;
        let record = gateway.records(1).await.remove(0);
        assert_eq!(record["outcome"], "client_gone", "{how:?}: {record}");
        assert_eq!(record["attempts"], 0, "{how:?}: {record}");
        assert!(record["status"].is_null() && record["bytes_out"] == 0, "{how:?}: nobody was sent anything: {record}");
        assert!(record["input_tokens"].is_null() && record["output_tokens"].is_null(), "{how:?}: {record}");
        assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0], "{how:?}");
        for gauge in ["tollgate_in_flight", "tollgate_reservations"] {
            assert_eq!(gateway.metric(gauge, &[]).await, 0.0, "{how:?}: {gauge}");
        }
        assert_eq!(upstream.connections(), 0, "{how:?}");
        assert_eq!(gateway.shut_down().await.len(), 1, "{how:?}");
        drop(pieces);
    }
}

#[tokio::test]
async fn one_stream_that_is_reset_leaves_its_neighbours_on_the_connection_alone() {
    let (leave, go_on) = (Gate::new(), Gate::new());
    let stream = fixture("chat_stream_with_usage.sse");
    let (first, rest) = stream.split_at(position(&stream, b"\n\n").unwrap() + 2);
    let upstream = MockUpstream::start().await;
    upstream.push(Script::stream_head().chunk(first).wait(&leave));
    upstream.push(Script::stream_head().chunk(first).wait(&go_on).chunk(rest).last_chunk());
    let gateway = TestGateway::over(&upstream);
    let client = Http2Client::connect(gateway.address()).await;
    let leaving = client.call(PATH, CALL.as_bytes()).await;
    let staying = client.call(PATH, CALL.as_bytes()).await;
    drop(leaving);
    upstream.closed_during(0).await;
    go_on.open();
    let (_, error) = crate::support::http2::collect(staying.into_body()).await;
    assert!(error.is_none(), "{error:?}");
    let records = gateway.records(2).await;
    let mut outcomes: Vec<&str> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["client_gone", "ok"]);
    gateway.metric_becomes("tollgate_in_flight", &[], 0.0).await;
}
