//! Holds what a plan lets a call ask for, beside how much of it.
//!
//! Must not know what a call asks: `gateway::policy` holds the two together.

/// What the calls of a plan may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The most output tokens of one answer; `None`: any number.
    pub max_output_tokens: Option<u64>,
    /// What happens to a call that asks for more.
    pub excess: Excess,
    /// The most answers of one call; `None`: any number.
    pub max_choices: Option<u64>,
    /// The service tiers that may be named; `None`: every one.
    pub service_tiers: Option<Vec<Box<str>>>,
}

/// What happens to a call that asks for more output than its plan allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// It is refused.
    #[default]
    Refused,
    /// It gets what the plan allows; so does a call that names no cap.
    Clamped,
}
