//! What must hold of `tests`.

use std::time::Duration;

use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

type Client = SendRequest<http_body_util::Either<Full<Bytes>, Empty<Bytes>>>;

async fn client(rig: &Rig) -> (Client, JoinHandle<hyper::Result<()>>) {
    over(rig.connect(1 << 16)).await
}

async fn over(stream: DuplexStream) -> (Client, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(stream);
    let (client, connection) =
        http2::Builder::new(TokioExecutor::new()).initial_stream_window_size(65_535).handshake(io).await.unwrap();
    (client, tokio::spawn(connection))
}

fn asking(path: &str) -> Request<http_body_util::Either<Full<Bytes>, Empty<Bytes>>> {
    let uri = format!("http://a{path}");
    Request::builder().uri(uri).body(http_body_util::Either::Right(Empty::new())).unwrap()
}

#[tokio::test]
async fn prior_knowledge_is_understood_and_streams_run_side_by_side() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let _hanging = client.send_request(asking("/hang"));
    let body = http_body_util::Either::Left(Full::new(Bytes::from(vec![b'x'; 300_000])));
    let request = Request::post("http://a/echo").body(body).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 300_000);
}

#[tokio::test]
async fn the_guard_stands_before_http_2_too() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let mut request = asking("/x");
    request.headers_mut().insert("host", "evil".parse().unwrap());
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(client.send_request(asking("/panic")).await.unwrap().status(), 500);
    assert_eq!(client.send_request(asking("/x")).await.unwrap().status(), 200);
    assert_eq!(rig.counts.panics.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_reset_stream_drops_its_call_or_body_and_no_other() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let other = client.send_request(asking("/stream")).await.unwrap();
    let hanging = tokio::spawn(client.send_request(asking("/hang")));
    rig.script.begun.reaches(2).await;
    hanging.abort();
    rig.script.dropped.reaches(1).await;
    let mut response = client.send_request(asking("/stream")).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    rig.script.dropped.reaches(2).await;
    assert_eq!(rig.script.dropped.count(), 2);
    drop(other);
    rig.script.dropped.reaches(3).await;
}

#[tokio::test]
async fn a_closed_connection_drops_everything_on_it() {
    let rig = Rig::new();
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut server = rig.connect(1 << 16);
    let cable = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut server).await });
    let (mut client, _connection) = over(near).await;
    let _hanging = tokio::spawn(client.send_request(asking("/hang")));
    let mut response = client.send_request(asking("/stream")).await.unwrap();
    response.frame().await.unwrap().unwrap();
    rig.script.begun.reaches(2).await;
    cable.abort();
    rig.script.dropped.reaches(2).await;
    assert_eq!(rig.script.dropped.count(), 2);
}

#[tokio::test]
async fn a_broken_answer_resets_its_stream_after_its_last_event() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let mut response = client.send_request(asking("/breaks")).await.unwrap();
    assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    assert!(response.frame().await.unwrap().is_err());
    assert_eq!(client.send_request(asking("/x")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_told_to_go_after_its_keep_alive() {
    let rig = Rig::new();
    let (mut client, connection) = client(&rig).await;
    client.send_request(asking("/x")).await.unwrap().into_body().collect().await.unwrap();
    let started = Instant::now();
    connection.await.unwrap().unwrap();
    let elapsed = started.elapsed();
    assert!((75..=81).contains(&elapsed.as_secs()), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_never_given_room_ends_its_connection() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let stalled = client.send_request(asking("/flood")).await.unwrap();
    let moving = client.send_request(asking("/stream")).await.unwrap();
    let started = Instant::now();
    rig.script.dropped.reaches(2).await;
    let elapsed = started.elapsed();
    assert!((60..=95).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert!(rig.script.frames.count() <= 12, "{} frames of 16 KiB", rig.script.frames.count());
    drop((stalled, moving));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_not_a_stalled_one() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let mut silent = client.send_request(asking("/stream")).await.unwrap();
    silent.frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(rig.script.dropped.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_goaway_and_lets_streams_end() {
    let rig = Rig::new();
    let (mut client, connection) = client(&rig).await;
    let open = client.send_request(asking("/stream")).await.unwrap();
    let drain = rig.drain.clone();
    let draining = tokio::spawn(async move { drain.run(Duration::from_secs(5), Duration::from_secs(600)).await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(client.send_request(asking("/x")).await.is_err(), "no new stream after GOAWAY");
    assert_eq!(rig.script.dropped.count(), 0);
    drop(open);
    assert_eq!(draining.await.unwrap(), super::super::drain::Outcome::Finished);
    drop(connection);
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let rig = Rig::new();
    let (mut reader, mut writer) = tokio::io::split(rig.connect(1 << 16));
    let sink = tokio::spawn(async move { read_to_end(&mut reader).await });
    writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let pings = b"\0\0\x08\x06\0\0\0\0\0abcdefgh".repeat(1000);
    let mut sent = 0;
    while sent < 10_000_000 && writer.write_all(&pings).await.is_ok() {
        sent += pings.len();
    }
    assert!((2_000_000..3_000_000).contains(&sent), "cut after {sent} bytes");
    sink.await.unwrap();
}

#[tokio::test]
async fn an_upload_larger_than_any_flood_passes() {
    let rig = Rig::new();
    let (mut client, _connection) = client(&rig).await;
    let body = http_body_util::Either::Left(Full::new(Bytes::from(vec![b'x'; 6_000_000])));
    let response = client.send_request(Request::post("http://a/echo").body(body).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 6_000_000);
}
