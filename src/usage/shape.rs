//! Names the places in an answer where usage, generated text and a few other facts stand, for every dialect.
//!
//! Only tables: must not know how JSON is read. A new dialect is a few more nodes here.

use super::counts::Field;
use crate::wire::endpoint::Endpoint;

/// The kind of answer that an endpoint gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `chat/completions`: `choices[].delta` or `choices[].message`.
    Chat,
    /// `completions`: `choices[].text`.
    Completions,
    /// `responses`, `responses/compact`, `decisions`: typed events, or one object with `output` and `usage`.
    Responses,
    /// `embeddings`, `rerank`, `moderations`: numbers, and usage where the upstream gives some (`usage`, or Cohere's
    /// `meta.tokens` and `meta.billed_units`); no text, never a stream.
    Embeddings,
    /// `responses/input_tokens`: its `input_tokens` is what was asked for, not what was used, so it is not read as usage:
    /// counting generates nothing and is charged as a request without tokens. A `usage` beside it would be.
    Count,
    /// `images/*`: `usage`, with `svg_usage` to be added to it; typed events.
    Images,
    /// `audio/speech` as events; the sound itself is no document.
    Speech,
    /// `audio/transcriptions` and `audio/translations`: text, with usage in tokens or in seconds; typed events.
    Transcription,
}

impl Dialect {
    /// The dialect of an endpoint's answers; none where nothing is metered.
    #[must_use]
    pub fn of(endpoint: Endpoint) -> Option<Dialect> {
        match endpoint {
            Endpoint::ChatCompletions => Some(Dialect::Chat),
            Endpoint::Completions => Some(Dialect::Completions),
            Endpoint::Responses | Endpoint::Compact | Endpoint::Decisions => Some(Dialect::Responses),
            Endpoint::InputTokens => Some(Dialect::Count),
            Endpoint::Embeddings | Endpoint::Moderations | Endpoint::Rerank => Some(Dialect::Embeddings),
            Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => Some(Dialect::Images),
            Endpoint::Speech => Some(Dialect::Speech),
            Endpoint::Transcriptions | Endpoint::Translations => Some(Dialect::Transcription),
            Endpoint::Models | Endpoint::Model => None,
        }
    }

    /// What the JSON of one streamed event is.
    pub(crate) fn event(self) -> Node {
        match self {
            Dialect::Chat | Dialect::Completions => Node::Completion,
            Dialect::Responses => Node::ResponseEvent,
            Dialect::Embeddings | Dialect::Count => Node::Embeddings,
            Dialect::Images | Dialect::Speech | Dialect::Transcription => Node::MediaEvent,
        }
    }

    /// What a whole JSON answer is.
    pub(crate) fn body(self) -> Node {
        match self {
            Dialect::Chat | Dialect::Completions => Node::Completion,
            Dialect::Responses => Node::Response,
            Dialect::Embeddings | Dialect::Count => Node::Embeddings,
            Dialect::Images | Dialect::Speech | Dialect::Transcription => Node::Media,
        }
    }

    /// Whether the stream can hold a usage chunk with empty `choices`.
    pub(crate) fn has_usage_chunk(self) -> bool {
        matches!(self, Dialect::Chat | Dialect::Completions)
    }

    /// Whether `usage` and `model` at the root are all that a whole answer says of what it took.
    pub(crate) fn is_told_at_the_root(self) -> bool {
        matches!(self, Dialect::Chat | Dialect::Completions | Dialect::Responses | Dialect::Embeddings)
    }
}

/// A container that is read, not skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// An answer or event of chat and completions.
    Completion,
    Choices,
    Choice,
    /// A `delta` or `message`.
    Message,
    ToolCalls,
    ToolCall,
    Function,
    /// Content in blocks: `[{"type":"text","text":…}]`, also thinking blocks.
    Blocks,
    Block,
    Audio,
    /// An event of a Responses stream.
    ResponseEvent,
    /// A response object.
    Response,
    Items,
    Item,
    Parts,
    Part,
    Embeddings,
    /// What Cohere's answers call `meta`.
    Meta,
    /// An answer about images or sound.
    Media,
    /// An event of such an answer.
    MediaEvent,
    /// The images of an answer.
    Images,
    /// An object that holds usage of its own: `x_groq`.
    UsageHolder,
    Usage,
    /// Usage that stands in a choice: of use only where there is none at its own place.
    ChoiceUsage,
    /// Usage of a second model, not contained in the first one's.
    SvgUsage,
    InputDetails,
    OutputDetails,
}

/// What the value at a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing: skipped, whatever it is.
    Skip,
    /// A container with something in it.
    Enter(Node),
    /// Generated text.
    Text,
    /// Generated text that may have come before in pieces: the output inside a response object.
    WholeText,
    /// Generated text if the event's type says so: a Responses `delta`.
    Delta,
    /// Text, or a list of blocks with text.
    TextOrBlocks,
    /// A number of a usage object.
    Count(Field),
    /// The event's `type`.
    Kind,
    /// The event's `sequence_number`.
    Sequence,
    /// The model that answers.
    Model,
    /// The service tier.
    Tier,
    /// The response's id.
    Id,
    /// The response's creation time.
    Created,
    /// Which choice this is.
    Index,
    /// Why a choice ended; null or empty while it goes on.
    Finish,
    /// A string that differs from event to event and says nothing: padding.
    Pad,
    /// An error if it is not null.
    Error,
    /// An image.
    Image,
    /// How long the sound was that the answer is about, in seconds.
    Duration,
}

impl Node {
    pub(crate) fn is_array(self) -> bool {
        matches!(self, Node::Choices | Node::ToolCalls | Node::Blocks | Node::Items | Node::Parts | Node::Images)
    }

    /// What the elements of a list are for.
    pub(crate) fn element(self) -> Act {
        match self {
            Node::Choices => Act::Enter(Node::Choice),
            Node::ToolCalls => Act::Enter(Node::ToolCall),
            Node::Blocks => Act::Enter(Node::Block),
            Node::Items => Act::Enter(Node::Item),
            Node::Parts => Act::Enter(Node::Part),
            Node::Images => Act::Image,
            _ => Act::Skip,
        }
    }

    /// What the member of an object is for.
    pub(crate) fn member(self, key: &[u8]) -> Act {
        match self {
            Node::Completion => completion(key),
            Node::Choice => choice(key),
            Node::Message => message(key),
            Node::ToolCall => match key {
                b"function" | b"custom" => Act::Enter(Node::Function),
                _ => Act::Skip,
            },
            Node::Function => match key {
                b"arguments" | b"input" | b"name" => Act::Text,
                _ => Act::Skip,
            },
            Node::Block => match key {
                b"text" | b"refusal" => Act::Text,
                b"thinking" => Act::TextOrBlocks,
                _ => Act::Skip,
            },
            Node::Audio => match key {
                b"transcript" => Act::Text,
                _ => Act::Skip,
            },
            Node::ResponseEvent => response_event(key),
            Node::Response => response(key),
            Node::Item => match key {
                b"content" | b"summary" => Act::Enter(Node::Parts),
                b"arguments" | b"code" | b"input" | b"name" => Act::WholeText,
                _ => Act::Skip,
            },
            Node::Part => match key {
                b"text" | b"refusal" | b"transcript" => Act::WholeText,
                _ => Act::Skip,
            },
            Node::Embeddings => match key {
                b"usage" => Act::Enter(Node::Usage),
                b"meta" => Act::Enter(Node::Meta),
                b"model" => Act::Model,
                b"error" => Act::Error,
                _ => Act::Skip,
            },
            Node::Meta => match key {
                b"tokens" | b"billed_units" => Act::Enter(Node::Usage),
                _ => Act::Skip,
            },
            Node::Media => media(key),
            Node::MediaEvent => media_event(key),
            Node::UsageHolder => match key {
                b"usage" => Act::Enter(Node::Usage),
                _ => Act::Skip,
            },
            Node::Usage | Node::ChoiceUsage => usage(key),
            Node::SvgUsage => svg_usage(key),
            Node::InputDetails => match key {
                b"cached_tokens" => Act::Count(Field::CachedDetail),
                b"cache_write_tokens" => Act::Count(Field::CacheWrite),
                b"audio_tokens" => Act::Count(Field::AudioInput),
                b"image_tokens" => Act::Count(Field::ImageInput),
                _ => Act::Skip,
            },
            Node::OutputDetails => match key {
                b"reasoning_tokens" => Act::Count(Field::ReasoningDetail),
                b"audio_tokens" => Act::Count(Field::AudioOutput),
                b"image_tokens" => Act::Count(Field::ImageOutput),
                _ => Act::Skip,
            },
            Node::Choices | Node::ToolCalls | Node::Blocks | Node::Items | Node::Parts | Node::Images => Act::Skip,
        }
    }
}

fn completion(key: &[u8]) -> Act {
    match key {
        b"choices" => Act::Enter(Node::Choices),
        b"usage" => Act::Enter(Node::Usage),
        b"x_groq" => Act::Enter(Node::UsageHolder),
        b"model" => Act::Model,
        b"service_tier" => Act::Tier,
        b"obfuscation" => Act::Pad,
        b"error" => Act::Error,
        _ => Act::Skip,
    }
}

fn choice(key: &[u8]) -> Act {
    match key {
        b"delta" | b"message" => Act::Enter(Node::Message),
        b"text" => Act::Text,
        b"index" => Act::Index,
        b"finish_reason" => Act::Finish,
        b"usage" => Act::Enter(Node::ChoiceUsage),
        _ => Act::Skip,
    }
}

fn message(key: &[u8]) -> Act {
    match key {
        b"content" => Act::TextOrBlocks,
        b"reasoning" | b"reasoning_content" | b"refusal" => Act::Text,
        b"tool_calls" => Act::Enter(Node::ToolCalls),
        b"function_call" => Act::Enter(Node::Function),
        b"audio" => Act::Enter(Node::Audio),
        _ => Act::Skip,
    }
}

fn response_event(key: &[u8]) -> Act {
    match key {
        b"type" => Act::Kind,
        b"sequence_number" => Act::Sequence,
        b"delta" => Act::Delta,
        b"obfuscation" => Act::Pad,
        b"response" => Act::Enter(Node::Response),
        b"usage" => Act::Enter(Node::Usage),
        b"error" => Act::Error,
        _ => Act::Skip,
    }
}

fn response(key: &[u8]) -> Act {
    match key {
        b"id" => Act::Id,
        b"created_at" => Act::Created,
        b"model" => Act::Model,
        b"service_tier" => Act::Tier,
        b"output" => Act::Enter(Node::Items),
        b"usage" => Act::Enter(Node::Usage),
        b"error" => Act::Error,
        _ => Act::Skip,
    }
}

/// What images and transcriptions say: `duration` and `text` are of a `verbose_json` transcription.
fn media(key: &[u8]) -> Act {
    match key {
        b"data" => Act::Enter(Node::Images),
        b"text" => Act::Text,
        b"duration" => Act::Duration,
        b"usage" => Act::Enter(Node::Usage),
        b"svg_usage" => Act::Enter(Node::SvgUsage),
        b"model" => Act::Model,
        b"service_tier" => Act::Tier,
        b"error" => Act::Error,
        _ => Act::Skip,
    }
}

/// The last event repeats the whole text of a transcription.
fn media_event(key: &[u8]) -> Act {
    match key {
        b"type" => Act::Kind,
        b"delta" => Act::Delta,
        b"text" => Act::WholeText,
        b"obfuscation" => Act::Pad,
        b"usage" => Act::Enter(Node::Usage),
        b"svg_usage" => Act::Enter(Node::SvgUsage),
        b"model" => Act::Model,
        b"service_tier" => Act::Tier,
        b"error" => Act::Error,
        _ => Act::Skip,
    }
}

/// In the official SDK's spelling, and in the short one.
fn svg_usage(key: &[u8]) -> Act {
    match key {
        b"input" => Act::Count(Field::Input),
        b"output" => Act::Count(Field::Output),
        b"reasoning" => Act::Count(Field::ReasoningTop),
        b"total" => Act::Count(Field::Total),
        other => usage(other),
    }
}

fn usage(key: &[u8]) -> Act {
    match key {
        b"prompt_tokens" => Act::Count(Field::Prompt),
        b"input_tokens" => Act::Count(Field::Input),
        b"completion_tokens" => Act::Count(Field::Completion),
        b"output_tokens" => Act::Count(Field::Output),
        b"total_tokens" => Act::Count(Field::Total),
        b"cached_tokens" | b"prompt_cache_hit_tokens" => Act::Count(Field::CachedTop),
        b"reasoning_tokens" => Act::Count(Field::ReasoningTop),
        b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => Act::Enter(Node::InputDetails),
        b"seconds" => Act::Count(Field::Seconds),
        b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
            Act::Enter(Node::OutputDetails)
        }
        _ => Act::Skip,
    }
}
