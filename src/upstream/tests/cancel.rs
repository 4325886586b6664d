//! Whoever drops a call closes its connection, at once.

use std::time::Instant;

use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::support::*;

const SOON: Duration = Duration::from_millis(5);

/// A server that sends `begin`, tells that it did, and then tells when the client was gone.
async fn watched(begin: &'static [u8]) -> (Server, mpsc::UnboundedReceiver<Instant>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer| {
        let tell = tell.clone();
        async move {
            peer.serve(begin).await;
            tell.send(Instant::now()).unwrap();
            peer.gone().await;
            tell.send(Instant::now()).unwrap();
        }
    })
    .await;
    (server, told)
}

/// The quickest of three, as the machine may be busy with other things.
fn quickest(times: &[Duration]) -> Duration {
    *times.iter().min().unwrap()
}

#[tokio::test]
async fn dropping_the_call_before_the_answer_closes_the_connection() {
    let (server, mut told) = watched(b"").await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let mut times = Vec::new();
    for _ in 0..3 {
        let mut call = Box::pin(send(&client, &upstream, b"{}"));
        tokio::select! {
            _ = &mut call => panic!("nothing was answered"),
            _ = told.recv() => {}
        }
        let dropped = Instant::now();
        drop(call);
        assert_eq!(client.connections("up"), 0);
        times.push(told.recv().await.unwrap().saturating_duration_since(dropped));
    }
    assert!(quickest(&times) < SOON, "{times:?}");
}

#[tokio::test]
async fn dropping_the_answer_before_its_end_closes_the_connection() {
    let (server, mut told) = watched(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let mut times = Vec::new();
    for frames in [0, 1, 1] {
        let mut body = send(&client, &upstream, b"{}").await.unwrap().into_body();
        told.recv().await.unwrap();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        let dropped = Instant::now();
        drop(body);
        assert_eq!(client.connections("up"), 0);
        times.push(told.recv().await.unwrap().saturating_duration_since(dropped));
    }
    assert!(quickest(&times) < SOON, "{times:?}");
}

#[tokio::test]
async fn dropping_the_call_while_it_uploads_closes_the_connection() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |peer| {
        let tell = tell.clone();
        async move {
            let mut peer = peer;
            peer.tcp.peek(&mut [0]).await.unwrap();
            tell.send(()).unwrap();
            peer.gone().await;
            tell.send(()).unwrap();
        }
    })
    .await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    let body = vec![b'x'; 30 << 20].leak();
    let mut call = Box::pin(send(&client, &upstream, body));
    tokio::select! {
        _ = &mut call => panic!("nothing was answered"),
        _ = told.recv() => {}
    }
    drop(call);
    told.recv().await.unwrap();
    assert_eq!(client.connections("up"), 0);
}
