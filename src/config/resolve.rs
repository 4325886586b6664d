//! Makes the domain's values out of the mirror: names become what they name, secrets are read, and all that does not fit is told.
//!
//! The only place that sees [`super::raw`]. Must not know how a value was written.

mod prices;
mod routes;
mod state;
mod tenants;
mod upstreams;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;

use super::fault::{Collector, Complaint, shown};
use super::{
    AdminConfig, Config, Environment, LogConfig, LogFormat, LogLevel, MetricsConfig, RecordSink, ServerConfig,
    ServerTimeouts, raw,
};

/// What every part of the resolution needs.
pub(super) struct Resolver<'r, 't> {
    faults: &'r mut Collector<'t>,
    folder: &'r Path,
    env: &'r dyn Environment,
    notices: Vec<String>,
}

impl Resolver<'_, '_> {
    /// A path of the file; relative ones start at the file's folder.
    fn path(&self, written: &Path) -> PathBuf {
        self.folder.join(written)
    }
}

/// The whole configuration, or `None` where a fault leaves nothing sensible; faults are in `faults` either way.
pub(super) fn resolve(
    raw: raw::Raw,
    folder: &Path,
    env: &dyn Environment,
    faults: &mut Collector<'_>,
) -> Option<Config> {
    let mut resolver = Resolver { faults, folder, env, notices: Vec::new() };
    ports(&raw.server, &raw.admin, &mut resolver);
    let tenants = tenants::resolve(&raw.tenants, &raw.plans, &mut resolver);
    let anonymous = tenants::anonymous(&raw.server, &raw.tenants, &mut resolver);
    let upstreams = upstreams::resolve(raw.upstreams, &mut resolver);
    let prices = prices::resolve(&raw.prices, &mut resolver);
    let routes = routes::resolve(&raw.routes, &upstreams, &prices, &mut resolver);
    state::homes(&raw.tenants, &upstreams, &mut resolver);
    let unknown_paths = state::unknown_paths(raw.server.unknown_paths.as_ref(), &upstreams, &mut resolver);
    tenants::notices(&tenants, anonymous.as_deref(), &raw.plans, &routes, &mut resolver.notices);
    server_notices(&raw.server, &mut resolver.notices);
    state::notices(&raw.routes, &mut resolver.notices);
    upstreams::notices(&upstreams, &routes, &tenants, unknown_paths.as_ref(), &mut resolver.notices);
    prices::notices(&prices, &routes, &mut resolver.notices);
    let (upstreams, origins) = upstreams.ready();
    Some(Config {
        server: server(raw.server),
        unknown_paths,
        admin: AdminConfig { listen: raw.admin.listen.into_inner() },
        tenants,
        anonymous,
        upstreams,
        origins,
        routes,
        prices,
        tag: raw.records.tag.as_ref().and_then(tag),
        records: records(raw.records),
        metrics: MetricsConfig { max_tenants: whole(raw.metrics.max_tenants) },
        log: log(raw.log),
        notices: resolver.notices,
    })
}

/// A number as this machine counts; more than it can count means as many as it can.
fn whole(number: raw::Whole) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

/// The two ports must not be one, and an anonymous one must not be open to others by accident.
fn ports(server: &raw::Server, admin: &raw::Admin, resolver: &mut Resolver<'_, '_>) {
    let (listen, admin_listen) = (*server.listen.get_ref(), *admin.listen.get_ref());
    let faults = &mut *resolver.faults;
    if faults.was_dropped("server.listen") {
        return;
    }
    if collide(listen, admin_listen) && !faults.was_dropped("admin.listen") {
        let complaint = Complaint::new(
            format!("`admin.listen` is {admin_listen}, where `server.listen` ({listen}) already is"),
            "another port: clients must not reach the admin port",
        );
        faults.add(&admin.listen.span(), complaint.hint(format!("\"{}:{}\"", admin_listen.ip(), other_port(listen))));
    }
    let Some(anonymous) = &server.anonymous else { return };
    let open = !is_loopback(listen.ip()) && !server.anonymous_anywhere;
    if open && !faults.was_dropped("server.anonymous_anywhere") {
        let complaint = Complaint::new(
            format!("`server.anonymous` would let anybody call who can reach {listen}, without a key"),
            "a loopback address as `server.listen`",
        );
        let hint = format!(
            "listen = \"127.0.0.1:{}\"; or take `anonymous` out and give tenants keys; or, if that is meant, anonymous_anywhere = true",
            listen.port()
        );
        faults.add(&anonymous.span(), complaint.hint(hint));
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn other_port(listen: SocketAddr) -> u16 {
    if listen.port() == 9090 { 9091 } else { 9090 }
}

/// Whether two sockets cannot both listen: the same port, on the same address or where one of them means every address.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let every = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || every)
}

/// What can be meant, and seldom is.
fn server_notices(server: &raw::Server, notices: &mut Vec<String>) {
    let (gate, largest) = (server.max_memory.0, server.max_body.0.max(server.form_spool.0));
    if gate > 0 && gate < largest {
        notices.push(
            "`server.max_memory` is less than `max_body` or `form_spool`: a body that is larger is always refused with 503"
                .to_owned(),
        );
    }
    if server.anonymous.is_some() && server.allow_origins.iter().any(|origin| origin == "*") {
        notices.push(
            "`server.allow_origins` has \"*\" on a port that serves callers without a key: any web page can call it"
                .to_owned(),
        );
    }
}

fn server(raw: raw::Server) -> ServerConfig {
    let timeouts = raw.timeouts;
    ServerConfig {
        listen: raw.listen.into_inner(),
        anonymous_anywhere: raw.anonymous_anywhere,
        allow_origins: raw.allow_origins,
        max_body: whole(raw.max_body),
        max_upload: raw.max_upload.0,
        form_spool: whole(raw.form_spool),
        max_connections: whole(raw.max_connections),
        max_memory: raw.max_memory.0,
        drain_delay: raw.drain_delay.0,
        drain_deadline: raw.drain_deadline.0,
        lenient_keys: raw.lenient_keys,
        server_timing: raw.server_timing,
        reveal_upstream: raw.reveal_upstream,
        timeouts: ServerTimeouts {
            hello: timeouts.hello.0,
            head: timeouts.head.0,
            body_idle: timeouts.body_idle.0,
            write_stall: timeouts.write_stall.0,
            keep_alive: timeouts.keep_alive.0,
        },
    }
}

/// Each sink once, in the order of the file.
fn records(raw: raw::Records) -> Vec<RecordSink> {
    let mut sinks = Vec::new();
    for sink in raw.to {
        let sink = match sink {
            raw::Sink::Stdout => RecordSink::Stdout,
            raw::Sink::File(path) => RecordSink::File(path),
        };
        if !sinks.contains(&sink) {
            sinks.push(sink);
        }
    }
    sinks
}

/// The header of the tag; the check has read it as a header's name.
fn tag(raw: &raw::Tag) -> Option<HeaderName> {
    let raw::Tag::Header(name) = raw;
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn log(raw: raw::Log) -> LogConfig {
    LogConfig {
        format: match raw.format {
            raw::LogFormat::Text => LogFormat::Text,
            raw::LogFormat::Json => LogFormat::Json,
        },
        level: match raw.level {
            raw::LogLevel::Error => LogLevel::Error,
            raw::LogLevel::Warn => LogLevel::Warn,
            raw::LogLevel::Info => LogLevel::Info,
            raw::LogLevel::Debug => LogLevel::Debug,
            raw::LogLevel::Trace => LogLevel::Trace,
        },
        calls: raw.calls,
    }
}

/// `there is no plan x`, with the names that there are.
fn no_such<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> Complaint {
    let expected = match known.clone().next() {
        None => format!("the name of a {what}; the file has no [{what}s.NAME]"),
        Some(_) => format!("one of {}", super::fault::any_of(known.clone())),
    };
    let hint = super::fault::did_you_mean(name, known)
        .unwrap_or_else(|| format!("add a table [{what}s.{}]", name.escape_debug()));
    Complaint::new(format!("there is no {what} {}", shown(name)), expected).hint(hint)
}

/// The shared form of a name.
fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}
