//! Knows the dialects of upstreams: where an endpoint's path stands under a base URI and how a credential is shown.
//!
//! Pure: given values, it shapes a request; it never sends one.

/// Dialects that the configuration's reference names and this version does not speak.
pub const LATER: &[&str] = &["azure", "bedrock"];

/// Ways to a credential that the configuration's reference names and this version does not know.
pub const LATER_CREDENTIALS: &[&str] = &["workload-identity", "aws"];

/// A vendor's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI's own API.
    OpenAi,
    /// Any server that speaks OpenAI's dialect under a base URL.
    Compatible,
    /// The built-in upstream.
    Simulator,
}

impl Provider {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Compatible => "compatible",
            Provider::Simulator => "simulator",
        }
    }

    /// Whether `OpenAI-Beta` means anything to it; others may refuse a header that they do not know.
    #[must_use]
    pub fn takes_beta_headers(self) -> bool {
        match self {
            Provider::OpenAi => true,
            Provider::Compatible | Provider::Simulator => false,
        }
    }
}
