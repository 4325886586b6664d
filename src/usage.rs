//! Says how many tokens a call took, and whether the upstream said so or we estimated it.
//!
//! Pure: knows no runtime, no HTTP, no clock.

pub mod counts;
pub mod details;
pub mod estimate;
pub mod json;
pub mod money;
pub mod price;
pub mod record;
pub(crate) mod shape;
mod tail;
pub(crate) mod walk;

pub use counts::{Anomalies, Anomaly};
pub use details::{Billed, Details, Tier};
pub use json::{BodyScanner, Reading, read};
pub use shape::Dialect;

/// The tokens of one call. Details are parts of their totals: `cached` within `input`, `reasoning` within `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read: the prompt.
    pub input: u64,
    /// The part of `input` that the upstream took from its prompt cache.
    pub cached: u64,
    /// Tokens written: the answer, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Input and output together: what a `tokens` limit counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Both together, each number with its like.
    #[must_use]
    pub fn plus(&self, other: &Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// Who counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The upstream reported the numbers.
    Reported,
    /// The upstream did not; they are ours.
    Estimated,
}

impl Source {
    /// The word in usage records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Reported => "reported",
            Source::Estimated => "estimated",
        }
    }
}
