//! The four time-outs, each against a server that is slow in one way.

use http_body_util::BodyExt;

use super::support::*;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(60);

fn timeouts() -> Timeouts {
    Timeouts { connect: LONG, first_byte: LONG, idle: LONG, total: LONG }
}

async fn against(server: &Server, timeouts: Timeouts) -> Result<(u16, bytes::Bytes), UpstreamError> {
    let client = client();
    let mut upstream = server.upstream();
    upstream.timeouts = timeouts;
    let outcome = call(&client, &Arc::new(upstream)).await;
    assert_eq!(client.connections("up"), 0, "what timed out is closed");
    outcome
}

#[tokio::test]
async fn an_upstream_that_never_answers() {
    let server = Server::answering(b"").await;
    let outcome = against(&server, Timeouts { first_byte: SHORT, ..timeouts() }).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::FirstByte)));
    let outcome = against(&server, Timeouts { total: SHORT, ..timeouts() }).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::Total)));
}

#[tokio::test]
async fn an_upstream_that_falls_silent() {
    let server = Server::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    let outcome = against(&server, Timeouts { idle: SHORT, ..timeouts() }).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::Idle)));
    let outcome = against(&server, Timeouts { total: SHORT, ..timeouts() }).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::Total)));
}

#[tokio::test]
async fn an_upstream_that_trickles_is_not_idle_but_ends_with_the_total() {
    let server = Server::start(|mut peer| async move {
        peer.serve(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while tokio::io::AsyncWriteExt::write_all(&mut peer.tcp, b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let limits = Timeouts { idle: Duration::from_millis(200), total: Duration::from_millis(500), ..timeouts() };
    let outcome = against(&server, limits).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::Total)));
}

/// A listener with a full backlog: the kernel drops what comes.
pub(super) struct BlackHole {
    pub(super) address: std::net::SocketAddr,
    _socket: socket2::Socket,
}

impl BlackHole {
    pub(super) async fn at(address: &str) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        for _ in 0..4 {
            tokio::spawn(tokio::net::TcpStream::connect(address));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        BlackHole { address, _socket: socket }
    }
}

#[tokio::test]
async fn an_address_that_swallows_everything_leaves_time_for_the_next() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let _hole = BlackHole::at(&format!("127.0.0.2:{port}")).await;
    let both = vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let resolver = Resolver::fixed([("llm.test".to_owned(), both)].into_iter().collect());
    let client = Client::new(Arc::new(TlsClients::none()), resolver, Arc::new(Ledger::default()));
    let mut upstream = upstream(&format!("http://llm.test:{port}"));
    upstream.timeouts = Timeouts { connect: Duration::from_millis(400), ..timeouts() };
    assert_eq!(call(&client, &Arc::new(upstream)).await.unwrap().1, "ok");
}

#[tokio::test]
async fn an_upstream_that_accepts_no_connection() {
    let hole = BlackHole::at("127.0.0.1:0").await;
    let address = hole.address;
    let mut upstream = upstream(&format!("http://{address}"));
    upstream.timeouts = Timeouts { connect: SHORT, ..timeouts() };
    let error = call(&client(), &Arc::new(upstream)).await.unwrap_err();
    assert_eq!(error, UpstreamError::TimedOut(Waited::Connect));
    assert!(!error.sent());
}

#[tokio::test]
async fn a_name_server_that_never_answers_and_a_tls_server_that_never_speaks() {
    let resolver = Resolver::asking(|_| Box::pin(std::future::pending()));
    let client = Client::new(Arc::new(TlsClients::none()), resolver, Arc::new(Ledger::default()));
    let mut nowhere = upstream("http://llm.test");
    nowhere.timeouts = Timeouts { connect: SHORT, ..timeouts() };
    let outcome = call(&client, &Arc::new(nowhere)).await;
    assert_eq!(outcome, Err(UpstreamError::TimedOut(Waited::Connect)));

    let server = Server::start(|mut peer| async move { peer.gone().await }).await;
    let tls = Arc::new(TlsClients::with_platform_roots([TlsPeer { name: &"up".into(), ca: None }]).unwrap_or_default());
    let client = Client::new(tls, Resolver::system(), Arc::new(Ledger::default()));
    let mut silent = upstream(&format!("https://{}", server.address));
    silent.timeouts = Timeouts { connect: SHORT, ..timeouts() };
    let error = call(&client, &Arc::new(silent)).await.unwrap_err();
    assert!(!error.sent(), "{error}");
}

#[tokio::test]
async fn zero_means_no_limit_and_a_short_call_meets_none() {
    let server = Server::answering(OK).await;
    let zero = Duration::ZERO;
    let mut upstream = server.upstream();
    upstream.timeouts = Timeouts { connect: zero, first_byte: zero, idle: zero, total: zero };
    assert!(call(&client(), &Arc::new(upstream)).await.is_ok());
}

#[tokio::test]
async fn a_stream_outlives_the_wait_for_its_first_byte() {
    let server = Server::start(|mut peer| async move {
        peer.serve(b"HTTP/1.1 200 OK\r\n\r\na").await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        peer.send(b"b").await;
    })
    .await;
    let mut upstream = server.upstream();
    upstream.timeouts = Timeouts { first_byte: Duration::from_millis(100), ..timeouts() };
    let body = send(&client(), &Arc::new(upstream), b"{}").await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
}
