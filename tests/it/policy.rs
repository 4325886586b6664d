//! Holds the gateway to what plans let calls ask for: refused by name, or lowered on the way, and reserved accordingly.
//!
//! What is asserted stands on the wire to the upstream, in the answer, and in the record.

use serde_json::Value;
use tollgate::limits::Kind;

use crate::support::{Answer, MockUpstream, Script, TestGateway, fixture, standard};

const CHAT: &str = "/v1/chat/completions";

/// A gateway whose plan has these lines, and the upstream behind it.
async fn with(policy: &str, route: &str) -> (MockUpstream, TestGateway) {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let text = standard(&upstream)
        .replace("[plans.wide]", &format!("[plans.wide]\nreserve_output = \"cap\"\n{policy}"))
        .replace("max_output_tokens = 500\n", &format!("max_output_tokens = 500\n{route}"));
    let gateway = TestGateway::start(&text);
    (upstream, gateway)
}

fn chat(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Name a river."}}]{members}}}"#)
}

fn error(answer: &Answer) -> Value {
    serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].clone()
}

#[tokio::test]
async fn more_than_the_plan_allows_is_refused_by_name_and_reaches_nobody() {
    let policy = "max_output_tokens = 100\nmax_choices = 2\nservice_tiers = [\"default\", \"flex\"]\n";
    let (upstream, gateway) = with(policy, "").await;
    let cases = [
        (r#","max_tokens":101"#, "max_tokens", "at most 100"),
        (r#","max_completion_tokens":9007199254740992"#, "max_completion_tokens", "at most 100"),
        (r#","n":3"#, "n", "at most 2"),
        (r#","service_tier":"priority""#, "service_tier", "one of the service tiers default, flex"),
    ];
    for (members, param, bound) in cases {
        let answer = gateway.post(CHAT, chat(members)).await;
        assert_eq!(answer.status(), 400, "{members}");
        let error = error(&answer);
        assert_eq!((error["code"].as_str(), error["param"].as_str()), (Some("unsupported_value"), Some(param)));
        assert!(error["message"].as_str().unwrap().contains(bound), "{error}");
    }
    let records = gateway.records(cases.len()).await;
    for record in &records {
        assert_eq!((record["outcome"].as_str(), record["input_tokens"].as_u64()), (Some("refused"), None), "{record}");
    }
    assert_eq!((gateway.level("acme", Kind::Tokens), gateway.level("acme", Kind::Requests)), (0, 0));
    assert!(upstream.received().is_empty());
    for members in [r#","max_tokens":100,"n":2,"service_tier":"flex""#, r#","service_tier":null"#, ""] {
        assert_eq!(gateway.post(CHAT, chat(members)).await.status(), 200, "{members}");
    }
}

#[tokio::test]
async fn a_clamp_lowers_what_is_above_it_and_puts_in_what_is_missing() {
    let (upstream, gateway) = with("max_output_tokens = 100\nclamp = true\n", "").await;
    for (members, sent) in [
        (r#","max_tokens":5000"#, r#","max_tokens":100"#),
        (r#","max_tokens":7,"max_completion_tokens":101"#, r#","max_tokens":7,"max_completion_tokens":100"#),
        (r#","max_tokens":7"#, r#","max_tokens":7"#),
        (r#","max_tokens":null"#, r#","max_tokens":100"#),
    ] {
        assert_eq!(gateway.post(CHAT, chat(members)).await.status(), 200);
        let body = upstream.received().pop().unwrap().body;
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), chat(sent), "{members}");
    }
    gateway.post(CHAT, chat("")).await;
    let body = upstream.received().pop().unwrap().body;
    let expected = chat("").replacen('{', r#"{"max_completion_tokens":100,"#, 1);
    assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
}

#[tokio::test]
async fn a_call_without_a_cap_reserves_the_plans_and_the_smaller_one_that_is_enforced() {
    for (policy, route, reserved, sent) in [
        ("", "", 500, None),
        ("", "enforce_cap = true\n", 500, Some(500)),
        ("max_output_tokens = 100\n", "", 100, None),
        ("max_output_tokens = 900\n", "", 900, None),
        ("max_output_tokens = 900\n", "enforce_cap = true\n", 500, Some(500)),
        ("max_output_tokens = 100\n", "enforce_cap = true\n", 100, Some(100)),
        ("max_output_tokens = 100\nclamp = true\n", "", 100, Some(100)),
    ] {
        let (upstream, gateway) = with(policy, route).await;
        assert_eq!(gateway.post(CHAT, chat("")).await.status(), 200);
        // "Name a river." and the role: 17 bytes of text, at four bytes a token.
        let tokens = gateway.metric("tollgate_tokens_reserved_total", &[("tenant", "acme")]).await - reserved as f64;
        assert!((3.0..=6.0).contains(&tokens), "{policy}{route}: {tokens}");
        let body: Value = serde_json::from_slice(&upstream.received().pop().unwrap().body).unwrap();
        assert_eq!(body["max_completion_tokens"].as_u64(), sent, "{policy}{route}");
    }
}

#[tokio::test]
async fn a_service_tier_is_a_short_text_or_null() {
    let (upstream, gateway) = with("", "").await;
    for value in ["1", "[\"flex\"]", "{}", "true", &format!("\"{}\"", "x".repeat(65))] {
        let answer = gateway.post(CHAT, chat(&format!(r#","service_tier":{value}"#))).await;
        assert_eq!(answer.status(), 400, "{value}");
        assert_eq!(error(&answer)["param"], "service_tier");
    }
    assert!(upstream.received().is_empty());
    assert_eq!(gateway.post(CHAT, chat(r#","service_tier":"anything new""#)).await.status(), 200);
}
