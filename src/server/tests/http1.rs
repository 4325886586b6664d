//! What must hold of `tests`.

use super::*;

#[tokio::test]
async fn a_call_goes_through_and_the_next_one_too() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    for body in ["one", "two"] {
        client.write_all(post("/echo", body).as_bytes()).await.unwrap();
        let answer = read_until(&mut client, body).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    client.write_all(get("/peer").as_bytes()).await.unwrap();
    read_until(&mut client, "192.0.2.7:4711").await;
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_order() {
    let rig = Rig::new();
    let mut requests: String = (0..200).map(|number| post("/echo", &format!("[{number}]"))).collect();
    requests.push_str(&last_get("/end"));
    let answer = rig.exchange(requests.as_bytes()).await;
    let numbers: Vec<usize> =
        answer.split('[').skip(1).map(|rest| rest.split(']').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert!(answer.ends_with("GET /end"));
}

#[tokio::test]
async fn http_1_0_is_answered_without_chunks() {
    let rig = Rig::new();
    let answer = rig.exchange(b"GET /breaks HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nfirst"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
    let mut client = rig.connect(4096);
    client.write_all(b"GET /x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "GET /x").await;
    assert!(answer.contains("connection: keep-alive\r\n") && answer.contains("content-length: 6\r\n"), "{answer}");
    client.write_all(b"GET /y HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut client).await.ends_with("GET /y"));
}

#[tokio::test]
async fn a_broken_answer_does_not_end_cleanly() {
    let rig = Rig::new();
    let answer = rig.exchange(get("/breaks").as_bytes()).await;
    assert!(answer.contains("first") && !answer.contains("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_came_before_the_break_still_goes_out_to_a_slow_reader() {
    let rig = Rig::new();
    let mut client = rig.connect(8);
    client.write_all(get("/breaks").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.contains("5\r\nfirst\r\n") && !answer.contains("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_costs_its_own_call_only() {
    let rig = Rig::new();
    let answer = rig.exchange((get("/panic") + &last_get("/after")).as_bytes()).await;
    assert_eq!(statuses(&answer), [500, 200], "{answer}");
    assert_eq!(rig.counts.panics.load(Ordering::Relaxed), 1);
    let answer = rig.exchange(get("/panic-body").as_bytes()).await;
    assert!(answer.contains("first") && !answer.contains("0\r\n\r\n"), "{answer}");
    assert_eq!(rig.counts.panics.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_client_that_goes_while_the_call_waits_drops_the_call() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(post("/hang", "body that nobody reads").as_bytes()).await.unwrap();
    rig.script.begun.reaches(1).await;
    drop(client);
    rig.script.dropped.reaches(1).await;
    assert_eq!(rig.script.dropped.count(), 1);
}

#[tokio::test]
async fn a_client_that_ends_its_sending_side_has_hung_up() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/hang").as_bytes()).await.unwrap();
    rig.script.begun.reaches(1).await;
    client.shutdown().await.unwrap();
    rig.script.dropped.reaches(1).await;
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn a_client_that_goes_mid_stream_drops_the_body() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/stream").as_bytes()).await.unwrap();
    read_until(&mut client, "xxxxx").await;
    drop(client);
    rig.script.dropped.reaches(1).await;
    assert_eq!(rig.script.dropped.count(), 1);
}

#[tokio::test]
async fn a_body_that_ends_too_soon_is_told_from_a_malformed_one() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    rig.script.begun.reaches(1).await;
    client.shutdown().await.unwrap();
    read_to_end(&mut client).await;
    assert_eq!(*rig.script.bodies.lock().unwrap(), ["ClientGone"]);
    let bad = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n";
    let answer = rig.exchange(bad).await;
    assert!(statuses(&answer) == [400] && answer.ends_with("Malformed"), "{answer}");
}

#[tokio::test]
async fn trailers_never_reach_the_gateway() {
    let rig = Rig::new();
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n0\r\nauthorization: Bearer z\r\ncontent-length: 0\r\n\r\n";
    let answer = rig.exchange(request.as_bytes()).await;
    assert!(statuses(&answer) == [200] && answer.ends_with("abc"), "{answer}");
}

#[tokio::test]
async fn the_go_ahead_is_given_only_when_the_body_is_wanted() {
    let rig = Rig::new();
    let expecting =
        |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    let mut client = rig.connect(4096);
    client.write_all(expecting("/echo").as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"abc").await.unwrap();
    read_until(&mut client, "abc").await;
    let mut client = rig.connect(4096);
    client.write_all(expecting("/deny").as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "no key").await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn an_early_answer_says_that_the_connection_closes() {
    let rig = Rig::new();
    let mut client = rig.connect(1 << 20);
    client.write_all(b"POST /deny HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "no key").await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    // Our side has ended, yet the rest of the upload is taken.
    assert_eq!(read_to_end(&mut client).await, "");
    client.write_all(&vec![b'x'; 500_000]).await.unwrap();
}

#[tokio::test]
async fn a_port_without_keys_refuses_foreign_pages() {
    let anonymous = Some(guard::Anonymous { loopback: true, allow_origins: Vec::new() });
    let rig = Rig::with(Settings { anonymous, ..Settings::default() });
    let answer = rig.exchange(last_get("/x").as_bytes()).await;
    assert_eq!(statuses(&answer), [403], "{answer}");
    let answer = rig.exchange(last_get("/x").replace("host: a", "host: localhost:1").as_bytes()).await;
    assert_eq!(statuses(&answer), [200], "{answer}");
}
