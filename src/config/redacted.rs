//! Shows a resolved configuration to people and to the admin port, without any secret.
//!
//! Every key has the name that it has in the file. A credential is shown as where it comes from, an API key as the first
//! eight digits of its digest, an added header by its name alone.

use serde_json::{Map, Value, json};

use super::rate::{print_day, print_duration, print_rate, print_size};
use super::{Config, KeySpec, RecordSink, TenantSpec, UpstreamOrigin};
use crate::limits::{Quota, ReserveOutput};
use crate::provider::Provider;
use crate::routing::Route;
use crate::secret::SecretSource;
use crate::tenant::policy::Excess;
use crate::upstream::{BaseUri, OnDisconnect, Upstream};
use crate::usage::price::Prices;

impl Config {
    /// The configuration as it holds: defaults filled in, names resolved, secrets as their source. For `/config` and `check`.
    #[must_use]
    pub fn redacted(&self) -> Value {
        let plans: Map<String, Value> =
            self.tenants.iter().map(|tenant| (tenant.plan.to_string(), plan(tenant))).collect();
        let tenants: Map<String, Value> = self.tenants.iter().map(|t| (t.name.to_string(), tenant(t))).collect();
        let upstreams = self.upstreams.iter().zip(&self.origins);
        let upstreams: Map<String, Value> =
            upstreams.map(|(u, origin)| (u.name.to_string(), upstream(u, origin))).collect();
        json!({
            "server": server(self),
            "admin": { "listen": self.admin.listen.to_string() },
            "plans": plans,
            "tenants": tenants,
            "upstreams": upstreams,
            "routes": self.routes.iter().map(|(pattern, r)| route(pattern.text(), r)).collect::<Vec<_>>(),
            "prices": self.prices.iter().map(|entry| (entry.name.text().to_string(), prices(&entry.prices))).collect::<Map<_, _>>(),
            "price_version": (!self.prices.is_empty()).then(|| self.prices.version().to_string()),
            "records": {
                "to": self.records.iter().map(sink).collect::<Vec<_>>(),
                "tag": self.tag.as_ref().map(|name| json!({ "header": name.as_str() })),
            },
            "metrics": { "max_tenants": self.metrics.max_tenants },
            "log": {
                "format": self.log.format.as_str(),
                "level": self.log.level.as_str(),
                "calls": self.log.calls,
            },
            "notices": self.notices,
        })
    }
}

fn server(config: &Config) -> Value {
    let server = &config.server;
    let timeouts = &server.timeouts;
    json!({
        "listen": server.listen.to_string(),
        "anonymous": config.anonymous.as_deref(),
        "anonymous_anywhere": server.anonymous_anywhere,
        "allow_origins": server.allow_origins,
        "max_body": print_size(u64::try_from(server.max_body).unwrap_or(u64::MAX)),
        "max_upload": print_size(server.max_upload),
        "form_spool": print_size(u64::try_from(server.form_spool).unwrap_or(u64::MAX)),
        "max_connections": server.max_connections,
        "max_memory": if server.max_memory == 0 { "0".to_owned() } else { print_size(server.max_memory) },
        "drain_delay": print_duration(server.drain_delay),
        "drain_deadline": print_duration(server.drain_deadline),
        "lenient_keys": server.lenient_keys,
        "unknown_paths": config.unknown_paths.as_ref().map_or("refuse", |upstream| &*upstream.name),
        "server_timing": server.server_timing,
        "reveal_upstream": server.reveal_upstream,
        "timeouts": {
            "hello": print_duration(timeouts.hello),
            "head": print_duration(timeouts.head),
            "body_idle": print_duration(timeouts.body_idle),
            "write_stall": print_duration(timeouts.write_stall),
            "keep_alive": print_duration(timeouts.keep_alive),
        },
    })
}

fn rates(quotas: &[Quota]) -> Vec<String> {
    // The burst is always said here: it is what people ask for.
    let whole = |quota: &Quota| {
        let printed = print_rate(quota);
        if printed.contains("burst") {
            printed
        } else {
            format!("{printed} burst {}", super::rate::print_number(quota.burst))
        }
    };
    quotas.iter().map(whole).collect()
}

/// Prices as text, so that no reader rounds them.
fn prices(prices: &Prices) -> Value {
    let mut shown: Map<String, Value> =
        prices.stated().map(|(key, price)| (key.to_owned(), Value::from(price.to_string()))).collect();
    if !prices.tiers.is_empty() {
        let tiers = prices.tiers.iter().map(|(tier, factor)| (tier.to_string(), Value::from(factor.to_string())));
        shown.insert("tiers".to_owned(), Value::Object(tiers.collect()));
    }
    Value::Object(shown)
}

fn plan(tenant: &TenantSpec) -> Value {
    let (limits, policy) = (&tenant.limits, &tenant.policy);
    json!({
        "requests": rates(&limits.requests),
        "tokens": rates(&limits.tokens),
        "concurrent": limits.concurrent,
        "reserve_output": match limits.reserve_output { ReserveOutput::Learned => "learned", ReserveOutput::Cap => "cap" },
        "shadow": limits.shadow,
        "max_output_tokens": policy.max_output_tokens,
        "clamp": policy.excess == Excess::Clamped,
        "max_choices": policy.max_choices,
        "service_tiers": policy.service_tiers,
    })
}

fn tenant(tenant: &TenantSpec) -> Value {
    let models = tenant.models.as_ref().map(|models| models.iter().map(|m| m.text().to_string()).collect::<Vec<_>>());
    json!({
        "plan": &*tenant.plan,
        "keys": tenant.keys.iter().map(key).collect::<Vec<_>>(),
        "models": models,
        "stateful": tenant.stateful.as_deref(),
    })
}

fn key(key: &KeySpec) -> Value {
    let digest: String = key.digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    json!({ "sha256": format!("{digest}…"), "label": &*key.label, "expires": key.expires.map(print_day) })
}

fn upstream(upstream: &Upstream, origin: &UpstreamOrigin) -> Value {
    let timeouts = &upstream.timeouts;
    let credential = match &origin.credential {
        None => Value::from("none"),
        Some(SecretSource::Env(name)) => json!({ "api_key": { "env": name } }),
        Some(SecretSource::File(path)) => json!({ "api_key": { "file": path.display().to_string() } }),
    };
    json!({
        "provider": upstream.provider.as_str(),
        "base_url": (upstream.provider != Provider::Simulator).then(|| url(&upstream.base)),
        "credential": credential,
        "simulated": upstream.simulated,
        "headers": upstream.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        "usage_in_stream": upstream.usage_in_stream,
        "on_disconnect": match upstream.on_disconnect { OnDisconnect::Cancel => "cancel", OnDisconnect::Drain => "drain" },
        "max_connections": upstream.max_connections,
        "pool": { "idle": print_duration(upstream.pool.idle), "age": print_duration(upstream.pool.age) },
        "timeouts": {
            "connect": print_duration(timeouts.connect),
            "first_byte": print_duration(timeouts.first_byte),
            "idle": print_duration(timeouts.idle),
            "total": print_duration(timeouts.total),
        },
        "shared_state": origin.shared_state,
        "ca": origin.ca.as_ref().map(|ca| ca.path.display().to_string()),
    })
}

/// A base URI as it would be written.
pub(crate) fn url(base: &BaseUri) -> String {
    format!("{}://{}{}", if base.tls { "https" } else { "http" }, base.host_header(), base.path)
}

fn route(pattern: &str, route: &Route) -> Value {
    let deployment = &route.deployment;
    json!({
        "model": pattern,
        "to": { "upstream": &*deployment.upstream.name, "model": deployment.model.as_deref() },
        "max_output_tokens": route.max_output_tokens,
        "enforce_cap": route.enforce_cap,
        "state": route.state.as_str(),
        "stateful": route.stateful.as_ref().map(|upstream| &*upstream.name),
    })
}

fn sink(sink: &RecordSink) -> Value {
    match sink {
        RecordSink::Stdout => Value::from("stdout"),
        RecordSink::File(path) => json!({ "file": path.display().to_string() }),
    }
}
