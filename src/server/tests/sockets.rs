//! What must hold of `tests`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

struct Live {
    serving: Serving,
    script: Scripted,
    drain: Drain,
    address: SocketAddr,
}

impl Live {
    fn start(settings: Settings) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (script, drain) = (Scripted::default(), Drain::new());
        let for_workers = script.clone();
        let serving = serve(listener, settings, move |_| for_workers.clone(), drain.clone()).unwrap();
        Live { serving, script, drain, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(self) {
        self.drain.cut();
        self.serving.stop();
    }
}

fn two_workers() -> Settings {
    Settings { workers: 2, ..Settings::default() }
}

#[test]
fn a_client_that_uploads_before_it_reads_sees_the_early_answer() {
    let live = Live::start(two_workers());
    let mut stream = live.connect();
    let size = 30 * 1024 * 1024;
    let head = format!("POST /deny HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; size]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("no key"), "{answer}");
    live.stop();
}

#[test]
fn a_client_that_sends_a_huge_head_sees_the_431() {
    let live = Live::start(two_workers());
    let mut stream = live.connect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "v".repeat(4 * 1024 * 1024));
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431") && answer.ends_with("refused 431"), "{answer}");
    live.stop();
}

#[test]
fn connections_over_the_cap_are_told_so_and_places_are_given_back() {
    let live = Live::start(Settings { max_connections: 3, ..two_workers() });
    let held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = live.connect();
            stream.write_all(get("/peer").as_bytes()).unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
        })
        .collect();
    let answer = live.ask(&last_get("/x"));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("refused 503"), "{answer}");
    assert_eq!(live.serving.counts().turned_away.load(Ordering::Relaxed), 1);
    drop(held);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while live.drain.connections() > 0 && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(live.ask(&last_get("/x")).ends_with("GET /x"));
    live.stop();
}

#[test]
fn a_closed_socket_drops_its_call_whatever_was_pipelined() {
    let live = Live::start(two_workers());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patience = Duration::from_secs(5);
    let mut count = 0;
    for request in [get("/hang"), get("/stream"), get("/hang") + "\r\n", post("/hang", "unread")] {
        let mut stream = live.connect();
        stream.write_all(request.as_bytes()).unwrap();
        count += 1;
        runtime.block_on(live.script.begun.reaches(count));
        drop(stream);
        let dropped = async { tokio::time::timeout(patience, live.script.dropped.reaches(count)).await };
        assert!(runtime.block_on(dropped).is_ok(), "{request:?}");
    }
    live.stop();
}

#[test]
fn every_worker_takes_its_share() {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let scripts = [Scripted::default(), Scripted::default()];
    let (for_workers, drain) = (scripts.clone(), Drain::new());
    let serving = serve(listener, two_workers(), move |index| for_workers[index].clone(), drain.clone()).unwrap();
    let held: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(get("/x").as_bytes()).unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
        })
        .collect();
    assert_eq!(serving.counts().accepted.load(Ordering::Relaxed), 64);
    assert_eq!(drain.connections(), 64);
    let shares = scripts.map(|script| script.begun.count());
    assert!(shares.iter().all(|share| *share >= 16), "{shares:?}");
    drop(held);
    drain.cut();
    serving.stop();
}

#[test]
fn a_drained_server_closes_its_port() {
    let live = Live::start(two_workers());
    assert!(live.ask(&last_get("/x")).ends_with("GET /x"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(live.drain.run(Duration::ZERO, Duration::from_secs(5)));
    assert_eq!(outcome, super::super::drain::Outcome::Finished);
    assert!(TcpStream::connect(live.address).is_err());
    live.serving.stop();
}

#[test]
fn a_broken_http_1_0_answer_ends_in_a_reset() {
    let live = Live::start(two_workers());
    let mut stream = live.connect();
    stream.write_all(b"GET /breaks HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    assert!(answer.ends_with(b"first"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(live.ask("GET /x HTTP/1.0\r\n\r\n").ends_with("GET /x"), "a whole answer ends in order");
    live.stop();
}
