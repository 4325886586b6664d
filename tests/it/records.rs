//! Holds the gateway to its records: no sink holds up a call or another sink, a file can be renamed under it, nothing is torn.
//!
//! Runs the real program, as signals, standard output and full disks are a process's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::gateway::{digest, sum};
use crate::support::{Answer, KEY, MockUpstream, Program, RawClient, Script, TestGateway, fixture, standard, within};

/// The program, with the simulator behind it and these sinks; `{folder}` stands for the folder of the test.
fn start(sinks: &str, stdout: Stdio) -> Program {
    let key = digest(KEY);
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
drain_delay = "0s"
[admin]
listen = "127.0.0.1:0"
[plans.demo]
concurrent = 100
[tenants.demo]
plan = "demo"
keys = [{{ sha256 = "{key}" }}]
[upstreams.sim]
provider = "simulator"
[[routes]]
models = ["*"]
to = ["sim"]
[records]
to = {sinks}
"#
    );
    Program::serve(&text, stdout)
}

/// This many calls, one after the other.
async fn calls(program: &Program, number: usize) {
    let mut client = RawClient::connect(program.address).await;
    for _ in 0..number {
        assert_eq!(call(&mut client).await.status(), 200);
    }
}

async fn call(client: &mut RawClient) -> Answer {
    let body = br#"{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hello"}]}"#;
    client.call("/v1/chat/completions", &[], body).await
}

/// The records in a file; each of its lines is a whole one.
fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends with half a line", path.display());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_nobody_reads_holds_up_no_call_and_no_other_sink() {
    let program = start("[\"stdout\", { file = \"{folder}/usage.jsonl\" }]", Stdio::piped());
    // A pipe takes 64 KiB, and a record has some 500 bytes.
    calls(&program, 400).await;
    let path = program.folder.path().join("usage.jsonl");
    within("every record in the file", async {
        while std::fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count() < 400 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dropped = sum(&program.metrics().await, "tollgate_records_dropped_total", &[]);
    assert_eq!(dropped, 0.0, "what waits is not lost yet");
    let folder = program.end().await;
    assert_eq!(records(&folder.path().join("usage.jsonl")).len(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_records_of_its_own_alone_and_says_so() {
    let mut program = start("[{ file = \"/dev/full\" }, \"stdout\"]", Stdio::piped());
    let mut out = program.child.as_mut().unwrap().stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap());
    calls(&program, 50).await;
    within("fifty lost records", async {
        while sum(&program.metrics().await, "tollgate_records_dropped_total", &[("sink", "file")]) != 50.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(sum(&program.metrics().await, "tollgate_records_dropped_total", &[("sink", "stdout")]), 0.0);
    program.end().await;
    let text = reader.join().unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"time\":")).count(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_renamed_under_it_and_no_line_is_lost_or_torn() {
    let program = start("{ file = \"{folder}/usage.jsonl\" }", Stdio::null());
    let path = program.folder.path().join("usage.jsonl");
    let mut moved: Vec<PathBuf> = Vec::new();
    const TURNS: usize = 5;
    const CALLS: usize = 60;
    for turn in 0..TURNS {
        tokio::join!(calls(&program, CALLS), async {
            calls(&program, CALLS / 2).await;
            let to = path.with_extension(format!("{turn}.jsonl"));
            std::fs::rename(&path, &to).unwrap();
            moved.push(to);
            program.signal("-HUP");
            calls(&program, CALLS / 2).await;
            within("the new file", async {
                while !path.exists() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        });
    }
    calls(&program, 1).await;
    let folder = program.end().await;
    let last = records(&folder.path().join("usage.jsonl"));
    assert!(!last.is_empty());
    let all: Vec<Value> = moved.iter().flat_map(|path| records(path)).chain(last).collect();
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|record| record["id"].as_str().unwrap()).collect();
    assert_eq!((all.len(), ids.len()), (TURNS * CALLS * 2 + 1, TURNS * CALLS * 2 + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_program_wrote_is_what_it_reports() {
    let program = start("{ file = \"{folder}/usage.jsonl\" }", Stdio::null());
    calls(&program, 7).await;
    let folder = program.end().await;
    let path = folder.path().join("usage.jsonl");
    let run = |argument: &str, stdin: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["report", argument, "--by", "tenant,endpoint", "--format", "json"]).stdin(stdin).output().unwrap()
    };
    let named = run(path.to_str().unwrap(), Stdio::null());
    let piped = run("-", Stdio::from(std::fs::File::open(&path).unwrap()));
    assert!(named.status.success() && named.stderr.is_empty(), "{named:?}");
    assert_eq!(named.stdout, piped.stdout);
    let json: Value = serde_json::from_slice(&named.stdout).unwrap();
    assert_eq!((json["groups"][0]["tenant"].as_str(), json["groups"][0]["calls"].as_u64()), (Some("demo"), Some(7)));
    let output: u64 = records(&path).iter().map(|record| record["output_tokens"].as_u64().unwrap()).sum();
    assert_eq!(json["total"]["output"], output);
}

#[tokio::test]
async fn a_tag_is_what_the_client_said_and_never_a_label() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::start(&(standard(&upstream) + "[records]\ntag = { header = \"X-Team\" }\n"));
    let body = r#"{"model":"m","messages":[]}"#;
    let long = "x".repeat(129);
    for headers in [&[("x-team", "search")][..], &[], &[("x-team", &long)], &[("x-team", "a"), ("x-team", "b")]] {
        assert_eq!(gateway.post_with("/v1/chat/completions", headers, body).await.status(), 200);
    }
    let records = gateway.records(4).await;
    let tags: Vec<Option<&str>> = records.iter().map(|record| record["tag"].as_str()).collect();
    assert_eq!(tags, [Some("search"), None, None, None]);
    assert!(gateway.metrics().await.keys().all(|series| !series.contains("search")));
    let plain = TestGateway::over(&upstream);
    plain.post_with("/v1/chat/completions", &[("x-team", "search")], body).await;
    assert!(plain.records(1).await[0].get("tag").is_none());
}
