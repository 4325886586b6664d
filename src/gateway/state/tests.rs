//! Every policy against every way to create kept state or to read it.

use super::*;
use crate::gateway::testing::Rig;
use crate::wire::peek::{Rules, peek};

fn route(state: StatePolicy) -> Route {
    Route { state, ..(*Rig::new().matched.route).clone() }
}

fn upstream(name: &str) -> Arc<Upstream> {
    let up = &Rig::new().matched.route.deployment.upstream;
    Arc::new(Upstream { name: name.into(), ..(**up).clone() })
}

fn held(
    route: &Route,
    home: Option<&Arc<Upstream>>,
    endpoint: Endpoint,
    members: &str,
) -> Result<Wanted, &'static str> {
    let body = format!(r#"{{"model":"m","input":"x"{members}}}"#);
    let peek = peek(endpoint, body.as_bytes(), Rules::default()).unwrap();
    hold(route, home, &peek, body.as_bytes()).map_err(|error| match error {
        GatewayError::KeptState { param } => param,
        other => panic!("{other}"),
    })
}

/// What becomes of a call of Responses: `sent`, `unstored`, or the parameter that it is refused for.
fn fate(state: StatePolicy, members: &str) -> &'static str {
    match held(&route(state), None, Endpoint::Responses, members) {
        Ok(Wanted { nothing_kept: true, .. }) => "unstored",
        Ok(_) => "sent",
        Err(param) => param,
    }
}

#[test]
fn each_policy_does_what_it_says() {
    use StatePolicy::{Auto, Pass, Refuse, Strip};
    for (members, auto, pass, strip, refuse) in [
        ("", "sent", "sent", "unstored", "store"),
        (r#","store":null"#, "sent", "sent", "unstored", "store"),
        (r#","store":true"#, "sent", "sent", "store", "store"),
        (r#","store":"false""#, "sent", "sent", "store", "store"),
        (r#","store":false"#, "sent", "sent", "sent", "sent"),
        (
            r#","store":false,"previous_response_id":"r""#,
            "sent",
            "sent",
            "previous_response_id",
            "previous_response_id",
        ),
        (r#","conversation":"c""#, "sent", "sent", "conversation", "conversation"),
        (r#","background":true"#, "sent", "sent", "background", "background"),
    ] {
        for (policy, expected) in [(Auto, auto), (Pass, pass), (Strip, strip), (Refuse, refuse)] {
            assert_eq!(fate(policy, members), expected, "{policy:?} {members}");
        }
    }
}

#[test]
fn auto_refuses_readers_as_soon_as_there_is_a_choice_of_deployments() {
    assert_eq!(policy(StatePolicy::Auto, 1), Policy::AsSent);
    assert_eq!(policy(StatePolicy::Auto, 2), Policy::NoReaders);
    assert_eq!(policy(StatePolicy::Pass, 2), Policy::Home);
    assert_eq!(policy(StatePolicy::Strip, 2), Policy::Stateless);
    assert_eq!(policy(StatePolicy::Refuse, 1), Policy::Nothing);
}

#[test]
fn pass_sends_home_what_creates_or_reads_and_nothing_else() {
    let (of_tenant, of_route) = (upstream("tenants"), upstream("routes"));
    let mut route = route(StatePolicy::Pass);
    route.stateful = Some(of_route);
    let home = |home: Option<&Arc<Upstream>>, endpoint, members: &str| {
        held(&route, home, endpoint, members).unwrap().home.map(|deployment| deployment.upstream.name.to_string())
    };
    assert_eq!(home(None, Endpoint::Responses, "").as_deref(), Some("routes"));
    assert_eq!(home(Some(&of_tenant), Endpoint::Responses, "").as_deref(), Some("tenants"));
    let reader = r#","store":false,"previous_response_id":"r""#;
    assert_eq!(home(Some(&of_tenant), Endpoint::Responses, reader).as_deref(), Some("tenants"));
    assert_eq!(home(Some(&of_tenant), Endpoint::Responses, r#","store":false"#), None);
    assert_eq!(home(Some(&of_tenant), Endpoint::Compact, ""), None);
    assert_eq!(home(Some(&of_tenant), Endpoint::InputTokens, r#","conversation":"c""#).as_deref(), Some("tenants"));
    let there = upstream("up");
    assert_eq!(home(Some(&there), Endpoint::Responses, ""), None, "the route's own deployment");
}

#[test]
fn only_responses_are_judged_and_background_everywhere() {
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Embeddings, Endpoint::Decisions] {
        for members in [r#","store":true"#, r#","previous_response_id":"r","conversation":"c""#] {
            assert!(held(&route(StatePolicy::Refuse), None, endpoint, members).is_ok(), "{endpoint:?} {members}");
        }
        let background = held(&route(StatePolicy::Auto), None, endpoint, r#","background":true"#);
        assert_eq!(background.err(), Some("background"), "{endpoint:?}");
    }
    let picture = held(&route(StatePolicy::Refuse), None, Endpoint::ImageGenerations, r#","background":"opaque""#);
    assert!(picture.is_ok());
}
