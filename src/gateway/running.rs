//! Holds what is in force: one immutable value, made whole from a configuration and swapped whole.
//!
//! Must not know the file it came from.

use std::sync::Arc;

use http::HeaderName;

use super::memory::Gate;
use super::receive::Bounds;
use super::reveal::Reveal;
use crate::routing::RouteTable;
use crate::routing::prices::PriceTable;
use crate::tenant::directory::Directory;
use crate::upstream::Upstream;
use crate::wire::peek::Rules;

/// One generation of the running configuration.
pub struct Running {
    /// Counted from 1.
    pub generation: u64,
    /// Who may call.
    pub directory: Directory,
    /// Where calls go.
    pub routes: RouteTable,
    /// Who answers them.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Where calls go whose path is not known; `None`: they are refused.
    pub unknown_paths: Option<Arc<Upstream>>,
    /// What calls cost; the routes hold the same table.
    pub prices: Arc<PriceTable>,
    /// How large bodies may be.
    pub bounds: Bounds,
    /// What bounds the bytes that are held for all calls together; `None`: nothing.
    pub memory: Option<Gate>,
    /// How strictly bodies are read.
    pub rules: Rules,
    /// Unix seconds from which it is in force: `created` in the model list.
    pub since: i64,
    /// Whether each call gets a log line.
    pub log_calls: bool,
    /// The header whose value goes into records as their tag.
    pub tag: Option<HeaderName>,
    /// What answers tell of how they came about.
    pub reveal: Reveal,
}

impl Running {
    /// The upstream of this name.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| *upstream.name == *name)
    }
}
