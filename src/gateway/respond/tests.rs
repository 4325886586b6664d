//! What must hold of every error made here; writes the users' reference, tests/fixtures/errors.txt.

use super::*;
use crate::limits::Quota;
use crate::limits::Shown;
use crate::upstream::Waited;
use crate::wire::peek::{BodyFault, FaultCode};
use http_body_util::BodyExt;

type NoBody = ResponseBody<crate::upstream::UpstreamBody>;

fn answer(error: &GatewayError) -> Response<NoBody> {
    failure(error, &HeaderValue::from_static("req_1"), None, &Random::from_seed(7))
}

fn refusal(kind: Kind, why: Why, wait: Option<Duration>) -> GatewayError {
    let quota = Quota { amount: 200_000, period: Period::Minute, burst: 200_000 };
    let refusal = Refusal {
        kind,
        why,
        quota: (kind != Kind::Concurrent).then_some(quota),
        limit: if kind == Kind::Concurrent { 32 } else { 200_000 },
        used: if kind == Kind::Concurrent { 32 } else { 199_000 },
        requested: match kind {
            Kind::Tokens => Some(4_608),
            _ => None,
        },
        wait,
        place: 0,
        view: View::default(),
    };
    GatewayError::Limit { refusal: Box::new(refusal), model: Some("gpt-5".to_owned()) }
}

/// The case of the table that an error belongs to. Without a wildcard: a new error does not compile before it has a row.
fn case(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Transport(error) => match error {
            TransportError::Invalid(_) => "framing, Host, or a header that may come only once",
            TransportError::ForeignOrigin => "a foreign Origin or Host on an anonymous port",
            TransportError::Method => "a method that no path takes",
            TransportError::HeadTooLarge => "headers or URL too large",
            TransportError::Expectation => "an expectation other than 100-continue",
            TransportError::TimedOut => "the head came too slowly",
            TransportError::Overloaded => "the gateway is full",
        },
        GatewayError::Authenticate(error) => match error {
            AuthenticateError::Missing => "no key",
            AuthenticateError::Unknown { close: false, .. } => "an unknown key",
            AuthenticateError::Unknown { close: true, .. } => "unknown keys, many a second",
            AuthenticateError::Expired { .. } => "an expired key",
            AuthenticateError::Conflict => "two keys that differ",
        },
        GatewayError::Endpoint(error) => match error {
            NotServed::UnknownPath => "an unknown path",
            NotServed::Stateful => "a path that needs kept state",
            NotServed::Method { .. } => "a method that this path does not take",
        },
        GatewayError::Upgrade => "a WebSocket",
        GatewayError::Receive(error) => match error {
            ReceiveError::TooLarge { .. } => "the body is too large",
            ReceiveError::TimedOut => "the body came too slowly",
            ReceiveError::Malformed(_) => "the body is framed wrongly",
            ReceiveError::UploadTooLarge { .. } => "the form is too large",
            ReceiveError::Type(Takes::Json | Takes::Nothing) => "not JSON",
            ReceiveError::Type(Takes::Form) => "not a form",
            ReceiveError::Type(Takes::JsonOrForm) => "neither JSON nor a form",
            ReceiveError::Encoding(EncodingFault::Unknown) => "a content coding that is not known",
            ReceiveError::Encoding(EncodingFault::Several) => "one content coding upon another",
            ReceiveError::Encoding(EncodingFault::Form) => "a compressed form",
            ReceiveError::Corrupt => "not what its content coding says",
            ReceiveError::Charset => "JSON in another character set",
            ReceiveError::Overloaded => "no room to hold the body",
            ReceiveError::Gone => "the client left while it sent its body",
        },
        GatewayError::Body(fault) => match fault.code {
            FaultCode::InvalidJson => "broken JSON",
            FaultCode::InvalidEncoding => "not UTF-8",
            FaultCode::TooDeep => "nested too deep",
            FaultCode::DuplicateKey => "a key twice",
            FaultCode::AmbiguousKey => "a key that some read as another",
            FaultCode::InvalidValue => "a value that a parameter cannot have",
            FaultCode::MissingRequiredParameter => "a parameter is missing",
            FaultCode::InvalidForm => "a form that is not made as RFC 7578 says, or that could be read in two ways",
        },
        GatewayError::KeptState { .. } => "a parameter that asks for kept state",
        GatewayError::NotInPlan { .. } => "a parameter that asks for more than the plan allows",
        GatewayError::ModelNotFound { .. } => "a model that is not routed, or not this tenant's",
        GatewayError::Limit { refusal, .. } => match (refusal.kind, refusal.why) {
            (Kind::Requests, _) => "the request limit",
            (Kind::Tokens, Why::Exhausted | Why::Concurrency) => "the token limit",
            (Kind::Tokens, Why::TooLarge) => "larger than the whole token limit",
            (Kind::Tokens, Why::Uncovered) => "the token limit, with too much uncovered in flight",
            (Kind::Concurrent, _) => "calls in flight",
        },
        GatewayError::Upstream(error) => match error {
            UpstreamError::Busy => "too many calls wait for the upstream",
            UpstreamError::Connect(_) => "the upstream cannot be reached",
            UpstreamError::TimedOut(Waited::Connect) => "the upstream does not take the connection in time",
            UpstreamError::TimedOut(Waited::FirstByte) => "the upstream does not answer in time",
            UpstreamError::TimedOut(Waited::Idle) => "the upstream stops in its answer's head",
            UpstreamError::TimedOut(Waited::Total) => "the call takes longer than it may",
            UpstreamError::Lost(_) => "the upstream closes before its answer",
            UpstreamError::Protocol(_) => "the upstream does not speak HTTP",
            UpstreamError::Cut(_) => "the upstream's error is cut",
        },
        GatewayError::CredentialRefused => "the upstream refuses the gateway's credential",
        GatewayError::Redirected => "the upstream redirects",
        GatewayError::Internal => "a fault of the gateway's own",
    }
}

fn fault(code: FaultCode, param: Option<&str>, message: &str) -> GatewayError {
    GatewayError::Body(BodyFault { code, param: param.map(str::to_owned), message: message.to_owned() })
}

fn every_error() -> Vec<GatewayError> {
    let masked = || "sk-***cdef".to_owned();
    let text = || "why".to_owned();
    let (wait, long) = (Duration::from_millis(12_345), Duration::from_secs(3_600));
    let mut errors: Vec<GatewayError> = vec![
        TransportError::Invalid("The Host header is missing.".to_owned()).into(),
        TransportError::ForeignOrigin.into(),
        TransportError::Method.into(),
        TransportError::HeadTooLarge.into(),
        TransportError::Expectation.into(),
        TransportError::TimedOut.into(),
        TransportError::Overloaded.into(),
        AuthenticateError::Missing.into(),
        AuthenticateError::Unknown { masked: masked(), close: false }.into(),
        AuthenticateError::Unknown { masked: masked(), close: true }.into(),
        AuthenticateError::Expired { masked: masked() }.into(),
        AuthenticateError::Conflict.into(),
        GatewayError::Endpoint(NotServed::UnknownPath),
        GatewayError::Endpoint(NotServed::Stateful),
        GatewayError::Endpoint(NotServed::Method { allow: "GET, HEAD" }),
        GatewayError::Upgrade,
        ReceiveError::TooLarge { limit: 67_108_864 }.into(),
        ReceiveError::TimedOut.into(),
        ReceiveError::Malformed("check the chunk sizes and line ends".to_owned()).into(),
        ReceiveError::UploadTooLarge { limit: 268_435_456 }.into(),
        ReceiveError::Overloaded.into(),
        ReceiveError::Type(Takes::Json).into(),
        ReceiveError::Type(Takes::Form).into(),
        ReceiveError::Type(Takes::JsonOrForm).into(),
        ReceiveError::Encoding(EncodingFault::Unknown).into(),
        ReceiveError::Encoding(EncodingFault::Several).into(),
        ReceiveError::Encoding(EncodingFault::Form).into(),
        ReceiveError::Corrupt.into(),
        ReceiveError::Charset.into(),
        ReceiveError::Gone.into(),
        fault(FaultCode::InvalidJson, None, "(what is wrong, and at which byte)"),
        fault(FaultCode::InvalidEncoding, None, "(what is wrong, and at which byte)"),
        fault(FaultCode::TooDeep, None, "(what is wrong, and at which byte)"),
        fault(FaultCode::DuplicateKey, Some("model"), "(what is wrong, and at which byte)"),
        fault(FaultCode::AmbiguousKey, Some("Model"), "(what is wrong, and at which byte)"),
        fault(FaultCode::InvalidValue, Some("max_tokens"), "(what is wrong, and at which byte)"),
        fault(FaultCode::MissingRequiredParameter, Some("model"), "(what is missing)"),
        fault(FaultCode::InvalidForm, None, "(what is wrong with the form)"),
        GatewayError::KeptState { param: "background" },
        GatewayError::NotInPlan { param: "max_tokens", asked: "9000".to_owned(), bound: "at most 8192".to_owned() },
        GatewayError::ModelNotFound { model: "gpt-9".to_owned() },
        refusal(Kind::Requests, Why::Exhausted, Some(wait)),
        refusal(Kind::Requests, Why::Exhausted, Some(long)),
        refusal(Kind::Tokens, Why::Exhausted, Some(wait)),
        refusal(Kind::Tokens, Why::TooLarge, None),
        refusal(Kind::Tokens, Why::Uncovered, Some(Duration::from_secs(1))),
        refusal(Kind::Concurrent, Why::Concurrency, Some(Duration::from_secs(1))),
        UpstreamError::Busy.into(),
        UpstreamError::Connect(text()).into(),
        UpstreamError::Lost(text()).into(),
        UpstreamError::Protocol(text()).into(),
        UpstreamError::Cut(text()).into(),
        GatewayError::CredentialRefused,
        GatewayError::Redirected,
        GatewayError::Internal,
    ];
    for waited in [Waited::Connect, Waited::FirstByte, Waited::Idle, Waited::Total] {
        errors.push(UpstreamError::TimedOut(waited).into());
    }
    errors
}

/// One error as people read it in the reference.
fn described(error: &GatewayError) -> String {
    let told = told(error);
    let response = answer(error);
    let retry = match told.retry {
        Retry::Unsaid => "the SDK decides".to_owned(),
        Retry::Never => "never (x-should-retry: false)".to_owned(),
        Retry::After(wait) if wait > LONGEST_OBEYED => {
            format!(
                "{} or a little later, by hand (retry-after, retry-after-ms, x-should-retry: false)",
                go_duration(wait)
            )
        }
        Retry::After(wait) => format!("{} or a little later (retry-after, retry-after-ms)", go_duration(wait)),
    };
    let mut text = format!(
        "{}\n  status   {}\n  type     {}\n  code     {}\n  param    {}\n  message  {}\n  retry    {retry}\n  x-tollgate-error: {}\n",
        case(error),
        told.status.as_u16(),
        told.kind,
        told.code,
        told.param.as_deref().unwrap_or("null"),
        told.message,
        error.reason(),
    );
    for name in [ALLOW, CONNECTION] {
        if let Some(value) = response.headers().get(&name) {
            text.push_str(&format!("  {name}: {}\n", value.to_str().unwrap()));
        }
    }
    text
}

const REFERENCE: &str = "tests/fixtures/errors.txt";

#[test]
fn the_table_of_errors_is_the_one_that_users_read() {
    let mut text = String::from(
        "Every error that Tollgate makes itself, as its client sees it. Each carries x-tollgate-error; an upstream's own never does.\n\
         Written by the test of src/gateway/respond.rs: run it with TOLLGATE_WRITE=1 after a change that is meant.\n",
    );
    for error in every_error() {
        text.push('\n');
        text.push_str(&described(&error));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(REFERENCE);
    if std::env::var_os("TOLLGATE_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = text.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert!(text == written, "{REFERENCE} is not what the code says; first difference: {difference:?}");
}

#[tokio::test]
async fn every_error_has_openais_four_keys_our_ids_and_our_mark() {
    for error in every_error() {
        let told = told(&error);
        let response = answer(&error);
        let (parts, body) = response.into_parts();
        assert_eq!(parts.status, told.status);
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-tollgate-error", error.reason()),
            ("x-request-id", "req_1"),
            ("x-tollgate-request-id", "req_1"),
        ] {
            assert_eq!(parts.headers[name], value);
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 1);
        let object = value["error"].as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>().len(), 4);
        assert_eq!(object["message"], told.message);
        assert_eq!((&object["type"], &object["code"]), (&told.kind.into(), &told.code.into()));
        assert_eq!(object["param"].as_str(), told.param.as_deref());
        assert_eq!(parts.headers.contains_key(RETRY_AFTER), matches!(told.retry, Retry::After(_)), "{error:?}");
        assert!(!told.message.is_empty() && !told.message.contains('\n'));
        assert!(told.status.is_client_error() || told.status.is_server_error());
    }
}

#[tokio::test]
async fn what_a_client_wrote_is_quoted_no_longer_than_64_characters_and_stays_json() {
    let error = GatewayError::ModelNotFound { model: "\"é\u{1}".repeat(10_000) };
    assert!(told(&error).message.chars().count() < 200);
    let bytes = answer(&error).into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
}

fn waited(wait: Duration) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    retry_after(&mut headers, wait);
    headers
}

#[test]
fn a_wait_is_rounded_up_so_that_nobody_comes_too_early() {
    for (wait, millis, seconds) in [
        (Duration::ZERO, "0", "0"),
        (Duration::from_nanos(1), "1", "1"),
        (Duration::from_millis(1), "1", "1"),
        (Duration::from_nanos(999_999_999), "1000", "1"),
        (Duration::from_millis(1_000), "1000", "1"),
        (Duration::from_nanos(1_000_000_001), "1001", "2"),
        (Duration::from_secs(60), "60000", "60"),
        (Duration::MAX, "18446744073709551615", "18446744073709552"),
    ] {
        let headers = waited(wait);
        assert_eq!(
            (&headers[RETRY_AFTER_MS], &headers[RETRY_AFTER]),
            (&millis.parse().unwrap(), &seconds.parse().unwrap())
        );
    }
}

#[test]
fn a_wait_above_a_minute_tells_sdks_not_to_retry_by_themselves() {
    assert!(!waited(Duration::from_secs(60)).contains_key(X_SHOULD_RETRY));
    assert_eq!(waited(Duration::from_millis(60_001))[X_SHOULD_RETRY], "false");
}

#[test]
fn the_wait_told_is_never_shorter_than_the_wait_needed() {
    let wait = Duration::from_micros(12_345_678);
    let error = refusal(Kind::Tokens, Why::Exhausted, Some(wait));
    let random = Random::from_seed(3);
    for _ in 0..1_000 {
        let response: Response<NoBody> = failure(&error, &HeaderValue::from_static("req_1"), None, &random);
        let number = |name| response.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        let (millis, seconds) = (number(RETRY_AFTER_MS), number(RETRY_AFTER));
        assert!((12_346..=13_581).contains(&millis), "{millis}");
        assert!(seconds * 1_000 >= millis && seconds * 1_000 < millis + 1_000);
    }
}

#[test]
fn durations_are_written_as_openai_writes_them() {
    for (millis, text) in [
        (0, "0s"),
        (1, "1ms"),
        (174, "174ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_500, "1.5s"),
        (9_816, "9.816s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (361_010, "6m1.01s"),
        (3_600_000, "1h0m0s"),
        (3_605_000, "1h0m5s"),
        (86_400_000, "24h0m0s"),
    ] {
        assert_eq!(go_duration(Duration::from_millis(millis)), text);
    }
    assert_eq!(go_duration(Duration::from_nanos(1)), "1ms");
    assert_eq!(go_duration(Duration::from_nanos(999_000_001)), "1s");
    assert!(go_duration(Duration::MAX).ends_with('s'));
}

#[test]
fn the_headers_show_each_kind_of_limit_that_there_is_and_no_other() {
    let shown = |limit, remaining, reset| Some(Shown { limit, remaining, reset: Duration::from_millis(reset) });
    let mut headers = http::HeaderMap::new();
    rate_limits(&mut headers, &View { requests: shown(60, 59, 1_000), tokens: None });
    assert_eq!(headers.len(), 3);
    let mut headers = http::HeaderMap::new();
    rate_limits(&mut headers, &View { requests: shown(60, 58, 2_000), tokens: shown(200_000, 0, 61_500) });
    let text: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    for line in [
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 58",
        "x-ratelimit-reset-requests: 2s",
        "x-ratelimit-limit-tokens: 200000",
        "x-ratelimit-remaining-tokens: 0",
        "x-ratelimit-reset-tokens: 1m1.5s",
    ] {
        assert!(text.iter().any(|header| header == line), "{line} in {text:?}");
    }
    assert_eq!(headers.len(), 6);
}
