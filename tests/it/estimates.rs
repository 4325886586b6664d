//! Holds the estimates to their promise: what is charged for calls that were hung up is, in sum, what was written.
//!
//! A tokenizer that the gateway does not have, `o200k_base`, cuts texts into the tokens that the upstream writes, and counts
//! them. After 20 whole calls on a route, 1,000 clients leave at points that a seeded generator picks, each before the usage.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::client::post;
use crate::support::gateway::digest;
use crate::support::message::Chunks;
use crate::support::{Gate, KEY, MockUpstream, PATIENCE, RawClient, Received, Script, TestGateway, fixture, position};

const PATH: &str = "/v1/chat/completions";
const LANGUAGES: [&str; 3] = ["english", "code", "russian"];
const TOKENS_AN_EVENT: [usize; 2] = [1, 8];
/// Whole calls on a route, before anybody leaves.
const WHOLE: usize = 20;
/// Clients that leave, on each route.
const HANG_UPS: usize = 1_000;
/// Calls of one route at once.
const AT_ONCE: usize = 50;
/// An answer has so many tokens at least, and at most.
const LENGTHS: (usize, usize) = (40, 240);
/// How far the sum of what is charged may be from what was written, as a part of it.
const TOLERANCE: f64 = 0.1;

/// What an upstream says in one event: at least so many tokens as the route has it, and no letter in parts.
struct Piece {
    text: String,
    tokens: u64,
}

/// A text in the events that a route streams it in.
struct Text {
    model: String,
    pieces: Vec<Piece>,
    tokens_an_event: usize,
}

impl Text {
    fn new(language: &str, tokens_an_event: usize) -> Text {
        let tokenizer = bpe_openai::o200k_base();
        let text = String::from_utf8(fixture(&format!("texts/{language}.txt"))).unwrap();
        let tokens = tokenizer.encode(&*text);
        let mut pieces = Vec::new();
        let mut gathered: Vec<u32> = Vec::new();
        for token in &tokens {
            gathered.push(*token);
            if gathered.len() < tokens_an_event {
                continue;
            }
            // A letter may be made of several tokens: then more of them go into one event.
            if let Some(text) = tokenizer.decode(&gathered) {
                pieces.push(Piece { text, tokens: gathered.len() as u64 });
                gathered.clear();
            }
        }
        let said: u64 = pieces.iter().map(|piece| piece.tokens).sum();
        assert!(said > 500 && tokens.len() as u64 - said < 8, "{language}: {said} of {}", tokens.len());
        Text { model: format!("{language}-{tokens_an_event}"), pieces, tokens_an_event }
    }

    fn tokens(&self, plan: Plan) -> u64 {
        self.pieces[plan.from..plan.from + plan.events].iter().map(|piece| piece.tokens).sum()
    }
}

/// What the upstream answers one call with; a client's prompt tells it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The first event of the text.
    from: usize,
    /// How many of its events are written; one at least.
    events: usize,
    /// Whether the answer then comes to its end, with its usage, or waits for ever.
    whole: bool,
}

/// A generator of numbers that are the same in each run (xorshift64*).
struct Picks(u64);

impl Picks {
    /// A number from `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        least + usize::try_from(number).unwrap() % (most - least + 1)
    }

    fn plan(&mut self, text: &Text, whole: bool) -> Plan {
        let tokens = self.between(LENGTHS.0, LENGTHS.1);
        let length = tokens.div_ceil(text.tokens_an_event);
        let from = self.between(0, text.pieces.len() - length);
        // Anywhere, from after its first word to just before the usage.
        let events = if whole { length } else { self.between(1, length) };
        Plan { from, events, whole }
    }
}

fn request(model: &str, plan: Plan) -> Vec<u8> {
    let Plan { from, events, whole } = plan;
    let body = format!(
        r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"{from} {events} {whole}"}}]}}"#
    );
    post(PATH, &[], body.as_bytes())
}

/// How the event with this number, counted from 1, ends.
fn event_end(number: usize) -> String {
    format!("\"obfuscation\":\"{number:06}\"}}\n\n")
}

fn event(delta: &str, finish: &str, number: usize) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"real\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}],\"usage\":null,{}",
        event_end(number)
    )
}

/// The answer to a call: a role, text, and its end or nothing more. Several events share a chunk, as they do on a network.
fn script(texts: &[Text], received: &Received, never: &Gate) -> Script {
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    let text = texts.iter().find(|text| body["model"] == *text.model).unwrap();
    let words: Vec<&str> = body["messages"][0]["content"].as_str().unwrap().split(' ').collect();
    let plan = Plan { from: words[0].parse().unwrap(), events: words[1].parse().unwrap(), whole: words[2] == "true" };
    let mut picks = Picks(plan.from as u64 + 1);
    let mut script = Script::stream_head();
    let mut chunk = event(r#"{"role":"assistant","content":""}"#, "null", 0);
    let mut room = 1;
    for (index, piece) in text.pieces[plan.from..plan.from + plan.events].iter().enumerate() {
        if room == 0 {
            script = script.chunk(&chunk);
            chunk.clear();
            room = picks.between(1, 8);
        }
        room -= 1;
        let delta = format!("{{\"content\":{}}}", serde_json::to_string(&piece.text).unwrap());
        chunk.push_str(&event(&delta, "null", index + 1));
    }
    if !plan.whole {
        return script.chunk(&chunk).wait(never);
    }
    let tokens = text.tokens(plan);
    chunk.push_str(&event("{}", "\"stop\"", plan.events + 1));
    write!(
        chunk,
        "data: {{\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{tokens},\
         \"total_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
        tokens + 9
    )
    .unwrap();
    script.chunk(&chunk).last_chunk()
}

/// A gateway with a route for each text.
fn gateway(upstream: &MockUpstream, texts: &[Text]) -> TestGateway {
    let mut config = format!(
        r#"
[plans.wide]
requests = "24/day burst 1M"
tokens = "24/day burst 1000M"
[tenants.acme]
plan = "wide"
keys = [{{ sha256 = "{}", label = "ci" }}]
[upstreams.mock]
provider = "compatible"
base_url = "{}"
credential = {{ api_key = {{ env = "UPSTREAM_KEY" }} }}
"#,
        digest(KEY),
        upstream.base_url()
    );
    for text in texts {
        let model = &text.model;
        write!(config, "[[routes]]\nmodels = [\"{model}\"]\nto = [\"mock\"]\nmax_output_tokens = 500\n").unwrap();
    }
    TestGateway::start(&config)
}

/// Calls, reads all that will be written, and leaves.
async fn hang_up(address: std::net::SocketAddr, request: Vec<u8>, events: usize) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(&request).await.unwrap();
    let last = event_end(events);
    let mut seen = Vec::with_capacity(64 * 1024);
    while !has_come(&seen, last.as_bytes()) {
        let read = tokio::time::timeout(PATIENCE, tcp.read_buf(&mut seen)).await;
        let end = || String::from_utf8_lossy(&seen[seen.len().saturating_sub(1_000)..]).into_owned();
        assert!(matches!(read, Ok(Ok(1..))), "{read:?}, and not {events} events, after {}", end());
    }
    socket2::SockRef::from(&tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// Whether the body that came so far ends with `last`, however it was cut into chunks.
fn has_come(seen: &[u8], last: &[u8]) -> bool {
    if !seen.ends_with(b"\n\n\r\n") {
        return false;
    }
    let head = position(seen, b"\r\n\r\n").unwrap() + 4;
    Chunks::parse(&seen[head..]).data.ends_with(last)
}

async fn call_and_leave(gateway: &TestGateway, model: &str, plans: &[Plan]) {
    let mut clients = JoinSet::new();
    for plans in plans.chunks(plans.len().div_ceil(AT_ONCE)) {
        let (plans, model, address) = (plans.to_vec(), model.to_owned(), gateway.address());
        clients.spawn(async move {
            for plan in plans {
                hang_up(address, request(&model, plan), plan.events).await;
            }
        });
    }
    clients.join_all().await;
}

async fn call_whole(gateway: &TestGateway, model: &str, plans: &[Plan]) {
    for plan in plans {
        let mut client = RawClient::connect(gateway.address()).await;
        client.write(&request(model, *plan)).await;
        let answer = client.answer().await;
        assert!(answer.body.ends_with(b"data: [DONE]\n\n"), "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_charged_for_hung_up_calls_is_in_sum_what_was_written() {
    let begun = Instant::now();
    let texts = LANGUAGES.iter().flat_map(|language| TOKENS_AN_EVENT.map(|tokens| Text::new(language, tokens)));
    let texts: Arc<Vec<Text>> = Arc::new(texts.collect());
    let never = Gate::new();
    let upstream = {
        let texts = Arc::clone(&texts);
        MockUpstream::choosing(move |received| script(&texts, received, &never)).await
    };
    let gateway = gateway(&upstream, &texts);

    let mut written = Vec::new();
    for (text, seed) in texts.iter().zip(1..) {
        let mut picks = Picks(seed * 7_919);
        let mut plans = |number, whole| (0..number).map(|_| picks.plan(text, whole)).collect::<Vec<Plan>>();
        let (whole, broken) = (plans(WHOLE, true), plans(HANG_UPS, false));
        call_whole(&gateway, &text.model, &whole).await;
        call_and_leave(&gateway, &text.model, &broken).await;
        written.push(broken.iter().map(|plan| text.tokens(*plan)).sum::<u64>());
    }

    let records = gateway.shut_down().await;
    assert_eq!(records.len(), texts.len() * (WHOLE + HANG_UPS));
    let mut misses = Vec::new();
    for (text, written) in texts.iter().zip(written) {
        let of_route: Vec<&Value> = records.iter().filter(|record| record["route"] == *text.model).collect();
        let (whole, broken): (Vec<&Value>, Vec<&Value>) = of_route.iter().partition(|record| record["outcome"] == "ok");
        assert_eq!((whole.len(), broken.len()), (WHOLE, HANG_UPS), "{}", text.model);
        for record in &whole {
            assert_eq!(record["usage_source"], "reported", "{record}");
        }
        let mut charged = 0;
        for record in &broken {
            assert_eq!(record["outcome"], "client_gone", "{record}");
            assert_eq!(record["usage_source"], "estimated", "{record}");
            let output = record["output_tokens"].as_u64().unwrap();
            assert!(output > 0, "text passed, and nothing was charged: {record}");
            charged += output;
        }
        let error = charged as f64 / written as f64 - 1.0;
        println!("{:>9}: {written} tokens written, {charged} charged: {:+.2} %", text.model, error * 100.0);
        if error.abs() > TOLERANCE {
            misses.push(format!("{}: {written} written, {charged} charged", text.model));
        }
    }
    println!("{} calls in {:.1} s", records.len(), begun.elapsed().as_secs_f64());
    assert!(misses.is_empty(), "off by more than {TOLERANCE}: {misses:?}");
}
