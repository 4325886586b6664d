//! Passes an answer on, frame by frame as it comes, and reads along what it used.
//!
//! Ends its call exactly once: at the answer's end, at its break, or when the client drops it. Holds no more than the frame
//! in hand and what the scanner must hold back. Must not know where the bytes come from or go to.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::body::{CutShort, ResponseBody};
use super::call::{Call, Flight};
use super::forward::Reply;
use super::limit_headers::rate_limits;
use super::reader::{End, Reader};
use super::resolved::{Attempt, Raised};
use super::respond::{X_REQUEST_ID, X_TOLLGATE_REQUEST_ID};
use super::settle::Ending;
use crate::limits::View;
use crate::simulator::SIMULATED;
use crate::stream::{Boundary, Passed, UsageChunk, ending};
use crate::upstream::headers::clean_response;
use crate::upstream::{OnDisconnect, UpstreamError, Waited};
use crate::usage::Dialect;
use crate::usage::record::Outcome;

pub(crate) mod read_on;

/// Headers that are put into an answer, at most: ids and limits.
const OUR_HEADERS: usize = 9;
/// Frames of an answer that may be taken before its head goes out, where its cost is to be told.
const AHEAD: usize = 2;

/// An upstream's answer on its way to the client.
pub struct MeteredBody<B> {
    /// `None` once it ended or broke: its connection is free, or closed, at once.
    inner: Option<B>,
    reader: Reader,
    call: Call,
    /// Whether the transport itself tells a whole answer from a cut one.
    framed: bool,
    /// What is to go out before anything new is asked for.
    held: SmallVec<[Bytes; 4]>,
    after: After,
    flight: Option<Flight>,
    at_upstream: Option<Raised>,
    /// What reads the rest if the client leaves, where the upstream's `on_disconnect` wants that.
    left: Option<fn(&mut MeteredBody<B>)>,
}

/// What follows what is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// More of the answer.
    More,
    /// A clean end.
    End,
    /// A cut.
    Cut,
}

/// Turns an upstream's reply into the client's response. `id` is ours; `view` shows the tenant's limits.
pub fn meter<B>(
    reply: Reply<B>,
    mut call: Call,
    flight: Flight,
    id: HeaderValue,
    view: &View,
) -> Response<ResponseBody<B>>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    // An upstream's own header of this name never gets here: only we may say so.
    let simulated = call.facts().and_then(|facts| facts.to()).is_some_and(|upstream| upstream.is_simulated());
    let mut response = passed_on(reply, call, flight, id, view);
    if simulated {
        response.headers_mut().insert(SIMULATED, HeaderValue::from_static("1"));
    }
    response
}

fn passed_on<B>(
    reply: Reply<B>,
    mut call: Call,
    flight: Flight,
    id: HeaderValue,
    view: &View,
) -> Response<ResponseBody<B>>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    match reply {
        Reply::Refusal { parts, body, input, usage } => {
            call.note(|facts| {
                facts.status = parts.status.as_u16();
                facts.bytes_out = body.len() as u64;
                facts.reading.usage = usage;
            });
            call.end(Ending::UpstreamRefused(input));
            Response::from_parts(dressed(parts, id, view), ResponseBody::Full(body))
        }
        Reply::Answer { mut parts, body, usage_chunk, at_upstream } => {
            let (dialect, by_path) =
                call.facts().map_or((None, None), |facts| (facts.endpoint.and_then(Dialect::of), facts.by_path()));
            let reader = match by_path {
                None => Reader::of(&parts.headers, dialect, usage_chunk),
                Some(bills) => Reader::along(&parts.headers, bills),
            };
            let framed = parts.headers.contains_key(CONTENT_LENGTH)
                || parts.headers.contains_key(TRANSFER_ENCODING)
                || parts.version == http::Version::HTTP_2;
            if matches!(reader, Reader::Stream(..)) && usage_chunk == UsageChunk::TakeOut {
                parts.headers.remove(CONTENT_LENGTH);
            }
            call.note(|facts| facts.status = parts.status.as_u16());
            let mut metered = MeteredBody {
                inner: Some(body),
                reader,
                call,
                framed,
                held: SmallVec::new(),
                after: After::More,
                flight: Some(flight),
                at_upstream: Some(at_upstream),
                left: None,
            };
            metered.left = metered.reads_on().then_some(read_on::read_on::<B>);
            if metered.inner.as_ref().is_some_and(Body::is_end_stream) {
                metered.upstream_ended();
            } else if metered.call.facts().is_some_and(|facts| facts.told_cost.is_some()) {
                metered.look_ahead();
            }
            Response::from_parts(dressed(parts, id, view), ResponseBody::Metered(Box::new(metered)))
        }
    }
}

/// The upstream's headers, less what is not the client's, with our ids and the tenant's limits.
fn dressed(mut parts: Parts, id: HeaderValue, view: &View) -> Parts {
    clean_response(&mut parts.headers);
    parts.headers.reserve(OUR_HEADERS);
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::HTTP_11;
    if !parts.headers.contains_key(X_REQUEST_ID) {
        parts.headers.insert(X_REQUEST_ID, id.clone());
    }
    parts.headers.insert(X_TOLLGATE_REQUEST_ID, id);
    rate_limits(&mut parts.headers, view);
    parts
}

impl<B> MeteredBody<B>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin,
{
    /// See [`Body::poll_frame`]. A panic of ours is written down as ours, and goes on to the server, which cuts the answer.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match catch_unwind(AssertUnwindSafe(|| self.next_frame(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                self.inner = None;
                self.call.end(Ending::Broken(Outcome::InternalError));
                resume_unwind(panic)
            }
        }
    }

    fn next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        loop {
            if !self.held.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.held.remove(0)))));
            }
            match self.after {
                After::More => {}
                After::End => return Poll::Ready(None),
                After::Cut => {
                    self.after = After::End;
                    return Poll::Ready(Some(Err(CutShort)));
                }
            }
            let Some(inner) = self.inner.as_mut() else {
                self.after = After::End;
                continue;
            };
            let frame = match Pin::new(inner).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    self.broke(&error);
                    continue;
                }
                Poll::Ready(None) => {
                    self.upstream_ended();
                    continue;
                }
            };
            // Trailers of an upstream are not the client's.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            let whole = self.take(data);
            if self.inner.as_ref().is_some_and(Body::is_end_stream) {
                self.upstream_ended();
            }
            if let Some(whole) = whole {
                return Poll::Ready(Some(Ok(Frame::data(whole))));
            }
        }
    }

    /// Whether nothing follows.
    pub fn is_end_stream(&self) -> bool {
        self.after == After::End && self.held.is_empty()
    }

    /// The upstream's word on what is to come, where every byte of it passes.
    pub fn size_hint(&self) -> SizeHint {
        match (&self.reader, &self.inner) {
            (Reader::Stream(..), _) => SizeHint::default(),
            (_, Some(inner)) => inner.size_hint(),
            (_, None) => SizeHint::with_exact(self.held.iter().map(|bytes| bytes.len() as u64).sum()),
        }
    }

    /// Reads a frame: the frame itself if it goes on whole now, else what goes on stands in `held`.
    fn take(&mut self, data: Bytes) -> Option<Bytes> {
        let clock = &self.call.services().clock;
        let fresh = self.call.has_no_first_byte();
        let first = fresh.then(|| clock.now());
        let whole = fresh && self.inner.as_ref().is_some_and(Body::is_end_stream) && !self.call.wants_text();
        let passed = self.reader.take(data, whole);
        let length = match &passed {
            Passed::Whole(bytes) => bytes.len(),
            Passed::Parts(parts) => parts.iter().map(Bytes::len).sum(),
            Passed::Nothing => 0,
        };
        self.call.note(|facts| {
            facts.bytes_out += length as u64;
            if first.is_some() {
                facts.first_byte = first;
            }
        });
        match passed {
            Passed::Whole(bytes) => Some(bytes),
            Passed::Parts(parts) => {
                self.held.extend(parts);
                None
            }
            Passed::Nothing => None,
        }
    }

    /// The upstream's bytes are all here: was that the end of the answer?
    fn upstream_ended(&mut self) {
        self.inner = None;
        match self.reader.end(self.framed) {
            End::Cut => return self.broke(&UpstreamError::Cut("it ended before the answer did".to_owned())),
            End::Whole(rest) => self.held.extend(rest),
        }
        self.after = After::End;
        let told_failure = self.reader.told_failure();
        self.close(if told_failure { Ending::Broken(Outcome::UpstreamError) } else { Ending::Whole });
    }

    /// The answer broke: say so inside it where that can be done, then cut.
    fn broke(&mut self, error: &UpstreamError) {
        self.inner = None;
        let (outcome, code, message) = match error {
            UpstreamError::TimedOut(Waited::Idle | Waited::Total | Waited::FirstByte | Waited::Connect) => {
                (Outcome::Timeout, "upstream_timeout", "The provider stopped sending in the middle of its answer.")
            }
            _ => {
                (Outcome::UpstreamTruncated, "upstream_protocol", "The provider broke off in the middle of its answer.")
            }
        };
        if let Reader::Stream(scanner, dialect) = &self.reader
            && scanner.boundary() == Boundary::Between
        {
            self.held.push(ending::failed(*dialect, scanner, code, message));
        }
        self.after = After::Cut;
        self.count_break(error);
        self.close(Ending::Broken(outcome));
    }

    fn count_break(&mut self, error: &UpstreamError) {
        let services = Arc::clone(self.call.services());
        let Some(name) = self.call.facts().and_then(|facts| facts.upstream.clone()) else {
            return;
        };
        let meters = services.upstream(&name);
        meters.attempted(Attempt::of_error(error), &services.metrics);
        if let Some(kept_back) = meters.may_complain() {
            tracing::warn!(upstream = &*name, reason = %error, kept_back, "upstream broke off its answer");
        }
    }

    /// Takes what of a whole answer is here already, without waiting for more: a short one has then ended, and its cost is known
    /// before its head goes out.
    fn look_ahead(&mut self) {
        if matches!(self.reader, Reader::Stream(..)) {
            return;
        }
        // Whoever sends the answer polls again, and is woken then.
        let mut cx = Context::from_waker(Waker::noop());
        let mut ready: SmallVec<[Bytes; 4]> = SmallVec::new();
        while ready.len() < AHEAD {
            match self.poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => ready.extend(frame.into_data()),
                Poll::Ready(Some(Err(CutShort))) => {
                    self.after = After::Cut;
                    break;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        ready.append(&mut self.held);
        self.held = ready;
    }

    fn close(&mut self, ending: Ending) {
        self.read_out();
        self.call.end(ending);
    }
}

impl<B> MeteredBody<B> {
    fn reads_on(&mut self) -> bool {
        let to = self.call.facts().and_then(|facts| facts.to());
        to.is_some_and(|upstream| upstream.on_disconnect == OnDisconnect::Drain)
    }

    /// Writes down what was read.
    fn read_out(&mut self) {
        let reading = self.reader.reading();
        let served = self.reader.served_model();
        self.call.note(|facts| {
            facts.reading = reading;
            facts.served_model = served.map(str::to_owned);
        });
    }
}

impl<B> Drop for MeteredBody<B> {
    /// The client left: what was read so far is what the call is charged by, unless the rest is read too.
    fn drop(&mut self) {
        self.read_out();
        if let Some(read_on) = self.left.filter(|_| self.inner.is_some() && !std::thread::panicking()) {
            read_on(self);
        }
    }
}

#[cfg(test)]
mod tests;
