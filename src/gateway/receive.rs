//! Collects a request's body once, checks that it is what the endpoint takes, and reads it strictly.
//!
//! Must not know tenants, limits or routes.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;

use super::error::{GatewayError, ReceiveError};
use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{Peek, Rules, peek};

/// Room that is made for a body before any of it came; the rest of what `Content-Length` promises, once this much did.
const FIRST_ROOM: usize = 256 * 1024;

/// A request that was read and understood.
#[derive(Debug)]
pub struct Inbound {
    /// The bytes as they came.
    pub body: Bytes,
    /// What they say.
    pub peek: Peek,
}

/// The length that a request promises, if it promises one.
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body to its end.
///
/// # Errors
/// 408, 413, 415 as [`ReceiveError`] says.
pub async fn receive<B>(headers: &HeaderMap, body: B, max_body: usize) -> Result<Bytes, GatewayError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<ReceiveError>,
{
    check_type(headers)?;
    let promised = content_length(headers);
    if promised.is_some_and(|length| length > max_body as u64) {
        return Err(ReceiveError::TooLarge { limit: max_body }.into());
    }
    let promised = promised.and_then(|length| usize::try_from(length).ok());
    Ok(collect(body, promised, max_body).await?)
}

/// Reads strictly what a body says.
///
/// # Errors
/// 400 with the fault's place as [`GatewayError::Body`].
pub fn understand(endpoint: Endpoint, body: Bytes, rules: Rules) -> Result<Inbound, GatewayError> {
    let peek = peek(endpoint, &body, rules).map_err(GatewayError::Body)?;
    Ok(Inbound { body, peek })
}

/// J17: JSON, and said so. A missing type is refused too, as upstreams refuse it.
fn check_type(headers: &HeaderMap) -> Result<(), ReceiveError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ReceiveError::Encoding);
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(ReceiveError::Type);
    };
    let mut parts = value.as_bytes().split(|&b| b == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(ReceiveError::Type);
    }
    for parameter in parts {
        let parameter = parameter.trim_ascii();
        if let Some((name, value)) = parameter.split_at_checked(8)
            && name.eq_ignore_ascii_case(b"charset=")
        {
            let charset = value.trim_ascii();
            let charset = charset.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")).unwrap_or(charset);
            if !charset.eq_ignore_ascii_case(b"utf-8") && !charset.eq_ignore_ascii_case(b"utf8") {
                return Err(ReceiveError::Charset);
            }
        }
    }
    Ok(())
}

/// One frame stays as it is; more are copied together once.
async fn collect<B>(body: B, promised: Option<usize>, max_body: usize) -> Result<Bytes, ReceiveError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<ReceiveError>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else {
            continue;
        };
        let length = first.len() + all.len() + data.len();
        if length > max_body {
            return Err(ReceiveError::TooLarge { limit: max_body });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(promised.unwrap_or(length * 2).clamp(length, FIRST_ROOM.max(length)));
            all.extend_from_slice(&first);
            first = Bytes::new();
        } else if all.capacity() < length {
            let room = promised.unwrap_or(all.len() * 2).clamp(length, max_body);
            all.reserve(room - all.len());
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http_body::Frame;

    fn typed(value: &'static str) -> Result<(), ReceiveError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        check_type(&headers)
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        assert_eq!(typed("application/json"), Ok(()));
        assert_eq!(typed("Application/JSON; charset=UTF-8"), Ok(()));
        assert_eq!(typed("application/json; charset=\"utf-8\"; x=y"), Ok(()));
        assert_eq!(typed("application/json; charset=utf-16"), Err(ReceiveError::Charset));
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "",
        ] {
            assert_eq!(typed(other), Err(ReceiveError::Type), "{other}");
        }
        assert_eq!(check_type(&HeaderMap::new()), Err(ReceiveError::Type));
    }

    impl From<std::convert::Infallible> for ReceiveError {
        fn from(never: std::convert::Infallible) -> Self {
            match never {}
        }
    }

    #[tokio::test]
    async fn a_body_in_any_number_of_frames_is_collected_whole_and_never_beyond_the_limit() {
        for size in [0usize, 1, 7, 100_000, 700_000] {
            for step in [1usize, 1_000, 65_536, 1_000_000] {
                if size / step > 2_000 {
                    continue;
                }
                let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
                let frames: Vec<_> = data
                    .chunks(step)
                    .map(|part| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::copy_from_slice(part))))
                    .collect();
                let body = || {
                    Frames(
                        frames
                            .iter()
                            .map(|f| Ok(Frame::data(f.as_ref().unwrap().data_ref().unwrap().clone())))
                            .collect(),
                    )
                };
                for promised in [None, Some(size)] {
                    assert_eq!(collect(body(), promised, 1 << 20).await.unwrap(), data);
                }
                if size > 1 {
                    assert_eq!(collect(body(), None, size - 1).await, Err(ReceiveError::TooLarge { limit: size - 1 }));
                }
            }
        }
    }

    struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, std::convert::Infallible>>);
    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop_front())
        }
    }
}
