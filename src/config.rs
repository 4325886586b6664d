//! Turns the configuration file into the one immutable value that everything else is built from, or says all that is wrong with it.
//!
//! Parsed, not validated: what leaves here is domain values (`Quota`, `Arc<Upstream>`, `RouteTable`), so that nothing later
//! has to ask whether a name exists. Only `main`, `cli` and tests know this module; it must not start or connect anything.
//!
//! The way of a file: text → `check` (structure and grammar, against the description in `keys`) → `raw` (its mirror)
//! → `resolve` (names become values). Each step reports all its faults and hands on what is right.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use toml::de::{DeTable, DeValue};

use crate::routing::RouteTable;
use crate::routing::prices::PriceTable;
use crate::secret::SecretSource;
use crate::upstream::Upstream;

mod check;
pub mod fault;
mod keys;
mod leaf;
pub mod rate;
mod raw;
mod redacted;
mod resolve;
pub mod schema;
mod series;

pub use crate::tenant::directory::{KeySpec, TenantSpec};
use fault::{Collector, Complaint};
pub use fault::{Fault, Faults, Place};
pub(crate) use redacted::url;

/// The largest configuration file that is read.
const LARGEST_FILE: u64 = 64 << 20;

/// A whole configuration: every name resolved, every default filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public port.
    pub server: ServerConfig,
    /// Where calls go whose path is not known; `None`: they are refused.
    pub unknown_paths: Option<Arc<Upstream>>,
    /// The admin port.
    pub admin: AdminConfig,
    /// Who may call, by name.
    pub tenants: Vec<TenantSpec>,
    /// The tenant of calls with no key or an unknown one.
    pub anonymous: Option<Arc<str>>,
    /// Where calls go, by name; without those that were left out.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Where the values that an upstream needs come from, in the order of `upstreams`.
    pub origins: Vec<UpstreamOrigin>,
    /// Which model goes where.
    pub routes: RouteTable,
    /// What calls cost; the routes hold the same table.
    pub prices: Arc<PriceTable>,
    /// Where usage records go; never empty.
    pub records: Vec<RecordSink>,
    /// The header whose value goes into records as their tag.
    pub tag: Option<HeaderName>,
    /// Metrics.
    pub metrics: MetricsConfig,
    /// Logging.
    pub log: LogConfig,
    /// What an operator should know and need not mend, one sentence each.
    pub notices: Vec<String>,
}

/// The public port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether anonymous calls are allowed from other machines; then no check of Host and Origin is made.
    pub anonymous_anywhere: bool,
    /// Origins of web pages that may call from a browser; `*` stands for all.
    pub allow_origins: Vec<String>,
    /// The largest JSON body in bytes, on the wire and decoded.
    pub max_body: usize,
    /// The largest form in bytes.
    pub max_upload: u64,
    /// How many bytes of a form may come before its `model` part: they are held in memory.
    pub form_spool: usize,
    /// The most client connections at once.
    pub max_connections: usize,
    /// The most bytes of request bodies that are held for all calls together; 0: no bound.
    pub max_memory: u64,
    /// How long to go on accepting after SIGTERM.
    pub drain_delay: Duration,
    /// How long calls in flight may take after that.
    pub drain_deadline: Duration,
    /// Lets keys of a body that differ in case stand side by side.
    pub lenient_keys: bool,
    /// Tells on answers how long the gateway and its upstream took.
    pub server_timing: bool,
    /// Tells on answers who answered, after how many attempts and at what cost.
    pub reveal_upstream: bool,
    /// How long a client may be silent.
    pub timeouts: ServerTimeouts,
}

/// How long a client may be silent; none is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// On a fresh connection.
    pub hello: Duration,
    /// Within a request's head.
    pub head: Duration,
    /// Between two pieces of a request body.
    pub body_idle: Duration,
    /// Without reading its answer.
    pub write_stall: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Where an upstream's credential and extra roots come from, and who may share what it keeps.
#[derive(Clone, Debug)]
pub struct UpstreamOrigin {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The source of its API key; `None` where it wants none.
    pub credential: Option<SecretSource>,
    /// Certificate authorities trusted for it besides the platform's.
    pub ca: Option<CaFile>,
    /// Whether several tenants may have their stateful home there.
    pub shared_state: bool,
}

/// A PEM file with at least one certificate.
#[derive(Clone, Debug)]
pub struct CaFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its text.
    pub pem: Arc<[u8]>,
}

/// Where usage records go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecordSink {
    /// Standard output.
    Stdout,
    /// A file, appended to; relative to the working directory.
    File(PathBuf),
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Tenants with labels of their own.
    pub max_tenants: usize,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important lines written.
    pub level: LogLevel,
    /// One line per call.
    pub calls: bool,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The importance of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail soon.
    Warn,
    /// What changed.
    Info,
    /// What was decided.
    Debug,
    /// Everything.
    Trace,
}

impl LogFormat {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl LogLevel {
    /// The word in the configuration, which is also tracing's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Where environment variables are read, so that a test need not touch those of the process.
pub trait Environment {
    /// The variable's value; `None` where it is absent, empty, or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of the process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// A map is an environment for tests.
impl Environment for std::collections::BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// Reads and resolves a configuration file, and the secrets and certificates that it names.
///
/// # Errors
/// Every [`Fault`] of the file, in its order.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Config, Faults> {
    let shown = path.display().to_string();
    let text = read(path).map_err(|complaint| {
        let mut faults = Collector::new(&shown, "");
        faults.add(&(0..0), complaint);
        faults.finish()
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse(&shown, &text, folder, env)
}

/// Resolves a configuration that was read already: `file` is what faults call it, `folder` where its relative paths start.
///
/// # Errors
/// Every [`Fault`] of the text, in its order.
pub fn parse(file: &str, text: &str, folder: &Path, env: &dyn Environment) -> Result<Config, Faults> {
    let mut faults = Collector::new(file, text);
    let mut tree = match DeTable::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let complaint = Complaint::new(format!("not TOML: {}", error.message().replace('\n', "; ")), "");
            faults.add(&error.span().unwrap_or(0..0), complaint);
            return Err(faults.finish());
        }
    };
    check::table(tree.get_mut(), keys::ROOT, "", &(0..0), &mut faults);
    let tree = DeValue::Table(tree.into_inner());
    let span = 0..text.len();
    let raw = match serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(serde_spanned::Spanned::new(
        span, tree,
    ))) {
        Ok(raw) => raw,
        Err(error) => {
            // The check leaves nothing that the mirror cannot read; should the two ever differ, this says so.
            let error: toml::de::Error = error;
            faults.add(&error.span().unwrap_or(0..0), Complaint::new(error.message().to_owned(), ""));
            return Err(faults.finish());
        }
    };
    match resolve::resolve(raw, folder, env, &mut faults) {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(faults.finish()),
    }
}

fn read(path: &Path) -> Result<String, Complaint> {
    let unreadable = |why: std::io::Error| {
        Complaint::new(format!("cannot read the file: {why}"), "a configuration file")
            .hint("name one with --config FILE or TOLLGATE_CONFIG; without either it is ./config.toml")
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST_FILE {
        return Err(Complaint::new(format!("the file has {size} bytes"), "at most 64 MiB"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Complaint::new(format!("the file is not UTF-8 from byte {at} on"), "text in UTF-8")
    })
}

#[cfg(test)]
mod tests;
