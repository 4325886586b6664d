//! Holds the table against every path that OpenAI's API and the servers like it have (4-wire-contract.md 1.1 and 1.2).
//!
//! A path that is none of served, stateful and refused by name fails here; so does an endpoint that no path means.

use std::collections::BTreeSet;

use http::Method;
use tollgate::wire::endpoint::{self, Endpoint, NotServed};

use crate::support::{KEY, MockUpstream, RawClient, TestGateway};

/// What is to become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Served(Endpoint),
    /// 404 `stateful_not_served`, unless the tenant has a home for its state.
    Stateful,
    /// 404 `unknown_url`, always: administration, which no key of a tenant is for, and other families of APIs.
    Unknown,
}

use Fate::{Served, Stateful, Unknown};

/// Methods, path below `/v1`, fate. An id stands for any.
const PATHS: &[(&str, &str, Fate)] = &[
    // 1.1, stateless inference.
    ("POST", "chat/completions", Served(Endpoint::ChatCompletions)),
    ("POST", "completions", Served(Endpoint::Completions)),
    ("POST", "responses", Served(Endpoint::Responses)),
    ("POST", "responses/input_tokens", Served(Endpoint::InputTokens)),
    ("POST", "responses/compact", Served(Endpoint::Compact)),
    ("POST", "decisions", Served(Endpoint::Decisions)),
    ("POST", "embeddings", Served(Endpoint::Embeddings)),
    ("POST", "moderations", Served(Endpoint::Moderations)),
    ("POST", "images/generations", Served(Endpoint::ImageGenerations)),
    ("POST", "images/edits", Served(Endpoint::ImageEdits)),
    ("POST", "images/variations", Served(Endpoint::ImageVariations)),
    ("POST", "audio/speech", Served(Endpoint::Speech)),
    ("POST", "audio/transcriptions", Served(Endpoint::Transcriptions)),
    ("POST", "audio/translations", Served(Endpoint::Translations)),
    ("GET HEAD", "models", Served(Endpoint::Models)),
    ("GET HEAD", "models/gpt-a", Served(Endpoint::Model)),
    ("POST", "rerank", Served(Endpoint::Rerank)),
    ("POST", "fine_tuning/alpha/graders/run", Stateful),
    ("POST", "fine_tuning/alpha/graders/validate", Stateful),
    // Not in the stateless class of 1-product.md: they pass only where the operator says so.
    ("POST", "content_provenance_checks", Unknown),
    ("POST", "score", Unknown),
    ("POST", "messages", Unknown),
    ("POST", "tokenize", Unknown),
    // 1.2, state.
    ("GET POST DELETE", "assistants", Stateful),
    ("GET POST DELETE", "assistants/asst_1", Stateful),
    ("GET POST DELETE", "threads", Stateful),
    ("GET POST DELETE", "threads/thread_1/runs/run_1/steps", Stateful),
    ("GET POST DELETE", "conversations", Stateful),
    ("GET POST DELETE", "conversations/conv_1/items/item_1", Stateful),
    ("GET POST DELETE", "files", Stateful),
    ("GET POST DELETE", "files/file-1/content", Stateful),
    ("GET POST DELETE", "uploads", Stateful),
    ("POST", "uploads/upload_1/parts", Stateful),
    ("GET POST DELETE", "vector_stores", Stateful),
    ("POST", "vector_stores/vs_1/search", Stateful),
    ("GET POST DELETE", "batches", Stateful),
    ("POST", "batches/batch_1/cancel", Stateful),
    ("GET POST DELETE", "fine_tuning/jobs", Stateful),
    ("GET", "fine_tuning/jobs/ftjob-1/checkpoints", Stateful),
    ("GET POST DELETE", "fine_tuning/checkpoints/ft-1/permissions", Stateful),
    ("GET POST DELETE", "evals", Stateful),
    ("GET", "evals/eval_1/runs/run_1/output_items", Stateful),
    ("GET POST DELETE", "containers", Stateful),
    ("GET", "containers/cntr_1/files/cfile_1/content", Stateful),
    ("GET POST DELETE", "skills", Stateful),
    ("GET POST DELETE", "skills/skill_1/versions", Stateful),
    ("GET POST DELETE", "chatkit/sessions", Stateful),
    ("GET", "chatkit/threads/cthr_1/items", Stateful),
    ("GET POST DELETE", "videos", Stateful),
    ("GET", "videos/video_1/content", Stateful),
    ("GET POST DELETE", "audio/voices", Stateful),
    ("GET POST DELETE", "audio/voices/voice_1", Stateful),
    ("GET POST DELETE", "audio/voice_consents", Stateful),
    ("GET POST DELETE", "audio/voice_consents/cons_1", Stateful),
    ("GET", "chat/completions", Stateful),
    ("GET POST DELETE", "chat/completions/chatcmpl-1", Stateful),
    ("GET", "chat/completions/chatcmpl-1/messages", Stateful),
    ("GET DELETE", "responses/resp_1", Stateful),
    ("POST", "responses/resp_1/cancel", Stateful),
    ("GET", "responses/resp_1/input_items", Stateful),
    ("DELETE", "models/ft:gpt-a", Stateful),
    ("POST", "realtime/sessions", Stateful),
    ("POST", "realtime/client_secrets", Stateful),
    ("POST", "realtime/calls", Stateful),
    ("POST", "realtime/calls/rtc_1/accept", Stateful),
    ("GET POST", "live/sessions", Stateful),
    ("GET POST DELETE", "agents", Stateful),
    ("GET POST DELETE", "agents/agent_1", Stateful),
    ("GET POST DELETE", "vaults", Stateful),
    ("GET POST DELETE", "vaults/vault_1", Stateful),
    // 1.2, administration.
    ("GET POST DELETE", "safety/alerts", Unknown),
    ("GET POST DELETE", "webhook_endpoints", Unknown),
    ("GET POST DELETE", "webhook_endpoints/we_1", Unknown),
    ("GET POST DELETE", "organization/users", Unknown),
    ("GET POST DELETE", "organization/projects/proj_1/api_keys", Unknown),
    ("GET POST DELETE", "organization/costs", Unknown),
    ("GET POST DELETE", "projects", Unknown),
    ("GET POST DELETE", "projects/proj_1", Unknown),
];

fn fate(method: &Method, path: &str) -> Option<Fate> {
    match endpoint::find(method, path) {
        Ok(found) => Some(Served(found.endpoint)),
        Err(NotServed::Stateful) => Some(Stateful),
        Err(NotServed::UnknownPath) => Some(Unknown),
        Err(_) => None,
    }
}

#[test]
fn every_path_is_served_or_stateful_or_refused_by_name() {
    let mut wrong = Vec::new();
    for (methods, path, wanted) in PATHS {
        for method in methods.split(' ') {
            for path in [format!("/v1/{path}"), format!("/{path}"), format!("//v1//{path}/")] {
                let found = fate(&method.parse().unwrap(), &path);
                if found != Some(*wanted) {
                    wrong.push(format!("{method} {path} is {found:?}, not {wanted:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_endpoint_is_meant_by_a_path_and_answers_no_other_method() {
    let served = PATHS.iter().filter_map(|(_, _, fate)| match fate {
        Served(endpoint) => Some(endpoint.path()),
        Stateful | Unknown => None,
    });
    assert_eq!(served.collect::<BTreeSet<_>>(), Endpoint::ALL.map(Endpoint::path).into());
    for (methods, path, fate) in PATHS {
        let Served(endpoint) = fate else { continue };
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let (method, path) = (method.parse().unwrap(), format!("/v1/{path}"));
            let found = endpoint::find(&method, &path);
            let allowed = methods.split(' ').any(|other| other == method);
            assert_eq!(found.is_ok(), allowed, "{method} {path}: {found:?}");
            if found == Err(NotServed::Method { allow: endpoint.allow() }) {
                assert_eq!(endpoint.allow().split(", ").collect::<Vec<_>>(), methods.split(' ').collect::<Vec<_>>());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_served_is_told_by_name_in_one_record_and_reaches_no_upstream() {
    let upstream = MockUpstream::start().await;
    let gateway = TestGateway::over(&upstream);
    let mut calls = 0;
    for (methods, path, fate) in PATHS {
        let (code, message) = match fate {
            Served(_) => continue,
            Stateful => ("stateful_not_served", "state"),
            Unknown => ("unknown_url", ""),
        };
        for method in methods.split(' ') {
            let mut client = RawClient::connect(gateway.address()).await;
            let head =
                format!("{method} /v1/{path} HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-length: 0\r\n\r\n");
            client.write(head.as_bytes()).await;
            let answer = client.answer().await;
            assert_eq!((answer.status(), &*answer.code()), (404, code), "{method} {path}");
            assert_eq!(answer.header("x-tollgate-error"), Some(code), "{method} {path}");
            let message_of = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(message_of.contains(message), "{method} {path}: {message_of}");
            calls += 1;
        }
    }
    assert!(calls > 100, "{calls}");
    let records = gateway.shut_down().await;
    assert_eq!(records.len(), calls);
    assert!(records.iter().all(|record| record["outcome"] == "refused" && record["usage_source"].is_null()));
    assert_eq!(upstream.connections(), 0);
}
