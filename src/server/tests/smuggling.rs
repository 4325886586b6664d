//! Heads and bodies that two servers might read differently, as raw bytes: our status for each, and whether what follows in the
//! same write is ever taken for a call of its own. After a refused head it never is.

use super::*;

/// What the server makes of bytes: the statuses in order, and the calls that reached the gateway.
async fn verdict(bytes: &str) -> (Vec<u16>, usize) {
    let rig = Rig::new();
    let mut client = rig.connect(1 << 20);
    client.write_all(bytes.as_bytes()).await.unwrap();
    client.write_all(last_get("/second").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client).await;
    for answer in answer.split("HTTP/1.1 ").skip(1).filter(|answer| !answer.starts_with('2')) {
        assert!(answer.contains("content-length: ") && !answer.contains("content-length: 0"), "no body: {answer}");
    }
    (statuses(&answer), rig.script.begun.count())
}

/// Statuses, calls, and the fields after `POST /echo HTTP/1.1` and `Host: a`, with the body.
type Row = (&'static [u16], usize, &'static str);

#[tokio::test]
async fn framing_rows() {
    let rows: &[Row] = &[
        // hyper's reading stands: chunked wins, and the connection closes, so the second request is never seen.
        (&[200], 1, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (&[200], 1, "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        (&[200, 200], 2, "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
        (&[400], 0, "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        (&[400], 0, "Content-Length: 2, 2\r\n\r\nab"),
        (&[400], 0, "Content-Length: +2\r\n\r\nab"),
        (&[400], 0, "Content-Length: -1\r\n\r\nab"),
        (&[400], 0, "Content-Length: 0x2\r\n\r\nab"),
        (&[400], 0, "Content-Length: 18446744073709551616\r\n\r\nab"),
        (&[400], 0, "Content-Length: 2 2\r\n\r\nab"),
        (&[400], 0, "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (&[200, 200], 2, "Transfer-Encoding:\tChUnKeD\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "X: a\r\n b\r\n\r\n"),
        (&[400], 0, "X: a\rb\r\n\r\n"),
        (&[400], 0, "X: a\0b\r\n\r\n"),
        (&[400], 0, "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "Content_Length: 2\r\n\r\n"),
        (&[200, 200], 2, "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 9\r\n\r\n"),
        // Bodies that cannot be read: refused when read, and nothing after them is a request.
        (&[400], 1, "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n"),
        (&[400], 1, "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"),
        (&[400], 1, "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\na\r\n0\r\n\r\n"),
        (&[400], 1, "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n"),
        (&[400], 1, "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
        // Never switched: the second request is handled as the next one.
        (&[200, 200], 2, "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"),
        (&[200, 200], 2, "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
        (&[417], 0, "Expect: 200-ok\r\n\r\n"),
    ];
    for (expected, calls, tail) in rows {
        let bytes = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{tail}");
        assert_eq!(verdict(&bytes).await, (expected.to_vec(), *calls), "{tail:?}");
    }
}

#[tokio::test]
async fn target_and_host_rows() {
    let rows: &[Row] = &[
        (&[400], 0, "GET /x HTTP/1.1\r\n\r\n"),
        (&[400], 0, "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (&[400], 0, "GET /x HTTP/1.1\r\nHost: a/?x=\r\n\r\n"),
        (&[400], 0, "GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&[405], 0, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&[405], 0, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&[405], 0, "post /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&[400], 0, "GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n"),
        (&[400], 0, "GET /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (&[400], 0, "GET /x HTTP/1.2\r\nHost: a\r\n\r\n"),
        (&[400], 0, "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&[400], 0, "GET /x\r\n\r\n"),
        (&[400], 0, "\u{16}\u{3}\u{1}\r\n\r\n"),
        // Bare line feeds end lines (RFC 9112 2.2 allows it); what goes upstream is framed anew.
        (&[200, 200], 2, "GET /x HTTP/1.1\nHost: a\n\n"),
        // Left to the gateway's exact table of paths.
        (&[200, 200], 2, "GET /a/%2e%2e//b;x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (expected, calls, bytes) in rows {
        assert_eq!(verdict(bytes).await, (expected.to_vec(), *calls), "{bytes:?}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_in_the_usual_shape() {
    let field = |len: usize| format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(len));
    assert_eq!(verdict(&field(MAX_HEAD - 100)).await, (vec![200, 200], 2));
    assert_eq!(verdict(&field(MAX_HEAD)).await, (vec![431], 0));
    assert_eq!(verdict(&field(400 * 1024)).await, (vec![431], 0));
    let fields = |count: usize| format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(verdict(&fields(MAX_HEADERS)).await, (vec![200, 200], 2));
    assert_eq!(verdict(&fields(MAX_HEADERS + 1)).await, (vec![431], 0));
    assert_eq!(verdict(&fields(101)).await, (vec![431], 0));
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(verdict(&target(MAX_URI)).await, (vec![200, 200], 2));
    assert_eq!(verdict(&target(MAX_URI + 1)).await, (vec![414], 0));
}

/// Pieces of requests, good and bad, that any order of may come over the wire.
const PIECES: [&str; 26] = [
    "GET /x HTTP/1.1\r\n",
    "POST /echo HTTP/1.1\r\n",
    "POST /deny HTTP/1.0\r\n",
    "get http://b/x HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "Host: a\r\n",
    "Host: b/\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 9999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Content_Length: 5\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Upgrade: h2c\r\n",
    "X: \u{fc}\r\n",
    "X : y\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "5\r\nabcde\r\n",
    "0\r\n\r\n",
    "0\r\nHost: c\r\n\r\n",
    "ffffffffffffffff\r\n",
    "\0",
];

proptest::proptest! {
    /// Whatever comes, in whatever portions: the connection ends within the timers, no task panics, every answer is whole, and no
    /// call reaches the gateway after an answer that said that the connection closes.
    #[test]
    fn whatever_comes_the_connection_ends(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..14),
        portion in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            let (ours, mut client) = tokio::io::duplex(1 << 16);
            let serving = tokio::spawn(serve_stream(ours, peer(), Arc::clone(&rig.edge)));
            for portion in pieces.concat().as_bytes().chunks(portion) {
                if client.write_all(portion).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let answer = read_to_end(&mut client).await;
            drop(client);
            tokio::time::timeout(std::time::Duration::from_secs(200), serving).await.unwrap().unwrap();
            let closing = answer.match_indices("connection: close").count();
            assert!(closing <= 1, "an answer after the last one: {answer}");
            assert_eq!(rig.counts.panics.load(Ordering::Relaxed), 0);
        });
    }
}
