//! Reads along in a form (`multipart/form-data`, RFC 7578 over RFC 2046) while its bytes pass: which model, and what is asked.
//!
//! Must not know tenants, limits or routes, nor hold what passes: of a part it keeps a bounded head, and of a value that
//! decides something at most 256 bytes. The reading is stricter than the RFCs where two readers could understand a form in
//! two ways (5-reliability.md J18): nothing before the first boundary nor after the last, a boundary line has no padding,
//! heads are whole lines without folding, each part has one `Content-Disposition` with one `name`, and a part that decides
//! something stands once, is plain text and no file.

mod boundary;
mod head;
mod parameters;
mod reader;

use std::ops::Range;

use crate::wire::endpoint::Endpoint;
use crate::wire::peek::{BodyFault, Caps, FaultCode, Peek, Rules, State, StreamOptions, missing_model};

pub use boundary::Boundary;
pub use reader::Reader;

/// Parts that only the newer image models understand, whose default model therefore is not the endpoint's.
const NEWER_IMAGE_PARTS: [&str; 7] = crate::wire::peek::NEWER_IMAGE_KEYS;

/// What a form says, as far as it was read. Text is counted and measured in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormHead {
    /// The model's name; [`model_name::fault`](crate::wire::model_name::fault) has nothing against it.
    pub model: Option<String>,
    /// Where that stands: bytes of the form, from 0, from the first of the name to behind its last.
    pub model_span: Option<Range<u64>>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Answers that are asked for (`n`); `None` where the form does not say.
    pub choices: Option<u64>,
    /// The form of the answer (`response_format`), at most 64 bytes.
    pub response_format: Option<String>,
    /// The size of `prompt`.
    pub prompt_bytes: u64,
    /// Files whose parts began.
    pub files: u64,
    /// Whether a part is there that only the newer image models understand.
    pub newer_image_parts: bool,
    /// Whether the closing boundary has come.
    pub ended: bool,
}

impl FormHead {
    /// What the stages after this one go by, for either kind of body. Where the form names no model it is the endpoint's
    /// documented default.
    ///
    /// # Errors
    /// `missing_required_parameter` where there is neither.
    pub fn peek(&self, endpoint: Endpoint) -> Result<Peek, BodyFault> {
        let model = match &self.model {
            Some(model) => model.clone(),
            None => endpoint
                .default_model()
                .filter(|_| !self.newer_image_parts)
                .ok_or_else(|| missing_model("the form"))?
                .to_owned(),
        };
        Ok(Peek {
            endpoint,
            model,
            model_span: None,
            stream: self.stream,
            stream_span: None,
            stream_options: StreamOptions::Absent,
            object_start: 0,
            object_empty: false,
            output_cap: None,
            caps: Caps::default(),
            choices_key: "n",
            service_tier: None,
            choices: self.choices.unwrap_or(1),
            prompts: 1,
            text_bytes: self.prompt_bytes,
            attachments: self.files,
            attachment_bytes: 0,
            state: State::default(),
        })
    }
}

/// Reads a whole form that came in these pieces. How it is cut into pieces changes nothing.
///
/// # Errors
/// The first fault found, in the order of the bytes; a form that ends early last. A `boundary` that none can be is a fault
/// too.
pub fn read_all<C: AsRef<[u8]>>(boundary: &[u8], chunks: impl IntoIterator<Item = C>) -> Result<FormHead, BodyFault> {
    let mut reader = Reader::new(&Boundary::new(boundary)?, Rules::default());
    for chunk in chunks {
        reader.feed(chunk.as_ref())?;
    }
    reader.finish()?;
    Ok(reader.head().clone())
}

/// The fault of a form whose first `spool` bytes name no model: nobody can say where it goes.
#[must_use]
pub fn model_too_late(spool: usize) -> BodyFault {
    let message = format!(
        "The first {spool} bytes of the form have no 'model' part, so it cannot be routed. Put the model part first, before any file, or ask the operator to raise server.form_spool."
    );
    BodyFault::new(FaultCode::MissingRequiredParameter, message).about("model")
}

#[cfg(test)]
mod tests;
