//! Plays the upstream that the script wants, and keeps the ledger of what it read and wrote.
//!
//! It keeps nothing else of a call, as there are very many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::script::{Dialect, Ending, Entry, NUMBER, Plan, TOKENS_A_SECOND, World};
use crate::support::message::Chunks;
use crate::support::{Head, position, shown};

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    accepting: AbortHandle,
}

impl Upstream {
    pub(super) async fn start(world: Arc<World>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(serve(tcp, Arc::clone(&world)));
            }
        });
        Upstream { address, accepting: accepting.abort_handle() }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What becomes of the connection.
enum Next {
    Request,
    End,
}

async fn serve(mut tcp: TcpStream, world: Arc<World>) {
    let mut buffer = Vec::with_capacity(16 * 1024);
    while let Some((head, body)) = request(&mut tcp, &mut buffer).await {
        let plan = Plan::of(&world, head.get(NUMBER).unwrap().parse().unwrap());
        assert!(head.start.contains(plan.path()), "{plan:?}: {}", head.start);
        assert!(position(&body, plan.prompt(&world).as_bytes()).is_some(), "{plan:?}: {}", shown(&body));
        world.came(plan.number);
        if let Next::End = answer(&mut tcp, &world, &plan).await {
            return;
        }
    }
}

async fn request(tcp: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Head, Vec<u8>)> {
    loop {
        if let Some(head) = Head::parse(buffer) {
            let end = head.raw.len() + head.content_length().unwrap();
            if buffer.len() >= end {
                let body = buffer[head.raw.len()..end].to_vec();
                buffer.drain(..end);
                return Some((head, body));
            }
        }
        if !matches!(tcp.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// Until the peer closes.
async fn closed(tcp: &mut TcpStream) {
    let mut byte = [0];
    let more = matches!(tcp.read(&mut byte).await, Ok(1..));
    assert!(!more, "a request came while another one is answered");
}

async fn answer(tcp: &mut TcpStream, world: &World, plan: &Plan) -> Next {
    let (input, output) = (plan.input(world), plan.output(world));
    let enter = |output, told| world.enter(plan.number, Entry { input, output, told });
    if plan.paced() && plan.ending != Ending::Silence {
        let (began, all) = (Instant::now(), Duration::from_secs(output) / TOKENS_A_SECOND);
        let left = plan.ending == Ending::HangUpUnseen;
        // It goes on for as long as the client stays.
        let whole = if left { Duration::from_secs(60) } else { all };
        tokio::select! {
            () = tokio::time::sleep(whole) => {}
            () = closed(tcp) => {
                let written = began.elapsed().as_secs_f64() * f64::from(TOKENS_A_SECOND);
                enter((written as u64).min(output), false);
                return Next::End;
            }
        }
    }
    match plan.ending {
        Ending::Whole => {
            enter(output, true);
            let said = if plan.stream { whole_stream(world, plan, true) } else { whole_json(world, plan, true) };
            send(tcp, &said).await
        }
        Ending::NoUsage => {
            enter(output, false);
            let said = if plan.stream { whole_stream(world, plan, false) } else { whole_json(world, plan, false) };
            send(tcp, &said).await
        }
        Ending::Status(status) => {
            enter(0, false);
            send(tcp, &refusal(status)).await
        }
        Ending::ErrorEvent => {
            enter(plan.written(world, plan.stop), false);
            let said = [&*begun_stream(world, plan), &*chunk(&error_event(plan)), "0\r\n\r\n"].concat();
            send(tcp, said.as_bytes()).await
        }
        Ending::Cut | Ending::HangUp if !plan.stream => {
            // All was generated before the first byte went out.
            enter(output, false);
            let said = whole_json(world, plan, true);
            let head = position(&said, b"\r\n\r\n").unwrap() + 4;
            send(tcp, &said[..head + (said.len() - head) / 2]).await;
            if plan.ending == Ending::HangUp {
                closed(tcp).await;
            }
            Next::End
        }
        Ending::Cut => {
            enter(plan.written(world, plan.stop), false);
            send(tcp, begun_stream(world, plan).as_bytes()).await;
            Next::End
        }
        Ending::HangUp | Ending::Stall => {
            enter(plan.written(world, plan.stop), false);
            send(tcp, begun_stream(world, plan).as_bytes()).await;
            closed(tcp).await;
            Next::End
        }
        Ending::HangUpAfterUsage => {
            enter(output, true);
            let said = whole_stream(world, plan, true);
            let end = position(&said, b"e\r\ndata: [DONE]").unwrap();
            send(tcp, &said[..end]).await;
            closed(tcp).await;
            Next::End
        }
        Ending::Silence => {
            enter(output, false);
            closed(tcp).await;
            Next::End
        }
        Ending::HangUpUnseen | Ending::HangUpSending | Ending::NoModel => panic!("never here: {plan:?}"),
    }
}

/// Sends; a peer that left meanwhile is seen by the next read.
async fn send(tcp: &mut TcpStream, bytes: &[u8]) -> Next {
    match tcp.write_all(bytes).await {
        Ok(()) => Next::Request,
        Err(_) => Next::End,
    }
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// What stands at the end of the event of the piece with this number, from 1; a client waits for it.
pub(super) fn mark(piece: usize) -> String {
    format!(r#""obfuscation":"{piece:06}""#)
}

fn usage(world: &World, plan: &Plan) -> String {
    let (input, output) = (plan.input(world), plan.output(world));
    let (first, second) = match plan.dialect {
        Dialect::Responses => ("input_tokens", "output_tokens"),
        Dialect::Embeddings => return format!(r#"{{"prompt_tokens":{input},"total_tokens":{input}}}"#),
        Dialect::Chat | Dialect::Completions => ("prompt_tokens", "completion_tokens"),
    };
    format!(r#"{{"{first}":{input},"{second}":{output},"total_tokens":{}}}"#, input + output)
}

/// The event of one piece.
fn piece(plan: &Plan, number: usize, text: &str) -> String {
    let mark = mark(number);
    match plan.dialect {
        Dialect::Responses => format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\",{mark}}}\n\n"
        ),
        Dialect::Completions => format!(
            "data: {{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}],{mark}}}\n\n"
        ),
        _ => format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"real\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],{mark}}}\n\n"
        ),
    }
}

/// The head and the first pieces, some events to a chunk.
fn begun(world: &World, plan: &Plan, pieces: usize) -> String {
    let mut said =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let mut events = match plan.dialect {
        Dialect::Responses => "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n".to_owned(),
        _ => String::new(),
    };
    for (number, text) in (1..=pieces).zip(plan.says(world)) {
        events.push_str(&piece(plan, number, text));
        if number % 5 == plan.number as usize % 5 || number == pieces {
            said.push_str(&chunk(&events));
            events.clear();
        }
    }
    said
}

fn begun_stream(world: &World, plan: &Plan) -> String {
    begun(world, plan, plan.stop)
}

fn error_event(plan: &Plan) -> String {
    match plan.dialect {
        Dialect::Responses => "event: error\ndata: {\"type\":\"error\",\"sequence_number\":99,\"code\":\"server_error\",\"message\":\"It broke.\",\"param\":null}\n\n".to_owned(),
        _ => "data: {\"error\":{\"message\":\"It broke.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n".to_owned(),
    }
}

fn whole_stream(world: &World, plan: &Plan, with_usage: bool) -> Vec<u8> {
    let mut said = begun(world, plan, plan.says(world).len());
    let usage = if with_usage { usage(world, plan) } else { "null".to_owned() };
    match plan.dialect {
        Dialect::Responses => said.push_str(&chunk(&format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":99,\"response\":{}}}\n\n",
            response(world, plan, &usage)
        ))),
        _ => {
            let finish = match plan.dialect {
                Dialect::Completions => r#""text":"""#,
                _ => r#""delta":{}"#,
            };
            said.push_str(&chunk(&format!(
                "data: {{\"choices\":[{{\"index\":0,{finish},\"finish_reason\":\"stop\"}}]}}\n\n"
            )));
            if with_usage {
                said.push_str(&chunk(&format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n")));
            }
            said.push_str(&chunk("data: [DONE]\n\n"));
        }
    }
    said.push_str("0\r\n\r\n");
    said.into_bytes()
}

/// What a client is to read of a call that goes well: all of it, but the usage that it did not ask for.
pub(super) fn whole_said(world: &World, plan: &Plan) -> Vec<u8> {
    let with_usage = plan.ending == Ending::Whole;
    let unasked = matches!(plan.dialect, Dialect::Chat | Dialect::Completions) && !plan.asks_usage;
    let said = match plan.stream {
        true => whole_stream(world, plan, with_usage && !unasked),
        false => whole_json(world, plan, with_usage),
    };
    let head = position(&said, b"\r\n\r\n").unwrap() + 4;
    if plan.stream { Chunks::parse(&said[head..]).data } else { said[head..].to_vec() }
}

fn response(world: &World, plan: &Plan, usage: &str) -> String {
    let text: String = plan.says(world).collect();
    format!(
        r#"{{"id":"resp_1","object":"response","status":"completed","model":"real","output":[{{"type":"message","id":"msg_1","role":"assistant","content":[{{"type":"output_text","text":"{text}"}}]}}],"usage":{usage}}}"#
    )
}

fn whole_json(world: &World, plan: &Plan, with_usage: bool) -> Vec<u8> {
    let usage = if with_usage { usage(world, plan) } else { "null".to_owned() };
    let text: String = plan.says(world).collect();
    let body = match plan.dialect {
        Dialect::Chat => format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","model":"real","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        ),
        Dialect::Completions => format!(
            r#"{{"id":"cmpl-1","object":"text_completion","model":"real","choices":[{{"index":0,"text":"{text}","finish_reason":"stop"}}],"usage":{usage}}}"#
        ),
        Dialect::Responses => response(world, plan, &usage),
        Dialect::Embeddings => format!(
            r#"{{"object":"list","model":"real","data":[{{"object":"embedding","index":0,"embedding":[0.5,-0.25]}}],"usage":{usage}}}"#
        ),
    };
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn refusal(status: u16) -> Vec<u8> {
    let body = format!(r#"{{"error":{{"message":"No ({status}).","type":"server_error","param":null,"code":null}}}}"#);
    format!("HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
