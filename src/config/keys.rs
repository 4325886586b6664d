//! Describes every key of the configuration once: name, grammar, default, meaning, and whether this version has it.
//!
//! The structural check, the defaults and `tollgate schema` all derive from this description; only [`super::resolve`] knows
//! what a value does. Must not know how a value is read. The contract is `config.reference.toml`.

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    /// One line for people and editors.
    pub(super) doc: &'static str,
}

/// Whether a key must stand in its table, and what holds when it does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Absent means this, in TOML (which here is JSON too).
    Default(&'static str),
    /// Absent is a fault.
    Required,
    /// Absent means that there is none; the example is TOML.
    Optional(&'static str),
    /// Named in the reference, not built yet.
    Later,
}

/// The grammar of a value.
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// Any text that is not empty and has no control characters.
    Text,
    /// A whole number of at least `least`.
    Number { least: u64 },
    /// Bytes, at least 1.
    Size,
    /// A time span; zero only where it means something.
    Duration(Zero),
    /// `600/min`.
    Rate,
    /// `2027-01-01`.
    Day,
    /// 64 hex digits.
    Digest,
    /// A model name with `*`.
    Pattern,
    /// A model name with `{model}`.
    Template,
    /// One of a few words.
    Word(&'static Words),
    /// An IP address and a port.
    Address,
    /// An absolute http or https URL without query.
    Url,
    /// A path of the file system.
    Path,
    /// HTTP header names and values.
    Headers,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table with exactly one of these keys.
    OneOf(&'static [Key]),
    /// Tables with names that the operator chooses.
    Named(&'static [Key]),
    /// `[[name]]` tables.
    Tables(&'static [Key]),
    /// A list, or one of its elements alone.
    List(&'static Kind, Single),
    /// Text of the first kind, or a table of the second. Text stands for the table that has it under the named key.
    TextOr(&'static Kind, &'static Kind, Option<&'static str>),
}

/// Whether a duration may be zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// Zero means at once, or none.
    Allowed,
    /// Zero would break every call.
    Refused,
}

/// Whether one element may stand without brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Single {
    /// `"a"` is `["a"]`.
    Allowed,
    /// Always in brackets.
    Refused,
}

/// The words of an enumeration.
pub(super) struct Words {
    pub(super) built: &'static [&'static str],
    pub(super) later: &'static [&'static str],
}

const fn default(name: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Default(value), doc }
}

const fn optional(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Optional(example), doc }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, presence: Presence::Required, doc }
}

/// A table that may be left out; its defaults hold all the same.
const fn table(name: &'static str, keys: &'static [Key], doc: &'static str) -> Key {
    Key { name, kind: Kind::Table(keys), presence: Presence::Optional(""), doc }
}

const fn later(name: &'static str) -> Key {
    Key { name, kind: Kind::Text, presence: Presence::Later, doc: "" }
}

const fn words(built: &'static [&'static str]) -> Words {
    Words { built, later: &[] }
}

use Kind::{Address, Path, Template, Text, TextOr, Url, Word};
use Kind::{Day, Digest, Duration, Flag, Headers, List, Named, Number, OneOf, Pattern, Rate, Size, Table, Tables};

/// The whole file.
pub(super) static ROOT: &[Key] = &[
    later("include"),
    table("server", SERVER, "The public port."),
    table("admin", ADMIN, "The admin port: read-only, for operators."),
    optional(
        "plans",
        Named(PLAN),
        "",
        "What may be spent: named sets of limits. Every limit of a plan must admit a call.",
    ),
    optional("tenants", Named(TENANT), "", "Who may call: who is billed and limited."),
    optional("upstreams", Named(UPSTREAM), "", "Where calls go: servers that answer them."),
    optional("routes", Tables(ROUTE), "", "Which model name goes to which upstream."),
    table("records", RECORDS, "Usage records: one JSON line per call, never any content."),
    table("metrics", METRICS, "Prometheus metrics, shown on the admin port."),
    table("log", LOG, "What Tollgate says about itself, on standard error."),
    later("issuers"),
    later("limits"),
    later("prices"),
    later("traces"),
];

static SERVER: &[Key] = &[
    default(
        "listen",
        Address,
        "\"127.0.0.1:8080\"",
        "Address and port that clients call; their base URL is this plus /v1.",
    ),
    optional(
        "anonymous",
        Text,
        "\"demo\"",
        "The tenant of calls with no key or an unknown one. Loopback addresses only, unless anonymous_anywhere is true.",
    ),
    default("anonymous_anywhere", Flag, "false", "Allows `anonymous` on an address that other machines can reach."),
    default("max_body", Size, "\"64MiB\"", "The largest JSON body, on the wire and decoded."),
    default("max_connections", Number { least: 1 }, "10000", "The most client connections open at once."),
    default(
        "drain_delay",
        Duration(Zero::Allowed),
        "\"5s\"",
        "After SIGTERM: not ready, yet still accepting, so that endpoints can catch up.",
    ),
    default(
        "drain_deadline",
        Duration(Zero::Allowed),
        "\"10m\"",
        "After the delay: how long calls in flight may still take.",
    ),
    default(
        "lenient_keys",
        Flag,
        "false",
        "Lets \"Model\" beside \"model\" pass in a body; some upstreams match keys without case.",
    ),
    table("timeouts", SERVER_TIMEOUTS, "How long a client may be silent."),
    later("tls"),
    later("allow_origins"),
    later("max_upload"),
    later("form_spool"),
    later("max_memory"),
    later("unknown_paths"),
    later("server_timing"),
    later("reveal_upstream"),
    later("sse_comments"),
];

static SERVER_TIMEOUTS: &[Key] = &[
    default("hello", Duration(Zero::Refused), "\"10s\"", "For the first bytes of a fresh connection."),
    default("head", Duration(Zero::Refused), "\"10s\"", "From a request's first byte to the end of its head."),
    default("body_idle", Duration(Zero::Refused), "\"30s\"", "Between two pieces of a request body."),
    default("write_stall", Duration(Zero::Refused), "\"60s\"", "For a client that stops reading its answer."),
    default("keep_alive", Duration(Zero::Refused), "\"75s\"", "Between two requests of a connection."),
];

static ADMIN: &[Key] = &[
    default("listen", Address, "\"127.0.0.1:9090\"", "Address and port of /livez /readyz /metrics /status /config."),
    later("tls"),
];

static PLAN: &[Key] = &[
    optional(
        "requests",
        List(&Rate, Single::Allowed),
        "[\"60/min\", \"5k/day\"]",
        "Calls per period: a rate, or a list of rates that all hold.",
    ),
    optional("tokens", List(&Rate, Single::Allowed), "\"200k/min\"", "Input and output tokens together, per period."),
    optional("concurrent", Number { least: 1 }, "32", "Calls in flight at once, to the last byte of the answer."),
    default(
        "reserve_output",
        Word(&RESERVE),
        "\"learned\"",
        "What a call reserves for its output: its whole cap, or what this tenant's calls were seen to need.",
    ),
    default("shadow", Flag, "false", "Decides, counts and logs, but never refuses."),
    later("input_tokens"),
    later("output_tokens"),
    later("budget"),
    later("max_output_tokens"),
    later("clamp"),
    later("max_choices"),
    later("service_tiers"),
    later("priority"),
    later("models"),
];

static RESERVE: Words = words(&["learned", "cap"]);

static TENANT: &[Key] = &[
    required("plan", Text, "The name of this tenant's plan."),
    optional(
        "keys",
        List(&Table(KEY), Single::Refused),
        "[{ sha256 = \"…\", label = \"ci\" }]",
        "API keys, as digests: `tollgate keys new` makes one.",
    ),
    optional(
        "models",
        List(&Pattern, Single::Allowed),
        "[\"gpt-*\"]",
        "The model names that this tenant may ask for; absent: every routed one.",
    ),
    later("parent"),
    later("credentials"),
    later("stateful"),
    later("spiffe"),
];

static KEY: &[Key] = &[
    required("sha256", Digest, "The SHA-256 of the key, 64 hex digits; never the key itself."),
    optional("label", Text, "\"ci\"", "The key's name in usage records."),
    optional("expires", Day, "\"2027-01-01\"", "The key is refused from 00:00 UTC of this day."),
];

static UPSTREAM: &[Key] = &[
    required(
        "provider",
        Word(&PROVIDER),
        "The dialect: `openai`; `compatible` for any server that speaks it; `simulator` is built in.",
    ),
    optional(
        "base_url",
        Url,
        "\"http://127.0.0.1:8000/v1\"",
        "Where it is, path included; `openai` has https://api.openai.com/v1 as default.",
    ),
    optional(
        "credential",
        TextOr(&Word(&CREDENTIAL), &OneOf(CREDENTIALS), None),
        "{ api_key = { env = \"OPENAI_API_KEY\" } }",
        "What we show there: where an API key is kept, or \"none\".",
    ),
    default(
        "without_credential",
        Word(&WITHOUT),
        "\"refuse\"",
        "The credential's value is absent: do not start; leave the upstream out; or let the built-in simulator answer.",
    ),
    optional("headers", Headers, "{ \"openai-project\" = \"proj_…\" }", "Headers added to every call."),
    default("usage_in_stream", Flag, "true", "It understands stream_options.include_usage."),
    default(
        "max_connections",
        Number { least: 1 },
        "1024",
        "The most connections open to it at once, idle ones included.",
    ),
    table("pool", POOL, "How long connections are kept."),
    table("timeouts", TIMEOUTS, "How long it may take."),
    optional("ca", Path, "\"ca.pem\"", "A PEM file of certificate authorities trusted besides the platform's."),
    later("shared_state"),
    later("api_version"),
    later("region"),
    later("preset"),
    later("on_disconnect"),
    later("quota"),
    later("proxy"),
    later("client_cert"),
    later("http2"),
    later("health"),
];

static PROVIDER: Words = Words { built: &["openai", "compatible", "simulator"], later: &["azure", "bedrock"] };
static CREDENTIAL: Words = Words { built: &["none"], later: &["workload-identity", "aws"] };
static CREDENTIALS: &[Key] =
    &[optional("api_key", OneOf(SECRET), "{ env = \"OPENAI_API_KEY\" }", "An API key, by its source.")];
static WITHOUT: Words = words(&["refuse", "leave-out", "simulate"]);

/// Where a secret is kept; the value itself never stands in the file.
static SECRET: &[Key] = &[
    optional("env", Text, "\"OPENAI_API_KEY\"", "An environment variable; an empty one counts as absent."),
    optional("file", Path, "\"/var/run/secrets/key\"", "A file; white space at its ends is cut off."),
];

static POOL: &[Key] = &[
    default("idle", Duration(Zero::Refused), "\"30s\"", "An unused connection is closed after this."),
    default("age", Duration(Zero::Refused), "\"10m\"", "No connection takes a new call after this."),
];

static TIMEOUTS: &[Key] = &[
    default("connect", Duration(Zero::Allowed), "\"5s\"", "To open a connection, TLS included; 0: none."),
    default(
        "first_byte",
        Duration(Zero::Allowed),
        "\"15m\"",
        "From the request sent to the answer's first byte; 0: none.",
    ),
    default("idle", Duration(Zero::Allowed), "\"10m\"", "Between two pieces of an answer; 0: none."),
    default("total", Duration(Zero::Allowed), "\"0s\"", "For the whole call; 0: none."),
];

static ROUTE: &[Key] = &[
    required(
        "models",
        List(&Pattern, Single::Allowed),
        "Model names that clients ask for; the most specific pattern of all routes wins.",
    ),
    required(
        "to",
        List(&TextOr(&Text, &Table(TARGET), Some("upstream")), Single::Allowed),
        "Where they go: an upstream's name, or a table with the model's name there. One entry in this version.",
    ),
    default("max_output_tokens", Number { least: 1 }, "4096", "Output tokens reserved when a call names no cap."),
    default("enforce_cap", Flag, "false", "That cap is also sent upstream."),
    later("balance"),
    later("state"),
    later("stateful"),
    later("retries"),
    later("retry_timeouts"),
];

static TARGET: &[Key] = &[
    required("upstream", Text, "An upstream's name."),
    optional(
        "model",
        Template,
        "\"prod-{model}\"",
        "The model's name there; {model} stands for what the client asked for. Absent: the same name.",
    ),
    default(
        "weight",
        Number { least: 1 },
        "1",
        "Its share of calls among several entries; without effect while a route has one.",
    ),
];

static RECORDS: &[Key] = &[
    default(
        "to",
        List(&TextOr(&Word(&SINK), &OneOf(SINKS), None), Single::Allowed),
        "\"stdout\"",
        "Where they are written: \"stdout\", a file, or a list of these.",
    ),
    later("tag"),
    later("spool"),
];

static SINK: Words = words(&["stdout"]);
static SINKS: &[Key] = &[
    optional("file", Path, "\"usage.jsonl\"", "A file to append to; relative to the working directory."),
    later("otlp"),
];

static METRICS: &[Key] = &[default(
    "max_tenants",
    Number { least: 0 },
    "500",
    "Tenants with labels of their own; the others share tenant=\"other\".",
)];

static LOG: &[Key] = &[
    default("format", Word(&FORMAT), "\"text\"", "Lines for people, or JSON."),
    default("level", Word(&LEVEL), "\"info\"", "The least important lines that are written."),
    default("calls", Flag, "false", "One line per call."),
];

static FORMAT: Words = words(&["text", "json"]);
static LEVEL: Words = words(&["error", "warn", "info", "debug", "trace"]);

/// The tables that have a key of this name, as dotted paths: for the hint at one that stands in the wrong place.
pub(super) fn homes_of(name: &str) -> Vec<String> {
    let mut homes = Vec::new();
    find_homes(ROOT, "", name, &mut homes);
    homes
}

fn find_homes(keys: &[Key], path: &str, name: &str, homes: &mut Vec<String>) {
    for key in keys.iter().filter(|key| key.presence != Presence::Later) {
        if key.name == name && !path.is_empty() {
            homes.push(format!("[{path}]"));
        }
        let dot = if path.is_empty() { "" } else { "." };
        match key.kind {
            Table(inner) => find_homes(inner, &format!("{path}{dot}{}", key.name), name, homes),
            Named(inner) => find_homes(inner, &format!("{path}{dot}{}.NAME", key.name), name, homes),
            Tables(inner) => find_homes(inner, &format!("[{path}{dot}{}]", key.name), name, homes),
            _ => {}
        }
    }
}
