//! Reads a form from the body of a request, frame by frame, and holds none of its files.
//!
//! Must not know which endpoint it is for. The gateway's own reader of forms is another: a stand-in for a provider must
//! not share the faults of what it tests.

use super::SimFault;
use super::faults::{Behaviour, Reading};
use super::form::{self, Form};
use super::refusal::Refusal;
use bytes::Buf;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use std::fmt;
use std::pin::pin;

/// A form, as far as it was read: texts, and of files their heads and sizes.
pub struct Upload(pub(super) Read);

pub(super) enum Read {
    Whole(Form),
    /// Its model's name asks for this, and that the rest shall not be read.
    Early(Behaviour),
    Refused(Refusal),
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

/// Whether a request's body is a form, for [`read_form`], by its headers.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    boundary(headers).is_some()
}

/// Reads a form as it comes, with little memory whatever its size; to its end, or to where the model's name says that the
/// rest shall not be read. What is wrong with it becomes part of the answer.
///
/// # Errors
/// [`SimFault::Unread`] where the body breaks off.
pub async fn read_form<B: Body>(headers: &HeaderMap, body: B) -> Result<Upload, SimFault> {
    let mut reader = match boundary(headers) {
        Some(Ok(boundary)) => form::Reader::new(&boundary),
        Some(Err(refusal)) => return Ok(Upload(Read::Refused(refusal))),
        None => return Ok(Upload(Read::Refused(Refusal::media("a form (multipart/form-data)")))),
    };
    let mut body = pin!(body);
    let mut model_known = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| SimFault::Unread)?;
        let Ok(mut data) = frame.into_data() else { continue };
        while data.has_remaining() {
            let length = data.chunk().len();
            if let Err(refusal) = reader.read(data.chunk()) {
                return Ok(Upload(Read::Refused(refusal)));
            }
            data.advance(length);
        }
        if !model_known && let Some(model) = reader.so_far().text("model") {
            model_known = true;
            let behaviour = Behaviour::of_model(model).unwrap_or_default();
            let fails = behaviour.status.is_some() && behaviour.one_in == 1;
            if fails && behaviour.reading == Reading::ToModel {
                return Ok(Upload(Read::Early(behaviour)));
            }
        }
    }
    Ok(Upload(reader.finish().map_or_else(Read::Refused, Read::Whole)))
}

fn boundary(headers: &HeaderMap) -> Option<Result<String, Refusal>> {
    form::boundary(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}
