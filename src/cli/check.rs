//! Tells what a configuration file means, or all that is wrong with it.
//!
//! Must not start or connect anything. Prints no secret: those are shown as where they come from.

use std::io::{self, Write};
use std::path::Path;

use super::Exit;
use crate::config::rate::{print_day, print_duration, print_number, print_rate, print_size};
use crate::config::{Config, Environment, RecordSink, TenantSpec, load, url};
use crate::limits::{Quota, ReserveOutput};
use crate::provider::Provider;
use crate::tenant::policy::{Excess, Policy};

/// Reads the file as `serve` would; prints what it means to `out`, or its faults to `err`.
///
/// # Errors
/// Those of `out` and `err`.
pub fn run(path: &Path, env: &dyn Environment, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    match load(path, env) {
        Ok(config) => {
            writeln!(out, "{} is good.", path.display())?;
            describe(&config, out)?;
            Ok(Exit::Well)
        }
        Err(faults) => {
            writeln!(err, "{faults}")?;
            Ok(Exit::Unusable)
        }
    }
}

fn describe(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    ports(config, out)?;
    writeln!(out, "\ntenants")?;
    for spec in &config.tenants {
        tenant(spec, config.anonymous.as_deref() == Some(&*spec.name), out)?;
    }
    writeln!(out, "\nupstreams")?;
    upstreams(config, out)?;
    writeln!(out, "\nroutes, most specific first")?;
    for (pattern, route) in config.routes.iter() {
        let model = route.deployment.model.as_ref().map(|model| format!(" as {model}")).unwrap_or_default();
        let sent = if route.enforce_cap { ", sent upstream" } else { "" };
        let (text, upstream) = (pattern.text(), &route.deployment.upstream.name);
        writeln!(out, "  {text} -> {upstream}{model} (output cap {}{sent})", route.max_output_tokens)?;
    }
    prices(config, out)?;
    let sinks: Vec<String> = config.records.iter().map(sink).collect();
    let tag = config.tag.as_ref().map(|name| format!(", tagged by header {name}")).unwrap_or_default();
    writeln!(out, "\nrecords: {}{tag}", sinks.join(", "))?;
    let log = &config.log;
    let calls = if log.calls { ", one line per call" } else { "" };
    writeln!(out, "log: {}, {} and above{calls}", log.format.as_str(), log.level.as_str())?;
    writeln!(out, "metric series: at most {}", config.series_bound())?;
    if !config.notices.is_empty() {
        writeln!(out, "\nworth knowing")?;
    }
    for notice in &config.notices {
        writeln!(out, "  - {notice}")?;
    }
    Ok(())
}

fn ports(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let server = &config.server;
    writeln!(out, "\nports")?;
    writeln!(out, "  clients   http://{}/v1", server.listen)?;
    writeln!(out, "  admin     http://{}/status", config.admin.listen)?;
    let body = print_size(u64::try_from(server.max_body).unwrap_or(u64::MAX));
    let form = print_size(server.max_upload);
    writeln!(out, "  at most   {} connections, bodies of {body}, forms of {form}", server.max_connections)?;
    let (delay, deadline) = (print_duration(server.drain_delay), print_duration(server.drain_deadline));
    writeln!(out, "  drain     {delay} still accepting, then at most {deadline}")?;
    let t = &server.timeouts;
    let all = [t.hello, t.head, t.body_idle, t.write_stall, t.keep_alive].map(print_duration);
    let [hello, head, body_idle, write_stall, keep_alive] = all;
    writeln!(
        out,
        "  silence   hello {hello}, head {head}, body_idle {body_idle}, write_stall {write_stall}, keep_alive {keep_alive}"
    )
}

fn tenant(tenant: &TenantSpec, anonymous: bool, out: &mut dyn Write) -> io::Result<()> {
    let who = if anonymous { ", also of calls without a key" } else { "" };
    writeln!(out, "  {} (plan {}{who})", tenant.name, tenant.plan)?;
    let limits = &tenant.limits;
    for (what, quotas) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
        writeln!(out, "    {what:<11} {}", rates(quotas))?;
    }
    let concurrent = limits.concurrent.map_or("no limit".to_owned(), |n| print_number(n.into()));
    writeln!(out, "    {:<11} {concurrent}", "concurrent")?;
    let reserve = match limits.reserve_output {
        ReserveOutput::Learned => "learned output",
        ReserveOutput::Cap => "the whole cap",
    };
    let shadow = if limits.shadow { "; shadow: counts, never refuses" } else { "" };
    writeln!(out, "    {:<11} {reserve}{shadow}", "reserves")?;
    if let Some(line) = policy(&tenant.policy) {
        writeln!(out, "    {:<11} {line}", "asks for")?;
    }
    for key in &tenant.keys {
        let until = key.expires.map(|day| format!(", until {}", print_day(day))).unwrap_or_default();
        let digest: String = key.digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "    {:<11} {} (sha256 {digest}…{until})", "key", key.label)?;
    }
    if let Some(models) = &tenant.models {
        let models: Vec<&str> = models.iter().map(|model| &**model.text()).collect();
        writeln!(out, "    {:<11} {}", "models", models.join(", "))?;
    }
    Ok(())
}

/// What the plan lets calls ask for, where it bounds that at all.
fn policy(policy: &Policy) -> Option<String> {
    let mut bounds = Vec::new();
    if let Some(most) = policy.max_output_tokens {
        let excess = match policy.excess {
            Excess::Refused => "more is refused",
            Excess::Clamped => "more is lowered to that",
        };
        bounds.push(format!("at most {most} output tokens ({excess})"));
    }
    bounds.extend(policy.max_choices.map(|most| format!("at most {most} choices")));
    bounds.extend(policy.service_tiers.as_ref().map(|tiers| format!("service tiers {}", tiers.join(", "))));
    (!bounds.is_empty()).then(|| bounds.join("; "))
}

/// The price table, the most specific name first.
fn prices(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    if config.prices.is_empty() {
        return Ok(());
    }
    let version = config.prices.version();
    writeln!(out, "\nprices in USD, per million tokens unless said (version {version}), most specific first")?;
    for entry in config.prices.iter() {
        let mut all: Vec<String> = entry.prices.stated().map(|(key, price)| format!("{key} {price}")).collect();
        all.extend(entry.prices.tiers.iter().map(|(tier, factor)| format!("tier {tier} x{factor}")));
        writeln!(out, "  {}: {}", entry.name.text(), all.join(", "))?;
    }
    Ok(())
}

fn rates(quotas: &[Quota]) -> String {
    if quotas.is_empty() {
        return "no limit".to_owned();
    }
    let one = |quota: &Quota| {
        let rate = print_rate(quota);
        let (rate, _) = rate.split_once(" burst").unwrap_or((&rate, ""));
        format!("{rate} (at most {} at once)", print_number(quota.burst))
    };
    quotas.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn upstreams(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    for (upstream, origin) in config.upstreams.iter().zip(&config.origins) {
        let place = match upstream.provider {
            Provider::Simulator => "built in".to_owned(),
            _ if upstream.simulated => format!("simulated in place of {}", url(&upstream.base)),
            _ => url(&upstream.base),
        };
        let credential = match &origin.credential {
            _ if upstream.provider == Provider::Simulator => "no credential".to_owned(),
            None => "no credential".to_owned(),
            Some(source) => format!("API key from {source}"),
        };
        writeln!(out, "  {} ({}): {place}, {credential}", upstream.name, upstream.provider.as_str())?;
        let t = &upstream.timeouts;
        let shown =
            |length: std::time::Duration| if length.is_zero() { "none".to_owned() } else { print_duration(length) };
        let [connect, first_byte, idle, total] = [t.connect, t.first_byte, t.idle, t.total].map(shown);
        writeln!(out, "    time-outs   connect {connect}, first_byte {first_byte}, idle {idle}, total {total}")?;
        let (pool_idle, age) = (print_duration(upstream.pool.idle), print_duration(upstream.pool.age));
        writeln!(
            out,
            "    connections {} at most, closed after {pool_idle} unused or when {age} old",
            upstream.max_connections
        )?;
        let names: Vec<&str> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            writeln!(out, "    adds        {}", names.join(", "))?;
        }
        if let Some(ca) = &origin.ca {
            writeln!(out, "    trusts      {} besides the platform's roots", ca.path.display())?;
        }
    }
    Ok(())
}

fn sink(sink: &RecordSink) -> String {
    match sink {
        RecordSink::Stdout => "standard output".to_owned(),
        RecordSink::File(path) => format!("file {}", path.display()),
    }
}
