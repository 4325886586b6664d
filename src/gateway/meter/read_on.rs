//! Reads the rest of an answer whose client left, for the usage at its end (`on_disconnect = "drain"`).
//!
//! Bounded in time, bytes and number; beyond that it is as if the upstream had been told to stop. The call keeps its place
//! in flight meanwhile, so that hanging up is no way around a concurrency limit. Ends with the process: what is still
//! read then is settled by what was read. Must not pass anything on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MeteredBody;
use crate::gateway::call::{Call, Flight};
use crate::gateway::reader::Reader;
use crate::gateway::resolved::Raised;
use crate::gateway::settle::Ending;
use crate::upstream::UpstreamError;
use crate::usage::record::Outcome;

/// How far an answer is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long.
    pub time: Duration,
    /// How many bytes of the answer, as they come.
    pub bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { time: Duration::from_secs(30), bytes: 4 * 1024 * 1024 }
    }
}

/// Answers read on at once, at most.
const AT_ONCE: usize = 64;

/// The answers of this process that are read on.
#[derive(Clone, Debug)]
pub struct ReadOn {
    bounds: Bounds,
    places: Arc<Semaphore>,
}

impl Default for ReadOn {
    fn default() -> Self {
        ReadOn::new(Bounds::default(), AT_ONCE)
    }
}

impl ReadOn {
    /// So many answers at once, each within these bounds.
    #[must_use]
    pub fn new(bounds: Bounds, at_once: usize) -> Self {
        ReadOn { bounds, places: Arc::new(Semaphore::new(at_once)) }
    }
}

/// The rest of an answer. Dropping it ends its call by what was read.
struct Rest<B> {
    inner: B,
    reader: Reader,
    call: Call,
    _flight: Option<Flight>,
    _at_upstream: Option<Raised>,
    _place: OwnedSemaphorePermit,
}

/// Takes the rest of the answer over, if there is a place for it.
pub(super) fn read_on<B>(body: &mut MeteredBody<B>)
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    let services = Arc::clone(body.call.services());
    if matches!(body.reader, Reader::Blind(_)) {
        return;
    }
    let Ok(place) = Arc::clone(&services.read_on.places).try_acquire_owned() else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let Some(inner) = body.inner.take() else { return };
    let rest = Rest {
        inner,
        reader: std::mem::replace(&mut body.reader, Reader::Blind("endpoint")),
        call: body.call.take(),
        _flight: body.flight.take(),
        _at_upstream: body.at_upstream.take(),
        _place: place,
    };
    runtime.spawn(rest.read(services.read_on.bounds));
}

impl<B> Rest<B>
where
    B: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    async fn read(mut self, bounds: Bounds) {
        // Out of time is as good as a break: it is told apart by nobody.
        let _ = tokio::time::timeout(bounds.time, self.read_rest(bounds.bytes)).await;
    }

    async fn read_rest(&mut self, mut left: u64) {
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_frame(cx)).await {
            let Ok(data) = frame.into_data() else { continue };
            self.reader.read(&data);
            left = left.saturating_sub(data.len() as u64);
            if left == 0 || self.inner.is_end_stream() {
                break;
            }
        }
        let _ = self.reader.end(true);
    }
}

impl<B> Drop for Rest<B> {
    fn drop(&mut self) {
        let reading = self.reader.reading();
        let served = self.reader.served_model().map(str::to_owned);
        self.call.note(|facts| {
            facts.reading = reading;
            facts.served_model = served;
        });
        self.call.end(Ending::Broken(Outcome::ClientGone));
    }
}
