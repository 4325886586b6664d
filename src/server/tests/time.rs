//! What must hold of `tests`.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// How long the server took to close, and what it said.
async fn until_closed(client: &mut DuplexStream) -> (Duration, String) {
    let started = Instant::now();
    let answer = read_to_end(client).await;
    (started.elapsed(), answer)
}

fn about(elapsed: Duration, seconds: u64) -> bool {
    let expected = Duration::from_secs(seconds);
    elapsed >= expected && elapsed < expected + Duration::from_millis(50)
}

#[tokio::test(start_paused = true)]
async fn silent_peers_are_closed_after_hello() {
    for opening in ["", "P", "PRI * HTTP/2.0\r\n"] {
        let rig = Rig::new();
        let mut client = rig.connect(4096);
        client.write_all(opening.as_bytes()).await.unwrap();
        let (elapsed, answer) = until_closed(&mut client).await;
        assert!(about(elapsed, 10) && answer.is_empty(), "{opening:?}: {elapsed:?} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_gets_a_408_counted_from_its_first_byte() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    let slow = async {
        for byte in b"GET /x HTTP/1.1\r\nhost: a\r\n" {
            client.write_all(&[*byte]).await.unwrap();
            sleep(SECOND).await;
            if rig.counts.timed_out.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
    };
    let started = Instant::now();
    slow.await;
    assert!(started.elapsed() <= 12 * SECOND, "{:?}", started.elapsed());
    let answer = read_until(&mut client, "refused 408").await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_after_a_call_is_timed_from_its_own_first_byte() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/x").as_bytes()).await.unwrap();
    read_until(&mut client, "GET /x").await;
    sleep(30 * SECOND).await;
    client.write_all(b"GET").await.unwrap();
    let started = Instant::now();
    read_until(&mut client, "refused 408").await;
    assert!(about(started.elapsed(), 10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_times_out_and_the_connection_closes() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    let started = Instant::now();
    let answer = read_until(&mut client, "TimedOut").await;
    assert!(about(started.elapsed(), 30), "{:?}", started.elapsed());
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(read_to_end(&mut client).await, "");
    rig.drain.close();
    timeout(6 * SECOND, rig.drain.finished()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_as_long_as_it_moves() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    for byte in b"abcde" {
        sleep(29 * SECOND).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    read_until(&mut client, "abcde").await;
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_its_time() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/hang").as_bytes()).await.unwrap();
    rig.script.begun.reaches(1).await;
    sleep(3600 * SECOND).await;
    assert_eq!(rig.script.dropped.count(), 0, "no timer of the server ends a call");
    client.write_all(b"").await.unwrap();
    let mut client = rig.connect(4096);
    client.write_all(get("/stream").as_bytes()).await.unwrap();
    read_until(&mut client, "xxxxx").await;
    sleep(3600 * SECOND).await;
    assert_eq!(rig.script.dropped.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_and_little_is_buffered() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/flood").as_bytes()).await.unwrap();
    let started = Instant::now();
    rig.script.dropped.reaches(1).await;
    assert!(about(started.elapsed(), 60), "{:?}", started.elapsed());
    assert!(rig.script.frames.count() <= 6, "{} frames of 16 KiB for one who reads none", rig.script.frames.count());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_kept() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/flood").as_bytes()).await.unwrap();
    let mut piece = [0; 512];
    for _ in 0..10 {
        sleep(50 * SECOND).await;
        client.read_exact(&mut piece).await.unwrap();
    }
    assert_eq!(rig.script.dropped.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_keep_alive() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    for _ in 0..3 {
        sleep(70 * SECOND).await;
        if rig.script.begun.count() == 0 {
            // The first wait would be longer than hello: a fresh connection speaks at once.
            client = rig.connect(4096);
        }
        client.write_all(get("/x").as_bytes()).await.unwrap();
        read_until(&mut client, "GET /x").await;
    }
    let (elapsed, answer) = until_closed(&mut client).await;
    assert!(about(elapsed, 75) && answer.is_empty(), "{elapsed:?} {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lingering_close_ends_after_five_seconds() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(b"POST /deny HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n").await.unwrap();
    read_until(&mut client, "no key").await;
    rig.drain.close();
    let started = Instant::now();
    rig.drain.finished().await;
    assert!(about(started.elapsed(), 5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_calls_end_and_takes_no_more() {
    let rig = Rig::new();
    let mut idle = rig.connect(4096);
    idle.write_all(get("/x").as_bytes()).await.unwrap();
    read_until(&mut idle, "GET /x").await;
    let mut busy = rig.connect(4096);
    busy.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").await.unwrap();
    rig.script.begun.reaches(2).await;
    let drain = rig.drain.clone();
    let draining = tokio::spawn(async move { drain.run(5 * SECOND, 600 * SECOND).await });
    let (elapsed, _) = until_closed(&mut idle).await;
    assert!(about(elapsed, 5), "idle connections stay for the delay: {elapsed:?}");
    sleep(20 * SECOND).await;
    busy.write_all(b"abc").await.unwrap();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("abc"), "{answer}");
    assert_eq!(draining.await.unwrap(), super::super::drain::Outcome::Finished);
}

#[tokio::test(start_paused = true)]
async fn while_leaving_answers_already_say_close() {
    let rig = Rig::new();
    rig.drain.begin();
    let answer = rig.exchange(get("/x").as_bytes()).await;
    assert!(statuses(&answer) == [200] && answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_dropped() {
    let rig = Rig::new();
    let mut client = rig.connect(4096);
    client.write_all(get("/stream").as_bytes()).await.unwrap();
    read_until(&mut client, "xxxxx").await;
    let outcome = rig.drain.run(SECOND, 30 * SECOND).await;
    assert_eq!(outcome, super::super::drain::Outcome::Cut(1));
    assert_eq!(rig.script.dropped.count(), 1);
    assert!(!read_to_end(&mut client).await.ends_with("0\r\n\r\n"), "cut is not a clean end");
}

#[tokio::test(start_paused = true)]
async fn a_connection_taken_at_the_last_moment_is_still_served() {
    let rig = Rig::new();
    rig.drain.close();
    let answer = rig.exchange(get("/x").as_bytes()).await;
    assert!(statuses(&answer) == [200] && answer.contains("connection: close\r\n"), "{answer}");
    let mut silent = rig.connect(4096);
    let (elapsed, _) = until_closed(&mut silent).await;
    assert!(about(elapsed, 1), "{elapsed:?}");
    assert_eq!(rig.drain.stage(), Stage::Closing);
}
