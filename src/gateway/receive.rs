//! Reads a request's body as far as it must be known before the call can go on: JSON whole, a form to its first file.
//!
//! Must not know tenants, limits or routes.

mod form;
mod kind;
mod pieces;
mod unread;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;

use super::decode::{Coding, DecodeError, Decoder};
use super::error::{GatewayError, ReceiveError};
use super::memory::{self, Held};
use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{Peek, Rules, peek_named};
use pieces::Pieces;

pub use form::{Form, Upload, UploadFault};
pub use unread::unread;

pub use kind::{Kind, content_length, kind, promised_text};

/// How large bodies may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A JSON body, on the wire and decoded.
    pub body: usize,
    /// A form.
    pub upload: u64,
    /// What may come of a form before its `model` part.
    pub spool: usize,
}

/// What has arrived of a body. The type says what can be sent twice.
#[derive(Debug)]
pub enum Payload {
    /// All of it, decoded.
    Json(Bytes),
    /// A form: what was read of it, and the rest as it comes.
    Form(Box<Form>),
}

impl Payload {
    /// All of it, if it is JSON; nothing of a form.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        match self {
            Payload::Json(body) => body,
            Payload::Form(_) => &[],
        }
    }

    /// How many bytes have arrived (of JSON: decoded).
    #[must_use]
    pub fn arrived(&self) -> u64 {
        match self {
            Payload::Json(body) => body.len() as u64,
            Payload::Form(form) => form.arrived(),
        }
    }
}

/// A request that was read and understood.
#[derive(Debug)]
pub struct Inbound {
    /// The bytes.
    pub payload: Payload,
    /// What they say.
    pub peek: Peek,
}

/// Reads JSON to its end, a form to where it can be routed; that is sooner where the path `named` its model. What is read of it
/// is held by `held`, where there is a gate.
///
/// # Errors
/// 400, 408, 413, 503 as [`ReceiveError`] says; 400 for a form that is not understood.
pub async fn receive<B>(
    kind: Kind,
    headers: &HeaderMap,
    body: B,
    bounds: Bounds,
    held: Option<Held>,
    rules: Rules,
    named: Option<&str>,
) -> Result<Payload, GatewayError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<ReceiveError>,
{
    let promised = content_length(headers);
    match kind {
        Kind::Json(coding) => {
            let most = bounds.body;
            if promised.is_some_and(|length| length > most as u64) {
                return Err(ReceiveError::TooLarge { limit: most }.into());
            }
            let promised = promised.and_then(|length| usize::try_from(length).ok());
            Ok(Payload::Json(match coding {
                None => collect(body, promised, most, held).await?,
                Some(coding) => Box::pin(decoded(body, coding, most, held)).await?,
            }))
        }
        Kind::Form(boundary) => {
            let body = body.map_err(Into::into).boxed_unsync();
            let form = Box::pin(Form::begin(boundary, body, promised, bounds, held, rules, named.into())).await?;
            Ok(Payload::Form(Box::new(form)))
        }
    }
}

/// Reads strictly what a body says. A model that the path `named` wins.
///
/// # Errors
/// 400 with the fault's place as [`GatewayError::Body`].
pub fn understand(
    endpoint: Endpoint,
    payload: Payload,
    rules: Rules,
    named: Option<&str>,
) -> Result<Inbound, GatewayError> {
    let peek = match &payload {
        Payload::Json(body) => peek_named(endpoint, body, rules, named),
        Payload::Form(form) => form.head.peek(endpoint, named),
    };
    Ok(Inbound { peek: peek.map_err(GatewayError::Body)?, payload })
}

async fn collect<B>(
    body: B,
    promised: Option<usize>,
    max_body: usize,
    mut held: Option<Held>,
) -> Result<Bytes, ReceiveError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<ReceiveError>,
{
    let mut body = std::pin::pin!(body);
    let mut pieces = Pieces::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else {
            continue;
        };
        if pieces.len() + data.len() > max_body {
            return Err(ReceiveError::TooLarge { limit: max_body });
        }
        memory::grow(&mut held, data.len())?;
        pieces.push(data, promised, max_body);
    }
    Ok(memory::with(held, pieces.into_bytes()))
}

/// As [`collect`], out of a content coding; the limit holds before and behind it.
async fn decoded<B>(body: B, coding: Coding, max_body: usize, held: Option<Held>) -> Result<Bytes, ReceiveError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<ReceiveError>,
{
    let failed = |error| match error {
        DecodeError::TooLarge => ReceiveError::TooLarge { limit: max_body },
        DecodeError::Corrupt => ReceiveError::Corrupt,
        DecodeError::Full => ReceiveError::Overloaded,
    };
    let mut body = std::pin::pin!(body);
    let mut decoder = Decoder::holding(coding, max_body, held).map_err(failed)?;
    let mut coded = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else {
            continue;
        };
        coded = coded.saturating_add(data.len());
        if coded > max_body {
            return Err(ReceiveError::TooLarge { limit: max_body });
        }
        decoder.feed(&data).map_err(failed)?;
    }
    decoder.finish().map_err(failed)
}

#[cfg(test)]
mod tests;
