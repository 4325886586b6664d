//! Says what an answer used, in the words of each family of endpoints and with the figures that were asked for.
//!
//! Must not know where in an answer it stands. Usage is what was said: see [`super::tokens`].

use super::faults::{Behaviour, Figures};
use serde::Serialize;

/// What one answer used, in tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
    figures: Figures,
}

/// `usage` of chat and completions.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

/// `usage` of responses, compaction and decisions.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ResponseUsage {
    input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens_details: Option<InputDetails>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    total_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

/// `usage` of embeddings and reranking.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct InputUsage {
    /// The input's tokens.
    pub(super) prompt_tokens: u64,
    /// The same.
    pub(super) total_tokens: u64,
}

impl InputUsage {
    /// So many tokens in, and none out.
    pub(super) fn new(input: u64) -> Self {
        InputUsage { prompt_tokens: input, total_tokens: input }
    }
}

impl Spent {
    /// `said` tokens by `choices` choices, in answer to `input` tokens.
    pub(super) fn new(behaviour: &Behaviour, input: u64, said: u64, choices: u64) -> Self {
        let reasoning = u64::from(behaviour.reasoning).saturating_mul(choices);
        Spent {
            input,
            cached: input.min(behaviour.cached.into()),
            output: said.saturating_add(reasoning),
            reasoning,
            figures: behaviour.figures,
        }
    }

    /// In the words of chat and completions.
    pub(super) fn chat(self) -> Usage {
        let full = !matches!(self.figures, Figures::Bare | Figures::TopReasoning);
        let prompt = PromptDetails { cached_tokens: self.cached, ..PromptDetails::default() };
        let completion = CompletionDetails { reasoning_tokens: self.reasoning, ..CompletionDetails::default() };
        Usage {
            prompt_tokens: self.input,
            completion_tokens: self.output,
            total_tokens: self.input.saturating_add(self.output),
            reasoning_tokens: (self.figures == Figures::TopReasoning).then_some(self.reasoning),
            prompt_tokens_details: full.then_some(prompt),
            completion_tokens_details: full.then_some(completion),
        }
    }

    /// In the words of responses, compaction and decisions.
    pub(super) fn response(self) -> ResponseUsage {
        let full = self.figures != Figures::Bare;
        let input = InputDetails { cached_tokens: self.cached, cache_write_tokens: 0 };
        ResponseUsage {
            input_tokens: self.input,
            input_tokens_details: full.then_some(input),
            output_tokens: self.output,
            output_tokens_details: full.then_some(OutputDetails { reasoning_tokens: self.reasoning }),
            total_tokens: self.input.saturating_add(self.output),
        }
    }
}
