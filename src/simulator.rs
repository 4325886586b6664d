//! Answers a request as an OpenAI-style provider would, without any model: the built-in upstream.
//!
//! Must not know the gateway, tenants or limits, and opens no socket. Answers are deterministic: the words follow from
//! the prompt, ids from a counter; only `created` is taken from the clock. What is wrong with an answer is asked for by
//! the model's name ([`faults`]); how tokens are counted is in [`tokens`]. Usage is exactly what was said: the tokens
//! of the text, or of a tool call's arguments; input is the text's tokens, plus 3 a message, plus 85 for each part that
//! is not text, plus the tools' JSON. Images, sounds and what is heard in them are counted by the rules in `images`,
//! `speech` and `transcriptions`. Every endpoint of [`crate::wire::endpoint`] is answered.

mod answer;
mod base64;
mod body;
mod chat;
mod chunks;
mod coding;
mod completions;
mod decisions;
mod embeddings;
mod example;
mod failure;
pub mod faults;
mod form;
mod framing;
mod images;
mod inputs;
mod models;
mod moderations;
mod refusal;
mod request;
mod rerank;
mod responses;
mod speech;
mod text;
pub mod tokens;
mod transcriptions;
mod upload;
mod usage;

pub use body::{SimBody, SimCut};
pub use models::names as model_names;
pub use upload::{Upload, is_form, read_form};

use crate::wire::endpoint::{self, Endpoint, NotServed, Takes};
use body::{Payload, Reply};
use bytes::Bytes;
use coding::Encoder;
use failure::Failure;
use faults::{Behaviour, Ending};
use form::Form;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use refusal::Refusal;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use upload::Read;

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
    /// The request's body broke off.
    #[error("the request's body could not be read to its end")]
    Unread,
}

/// What makes an answer's id and date.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    number: u64,
    created: u64,
}

/// The body of a request, as far as it matters.
enum Asked<'a> {
    Json(&'a [u8]),
    Form(&'a Form),
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

    /// Answers one request with a JSON body, or none. `path` is with or without `/v1`; a query in it is passed over. What
    /// is wrong with the request is said in the answer, in OpenAI's error shape. Must be called inside a tokio runtime
    /// with a timer.
    ///
    /// # Errors
    /// [`SimFault`] where the model's name asks that there be no answer at all.
    pub async fn answer(&self, method: &Method, path: &str, body: Bytes) -> Result<Response<SimBody>, SimFault> {
        let stamp = self.stamp();
        let planned = plan(method, path, Asked::Json(&body), stamp);
        drop(body);
        deliver(planned, stamp).await
    }

    /// Answers one request whose body is a form with files, as far as [`read_form`] read it.
    ///
    /// # Errors
    /// [`SimFault`] where the model's name asks that there be no answer at all.
    pub async fn answer_form(
        &self,
        method: &Method,
        path: &str,
        upload: Upload,
    ) -> Result<Response<SimBody>, SimFault> {
        let stamp = self.stamp();
        let planned = match upload.0 {
            Read::Whole(form) => plan(method, path, Asked::Form(&form), stamp),
            Read::Early(behaviour) => Ok(Plan { behaviour, reply: Reply::Json(Bytes::new()) }),
            Read::Refused(refusal) => Err(refusal),
        };
        deliver(planned, stamp).await
    }

    fn stamp(&self) -> Stamp {
        let number = self.answered.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Stamp { number, created: seconds_since_1970() }
    }
}

/// The answer to a request that was not read at all because its body is larger than `most` bytes: 413.
#[must_use]
pub fn too_large(most: usize) -> Response<SimBody> {
    refuse(&Refusal::too_large(most))
}

async fn deliver(planned: Result<Plan, Refusal>, stamp: Stamp) -> Result<Response<SimBody>, SimFault> {
    let mut response = match planned {
        Ok(plan) => send(plan, stamp).await?,
        Err(refusal) => refuse(&refusal),
    };
    if let Ok(id) = HeaderValue::from_str(&stamp.id("req_")) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn plan(method: &Method, path: &str, asked: Asked<'_>, stamp: Stamp) -> Result<Plan, Refusal> {
    let path = path.split('?').next().unwrap_or_default();
    let path = if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) };
    let found = endpoint::find(method, &path).map_err(|not_served| match not_served {
        NotServed::UnknownPath => Refusal::path(method, path.trim_matches('/')),
        NotServed::Stateful => Refusal::kept(),
        NotServed::Method { allow } => Refusal::method(allow),
    })?;
    let (json, form) = match (found.endpoint.takes(), asked) {
        (Takes::Form, Asked::Json(_)) => return Err(Refusal::media("a form (multipart/form-data)")),
        (Takes::Json, Asked::Form(_)) => return Err(Refusal::media("JSON (application/json)")),
        (_, Asked::Json(json)) => (json, None),
        (_, Asked::Form(form)) => (&[][..], Some(form)),
    };
    // Endpoints that take forms alone have one by now.
    let nothing = Form::default();
    let of_form = form.unwrap_or(&nothing);
    match found.endpoint {
        Endpoint::ChatCompletions => chat::plan(json, stamp),
        Endpoint::Completions => completions::plan(json, stamp),
        Endpoint::Responses => responses::plan(json, stamp),
        Endpoint::InputTokens => responses::count::plan(json),
        Endpoint::Compact => responses::compact::plan(json, stamp),
        Endpoint::Decisions => decisions::plan(json),
        Endpoint::Embeddings => embeddings::plan(json),
        Endpoint::Moderations => moderations::plan(json, stamp),
        Endpoint::Rerank => rerank::plan(json, stamp),
        Endpoint::ImageGenerations => images::plan(images::Asked::generation(json)?, stamp),
        Endpoint::ImageEdits => match form {
            Some(form) => images::plan(images::Asked::edit_form(form)?, stamp),
            None => images::plan(images::Asked::edit(json)?, stamp),
        },
        Endpoint::ImageVariations => images::plan(images::Asked::variation(of_form)?, stamp),
        Endpoint::Speech => speech::plan(json),
        Endpoint::Transcriptions => transcriptions::plan(transcriptions::Task::Transcribe, of_form),
        Endpoint::Translations => transcriptions::plan(transcriptions::Task::Translate, of_form),
        Endpoint::Models => Ok(models::list()),
        Endpoint::Model => models::one(found.model_id.as_deref().unwrap_or_default()),
    }
}

async fn send(plan: Plan, stamp: Stamp) -> Result<Response<SimBody>, SimFault> {
    let Plan { behaviour, reply } = plan;
    let behaviour = behaviour.spared(stamp.number);
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    if behaviour.ending == Ending::Reset {
        return Err(SimFault::Reset);
    }
    let is_whole = matches!(reply, Reply::Json(_) | Reply::Text(..));
    let fails_whole = is_whole && matches!(behaviour.ending, Ending::ErrorEvent(_));
    let status = behaviour.status.or(fails_whole.then_some(StatusCode::INTERNAL_SERVER_ERROR));
    if let Some(status) = status {
        return Ok(fail(Failure::new(status, &behaviour)));
    }
    let is_events = matches!(reply, Reply::Events(_));
    let (kind, payload) = match reply {
        Reply::Json(json) => ("application/json", Payload::Whole(framing::json(json, &behaviour))),
        Reply::Text(kind, text) => (kind, Payload::Whole(text.into())),
        Reply::Events(events) => {
            ("text/event-stream; charset=utf-8", Payload::Pieces(framing::events(events, &behaviour)))
        }
        Reply::Sound(kind, pieces) => (kind, Payload::Pieces(pieces)),
    };
    let (payload, coding) = match (Encoder::new(behaviour.coding), payload) {
        (None, payload) => (payload, None),
        (Some(encoder), payload) => {
            let coding = Some(HeaderValue::from_static(encoder.name()));
            match payload {
                Payload::Whole(bytes) => (Payload::Whole(encoder.whole(&bytes)), coding),
                Payload::Pieces(pieces) => (Payload::Pieces(encoder.events(pieces)), coding),
            }
        }
    };
    let mut response = Response::new(SimBody::new(payload, &behaviour));
    head(response.headers_mut(), Some(kind));
    if is_events {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if let Some(coding) = coding {
        response.headers_mut().insert(CONTENT_ENCODING, coding);
    }
    Ok(response)
}

fn fail(failure: Failure) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(failure.body));
    *response.status_mut() = failure.status;
    *response.headers_mut() = failure.headers;
    head(response.headers_mut(), failure.kind);
    response
}

fn refuse(refusal: &Refusal) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(refusal.error.json()));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    head(headers, Some("application/json"));
    if let Some(allowed) = refusal.allowed {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn head(headers: &mut HeaderMap, kind: Option<&'static str>) {
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(SIMULATED, HeaderValue::from_static("1"));
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
