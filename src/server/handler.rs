//! Hands the gateway to the server: what a server sees, in the gateway's words.
//!
//! Must not decide anything.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{Handler, RequestBody, RequestBodyError, ServerRefusal};
use crate::gateway::Gateway;
use crate::gateway::body::ResponseBody;
use crate::gateway::error::{ReceiveError, TransportError};
use crate::upstream::UpstreamError;
use crate::upstream::outgoing::Outgoing;

impl<U, R> Handler for Arc<Gateway<U>>
where
    U: Service<Outgoing, Response = Response<R>, Error = UpstreamError, Future: Send> + Clone + Send + Sync + 'static,
    R: Body<Data = Bytes, Error = UpstreamError> + Unpin + Send + 'static,
{
    type Body = ResponseBody<R>;

    /// One box a call: the server keeps a place for this future in every connection, also while it streams or idles, and
    /// moves it about.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody<R>>> + Send {
        let gateway = Arc::clone(self);
        Box::pin(async move { Gateway::handle(&gateway, request, peer).await })
    }

    fn refuse(&self, refusal: ServerRefusal) -> Response<ResponseBody<R>> {
        let error = match refusal {
            ServerRefusal::BadRequest { why } => TransportError::Invalid(why.to_owned()),
            ServerRefusal::HeadersTooLarge | ServerRefusal::UriTooLong => TransportError::HeadTooLarge,
            ServerRefusal::ExpectationFailed => TransportError::Expectation,
            ServerRefusal::MethodNotAllowed => TransportError::Method,
            ServerRefusal::RequestTimeout => TransportError::TimedOut,
            ServerRefusal::Overloaded => TransportError::Overloaded,
            ServerRefusal::OriginNotAllowed => TransportError::ForeignOrigin,
            ServerRefusal::InternalError => return self.failed(),
        };
        Gateway::refuse(self, error)
    }
}

impl From<RequestBodyError> for ReceiveError {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::TimedOut => ReceiveError::TimedOut,
            RequestBodyError::ClientGone => ReceiveError::Gone,
            RequestBodyError::Malformed => ReceiveError::Malformed("check the chunk sizes and line ends".to_owned()),
        }
    }
}
