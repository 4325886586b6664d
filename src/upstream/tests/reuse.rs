//! When a connection serves a second call, and when it must not.

use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::support::*;

#[tokio::test]
async fn one_connection_serves_calls_one_after_another() {
    for answer in [
        OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nx-trailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let server = Server::answering(answer).await;
        let (client, upstream) = (client(), Arc::new(server.upstream()));
        for _ in 0..5 {
            assert_eq!(call(&client, &upstream).await.unwrap(), (200, "ok".into()));
        }
        assert_eq!(server.accepted(), 1);
        assert_eq!(client.connections("up"), 1);
    }
}

#[tokio::test]
async fn the_connection_is_free_with_the_last_byte_and_not_with_the_drop() {
    let server = Server::answering(OK).await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let mut first = send(&client, &upstream, b"{}").await.unwrap().into_body();
    assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    call(&client, &upstream).await.unwrap();
    assert_eq!(server.accepted(), 1);
    assert!(first.frame().await.is_none());
}

#[tokio::test]
async fn an_answer_that_ends_the_connection_ends_its_reuse() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=0\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=5, max=0\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let server = Server::answering(answer).await;
        let (client, upstream) = (client(), Arc::new(server.upstream()));
        for turn in 1..=3 {
            assert_eq!(call(&client, &upstream).await.unwrap().1, "ok");
            assert_eq!(server.accepted(), turn, "{}", answer.escape_ascii());
            assert_eq!(client.connections("up"), 0);
        }
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_does_not_reach_the_caller() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let server = Server::answering(answer).await;
    let answer = send(&client(), &Arc::new(server.upstream()), b"{}").await.unwrap();
    assert!(!answer.headers().contains_key("content-length"));
}

#[tokio::test]
async fn an_answer_without_length_ends_with_the_connection() {
    let server = Server::closing_after(b"HTTP/1.1 200 OK\r\n\r\nok").await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    assert_eq!(call(&client, &upstream).await.unwrap().1, "ok");
    assert_eq!(client.connections("up"), 0);
}

#[tokio::test]
async fn an_early_answer_is_passed_on_and_the_connection_not_used_again() {
    let server = Server::start(|mut peer| async move {
        let refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";
        peer.tcp.write_all(refusal).await.unwrap();
        peer.gone().await;
    })
    .await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let body = vec![b'x'; 30 << 20].leak();
    let answer = send(&client, &upstream, body).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "big");
    assert_eq!(client.connections("up"), 0);
}

#[tokio::test]
async fn an_early_answer_is_passed_on_although_the_upstream_closes_without_reading() {
    // Closing with unread bytes makes the kernel send a reset, so our writing fails while the answer is underway; on
    // a thread of its own the server does that in the middle of a write.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start(|mut peer| async move {
                peer.tcp.peek(&mut [0]).await.unwrap();
                let refusal = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
                peer.tcp.write_all(refusal).await.unwrap();
            })
            .await;
            tell.send(server.address).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let upstream = Arc::new(upstream(&format!("http://{}", told.recv().unwrap())));
    let (client, body) = (client(), vec![b'x'; 30 << 20].leak());
    for _ in 0..100 {
        let answer = send(&client, &upstream, body).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "big");
    }
}

/// What the server does with a connection between two calls.
async fn stale(moments: Vec<u32>) {
    let times = Arc::new(moments);
    let waits = Arc::clone(&times);
    let server = Server::start(move |mut peer| {
        let wait = waits[peer.number % waits.len()];
        async move {
            peer.serve(OK).await;
            for _ in 0..wait {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let mut answered = 0;
    let mut after_writing = 0;
    for moment in times.iter() {
        for _ in 0..moment % 7 {
            tokio::task::yield_now().await;
        }
        match call(&client, &upstream).await {
            Ok(_) => answered += 1,
            Err(UpstreamError::Lost(_)) => after_writing += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // Each server connection serves one request: a request sent twice would be counted twice.
    assert_eq!(answered, server.requests().len());
    assert_eq!(answered + after_writing, times.len());
    assert!(answered > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_connection_closed_between_calls_never_makes_a_call_run_twice(
        moments in proptest::collection::vec(0..20_u32, 200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(stale(moments));
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_call() {
    let (close, closing) = tokio::sync::watch::channel(0);
    let server = Server::start(move |mut peer| {
        let mut closing = closing.clone();
        async move {
            peer.serve(OK).await;
            let turn = peer.number + 1;
            let _ = closing.wait_for(|closed| *closed >= turn).await;
        }
    })
    .await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    for turn in 1..=200 {
        assert!(call(&client, &upstream).await.is_ok());
        close.send(turn).unwrap();
        // The server's task runs, the socket closes, and the runtime hears of it.
        for _ in 0..4 {
            tokio::time::sleep(std::time::Duration::ZERO).await;
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.accepted(), 200);
}

#[tokio::test]
async fn a_request_that_a_dead_connection_hands_back_goes_out_on_a_fresh_one() {
    // The call that waits is handed the only connection, and the upstream closes it before the call comes to use it:
    // the one way past the look at an idle connection.
    let (close, closing) = tokio::sync::watch::channel(false);
    let server = Server::start(move |mut peer| {
        let mut closing = closing.clone();
        async move {
            peer.serve(OK).await;
            closing.wait_for(|now| *now).await.unwrap();
        }
    })
    .await;
    let mut upstream = server.upstream();
    upstream.max_connections = 1;
    let (client, upstream) = (client(), Arc::new(upstream));
    let first = send(&client, &upstream, b"{}").await.unwrap();
    let mut second = Box::pin(call(&client, &upstream));
    assert!(poll_once(&mut second).await.is_none());
    // Handed over here; the second call is not polled until the close has been heard of.
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(client.connections("up"), 1);
    close.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(second.await.unwrap().1, "ok");
    assert_eq!((server.accepted(), server.requests().len()), (2, 2));
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(out) => std::task::Poll::Ready(Some(out)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn what_travels_between_tasks_is_send() {
    fn send<T: Send>() {}
    send::<UpstreamBody>();
    send::<Outgoing>();
    send::<Client>();
}
