//! Reads what the three image endpoints are asked, from JSON or from a form.
//!
//! Must not know how pictures are made.

use super::super::faults::Behaviour;
use super::super::form::Form as Fields;
use super::super::refusal::Refusal;
use super::super::text::Seed;
use super::super::{request, tokens};
use super::{Form, Quality, Size, Work};
use serde::Deserialize;
use serde_json::Value;

/// Pictures of one request at most, as OpenAI's API reference says.
const MOST: u32 = 10;
/// Drafts of one streamed picture at most, as OpenAI's API reference says.
const MOST_DRAFTS: u32 = 3;
/// Tokens that a picture costs which is sent along.
const IMAGE_TOKENS: u64 = 85;
/// The longest side that can be asked for.
const LONGEST_SIDE: u32 = 8192;
/// The model of a request that names none, as OpenAI's API reference says.
const USUAL_MODEL: &str = "dall-e-2";

/// A request for pictures.
pub(in super::super) struct Asked {
    pub(super) work: Work,
    pub(super) behaviour: Behaviour,
    pub(super) seed: Seed,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) quality: Quality,
    pub(super) form: Form,
    pub(super) streamed: bool,
    pub(super) partial_images: u32,
    pub(super) text_tokens: u64,
    pub(super) image_tokens: u64,
    /// The older models report none, and neither do variations.
    pub(super) has_usage: bool,
}

#[derive(Default, Deserialize)]
struct Request {
    model: Option<String>,
    prompt: Option<String>,
    n: Option<i64>,
    size: Option<String>,
    quality: Option<String>,
    response_format: Option<String>,
    output_format: Option<String>,
    stream: Option<bool>,
    partial_images: Option<i64>,
    #[serde(default)]
    images: Vec<Value>,
}

impl Asked {
    /// `images/generations`.
    pub(in super::super) fn generation(body: &[u8]) -> Result<Self, Refusal> {
        let request: Request = request::read(body)?;
        Asked::new(Work::Generation, request, Seed::of(b"picture"), 0)
    }

    /// `images/edits` as JSON: pictures by URL.
    pub(in super::super) fn edit(body: &[u8]) -> Result<Self, Refusal> {
        let request: Request = request::read(body)?;
        if request.images.is_empty() {
            return Err(Refusal::missing("images"));
        }
        let count = request.images.len() as u64;
        let seed = request.images.iter().fold(Seed::of(b"edit"), |seed, image| seed.and(image.to_string().as_bytes()));
        Asked::new(Work::Edit, request, seed, count)
    }

    /// `images/edits` as a form: pictures as files.
    pub(in super::super) fn edit_form(form: &Fields) -> Result<Self, Refusal> {
        Asked::of_form(Work::Edit, form)
    }

    /// `images/variations`.
    pub(in super::super) fn variation(form: &Fields) -> Result<Self, Refusal> {
        Asked::of_form(Work::Variation, form)
    }

    fn of_form(work: Work, form: &Fields) -> Result<Self, Refusal> {
        let text = |field| form.text(field).map(str::to_owned);
        let request = Request {
            model: text("model"),
            prompt: text("prompt"),
            n: form.value("n")?,
            size: text("size"),
            quality: text("quality"),
            response_format: text("response_format"),
            output_format: text("output_format"),
            stream: form.value("stream")?,
            partial_images: form.value("partial_images")?,
            images: Vec::new(),
        };
        let (mut seed, mut count) = (Seed::of(b"edit"), 0);
        for file in form.files("image").chain(form.files("mask")) {
            seed = seed.and(&file.head).and(&file.size.to_le_bytes());
            count += 1;
        }
        if form.files("image").next().is_none() {
            return Err(Refusal::missing("image"));
        }
        Asked::new(work, request, seed, count)
    }

    fn new(work: Work, request: Request, images: Seed, image_count: u64) -> Result<Self, Refusal> {
        let (model, behaviour) = Behaviour::optional(request.model, USUAL_MODEL)?;
        let prompt = match request.prompt {
            Some(prompt) => prompt,
            None if work == Work::Variation => String::new(),
            None => return Err(Refusal::missing("prompt")),
        };
        let is_old = model.starts_with("dall-e");
        let form = match request.response_format.as_deref() {
            Some("b64_json") => Form::Base64,
            Some("url") => Form::DataUrl,
            None if is_old => Form::DataUrl,
            None => Form::Base64,
            Some(_) => return Err(Refusal::value("response_format", "'response_format' is 'b64_json' or 'url'.")),
        };
        if request.output_format.is_some_and(|format| format != "png") {
            return Err(Refusal::value("output_format", "The simulator draws PNG alone. Leave 'output_format' out."));
        }
        let streamed = request.stream.unwrap_or(false) && work != Work::Variation;
        let n = bounded("n", request.n, 1, 1..=MOST)?;
        if streamed && n > 1 {
            return Err(Refusal::value("n", "The simulator streams one picture at a time."));
        }
        Ok(Asked {
            work,
            behaviour,
            seed: images.and(prompt.as_bytes()),
            n,
            size: size(request.size.as_deref())?,
            quality: quality(request.quality.as_deref())?,
            form,
            streamed,
            partial_images: bounded("partial_images", request.partial_images, 0, 0..=MOST_DRAFTS)?,
            text_tokens: tokens::count(&prompt),
            image_tokens: image_count.saturating_mul(IMAGE_TOKENS),
            has_usage: !is_old && work != Work::Variation,
        })
    }
}

fn bounded(
    param: &'static str,
    given: Option<i64>,
    usual: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, Refusal> {
    let (least, most) = (*range.start(), *range.end());
    let fits = given.map_or(Some(usual), |given| u32::try_from(given).ok()).filter(|given| range.contains(given));
    fits.ok_or_else(|| Refusal::value(param, format!("Invalid '{param}': it must be from {least} to {most}.")))
}

fn size(given: Option<&str>) -> Result<Size, Refusal> {
    let Some(given) = given.filter(|given| *given != "auto") else { return Ok(Size { width: 1024, height: 1024 }) };
    let read = || {
        let (width, height) = given.split_once('x')?;
        let size = Size { width: width.parse().ok()?, height: height.parse().ok()? };
        [size.width, size.height].iter().all(|side| (1..=LONGEST_SIDE).contains(side)).then_some(size)
    };
    read().ok_or_else(|| Refusal::value("size", "'size' is 'auto' or of the form '1024x1024'."))
}

fn quality(given: Option<&str>) -> Result<Quality, Refusal> {
    match given {
        None | Some("auto" | "medium" | "standard") => Ok(Quality::Medium),
        Some("low") => Ok(Quality::Low),
        Some("high" | "hd" | "xhigh" | "max") => Ok(Quality::High),
        Some(_) => Err(Refusal::value("quality", "'quality' is 'low', 'medium', 'high' or 'auto'.")),
    }
}
