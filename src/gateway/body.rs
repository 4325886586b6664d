//! Carries an answer to the server, whatever it is made of, without a virtual call for each frame.
//!
//! Must not know what a frame means: [`MeteredBody`] does.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::meter::MeteredBody;
use crate::upstream::UpstreamError;

/// The body of every answer.
pub enum ResponseBody<B> {
    /// Nothing, or nothing more.
    Empty,
    /// Made here, in one piece.
    Full(Bytes),
    /// An upstream's, read as it passes.
    Metered(Box<MeteredBody<B>>),
}

/// The connection is to be cut: the answer is not whole, and its client must see that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut short")]
pub struct CutShort;

impl<B: Body<Data = Bytes, Error = UpstreamError> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        match this {
            ResponseBody::Empty => Poll::Ready(None),
            ResponseBody::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = ResponseBody::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            ResponseBody::Metered(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Empty => true,
            ResponseBody::Full(bytes) => bytes.is_empty(),
            ResponseBody::Metered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Empty => SizeHint::with_exact(0),
            ResponseBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            ResponseBody::Metered(body) => body.size_hint(),
        }
    }
}
