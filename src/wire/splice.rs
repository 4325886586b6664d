//! Changes a body at the few places that must change, and leaves every other byte as the client sent it.
//!
//! Must not know why a change is made. Bytes between changes are slices of the body that came, not copies.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use crate::wire::endpoint::Endpoint;
use crate::wire::form::{Boundary, FormHead};
use crate::wire::peek::{Cap, Peek, StreamOptions};

/// Changed bodies shorter than this, in bytes, are copied into one piece, as one write is cheaper than several.
const FLATTEN_BELOW: usize = 16 * 1024;

/// One change: what stands at `span` becomes `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the body as it came; empty for an insertion.
    pub span: Range<usize>,
    /// What goes there.
    pub text: Bytes,
}

impl Edit {
    fn insert(at: usize, text: impl Into<Bytes>) -> Self {
        Edit { span: at..at, text: text.into() }
    }

    fn replace(span: &Range<usize>, text: impl Into<Bytes>) -> Self {
        Edit { span: span.clone(), text: text.into() }
    }
}

/// A body in pieces, none of them empty; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    parts: SmallVec<[Bytes; 8]>,
    length: usize,
}

impl Slices {
    /// All pieces together, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The pieces, in order.
    #[must_use]
    pub fn into_parts(self) -> SmallVec<[Bytes; 8]> {
        self.parts
    }

    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.length += part.len();
            self.parts.push(part);
        }
    }

    /// One piece of all.
    fn flattened(self) -> Self {
        let mut whole = BytesMut::with_capacity(self.length);
        self.parts.iter().for_each(|part| whole.extend_from_slice(part));
        Slices { parts: smallvec![whole.freeze()], length: self.length }
    }
}

impl From<Bytes> for Slices {
    fn from(body: Bytes) -> Self {
        let mut slices = Slices::default();
        slices.push(body);
        slices
    }
}

/// Makes the changes; sorts `edits` by place, those of one place in the order given.
///
/// The edits made here ([`ask_for_usage`], [`rename_model`], [`cap_output`], [`lower_caps`]) never overlap. Of others, one that begins
/// inside of an earlier one, or ends outside of the body, is left out.
#[must_use]
pub fn splice(body: &Bytes, edits: &mut SmallVec<[Edit; 4]>) -> Slices {
    edits.sort_by_key(|edit| edit.span.start);
    let mut slices = Slices::default();
    let mut done = 0;
    for edit in edits.iter() {
        if edit.span.start < done || edit.span.end < edit.span.start || edit.span.end > body.len() {
            continue;
        }
        slices.push(body.slice(done..edit.span.start));
        slices.push(edit.text.clone());
        done = edit.span.end;
    }
    slices.push(body.slice(done..));
    if slices.parts.len() > 1 && slices.length < FLATTEN_BELOW { slices.flattened() } else { slices }
}

/// What makes a stream report its usage in a chunk of its own (OpenAI, chat/completions and completions:
/// `stream_options.include_usage`); `None` if the client asked for it, or the call has no such option.
#[must_use]
pub fn ask_for_usage(peek: &Peek) -> Option<Edit> {
    if !peek.stream || !matches!(peek.endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
        return None;
    }
    match &peek.stream_options {
        StreamOptions::Absent => {
            Some(Edit::insert(peek.object_start, &b"\"stream_options\":{\"include_usage\":true},"[..]))
        }
        StreamOptions::Null { span } => Some(Edit::replace(span, &b"{\"include_usage\":true}"[..])),
        StreamOptions::Object { include_usage: Some((Some(true), _)), .. } => None,
        StreamOptions::Object { include_usage: Some((_, value)), .. } => Some(Edit::replace(value, &b"true"[..])),
        StreamOptions::Object { empty: true, insert_at, .. } => {
            Some(Edit::insert(*insert_at, &b"\"include_usage\":true"[..]))
        }
        StreamOptions::Object { insert_at, .. } => Some(Edit::insert(*insert_at, &b"\"include_usage\":true,"[..])),
    }
}

/// Asks for another model, also where the body names none.
#[must_use]
pub fn rename_model(peek: &Peek, new: &str) -> Edit {
    let name = quoted(new);
    match &peek.model_span {
        Some(span) => Edit::replace(span, name),
        None if peek.object_empty => Edit::insert(peek.object_start, format!("\"model\":{name}")),
        None => Edit::insert(peek.object_start, format!("\"model\":{name},")),
    }
}

/// Asks for another model in a form; where the form names none, by a part of its own before the first.
#[must_use]
pub fn rename_model_in_form(head: &FormHead, boundary: &Boundary, new: &str) -> Edit {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    if let Some(span) = &head.model_span {
        return Edit::replace(&(place(span.start)..place(span.end)), new.to_owned());
    }
    let disposition = "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
    Edit::insert(0, [b"--", boundary.as_bytes(), disposition.as_bytes(), new.as_bytes(), b"\r\n"].concat())
}

/// Puts a cap in where the endpoint's own parameters name none (`enforce_cap`); `None` if one does, or nothing is generated.
///
/// A key that is there and names no cap gets the value, so that it does not stand twice; else the endpoint's present spelling
/// is added: `max_completion_tokens` (chat), `max_tokens` (completions), `max_output_tokens` (Responses). A cap under a key
/// that the endpoint does not read binds nobody and does not count.
#[must_use]
pub fn cap_output(peek: &Peek, endpoint: Endpoint, cap: u64) -> Option<Edit> {
    let (name, own): (&str, [Option<&Cap>; 2]) = match endpoint {
        Endpoint::ChatCompletions => {
            ("max_completion_tokens", [peek.caps.max_completion_tokens.as_ref(), peek.caps.max_tokens.as_ref()])
        }
        Endpoint::Completions => ("max_tokens", [peek.caps.max_tokens.as_ref(), None]),
        Endpoint::Responses => ("max_output_tokens", [peek.caps.max_output_tokens.as_ref(), None]),
        _ => return None,
    };
    let mut present = own.into_iter().flatten();
    if present.clone().any(|cap| cap.tokens.is_some()) {
        return None;
    }
    Some(match present.next() {
        Some(empty) => Edit::replace(&empty.span, cap.to_string()),
        None => Edit::insert(peek.object_start, format!("\"{name}\":{cap},")),
    })
}

/// Lowers every cap that names more than `most` to it, under whatever key: then none is left that binds less.
pub fn lower_caps(peek: &Peek, most: u64) -> impl Iterator<Item = Edit> {
    let caps = [&peek.caps.max_tokens, &peek.caps.max_completion_tokens, &peek.caps.max_output_tokens];
    let above = caps.into_iter().flatten().filter(move |cap| cap.tokens.is_some_and(|tokens| tokens > most));
    above.map(move |cap| Edit::replace(&cap.span, most.to_string()))
}

/// A JSON string of `text` (RFC 8259 7): quote, backslash and control characters escaped, the rest as it is.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\0'..='\u{1f}' => {
                let digit = |n: u32| char::from_digit(n, 16).unwrap_or('0');
                quoted.extend(['\\', 'u', '0', '0', digit(c as u32 >> 4), digit(c as u32 & 15)]);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
