//! Holds the gateway to how it takes compressed bodies: decoded under the limit, passed on plain, or refused in words.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tollgate::limits::Kind;

use crate::support::{Answer, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, standard};

const PATH: &str = "/v1/chat/completions";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

async fn answering() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

async fn call(gateway: &TestGateway, coding: &str, body: &[u8]) -> Answer {
    gateway.post_with(PATH, &[("content-encoding", coding)], body).await
}

#[tokio::test]
async fn a_compressed_body_reaches_the_upstream_plain_with_its_true_length() {
    let upstream = answering().await;
    let gateway = TestGateway::over(&upstream);
    let plain = fixture("encodings/sample.json");
    let bodies = [
        ("gzip", gzip(&plain)),
        ("X-GZIP", gzip(&plain)),
        ("br", fixture("encodings/sample.json.br")),
        ("zstd", zstd(&plain)),
        ("identity", plain.clone()),
    ];
    for (number, (coding, body)) in bodies.iter().enumerate() {
        assert_eq!(call(&gateway, coding, body).await.status(), 200, "{coding}");
        let received = upstream.request(number).await;
        assert_eq!(received.body, plain, "{coding}");
        assert_eq!(received.head.content_length(), Some(plain.len()), "{coding}");
        assert_eq!(received.head.get("content-encoding"), None, "{coding}");
        let record = gateway.records(number + 1).await.remove(number);
        assert_eq!((&record["model"], &record["bytes_in"]), (&"gpt-x".into(), &plain.len().into()), "{coding}");
    }
}

#[tokio::test]
async fn a_compressed_body_in_chunks_is_decoded_as_it_comes_and_changed_where_it_must_be() {
    let upstream = answering().await;
    let config = standard(&upstream).replace("to = [\"mock\"]", "to = [{ upstream = \"mock\", model = \"other\" }]");
    let gateway = TestGateway::start(&config);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-encoding: zstd\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let plain = fixture("encodings/sample.json");
    let mut request = head.into_bytes();
    for piece in zstd(&plain).chunks(9) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&request).await;
    assert_eq!(client.answer().await.status(), 200);
    let wanted = String::from_utf8(plain).unwrap().replacen("\"gpt-x\"", "\"other\"", 1);
    assert_eq!(String::from_utf8(upstream.request(0).await.body).unwrap(), wanted);
}

#[tokio::test]
async fn what_is_not_decoded_is_refused_in_words_and_costs_nothing() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::start(&format!("{}\n[server]\nmax_body = \"1MiB\"\n", standard(&upstream)));
    let plain = fixture("encodings/sample.json");
    let (whole, zeros) = (gzip(&plain), vec![b' '; 64 << 20]);
    let cut = &whole[..whole.len() - 1];
    let mut damaged = whole.clone();
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    for (coding, body, status, code, words) in [
        ("gzip", &gzip(&zeros)[..], 413, "request_too_large", "server.max_body"),
        ("zstd", &zstd(&zeros), 413, "request_too_large", "server.max_body"),
        ("br", &fixture("encodings/bomb.br"), 413, "request_too_large", "server.max_body"),
        ("gzip", cut, 400, "invalid_encoding", "Compress it anew"),
        ("gzip", &damaged, 400, "invalid_encoding", "Compress it anew"),
        ("gzip", &plain, 400, "invalid_encoding", "Compress it anew"),
        ("br", &whole, 400, "invalid_encoding", "Compress it anew"),
        ("zstd", b"", 400, "invalid_encoding", "Compress it anew"),
        ("gzip", &gzip(b"{\"model\":"), 400, "invalid_json", "not valid JSON"),
        ("deflate", &whole, 415, "unsupported_media_type", "gzip, br or zstd"),
        ("gzip, gzip", &gzip(&whole), 415, "unsupported_media_type", "one content coding"),
        ("gzip, identity", &whole, 415, "unsupported_media_type", "one content coding"),
    ] {
        let answer = call(&gateway, coding, body).await;
        assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{coding}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{coding}: {message}");
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0]);
}

#[tokio::test]
async fn a_compressed_form_is_refused_in_words() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    let form = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
    let body = gzip(form);
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&[head.as_bytes(), &body].concat()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.code().as_str()), (415, "unsupported_media_type"));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("Forms are not accepted compressed"));
    assert_eq!(upstream.connections(), 0);
}
