//! Says of each parameter at top level what is done with its value: decided on, counted as text, or passed over.
//!
//! Must not know how a value is read.

use crate::wire::endpoint::Endpoint;

use super::value::Scope;

/// Keys that decide about a call: a look-alike of one is refused (5-reliability.md 4a).
pub(super) const POLICY_KEYS: [&str; 19] = [
    "model",
    "stream",
    "stream_options",
    "stream_format",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "prompt",
    "input",
    "messages",
    "tools",
    "user",
    "service_tier",
    "background",
    "store",
    "previous_response_id",
    "conversation",
];

/// Parameters that OpenAI's newer image models have and `dall-e-2` has not. Where one is used, `dall-e-2` is not the default
/// for a model that is not named (OpenAI's reference, images: "defaults to" is so qualified), and which one is is not said.
pub(in crate::wire) const NEWER_IMAGE_KEYS: [&str; 7] =
    ["background", "input_fidelity", "moderation", "output_compression", "output_format", "partial_images", "stream"];

/// A parameter at top level, by what we do with its value.
pub(super) enum Field {
    Model,
    Stream,
    StreamOptions,
    /// `n`, `best_of`.
    Choices(&'static str),
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    /// `prompt` of completions, `input` of embeddings.
    Prompts,
    Store,
    PreviousResponseId,
    Conversation,
    Background,
    ServiceTier,
    /// `stream_format` of speech.
    StreamFormat,
    /// Anything else.
    Counted(Scope),
}

impl Field {
    /// What is done with the value of `name`.
    pub(super) fn of(name: &str, endpoint: Endpoint) -> Self {
        if let Some(scope) = media_scope(name, endpoint) {
            return Field::Counted(scope);
        }
        match name {
            "model" => Field::Model,
            "stream" => Field::Stream,
            "stream_options" => Field::StreamOptions,
            "stream_format" if endpoint == Endpoint::Speech => Field::StreamFormat,
            "n" => Field::Choices("n"),
            "best_of" => Field::Choices("best_of"),
            "max_tokens" => Field::MaxTokens,
            "max_completion_tokens" => Field::MaxCompletionTokens,
            "max_output_tokens" => Field::MaxOutputTokens,
            "prompt" if endpoint == Endpoint::Completions => Field::Prompts,
            "input" if endpoint == Endpoint::Embeddings => Field::Prompts,
            "store" => Field::Store,
            "previous_response_id" => Field::PreviousResponseId,
            "conversation" => Field::Conversation,
            "background" => Field::Background,
            "service_tier" => Field::ServiceTier,
            "query" | "documents" | "questions" => Field::Counted(Scope::Content),
            "messages" | "input" | "prompt" => Field::Counted(Scope::Content),
            "tools" | "functions" | "response_format" | "text" => Field::Counted(Scope::Schema),
            "user"
            | "metadata"
            | "safety_identifier"
            | "prompt_cache_key"
            | "prompt_cache_retention"
            | "encoding_format"
            | "include"
            | "modalities"
            | "audio"
            | "stop"
            | "truncation"
            | "verbosity"
            | "reasoning_effort"
            | "reasoning"
            | "tool_choice"
            | "function_call"
            | "logit_bias" => Field::Counted(Scope::Silent),
            _ => Field::Counted(Scope::Text),
        }
    }
}

/// Parameters that in images and speech are something else than where text is written: none of them is text that a model reads.
fn media_scope(name: &str, endpoint: Endpoint) -> Option<Scope> {
    let (images, speech) = (endpoint.makes_images(), endpoint == Endpoint::Speech);
    if !images && !speech {
        return None;
    }
    match name {
        "image" | "images" | "mask" if images => Some(Scope::Files),
        "background" | "size" | "quality" | "style" | "moderation" | "output_format" | "input_fidelity" if images => {
            Some(Scope::Silent)
        }
        "voice" if speech => Some(Scope::Silent),
        "response_format" => Some(Scope::Silent),
        _ => None,
    }
}
