//! Answers a request as an OpenAI-style provider would, without any model: the built-in upstream.
//!
//! Must not know the gateway, tenants or limits, and opens no socket. Answers are deterministic: the words follow from
//! the prompt, ids from a counter; only `created` is taken from the clock. What is wrong with an answer is asked for by
//! the model's name ([`faults`]); how tokens are counted is in [`tokens`]. Usage is exactly what was said: the tokens
//! of the text, or of a tool call's arguments; input is the text's tokens, plus 3 a message, plus 85 for each part that
//! is not text, plus the tools' JSON.

mod answer;
mod body;
mod chat;
mod chunks;
mod completions;
mod embeddings;
mod example;
pub mod faults;
mod inputs;
mod models;
mod refusal;
mod request;
mod responses;
mod text;
pub mod tokens;

pub use body::{SimBody, SimCut};
pub use models::names as model_names;

use body::Reply;
use bytes::Bytes;
use faults::{Behaviour, Ending};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use refusal::Refusal;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// On every answer of the simulator: `1`.
pub const SIMULATED: HeaderName = HeaderName::from_static("x-tollgate-simulated");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The built-in upstream. Cheap to make; holds nothing but a counter.
#[derive(Debug, Default)]
pub struct Simulator {
    answered: AtomicU64,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimFault {
    /// The connection is to be dropped before the head of an answer.
    #[error("the simulator dropped this connection, as the model's name asked")]
    Reset,
}

/// What makes an answer's id and date.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    number: u64,
    created: u64,
}

/// An answer before it is sent.
struct Plan {
    behaviour: Behaviour,
    reply: Reply,
}

impl Stamp {
    fn id(self, prefix: &str) -> String {
        format!("{prefix}sim{:08}", self.number)
    }
}

impl Reply {
    fn json<T: Serialize>(value: &T) -> Self {
        // Writing into memory cannot fail, and the simulator's types hold nothing that JSON has no form for.
        Reply::Json(serde_json::to_vec(value).unwrap_or_default().into())
    }
}

impl Simulator {
    /// A simulator that has answered nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Simulator::default()
    }

    /// Answers one request. `path` is with or without `/v1`; a query in it is passed over. What is wrong with the
    /// request is said in the answer, in OpenAI's error shape. Must be called inside a tokio runtime with a timer.
    ///
    /// # Errors
    /// [`SimFault`] where the model's name asks that there be no answer at all.
    pub async fn answer(&self, method: &Method, path: &str, body: Bytes) -> Result<Response<SimBody>, SimFault> {
        let number = self.answered.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let stamp = Stamp { number, created: seconds_since_1970() };
        let planned = plan(method, path, &body, stamp);
        drop(body);
        let mut response = match planned {
            Ok(plan) => send(plan).await?,
            Err(refusal) => refuse(&refusal),
        };
        if let Ok(id) = HeaderValue::from_str(&stamp.id("req_")) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }
}

/// The answer to a request that was not read at all because its body is larger than `most` bytes: 413.
#[must_use]
pub fn too_large(most: usize) -> Response<SimBody> {
    refuse(&Refusal::too_large(most))
}

fn plan(method: &Method, path: &str, body: &[u8], stamp: Stamp) -> Result<Plan, Refusal> {
    let path = path.split('?').next().unwrap_or_default().trim_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path).trim_start_matches('/');
    let only = |allowed: &'static str| {
        let fits = allowed.split(", ").any(|one| one == method.as_str());
        if fits { Ok(()) } else { Err(Refusal::method(allowed)) }
    };
    match path {
        "chat/completions" => only("POST").and_then(|()| chat::plan(body, stamp)),
        "completions" => only("POST").and_then(|()| completions::plan(body, stamp)),
        "responses" => only("POST").and_then(|()| responses::plan(body, stamp)),
        "embeddings" => only("POST").and_then(|()| embeddings::plan(body)),
        "models" => only("GET, HEAD").map(|()| models::list()),
        _ => match path.strip_prefix("models/") {
            Some(id) => only("GET, HEAD").and_then(|()| models::one(id)),
            None => Err(Refusal::path(method, path)),
        },
    }
}

async fn send(plan: Plan) -> Result<Response<SimBody>, SimFault> {
    let Plan { behaviour, reply } = plan;
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    if behaviour.ending == Ending::Reset {
        return Err(SimFault::Reset);
    }
    let fails_whole = matches!(reply, Reply::Json(_)) && behaviour.ending == Ending::ErrorEvent;
    let status = behaviour.status.or(fails_whole.then_some(StatusCode::INTERNAL_SERVER_ERROR));
    if let Some(status) = status {
        return Ok(refuse(&Refusal::asked_for(status)));
    }
    let kind = match reply {
        Reply::Json(_) => "application/json",
        Reply::Events(_) => "text/event-stream; charset=utf-8",
    };
    let is_stream = matches!(reply, Reply::Events(_));
    let mut response = Response::new(SimBody::new(reply, &behaviour));
    head(response.headers_mut(), kind);
    if is_stream {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Ok(response)
}

fn refuse(refusal: &Refusal) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(refusal.error.json()));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    head(headers, "application/json");
    if let Some(seconds) = refusal::retry_after(refusal.status) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if let Some(allowed) = refusal.allowed {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn head(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(SIMULATED, HeaderValue::from_static("1"));
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
