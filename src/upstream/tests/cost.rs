//! What an event of a stream costs in turns of the task that reads it.

use std::pin::Pin;
use std::task::Poll;

use http_body::Body;
use tokio::sync::mpsc;

use super::support::*;

const EVENTS: usize = 50;

#[tokio::test]
async fn an_event_wakes_its_reader_once() {
    let (ask, asked) = mpsc::unbounded_channel();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let server = Server::start(move |mut peer| {
        let asked = Arc::clone(&asked);
        async move {
            peer.serve(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while asked.lock().await.recv().await.is_some() {
                peer.send(b"5\r\nevent\r\n").await;
            }
            peer.send(b"0\r\n\r\n").await;
        }
    })
    .await;
    let mut body = send(&client(), &Arc::new(server.upstream()), b"{}").await.unwrap().into_body();
    let mut ask = Some(ask);
    let (mut events, mut waits) = (0, 0);
    ask.as_ref().unwrap().send(()).unwrap();
    let reader = tokio::spawn(std::future::poll_fn(move |cx| {
        loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    assert_eq!(frame.unwrap().into_data().unwrap(), "event");
                    events += 1;
                    if events == EVENTS {
                        ask = None;
                    }
                    if let Some(ask) = &ask {
                        ask.send(()).unwrap();
                    }
                }
                Poll::Ready(None) => return Poll::Ready((events, waits)),
                Poll::Pending => {
                    waits += 1;
                    return Poll::Pending;
                }
            }
        }
    }));
    let (events, waits) = reader.await.unwrap();
    assert_eq!(events, EVENTS);
    assert!(waits <= EVENTS + 3, "{waits} turns for {events} events");
}
