//! What must hold of the simulator as a server of its own.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A simulator on a free port; it ends with the handle.
async fn start() -> (SocketAddr, JoinSet<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(serve(listener, Arc::new(Simulator::new())));
    (address, server)
}

async fn exchange(request: String) -> String {
    let (address, _server) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is dropped may show as an end or as a reset; what came before it is what counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn chat(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_stream_goes_over_http_1() {
    let answer = exchange(chat(r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("transfer-encoding: chunked") && answer.contains("data: [DONE]"), "{answer}");
}

#[tokio::test]
async fn a_cut_stream_lacks_its_last_chunk_and_a_reset_has_no_head() {
    let cut =
        exchange(chat(r#"{"model":"sim/cut-after-2","stream":true,"messages":[{"role":"user","content":"hi"}]}"#))
            .await;
    assert!(cut.contains("data: ") && !cut.ends_with("0\r\n\r\n"), "{cut}");
    assert_eq!(exchange(chat(r#"{"model":"sim/reset","messages":[{"role":"user","content":"hi"}]}"#)).await, "");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_unread() {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    let answer = exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("64 MiB") && answer.contains("request_too_large"), "{answer}");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_understood() {
    let (address, _server) = start().await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/v1/models").body(String::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("sim/plain"));
    connection.abort();
}

#[tokio::test]
async fn a_form_may_be_larger_than_a_held_body_and_is_answered_early_where_that_was_asked_for() {
    let first = "--b\r\ncontent-disposition: form-data; name=model\r\n\r\nsim/status-429+early\r\n--b\r\n";
    let request = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n{first}",
        3 * MAX_BODY
    );
    let answer = exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
}
