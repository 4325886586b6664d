//! What must hold of `guard`.

use http::Request;
use proptest::prelude::*;

use super::*;

/// A head by lines: `POST /v1/x 1.1`, then `name: value` each.
fn head(lines: &[&str]) -> Parts {
    let (first, fields) = lines.split_first().unwrap();
    let mut words = first.split(' ');
    let mut request = Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    request = request.version(match words.next().unwrap() {
        "1.0" => Version::HTTP_10,
        "1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    });
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn kind(lines: &[&str]) -> &'static str {
    match check(&head(lines)) {
        Ok(()) => "ok",
        Err(ServerRefusal::BadRequest { .. }) => "400",
        Err(ServerRefusal::MethodNotAllowed) => "405",
        Err(ServerRefusal::ExpectationFailed) => "417",
        Err(ServerRefusal::HeadersTooLarge) => "431",
        Err(ServerRefusal::UriTooLong) => "414",
        Err(other) => panic!("{other:?}"),
    }
}

const PLAIN: &str = "POST /v1/chat/completions 1.1";

#[test]
fn the_table_of_heads() {
    let table: &[(&str, &[&str])] = &[
        ("ok", &[PLAIN, "host: a", "authorization: Bearer x", "content-type: application/json"]),
        ("ok", &["GET /v1/models 1.0"]),
        ("ok", &["GET /v1/models 1.0", "host: a"]),
        ("ok", &["OPTIONS /v1/models 1.1", "host: a"]),
        ("ok", &["M-SEARCH / 1.1", "host: a"]),
        // Host (RFC 9112 3.2).
        ("400", &[PLAIN]),
        ("400", &[PLAIN, "host: a", "host: a"]),
        ("400", &[PLAIN, "host: a", "host: b"]),
        ("400", &["GET / 1.0", "host: a", "host: a"]),
        ("400", &[PLAIN, "host: "]),
        ("400", &[PLAIN, "host: a/?x="]),
        ("400", &[PLAIN, "host: a b"]),
        ("400", &[PLAIN, "host: u@a"]),
        ("400", &[PLAIN, "host: a,b"]),
        ("400", &[PLAIN, "host: a#"]),
        ("400", &[PLAIN, "host: a%00"]),
        ("400", &[PLAIN, "host: ä"]),
        ("400", &[PLAIN, "host: a:65536"]),
        ("400", &[PLAIN, "host: a:8x"]),
        ("400", &[PLAIN, "host: a:+80"]),
        ("400", &[PLAIN, "host: a:80:80"]),
        ("400", &[PLAIN, "host: ::1"]),
        ("400", &[PLAIN, "host: [::1"]),
        ("400", &[PLAIN, "host: [1.2.3.4]"]),
        ("400", &[PLAIN, "host: [::1]x"]),
        ("ok", &[PLAIN, "host: a:"]),
        ("ok", &[PLAIN, "host: [::1]:8080"]),
        ("ok", &[PLAIN, "host: tollgate.svc.cluster.local.:8080"]),
        // The target's authority.
        ("ok", &["GET http://a/v1/models 1.1", "host: a"]),
        ("ok", &["GET http://A:80/v1/models 1.1", "host: a"]),
        ("400", &["GET http://evil/v1/models 1.1", "host: a"]),
        ("400", &["GET http://a:81/v1/models 1.1", "host: a"]),
        ("400", &["GET http://u@a/v1/models 1.1", "host: a"]),
        ("400", &["GET http://a/v1/models 1.1"]),
        ("400", &["GET ftp://a/v1/models 1.1", "host: a"]),
        ("ok", &["GET http://a/v1/models 2"]),
        ("ok", &["GET https://a/v1/models 2", "host: a:443"]),
        ("400", &["GET http://a/v1/models 2", "host: evil"]),
        ("400", &["GET /v1/models 2"]),
        // Once only.
        ("400", &[PLAIN, "host: a", "authorization: Bearer x", "authorization: Bearer x"]),
        ("400", &[PLAIN, "host: a", "api-key: x", "api-key: y"]),
        ("400", &[PLAIN, "host: a", "x-api-key: x", "x-api-key: y"]),
        ("400", &[PLAIN, "host: a", "content-type: application/json", "content-type: text/plain"]),
        ("400", &[PLAIN, "host: a", "content-length: 1", "content-length: 1"]),
        ("400", &[PLAIN, "host: a", "content-encoding: gzip", "content-encoding: gzip"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: chunked", "transfer-encoding: chunked"]),
        ("400", &[PLAIN, "host: a", "expect: 100-continue", "expect: 100-continue"]),
        ("ok", &[PLAIN, "host: a", "x-stainless-os: a", "x-stainless-os: b"]),
        // Imitations.
        ("400", &[PLAIN, "host: a", "content_length: 4"]),
        ("400", &[PLAIN, "host: a", "transfer_encoding: chunked"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: chunked", "transfer_encoding: gzip"]),
        ("400", &[PLAIN, "host: a", "api_key: x"]),
        ("400", &[PLAIN, "host: a", "x_api-key: x"]),
        ("ok", &[PLAIN, "host: a", "openai_beta: x"]),
        // Bytes beyond ASCII.
        ("400", &[PLAIN, "host: a", "authorization: Bearer ü"]),
        ("400", &[PLAIN, "host: a", "content-type: text/ü"]),
        ("ok", &[PLAIN, "host: a", "x-user: Jürgen"]),
        // Framing.
        ("ok", &[PLAIN, "host: a", "transfer-encoding: ChUnKeD"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: identity, chunked"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: gzip, chunked"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: chunked, chunked"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: xchunked"]),
        ("400", &[PLAIN, "host: a", "transfer-encoding: "]),
        ("400", &["POST / 1.0", "host: a", "transfer-encoding: chunked"]),
        ("400", &["POST http://a/ 2", "transfer-encoding: chunked"]),
        // Methods.
        ("405", &["CONNECT a:443 1.1", "host: a"]),
        ("405", &["TRACE / 1.1", "host: a"]),
        ("405", &["OPTIONS * 1.1", "host: a"]),
        ("405", &["post /v1/chat/completions 1.1", "host: a"]),
        ("405", &["Post /v1/chat/completions 1.1", "host: a"]),
        // Expect.
        ("ok", &[PLAIN, "host: a", "expect: 100-Continue"]),
        ("417", &[PLAIN, "host: a", "expect: 200-ok"]),
        ("417", &[PLAIN, "host: a", "expect: 100-continue, x"]),
    ];
    for (expected, lines) in table {
        assert_eq!(kind(lines), *expected, "{lines:?}");
    }
}

#[test]
fn limits_hold_to_the_last_byte_and_field() {
    let path = |len: usize| format!("GET /{} 1.1", "a".repeat(len - 1));
    assert_eq!(kind(&[&path(MAX_URI), "host: a"]), "ok");
    assert_eq!(kind(&[&path(MAX_URI + 1), "host: a"]), "414");
    let mut lines = vec![PLAIN, "host: a"];
    lines.resize(MAX_HEADERS + 1, "x-a: b");
    assert_eq!(kind(&lines), "ok");
    lines.push("x-a: b");
    assert_eq!(kind(&lines), "431");
}

#[test]
fn a_page_from_elsewhere_is_foreign() {
    let here = Anonymous { loopback: true, allow_origins: vec!["https://app.example".into()] };
    let foreign_to = |port: &Anonymous, lines: &[&str]| {
        let lines: Vec<&str> = [&[PLAIN], lines].concat();
        let parts = head(&lines);
        assert!(check(&parts).is_ok(), "{lines:?}");
        foreign(&parts, port)
    };
    for host in
        ["localhost", "LocalHost:8080", "localhost.", "app.localhost:1", "127.0.0.1", "127.8.9.1:80", "[::1]:80"]
    {
        assert_eq!(foreign_to(&here, &[&format!("host: {host}")]), None, "{host}");
    }
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "notlocalhost", "10.0.0.1", "0.0.0.0", "[::]"]
    {
        assert_eq!(foreign_to(&here, &[&format!("host: {host}")]), Some(Foreign::Host), "{host}");
    }
    for origin in
        ["http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://[::1]", "https://app.example"]
    {
        assert_eq!(foreign_to(&here, &["host: localhost", &format!("origin: {origin}")]), None, "{origin}");
    }
    for origin in
        ["null", "http://evil.example", "https://localhost.evil.example", "http://app.example", "file://", "http://"]
    {
        let lines = ["host: localhost", &format!("origin: {origin}")];
        assert_eq!(foreign_to(&here, &lines), Some(Foreign::Origin), "{origin}");
    }
    let anywhere = Anonymous { loopback: false, allow_origins: Vec::new() };
    assert_eq!(foreign_to(&anywhere, &["host: tollgate.svc"]), None);
    assert_eq!(foreign_to(&anywhere, &["host: evil", "origin: http://evil"]), Some(Foreign::Origin));
    let open = Anonymous { loopback: false, allow_origins: vec!["*".into()] };
    assert_eq!(foreign_to(&open, &["host: evil", "origin: http://evil"]), None);
}

proptest! {
    #[test]
    fn what_passes_has_one_plain_host(host in "[ -~]{0,40}") {
        let parts = head(&["GET / 1.1", &format!("host: {host}")]);
        if check(&parts).is_ok() {
            prop_assert!(host.parse::<Authority>().is_ok(), "http's own parser refuses {host:?}");
            prop_assert!(!host.contains(['@', '/', '?', '#', '%', ',', ' ', '\\']));
        }
    }

    #[test]
    fn no_head_makes_it_panic(
        method in "[A-Za-z!#*-]{1,12}",
        path in "/[ -~&&[^ <>\"{}|^`\\\\]]{0,40}",
        fields in proptest::collection::vec(("[a-z_-]{1,20}", proptest::collection::vec(0x20_u8..=0xff, 0..20)), 0..80),
    ) {
        let Ok(request) = Request::builder().method(method.as_str()).uri(path).body(()) else { return Ok(()) };
        let (mut parts, ()) = request.into_parts();
        for (name, value) in &fields {
            if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                parts.headers.append(name, value);
            }
        }
        let port = Anonymous { loopback: true, allow_origins: vec!["https://a".into()] };
        let _ = (check(&parts), foreign(&parts, &port));
    }
}
