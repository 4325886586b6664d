//! Makes upstreams: base URI, credential, headers, time-outs, roots.
//!
//! Reads secrets and certificate files; must not connect anywhere, and must not know routes or tenants.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::fault::Complaint;
use super::super::{CaFile, UpstreamOrigin, raw};
use super::{Resolver, whole};
use crate::provider::Provider;
use crate::routing::RouteTable;
use crate::secret::{Secret, SecretError, SecretSource};
use crate::upstream::{BaseUri, OnDisconnect, PoolLimits, Timeouts, Upstream};

/// OpenAI's own base URL.
const OPENAI: &str = "https://api.openai.com/v1";
/// What stands in the place of the simulator's base URL; nothing ever connects there.
const SIMULATOR: &str = "http://simulator.invalid/v1";

/// What became of a table of the file.
pub(super) enum Made {
    /// It serves.
    Ready(Arc<Upstream>, Box<UpstreamOrigin>),
    /// Its credential is absent, and the file says to go on without it.
    LeftOut,
    /// It has faults, which are told.
    Faulty,
}

/// All upstreams by name.
pub(super) struct Upstreams(Vec<(String, Made)>);

impl Upstreams {
    pub(super) fn get(&self, name: &str) -> Option<&Made> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, made)| made)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Those that serve.
    pub(super) fn ready(self) -> (Vec<Arc<Upstream>>, Vec<UpstreamOrigin>) {
        let serving = self.0.into_iter().filter_map(|(_, made)| match made {
            Made::Ready(upstream, origin) => Some((upstream, *origin)),
            _ => None,
        });
        serving.unzip()
    }
}

pub(super) fn resolve(written: raw::Named<raw::Upstream>, resolver: &mut Resolver<'_, '_>) -> Upstreams {
    let made = written.into_iter().map(|(name, upstream)| {
        let at = name.span();
        let name = name.into_inner();
        let made = one(&name, &at, upstream, resolver);
        (name, made)
    });
    Upstreams(made.collect())
}

/// What is shown to an upstream.
enum Shown {
    /// This header, or none as it wants none.
    Header(Option<HeaderValue>),
    /// Its credential is absent, and the simulator answers.
    Simulated,
    /// Its credential is absent, and it is left out.
    LeftOut,
    /// A fault.
    Faulty,
}

fn one(name: &str, at: &Range<usize>, written: raw::Upstream, resolver: &mut Resolver<'_, '_>) -> Made {
    let base = base(name, at, &written, resolver);
    let source = source(name, at, &written, resolver);
    let ca = written.ca.as_ref().map(|path| ca(path.get_ref(), &path.span(), resolver));
    let shown = match &source {
        Ok(source) => credential(name, source.as_ref(), &written, resolver),
        Err(AlreadyTold) => Shown::Faulty,
    };
    let (authorization, simulated) = match shown {
        Shown::Header(header) => (header, false),
        Shown::Simulated => (None, true),
        Shown::LeftOut => return Made::LeftOut,
        Shown::Faulty => return Made::Faulty,
    };
    let (Some(provider), Some(base), Ok(credential)) = (&written.provider, base, source) else { return Made::Faulty };
    let ca = match ca {
        None => None,
        Some(Ok(file)) => Some(file),
        Some(Err(AlreadyTold)) => return Made::Faulty,
    };
    let provider = match provider.get_ref() {
        raw::Provider::OpenAi => Provider::OpenAi,
        raw::Provider::Compatible => Provider::Compatible,
        raw::Provider::Simulator => Provider::Simulator,
    };
    let name: Arc<str> = super::name(name);
    let upstream = Upstream {
        name: Arc::clone(&name),
        provider,
        base,
        authorization,
        headers: headers(&written),
        timeouts: Timeouts {
            connect: written.timeouts.connect.0,
            first_byte: written.timeouts.first_byte.0,
            idle: written.timeouts.idle.0,
            total: written.timeouts.total.0,
        },
        max_connections: whole(written.max_connections),
        pool: PoolLimits { idle: written.pool.idle.0, age: written.pool.age.0 },
        usage_in_stream: written.usage_in_stream,
        on_disconnect: match written.on_disconnect {
            raw::OnDisconnect::Cancel => OnDisconnect::Cancel,
            raw::OnDisconnect::Drain => OnDisconnect::Drain,
        },
        simulated: simulated || provider == Provider::Simulator,
    };
    Made::Ready(Arc::new(upstream), Box::new(UpstreamOrigin { upstream: name, credential, ca }))
}

/// A fault that is in the collector.
struct AlreadyTold;

fn base(name: &str, at: &Range<usize>, written: &raw::Upstream, resolver: &mut Resolver<'_, '_>) -> Option<BaseUri> {
    let path = format!("upstreams.{name}.base_url");
    let provider = *written.provider.as_ref()?.get_ref();
    let Some(url) = &written.base_url else {
        let default = match provider {
            raw::Provider::OpenAi => OPENAI,
            raw::Provider::Simulator => SIMULATOR,
            raw::Provider::Compatible => {
                if !resolver.faults.was_dropped(&path) {
                    let complaint = Complaint::new(
                        format!("`upstreams.{name}` has no `base_url`"),
                        "the server's URL, path included",
                    );
                    resolver.faults.add(at, complaint.hint("such as base_url = \"http://127.0.0.1:8000/v1\""));
                }
                return None;
            }
        };
        return BaseUri::parse(default).ok();
    };
    if provider == raw::Provider::Simulator {
        let complaint = Complaint::new(format!("`{path}`: the simulator is built in and has no URL"), "");
        let hint = "leave it out; provider = \"compatible\" calls a simulator that runs elsewhere";
        resolver.faults.add(&url.span(), complaint.hint(hint));
        return None;
    }
    let base = BaseUri::parse(url.get_ref()).ok()?;
    if base.path.is_empty() {
        resolver
            .notices
            .push(format!("upstream {name}: base_url {} has no path; most servers answer under /v1", url.get_ref()));
    }
    Some(base)
}

/// Where the credential is kept; `None` where the upstream wants none.
fn source(
    name: &str,
    at: &Range<usize>,
    written: &raw::Upstream,
    resolver: &mut Resolver<'_, '_>,
) -> Result<Option<SecretSource>, AlreadyTold> {
    match written.credential.as_ref().map(|credential| credential.get_ref()) {
        Some(raw::Credential::ApiKey(raw::Secret::Env(name))) => Ok(Some(SecretSource::Env(name.clone()))),
        Some(raw::Credential::ApiKey(raw::Secret::File(path))) => Ok(Some(SecretSource::File(resolver.path(path)))),
        Some(raw::Credential::None) => Ok(None),
        None if resolver.faults.was_dropped(&format!("upstreams.{name}.credential")) => Err(AlreadyTold),
        None if written.provider.as_ref().is_some_and(|p| *p.get_ref() == raw::Provider::OpenAi) => {
            let complaint =
                Complaint::new(format!("`upstreams.{name}` has no `credential`"), "where OpenAI's API key is kept");
            let hint = "credential = { api_key = { env = \"OPENAI_API_KEY\" } }";
            resolver.faults.add(at, complaint.hint(hint));
            Err(AlreadyTold)
        }
        None => Ok(None),
    }
}

fn credential(
    name: &str,
    source: Option<&SecretSource>,
    written: &raw::Upstream,
    resolver: &mut Resolver<'_, '_>,
) -> Shown {
    let (Some(source), Some(credential)) = (source, &written.credential) else { return Shown::Header(None) };
    let env = resolver.env;
    let error = match source.read_in(&|variable| env.var(variable)) {
        Ok(secret) => return bearer(&secret),
        Err(error) => error,
    };
    let at = credential.span();
    if !is_absent(source, &error) {
        let complaint =
            Complaint::new(format!("the credential of `upstreams.{name}`: {error}"), "an API key, alone on one line");
        resolver.faults.add(&at, complaint);
        return Shown::Faulty;
    }
    match written.without_credential {
        raw::WithoutCredential::Simulate => {
            resolver.notices.push(format!("upstream {name}: {error}: the built-in simulator answers"));
            Shown::Simulated
        }
        raw::WithoutCredential::LeaveOut => {
            resolver.notices.push(format!("upstream {name}: {error}: it is left out"));
            Shown::LeftOut
        }
        raw::WithoutCredential::Refuse => {
            if !resolver.faults.was_dropped(&format!("upstreams.{name}.without_credential")) {
                let expected = "a credential, as without_credential is \"refuse\"";
                let complaint = Complaint::new(format!("the credential of `upstreams.{name}`: {error}"), expected);
                let hint = match source {
                    SecretSource::Env(variable) => {
                        format!("export {variable}=…; or without_credential = \"simulate\" to try without")
                    }
                    SecretSource::File(_) => {
                        "put the key there; or without_credential = \"simulate\" to try without".to_owned()
                    }
                };
                resolver.faults.add(&at, complaint.hint(hint));
            }
            Shown::Faulty
        }
    }
}

fn bearer(secret: &Secret) -> Shown {
    // A secret that is no header value was refused when it was read.
    let Ok(mut header) = HeaderValue::from_str(&format!("Bearer {}", secret.expose())) else { return Shown::Faulty };
    header.set_sensitive(true);
    Shown::Header(Some(header))
}

/// Whether there is no credential, which is a state that the file may allow for; rather than one that cannot be read.
fn is_absent(source: &SecretSource, error: &SecretError) -> bool {
    match (error, source) {
        (SecretError::NotSet(_) | SecretError::Empty(_), _) => true,
        (SecretError::Unreadable { .. }, SecretSource::File(path)) => !path.exists(),
        _ => false,
    }
}

fn headers(written: &raw::Upstream) -> Vec<(HeaderName, HeaderValue)> {
    let parse = |(name, value): (&String, &String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    written.headers.iter().filter_map(parse).collect()
}

fn ca(path: &std::path::Path, at: &Range<usize>, resolver: &mut Resolver<'_, '_>) -> Result<CaFile, AlreadyTold> {
    const EXPECTED: &str = "a PEM file with at least one certificate";
    let path = resolver.path(path);
    let mut told = |found: String| {
        resolver.faults.add(at, Complaint::new(found, EXPECTED));
        AlreadyTold
    };
    let pem = std::fs::read(&path).map_err(|why| told(format!("cannot read {}: {why}", path.display())))?;
    let mut certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|why| told(format!("{} is not PEM: {why}", path.display())))?;
        certificates += 1;
    }
    if certificates == 0 {
        return Err(told(format!("{} has no certificate in it", path.display())));
    }
    Ok(CaFile { path, pem: pem.into() })
}

/// Upstreams that no route goes to.
pub(super) fn notices(upstreams: &Upstreams, routes: &RouteTable, notices: &mut Vec<String>) {
    for (name, made) in &upstreams.0 {
        if let Made::Ready(upstream, _) = made
            && !routes.iter().any(|(_, route)| Arc::ptr_eq(&route.deployment.upstream, upstream))
        {
            notices.push(format!("upstream {name}: no route goes to it"));
        }
    }
}
