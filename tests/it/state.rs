//! Holds the gateway to a route's policy for kept state: what creates it or reads it is passed to one home, stripped, or refused
//! by name; and what is asserted stands on the wire.

use serde_json::Value;

use crate::support::{Answer, MockUpstream, Script, TestGateway, standard};

const PATH: &str = "/v1/responses";
const ANSWER: &str = r#"{"object":"response","status":"completed","model":"m","output":[],"usage":{"input_tokens":7,"output_tokens":2,"total_tokens":9}}"#;

async fn answering() -> MockUpstream {
    MockUpstream::playing(Script::json(200, ANSWER)).await
}

/// A gateway whose one route has these lines; more tables may follow.
fn gateway(upstream: &MockUpstream, route: &str, more: &str) -> TestGateway {
    let text = standard(upstream).replace("max_output_tokens = 500\n", &format!("max_output_tokens = 500\n{route}"));
    TestGateway::start(&format!("{text}{more}"))
}

fn home(upstream: &MockUpstream) -> String {
    format!(
        "[upstreams.home]\nprovider = \"compatible\"\nbase_url = \"{}\"\ncredential = \"none\"\n",
        upstream.base_url()
    )
}

fn call(members: &str) -> String {
    format!(r#"{{"model":"m","input":"Name a river."{members}}}"#)
}

fn body(upstream: &MockUpstream) -> String {
    String::from_utf8(upstream.received().pop().unwrap().body).unwrap()
}

fn error(answer: &Answer) -> (u16, String, String, String) {
    let error = serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].clone();
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (answer.status(), text("code"), text("param"), text("message"))
}

#[tokio::test]
async fn auto_passes_everything_untouched_to_the_only_deployment() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "", "");
    for members in ["", r#","store":true"#, r#","previous_response_id":"r","store":null"#, r#","conversation":"c""#] {
        assert_eq!(gateway.post(PATH, call(members)).await.status(), 200, "{members}");
        assert_eq!(body(&upstream), call(members));
    }
}

#[tokio::test]
async fn strip_puts_in_that_nothing_be_kept_and_refuses_what_reads_by_name() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "state = \"strip\"\n", "");
    for (members, sent) in [
        (r#","x":1"#, r#"{"store":false,"model":"m","input":"Name a river.","x":1}"#),
        (r#","store":null"#, r#"{"model":"m","input":"Name a river.","store":false}"#),
        (r#","store":false"#, r#"{"model":"m","input":"Name a river.","store":false}"#),
    ] {
        assert_eq!(gateway.post(PATH, call(members)).await.status(), 200, "{members}");
        assert_eq!(body(&upstream), sent);
    }
    for (path, asked) in [("/v1/responses/compact", call("")), ("/v1/responses/input_tokens", call(""))] {
        assert_eq!(gateway.post(path, &asked).await.status(), 200, "{path}");
        assert_eq!(body(&upstream), asked);
    }
    let calls = upstream.received().len();
    let file = r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}"#.to_owned();
    let item = r#"{"model":"m","input":[{"type":"item_reference","id":"i"}]}"#.to_owned();
    for (asked, param, instead) in [
        (call(r#","store":true"#), "store", "\"store\": false"),
        (call(r#","previous_response_id":"r""#), "previous_response_id", "whole conversation"),
        (call(r#","conversation":{"id":"c"}"#), "conversation", "whole conversation"),
        (call(r#","background":true"#), "background", "stream"),
        (file, "file_id", "file_data"),
        (item, "item_reference", "encrypted_content"),
    ] {
        let (status, code, named, message) = error(&gateway.post(PATH, &asked).await);
        assert_eq!((status, &*code, &*named), (400, "unsupported_parameter", param), "{asked}");
        assert!(message.contains(param) && message.contains(instead), "{message}");
    }
    let (status, _, named, _) =
        error(&gateway.post("/v1/responses/compact", call(r#","previous_response_id":"r""#)).await);
    assert_eq!((status, &*named), (400, "previous_response_id"));
    assert_eq!(upstream.received().len(), calls);
}

#[tokio::test]
async fn refuse_lets_only_calls_through_that_keep_and_read_nothing() {
    let upstream = answering().await;
    let gateway = gateway(&upstream, "state = \"refuse\"\n", "");
    for members in ["", r#","store":true"#, r#","store":null"#] {
        let (status, code, param, _) = error(&gateway.post(PATH, call(members)).await);
        assert_eq!((status, &*code, &*param), (400, "unsupported_parameter", "store"), "{members}");
    }
    assert_eq!(gateway.post(PATH, call(r#","store":false"#)).await.status(), 200);
    assert_eq!(gateway.post("/v1/responses/compact", call("")).await.status(), 200);
    assert_eq!(upstream.received().len(), 2);
    let records = gateway.records(5).await;
    assert_eq!(records.iter().filter(|record| record["outcome"] == "refused").count(), 3);
}

#[tokio::test]
async fn pass_sends_what_is_kept_home_and_the_rest_to_the_deployment() {
    let (upstream, at_home) = (answering().await, answering().await);
    let gateway = gateway(&upstream, "state = \"pass\"\nstateful = \"home\"\n", &home(&at_home));
    for (members, kept) in [
        ("", true),
        (r#","store":false,"previous_response_id":"r""#, true),
        (r#","store":false"#, false),
        (r#","background":true"#, true),
    ] {
        let before = at_home.received().len();
        assert_eq!(gateway.post(PATH, call(members)).await.status(), 200, "{members}");
        assert_eq!(at_home.received().len() - before, usize::from(kept), "{members}");
        assert_eq!(body(if kept { &at_home } else { &upstream }), call(members));
    }
    assert_eq!(at_home.received().pop().unwrap().head.get("authorization"), None);
    let records = gateway.records(4).await;
    let upstreams: Vec<&str> = records.iter().map(|record| record["upstream"].as_str().unwrap()).collect();
    assert_eq!(upstreams, ["home", "home", "mock", "home"]);
    for record in &records {
        assert_eq!((record["input_tokens"].as_u64(), record["output_tokens"].as_u64()), (Some(7), Some(2)), "{record}");
    }
}

#[tokio::test]
async fn a_tenants_own_home_comes_before_the_routes() {
    let (upstream, of_route, of_tenant) = (answering().await, answering().await, answering().await);
    let tenants = home(&of_tenant).replace("upstreams.home", "upstreams.acmes");
    let text = standard(&upstream)
        .replace("max_output_tokens = 500\n", "state = \"pass\"\nstateful = \"home\"\n")
        .replace("[tenants.acme]\n", "[tenants.acme]\nstateful = \"acmes\"\n");
    let gateway = TestGateway::start(&format!("{text}{}{tenants}", home(&of_route)));
    assert_eq!(gateway.post(PATH, call("")).await.status(), 200);
    assert_eq!((upstream.received().len(), of_route.received().len(), of_tenant.received().len()), (0, 0, 1));
}

#[tokio::test]
async fn work_that_goes_on_after_its_answer_is_charged_by_what_was_planned_for_it() {
    let begun = r#"{"id":"resp_1","object":"response","status":"queued","output":[],"usage":null}"#;
    let upstream = MockUpstream::playing(Script::json(200, begun)).await;
    let gateway = gateway(&upstream, "", "");
    assert_eq!(gateway.post(PATH, call(r#","background":true,"max_output_tokens":321"#)).await.status(), 200);
    let record = gateway.records(1).await.remove(0);
    assert_eq!((record["usage_source"].as_str(), record["output_tokens"].as_u64()), (Some("estimated"), Some(321)));
}
