//! What must hold of `policy`.

use super::*;
use crate::gateway::testing::Rig;
use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{Rules, peek};

const CHAT: Endpoint = Endpoint::ChatCompletions;

fn read(endpoint: Endpoint, members: &str) -> Peek {
    peek(endpoint, format!(r#"{{"model":"m"{members}}}"#).as_bytes(), Rules::default()).unwrap()
}

fn route(max_output_tokens: u64, enforce_cap: bool) -> Route {
    Route { max_output_tokens, enforce_cap, ..(*Rig::new().matched.route).clone() }
}

fn plan(max_output_tokens: u64, excess: Excess) -> Policy {
    Policy { max_output_tokens: Some(max_output_tokens), excess, ..Policy::default() }
}

fn refused(policy: &Policy, endpoint: Endpoint, members: &str) -> Option<(&'static str, String)> {
    match hold(policy, &route(4_096, false), &read(endpoint, members)) {
        Ok(_) => None,
        Err(GatewayError::NotInPlan { param, bound, .. }) => Some((param, bound)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn without_a_policy_everything_may_be_asked_for() {
    let asked = read(CHAT, r#","n":1000,"max_tokens":9000000,"service_tier":"priority""#);
    let allowed = hold(&Policy::default(), &route(4_096, false), &asked).unwrap();
    assert_eq!(allowed, Allowed { output_cap: 9_000_000, lowered: None, added: None });
    let allowed = hold(&Policy::default(), &route(4_096, true), &read(CHAT, "")).unwrap();
    assert_eq!(allowed, Allowed { output_cap: 4_096, lowered: None, added: Some(4_096) });
}

#[test]
fn more_output_than_the_plan_allows_is_refused_by_name() {
    let plan = plan(100, Excess::Refused);
    for (members, param) in [
        (r#","max_tokens":101"#, Some("max_tokens")),
        (r#","max_completion_tokens":101"#, Some("max_completion_tokens")),
        (r#","max_tokens":101,"max_completion_tokens":5000"#, Some("max_completion_tokens")),
        (r#","max_output_tokens":101"#, Some("max_output_tokens")),
        (r#","max_tokens":100"#, None),
        (r#","max_tokens":0"#, None),
        (r#","max_tokens":null"#, None),
        ("", None),
    ] {
        let found = refused(&plan, CHAT, members);
        assert_eq!(found, param.map(|param| (param, "at most 100".to_owned())), "{members}");
    }
    assert_eq!(refused(&plan, Endpoint::Embeddings, r#","max_tokens":101"#), None);
}

#[test]
fn more_choices_than_the_plan_allows_are_refused_by_name() {
    let plan = Policy { max_choices: Some(4), ..Policy::default() };
    for (members, param) in [
        (r#","n":4"#, None),
        (r#","n":5"#, Some("n")),
        (r#","best_of":5,"n":2"#, Some("best_of")),
        (r#","best_of":5,"n":5"#, Some("n")),
        (r#","n":0,"best_of":null"#, None),
        ("", None),
    ] {
        let found = refused(&plan, Endpoint::Completions, members).map(|(param, _)| param);
        assert_eq!(found, param, "{members}");
    }
}

#[test]
fn a_tier_that_the_plan_does_not_name_is_refused_and_none_is_never() {
    let plan = Policy { service_tiers: Some(vec!["default".into(), "flex".into()]), ..Policy::default() };
    for (members, fits) in [
        (r#","service_tier":"flex""#, true),
        (r#","service_tier":"fl\u0065x""#, true),
        (r#","service_tier":null"#, true),
        ("", true),
        (r#","service_tier":"priority""#, false),
        (r#","service_tier":"Flex""#, false),
        (r#","service_tier":"auto""#, false),
        (r#","service_tier":"""#, false),
    ] {
        assert_eq!(refused(&plan, CHAT, members).is_none(), fits, "{members}");
    }
}

#[test]
fn what_is_reserved_and_sent_is_the_smallest_that_binds() {
    let of = |policy: &Policy, enforce, members| {
        let Allowed { output_cap, lowered, added } =
            hold(policy, &route(4_096, enforce), &read(CHAT, members)).unwrap();
        (output_cap, lowered, added)
    };
    let (small, large) = (plan(100, Excess::Refused), plan(8_000, Excess::Refused));
    assert_eq!(of(&small, false, ""), (100, None, None));
    assert_eq!(of(&large, false, ""), (8_000, None, None));
    assert_eq!(of(&small, true, ""), (100, None, Some(100)));
    assert_eq!(of(&large, true, ""), (4_096, None, Some(4_096)));
    assert_eq!(of(&large, false, r#","max_tokens":5"#), (5, None, None));

    let clamped = plan(100, Excess::Clamped);
    assert_eq!(of(&clamped, false, r#","max_tokens":5000"#), (100, Some(100), Some(100)));
    assert_eq!(of(&clamped, false, r#","max_tokens":5"#), (5, Some(100), Some(100)));
    assert_eq!(of(&clamped, false, ""), (100, Some(100), Some(100)));
}
