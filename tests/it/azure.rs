//! Holds the gateway to the paths that Azure's clients use: the model in the path is the one that is routed, asked for and billed.

use crate::support::{Answer, KEY, MockUpstream, RawClient, Script, TestGateway, fixture, standard};

const CHAT: &str = "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21";
const TYPE: &str = "multipart/form-data; boundary=bound";

/// One route for `gpt-*`, whose models have another name at the upstream.
fn routed(upstream: &MockUpstream) -> String {
    standard(upstream)
        .replace("models = [\"*\"]", "models = [\"gpt-*\", \"meta/*\", \"whisper\"]")
        .replace("to = [\"mock\"]", "to = [{ upstream = \"mock\", model = \"prod-{model}\" }]")
}

async fn answering() -> MockUpstream {
    MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await
}

/// A call as those clients send it: with the key in a header of its own.
async fn post(gateway: &TestGateway, path: &str, kind: &str, body: &[u8]) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\napi-key: {KEY}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    client.write(&[head.as_bytes(), body].concat()).await;
    client.answer().await
}

async fn json(gateway: &TestGateway, path: &str, body: &str) -> Answer {
    post(gateway, path, "application/json", body.as_bytes()).await
}

fn sent(upstream: &MockUpstream) -> String {
    String::from_utf8(upstream.received().pop().unwrap().body).unwrap()
}

#[tokio::test]
async fn the_model_of_the_path_wins_over_the_bodys_and_is_put_in_where_that_names_none() {
    let upstream = answering().await;
    for (text, name) in [(standard(&upstream), "gpt-5"), (routed(&upstream), "prod-gpt-5")] {
        let gateway = TestGateway::start(&text);
        for (body, expected) in [
            (
                r#"{"model":"gpt-5","messages":[],"n":1.0e0}"#.replace("1.0e0", "1"),
                r#"{"model":"NAME","messages":[],"n":1}"#,
            ),
            (r#"{ "messages" : [], "model":"other" }"#.to_owned(), r#"{ "messages" : [], "model":"NAME" }"#),
            (r#"{"messages":[]}"#.to_owned(), r#"{"model":"NAME","messages":[]}"#),
            (r#"{"model":null,"messages":[]}"#.to_owned(), r#"{"model":"NAME","messages":[]}"#),
            ("{}".to_owned(), r#"{"model":"NAME"}"#),
        ] {
            let answer = json(&gateway, CHAT, &body).await;
            assert_eq!(answer.status(), 200, "{body}: {answer:?}");
            assert_eq!(sent(&upstream), expected.replace("NAME", name), "{body}");
            let head = upstream.received().pop().unwrap().head;
            assert_eq!(head.start, "POST /v1/chat/completions HTTP/1.1");
            assert_eq!(head.get("api-key"), None);
        }
        for record in gateway.records(5).await {
            assert_eq!(
                (record["model"].as_str(), record["endpoint"].as_str()),
                (Some("gpt-5"), Some("chat/completions"))
            );
        }
    }
}

#[tokio::test]
async fn an_empty_body_takes_every_edit_and_stays_json() {
    let upstream = answering().await;
    let text = routed(&upstream).replace("max_output_tokens = 500\n", "max_output_tokens = 500\nenforce_cap = true\n");
    let gateway = TestGateway::start(&text);
    assert_eq!(json(&gateway, CHAT, "{ }").await.status(), 200);
    let body: serde_json::Value = serde_json::from_str(&sent(&upstream)).unwrap();
    assert_eq!(body, serde_json::json!({ "max_completion_tokens": 500, "model": "prod-gpt-5" }));
}

#[tokio::test]
async fn the_models_name_is_decoded_once_and_judged_as_any_other() {
    let upstream = answering().await;
    let gateway = TestGateway::start(&routed(&upstream));
    for path in ["meta%2Fllama%203", "meta/llama%203"] {
        let path = format!("/openai/deployments/{path}/embeddings?api-version=1");
        assert_eq!(json(&gateway, &path, r#"{"input":"x"}"#).await.status(), 200, "{path}");
        assert_eq!(sent(&upstream), r#"{"model":"prod-meta/llama 3","input":"x"}"#);
    }
    let answer = json(&gateway, "/openai/deployments/secret/embeddings", r#"{"model":"gpt-5","input":"x"}"#).await;
    assert_eq!((answer.status(), answer.code()), (404, "model_not_found".to_owned()));
    let answer = json(&gateway, "/openai/deployments/%00/embeddings", r#"{"input":"x"}"#).await;
    assert_eq!((answer.status(), answer.code()), (404, "unknown_url".to_owned()));
}

#[tokio::test]
async fn paths_without_a_deployment_mean_what_they_mean_below_v1() {
    let upstream = answering().await;
    let gateway = TestGateway::start(&standard(&upstream));
    for path in ["/openai/v1/chat/completions", "/openai/v1/chat/completions?api-version=preview"] {
        assert_eq!(json(&gateway, path, r#"{"model":"gpt-5","messages":[]}"#).await.status(), 200, "{path}");
    }
    let body = r#"{"model":"gpt-5","input":"x"}"#;
    assert_eq!(json(&gateway, "/openai/responses?api-version=2025-03-01-preview", body).await.status(), 200);
    assert_eq!(upstream.received().pop().unwrap().head.start, "POST /v1/responses HTTP/1.1");
    let mut client = RawClient::connect(gateway.address()).await;
    let get = format!("GET /openai/models?api-version=2024-10-21 HTTP/1.1\r\nhost: gateway\r\napi-key: {KEY}\r\n\r\n");
    client.write(get.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.json()["object"].as_str()), (200, Some("list")));
}

fn part(head: &str, content: &str) -> String {
    format!("--bound\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

#[tokio::test]
async fn a_form_asks_for_the_model_of_the_path_whatever_its_own_part_says() {
    let upstream = MockUpstream::playing(Script::json(
        200,
        r#"{"text":"a","usage":{"type":"tokens","input_tokens":1,"output_tokens":1}}"#,
    ))
    .await;
    let gateway = TestGateway::start(&routed(&upstream));
    let path = "/openai/deployments/whisper/audio/transcriptions?api-version=2024-10-21";
    let file = part("name=\"file\"; filename=\"a.wav\"", &"x".repeat(100_000));
    let other = part("name=\"language\"", "en");
    let model = |name: &str| part("name=\"model\"", name);
    let inserted = format!("--bound\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{}\r\n", "prod-whisper");
    for (parts, expected) in [
        (format!("{other}{file}"), format!("{inserted}{other}{file}")),
        (format!("{}{file}", model("whisper")), format!("{}{file}", model("prod-whisper"))),
        (format!("{}{file}", model("elsewhere")), format!("{}{file}", model("prod-whisper"))),
        (other.clone(), format!("{inserted}{other}")),
    ] {
        let answer = post(&gateway, path, TYPE, format!("{parts}--bound--\r\n").as_bytes()).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(sent(&upstream) == format!("{expected}--bound--\r\n"), "{}", &sent(&upstream)[..300]);
    }
    for record in gateway.records(4).await {
        assert_eq!(record["model"], "whisper");
    }
}

#[tokio::test]
async fn a_form_that_names_a_second_model_behind_its_file_is_refused() {
    let upstream = MockUpstream::playing(Script::json(200, r#"{"text":"a"}"#)).await;
    let gateway = TestGateway::start(&routed(&upstream));
    let file = part("name=\"file\"; filename=\"a.wav\"", &"x".repeat(300_000));
    let form = format!("{file}{}--bound--\r\n", part("name=\"model\"", "gpt-5"));
    let answer = post(&gateway, "/openai/deployments/whisper/audio/transcriptions", TYPE, form.as_bytes()).await;
    assert_eq!((answer.status(), answer.code()), (400, "duplicate_key".to_owned()), "{answer:?}");
    assert!(upstream.received().is_empty());
}
