//! Holds every endpoint of the table to the same promises, from socket to socket: keys, limits, metrics, one record, endings.
//!
//! A new endpoint does not compile here until [`cases`] says what a call of it looks like. Must not know how any of it is done.

mod paths;

use serde_json::Value;
use tollgate::limits::Kind;
use tollgate::wire::endpoint::{Class, Endpoint, Takes};

use crate::metering::books;
use crate::support::gateway::{digest, sum};
use crate::support::{Answer, Ended, Gate, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, shown};

/// A hundred bytes of text: 25 tokens by the start ratio.
const TEXT: &str =
    "The lock keeper of Ulm counts barges from the tower window at dawn, and at dusk he counts them again";
const BOUNDARY: &str = "----tollgate-5c0d";

/// A call of an endpoint, and what an upstream says to it.
struct Case {
    endpoint: Endpoint,
    /// What tells it from other cases of its endpoint.
    kind: &'static str,
    content_type: String,
    body: Vec<u8>,
    stream: bool,
    answer_type: &'static str,
    answer: Vec<u8>,
    charged: Charged,
}

/// What a whole call is charged.
enum Charged {
    /// What the answer says.
    Reported { input: u64, output: u64 },
    /// What the table has for answers that say nothing; the input may be a few tokens off.
    Estimated { input: u64, output: u64 },
    /// A request, and no tokens.
    Nothing,
}

const REPORTED: fn(u64, u64) -> Charged = |input, output| Charged::Reported { input, output };
const ESTIMATED: fn(u64, u64) -> Charged = |input, output| Charged::Estimated { input, output };

impl Case {
    fn json(endpoint: Endpoint, members: &str, answer: &[u8], charged: Charged) -> Case {
        Case {
            endpoint,
            kind: "JSON",
            content_type: "application/json".to_owned(),
            body: format!(r#"{{"model":"m",{members}}}"#).into_bytes(),
            stream: false,
            answer_type: "application/json",
            answer: answer.to_vec(),
            charged,
        }
    }

    /// A call that asks for events; `members` must say so.
    fn events(endpoint: Endpoint, members: &str, answer: &[u8], charged: Charged) -> Case {
        let plain = Case::json(endpoint, members, answer, charged);
        Case { kind: "events", stream: true, answer_type: "text/event-stream", ..plain }
    }

    /// A form with a model, a prompt and a file.
    fn form(endpoint: Endpoint, file: &str, answer: &[u8], charged: Charged) -> Case {
        let part = |head: &str, content: &str| {
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let file = part(&format!("name=\"{file}\"; filename=\"a.bin\""), "\0\r\n--not the end\u{7f}");
        let body =
            [part("name=\"model\"", "m"), part("name=\"prompt\"", TEXT), file, format!("--{BOUNDARY}--\r\n")].concat();
        Case {
            kind: "form",
            content_type: format!("multipart/form-data; boundary={BOUNDARY}"),
            body: body.into_bytes(),
            ..Case::json(endpoint, "", answer, charged)
        }
    }

    fn name(&self) -> String {
        format!("{} ({})", self.endpoint.path(), self.kind)
    }

    fn path(&self) -> String {
        format!("/v1/{}", self.endpoint.path())
    }

    fn request(&self, key: Option<&str>) -> Vec<u8> {
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: gateway\r\n{key}content-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.path(),
            self.content_type,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }

    /// The answer, cut at `at` and waiting there for `gate`.
    fn halves(&self, at: usize, gate: &Gate) -> Script {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.answer_type,
            self.answer.len()
        );
        let (first, rest) = self.answer.split_at(at);
        Script::new().send([head.as_bytes(), first].concat()).wait(gate).send(rest)
    }

    fn whole(&self) -> Script {
        Script::answer(200, self.answer_type, &self.answer)
    }
}

/// What calls of an endpoint look like; none where no upstream is asked.
fn cases(endpoint: Endpoint) -> Vec<Case> {
    use Endpoint as E;
    let chat = format!(r#""messages":[{{"role":"user","content":"{TEXT}"}}]"#);
    let prompt = format!(r#""prompt":"{TEXT}""#);
    let input = format!(r#""input":"{TEXT}""#);
    let streamed = |members: &str| format!(r#"{members},"stream":true"#);
    let file = |name: &str| fixture(name);
    match endpoint {
        E::ChatCompletions => vec![
            Case::json(endpoint, &chat, &file("chat_response.json"), REPORTED(19, 7)),
            Case::events(
                endpoint,
                &format!(r#"{},"stream_options":{{"include_usage":true}}"#, streamed(&chat)),
                &file("chat_stream_with_usage.sse"),
                REPORTED(19, 7),
            ),
        ],
        E::Completions => vec![
            Case::json(
                endpoint,
                &prompt,
                br#"{"object":"text_completion","choices":[{"index":0,"text":"The Danube.","finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":4,"total_tokens":25}}"#,
                REPORTED(21, 4),
            ),
            Case::events(
                endpoint,
                &format!(r#"{},"stream_options":{{"include_usage":true}}"#, streamed(&prompt)),
                &file("ollama_completions_stream_zero_usage.sse"),
                REPORTED(9, 2),
            ),
        ],
        E::Responses => vec![
            Case::json(endpoint, &format!(r#"{input},"store":false"#), &file("responses_response.json"), REPORTED(19, 70)),
            Case::events(
                endpoint,
                &format!(r#"{},"store":false"#, streamed(&input)),
                &file("responses_stream.sse"),
                REPORTED(19, 6),
            ),
        ],
        E::InputTokens => {
            vec![Case::json(endpoint, &input, &file("responses_input_tokens_response.json"), Charged::Nothing)]
        }
        E::Compact => vec![Case::json(
            endpoint,
            &input,
            br#"{"id":"resp_1","object":"response.compaction","output":[],"usage":{"input_tokens":30,"output_tokens":11,"total_tokens":41}}"#,
            REPORTED(30, 11),
        )],
        E::Decisions => vec![Case::json(
            endpoint,
            &format!(r#"{input},"questions":[{{"id":"a","question":"Is it a river?"}}]"#),
            &file("decisions_response.json"),
            REPORTED(41, 1),
        )],
        E::Embeddings => {
            let answer = file("embeddings_response_float.json");
            vec![Case::json(endpoint, &input, &answer, REPORTED(5, 0))]
        }
        E::Moderations => vec![Case::json(
            endpoint,
            &input,
            br#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false,"categories":{},"category_scores":{}}]}"#,
            ESTIMATED(25, 0),
        )],
        E::Rerank => vec![Case::json(
            endpoint,
            &format!(r#""query":"{TEXT}","documents":["A river","A wall"]"#),
            br#"{"results":[{"index":0,"relevance_score":0.9},{"index":1,"relevance_score":0.1}],"usage":{"total_tokens":31,"prompt_tokens":31}}"#,
            REPORTED(31, 0),
        )],
        E::ImageGenerations => vec![
            Case::json(endpoint, &prompt, &file("images_response.json"), REPORTED(26, 4160)),
            image_events(endpoint, &streamed(&prompt)),
        ],
        E::ImageEdits => vec![
            Case::form(endpoint, "image", &file("images_response.json"), REPORTED(26, 4160)),
            Case::json(
                endpoint,
                &format!(r#"{prompt},"images":[{{"image_url":"data:image/png;base64,AAAA"}}]"#),
                &file("images_response.json"),
                REPORTED(26, 4160),
            ),
        ],
        E::ImageVariations => vec![Case::form(
            endpoint,
            "image",
            br#"{"created":1,"data":[{"url":"https://images.example/1.png"}]}"#,
            ESTIMATED(25 + 1_200, 1_200),
        )],
        E::Speech => vec![
            Case {
                kind: "sound",
                answer_type: "audio/mpeg",
                ..Case::json(endpoint, &format!(r#"{input},"voice":"alloy""#), &[0xff, 0xfb, 0, 1, 2, 0x80], ESTIMATED(25, 25))
            },
            speech_events(endpoint, &input),
        ],
        E::Transcriptions => vec![
            {
                let answer = file("transcription_response_tokens.json");
                let charged = usage_of(&answer);
                Case::form(endpoint, "file", &answer, charged)
            },
            Case {
                kind: "subtitles",
                answer_type: "text/plain; charset=utf-8",
                ..Case::form(
                    endpoint,
                    "file",
                    b"1\n00:00:00,000 --> 00:00:01,000\nThe Danube.\n",
                    ESTIMATED(25 + 1_200, 11),
                )
            },
        ],
        E::Translations => {
            vec![Case::form(endpoint, "file", br#"{"text":"The Danube."}"#, ESTIMATED(25 + 1_200, 0))]
        }
        E::Models | E::Model => Vec::new(),
    }
}

fn image_events(endpoint: Endpoint, members: &str) -> Case {
    let answer = fixture("images_stream.sse");
    let charged = usage_of_last_event(&answer);
    Case::events(endpoint, members, &answer, charged)
}

fn speech_events(endpoint: Endpoint, input: &str) -> Case {
    let answer = fixture("speech_stream.sse");
    let charged = usage_of_last_event(&answer);
    Case::events(endpoint, &format!(r#"{input},"voice":"alloy","stream_format":"sse""#), &answer, charged)
}

/// The usage that a whole answer of the Responses family's words states.
fn usage_of(answer: &[u8]) -> Charged {
    let usage = &serde_json::from_slice::<Value>(answer).unwrap()["usage"];
    let number = |key: &str| usage[key].as_u64().unwrap_or_else(|| panic!("no {key} in {usage}"));
    REPORTED(number("input_tokens"), number("output_tokens"))
}

/// The same for the last event that has data.
fn usage_of_last_event(answer: &[u8]) -> Charged {
    let text = std::str::from_utf8(answer).unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| data.contains("usage"));
    usage_of(last.unwrap().as_bytes())
}

/// All cases of all endpoints that an upstream is asked for.
fn all_cases() -> Vec<Case> {
    Endpoint::ALL.into_iter().flat_map(cases).collect()
}

/// One tenant, `acme`, on a plan of these lines.
fn with_plan(upstream: &MockUpstream, plan: &str) -> TestGateway {
    TestGateway::start(&format!(
        r#"
[plans.p]
{plan}
[tenants.acme]
plan = "p"
keys = [{{ sha256 = "{}", label = "ci" }}]
[[routes]]
models = ["*"]
to = ["mock"]
max_output_tokens = 50
[upstreams.mock]
provider = "compatible"
base_url = "{}"
credential = {{ api_key = {{ env = "UPSTREAM_KEY" }} }}
"#,
        digest(KEY),
        upstream.base_url()
    ))
}

const WIDE: &str = "requests = \"24/day burst 1M\"\ntokens = \"24/day burst 1000M\"\nconcurrent = 1000";

async fn send(gateway: &TestGateway, request: &[u8]) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request).await;
    client.answer().await
}

fn assert_refused(answer: &Answer, name: &str, status: u16, reason: &str) {
    assert_eq!(answer.status(), status, "{name}: {}", shown(&answer.body));
    assert_eq!(answer.header("x-tollgate-error"), Some(reason), "{name}: {}", shown(&answer.body));
    assert!(answer.json()["error"]["message"].is_string(), "{name}: {}", shown(&answer.body));
}

fn outcomes(records: &[Value]) -> Vec<&str> {
    let mut outcomes: Vec<&str> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    outcomes
}

#[test]
fn every_endpoint_has_cases_of_every_kind_of_body_that_it_takes() {
    for endpoint in Endpoint::ALL {
        let cases = cases(endpoint);
        let has = |form: bool| cases.iter().any(|case| case.content_type.starts_with("multipart/") == form);
        let found = (has(false), has(true));
        let wanted = match endpoint.takes() {
            Takes::Nothing => (false, false),
            Takes::Json => (true, false),
            Takes::Form => (false, true),
            Takes::JsonOrForm => (true, true),
        };
        assert_eq!(found, wanted, "{endpoint:?}");
        assert_eq!(cases.is_empty(), endpoint.class() == Class::ModelList, "{endpoint:?}");
    }
}

#[tokio::test]
async fn without_a_key_no_endpoint_answers_counts_or_asks_an_upstream() {
    let upstream = MockUpstream::start().await;
    let gateway = with_plan(&upstream, WIDE);
    let cases = all_cases();
    for case in &cases {
        for key in [None, Some("sk-nobody")] {
            let answer = send(&gateway, &case.request(key)).await;
            let reason = if key.is_some() { "invalid_api_key" } else { "no_api_key" };
            assert_refused(&answer, &case.name(), 401, reason);
            assert_eq!(answer.code(), "invalid_api_key", "{}", case.name());
        }
    }
    let rejected = gateway.metric("tollgate_rejected_total", &[]).await;
    assert_eq!(rejected, 2.0 * cases.len() as f64);
    assert_eq!(gateway.metric("tollgate_requests_total", &[]).await, 0.0);
    assert_eq!(upstream.connections(), 0);
    assert!(gateway.shut_down().await.is_empty());
}

#[tokio::test]
async fn every_endpoint_passes_its_call_and_leaves_one_record_and_its_metrics() {
    for case in all_cases() {
        let name = case.name();
        let upstream = MockUpstream::playing(case.whole()).await;
        let gateway = with_plan(&upstream, WIDE);
        let answer = send(&gateway, &case.request(Some(KEY))).await;
        assert_eq!((answer.status(), answer.ended), (200, Ended::Whole), "{name}: {}", shown(&answer.body));
        assert_eq!(answer.body, case.answer, "{name}");
        assert_eq!(answer.header("content-type"), Some(case.answer_type), "{name}");
        let sent = upstream.request(0).await;
        assert_eq!(sent.head.start, format!("POST {} HTTP/1.1", case.path()), "{name}");
        assert_eq!(sent.body, case.body, "{name}");
        assert_eq!(sent.head.get("content-type"), Some(&*case.content_type), "{name}");

        // One record, and counters, gauges and levels that agree with it.
        let record = books(gateway, 1).await.record;
        assert_eq!(record["endpoint"], case.endpoint.path(), "{name}");
        assert_eq!((&record["outcome"], &record["status"]), (&"ok".into(), &200.into()), "{name}: {record}");
        assert_eq!((&record["stream"], &record["attempts"]), (&case.stream.into(), &1.into()), "{name}: {record}");
        assert_eq!((&record["model"], &record["route"]), (&"m".into(), &"*".into()), "{name}: {record}");
        let found =
            (record["usage_source"].as_str(), record["input_tokens"].as_u64(), record["output_tokens"].as_u64());
        match case.charged {
            Charged::Reported { input, output } => {
                assert_eq!(found, (Some("reported"), Some(input), Some(output)), "{name}: {record}");
            }
            Charged::Estimated { input, output } => {
                assert_eq!((found.0, found.2), (Some("estimated"), Some(output)), "{name}: {record}");
                assert!((input..=input + 2).contains(&found.1.unwrap()), "{name}: {record}");
            }
            Charged::Nothing => assert_eq!(found, (None, None, None), "{name}: {record}"),
        }
    }
}

#[tokio::test]
async fn every_endpoint_is_held_to_the_limit_on_requests() {
    for case in all_cases() {
        let name = case.name();
        let upstream = MockUpstream::playing(case.whole()).await;
        let gateway = with_plan(&upstream, r#"requests = "1/day burst 1""#);
        assert_eq!(send(&gateway, &case.request(Some(KEY))).await.status(), 200, "{name}");
        gateway.records(1).await;
        let answer = send(&gateway, &case.request(Some(KEY))).await;
        assert_refused(&answer, &name, 429, "request_limit");
        assert_eq!(outcomes(&gateway.records(2).await), ["ok", "refused"], "{name}");
        assert_eq!(gateway.metric("tollgate_limit_decisions_total", &[("decision", "refused")]).await, 1.0, "{name}");
        assert_eq!(upstream.received().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn every_endpoint_is_held_to_the_limit_on_tokens() {
    for case in all_cases() {
        let name = case.name();
        let upstream = MockUpstream::playing(case.whole()).await;
        // A hundred bytes of text cannot be five tokens.
        let gateway = with_plan(&upstream, r#"tokens = "24/day burst 5""#);
        let answer = send(&gateway, &case.request(Some(KEY))).await;
        assert_refused(&answer, &name, 429, "token_limit");
        assert_eq!(upstream.received().len(), 0, "{name}");
        assert_eq!(outcomes(&gateway.shut_down().await), ["refused"], "{name}");

        // They could be ten; what they turn out to be more is owed.
        let gateway = with_plan(&upstream, r#"tokens = "24/day burst 10""#);
        assert_eq!(send(&gateway, &case.request(Some(KEY))).await.status(), 200, "{name}");
        let record = gateway.records(1).await.remove(0);
        let charged = ["input_tokens", "output_tokens"].iter().filter_map(|key| record[key].as_u64()).sum::<u64>();
        let again = send(&gateway, &case.request(Some(KEY))).await;
        // Nothing of it has come back, so the whole bucket that the next one asks for is not there.
        if charged > 0 {
            assert_refused(&again, &name, 429, "token_limit");
            assert_eq!(outcomes(&gateway.records(2).await), ["ok", "refused"], "{name}");
        } else {
            assert_eq!(again.status(), 200, "{name}");
        }
    }
}

#[tokio::test]
async fn every_endpoint_takes_a_place_in_flight_until_its_last_byte() {
    for case in all_cases() {
        let name = case.name();
        let (upstream, gate) = (MockUpstream::start().await, Gate::new());
        upstream.push(case.halves(case.answer.len() / 2, &gate));
        let gateway = with_plan(&upstream, "concurrent = 1");
        let mut first = RawClient::connect(gateway.address()).await;
        first.write(&case.request(Some(KEY))).await;
        upstream.request(0).await;
        assert_eq!(gateway.metric("tollgate_in_flight", &[("tenant", "acme")]).await, 1.0, "{name}");
        let answer = send(&gateway, &case.request(Some(KEY))).await;
        assert_refused(&answer, &name, 429, "concurrency_limit");
        gate.open();
        assert_eq!(first.answer().await.body, case.answer, "{name}");
        gateway.metric_becomes("tollgate_in_flight", &[("tenant", "acme")], 0.0).await;
        upstream.push(case.whole());
        assert_eq!(send(&gateway, &case.request(Some(KEY))).await.status(), 200, "{name}");
        assert_eq!(outcomes(&gateway.records(3).await), ["ok", "ok", "refused"], "{name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_any_endpoint_ends_the_upstreams_work_and_leaves_one_record() {
    for case in all_cases() {
        for seen in [None, Some(case.answer.len() / 2)] {
            let name = format!("{}, {seen:?}", case.name());
            let never = Gate::new();
            let script = match seen {
                None => Script::new().wait(&never),
                Some(at) => case.halves(at, &never),
            };
            let upstream = MockUpstream::playing(script).await;
            let gateway = with_plan(&upstream, WIDE);
            let mut client = RawClient::connect(gateway.address()).await;
            client.write(&case.request(Some(KEY))).await;
            upstream.request(0).await;
            if seen.is_some() {
                assert_eq!(client.head().await.status(), 200, "{name}");
                client.until(&case.answer[..1]).await;
            }
            client.reset();
            upstream.closed_during(0).await;
            let record = books(gateway, 1).await.record;
            assert_eq!(
                (&record["outcome"], &record["endpoint"]),
                (&"client_gone".into(), &case.endpoint.path().into())
            );
            assert_eq!(record["attempts"], 1, "{name}: {record}");
            if !matches!(case.charged, Charged::Nothing) {
                assert!(record["usage_source"].is_string(), "{name}: worked for, and not charged: {record}");
                assert!(record["input_tokens"].as_u64().unwrap() > 0, "{name}: {record}");
            }
        }
    }
}

#[tokio::test]
async fn an_upstreams_refusal_of_any_endpoint_passes_as_it_came_and_leaves_one_record() {
    for case in all_cases() {
        for (status, file) in
            [(400, "error_400_context_length.json"), (429, "error_429_tokens.json"), (503, "error_503_overloaded.json")]
        {
            let name = format!("{}, {status}", case.name());
            let error = fixture(file);
            let script = Script::answer_with(status, "application/json", &[("retry-after", "7")], &error);
            let upstream = MockUpstream::playing(script).await;
            let gateway = with_plan(&upstream, WIDE);
            let answer = send(&gateway, &case.request(Some(KEY))).await;
            assert_eq!((answer.status(), answer.ended), (status, Ended::Whole), "{name}");
            assert_eq!(answer.body, error, "{name}");
            assert_eq!(answer.header("x-tollgate-error"), None, "{name}");
            assert_eq!(answer.header("retry-after"), Some("7"), "{name}");
            let record = books(gateway, 1).await.record;
            assert_eq!((&record["outcome"], &record["status"]), (&"upstream_error".into(), &status.into()), "{name}");
            assert!(record["usage_source"].is_null(), "{name}: {record}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_any_endpoint_that_is_cut_never_ends_well_and_leaves_one_record() {
    for case in all_cases() {
        let name = case.name();
        let at = case.answer.len() / 2;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n", case.answer_type);
        let script = Script::new().send(head).chunk(&case.answer[..at]).then(crate::support::Then::Close);
        let upstream = MockUpstream::playing(script).await;
        let gateway = with_plan(&upstream, WIDE);
        let answer = send(&gateway, &case.request(Some(KEY))).await;
        let told = case.stream && String::from_utf8_lossy(&answer.body).contains("error");
        assert!(answer.ended == Ended::Cut || told, "{name}: {}", shown(&answer.body));
        assert!(!answer.body.ends_with(b"data: [DONE]\n\n"), "{name}: {}", shown(&answer.body));
        let record = books(gateway, 1).await.record;
        assert_eq!(record["outcome"], "upstream_truncated", "{name}: {record}");
    }
}

#[tokio::test]
async fn model_lists_need_a_key_and_no_limit_and_leave_one_record() {
    let upstream = MockUpstream::start().await;
    for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| endpoint.class() == Class::ModelList) {
        let path = endpoint.path().replace("{id}", "gpt-a");
        let plan = "requests = \"1/day burst 1\"\ntokens = \"24/day burst 4\"\nconcurrent = 1";
        let gateway = with_plan(&upstream, plan);
        let get = |method: &str, key: &str| {
            format!("{method} /v1/{path} HTTP/1.1\r\nhost: gateway\r\n{key}\r\n").into_bytes()
        };
        assert_refused(&send(&gateway, &get("GET", "")).await, &path, 401, "no_api_key");
        let key = format!("authorization: Bearer {KEY}\r\n");
        for _ in 0..3 {
            assert_eq!(send(&gateway, &get("GET", &key)).await.status(), 200, "{path}");
        }
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&get("HEAD", &key)).await;
        assert_eq!(client.head().await.status(), 200, "{path}");
        drop(client);
        assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0], "{path}");
        let metrics = gateway.metrics().await;
        assert_eq!(sum(&metrics, "tollgate_requests_total", &[("tenant", "acme"), ("outcome", "ok")]), 4.0, "{path}");
        let records = gateway.shut_down().await;
        assert_eq!(records.len(), 4, "{path}");
        for record in &records {
            assert_eq!((&record["outcome"], &record["endpoint"]), (&"ok".into(), &endpoint.path().into()), "{path}");
            assert!(record["usage_source"].is_null(), "{path}: {record}");
        }
    }
    assert_eq!(upstream.connections(), 0);
}
