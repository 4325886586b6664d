//! Answers `POST /v1/images/generations`, `/edits` and `/variations` with a tiny picture that the request alone decides.
//!
//! Must not know how the answer is sent. The picture has 8 by 8 points whatever size was asked for; that size and the
//! quality decide its tokens: one for each 64 by 64 points at low quality, four at medium, sixteen at high. Shapes:
//! OpenAI's API reference, "Images".

mod png;
mod read;

pub(super) use read::Asked;

use super::base64::base64;
use super::body::Reply;
use super::failure;
use super::faults::{Ending, Figures};
use super::framing;
use super::refusal::Refusal;
use super::{Plan, Stamp};
use bytes::Bytes;
use serde::Serialize;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Generation,
    Edit,
    Variation,
}

impl Work {
    /// What the names of its events begin with.
    fn stem(self) -> &'static str {
        match self {
            Work::Generation => "image_generation",
            Work::Edit | Work::Variation => "image_edit",
        }
    }
}

/// How a picture is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Base64,
    /// The older models: a URL that holds the picture itself, as nothing is kept to be fetched.
    DataUrl,
}

/// How good a picture is to be; it only costs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Low,
    Medium,
    High,
}

impl Quality {
    fn as_str(self) -> &'static str {
        match self {
            Quality::Low => "low",
            Quality::Medium => "medium",
            Quality::High => "high",
        }
    }

    /// Tokens for each 64 by 64 points.
    fn tokens(self) -> u64 {
        match self {
            Quality::Low => 1,
            Quality::Medium => 4,
            Quality::High => 16,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct Images {
    created: u64,
    background: &'static str,
    output_format: &'static str,
    quality: &'static str,
    size: String,
    data: Vec<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Image {
    B64Json(String),
    Url(String),
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Usage {
    total_tokens: u64,
    input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens_details: Option<Details>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Details {
    text_tokens: u64,
    image_tokens: u64,
}

#[derive(Serialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    b64_json: String,
    created_at: u64,
    size: String,
    quality: &'static str,
    background: &'static str,
    output_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_image_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

/// Makes the answer to what was asked.
pub(super) fn plan(asked: Asked, stamp: Stamp) -> Result<Plan, Refusal> {
    let behaviour = asked.behaviour;
    let reply = if asked.streamed { Reply::Events(events(asked, stamp)) } else { whole(&asked, stamp) };
    Ok(Plan { behaviour, reply })
}

impl Asked {
    /// Picture `number` of this request.
    fn picture(&self, number: u32) -> String {
        base64(png::picture(self.seed.and(&number.to_le_bytes())).into_iter())
    }

    fn usage(&self) -> Option<Option<Usage>> {
        if !self.has_usage {
            return None;
        }
        let blocks = u64::from(self.size.width.div_ceil(64)) * u64::from(self.size.height.div_ceil(64));
        let each = self.behaviour.tokens.map_or(blocks * self.quality.tokens(), u64::from);
        let output = each.saturating_mul(self.n.into());
        let input = self.text_tokens.saturating_add(self.image_tokens);
        let full = self.behaviour.figures != Figures::Bare;
        let details = |text_tokens, image_tokens| full.then_some(Details { text_tokens, image_tokens });
        self.behaviour.told(Usage {
            total_tokens: input.saturating_add(output),
            input_tokens: input,
            input_tokens_details: details(self.text_tokens, self.image_tokens),
            output_tokens: output,
            output_tokens_details: details(0, output),
        })
    }

    fn size(&self) -> String {
        format!("{}x{}", self.size.width, self.size.height)
    }
}

fn whole(asked: &Asked, stamp: Stamp) -> Reply {
    let image = |number| match asked.form {
        Form::Base64 => Image::B64Json(asked.picture(number)),
        Form::DataUrl => Image::Url(format!("data:image/png;base64,{}", asked.picture(number))),
    };
    Reply::json(&Images {
        created: stamp.created,
        background: "opaque",
        output_format: "png",
        quality: asked.quality.as_str(),
        size: asked.size(),
        data: (0..asked.n).map(image).collect(),
        usage: asked.usage(),
    })
}

/// The drafts, and the picture at last; or an error instead of it.
fn events(asked: Asked, stamp: Stamp) -> super::body::EventSource {
    let fault = match asked.behaviour.ending {
        Ending::ErrorEvent(kind) => Some(failure::events(kind, &asked.behaviour)),
        _ => None,
    };
    let drafts = asked.partial_images;
    let made = drafts + u32::from(fault.is_none());
    let event = move |number: u32| -> Bytes {
        let is_draft = number < drafts;
        let kind = format!("{}.{}", asked.work.stem(), if is_draft { "partial_image" } else { "completed" });
        let event = Event {
            b64_json: asked.picture(if is_draft { number + 1 } else { 0 }),
            created_at: stamp.created,
            size: asked.size(),
            quality: asked.quality.as_str(),
            background: "opaque",
            output_format: "png",
            partial_image_index: is_draft.then_some(number),
            usage: if is_draft { None } else { asked.usage() },
            kind,
        };
        framing::named(&event.kind, &event)
    };
    Box::new((0..made).map(event).chain(fault.into_iter().flatten()))
}
