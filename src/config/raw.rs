//! Mirrors the checked file field by field, with the place of whatever a later message may have to point at.
//!
//! Seen by `config` alone. Knows no meaning: only [`super::resolve`] makes something of it. Defaults are already in the tree,
//! so what is an `Option` here may really be absent (or was taken out as faulty).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_spanned::Spanned;

use super::rate;
use crate::limits::Quota;
use crate::usage::price;

/// Tables with names that the operator chose.
pub(super) type Named<T> = BTreeMap<Spanned<String>, T>;

#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) admin: Admin,
    #[serde(default)]
    pub(super) plans: Named<Plan>,
    #[serde(default)]
    pub(super) tenants: Named<Tenant>,
    #[serde(default)]
    pub(super) upstreams: Named<Upstream>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<Route>>,
    #[serde(default)]
    pub(super) prices: Named<Prices>,
    pub(super) records: Records,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
}

#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) listen: Spanned<SocketAddr>,
    pub(super) anonymous: Option<Spanned<String>>,
    pub(super) anonymous_anywhere: bool,
    #[serde(default)]
    pub(super) allow_origins: Vec<String>,
    pub(super) max_body: Whole,
    pub(super) max_upload: Whole,
    pub(super) form_spool: Whole,
    pub(super) max_connections: Whole,
    pub(super) max_memory: Whole,
    pub(super) drain_delay: Span,
    pub(super) drain_deadline: Span,
    pub(super) lenient_keys: bool,
    pub(super) unknown_paths: Option<Spanned<String>>,
    pub(super) server_timing: bool,
    pub(super) reveal_upstream: bool,
    pub(super) timeouts: ServerTimeouts,
}

#[derive(Deserialize)]
pub(super) struct ServerTimeouts {
    pub(super) hello: Span,
    pub(super) head: Span,
    pub(super) body_idle: Span,
    pub(super) write_stall: Span,
    pub(super) keep_alive: Span,
}

#[derive(Deserialize)]
pub(super) struct Admin {
    pub(super) listen: Spanned<SocketAddr>,
}

#[derive(Deserialize)]
pub(super) struct Plan {
    #[serde(default)]
    pub(super) requests: Vec<Spanned<Rate>>,
    #[serde(default)]
    pub(super) tokens: Vec<Spanned<Rate>>,
    pub(super) concurrent: Option<Spanned<Whole>>,
    pub(super) reserve_output: ReserveOutput,
    pub(super) shadow: bool,
    pub(super) max_output_tokens: Option<Whole>,
    pub(super) clamp: bool,
    pub(super) max_choices: Option<Whole>,
    pub(super) service_tiers: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReserveOutput {
    Learned,
    Cap,
}

#[derive(Deserialize)]
pub(super) struct Tenant {
    pub(super) plan: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keys: Vec<Key>,
    pub(super) models: Option<Vec<String>>,
    pub(super) stateful: Option<Spanned<String>>,
}

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) sha256: Option<Spanned<String>>,
    pub(super) label: Option<String>,
    pub(super) expires: Option<Day>,
}

#[derive(Deserialize)]
pub(super) struct Upstream {
    pub(super) provider: Option<Spanned<Provider>>,
    pub(super) base_url: Option<Spanned<String>>,
    pub(super) credential: Option<Spanned<Credential>>,
    pub(super) without_credential: WithoutCredential,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) usage_in_stream: bool,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) max_connections: Whole,
    pub(super) pool: Pool,
    pub(super) timeouts: Timeouts,
    pub(super) ca: Option<Spanned<PathBuf>>,
    pub(super) shared_state: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnDisconnect {
    Cancel,
    Drain,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Provider {
    #[serde(rename = "openai")]
    OpenAi,
    Compatible,
    Simulator,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Credential {
    None,
    ApiKey(Secret),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Secret {
    Env(String),
    File(PathBuf),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WithoutCredential {
    Refuse,
    LeaveOut,
    Simulate,
}

#[derive(Deserialize)]
pub(super) struct Pool {
    pub(super) idle: Span,
    pub(super) age: Span,
}

#[derive(Deserialize)]
pub(super) struct Timeouts {
    pub(super) connect: Span,
    pub(super) first_byte: Span,
    pub(super) idle: Span,
    pub(super) total: Span,
}

#[derive(Deserialize)]
pub(super) struct Route {
    #[serde(default)]
    pub(super) models: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) to: Vec<Spanned<Target>>,
    pub(super) max_output_tokens: Whole,
    pub(super) enforce_cap: bool,
    pub(super) state: State,
    pub(super) stateful: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Auto,
    Pass,
    Strip,
    Refuse,
}

#[derive(Deserialize)]
pub(super) struct Target {
    pub(super) upstream: Option<Spanned<String>>,
    pub(super) model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Prices {
    pub(super) input: Option<Price>,
    pub(super) cached_input: Option<Price>,
    pub(super) cache_write: Option<Price>,
    pub(super) output: Option<Price>,
    pub(super) audio_input: Option<Price>,
    pub(super) audio_output: Option<Price>,
    pub(super) image_input: Option<Price>,
    pub(super) image_output: Option<Price>,
    pub(super) per_request: Option<Price>,
    pub(super) per_second: Option<Price>,
    pub(super) per_image: Option<Price>,
    #[serde(default)]
    pub(super) tiers: BTreeMap<String, Factor>,
}

#[derive(Deserialize)]
pub(super) struct Records {
    pub(super) to: Vec<Sink>,
    pub(super) tag: Option<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tag {
    Header(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sink {
    Stdout,
    File(PathBuf),
}

#[derive(Deserialize)]
pub(super) struct Metrics {
    pub(super) max_tenants: Whole,
}

#[derive(Deserialize)]
pub(super) struct Log {
    pub(super) format: LogFormat,
    pub(super) level: LogLevel,
    pub(super) calls: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// A number or a size in bytes.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) u64);

/// A duration.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

/// A rate.
#[derive(Clone, Copy)]
pub(super) struct Rate(pub(super) Quota);

/// A day, as the Unix second of its 00:00 UTC.
#[derive(Clone, Copy)]
pub(super) struct Day(pub(super) i64);

/// A price.
#[derive(Clone, Copy)]
pub(super) struct Price(pub(super) price::Price);

/// A factor of prices.
#[derive(Clone, Copy)]
pub(super) struct Factor(pub(super) price::Factor);

/// Reads a scalar back from the text that the check left.
macro_rules! from_text {
    ($type:ident, $read:path) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $read(&text).map($type).map_err(|misread| D::Error::custom(misread.expected))
            }
        }
    };
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        price::Price::parse(&text).map(Price).map_err(|_| D::Error::custom("a price"))
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        price::Factor::parse(&text).map(Factor).map_err(|_| D::Error::custom("a factor"))
    }
}

from_text!(Whole, rate::number);
from_text!(Span, rate::duration);
from_text!(Rate, rate::rate);
from_text!(Day, rate::day);
