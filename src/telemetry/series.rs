//! Lists every metric: name, kind, unit, help, labels, buckets. From it the registry is described and the series are counted.
//!
//! Must not know how a value comes about.

/// What a metric measures with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution over the buckets given (upper bounds, in the metric's unit).
    Histogram(&'static [f64]),
}

/// A label, whose values are bounded by the configuration or by this program, never by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Tenants, up to `[metrics] max_tenants`, and `other`.
    Tenant,
    /// Patterns of the routes, and `none` for calls that found no route.
    Route,
    /// An endpoint of the API.
    Endpoint,
    /// Upstreams of the file.
    Upstream,
    /// Limits of the tenant's plan.
    Limit,
    /// A fixed set of words, given by their number.
    Words(&'static str, u64),
}

/// One metric's definition.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name as scraped.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What it counts, for people.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [Dimension],
}

use Dimension::{Endpoint, Limit, Route, Tenant, Upstream, Words};
use Kind::{Counter, Gauge, Histogram};

/// Seconds of whole calls and of time to the first token.
const SECONDS: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Seconds between two tokens (OpenTelemetry's advice for `gen_ai.server.time_per_output_token`).
const TOKEN_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Our own share of a call, from 10 µs.
const OVERHEAD: &[f64] = &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25];
/// Tokens of a call (OpenTelemetry's advice for `gen_ai.client.token.usage`).
const TOKENS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

const OUTCOME: Dimension = Words("outcome", 7);
const GEN_AI: &[Dimension] = &[Route, Endpoint];

const fn counter(name: &'static str, labels: &'static [Dimension], help: &'static str) -> Definition {
    Definition { name, kind: Counter, help, labels }
}

const fn gauge(name: &'static str, labels: &'static [Dimension], help: &'static str) -> Definition {
    Definition { name, kind: Gauge, help, labels }
}

const fn histogram(
    name: &'static str,
    labels: &'static [Dimension],
    buckets: &'static [f64],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Histogram(buckets), help, labels }
}

/// Calls that passed authentication, by how they ended.
pub const REQUESTS: Definition = counter(
    "tollgate_requests_total",
    &[Tenant, Route, OUTCOME],
    "Calls that passed authentication, by how they ended",
);
/// Calls refused before that.
pub const REJECTED: Definition = counter(
    "tollgate_rejected_total",
    &[Words("reason", 24)],
    "Calls refused before they had a tenant (no key, bad framing, overload), or later for want of memory",
);
/// Settled tokens.
pub const TOKENS_TOTAL: Definition =
    counter("tollgate_tokens_total", &[Tenant, Route, Words("kind", 4)], "Tokens as settled");
/// Money.
pub const COST: Definition = counter(
    "tollgate_cost_microusd_total",
    &[Tenant, Route],
    "What settled calls cost, in millionths of a US dollar; parts of one are carried",
);
/// Decisions of limits.
pub const LIMIT_DECISIONS: Definition =
    counter("tollgate_limit_decisions_total", &[Tenant, Limit, Words("decision", 3)], "What limits decided");
/// Reserved tokens.
pub const TOKENS_RESERVED: Definition =
    counter("tollgate_tokens_reserved_total", &[Tenant], "Tokens reserved at admission");
/// Returned tokens.
pub const TOKENS_GIVEN_BACK: Definition =
    counter("tollgate_tokens_given_back_total", &[Tenant], "Reserved tokens that were not used and went back");
/// Lost tokens.
pub const TOKENS_FORGONE: Definition = counter(
    "tollgate_tokens_forgone_total",
    &[Tenant],
    "Reserved tokens that were not used, but which time had returned already",
);
/// Tokens beyond the reservation.
pub const TOKENS_OVERRUN: Definition =
    counter("tollgate_tokens_overrun_total", &[Tenant], "Tokens used beyond what was reserved");
/// Calls in flight.
pub const IN_FLIGHT: Definition = gauge("tollgate_in_flight", &[Tenant], "Calls from admission to their last byte");
/// Open reservations.
pub const RESERVATIONS: Definition = gauge("tollgate_reservations", &[Tenant], "Reservations that are not settled yet");
/// Our share of a call.
pub const OVERHEAD_SECONDS: Definition = histogram(
    "tollgate_overhead_seconds",
    &[],
    OVERHEAD,
    "Time from a request's last byte here to its way upstream: this gateway's own share of a call",
);
/// Answers whose usage could not be read.
pub const UNMETERED: Definition = counter(
    "tollgate_unmetered_responses_total",
    &[Endpoint, Words("reason", 5)],
    "Answers whose usage this gateway could not look for",
);
/// Calls whose usage is an estimate.
pub const ESTIMATED: Definition = counter(
    "tollgate_usage_estimated_total",
    &[Endpoint, Words("reason", 6)],
    "Calls charged by an estimate, as the upstream reported no usage",
);
/// Reported usage that cannot be true.
pub const ANOMALIES: Definition = counter(
    "tollgate_usage_anomalies_total",
    &[Endpoint, Words("reason", 6)],
    "Reported usage that cannot be true, and was corrected",
);
/// Calls whose cost is not known.
pub const UNPRICED: Definition = counter(
    "tollgate_usage_unpriced_total",
    &[Endpoint, Words("reason", 2)],
    "Calls with usage and without cost: prices are configured, and none for this model, or for what it used",
);
/// Attempts at upstreams.
pub const ATTEMPTS: Definition =
    counter("tollgate_upstream_attempts_total", &[Upstream, Words("result", 8)], "Attempts at an upstream, by result");
/// An upstream's health.
pub const UPSTREAM_STATE: Definition =
    gauge("tollgate_upstream_state", &[Upstream], "0 healthy, 1 on probation, 2 ejected");
/// Calls at an upstream.
pub const UPSTREAM_IN_FLIGHT: Definition =
    gauge("tollgate_upstream_in_flight", &[Upstream], "Calls that an upstream is working on");
/// Open connections.
pub const UPSTREAM_CONNECTIONS: Definition =
    gauge("tollgate_upstream_connections", &[Upstream], "Open connections to an upstream, idle ones included");
/// The `sink` of records on standard output.
pub const STDOUT: &str = "stdout";
/// The `sink` of records in files, all of them together.
pub const FILE: &str = "file";
/// Lost records.
pub const RECORDS_DROPPED: Definition =
    counter("tollgate_records_dropped_total", &[Words("sink", 2)], "Usage records lost: the sink was full or failed");
/// Lost log lines.
pub const LOGS_DROPPED: Definition =
    counter("tollgate_logs_dropped_total", &[Words("sink", 1)], "Log lines lost: the sink was full or failed");
/// Panics that were caught.
pub const PANICS: Definition = counter("tollgate_panics_total", &[], "Panics that ended one call and nothing else");
/// Client connections.
pub const CONNECTIONS: Definition = gauge("tollgate_client_connections", &[], "Open connections of clients");
/// The running configuration.
pub const CONFIG_GENERATION: Definition =
    gauge("tollgate_config_generation", &[], "How often a configuration came into force");
/// The version.
pub const BUILD_INFO: Definition = gauge("tollgate_build_info", &[Words("version", 1)], "What runs; always 1");
/// OpenTelemetry: tokens of a call.
pub const GEN_AI_TOKENS: Definition = histogram(
    "gen_ai_client_token_usage",
    &[Route, Endpoint, Words("gen_ai_token_type", 2)],
    TOKENS,
    "Tokens of a call (OpenTelemetry gen_ai.client.token.usage)",
);
/// OpenTelemetry: duration of a call.
pub const GEN_AI_DURATION: Definition = histogram(
    "gen_ai_server_request_duration_seconds",
    GEN_AI,
    SECONDS,
    "Duration of a call to its last byte (OpenTelemetry gen_ai.server.request.duration)",
);
/// OpenTelemetry: time to the first token.
pub const GEN_AI_FIRST_TOKEN: Definition = histogram(
    "gen_ai_server_time_to_first_token_seconds",
    GEN_AI,
    SECONDS,
    "Time to the first byte of a streamed answer (OpenTelemetry gen_ai.server.time_to_first_token)",
);
/// OpenTelemetry: time for each token after the first.
pub const GEN_AI_PER_TOKEN: Definition = histogram(
    "gen_ai_server_time_per_output_token_seconds",
    GEN_AI,
    TOKEN_SECONDS,
    "Time for each output token after the first (OpenTelemetry gen_ai.server.time_per_output_token)",
);

/// All of them.
pub const ALL: &[Definition] = &[
    REQUESTS,
    REJECTED,
    TOKENS_TOTAL,
    COST,
    LIMIT_DECISIONS,
    TOKENS_RESERVED,
    TOKENS_GIVEN_BACK,
    TOKENS_FORGONE,
    TOKENS_OVERRUN,
    IN_FLIGHT,
    RESERVATIONS,
    OVERHEAD_SECONDS,
    UNMETERED,
    ESTIMATED,
    ANOMALIES,
    UNPRICED,
    ATTEMPTS,
    UPSTREAM_STATE,
    UPSTREAM_IN_FLIGHT,
    UPSTREAM_CONNECTIONS,
    RECORDS_DROPPED,
    LOGS_DROPPED,
    PANICS,
    CONNECTIONS,
    CONFIG_GENERATION,
    BUILD_INFO,
    GEN_AI_TOKENS,
    GEN_AI_DURATION,
    GEN_AI_FIRST_TOKEN,
    GEN_AI_PER_TOKEN,
];

/// How many values each dimension can have under a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Tenants of the file (those of signed callers are within `max_tenants`).
    pub tenants: u64,
    /// `[metrics] max_tenants`.
    pub max_tenants: u64,
    /// Patterns of all routes.
    pub patterns: u64,
    /// Endpoints served.
    pub endpoints: u64,
    /// Upstreams of the file.
    pub upstreams: u64,
    /// The most limits that a plan has.
    pub limits: u64,
}

impl Extent {
    /// The most time series that can ever be scraped; a histogram is one for each bucket, and three more.
    #[must_use]
    pub fn series(&self) -> u64 {
        ALL.iter().map(|definition| self.of(definition)).fold(0, u64::saturating_add)
    }

    fn of(&self, definition: &Definition) -> u64 {
        let each = match definition.kind {
            Counter | Gauge => 1,
            Histogram(buckets) => buckets.len() as u64 + 3,
        };
        definition.labels.iter().map(|label| self.values(*label)).fold(each, u64::saturating_mul)
    }

    fn values(&self, dimension: Dimension) -> u64 {
        match dimension {
            Tenant => self.tenants.min(self.max_tenants).saturating_add(1),
            Route => self.patterns.saturating_add(1),
            Endpoint => self.endpoints,
            Upstream => self.upstreams,
            Limit => self.limits,
            Words(_, number) => number,
        }
    }
}
