//! Sends what two readers could read in two ways, and checks what the upstream gets: nothing, or one canonical request.
//!
//! The rows are those of the design's baseline of hostile input, H1 to H4. Must not know which layer refuses.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Ended, KEY, MockUpstream, RawClient, Received, Script, TestGateway, fixture};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

/// What a probe must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// 200, and one request upstream.
    Passes,
    /// One of these statuses and nothing upstream.
    Refused(&'static [u16]),
}
use Expect::{Passes, Refused};

/// A POST with these lines in its head beside Host, key and type, and this after it.
fn post(lines: &str, rest: &str) -> Vec<u8> {
    let key = format!("authorization: Bearer {KEY}");
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{key}\r\ncontent-type: application/json\r\n{lines}\r\n{rest}"
    )
    .into_bytes()
}

fn with_length(lines: &str) -> Vec<u8> {
    post(&format!("{lines}content-length: {}\r\n", BODY.len()), BODY)
}

fn in_chunks(lines: &str) -> Vec<u8> {
    post(lines, &format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len()))
}

/// A whole request with another first line and Host lines.
fn headed(start: &str, host: &str) -> Vec<u8> {
    let key = format!("authorization: Bearer {KEY}");
    format!("{start}\r\n{host}{key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len())
        .into_bytes()
}

fn path(path: &str) -> Vec<u8> {
    headed(&format!("POST {path} HTTP/1.1"), "host: a\r\n")
}

fn replaced(from: &str, to: &[u8]) -> Vec<u8> {
    let request = with_length("x-probe: PROBE\r\n");
    let at = crate::support::position(&request, from.as_bytes()).unwrap();
    [&request[..at], to, &request[at + from.len()..]].concat()
}

const BAD: Expect = Refused(&[400]);
const NOT_FOUND: Expect = Refused(&[400, 404]);

fn probes() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let n = BODY.len();
    let length = |value: &str| post(&format!("content-length: {value}\r\n"), BODY);
    let chunk = |text: &str| post("transfer-encoding: chunked\r\n", text);
    let (headers, long) = ("x-a: b\r\n".repeat(101), "x".repeat(64 * 1024));
    let huge = format!("x-a: {}\r\n", "x".repeat(400 * 1024));
    let both =
        format!("{n:x};ext=\"a\"\r\n{BODY}\r\n0;last\r\nAuthorization: Bearer evil\r\nContent-Length: 5\r\n\r\n");
    vec![
        // Lengths.
        ("length and chunks", in_chunks(&format!("content-length: {n}\r\ntransfer-encoding: chunked\r\n")), Passes),
        ("a wrong length and chunks", in_chunks("content-length: 3\r\ntransfer-encoding: chunked\r\n"), Passes),
        ("equal lengths", post(&format!("content-length: {n}\r\ncontent-length: {n}\r\n"), BODY), Passes),
        ("lengths that differ", post(&format!("content-length: {n}\r\ncontent-length: 3\r\n"), BODY), BAD),
        ("lengths in a list", length(&format!("{n}, 3")), BAD),
        ("a length with a plus", length(&format!("+{n}")), BAD),
        ("a negative length", length("-1"), BAD),
        ("a length in hexadecimal", length("0x3d"), BAD),
        ("a length of 2^64", length("18446744073709551616"), BAD),
        // Transfer codings.
        ("identity, chunked", in_chunks("transfer-encoding: identity, chunked\r\n"), BAD),
        ("two codings", in_chunks("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), BAD),
        ("gzip, chunked", in_chunks("transfer-encoding: gzip, chunked\r\n"), BAD),
        ("chunked after a tab and in odd case", in_chunks("transfer-encoding:\tChUnKeD\r\n"), Passes),
        ("chunked, identity", in_chunks("transfer-encoding: chunked, identity\r\n"), BAD),
        ("xchunked", in_chunks("transfer-encoding: xchunked\r\n"), BAD),
        ("a space before the colon", in_chunks("transfer-encoding : chunked\r\n"), BAD),
        ("a folded line", in_chunks("transfer-encoding:\r\n chunked\r\n"), BAD),
        (
            "chunks in HTTP/1.0",
            {
                let request = String::from_utf8(in_chunks("transfer-encoding: chunked\r\n")).unwrap();
                request.replace("HTTP/1.1", "HTTP/1.0").into_bytes()
            },
            BAD,
        ),
        // Chunks.
        ("a bare LF after a chunk's size", chunk(&format!("{n:x}\n{BODY}\r\n0\r\n\r\n")), BAD),
        ("a bare LF after a chunk", chunk(&format!("{n:x}\r\n{BODY}\n0\r\n\r\n")), BAD),
        ("a chunk's size with 0x", chunk(&format!("0x{n:x}\r\n{BODY}\r\n0\r\n\r\n")), BAD),
        ("a chunk's size of 65 bits", chunk(&format!("1000000000000003d\r\n{BODY}\r\n0\r\n\r\n")), BAD),
        ("a chunk's size of nothing", chunk(&format!("\r\n{BODY}\r\n0\r\n\r\n")), BAD),
        ("extensions and trailers", post("transfer-encoding: chunked\r\ntrailer: authorization\r\n", &both), Passes),
        // Bytes in the head.
        ("a bare CR", replaced("PROBE", b"a\rb"), BAD),
        ("a NUL", replaced("PROBE", b"a\0b"), BAD),
        ("bytes that are not ASCII in a field of no meaning", replaced("PROBE", b"caf\xe9"), Passes),
        ("bytes that are not ASCII in the key", replaced(KEY, b"caf\xe9"), BAD),
        ("a name with an underscore for a hyphen", with_length("Content_Length: 3\r\n"), BAD),
        ("a name with an underscore", with_length("X_Tenant: rich\r\n"), Passes),
        ("two keys in two lines", with_length("authorization: Bearer other\r\n"), BAD),
        ("two types", with_length("content-type: text/plain\r\n"), BAD),
        // Host and target.
        ("no Host", headed("POST /v1/chat/completions HTTP/1.1", ""), BAD),
        ("two Hosts", headed("POST /v1/chat/completions HTTP/1.1", "host: a\r\nhost: b\r\n"), BAD),
        ("a Host with a path", headed("POST /v1/chat/completions HTTP/1.1", "host: a/?x=\r\n"), BAD),
        ("a Host with a user", headed("POST /v1/chat/completions HTTP/1.1", "host: u@a\r\n"), BAD),
        ("an absolute target elsewhere", headed("POST http://evil/v1/chat/completions HTTP/1.1", "host: a\r\n"), BAD),
        ("an absolute target here", headed("POST http://a/v1/chat/completions HTTP/1.1", "host: a\r\n"), Passes),
        ("CONNECT", headed("CONNECT a:80 HTTP/1.1", "host: a:80\r\n"), Refused(&[400, 405])),
        ("OPTIONS *", headed("OPTIONS * HTTP/1.1", "host: a\r\n"), Refused(&[400, 405])),
        ("a method in lower case", headed("post /v1/chat/completions HTTP/1.1", "host: a\r\n"), Refused(&[405])),
        ("a method that is overridden", with_length("x-http-method-override: DELETE\r\n"), Passes),
        ("doubled slashes", path("//v1//chat///completions/"), Passes),
        ("no prefix", path("/chat/completions"), Passes),
        ("a query", path("/v1/chat/completions?api-version=1&x=../.."), Passes),
        ("dot segments", path("/v1/x/../chat/completions"), NOT_FOUND),
        ("escaped dot segments", path("/v1/%2e%2e/chat/completions"), NOT_FOUND),
        ("an escaped slash", path("/v1/chat%2Fcompletions"), NOT_FOUND),
        ("an escaped NUL", path("/v1/chat/completions%00"), NOT_FOUND),
        ("an escaped letter", path("/v1/ch%61t/completions"), NOT_FOUND),
        ("a parameter in the path", path("/v1/chat/completions;x"), NOT_FOUND),
        ("a backslash", path("/v1\\chat\\completions"), NOT_FOUND),
        ("raw UTF-8 in the path", path("/v1/chat/compl\u{e9}tions"), NOT_FOUND),
        ("upper case", path("/V1/Chat/Completions"), NOT_FOUND),
        ("a side door of an engine", path("/v1/load_lora_adapter"), NOT_FOUND),
        // Sizes.
        ("101 headers", with_length(&headers), Refused(&[431])),
        ("a head of 400 KiB", with_length(&huge), Refused(&[431])),
        ("a URL of 64 KiB", path(&format!("/v1/chat/completions?{long}")), Refused(&[414, 431])),
        // Upgrades and expectations.
        (
            "h2c",
            with_length("connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
            Passes,
        ),
        ("a WebSocket on a path that has none", with_length("connection: Upgrade\r\nupgrade: websocket\r\n"), Passes),
        (
            "a field that Connection names",
            with_length("connection: x-secret\r\nx-secret: 1\r\nte: trailers\r\nkeep-alive: 1\r\n"),
            Passes,
        ),
        ("another expectation", with_length("expect: 200-ok\r\n"), Refused(&[417])),
    ]
}

/// H1 (iii): one Host, which is the upstream's; one length; CRLF alone; nothing hop-by-hop; the path of the table.
fn assert_canonical(name: &str, received: &Received, upstream: &MockUpstream) {
    let raw = &received.head.raw;
    assert_eq!(received.head.start, "POST /v1/chat/completions HTTP/1.1", "{name}");
    assert_eq!(received.head.all("host"), [upstream.address.to_string()], "{name}");
    assert_eq!(received.head.all("content-length"), [BODY.len().to_string()], "{name}");
    assert_eq!(String::from_utf8_lossy(&received.body), BODY, "{name}");
    for (index, byte) in raw.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(raw.get(index + 1), Some(&b'\n'), "{name}"),
            b'\n' => assert_eq!(raw.get(index.wrapping_sub(1)), Some(&b'\r'), "{name}"),
            0 => panic!("{name}: a NUL"),
            _ => {}
        }
    }
    for hop in [
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
        "x-secret",
        "expect",
        "connection",
        "x-http-method-override",
        "content_length",
    ] {
        assert!(received.head.all(hop).is_empty(), "{name}: {hop} went upstream");
    }
    let mut names: Vec<&str> = received.head.headers.iter().map(|(name, _)| &**name).collect();
    let number = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), number, "{name}: a header twice");
}

#[tokio::test]
async fn what_is_ambiguous_reaches_no_upstream_and_what_passes_arrives_canonical() {
    let answer = fixture("chat_response.json");
    let upstream = MockUpstream::playing(Script::json(200, &answer)).await;
    let gateway = TestGateway::over(&upstream);
    let mut faults = Vec::new();
    for (name, bytes, expect) in probes() {
        let before = upstream.received().len();
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&bytes).await;
        let head = client.head().await;
        let (body, _) = client.body(&head).await;
        let reached = upstream.received().len() - before;
        let right = match expect {
            Passes => head.status() == 200 && reached == 1 && body == answer,
            Refused(statuses) => statuses.contains(&head.status()) && reached == 0,
        };
        if !right {
            faults.push(format!(
                "{name}: {} and {reached} upstream, not {expect:?}: {}",
                head.status(),
                String::from_utf8_lossy(&body)
            ));
        } else if expect == Passes {
            assert_canonical(name, &upstream.received()[before], &upstream);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn bare_line_feeds_in_a_head_are_refused_or_made_whole() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::over(&upstream);
    let request = String::from_utf8(with_length("")).unwrap();
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request.replace("\r\n", "\n").as_bytes()).await;
    match client.head().await.status() {
        200 => assert_canonical("bare LF", &upstream.request(0).await, &upstream),
        status => assert_eq!((status, upstream.received().len()), (400, 0)),
    }
}

#[tokio::test]
async fn what_follows_an_ambiguous_request_on_its_connection_is_never_served() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::over(&upstream);
    for (first, upstream_sees) in [
        (post(&format!("content-length: {}\r\ncontent-length: 3\r\n", BODY.len()), BODY), 0),
        (in_chunks("transfer-encoding: gzip, chunked\r\n"), 0),
        (headed("POST /v1/chat/completions HTTP/1.1", "host: a\r\nhost: b\r\n"), 0),
        // Resolved by RFC 9112 6.3: chunks win, and the connection ends after.
        (in_chunks("content-length: 3\r\ntransfer-encoding: chunked\r\n"), 1),
    ] {
        let before = upstream.received().len();
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&[first.clone(), with_length("x-second: 1\r\n")].concat()).await;
        let text = String::from_utf8_lossy(&client.rest().await).into_owned();
        let shown = String::from_utf8_lossy(&first);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{shown}\n{text}");
        assert_eq!(upstream.received().len() - before, upstream_sees, "{shown}\n{text}");
    }
}

#[tokio::test]
async fn a_body_is_asked_for_only_once_its_call_may_be_made() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::over(&upstream);
    let mut client = RawClient::connect(gateway.address()).await;
    let request = with_length("expect: 100-continue\r\n");
    let head = request.len() - BODY.len();
    client.write(&request[..head]).await;
    assert_eq!(client.head().await.status(), 100);
    client.write(&request[head..]).await;
    assert_eq!(client.answer().await.status(), 200);
    assert_canonical("100-continue", &upstream.request(0).await, &upstream);

    let mut stranger = RawClient::connect(gateway.address()).await;
    let request = String::from_utf8_lossy(&request[..head]).replace(KEY, "sk-nobody");
    stranger.write(request.as_bytes()).await;
    assert_eq!(stranger.head().await.status(), 401, "no 100 for a stranger");
}

#[tokio::test]
async fn over_http_2_the_same_is_refused_or_made_canonical() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::over(&upstream);
    for (name, headers, status) in [
        ("nothing odd", &[][..], 200),
        ("the same host again", &[("host", "a")], 200),
        ("another host", &[("host", "evil")], 400),
        ("trailers wanted", &[("te", "trailers")], 200),
        ("a wrong length", &[("content-length", "3")], 0),
        ("two keys", &[("x-api-key", "a"), ("x-api-key", "b")], 400),
    ] {
        let before = upstream.received().len();
        let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut request = http::Request::post("http://a/v1/chat/completions")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = sender.send_request(request.body(Full::new(Bytes::from(BODY))).unwrap()).await;
        let reached = upstream.received().len() - before;
        match answer {
            Ok(answer) => {
                assert!(
                    answer.status() == status || status == 0 && answer.status() == 400,
                    "{name}: {}",
                    answer.status()
                );
                let _ = answer.into_body().collect().await;
            }
            Err(error) => assert_eq!(status, 0, "{name}: {error}"),
        }
        assert_eq!(reached, usize::from(status == 200), "{name}");
        if status == 200 {
            assert_canonical(name, &upstream.received()[before], &upstream);
        }
        driver.abort();
    }
}

#[tokio::test]
async fn an_upstreams_broken_answer_is_a_502_and_its_connection_is_not_used_again() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    // A few are borne, by their bytes; this is what no honest upstream sends.
    let informational = "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(100_000);
    for (name, answer) in [
        ("two lengths", format!("{json}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}")),
        ("a length that is none", format!("{json}content-length: 0x2\r\n\r\n{{}}")),
        ("a flood of 1xx", informational),
        ("a header of a mebibyte", format!("{json}x-a: {}\r\ncontent-length: 2\r\n\r\n{{}}", "x".repeat(1 << 20))),
        ("no HTTP at all", "SSH-2.0-OpenSSH_9.2p1\r\n".to_owned()),
        (
            "a switch of protocols",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        ),
    ] {
        let upstream = MockUpstream::start().await;
        upstream.push(Script::new().send(answer));
        upstream.push(Script::json(200, fixture("chat_response.json")));
        let gateway = TestGateway::over(&upstream);
        let got = gateway.post("/v1/chat/completions", BODY).await;
        assert_eq!(got.status(), 502, "{name}: {}", String::from_utf8_lossy(&got.body));
        assert_eq!(got.code(), "upstream_protocol", "{name}");
        assert_eq!(got.header("x-should-retry"), Some("false"), "{name}");
        assert_eq!(gateway.post("/v1/chat/completions", BODY).await.status(), 200, "{name}");
        assert_eq!(upstream.request(1).await.connection, 1, "{name}: the connection was used again");
    }
}

/// As in requests: chunks win, the length goes, and so does the connection (RFC 9112 6.3).
#[tokio::test]
async fn an_answer_with_a_length_and_chunks_is_read_by_its_chunks_and_framed_anew() {
    let upstream = MockUpstream::start().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    let answer = format!("{head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{forged}");
    upstream.push(Script::new().send(answer));
    upstream.push(Script::json(200, fixture("chat_response.json")));
    let gateway = TestGateway::over(&upstream);
    let got = gateway.post("/v1/chat/completions", BODY).await;
    assert_eq!((got.status(), got.ended, &got.body[..]), (200, Ended::Whole, &b"{}"[..]));
    assert!(got.head.is_chunked() != got.header("content-length").is_some(), "framed once");
    assert_ne!(got.header("content-length"), Some("1"));
    let next = gateway.post("/v1/chat/completions", BODY).await;
    assert_eq!((next.status(), next.body), (200, fixture("chat_response.json")));
    assert_eq!(upstream.request(1).await.connection, 1, "the connection was used again");
}

#[tokio::test]
async fn a_broken_chunk_in_an_answer_cuts_it_and_its_connection_is_not_used_again() {
    let upstream = MockUpstream::start().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    upstream.push(Script::new().send(format!("{head}2\r\n{{}}\r\n0x5\r\nhello\r\n0\r\n\r\n")));
    upstream.push(Script::json(200, fixture("chat_response.json")));
    let gateway = TestGateway::over(&upstream);
    let got = gateway.post("/v1/chat/completions", BODY).await;
    assert!(got.status() == 502 || got.ended == Ended::Cut, "{got:?}");
    assert_eq!(gateway.post("/v1/chat/completions", BODY).await.status(), 200);
    assert_eq!(upstream.request(1).await.connection, 1);
}

#[tokio::test]
async fn what_follows_an_answer_that_has_no_body_is_no_ones_answer() {
    let upstream = MockUpstream::start().await;
    upstream
        .push(Script::new().send("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"));
    upstream.push(Script::json(200, fixture("chat_response.json")));
    let gateway = TestGateway::over(&upstream);
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&with_length("")).await;
    let head = client.head().await;
    assert!(matches!(head.status(), 204 | 502), "{}", head.status());
    gateway.records(1).await;
    let next = gateway.post("/v1/chat/completions", BODY).await;
    assert_eq!((next.status(), next.body), (200, fixture("chat_response.json")));
}
