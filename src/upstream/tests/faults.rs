//! What an upstream can do wrong, and which error says so.

use http_body_util::BodyExt;

use super::support::*;

async fn outcome(answer: &'static [u8]) -> Result<(u16, bytes::Bytes), UpstreamError> {
    let server = Server::closing_after(answer).await;
    let client = client();
    let outcome = call(&client, &Arc::new(server.upstream())).await;
    assert_eq!(client.connections("up"), 0);
    outcome
}

#[tokio::test]
async fn a_head_that_is_not_http_breaks_the_protocol() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"garbage\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/3.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ] {
        let error = outcome(answer).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Protocol(_)), "{}: {error}", answer.escape_ascii());
        assert!(error.sent());
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_never_ends_breaks_the_protocol() {
    let line = format!("x-fill: {}\r\n", "f".repeat(1000));
    let large = format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(70)).into_bytes().leak();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)).into_bytes().leak();
    for answer in [&*large, &*many] {
        assert!(matches!(outcome(answer).await, Err(UpstreamError::Protocol(_))));
    }
    for piece in ["x-fill: f\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let flood: &'static [u8] = format!("HTTP/1.1 103 Early\r\n{}", piece.repeat(200)).into_bytes().leak();
        let server = Server::start(move |mut peer| async move {
            peer.read().await;
            while tokio::io::AsyncWriteExt::write_all(&mut peer.tcp, flood).await.is_ok() {}
        })
        .await;
        let outcome = call(&client(), &Arc::new(server.upstream())).await;
        assert!(matches!(outcome, Err(UpstreamError::Protocol(_))), "{piece}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_before_the_head_is_lost() {
    for answer in [&b""[..], b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"] {
        let error = outcome(answer).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Lost(_)), "{}: {error}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_reset_before_the_head_is_lost() {
    let server = Server::start(|mut peer| async move {
        peer.read().await;
        reset(&peer);
    })
    .await;
    let outcome = call(&client(), &Arc::new(server.upstream())).await;
    assert!(matches!(outcome, Err(UpstreamError::Lost(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_cut() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n",
    ] {
        let error = outcome(answer).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Cut(_)), "{}: {error}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_body_ended_by_a_reset_is_cut_whatever_its_framing() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    ] {
        let (go, wait) = tokio::sync::watch::channel(false);
        let server = Server::start(move |mut peer| {
            let mut wait = wait.clone();
            async move {
                peer.serve(answer).await;
                wait.wait_for(|now| *now).await.unwrap();
                reset(&peer);
            }
        })
        .await;
        let mut body = send(&client(), &Arc::new(server.upstream()), b"{}").await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        go.send(true).unwrap();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error, UpstreamError::Cut(_)), "{}: {error}", answer.escape_ascii());
        assert!(body.frame().await.is_none());
    }
}

fn reset(peer: &Peer) {
    socket2::SockRef::from(&peer.tcp).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let server =
        Server::answering(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let (status, _) = call(&client(), &Arc::new(server.upstream())).await.unwrap();
    assert_eq!(status, 302);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn nothing_was_sent_where_no_connection_came_about() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let client = client();
    for base in [format!("http://{nobody}"), format!("https://{nobody}"), "http://nowhere.invalid".to_owned()] {
        let error = call(&client, &Arc::new(upstream(&base))).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Connect(_)) && !error.sent(), "{base}: {error}");
        assert_eq!(client.connections("up"), 0);
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::answering(OK).await;
    let table = [("llm.test".to_owned(), vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()])];
    let resolver = Resolver::fixed(table.into_iter().collect());
    let client = Client::new(Arc::new(TlsClients::none()), resolver, Arc::new(Ledger::default()));
    let upstream = Arc::new(upstream(&format!("http://llm.test:{}", server.address.port())));
    for _ in 0..2 {
        assert!(call(&client, &upstream).await.is_ok());
    }
    assert_eq!(server.accepted(), 1);
}
