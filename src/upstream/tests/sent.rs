//! A call is sent when its first bytes are handed to a connection, not before: then it may cost something.

use http_body_util::BodyExt;

use super::support::*;
use super::time::BlackHole;
use crate::net::clock::{Clock, Moment};

/// A call and the word about it; the clock shows one second.
fn watched(upstream: &Upstream) -> (Outgoing, Sent) {
    let clock = Clock::manual();
    clock.advance(Duration::from_secs(1));
    let sent = Sent::not_yet(clock);
    let upstream = Arc::new(upstream.clone());
    let body = OutBody::from(bytes::Bytes::from_static(b"{}"));
    let mut outgoing = shape(&upstream, Endpoint::ChatCompletions, http::HeaderMap::new(), body);
    outgoing.sent = Some(sent.clone());
    (outgoing, sent)
}

async fn start(client: &Client, outgoing: Outgoing) -> Result<http::Response<UpstreamBody>, UpstreamError> {
    tower::Service::call(&mut client.clone(), outgoing).await
}

#[tokio::test]
async fn an_answered_call_was_sent_and_keeps_its_first_moment() {
    let server = Server::answering(OK).await;
    let client = client();
    for _ in 0..2 {
        let (outgoing, sent) = watched(&server.upstream());
        assert_eq!(sent.at(), None);
        let answer = start(&client, outgoing).await.unwrap();
        assert_eq!(sent.at(), Some(Moment::from_nanos(1_000_000_000)));
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(server.accepted(), 1, "the second went over the first one's connection");
}

#[tokio::test]
async fn a_call_that_is_being_written_was_sent_though_nobody_answers() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut peer| {
        let tell = tell.clone();
        async move {
            peer.read().await;
            tell.send(()).unwrap();
            peer.gone().await;
        }
    })
    .await;
    let (outgoing, sent) = watched(&server.upstream());
    let client = client();
    tokio::select! {
        _ = start(&client, outgoing) => panic!("nothing was answered"),
        _ = told.recv() => {}
    }
    assert!(sent.at().is_some());
}

#[tokio::test]
async fn a_call_without_a_connection_was_not_sent() {
    // Nobody there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let (outgoing, sent) = watched(&upstream(&format!("http://{nobody}")));
    let error = start(&client(), outgoing).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect(_)) && !error.sent(), "{error}");
    assert_eq!(sent.at(), None);

    // Nobody answers the handshake, and the call is given up meanwhile.
    let hole = BlackHole::at("127.0.0.1:0").await;
    let (outgoing, sent) = watched(&upstream(&format!("http://{}", hole.address)));
    let client = client();
    let mut call = Box::pin(start(&client, outgoing));
    for _ in 0..100 {
        assert!(poll_once(&mut call).await.is_none());
    }
    drop(call);
    assert_eq!(sent.at(), None);

    // No connection comes free.
    let server = Server::start(|mut peer| async move { peer.gone().await }).await;
    let ledger = Arc::new(Ledger::with_waiting(Waiting { longest: Duration::from_millis(20), places: 1 }));
    let client = client_with(&ledger);
    let narrow = Upstream { max_connections: 1, ..server.upstream() };
    let (first, first_sent) = watched(&narrow);
    let mut first = Box::pin(start(&client, first));
    while first_sent.at().is_none() {
        assert!(poll_once(&mut first).await.is_none());
    }
    let (second, second_sent) = watched(&narrow);
    assert_eq!(start(&client, second).await.unwrap_err(), UpstreamError::Busy);
    assert_eq!(second_sent.at(), None);
}

#[tokio::test]
async fn the_simulator_has_a_call_as_soon_as_it_is_made() {
    let simulated = Upstream { simulated: true, ..upstream("http://simulator.invalid/v1") };
    let (outgoing, sent) = watched(&simulated);
    let _ = start(&client(), outgoing).await.unwrap();
    assert!(sent.at().is_some());
}

#[tokio::test]
async fn the_simulator_reads_forms_too() {
    let simulated = Arc::new(Upstream { simulated: true, ..upstream("http://simulator.invalid/v1") });
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nxyz\r\n--b--\r\n";
    let kind = http::HeaderValue::from_static("multipart/form-data; boundary=b");
    let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let body = OutBody::from(bytes::Bytes::from_static(form.as_bytes()));
    let answer = start(&client(), shape(&simulated, Endpoint::Transcriptions, headers.clone(), body)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("simulated"));
}

/// Polls once, then lets the runtime see to its sockets.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let done = std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await;
    tokio::task::yield_now().await;
    done
}
