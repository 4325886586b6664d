//! Sends an admitted call to its deployment, and sorts the answer: one to pass on, or a refusal.
//!
//! The one place that walks deployments. Must not know how an answer is metered.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use smallvec::SmallVec;
use tower::Service;

use super::admit::Admission;
use super::call::{Call, Detour};
use super::error::GatewayError;
use super::policy::Allowed;
use super::receive::{Payload, Upload};
use super::resolved::{Attempt, Raised, UpstreamMeters};
use super::settle::InputCharge;
use super::state::Wanted;
use crate::routing::{Deployment, Matched};
use crate::stream::UsageChunk;
use crate::upstream::UpstreamError;
use crate::upstream::outgoing::{OutBody, Outgoing, Sent, shape};
use crate::usage::json::BodyScanner;
use crate::usage::{Dialect, Usage};
use crate::wire::peek::Peek;
use crate::wire::splice::{self, Edit};

/// The most of an upstream's error that is read; what is longer is cut.
const ERROR_BODY: usize = 1024 * 1024;
/// How long an upstream's error may take to arrive, once its head is there.
const ERROR_PATIENCE: Duration = Duration::from_secs(10);

/// What an upstream answered.
pub enum Reply<B> {
    /// Something to pass on and meter.
    Answer {
        /// Status and headers as they came.
        parts: Parts,
        /// The bytes to come.
        body: B,
        /// Whether the usage chunk is the client's.
        usage_chunk: UsageChunk,
        /// Holds the upstream's gauge.
        at_upstream: Raised,
    },
    /// An error of the upstream's own, read whole, ids masked.
    Refusal {
        /// Status and headers as they came.
        parts: Parts,
        /// The error.
        body: Bytes,
        /// Whether the upstream read the input before.
        input: InputCharge,
        /// Usage that it reported all the same.
        usage: Option<Usage>,
    },
}

/// Sends the call, changed as `wanted` and the admission say. `admitted` proves that it may be sent.
///
/// # Errors
/// 502, 503, 504 as [`UpstreamError`] says; 502 where our own credential was refused, or the upstream redirects.
#[expect(clippy::too_many_arguments, reason = "what the stages before it found out, each by its own name")]
pub async fn forward<U, B>(
    upstreams: &U,
    call: &mut Call,
    admitted: &Admission,
    matched: &Matched,
    wanted: Wanted,
    client_headers: &mut HeaderMap,
    peek: &Peek,
    payload: Payload,
) -> Result<Reply<B>, GatewayError>
where
    U: Service<Outgoing, Response = Response<B>, Error = UpstreamError> + Clone,
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let deployment = wanted.home.as_ref().unwrap_or(&matched.route.deployment);
    let sent = Sent::not_yet(call.services().clock.clone());
    let changes = Changes { deployment, allowed: admitted.allowed, nothing_kept: wanted.nothing_kept };
    let (body, usage_chunk, upload) = rewritten(peek, payload, &changes, &sent);
    let outgoing = shape(&deployment.upstream, peek.endpoint, std::mem::take(client_headers), body);
    let background = peek.state.background;
    if background || wanted.home.is_some() {
        call.note(|facts| {
            facts.background = background;
            facts.detour = wanted.home.map(|home| Box::new(Detour::Home(home)));
        });
    }
    exchange(upstreams, call, Sending { outgoing, sent, upload, usage_chunk, dialect: Dialect::of(peek.endpoint) })
        .await
}

/// A shaped request, and what is to be known of it when its answer comes.
pub(super) struct Sending {
    pub(super) outgoing: Outgoing,
    pub(super) sent: Sent,
    pub(super) upload: Option<Upload>,
    pub(super) usage_chunk: UsageChunk,
    /// The answer's, where usage in it counts.
    pub(super) dialect: Option<Dialect>,
}

/// Sends a request, and sorts its answer.
pub(super) async fn exchange<U, B>(upstreams: &U, call: &mut Call, sending: Sending) -> Result<Reply<B>, GatewayError>
where
    U: Service<Outgoing, Response = Response<B>, Error = UpstreamError> + Clone,
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let Sending { mut outgoing, sent, upload, usage_chunk, dialect } = sending;
    let services = Arc::clone(call.services());
    let upstream = Arc::clone(&outgoing.upstream);
    let meters = services.upstream(&upstream.name);
    outgoing.sent = Some(sent.clone());

    let now = services.clock.now();
    call.note(|facts| {
        facts.upstream = Some(Arc::clone(&upstream.name));
        facts.attempts += 1;
        facts.overhead = now.since(facts.here);
    });
    let at_upstream = meters.in_flight.raise();
    let mut upstreams = upstreams.clone();
    let waiting = Waiting { call, sent, upload };
    std::future::poll_fn(|cx| upstreams.poll_ready(cx)).await?;
    let answered = upstreams.call(outgoing).await;
    // Whoever carried it may not have said when, but an answer, or a failure after the first byte of a whole body, shows that
    // it went out.
    if answered.as_ref().map_or_else(|error| error.sent() && waiting.sent.has_body(), |_| true) {
        waiting.sent.mark();
    }
    let broken_off = waiting.upload.as_ref().and_then(Upload::fault);
    drop(waiting);
    let response = match answered {
        Ok(response) => response,
        // Not the upstream's fault.
        Err(_) if let Some(fault) = broken_off => return Err(fault.into()),
        Err(error) => {
            meters.attempted(Attempt::of_error(&error), &services.metrics);
            if let Some(kept_back) = meters.may_complain() {
                tracing::warn!(upstream = &*upstream.name, reason = %error, kept_back, "upstream gave no answer");
            }
            return Err(error.into());
        }
    };
    let (parts, body) = response.into_parts();
    meters.attempted(Attempt::of_status(parts.status), &services.metrics);
    if parts.status.is_redirection() {
        if let Some(kept_back) = meters.may_complain() {
            let status = parts.status.as_u16();
            tracing::error!(upstream = &*upstream.name, status, kept_back, "upstream redirects: check its base_url");
        }
        return Err(GatewayError::Redirected);
    }
    if parts.status.is_success() {
        return Ok(Reply::Answer { parts, body, usage_chunk, at_upstream });
    }
    // Boxed: rare, and larger than all the rest of a call.
    Box::pin(refusal(parts, body, dialect, &upstream.name, &meters)).await
}

/// A call that waits for its upstream. Writes down when it was sent, if it was; also when the client leaves meanwhile.
struct Waiting<'a> {
    call: &'a mut Call,
    sent: Sent,
    upload: Option<Upload>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let at = self.sent.at();
        let arrived = self.upload.as_ref().map(Upload::arrived);
        self.call.note(|facts| {
            facts.sent = at;
            facts.bytes_in = arrived.unwrap_or(facts.bytes_in);
        });
    }
}

/// What is to be changed in a body.
struct Changes<'a> {
    /// Where it goes, and the model's name there.
    deployment: &'a Deployment,
    allowed: Allowed,
    nothing_kept: bool,
}

impl Changes<'_> {
    /// The model's name, where another has to be written.
    fn model(&self, peek: &Peek) -> Option<String> {
        if peek.misnamed { Some(self.deployment.name_for(&peek.model)) } else { self.deployment.renamed(&peek.model) }
    }
}

/// The body with the few spans changed that must change, and whose the usage chunk is then; how the upload goes on, where it
/// does.
fn rewritten(
    peek: &Peek,
    payload: Payload,
    changes: &Changes<'_>,
    sent: &Sent,
) -> (OutBody, UsageChunk, Option<Upload>) {
    let body = match payload {
        Payload::Json(body) => body,
        Payload::Form(form) => {
            let (body, upload) = form.into_body(changes.model(peek).as_deref(), sent);
            return (body, UsageChunk::Keep, upload);
        }
    };
    let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
    if changes.nothing_kept {
        edits.extend(splice::keep_nothing(peek));
    }
    let allowed = changes.allowed;
    if let Some(most) = allowed.lowered {
        edits.extend(splice::lower_caps(peek, most));
    }
    if let Some(cap) = allowed.added {
        edits.extend(splice::cap_output(peek, peek.endpoint, cap));
    }
    let mut usage_chunk = UsageChunk::Keep;
    if changes.deployment.upstream.usage_in_stream
        && let Some(edit) = splice::ask_for_usage(peek)
    {
        edits.push(edit);
        usage_chunk = UsageChunk::TakeOut;
    }
    if let Some(name) = changes.model(peek) {
        edits.push(splice::rename_model(peek, &name));
    }
    let slices = splice::splice(&body, &mut edits);
    (OutBody::new(slices.into_parts()), usage_chunk, None)
}

/// Reads an upstream's error whole, so that ids in it can be masked and its code be known.
async fn refusal<B>(
    mut parts: Parts,
    body: B,
    dialect: Option<Dialect>,
    upstream: &str,
    meters: &UpstreamMeters,
) -> Result<Reply<B>, GatewayError>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let mut body = read_error(body).await;
    let code = error_code(&body);
    let ours = parts.status == StatusCode::UNAUTHORIZED
        || parts.status == StatusCode::FORBIDDEN && code.as_deref().is_some_and(is_credential_code);
    if ours {
        if let Some(kept_back) = meters.may_complain() {
            let code = code.as_deref().map(|code| code.chars().take(64).collect::<String>());
            let status = parts.status.as_u16();
            tracing::error!(upstream, status, code, kept_back, "upstream refused our credential");
        }
        return Err(GatewayError::CredentialRefused);
    }
    mask_ids(&mut body);
    let body = body.freeze();
    parts.headers.remove(http::header::TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let usage = dialect.and_then(|dialect| {
        let mut scanner = BodyScanner::new(dialect);
        scanner.feed(&body);
        scanner.usage()
    });
    let filtered = parts.status.is_client_error() && code.as_deref() == Some("content_filter");
    let input = if filtered { InputCharge::Filtered } else { InputCharge::None };
    Ok(Reply::Refusal { parts, body, input, usage })
}

/// What comes of an error's body within its size and time. The status says what matters, so a body that breaks off, stalls or
/// never ends makes no other failure of it.
async fn read_error<B>(mut body: B) -> BytesMut
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    let mut all = BytesMut::new();
    let until = tokio::time::Instant::now() + ERROR_PATIENCE;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, body.frame()).await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = ERROR_BODY - all.len();
        all.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    all
}

/// `error.code`, or `code` where that stands at the top; OpenAI's and Mistral's shapes.
fn error_code(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = value.get("error").unwrap_or(&value).get("code")?;
    code.as_str().map(str::to_owned)
}

/// Codes of a 403 that speak of the credential, not of the call.
fn is_credential_code(code: &str) -> bool {
    matches!(
        code,
        "invalid_api_key"
            | "invalid_authentication"
            | "account_deactivated"
            | "AccessDenied"
            | "PermissionDenied"
            | "Forbidden"
    ) || code.contains("api_key")
}

/// Blackens ids of the operator's account: `org-…`, `proj_…` and `sk-…`, each to its own length (1-product.md "Errors").
fn mask_ids(body: &mut [u8]) {
    for prefix in [&b"org-"[..], b"proj_", b"sk-"] {
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&body[from..], prefix) {
            let start = from + found;
            let id = start + prefix.len();
            let end = body[id..]
                .iter()
                .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*')))
                .map_or(body.len(), |length| id + length);
            let begins_a_word = start == 0 || !(body[start - 1].is_ascii_alphanumeric() || body[start - 1] == b'_');
            if begins_a_word && end - id >= 4 {
                body[id..end].fill(b'*');
            }
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut body = text.as_bytes().to_vec();
        mask_ids(&mut body);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn ids_of_the_operators_account_are_blackened_and_other_words_are_not() {
        assert_eq!(masked("in organization org-AbC123dEf on"), "in organization org-********* on");
        assert_eq!(masked("\"proj_abcdEFGH\","), "\"proj_********\",");
        assert_eq!(masked("key sk-proj-abc_123. x"), "key sk-************. x");
        assert_eq!(masked("a task-force, a disk-drive, sk-a"), "a task-force, a disk-drive, sk-a");
        assert_eq!(masked("org-"), "org-");
    }

    #[test]
    fn a_code_is_found_in_either_shape() {
        assert_eq!(error_code(br#"{"error":{"code":"invalid_api_key"}}"#).as_deref(), Some("invalid_api_key"));
        assert_eq!(error_code(br#"{"object":"error","code":"x"}"#).as_deref(), Some("x"));
        assert_eq!(error_code(br#"{"error":{"code":400}}"#), None);
        assert_eq!(error_code(b"<html>"), None);
    }
}
