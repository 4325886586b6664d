//! Finds which API operation a path means, from a table; never by normalising the path in general.
//!
//! Must not know what is done with an endpoint.

use std::borrow::Cow;

use http::Method;

use crate::wire::model_name;

/// An API operation that is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/responses/input_tokens`
    InputTokens,
    /// `POST /v1/responses/compact`
    Compact,
    /// `POST /v1/decisions`
    Decisions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/rerank`
    Rerank,
    /// `POST /v1/images/generations`
    ImageGenerations,
    /// `POST /v1/images/edits`
    ImageEdits,
    /// `POST /v1/images/variations`
    ImageVariations,
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/audio/transcriptions`
    Transcriptions,
    /// `POST /v1/audio/translations`
    Translations,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model,
}

/// What kind of work an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// One call is one inference: limited, metered, sent to an upstream.
    Inference,
    /// Answered from the configuration.
    ModelList,
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Takes {
    /// There is none.
    Nothing,
    /// A JSON object.
    Json,
    /// A form with files in it (`multipart/form-data`, RFC 7578).
    Form,
    /// Either; the content type tells.
    JsonOrForm,
}

/// What is known of an endpoint; everything else that differs between endpoints follows from a row here.
#[derive(Clone, Copy, Debug)]
struct Row {
    endpoint: Endpoint,
    path: &'static str,
    class: Class,
    takes: Takes,
    generates: bool,
}

impl Row {
    const fn plain(endpoint: Endpoint, path: &'static str, takes: Takes) -> Self {
        Row { endpoint, path, class: Class::Inference, takes, generates: false }
    }

    const fn generating(endpoint: Endpoint, path: &'static str, takes: Takes) -> Self {
        Row { generates: true, ..Row::plain(endpoint, path, takes) }
    }

    const fn listing(endpoint: Endpoint, path: &'static str) -> Self {
        Row { class: Class::ModelList, ..Row::plain(endpoint, path, Takes::Nothing) }
    }
}

/// The table, in the order of [`Endpoint`].
const TABLE: [Row; 17] = [
    Row::generating(Endpoint::ChatCompletions, "chat/completions", Takes::Json),
    Row::generating(Endpoint::Completions, "completions", Takes::Json),
    Row::generating(Endpoint::Responses, "responses", Takes::Json),
    Row::plain(Endpoint::InputTokens, "responses/input_tokens", Takes::Json),
    Row::generating(Endpoint::Compact, "responses/compact", Takes::Json),
    Row::generating(Endpoint::Decisions, "decisions", Takes::Json),
    Row::plain(Endpoint::Embeddings, "embeddings", Takes::Json),
    Row::plain(Endpoint::Moderations, "moderations", Takes::Json),
    Row::plain(Endpoint::Rerank, "rerank", Takes::Json),
    Row::plain(Endpoint::ImageGenerations, "images/generations", Takes::Json),
    Row::plain(Endpoint::ImageEdits, "images/edits", Takes::JsonOrForm),
    Row::plain(Endpoint::ImageVariations, "images/variations", Takes::Form),
    Row::plain(Endpoint::Speech, "audio/speech", Takes::Json),
    Row::plain(Endpoint::Transcriptions, "audio/transcriptions", Takes::Form),
    Row::plain(Endpoint::Translations, "audio/translations", Takes::Form),
    Row::listing(Endpoint::Models, "models"),
    Row::listing(Endpoint::Model, "models/{id}"),
];

impl Endpoint {
    /// Every endpoint, in the order of its declaration.
    pub const ALL: [Endpoint; TABLE.len()] = {
        let mut all = [Endpoint::Models; TABLE.len()];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = TABLE[at].endpoint;
            at += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The bounded word for metrics and usage records, which is the upstream's path too.
    #[must_use]
    pub fn path(self) -> &'static str {
        self.row().path
    }

    /// What kind of work it is.
    #[must_use]
    pub fn class(self) -> Class {
        self.row().class
    }

    /// What its request's body is.
    #[must_use]
    pub fn takes(self) -> Takes {
        self.row().takes
    }

    /// Whether its answer is generated text, so that output has a cap and is reserved.
    #[must_use]
    pub fn generates(self) -> bool {
        self.row().generates
    }

    /// The model that answers where a body names none, as OpenAI's reference documents it; `None` where every call must name
    /// one. For images it holds only while no parameter is used that this model has not.
    #[must_use]
    pub fn default_model(self) -> Option<&'static str> {
        match self {
            Endpoint::Moderations => Some("omni-moderation-latest"),
            Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => Some("dall-e-2"),
            _ => None,
        }
    }

    /// Whether its answer is images.
    #[must_use]
    pub fn makes_images(self) -> bool {
        matches!(self, Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations)
    }

    /// Its methods, as an `Allow` header has them (RFC 9110 10.2.1).
    #[must_use]
    pub fn allow(self) -> &'static str {
        match self.class() {
            Class::Inference => "POST",
            Class::ModelList => "GET, HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        match self.class() {
            Class::Inference => method == Method::POST,
            Class::ModelList => method == Method::GET || method == Method::HEAD,
        }
    }
}

/// The endpoint of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The operation.
    pub endpoint: Endpoint,
    /// The name in `models/{id}`, percent-decoded once; [`model_name::fault`] has nothing against it.
    pub model_id: Option<Cow<'a, str>>,
}

/// Why a call is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotServed {
    /// The table has no such path (404 `unknown_url`).
    UnknownPath,
    /// An operation of OpenAI's API that relies on kept state (404 `stateful_not_served`).
    Stateful,
    /// The path is served, by other methods (405).
    Method {
        /// Those methods, for the `Allow` header.
        allow: &'static str,
    },
}

/// Finds the endpoint that a raw path (as it came, without its query) means.
///
/// Accepted are the table's paths, exactly as spelled, with or without `/v1`, with slashes repeated or at the end. Nothing is
/// decoded but the id of `models/{id}`, once. Methods are as sent: headers that override them play no role.
///
/// # Errors
/// [`NotServed`] says what is wrong: path, kept state, or method.
pub fn find<'a>(method: &Method, raw_path: &'a str) -> Result<Found<'a>, NotServed> {
    let operation = Operation::of(raw_path).ok_or(NotServed::UnknownPath)?;
    if let Some(id) = operation.below("models") {
        return find_model(method, id);
    }
    let words = operation.words();
    let served = Endpoint::ALL.into_iter().find(|endpoint| words.clone().eq(endpoint.path().split('/')));
    match served {
        Some(endpoint) if endpoint.allows(method) => Ok(Found { endpoint, model_id: None }),
        // Lists stored chat completions.
        Some(Endpoint::ChatCompletions) if *method == Method::GET || *method == Method::HEAD => {
            Err(NotServed::Stateful)
        }
        Some(endpoint) => Err(NotServed::Method { allow: endpoint.allow() }),
        None if is_stateful(words) => Err(NotServed::Stateful),
        None => Err(NotServed::UnknownPath),
    }
}

/// Whether clients open WebSockets at this raw path: `responses` and `realtime`. Whether *this* call asks for one is for the
/// caller to see.
#[must_use]
pub fn is_upgradable(raw_path: &str) -> bool {
    Operation::of(raw_path).is_some_and(|operation| {
        let mut words = operation.words();
        matches!(words.next(), Some("responses" | "realtime")) && words.next().is_none()
    })
}

/// A path below the API's root, raw.
struct Operation<'a> {
    rest: &'a str,
}

impl<'a> Operation<'a> {
    /// `None` if the path is not absolute.
    fn of(raw_path: &'a str) -> Option<Self> {
        let path = raw_path.strip_prefix('/')?.trim_start_matches('/');
        let rest = match path.strip_prefix("v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => path,
        };
        Some(Operation { rest })
    }

    /// Its segments, without the empty ones of repeated slashes.
    fn words(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.rest.split('/').filter(|word| !word.is_empty())
    }

    /// What stands below the segment `name`, raw, without slashes around it; `None` if it is nothing.
    fn below(&self, name: &str) -> Option<&'a str> {
        let below = self.rest.strip_prefix(name)?.strip_prefix('/')?.trim_matches('/');
        (!below.is_empty()).then_some(below)
    }
}

fn find_model<'a>(method: &Method, raw_id: &'a str) -> Result<Found<'a>, NotServed> {
    let id = model_id(raw_id).ok_or(NotServed::UnknownPath)?;
    if *method == Method::DELETE {
        return Err(NotServed::Stateful);
    }
    if !Endpoint::Model.allows(method) {
        return Err(NotServed::Method { allow: Endpoint::Model.allow() });
    }
    Ok(Found { endpoint: Endpoint::Model, model_id: Some(id) })
}

/// The name that an id in a path means; `None` where none can be meant: bad escapes, no UTF-8, dot segments, a backslash,
/// or a name that no model can have.
fn model_id(raw: &str) -> Option<Cow<'_, str>> {
    let id = if raw.contains('%') { Cow::Owned(percent_decoded(raw)?) } else { Cow::Borrowed(raw) };
    let dotted = id.split('/').any(|segment| segment == "." || segment == "..");
    (!dotted && !id.contains('\\') && model_name::fault(&id).is_none()).then_some(id)
}

/// RFC 3986 2.1, once: what it gives may look like escapes again and stays.
fn percent_decoded(raw: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Operations that rely on kept state, whatever the method, by their first segments (4-wire-contract.md 1.2). Administrative
/// ones (organization, projects, webhook_endpoints, safety) are not among them: they are never served.
const STATEFUL_FAMILIES: [&str; 17] = [
    "agents",
    "assistants",
    "batches",
    "chatkit",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "live",
    "realtime",
    "skills",
    "threads",
    "uploads",
    "vaults",
    "vector_stores",
    "videos",
];

fn is_stateful<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    let Some(first) = words.next() else { return false };
    if STATEFUL_FAMILIES.contains(&first) {
        return true;
    }
    let (second, third, more) = (words.next(), words.next(), words.next().is_some());
    match (first, second, third) {
        ("audio", Some("voices" | "voice_consents"), _) => true,
        ("chat", Some("completions"), Some(_)) => true,
        // Stateless operations that have no id in that place.
        ("responses", Some("input_tokens" | "compact"), _) => false,
        ("responses", Some(_), None | Some("cancel" | "input_items")) => !more,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
