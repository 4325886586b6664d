//! What must hold of lists that are fetched, on a clock that runs by itself: no test waits.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http_body_util::Full;
use http_body_util::combinators::MapErr;
use tokio::time::Instant;

use super::*;
use crate::gateway::memory::Memory;
use crate::gateway::model_list::{Listings, list};
use crate::gateway::receive::Bounds;
use crate::gateway::testing::Rig;
use crate::routing::{Deployment, Pattern, Route};
use crate::tenant::directory::Directory;

type Page = MapErr<Full<Bytes>, fn(Infallible) -> UpstreamError>;

/// What an upstream does when it is asked.
#[derive(Clone)]
enum Does {
    Tells(u16, String),
    Fails,
    Hangs,
}

/// Upstreams by their names, each with what it does next; who was asked, and when.
#[derive(Clone, Default)]
struct Upstreams(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    next: BTreeMap<String, VecDeque<Does>>,
    asked: Vec<(String, Duration, http::Request<()>)>,
    began: Option<Instant>,
}

impl Upstreams {
    fn push(&self, upstream: &str, does: Does) {
        self.0.lock().unwrap().next.entry(upstream.to_owned()).or_default().push_back(does);
    }

    /// When this upstream was asked, in seconds since the first time.
    fn asked(&self, upstream: &str) -> Vec<u64> {
        let log = self.0.lock().unwrap();
        log.asked.iter().filter(|(name, ..)| name == upstream).map(|(_, at, _)| at.as_secs()).collect()
    }
}

fn page(status: u16, text: String) -> Response<Page> {
    let body = Full::new(Bytes::from(text)).map_err((|never: Infallible| match never {}) as fn(Infallible) -> _);
    Response::builder().status(status).body(body).unwrap()
}

impl Service<Outgoing> for Upstreams {
    type Response = Response<Page>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Page>, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        let name = outgoing.upstream.name.to_string();
        let mut log = self.0.lock().unwrap();
        let began = *log.began.get_or_insert_with(Instant::now);
        log.asked.push((name.clone(), began.elapsed(), outgoing.request.map(|_| ())));
        let does = log.next.get_mut(&name).and_then(VecDeque::pop_front).unwrap_or(Does::Hangs);
        Box::pin(async move {
            match does {
                Does::Tells(status, text) => Ok(page(status, text)),
                Does::Fails => Err(UpstreamError::Connect("refused".to_owned())),
                Does::Hangs => std::future::pending().await,
            }
        })
    }
}

fn listed(ids: &[&str]) -> Does {
    let data: Vec<Value> = ids.iter().map(|id| serde_json::json!({ "id": id, "object": "model" })).collect();
    Does::Tells(200, serde_json::json!({ "object": "list", "data": data }).to_string())
}

/// A route from patterns to an upstream, where models may have other names.
fn route(rig: &Rig, patterns: &[&str], upstream: &str, model: Option<&str>) -> Arc<Route> {
    let of_rig = &rig.matched.route;
    let upstream = Upstream { name: upstream.into(), ..Upstream::clone(&of_rig.deployment.upstream) };
    Arc::new(Route {
        models: patterns.iter().map(|pattern| Pattern::new(pattern)).collect(),
        deployment: Deployment { upstream: Arc::new(upstream), model: model.map(Arc::from) },
        ..Route::clone(of_rig)
    })
}

fn running(routes: Vec<Arc<Route>>) -> Running {
    Running {
        generation: 1,
        directory: Directory::new(Vec::new(), None, 10, 0),
        routes: RouteTable::new(routes),
        upstreams: Vec::new(),
        bounds: Bounds { body: 1, upload: 1, spool: 1 },
        memory: crate::gateway::memory::Gate::new(&Arc::<Memory>::default(), 0),
        rules: crate::wire::peek::Rules::default(),
        since: 0,
        log_calls: false,
        tag: None,
        unknown_paths: None,
        prices: Arc::default(),
        reveal: crate::gateway::reveal::Reveal::default(),
    }
}

fn shown(rig: &Rig, routes: &[Arc<Route>], lists: &[(&str, &[&str])]) -> Vec<String> {
    let listings = Listings::default();
    for (upstream, names) in lists {
        listings.keep(&Arc::from(*upstream), names.iter().map(|name| (*name).to_owned()).collect());
    }
    list(&rig.tenant, &running(routes.to_vec()), &listings)
}

#[test]
fn ids_are_read_from_a_list_in_either_shape_and_nothing_else_is() {
    let some = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    assert_eq!(names(br#"{"object":"list","data":[{"id":"b"},{"id":"a","x":1},{"id":"b"}]}"#), some(&["a", "b"]));
    assert_eq!(names(br#"[{"id":"a"}]"#), some(&["a"]));
    assert_eq!(
        names(br#"{"data":[{"id":7},{"name":"x"},"x",{"id":""},{"id":" a"},{"id":"a\u0000"},null]}"#),
        some(&[])
    );
    for wrong in [&b"{}"[..], b"<html>", b"{\"data\":{}}", b"{\"data\":null}", b"", b"7", b"\xff"] {
        assert_eq!(names(wrong), None, "{}", String::from_utf8_lossy(wrong));
    }
    let many: Vec<Value> = (0..MOST_NAMES + 5).map(|n| serde_json::json!({ "id": n.to_string() })).collect();
    assert_eq!(names(Value::from(many).to_string().as_bytes()).unwrap().len(), MOST_NAMES);
}

#[test]
fn names_are_those_that_clients_use_and_that_lead_to_the_upstream_that_has_them() {
    let rig = Rig::new();
    let routes = [
        route(&rig, &["alias"], "one", Some("whatever")),
        route(&rig, &["gpt-*"], "one", Some("prod-{model}-eu")),
        route(&rig, &["gpt-5*"], "two", None),
        route(&rig, &["x-*"], "three", Some("fixed")),
    ];
    let names = shown(
        &rig,
        &routes,
        &[
            ("one", &["prod-gpt-4-eu", "prod-gpt-5-eu", "gpt-4", "prod--eu", "prod-o3-eu", "prod-eu"]),
            ("two", &["gpt-5", "gpt-5-mini", "gpt-4", "other"]),
            ("three", &["fixed", "x-1"]),
        ],
    );
    assert_eq!(names, ["alias", "gpt-4", "gpt-5", "gpt-5-mini"]);
    assert_eq!(shown(&rig, &routes, &[]), ["alias"], "before any list was fetched");
}

#[test]
fn only_upstreams_are_asked_that_a_pattern_needs() {
    let rig = Rig::new();
    let simulated = {
        let route = route(&rig, &["sim/*"], "sim", None);
        let upstream = Upstream { simulated: true, ..Upstream::clone(&route.deployment.upstream) };
        Arc::new(Route { deployment: Deployment { upstream: Arc::new(upstream), model: None }, ..Route::clone(&route) })
    };
    let routes = vec![
        route(&rig, &["a", "b"], "literal", None),
        route(&rig, &["gpt-*", "o*"], "pattern", None),
        route(&rig, &["c", "c-*"], "both", None),
        simulated,
    ];
    let asked: Vec<Arc<str>> = wanted(&RouteTable::new(routes)).into_keys().collect();
    assert_eq!(asked, ["both".into(), "pattern".into()] as [Arc<str>; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_fetched_at_once_then_every_five_minutes_and_kept_while_it_cannot_be_had() {
    let rig = Rig::new();
    let upstreams = Upstreams::default();
    for does in [
        listed(&["m-2", "m-1"]),
        Does::Fails,
        Does::Tells(500, "{}".to_owned()),
        Does::Tells(200, "<html>".to_owned()),
        Does::Tells(200, " ".repeat(LARGEST + 1)),
        Does::Hangs,
        listed(&["m-3"]),
    ] {
        upstreams.push("slow", does);
    }
    let routes = vec![route(&rig, &["m-*"], "slow", None)];
    let swap = Arc::new(ArcSwap::from_pointee(running(routes.clone())));
    let services = Arc::clone(&rig.services);
    assert_eq!(services.listings.of("slow"), None);
    let fetching = tokio::spawn(keep_fetching(upstreams.clone(), swap, Arc::clone(&services)));
    let known = || services.listings.of("slow").map(|names| names.to_vec()).unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(known(), ["m-1", "m-2"]);
    while upstreams.asked("slow").len() < 7 {
        assert_eq!(known(), ["m-1", "m-2"]);
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(known(), ["m-3"]);
    let times = upstreams.asked("slow");
    for (before, after) in times.iter().zip(&times[1..]) {
        let apart = after - before;
        assert!(
            (300..=341).contains(&apart),
            "jittered by a tenth at most, and 10 s for the one that hangs: {times:?}"
        );
    }
    fetching.abort();
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_hangs_does_not_hold_up_the_others() {
    let rig = Rig::new();
    let upstreams = Upstreams::default();
    upstreams.push("good", listed(&["g-1"]));
    let routes = vec![route(&rig, &["g-*"], "good", None), route(&rig, &["a-*"], "at a loss", None)];
    let swap = Arc::new(ArcSwap::from_pointee(running(routes)));
    let fetching = tokio::spawn(keep_fetching(upstreams.clone(), swap, Arc::clone(&rig.services)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.services.listings.of("good").unwrap().to_vec(), ["g-1"]);
    assert_eq!((upstreams.asked("good"), upstreams.asked("at a loss")), (vec![0], vec![0]));
    let log = upstreams.0.lock().unwrap();
    let (_, _, request) = log.asked.iter().find(|(name, ..)| name == "good").unwrap();
    assert_eq!((request.method(), request.uri().path()), (&http::Method::GET, "/v1/models"));
    assert!(!request.headers().contains_key(AUTHORIZATION), "this upstream wants no credential");
    drop(log);
    fetching.abort();
}
