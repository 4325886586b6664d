//! Lets a form through to its upstream as it arrives: reads along to its first file, then hands on what comes.
//!
//! Must not know where it goes. A form can be sent once: what has passed is kept nowhere. One that ended before its upload
//! began is whole and can be sent again.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use smallvec::SmallVec;

use super::Bounds;
use super::pieces::Pieces;
use crate::gateway::error::{GatewayError, ReceiveError};
use crate::gateway::memory::{self, Held};
use crate::upstream::outgoing::{Broken, OutBody, Sent};
use crate::wire::form::{Boundary, FormHead, Reader, model_too_late, model_twice};
use crate::wire::peek::{BodyFault, Rules};
use crate::wire::splice::{self, Edit};

/// How much is read beyond the `model` part, in bytes, to know the parts that follow it, where no file comes before.
const READ_ON: u64 = 64 * 1024;

/// A form, as far as it has come.
pub struct Form {
    /// What it says so far.
    pub head: FormHead,
    boundary: Boundary,
    /// What has come.
    start: Bytes,
    /// `None` where that is all.
    rest: Option<Rest>,
}

/// What is still to come of a form.
struct Rest {
    body: UnsyncBoxBody<Bytes, ReceiveError>,
    reader: Reader,
    /// Bytes that have come.
    arrived: u64,
    /// Bytes that come in all, where the client says so.
    promised: Option<u64>,
    /// The most bytes that may come.
    limit: u64,
    named: ModelNamed,
}

/// Where a form's model is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModelNamed {
    /// In the form.
    Inside,
    /// In the path: the form need not name it.
    InPath,
}

impl From<Option<&str>> for ModelNamed {
    fn from(named: Option<&str>) -> Self {
        if named.is_some() { ModelNamed::InPath } else { ModelNamed::Inside }
    }
}

/// What is known of a form that is on its way.
#[derive(Clone, Default)]
pub struct Upload(Arc<Progress>);

#[derive(Default)]
struct Progress {
    arrived: AtomicU64,
    fault: Mutex<Option<UploadFault>>,
}

/// Why a form did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadFault {
    /// It did not arrive.
    Receive(ReceiveError),
    /// It was not understood.
    Body(BodyFault),
}

impl From<UploadFault> for GatewayError {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::Receive(error) => GatewayError::Receive(error),
            UploadFault::Body(fault) => GatewayError::Body(fault),
        }
    }
}

impl Upload {
    /// How many bytes have arrived.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.0.arrived.load(Ordering::Relaxed)
    }

    /// Why it broke off, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<UploadFault> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// More has arrived: so much in all.
    pub(super) fn has(&self, arrived: u64) {
        self.0.arrived.store(arrived, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, fault: UploadFault) {
        *self.0.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

impl Form {
    /// Reads a form until it can be routed: to its first file behind the model, to its end, or some way behind the model.
    ///
    /// # Errors
    /// 400 for a form that is not understood, or that names no model within `bounds.spool`; 408, 413, 503 as [`ReceiveError`] says.
    pub(super) async fn begin(
        boundary: Boundary,
        body: UnsyncBoxBody<Bytes, ReceiveError>,
        promised: Option<u64>,
        bounds: Bounds,
        mut held: Option<Held>,
        rules: Rules,
        named: ModelNamed,
    ) -> Result<Form, GatewayError> {
        if promised.is_some_and(|length| length > bounds.upload) {
            return Err(ReceiveError::UploadTooLarge { limit: bounds.upload }.into());
        }
        let reader = Reader::new(&boundary, rules);
        let mut rest = Rest { body, reader, arrived: 0, promised, limit: bounds.upload, named };
        let mut pieces = Pieces::default();
        let mut whole = false;
        while !whole && !rest.is_known() {
            let model_is_missing = named == ModelNamed::Inside && rest.reader.head().model.is_none();
            if model_is_missing && pieces.len() > bounds.spool {
                return Err(GatewayError::Body(model_too_late(bounds.spool)));
            }
            let frame = rest.body.frame().await;
            let frame = rest.check(frame)?;
            whole = rest.is_whole(frame.as_ref())?;
            if let Some(data) = frame {
                memory::grow(&mut held, data.len())?;
                pieces.push(data, None, bounds.spool.saturating_add(READ_ON as usize));
            }
        }
        let head = rest.reader.head().clone();
        Ok(Form { head, boundary, start: memory::with(held, pieces.into_bytes()), rest: (!whole).then_some(rest) })
    }

    /// How many bytes have come.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.start.len() as u64
    }

    /// The body for the upstream, which asks for `model` where that is another. Where some of it is still to come, `sent` is
    /// told when it is whole, and the second value tells what became of it.
    #[must_use]
    pub fn into_body(self, model: Option<&str>, sent: &Sent) -> (OutBody, Option<Upload>) {
        let mut edits: SmallVec<[Edit; 4]> = SmallVec::new();
        edits.extend(model.map(|model| splice::rename_model_in_form(&self.head, &self.boundary, model)));
        let slices = splice::splice(&self.start, &mut edits);
        let Some(rest) = self.rest else {
            return (OutBody::new(slices.into_parts()), None);
        };
        let to_come = rest.promised.map(|promised| promised.saturating_sub(rest.arrived));
        let left = to_come.map(|to_come| to_come.saturating_add(slices.len() as u64));
        let upload = Upload::default();
        upload.has(rest.arrived);
        sent.body_arrives();
        let start = slices.into_parts().into_iter();
        let put_in = model.is_some() && self.head.model.is_none();
        let body = Passing { start, rest, left, ended: false, put_in, upload: upload.clone(), sent: sent.clone() };
        (OutBody::arriving(body), Some(upload))
    }
}

impl Rest {
    /// Whether enough was read to go on: the parts that decide come before the files, as every SDK sends them.
    fn is_known(&self) -> bool {
        let known_at = match (&self.reader.head().model_span, self.named) {
            (Some(model), _) => model.end,
            (None, ModelNamed::InPath) => 0,
            (None, ModelNamed::Inside) => return false,
        };
        self.reader.is_in_file() || self.arrived >= known_at.saturating_add(READ_ON)
    }

    /// A frame's data, read and counted; `None` at the end.
    fn check(&mut self, frame: Option<Result<Frame<Bytes>, ReceiveError>>) -> Result<Option<Bytes>, UploadFault> {
        let Some(frame) = frame else { return Ok(None) };
        // Trailers of a client are nobody's.
        let data = frame.map_err(UploadFault::Receive)?.into_data().unwrap_or_default();
        self.arrived = self.arrived.saturating_add(data.len() as u64);
        if self.arrived > self.limit {
            return Err(UploadFault::Receive(ReceiveError::UploadTooLarge { limit: self.limit }));
        }
        if self.promised.is_some_and(|promised| self.arrived > promised) {
            // The server keeps to the length; what it let through would be cut upstream.
            let why = "it is longer than its Content-Length".to_owned();
            return Err(UploadFault::Receive(ReceiveError::Malformed(why)));
        }
        self.reader.feed(&data).map_err(UploadFault::Body)?;
        Ok(Some(data))
    }

    /// Whether all has come with this frame; then it must be a whole form, before its last byte is handed on.
    fn is_whole(&self, frame: Option<&Bytes>) -> Result<bool, UploadFault> {
        let whole = frame.is_none() || self.promised == Some(self.arrived);
        if whole {
            self.reader.finish().map_err(UploadFault::Body)?;
        }
        Ok(whole)
    }
}

/// A form on its way to an upstream.
struct Passing {
    start: smallvec::IntoIter<[Bytes; 8]>,
    rest: Rest,
    /// Bytes still to be handed on, where the client promised a length.
    left: Option<u64>,
    ended: bool,
    /// Whether a `model` part was put in front: no other may follow.
    put_in: bool,
    upload: Upload,
    sent: Sent,
}

impl Passing {
    /// The next frame of the rest. At the end of the form, or of its promise, the form is whole.
    fn next(&mut self, frame: Option<Result<Frame<Bytes>, ReceiveError>>) -> Result<Option<Bytes>, UploadFault> {
        let frame = self.rest.check(frame)?;
        self.upload.has(self.rest.arrived);
        if self.put_in && self.rest.reader.head().model.is_some() {
            return Err(UploadFault::Body(model_twice()));
        }
        if self.rest.is_whole(frame.as_ref())? {
            self.ended = true;
            self.sent.body_is_here();
        }
        Ok(frame)
    }

    fn counted(&mut self, data: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        Frame::data(data)
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if let Some(slice) = this.start.next() {
            return Poll::Ready(Some(Ok(this.counted(slice))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.rest.body).poll_frame(cx) else {
            this.sent.body_is_awaited();
            return Poll::Pending;
        };
        this.sent.body_arrives();
        match this.next(frame) {
            Ok(Some(data)) => Poll::Ready(Some(Ok(this.counted(data)))),
            Ok(None) => Poll::Ready(None),
            Err(fault) => {
                this.ended = true;
                this.upload.fail(fault);
                Poll::Ready(Some(Err(Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.start.len() == 0 && self.upload.fault().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form").field("head", &self.head).field("whole", &self.rest.is_none()).finish_non_exhaustive()
    }
}
