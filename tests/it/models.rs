//! Holds the gateway to its list of models: what routes name and what upstreams have, as clients may ask for it, without a wait.

use serde_json::Value;
use tollgate::app::ModelLists;

use crate::support::gateway::digest;
use crate::support::{
    Answer, Gate, Head, KEY, MockUpstream, RawClient, Script, TestGateway, UPSTREAM_KEY, fixture, standard, within,
};

const CHAT: &str = "/v1/chat/completions";
const LIST: &str = r#"{"object":"list","data":[{"id":"prod-gpt-5-mini"},{"id":"prod-gpt-5","owned_by":"x"},{"id":"other"},{"id":"prod-o3"}]}"#;

/// An upstream that lists models, and answers everything else.
async fn listing(list: Script) -> MockUpstream {
    MockUpstream::choosing(move |received| match received.head.start.as_str() {
        "GET /v1/models HTTP/1.1" => list.clone(),
        _ => Script::json(200, fixture("chat_response.json")),
    })
    .await
}

fn whole(list: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{list}", list.len())
}

/// Two tenants, a literal route, and one whose names are others upstream.
fn config(upstream: &MockUpstream) -> String {
    let routes = r#"models = ["alias"]
to = [{ upstream = "mock", model = "prod-o3" }]
[[routes]]
models = ["gpt-*", "o*"]
to = [{ upstream = "mock", model = "prod-{model}" }]
"#;
    standard(upstream).replace("models = [\"*\"]\nto = [\"mock\"]\n", routes)
        + &format!(
            "[tenants.small]\nplan = \"wide\"\nmodels = [\"gpt-5-*\", \"alias\"]\nkeys = [{{ sha256 = \"{}\" }}]\n",
            digest("sk-small")
        )
}

fn request(method: &str, path: &str, key: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\r\n")
}

async fn get(gateway: &TestGateway, path: &str, key: &str) -> Answer {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request("GET", path, key).as_bytes()).await;
    client.answer().await
}

async fn head(gateway: &TestGateway, path: &str, key: &str) -> Head {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(request("HEAD", path, key).as_bytes()).await;
    client.head().await
}

fn ids(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    assert_eq!((answer.status(), list["object"].as_str()), (200, Some("list")), "{list}");
    let id = |model: &Value| {
        assert_eq!(model["object"], "model", "{model}");
        model["id"].as_str().unwrap().to_owned()
    };
    list["data"].as_array().unwrap().iter().map(id).collect()
}

/// Waits until the upstream's list is known, as no port tells.
async fn fetched(gateway: &TestGateway) {
    within("the list to be fetched", async {
        while gateway.app().services.listings.of("mock").is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_list_has_what_a_tenant_may_ask_for_by_the_names_that_it_asks_by() {
    let upstream = listing(Script::json(200, LIST)).await;
    let gateway = TestGateway::asking(&config(&upstream), ModelLists::Fetched);
    fetched(&gateway).await;
    for _ in 0..3 {
        assert_eq!(ids(&get(&gateway, "/v1/models", KEY).await), ["alias", "gpt-5", "gpt-5-mini", "o3"]);
        assert_eq!(ids(&get(&gateway, "//models/", "sk-small").await), ["alias", "gpt-5-mini"]);
    }
    let whole = get(&gateway, "/models", KEY).await;
    let only = head(&gateway, "/models", KEY).await;
    assert_eq!((only.status(), only.content_length()), (200, Some(whole.body.len())));
    for (id, key, status) in [
        ("gpt-5", KEY, 200),
        ("alias", KEY, 200),
        ("gpt-not-listed", KEY, 200),
        ("o1%2Fpreview", KEY, 200),
        ("zebra", KEY, 404),
        ("prod-gpt-5", KEY, 404),
        ("gpt-5-mini", "sk-small", 200),
        ("gpt-5", "sk-small", 404),
    ] {
        let answer = get(&gateway, &format!("/v1/models/{id}"), key).await;
        assert_eq!(answer.status(), status, "{id}");
        assert_eq!(head(&gateway, &format!("/v1/models/{id}"), key).await.status(), status, "{id}");
        if status == 200 {
            assert_eq!(answer.json()["id"], id.replace("%2F", "/"));
        } else {
            assert_eq!(answer.code(), "model_not_found");
        }
    }
    assert_eq!(gateway.level("acme", tollgate::limits::Kind::Requests), 0);
    let asked = upstream.received();
    assert_eq!(asked.len(), 1, "no call asks an upstream: {asked:?}");
    let (start, key) = (&*asked[0].head.start, asked[0].head.get("authorization"));
    assert_eq!((start, key), ("GET /v1/models HTTP/1.1", Some(&*format!("Bearer {UPSTREAM_KEY}"))));
    assert_eq!(asked[0].head.names(), ["accept-encoding", "authorization", "host"]);
    assert_eq!(asked[0].body, b"");
}

#[tokio::test]
async fn while_the_upstream_is_asked_nothing_waits_for_it() {
    let gate = Gate::new();
    let (asked, slow) = (Gate::new(), gate.clone());
    let upstream = listing(Script::new().tell(&asked).wait(&slow).send(whole(LIST))).await;
    let text = config(&upstream).replace("provider = \"compatible\"", "provider = \"compatible\"\nmax_connections = 1");
    let gateway = TestGateway::asking(&text, ModelLists::Fetched);
    within("the upstream to be asked", asked.opened()).await;
    assert_eq!(ids(&get(&gateway, "/v1/models", KEY).await), ["alias"], "literal names alone");
    let call = gateway.post(CHAT, r#"{"model":"gpt-5","messages":[]}"#).await;
    assert_eq!(call.status(), 200, "its one connection is for calls");
    gate.open();
    fetched(&gateway).await;
    assert_eq!(ids(&get(&gateway, "/v1/models", KEY).await), ["alias", "gpt-5", "gpt-5-mini", "o3"]);
}

#[tokio::test]
async fn an_upstream_without_a_list_takes_nothing_away() {
    let upstream = listing(Script::json(404, r#"{"error":{"message":"no"}}"#)).await;
    let gateway = TestGateway::asking(&config(&upstream), ModelLists::Fetched);
    upstream.request(0).await;
    assert_eq!(ids(&get(&gateway, "/v1/models", KEY).await), ["alias"]);
    assert_eq!(gateway.post(CHAT, r#"{"model":"gpt-5","messages":[]}"#).await.status(), 200);
    assert_eq!(get(&gateway, "/v1/models", "sk-none").await.status(), 401);
}

#[tokio::test]
async fn upstreams_are_not_asked_where_every_name_is_written_down() {
    let upstream = listing(Script::json(200, LIST)).await;
    let text = standard(&upstream).replace("models = [\"*\"]\nto", "models = [\"gpt-5\", \"gpt-4\"]\nto");
    let gateway = TestGateway::asking(&text, ModelLists::Fetched);
    assert_eq!(ids(&get(&gateway, "/v1/models", KEY).await), ["gpt-4", "gpt-5"]);
    assert_eq!(gateway.post(CHAT, r#"{"model":"gpt-5","messages":[]}"#).await.status(), 200);
    assert_eq!(upstream.request(0).await.head.start, format!("POST {CHAT} HTTP/1.1"));
}
