//! Lets a body through to its upstream as it arrives, without a look inside.
//!
//! Must not know what it is; it may be sent once. What it counts is bytes, against the largest upload.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::content_length;
use super::form::{Upload, UploadFault};
use crate::gateway::error::ReceiveError;
use crate::upstream::outgoing::{Broken, OutBody, Sent};

/// The body for the upstream, of at most `limit` bytes. Where there is one, `sent` is told when it is whole, and the second
/// value tells what became of it.
///
/// # Errors
/// 413 where a length above `limit` is promised.
pub fn unread<B>(
    headers: &HeaderMap,
    body: B,
    limit: u64,
    sent: &Sent,
) -> Result<(OutBody, Option<Upload>), ReceiveError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<ReceiveError>,
{
    let promised = content_length(headers);
    if promised.is_some_and(|length| length > limit) {
        return Err(ReceiveError::UploadTooLarge { limit });
    }
    let comes_in_chunks = headers.contains_key(TRANSFER_ENCODING);
    if promised == Some(0) || promised.is_none() && !comes_in_chunks && body.is_end_stream() {
        return Ok((OutBody::empty(), None));
    }
    let upload = Upload::default();
    sent.body_arrives();
    let body = body.map_err(Into::into).boxed_unsync();
    let passing =
        Passing { body, arrived: 0, promised, limit, ended: false, upload: upload.clone(), sent: sent.clone() };
    Ok((OutBody::arriving(passing), Some(upload)))
}

/// A body on its way.
struct Passing {
    body: UnsyncBoxBody<Bytes, ReceiveError>,
    arrived: u64,
    /// Bytes that come in all, where the client says so.
    promised: Option<u64>,
    limit: u64,
    ended: bool,
    upload: Upload,
    sent: Sent,
}

impl Passing {
    /// A frame's data, counted; `None` at the end.
    fn next(&mut self, frame: Option<Result<Frame<Bytes>, ReceiveError>>) -> Result<Option<Bytes>, ReceiveError> {
        let Some(frame) = frame else {
            if self.promised.is_some_and(|promised| promised != self.arrived) {
                return Err(ReceiveError::Malformed("it is shorter than its Content-Length".to_owned()));
            }
            self.is_whole();
            return Ok(None);
        };
        // Trailers of a client are nobody's.
        let data = frame?.into_data().unwrap_or_default();
        self.arrived = self.arrived.saturating_add(data.len() as u64);
        self.upload.has(self.arrived);
        if self.arrived > self.limit {
            return Err(ReceiveError::UploadTooLarge { limit: self.limit });
        }
        if self.promised.is_some_and(|promised| self.arrived > promised) {
            return Err(ReceiveError::Malformed("it is longer than its Content-Length".to_owned()));
        }
        if self.promised == Some(self.arrived) {
            self.is_whole();
        }
        Ok(Some(data))
    }

    fn is_whole(&mut self) {
        self.ended = true;
        self.sent.body_is_here();
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            this.sent.body_is_awaited();
            return Poll::Pending;
        };
        this.sent.body_arrives();
        match this.next(frame) {
            Ok(data) => Poll::Ready(data.map(|data| Ok(Frame::data(data)))),
            Err(error) => {
                this.ended = true;
                this.upload.fail(UploadFault::Receive(error));
                Poll::Ready(Some(Err(Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.upload.fault().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.promised
            .map_or_else(SizeHint::default, |promised| SizeHint::with_exact(promised.saturating_sub(self.arrived)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock::Clock;
    use http::HeaderValue;
    use http::header::CONTENT_LENGTH;
    use std::collections::VecDeque;

    /// A body in these pieces.
    struct Pieces(VecDeque<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = ReceiveError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
            let piece = self.0.pop_front();
            Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn pieces(pieces: &[&'static str]) -> Pieces {
        Pieces(pieces.iter().copied().collect())
    }

    fn headers(length: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match length {
            Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length)),
            None => headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
        headers
    }

    #[tokio::test]
    async fn bytes_pass_as_they_are_and_the_end_is_told() {
        for length in [Some("6"), None] {
            let sent = Sent::not_yet(Clock::manual());
            let (body, upload) = unread(&headers(length), pieces(&["abc", "", "def"]), 6, &sent).unwrap();
            assert!(!sent.has_body());
            assert_eq!(body.left(), length.map(|_| 6));
            assert_eq!(body.collected().await.unwrap(), "abcdef");
            assert!(sent.has_body());
            let upload = upload.unwrap();
            assert_eq!((upload.arrived(), upload.fault()), (6, None));
        }
    }

    #[tokio::test]
    async fn more_than_may_come_is_refused_before_or_where_it_shows() {
        let sent = Sent::not_yet(Clock::manual());
        let early = unread(&headers(Some("7")), pieces(&["abcdefg"]), 6, &sent);
        assert!(matches!(early, Err(ReceiveError::UploadTooLarge { limit: 6 })));
        let (body, upload) = unread(&headers(None), pieces(&["abcd", "efg"]), 6, &sent).unwrap();
        assert!(body.collected().await.is_err());
        let fault = UploadFault::Receive(ReceiveError::UploadTooLarge { limit: 6 });
        assert_eq!(upload.unwrap().fault(), Some(fault));
        for wrong in [&["abcd", "ef"][..], &["ab"]] {
            let (body, upload) = unread(&headers(Some("5")), pieces(wrong), 6, &sent).unwrap();
            assert!(body.collected().await.is_err(), "{wrong:?}");
            assert!(matches!(upload.unwrap().fault(), Some(UploadFault::Receive(ReceiveError::Malformed(_)))));
        }
    }

    #[tokio::test]
    async fn a_call_without_a_body_sends_none() {
        let sent = Sent::not_yet(Clock::manual());
        let (body, upload) = unread(&HeaderMap::new(), pieces(&[]), 6, &sent).unwrap();
        assert!(body.is_end_stream() && upload.is_none() && sent.has_body());
    }
}
