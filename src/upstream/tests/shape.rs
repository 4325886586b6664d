//! The bytes that reach an upstream, as its socket sees them.

use bytes::Bytes;
use http::HeaderMap;
use tower::Service;

use super::support::*;

async fn seen(upstream: Upstream, endpoint: Endpoint, headers: &[(&str, &str)], body: OutBody) -> String {
    let server = Server::answering(OK).await;
    let mut upstream = upstream;
    upstream.base = BaseUri::parse(&format!("http://{}{}", server.address, upstream.base.path)).unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    client().call(shape(&Arc::new(upstream), endpoint, map, body)).await.unwrap();
    let requests = server.requests();
    let text = String::from_utf8(requests[0].clone()).unwrap();
    text.replace(&server.address.to_string(), "HOST")
}

/// Head lines, sorted, without the request line; then the body.
fn parts(text: &str) -> (String, Vec<String>, String) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let first = lines.next().unwrap();
    let mut rest: Vec<String> = lines.collect();
    rest.sort();
    (first, rest, body.to_owned())
}

#[tokio::test]
async fn a_call_is_shaped_by_the_table_alone() {
    let table = [
        (Endpoint::ChatCompletions, "/v1", "POST /v1/chat/completions HTTP/1.1"),
        (Endpoint::Completions, "", "POST /completions HTTP/1.1"),
        (Endpoint::Responses, "/api/v1/", "POST /api/v1/responses HTTP/1.1"),
        (Endpoint::Embeddings, "/v1", "POST /v1/embeddings HTTP/1.1"),
        (Endpoint::Models, "/v1", "GET /v1/models HTTP/1.1"),
        (Endpoint::Model, "/v1", "GET /v1/models HTTP/1.1"),
    ];
    for (endpoint, path, line) in table {
        let text = seen(upstream(&format!("http://h{path}")), endpoint, &[], OutBody::empty()).await;
        let (first, mut headers, body) = parts(&text);
        assert_eq!((first.as_str(), body.as_str()), (line, ""));
        headers.retain(|line| line != "content-length: 0");
        assert_eq!(headers, ["accept-encoding: identity", "authorization: Bearer ours", "host: HOST"]);
        assert_eq!(text.contains("content-length: 0"), line.starts_with("POST"));
    }
}

#[tokio::test]
async fn a_body_in_slices_arrives_whole_with_its_length() {
    let slices = ["{\"model\":\"", "", "gpt", "\",\"x\":1e400}"].map(Bytes::from);
    let body = OutBody::new(slices);
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(25));
    let text = seen(upstream("http://h"), Endpoint::Embeddings, &[("content-type", "application/json")], body).await;
    let (_, headers, body) = parts(&text);
    assert_eq!(body, "{\"model\":\"gpt\",\"x\":1e400}");
    assert!(
        headers.contains(&"content-length: 25".to_owned())
            && headers.contains(&"content-type: application/json".to_owned())
    );
}

#[tokio::test]
async fn what_must_not_pass_does_not_and_the_rest_does() {
    let dropped = [
        ("connection", "keep-alive, x-named, X-Also, content-type"),
        ("x-named", "1"),
        ("x-also", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("host", "evil.test"),
        ("content-length", "999"),
        ("content-encoding", "gzip"),
        ("accept-encoding", "gzip, br"),
        ("expect", "100-continue"),
        ("authorization", "Bearer theirs"),
        ("api-key", "theirs"),
        ("x-api-key", "theirs"),
        ("cookie", "session=theirs"),
        ("openai-organization", "org-theirs"),
        ("openai-project", "proj-theirs"),
        ("openai-beta", "assistants=v2"),
        ("origin", "https://evil.test"),
        ("referer", "https://evil.test/"),
        ("sec-fetch-mode", "cors"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "for=10.1.2.3"),
        ("x-real-ip", "10.1.2.3"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-tollgate-request-id", "1"),
        ("x_forwarded_for", "10.1.2.3"),
        ("api_key", "theirs"),
        ("transfer_encoding", "chunked"),
        ("idempotency-key", "with blank"),
    ];
    let passed = [
        ("accept", "application/json"),
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("baggage", "a=b"),
        ("x-client-request-id", "abc"),
        ("x_custom", "1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("accept-language", "*"),
    ];
    let headers: Vec<_> = dropped.iter().chain(&passed).copied().collect();
    let text =
        seen(upstream("http://h/v1"), Endpoint::ChatCompletions, &headers, OutBody::from(Bytes::from("{}"))).await;
    let (_, got, _) = parts(&text);
    let ours = ["accept-encoding: identity", "authorization: Bearer ours", "content-length: 2", "host: HOST"];
    let mut want: Vec<String> = passed.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    want.extend(ours.map(str::to_owned));
    want.sort();
    assert_eq!(got, want);
}

#[tokio::test]
async fn a_beta_header_passes_to_openai_alone_and_the_operators_headers_win() {
    let mut openai = upstream("http://h/v1");
    openai.provider = Provider::OpenAi;
    openai.authorization = None;
    openai.headers = vec![
        (HeaderName::from_static("openai-project"), HeaderValue::from_static("proj_ours")),
        (HeaderName::from_static("user-agent"), HeaderValue::from_static("ours")),
        (HeaderName::from_static("content-length"), HeaderValue::from_static("999")),
        (HeaderName::from_static("transfer-encoding"), HeaderValue::from_static("chunked")),
    ];
    let key = "k".repeat(128);
    let sent = [
        ("openai-beta", "responses=v1"),
        ("openai-project", "theirs"),
        ("user-agent", "theirs"),
        ("authorization", "Bearer theirs"),
        ("idempotency-key", key.as_str()),
    ];
    let text = seen(openai, Endpoint::Responses, &sent, OutBody::from(Bytes::from("{}"))).await;
    let (_, got, _) = parts(&text);
    let want = [
        "accept-encoding: identity".to_owned(),
        "content-length: 2".to_owned(),
        "host: HOST".to_owned(),
        format!("idempotency-key: {key}"),
        "openai-beta: responses=v1".to_owned(),
        "openai-project: proj_ours".to_owned(),
        "user-agent: ours".to_owned(),
    ];
    assert_eq!(got, want);
    let long = "k".repeat(129);
    let text = seen(upstream("http://h"), Endpoint::Responses, &[("idempotency-key", &long)], OutBody::empty()).await;
    assert!(!text.contains("idempotency-key"));
}

#[test]
fn the_host_is_written_as_rfc_9110_wants_it() {
    let table = [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("http://localhost:11434/v1", "localhost:11434"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://[::1]", "[::1]"),
        ("https://h:443/", "h"),
    ];
    for (base, host) in table {
        let upstream = Arc::new(upstream(base));
        let outgoing = shape(&upstream, Endpoint::Models, HeaderMap::new(), OutBody::empty());
        assert_eq!(outgoing.request.headers()["host"], host);
        assert_eq!(upstream.base.host_header(), host);
    }
}
