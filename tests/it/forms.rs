//! Holds the gateway to how it lets forms through: byte by byte, as they arrive, by their `model` part, at no cost of memory.
//!
//! Nothing sleeps: a client stops, leaves or goes on when it knows how far its upload has come.

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use crc32fast::Hasher;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tollgate::limits::Kind;

use crate::support::http2::ClientBody;
use crate::support::{
    Answer, Ended, Head, Http2Client, KEY, MockUpstream, RawClient, Script, TestGateway, standard, within,
};

const PATH: &str = "/v1/audio/transcriptions";
const TYPE: &str = "multipart/form-data; boundary=----tollgate-7d1f";
const ANSWER: &str =
    r#"{"text":"The Danube.","usage":{"type":"tokens","input_tokens":12,"output_tokens":4,"total_tokens":16}}"#;

fn part(head: &str, content: &[u8]) -> Vec<u8> {
    [format!("------tollgate-7d1f\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(), content, b"\r\n"]
        .concat()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    part(&format!("name=\"{name}\""), value.as_bytes())
}

/// A file whose bytes look like what could end it, and do not.
fn file(size: usize) -> Vec<u8> {
    let noise = b"\r\n------tollgate-7d1e\r\n\0\xff--";
    let content: Vec<u8> = noise.iter().copied().cycle().take(size).collect();
    part("name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav", &content)
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"------tollgate-7d1f--\r\n".to_vec()].concat()
}

fn head(path: &str, framing: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\ncontent-type: {TYPE}\r\n{framing}\r\n\r\n")
        .into_bytes()
}

fn with_length(path: &str, body: &[u8]) -> Vec<u8> {
    [&head(path, &format!("content-length: {}", body.len())), body].concat()
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

async fn call(gateway: &TestGateway, request: &[u8]) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request).await;
    client.answer().await
}

/// What a [`Sink`] saw of one request. It keeps no body.
#[derive(Debug)]
struct Seen {
    head: Head,
    length: u64,
    digest: u32,
    /// Whether the body came to the end that its framing says.
    whole: bool,
}

/// An upstream that reads bodies of any size, and may answer before it has.
struct Sink {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Bytes of bodies read so far.
    read: watch::Receiver<u64>,
}

impl Sink {
    /// Answers at the body's end, or when so much of it was read; then it reads no more.
    async fn answering(early: Option<u64>, answer: Vec<u8>) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let (progress, read) = watch::channel(0);
        tokio::spawn(async move {
            // Held to the end, so that no close tells the peer anything.
            let mut held = Vec::new();
            while let Ok((mut tcp, _)) = listener.accept().await {
                let seen = swallow(&mut tcp, early, &progress).await;
                if seen.whole || early.is_some() {
                    tcp.write_all(&answer).await.unwrap();
                    held.push(tcp);
                }
                let _ = tell.send(seen);
            }
        });
        Sink { address, seen, read }
    }

    async fn next(&mut self) -> Seen {
        within("the sink to see a request", self.seen.recv()).await.unwrap()
    }

    async fn has_read(&mut self, bytes: u64) {
        within("the sink to read", self.read.wait_for(|read| *read >= bytes)).await.unwrap();
    }

    /// A gateway whose upstream this is, with more of a `[server]` table.
    async fn gateway(&self, server: &str) -> TestGateway {
        let mock = MockUpstream::start().await;
        let config = standard(&mock).replace(&mock.address.to_string(), &self.address.to_string());
        TestGateway::start(&format!("{config}\n[server]\n{server}\n"))
    }
}

async fn swallow(tcp: &mut TcpStream, early: Option<u64>, progress: &watch::Sender<u64>) -> Seen {
    let mut buffer = Vec::new();
    let head = loop {
        if let Some(head) = Head::parse(&buffer) {
            break head;
        }
        assert!(tcp.read_buf(&mut buffer).await.unwrap() > 0, "the connection ended in a head");
    };
    buffer.drain(..head.raw.len());
    let mut body = Body::of(&head);
    loop {
        body.feed(&mut buffer);
        progress.send_replace(body.length);
        if body.left == Left::Nothing || early.is_some_and(|early| body.length >= early) {
            break;
        }
        buffer.reserve(64 * 1024);
        if !matches!(tcp.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
    }
    Seen { head, length: body.length, digest: body.digest.finalize(), whole: body.left == Left::Nothing }
}

/// A body that is read out of its framing, and not kept.
struct Body {
    left: Left,
    length: u64,
    digest: Hasher,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Bytes, then nothing.
    Bytes(u64),
    /// Bytes of a chunk, and of the line's end behind it.
    Chunk(u64),
    /// A chunk's size.
    Size,
    /// The last line.
    Last,
    Nothing,
}

impl Body {
    fn of(head: &Head) -> Body {
        let left = match head.content_length() {
            Some(0) => Left::Nothing,
            Some(length) => Left::Bytes(length as u64),
            None => Left::Size,
        };
        Body { left, length: 0, digest: Hasher::new() }
    }

    fn feed(&mut self, buffer: &mut Vec<u8>) {
        loop {
            match self.left {
                Left::Nothing => return,
                Left::Bytes(left) => {
                    let taken = self.data(buffer, left);
                    self.left = if taken == left { Left::Nothing } else { Left::Bytes(left - taken) };
                    return;
                }
                Left::Chunk(left) if left > 2 => {
                    let taken = self.data(buffer, left - 2);
                    self.left = Left::Chunk(left - taken);
                    if left - taken > 2 {
                        return;
                    }
                }
                Left::Chunk(_) | Left::Last => {
                    if buffer.len() < 2 {
                        return;
                    }
                    assert_eq!(buffer.drain(..2).collect::<Vec<u8>>(), b"\r\n");
                    self.left = if self.left == Left::Last { Left::Nothing } else { Left::Size };
                }
                Left::Size => {
                    let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") else { return };
                    let line: Vec<u8> = buffer.drain(..end + 2).collect();
                    let size = u64::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
                    self.left = if size == 0 { Left::Last } else { Left::Chunk(size + 2) };
                }
            }
        }
    }

    fn data(&mut self, buffer: &mut Vec<u8>, most: u64) -> u64 {
        let taken = most.min(buffer.len() as u64);
        self.digest.update(&buffer[..taken as usize]);
        buffer.drain(..taken as usize);
        self.length += taken;
        taken
    }
}

/// The sink serves each connection once.
fn whole_answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The one record of a call that cost nothing, after which nothing is held.
async fn cost_nothing(gateway: &TestGateway, outcome: &str) -> Value {
    let record = gateway.records(1).await.remove(0);
    assert_eq!(record["outcome"], outcome, "{record}");
    for key in ["input_tokens", "output_tokens", "usage_source"] {
        assert!(record[key].is_null(), "{key} of {record}");
    }
    for gauge in ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"] {
        gateway.metric_becomes(gauge, &[], 0.0).await;
    }
    assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0], "{record}");
    record
}

#[tokio::test]
async fn a_form_as_sdks_send_it_passes_byte_by_byte() {
    let upstream = MockUpstream::playing(Script::json(200, ANSWER)).await;
    let gateway = TestGateway::over(&upstream);
    let small = form(&[field("model", "whisper-1"), field("response_format", "json"), file(1_000)]);
    let large = form(&[field("model", "whisper-1"), field("prompt", "rivers"), file(3 << 20)]);
    for (number, body) in [small, large].iter().enumerate() {
        let answer = call(&gateway, &with_length(PATH, body)).await;
        assert_eq!((answer.status(), answer.body.as_slice()), (200, ANSWER.as_bytes()));
        let received = upstream.request(number).await;
        assert!(received.body == *body, "the form was changed");
        assert_eq!(received.head.get("content-type"), Some(TYPE));
        assert_eq!(received.head.content_length(), Some(body.len()));
        assert!(received.head.start.starts_with("POST /v1/audio/transcriptions "), "{}", received.head.start);
        let record = gateway.records(number + 1).await.remove(number);
        assert_eq!((&record["model"], &record["bytes_in"]), (&"whisper-1".into(), &body.len().into()), "{record}");
        assert_eq!((&record["outcome"], &record["status"]), (&"ok".into(), &200.into()), "{record}");
    }
}

#[tokio::test]
async fn where_the_deployment_has_another_name_only_that_is_spliced_and_the_length_follows() {
    let upstream = MockUpstream::playing(Script::json(200, ANSWER)).await;
    let config = standard(&upstream)
        .replace("to = [\"mock\"]", "to = [{ upstream = \"mock\", model = \"a-much-longer-deployment-name\" }]");
    let gateway = TestGateway::start(&config);
    let parts = |model: &str| form(&[field("model", model), field("model-like", "whisper-1"), file(200_000)]);
    let late = |model: &str| form(&[file(200_000), field("model", model), field("stream", "false")]);
    for (number, body) in [parts("whisper-1"), late("whisper-1")].iter().enumerate() {
        assert_eq!(call(&gateway, &with_length(PATH, body)).await.status(), 200);
        let wanted = [parts("a-much-longer-deployment-name"), late("a-much-longer-deployment-name")];
        let received = upstream.request(number).await;
        assert_eq!(received.head.content_length(), Some(wanted[number].len()));
        assert!(received.body == wanted[number], "more than the model was changed");
        assert_eq!(gateway.records(number + 1).await.remove(number)["model"], "whisper-1");
    }
}

#[tokio::test]
async fn a_form_in_chunks_goes_on_in_chunks() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let gateway = sink.gateway("").await;
    let body = form(&[field("model", "whisper-1"), file(2 << 20)]);
    let chunks: Vec<u8> = body.chunks(40_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
    let answer = call(&gateway, &[head(PATH, "transfer-encoding: chunked"), chunks].concat()).await;
    assert_eq!(answer.status(), 200);
    let seen = sink.next().await;
    assert!(seen.whole && seen.head.is_chunked() && seen.head.content_length().is_none());
    assert_eq!((seen.length, seen.digest), (body.len() as u64, crc32fast::hash(&body)));
    assert_eq!(gateway.records(1).await[0]["bytes_in"], body.len());
}

#[tokio::test]
async fn a_file_before_the_model_is_held_up_to_the_spool_and_not_beyond() {
    let upstream = MockUpstream::playing(Script::json(200, ANSWER)).await;
    let gateway = TestGateway::start(&format!("{}\n[server]\nform_spool = \"1MiB\"\n", standard(&upstream)));
    let within_it = form(&[file(900_000), field("model", "whisper-1"), field("stream", "false")]);
    assert_eq!(call(&gateway, &with_length(PATH, &within_it)).await.status(), 200);
    assert!(upstream.request(0).await.body == within_it);
    gateway.records(1).await;
    let levels = || [Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind));
    let before = levels();

    let beyond = form(&[file(1_300_000), field("model", "whisper-1")]);
    let answer = call(&gateway, &with_length(PATH, &beyond)).await;
    assert_eq!((answer.status(), answer.code().as_str()), (400, "missing_required_parameter"));
    let error = &answer.json()["error"];
    assert_eq!(error["param"], "model");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("model part first") && message.contains("server.form_spool"), "{message}");
    let record = gateway.records(2).await.remove(1);
    assert_eq!((&record["outcome"], &record["attempts"]), (&"refused".into(), &0.into()));
    assert_eq!((upstream.received().len(), levels()), (1, before));
}

#[tokio::test]
async fn what_is_wrong_before_the_file_is_told_before_anyone_is_called() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    let long = part(&format!("name=\"file\"; filename=\"{}\"", "x".repeat(9_000)), b"x");
    let model = || field("model", "whisper-1");
    for (body, status, code, param) in [
        (form(&[model(), model(), file(9)]), 400, "duplicate_key", Some("model")),
        (form(&[field("Model", "other"), model(), file(9)]), 400, "ambiguous_key", Some("Model")),
        (form(&[part("name=\"model\"; filename=\"m\"", b"m"), file(9)]), 400, "invalid_value", Some("model")),
        (form(&[part("name=\"a\"; name=\"model\"", b"m"), file(9)]), 400, "invalid_request", None),
        (form(&[long, model()]), 400, "invalid_request", None),
        (form(&[file(9)]), 400, "missing_required_parameter", Some("model")),
        (form(&[model(), file(9)])[2..].to_vec(), 400, "invalid_request", None),
        (parts_without_end(), 400, "invalid_request", None),
        (b"{\"model\":\"whisper-1\"}".to_vec(), 400, "invalid_request", None),
    ] {
        let answer = call(&gateway, &with_length(PATH, &body)).await;
        assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{}", String::from_utf8_lossy(&body));
        assert_eq!(answer.json()["error"]["param"].as_str(), param);
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0]);
}

fn parts_without_end() -> Vec<u8> {
    [field("model", "whisper-1"), file(9)].concat()
}

#[tokio::test]
async fn a_form_that_turns_out_wrong_on_its_way_never_becomes_whole_upstream() {
    let model = || field("model", "whisper-1");
    let twice = form(&[model(), file(2 << 20), model()]);
    let endless = [model(), file(2 << 20)].concat();
    for (body, code) in [(twice, "duplicate_key"), (endless, "invalid_request")] {
        let chunked: Vec<u8> = body.chunks(60_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
        let framed = [with_length(PATH, &body), [head(PATH, "transfer-encoding: chunked"), chunked].concat()];
        for request in framed {
            let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
            let gateway = sink.gateway("").await;
            let answer = call(&gateway, &request).await;
            assert_eq!((answer.status(), answer.code().as_str()), (400, code));
            let seen = sink.next().await;
            assert!(!seen.whole, "the upstream would have worked on it: {seen:?}");
            let record = cost_nothing(&gateway, "refused").await;
            assert_eq!((&record["attempts"], &record["status"]), (&1.into(), &400.into()), "{record}");
            assert_eq!(gateway.metric("tollgate_upstream_attempts_total", &[]).await, 0.0, "not the upstream's fault");
        }
    }
}

#[tokio::test]
async fn a_form_beyond_the_limit_is_refused_before_it_comes_or_when_it_has_grown() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let gateway = sink.gateway("max_upload = \"1MiB\"").await;
    let body = form(&[field("model", "whisper-1"), file(3 << 20)]);
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&head(PATH, &format!("content-length: {}", body.len()))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.code().as_str()), (413, "request_too_large"));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("server.max_upload"));
    cost_nothing(&gateway, "refused").await;
    drop(gateway);

    let gateway = sink.gateway("max_upload = \"1MiB\"").await;
    let chunks: Vec<u8> = body.chunks(50_000).flat_map(chunk).collect();
    let answer = call(&gateway, &[head(PATH, "transfer-encoding: chunked"), chunks].concat()).await;
    assert_eq!((answer.status(), answer.code().as_str()), (413, "request_too_large"));
    let seen = sink.next().await;
    assert!(!seen.whole && seen.length <= 1 << 20, "{seen:?}");
    cost_nothing(&gateway, "refused").await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_pays_nothing_and_the_upstream_never_gets_the_whole() {
    for reset in [false, true] {
        let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
        let gateway = sink.gateway("").await;
        let request = with_length(PATH, &form(&[field("model", "whisper-1"), file(4 << 20)]));
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&request[..2 << 20]).await;
        sink.has_read(1 << 20).await;
        if reset {
            client.reset()
        } else {
            client.close()
        }
        let seen = sink.next().await;
        assert!(!seen.whole);
        let record = cost_nothing(&gateway, "client_gone").await;
        assert_eq!(record["attempts"], 1, "{record}");
        assert!(record["bytes_in"].as_u64().unwrap() >= 1 << 20, "{record}");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_in_the_middle_pays_nothing_either() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let gateway = sink.gateway("").await;
    let body = form(&[field("model", "whisper-1"), file(4 << 20)]);
    let client = Http2Client::connect(gateway.address()).await;
    let (pieces, open) = ClientBody::open();
    let answer = tokio::spawn(client.post_as(TYPE, PATH, open));
    pieces.send(body[..2 << 20].to_vec().into()).unwrap();
    sink.has_read(2 << 20).await;
    answer.abort();
    client.probe().await;
    assert!(!sink.next().await.whole);
    cost_nothing(&gateway, "client_gone").await;
    drop(pieces);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_in_the_middle_of_an_upload_has_not_worked_for_it() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = upstream.accept().await.unwrap();
        swallow(&mut tcp, Some(1_000), &watch::Sender::new(0)).await;
    });
    let mock = MockUpstream::start().await;
    let gateway = TestGateway::start(&standard(&mock).replace(&mock.address.to_string(), &address.to_string()));
    let request = with_length(PATH, &form(&[field("model", "whisper-1"), file(32 << 20)]));
    let (mut reading, mut writing) = TcpStream::connect(gateway.address()).await.unwrap().into_split();
    let upload = tokio::spawn(async move {
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut answer = Vec::new();
    within("the answer", async {
        while Head::parse(&answer).is_none() {
            assert!(reading.read_buf(&mut answer).await.unwrap() > 0);
        }
    })
    .await;
    let head = Head::parse(&answer).unwrap();
    assert_eq!((head.status(), head.get("x-tollgate-error")), (502, Some("upstream_protocol")));
    let record = cost_nothing(&gateway, "upstream_error").await;
    assert_eq!(record["attempts"], 1, "{record}");
    upload.abort();
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_is_told_so_and_not_the_upstream_blamed() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let mock = MockUpstream::start().await;
    let config = standard(&mock).replace(&mock.address.to_string(), &sink.address.to_string());
    let gateway = TestGateway::start(&format!(
        "{config}timeouts = {{ first_byte = \"50ms\" }}\n[server.timeouts]\nbody_idle = \"300ms\"\n"
    ));
    let request = with_length(PATH, &form(&[field("model", "whisper-1"), file(4 << 20)]));
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&request[..1 << 20]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.code().as_str()), (408, "request_timeout"));
    assert!(!sink.next().await.whole);
    cost_nothing(&gateway, "refused").await;
}

#[tokio::test]
async fn an_answer_before_the_upload_is_read_passes_on_and_the_upload_is_given_up() {
    let refusal =
        r#"{"error":{"message":"Not this file.","type":"invalid_request_error","param":"file","code":"invalid_file"}}"#;
    let mut sink = Sink::answering(Some(100_000), whole_answer(400, refusal)).await;
    let gateway = sink.gateway("").await;
    let request = with_length(PATH, &form(&[field("model", "whisper-1"), file(64 << 20)]));
    let (mut reading, mut writing) = TcpStream::connect(gateway.address()).await.unwrap().into_split();
    // Goes on as long as anybody reads.
    let upload = tokio::spawn(async move {
        let written = writing.write_all(&request).await;
        (written, writing)
    });
    let mut answer = Vec::new();
    within("the answer", async {
        while !answer.ends_with(refusal.as_bytes()) {
            assert!(reading.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
    })
    .await;
    let head = Head::parse(&answer).unwrap();
    assert_eq!((head.status(), head.get("x-tollgate-error")), (400, None));
    let seen = sink.next().await;
    assert!(!seen.whole && seen.length < 2 << 20, "{seen:?}");
    let record = gateway.records(1).await.remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&"upstream_error".into(), &400.into()), "{record}");
    assert!(record["input_tokens"].is_null(), "{record}");
    for gauge in ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"] {
        gateway.metric_becomes(gauge, &[], 0.0).await;
    }
    drop(reading);
    upload.abort();
}

#[tokio::test]
async fn an_answer_and_a_reset_before_the_upload_is_read_are_still_an_answer() {
    let refusal =
        r#"{"error":{"message":"Too large for us.","type":"invalid_request_error","param":null,"code":null}}"#;
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = upstream.accept().await.unwrap();
        swallow(&mut tcp, Some(1_000), &watch::Sender::new(0)).await;
        tcp.write_all(&whole_answer(413, refusal)).await.unwrap();
        // Closed over unread bytes, which is a reset.
    });
    let mock = MockUpstream::start().await;
    let gateway = TestGateway::start(&standard(&mock).replace(&mock.address.to_string(), &address.to_string()));
    let request = with_length(PATH, &form(&[field("model", "whisper-1"), file(1 << 20)]));
    let answer = call(&gateway, &request).await;
    assert_eq!((answer.status(), answer.header("x-tollgate-error")), (413, None));
    assert_eq!(answer.body, refusal.as_bytes());
    assert_eq!(gateway.records(1).await[0]["outcome"], "upstream_error");
}

#[tokio::test]
async fn an_answer_that_begins_while_the_upload_goes_on_passes_beside_it() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut tcp, _) = upstream.accept().await.unwrap();
        let mut buffer = Vec::new();
        let head = loop {
            tcp.read_buf(&mut buffer).await.unwrap();
            if let Some(head) = Head::parse(&buffer) {
                break head;
            }
        };
        let answer = whole_answer(200, ANSWER);
        let (first, rest) = answer.split_at(answer.len() - 10);
        tcp.write_all(first).await.unwrap();
        buffer.drain(..head.raw.len());
        let mut body = Body::of(&head);
        while body.left != Left::Nothing {
            body.feed(&mut buffer);
            if body.left != Left::Nothing {
                assert!(tcp.read_buf(&mut buffer).await.unwrap() > 0, "the upload was given up");
            }
        }
        tcp.write_all(rest).await.unwrap();
        let _ = tell.send((body.length, body.digest.finalize()));
        std::future::pending::<()>().await;
    });
    let mock = MockUpstream::start().await;
    let gateway = TestGateway::start(&standard(&mock).replace(&mock.address.to_string(), &address.to_string()));
    let body = form(&[field("model", "whisper-1"), file(8 << 20)]);
    let request = with_length(PATH, &body);
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&request[..1 << 20]).await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    client.write(&request[1 << 20..]).await;
    let (answer, ended) = client.body(&head).await;
    assert_eq!((answer.as_slice(), ended), (ANSWER.as_bytes(), Ended::Whole));
    assert_eq!(within("the upload's end", told).await.unwrap(), (body.len() as u64, crc32fast::hash(&body)));
    assert_eq!(gateway.records(1).await[0]["outcome"], "ok");
}

#[tokio::test]
async fn a_form_over_http_2_passes_as_it_comes() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let gateway = sink.gateway("").await;
    let body = form(&[field("model", "whisper-1"), file(3 << 20)]);
    let client = Http2Client::connect(gateway.address()).await;
    let (pieces, open) = ClientBody::open();
    let answer = tokio::spawn(client.post_as(TYPE, PATH, open));
    let (first, rest) = body.split_at(1 << 20);
    pieces.send(first.to_vec().into()).unwrap();
    sink.has_read(900_000).await;
    pieces.send(rest.to_vec().into()).unwrap();
    drop(pieces);
    let answer = within("the answer", answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let seen = sink.next().await;
    assert!(seen.whole && seen.head.is_chunked());
    assert_eq!((seen.length, seen.digest), (body.len() as u64, crc32fast::hash(&body)));
}

#[tokio::test]
async fn an_upload_waits_for_an_upstream_that_does_not_read() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mock = MockUpstream::start().await;
    let address = upstream.local_addr().unwrap();
    let gateway = TestGateway::start(&standard(&mock).replace(&mock.address.to_string(), &address.to_string()));
    let body = form(&[field("model", "whisper-1"), file(48 << 20)]);
    let (length, digest) = (body.len() as u64, crc32fast::hash(&body));
    let request = with_length(PATH, &body);
    let (mut reading, mut writing) = TcpStream::connect(gateway.address()).await.unwrap().into_split();
    let (progress, mut written) = watch::channel(0);
    tokio::spawn(async move {
        for piece in request.chunks(64 * 1024) {
            writing.write_all(piece).await.unwrap();
            progress.send_modify(|written| *written += piece.len());
        }
        // Kept open: a client that ends its side has left.
        std::future::pending::<()>().await;
    });
    let (mut tcp, _) = within("a connection", upstream.accept()).await.unwrap();
    // Nobody reads: what goes on being written fills the sockets' buffers and the gateway's, and then stops.
    let mut last = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(500), written.changed()).await {
        last = *written.borrow_and_update();
    }
    assert!(last < 40 << 20, "{last} bytes were taken from the client, and nobody has read them");
    let seen = swallow(&mut tcp, None, &watch::Sender::new(0)).await;
    assert!(seen.whole);
    assert_eq!((seen.length, seen.digest), (length, digest));
    tcp.write_all(&whole_answer(200, ANSWER)).await.unwrap();
    let mut answer = Vec::new();
    within("the answer", async {
        while !answer.ends_with(ANSWER.as_bytes()) {
            assert!(reading.read_buf(&mut answer).await.unwrap() > 0);
        }
    })
    .await;
}

#[tokio::test]
async fn images_may_be_edited_by_json_or_by_a_form_and_moderations_name_no_model() {
    let upstream = MockUpstream::playing(Script::json(200, r#"{"data":[]}"#)).await;
    let gateway = TestGateway::over(&upstream);
    let edit = form(&[field("prompt", "a cat"), part("name=\"image\"; filename=\"a.png\"", b"\x89PNG")]);
    assert_eq!(call(&gateway, &with_length("/v1/images/edits", &edit)).await.status(), 200);
    let json = r#"{"prompt":"a cat","images":[{"file_id":"file-1"}],"model":"gpt-image-1"}"#;
    assert_eq!(gateway.post("/v1/images/edits", json).await.status(), 200);
    let moderation = r#"{"input":["a","b"]}"#;
    assert_eq!(gateway.post("/v1/moderations", moderation).await.status(), 200);
    let received = upstream.received();
    let bodies: Vec<&[u8]> = received.iter().map(|received| received.body.as_slice()).collect();
    assert_eq!(bodies, [edit.as_slice(), json.as_bytes(), moderation.as_bytes()]);
    let models: Vec<Value> = gateway.records(3).await.into_iter().map(|mut record| record["model"].take()).collect();
    assert_eq!(models, ["dall-e-2", "gpt-image-1", "omni-moderation-latest"]);

    let answer = call(&gateway, &with_length("/v1/moderations", &edit)).await;
    assert_eq!((answer.status(), answer.code().as_str()), (415, "unsupported_media_type"));
    let answer = gateway.post(PATH, json).await;
    assert_eq!(answer.status(), 415);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("multipart/form-data"));
    assert_eq!(answer.ended, Ended::Whole);
}

/// A process that ends with its test.
#[cfg(target_os = "linux")]
struct Process(std::process::Child);

#[cfg(target_os = "linux")]
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The most memory that a process has had, in KiB.
#[cfg(target_os = "linux")]
fn peak_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// In a process of its own, as nothing else may use memory there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_upload_of_200_mib_takes_less_than_4_mib_of_memory() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let mock = MockUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    // By name, so that the upstream is not asked what models it has.
    let config = standard(&mock)
        .replace(&mock.address.to_string(), &sink.address.to_string())
        .replace("models = [\"*\"]", "models = [\"whisper-1\"]");
    let config = format!(
        "{config}\n[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"text\"\n[records]\nto = {{ file = \"usage.jsonl\" }}\n"
    );
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    let mut process = Process(
        std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["serve", "--config", "config.toml"])
            .current_dir(folder.path())
            .env("UPSTREAM_KEY", "sk-upstream")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let (tell, told) = tokio::sync::oneshot::channel();
    let log = process.0.stderr.take().unwrap();
    std::thread::spawn(move || {
        let mut tell = Some(tell);
        for line in std::io::BufReader::new(log).lines().map_while(Result::ok) {
            if let (Some((_, rest)), true) = (line.split_once("serving at http://"), tell.is_some()) {
                let address: SocketAddr = rest.split('/').next().unwrap().parse().unwrap();
                let _ = tell.take().unwrap().send(address);
            }
        }
    });
    let address = within("the gateway to serve", told).await.unwrap();
    let number = process.0.id();

    let mut peaks = Vec::new();
    for size in [1_usize << 20, 200 << 20] {
        let start = field("model", "whisper-1");
        let file_head = b"------tollgate-7d1f\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
        let end = b"\r\n------tollgate-7d1f--\r\n";
        let length = start.len() + file_head.len() + size + end.len();
        let mut digest = Hasher::new();
        let mut client = RawClient::connect(address).await;
        client.write(&head(PATH, &format!("content-length: {length}"))).await;
        let block: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let pieces = [&start[..], file_head].into_iter().chain(std::iter::repeat_n(&block[..], size >> 20));
        for piece in pieces.chain([&end[..]]) {
            digest.update(piece);
            client.write(piece).await;
        }
        assert_eq!(client.answer().await.status(), 200);
        let seen = sink.next().await;
        assert_eq!((seen.length, seen.digest), (length as u64, digest.finalize()));
        peaks.push(peak_of(number));
    }
    let grown = peaks[1] - peaks[0];
    println!("peak memory after 1 MiB: {} KiB, after 200 MiB: {} KiB", peaks[0], peaks[1]);
    assert!(grown < 4 * 1024, "{grown} KiB more for 200 MiB than for 1 MiB");
}

#[tokio::test]
async fn a_length_beside_chunks_is_never_the_upstreams() {
    let mut sink = Sink::answering(None, whole_answer(200, ANSWER)).await;
    let gateway = sink.gateway("").await;
    let body = form(&[field("model", "whisper-1"), file(200_000)]);
    let chunks: Vec<u8> = body.chunks(40_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
    for framing in
        ["transfer-encoding: chunked\r\ncontent-length: 900", "content-length: 900\r\ntransfer-encoding: chunked"]
    {
        let answer = call(&gateway, &[head(PATH, framing), chunks.clone()].concat()).await;
        assert_eq!(answer.status(), 200);
        let seen = sink.next().await;
        assert!(seen.whole && seen.head.is_chunked() && seen.head.content_length().is_none(), "{seen:?}");
        assert_eq!((seen.length, seen.digest), (body.len() as u64, crc32fast::hash(&body)));
    }
}
