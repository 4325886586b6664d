//! Sends an answer: whole, or event by event with the pauses and the end that were asked for.
//!
//! Must not know what the bytes mean. Dropping it is a client that left; nothing else has to be undone.

use super::faults::{Behaviour, Ending};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::iter::Peekable;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Pause before a cut, so that what was sent before it is on its way: a server drops what it has not yet written.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// The connection is to be lost in the middle of the answer, as the model's name asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulator cut this answer, as the model's name asked")]
pub struct SimCut;

/// Makes the events of a stream, one at a time.
pub(super) type EventSource = Box<dyn Iterator<Item = Bytes> + Send + Sync>;

/// What is answered.
pub(super) enum Reply {
    /// One JSON text.
    Json(Bytes),
    /// Another text, with its content type.
    Text(&'static str, String),
    /// Events, made when they are due.
    Events(EventSource),
    /// A sound in pieces, with its content type.
    Sound(&'static str, EventSource),
}

/// What is sent.
pub(super) enum Payload {
    /// A body of known length.
    Whole(Bytes),
    /// Pieces of a stream.
    Pieces(EventSource),
}

/// The body of a simulated answer. Waits on tokio's timer, so it must be polled inside a runtime.
pub struct SimBody {
    source: Source,
    pace: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

enum Source {
    /// What is left of a body whose length the head tells.
    Whole(Bytes),
    /// The first half of a body whose length the head tells, then the cut.
    Half {
        now: Bytes,
        missing: u64,
    },
    Pieces {
        pieces: Peekable<EventSource>,
        left: Option<Left>,
    },
    Cut,
    Silent,
}

/// How many pieces are sent of a stream that does not end well, and what comes then.
struct Left {
    pieces: u32,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Cut,
    /// Half of one piece more, and the cut.
    HalfAndCut,
    Stall,
}

impl SimBody {
    /// A body that is sent at once and whole.
    pub(super) fn whole(bytes: Bytes) -> Self {
        SimBody { source: Source::Whole(bytes), pace: Duration::ZERO, sleep: None }
    }

    /// A body that is sent as `behaviour` says.
    pub(super) fn new(payload: Payload, behaviour: &Behaviour) -> Self {
        let source = match (payload, behaviour.ending) {
            (_, Ending::Silent | Ending::StallAfter(0)) => Source::Silent,
            (Payload::Whole(bytes), Ending::CutAfter(_) | Ending::CutInside(_)) => {
                let now = bytes.slice(..bytes.len() / 2);
                Source::Half { missing: (bytes.len() - now.len()) as u64, now }
            }
            (Payload::Whole(bytes), _) => Source::Whole(bytes),
            (Payload::Pieces(_), Ending::CutAfter(0)) => Source::Cut,
            (Payload::Pieces(pieces), ending) => {
                let left = match ending {
                    Ending::CutAfter(pieces) => Some(Left { pieces, then: Then::Cut }),
                    Ending::StallAfter(pieces) => Some(Left { pieces, then: Then::Stall }),
                    Ending::CutInside(number) => Some(Left { pieces: number, then: Then::HalfAndCut }),
                    _ => None,
                };
                Source::Pieces { pieces: pieces.peekable(), left }
            }
        };
        let sleep = matches!(source, Source::Cut).then(|| Box::pin(tokio::time::sleep(BEFORE_CUT)));
        SimBody { source, pace: behaviour.pace, sleep }
    }

    /// Begins the pause that comes before the next frame, if there is one.
    fn rest(&mut self) {
        let pause = match self.source {
            Source::Cut => self.pace.max(BEFORE_CUT),
            Source::Pieces { .. } => self.pace,
            _ => Duration::ZERO,
        };
        self.sleep = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
    }
}

impl fmt::Debug for SimBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBody").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Source {
    fn next(&mut self) -> Option<Result<Frame<Bytes>, SimCut>> {
        match self {
            Source::Whole(bytes) if bytes.is_empty() => None,
            Source::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Half { now, .. } => {
                let bytes = std::mem::take(now);
                *self = Source::Cut;
                Some(Ok(Frame::data(bytes)))
            }
            Source::Pieces { pieces, left } => {
                let mut piece = pieces.next()?;
                let then = left.as_mut().and_then(|left| {
                    left.pieces = left.pieces.saturating_sub(1);
                    (left.pieces == 0).then_some(left.then)
                });
                if matches!(then, Some(Then::HalfAndCut)) {
                    piece.truncate(piece.len() / 2);
                }
                match then {
                    Some(Then::Cut | Then::HalfAndCut) => *self = Source::Cut,
                    Some(Then::Stall) => *self = Source::Silent,
                    None if pieces.peek().is_none() => *self = Source::Whole(Bytes::new()),
                    None => {}
                }
                Some(Ok(Frame::data(piece)))
            }
            Source::Cut => {
                *self = Source::Whole(Bytes::new());
                Some(Err(SimCut))
            }
            Source::Silent => None,
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = SimCut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SimCut>>> {
        let body = &mut *self;
        if matches!(body.source, Source::Silent) {
            // Nobody is woken: whoever polls this leaves by a time-out or because its client left.
            return Poll::Pending;
        }
        if let Some(sleep) = &mut body.sleep {
            ready!(sleep.as_mut().poll(cx));
            body.sleep = None;
        }
        let frame = body.source.next();
        body.rest();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Half { now, missing } => SizeHint::with_exact((now.len() as u64).saturating_add(*missing)),
            _ => SizeHint::default(),
        }
    }
}
