//! Holds the gateway to charging nothing for what no upstream ever got: not a token, and not the request either.
//!
//! A client leaves while its call waits for a connection, in one of the ways in which that may take long.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tollgate::limits::Kind;

use crate::support::client::post;
use crate::support::{Gate, MockUpstream, RawClient, Script, TestGateway, fixture, standard, within};

const PATH: &str = "/v1/chat/completions";

fn call(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Name a river."}}]}}"#)
}

/// A listener whose queue is full: connections to it are neither made nor refused.
struct BlackHole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    async fn new() -> BlackHole {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        // One that takes this long on one machine is not being made.
        while let Ok(made) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            queue.push(made.unwrap());
            assert!(queue.len() < 64, "the queue never fills");
        }
        BlackHole { address, _listener: listener, _queue: queue }
    }
}

fn assert_cost_nothing(record: &Value, outcome: &str) {
    assert_eq!(record["outcome"], outcome, "{record}");
    for key in ["input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "usage_source"] {
        assert!(record[key].is_null(), "{key} of {record}");
    }
}

/// Sends a call, leaves as soon as `at_upstream` calls are on their way, and gives the record with this number.
async fn leave_while_connecting(gateway: &TestGateway, at_upstream: f64, number: usize) -> Value {
    let mut client = RawClient::connect(gateway.address()).await;
    client.write(&post(PATH, &[], call("m").as_bytes())).await;
    gateway.metric_becomes("tollgate_upstream_in_flight", &[], at_upstream).await;
    client.reset();
    gateway.records(number + 1).await.remove(number)
}

#[tokio::test]
async fn a_client_that_leaves_while_we_connect_pays_nothing() {
    let hole = BlackHole::new().await;
    let upstream = MockUpstream::start().await;
    let config = standard(&upstream).replace(&upstream.address.to_string(), &hole.address.to_string());
    let gateway = TestGateway::start(&config);
    let record = leave_while_connecting(&gateway, 1.0, 0).await;
    assert_cost_nothing(&record, "client_gone");
    assert_eq!((&record["upstream"], &record["attempts"]), (&"mock".into(), &1.into()));
    assert_eq!([Kind::Requests, Kind::Tokens].map(|kind| gateway.level("acme", kind)), [0, 0]);
    for gauge in ["tollgate_in_flight", "tollgate_reservations", "tollgate_upstream_in_flight"] {
        gateway.metric_becomes(gauge, &[], 0.0).await;
    }
    assert_eq!(gateway.metric("tollgate_tokens_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_a_connection_pays_nothing_and_its_neighbour_what_it_used() {
    let answer = Gate::new();
    let upstream = MockUpstream::playing(Script::new().wait(&answer).send(whole(&fixture("chat_response.json")))).await;
    let config = standard(&upstream).replace("[upstreams.mock]\n", "[upstreams.mock]\nmax_connections = 1\n");
    let gateway = TestGateway::start(&config);
    let mut first = RawClient::connect(gateway.address()).await;
    first.write(&post(PATH, &[], call("m").as_bytes())).await;
    upstream.request(0).await;

    let record = leave_while_connecting(&gateway, 2.0, 0).await;
    assert_cost_nothing(&record, "client_gone");
    assert_eq!(gateway.level("acme", Kind::Requests), 1, "that of the first");
    answer.open();
    assert_eq!(within("the first answer", first.answer()).await.status(), 200);
    let record = gateway.records(2).await.remove(1);
    assert_eq!((&record["usage_source"], &record["input_tokens"]), (&"reported".into(), &19.into()));
    assert_eq!(gateway.level("acme", Kind::Requests), 1);
    assert_eq!(upstream.received().len(), 1);
}

fn whole(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_in_time_is_told_to_come_back_and_pays_nothing() {
    let upstream = MockUpstream::playing(Script::new().wait(&Gate::new())).await;
    let config = standard(&upstream).replace("[upstreams.mock]\n", "[upstreams.mock]\nmax_connections = 1\n");
    let gateway = TestGateway::start(&config);
    let mut first = RawClient::connect(gateway.address()).await;
    first.write(&post(PATH, &[], call("m").as_bytes())).await;
    upstream.request(0).await;
    let refused = gateway.post(PATH, call("m")).await;
    assert_eq!((refused.status(), refused.header("x-tollgate-error")), (503, Some("upstream_busy")));
    assert_cost_nothing(&gateway.records(1).await[0], "upstream_error");
    assert_eq!(gateway.level("acme", Kind::Requests), 1, "that of the first");
}
