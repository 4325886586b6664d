//! What of an upstream's answer reaches the client.

use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn an_answer_loses_what_describes_the_hop_or_the_operators_account() {
    let passed = [
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("content-encoding", "gzip"),
        ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
        ("retry-after", "1"),
        ("retry-after-ms", "900"),
        ("x-should-retry", "false"),
        ("x-request-id", "req_1"),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "12"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    let dropped = [
        ("connection", "keep-alive, x-named"),
        ("connection", "x-other ,, content-type, content-length"),
        ("x-named", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("server", "uvicorn"),
        ("openai-organization", "org-ours"),
        ("openai-project", "proj-ours"),
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-tokens", "10"),
        ("x-tollgate-error", "forged"),
        ("cf-ray", "1"),
        ("cf-cache-status", "DYNAMIC"),
    ];
    let all: Vec<_> = dropped.iter().chain(&passed).copied().collect();
    let mut headers = map(&all);
    clean_response(&mut headers);
    assert_eq!(headers, map(&passed));
}

proptest! {
    #[test]
    fn whatever_a_client_sends_no_credential_and_no_framing_passes(
        lines in proptest::collection::vec(("[a-zA-Z_-]{1,80}", "[ -~]{0,40}"), 0..40),
        named in "[ -~]{0,60}",
    ) {
        let mut from = HeaderMap::new();
        for (name, value) in &lines {
            from.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        from.append("connection", HeaderValue::from_str(&named).unwrap());
        for name in ["authorization", "api-key", "api_key", "x-api-key", "cookie", "host", "te", "transfer-encoding"] {
            from.append(HeaderName::from_static(name), HeaderValue::from_static("secret"));
        }
        let mut to = from.clone();
        clean_request(Provider::Compatible, &mut to);
        // The others are replaced when the request is shaped.
        for (name, value) in to.iter().filter(|(name, _)| !is_replaced(name)) {
            prop_assert!(value != "secret" && !is_ours(&name.as_str().replace('_', "-")), "{name}");
            prop_assert!(from.get_all(name).iter().any(|known| known == value));
        }
        for token in named.split(',').map(str::trim).filter(|token| !keeps_framing(token.as_bytes())) {
            prop_assert!(HeaderName::from_bytes(token.as_bytes()).map_or(true, |name| !to.contains_key(name)));
        }
    }
}
