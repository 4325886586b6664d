//! The keys themselves, table by table, in the order of `config.reference.toml`.
//!
//! A key that is added here is checked, defaulted and in the schema; [`super::super::raw`] and [`super::super::resolve`] give it
//! a meaning. A key of a later version is named with `later`, so that it is refused in its own words.

use super::Kind::{
    Address, Factor, HeaderName, Map, Origin, Path, Price, Set, SizeOrNone, Template, Text, TextOr, Url, Variable, Word,
};
use super::Kind::{
    Day, Digest, Duration, Flag, Headers, List, Named, Number, OneOf, Pattern, Rate, Size, Table, Tables,
};
use crate::provider;

use super::{Key, Kind, Presence, Single, Words, Zero};

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
    Words { built, later: &[], or: "" }
}

/// The whole file.
pub(in crate::config) static ROOT: &[Key] = &[
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
    optional(
        "prices",
        Named(PRICES),
        "",
        "What calls cost, in US dollars, by the deployment's model name; under \"upstream/model\" for one upstream alone. * stands for any text; the most specific name wins.",
    ),
    table("records", RECORDS, "Usage records: one JSON line per call, never any content."),
    table("metrics", METRICS, "Prometheus metrics, shown on the admin port."),
    table("log", LOG, "What Tollgate says about itself, on standard error."),
    later("issuers"),
    later("limits"),
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
    optional(
        "allow_origins",
        Set(&Origin),
        "[\"https://app.example\"]",
        "Web pages that may call from a browser, by their origin; [\"*\"] lets all. None, unless said.",
    ),
    default("max_body", Size, "\"64MiB\"", "The largest JSON body, on the wire and decoded."),
    default(
        "max_upload",
        Size,
        "\"256MiB\"",
        "The largest form, on the wire. Forms are passed on as they arrive, not held.",
    ),
    default(
        "form_spool",
        Size,
        "\"16MiB\"",
        "How much of a form may come before its `model` part; so much is held in memory.",
    ),
    default("max_connections", Number { least: 1 }, "10000", "The most client connections open at once."),
    default(
        "max_memory",
        SizeOrNone,
        "\"0\"",
        "Bytes of request bodies that are held for all calls together before new ones get 503; 0: no gate.",
    ),
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
    default(
        "unknown_paths",
        Text,
        "\"refuse\"",
        "Paths that this version does not know: refuse them, or the name of an upstream that gets them as they came.",
    ),
    default(
        "server_timing",
        Flag,
        "false",
        "Tells on answers how long the gateway and its upstream took, as the header Server-Timing.",
    ),
    default(
        "reveal_upstream",
        Flag,
        "false",
        "Tells on answers who answered, after how many attempts and at what cost: x-tollgate-upstream, -attempts, -cost.",
    ),
    table("timeouts", SERVER_TIMEOUTS, "How long a client may be silent."),
    later("tls"),
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
    optional(
        "max_output_tokens",
        Number { least: 1 },
        "8192",
        "The most output tokens that a call may ask for; more is refused. Reserved when a call names no cap.",
    ),
    default("clamp", Flag, "false", "Lowers a cap above max_output_tokens to it, and puts it in where none is named."),
    optional("max_choices", Number { least: 1 }, "4", "The most answers that a call may ask for: n, best_of."),
    optional(
        "service_tiers",
        List(&Text, Single::Allowed),
        "[\"default\", \"flex\"]",
        "The service tiers that a call may ask for; a call that names none always may.",
    ),
    later("input_tokens"),
    later("output_tokens"),
    later("budget"),
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
    optional(
        "stateful",
        Text,
        "\"acme-openai\"",
        "The upstream that keeps this tenant's files, stored responses and the like; absent: such calls are refused.",
    ),
    later("parent"),
    later("credentials"),
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
        "on_disconnect",
        Word(&ON_DISCONNECT),
        "\"cancel\"",
        "A client leaves: stop the upstream at once, or read the rest for its usage (30 s, 4 MiB, 64 at once).",
    ),
    default(
        "max_connections",
        Number { least: 1 },
        "1024",
        "The most connections open to it at once, idle ones included.",
    ),
    table("pool", POOL, "How long connections are kept."),
    table("timeouts", TIMEOUTS, "How long it may take."),
    optional("ca", Path, "\"ca.pem\"", "A PEM file of certificate authorities trusted besides the platform's."),
    default(
        "shared_state",
        Flag,
        "false",
        "Several tenants may have their `stateful` home here, although each can read the others' objects.",
    ),
    later("api_version"),
    later("region"),
    later("preset"),
    later("quota"),
    later("proxy"),
    later("client_cert"),
    later("http2"),
    later("health"),
];

static ON_DISCONNECT: Words = words(&["cancel", "drain"]);
static PROVIDER: Words = Words { built: &["openai", "compatible", "simulator"], later: provider::LATER, or: "" };
static CREDENTIAL: Words =
    Words { built: &["none"], later: provider::LATER_CREDENTIALS, or: " or { api_key = { env = \"NAME\" } }" };
static CREDENTIALS: &[Key] =
    &[optional("api_key", OneOf(SECRET), "{ env = \"OPENAI_API_KEY\" }", "An API key, by its source.")];
static WITHOUT: Words = words(&["refuse", "leave-out", "simulate"]);

/// Where a secret is kept; the value itself never stands in the file.
static SECRET: &[Key] = &[
    optional("env", Variable, "\"OPENAI_API_KEY\"", "An environment variable; an empty one counts as absent."),
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
    default(
        "state",
        Word(&STATE),
        "\"auto\"",
        "Responses that create or read kept state: pass them to their home; strip, so that nothing is kept; refuse; auto passes where the route has one deployment.",
    ),
    optional(
        "stateful",
        Text,
        "\"openai\"",
        "Where state = \"pass\" sends them, for tenants without a home of their own; absent: to the route's deployment.",
    ),
    later("balance"),
    later("retries"),
    later("retry_timeouts"),
];

static STATE: Words = words(&["auto", "pass", "strip", "refuse"]);

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

static PRICES: &[Key] = &[
    optional("input", Price, "0.25", "USD per million tokens read."),
    optional(
        "cached_input",
        Price,
        "0.025",
        "USD per million input tokens from the upstream's cache; absent: as input.",
    ),
    optional("cache_write", Price, "0.3125", "USD per million input tokens written into its cache; absent: as input."),
    optional("output", Price, "2.00", "USD per million tokens written; reasoning is output."),
    optional("audio_input", Price, "10.00", "USD per million input tokens of sound; absent: as input."),
    optional("audio_output", Price, "20.00", "USD per million output tokens of sound; absent: as output."),
    optional("image_input", Price, "8.00", "USD per million input tokens of images; absent: as input."),
    optional("image_output", Price, "32.00", "USD per million output tokens of images; absent: as output."),
    optional("per_request", Price, "0.001", "USD per call."),
    optional("per_second", Price, "0.0001", "USD per second of sound, where the answer is counted in seconds."),
    optional("per_image", Price, "0.04", "USD per image made."),
    optional(
        "tiers",
        Map(&Factor),
        "{ flex = 0.5, priority = 2.0 }",
        "What all of it is multiplied by when the answer names this service tier; other tiers: by 1.",
    ),
];

static RECORDS: &[Key] = &[
    default(
        "to",
        List(&TextOr(&Word(&SINK), &OneOf(SINKS), None), Single::Allowed),
        "\"stdout\"",
        "Where they are written: \"stdout\", a file, or a list of these.",
    ),
    optional(
        "tag",
        OneOf(TAG),
        "{ header = \"x-team\" }",
        "Text of the client's own that goes into the record, never into a label of a metric.",
    ),
    later("spool"),
];

static TAG: &[Key] =
    &[optional("header", HeaderName, "\"x-team\"", "The request's header that holds it; at most 128 bytes.")];

static SINK: Words = Words { built: &["stdout"], later: &[], or: " or { file = \"usage.jsonl\" }" };
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
