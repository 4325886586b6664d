//! Refuses requests that two readers could understand in two ways, before anyone routes them.
//!
//! Pure: reads a head and says no or nothing. Must not know paths, keys or tenants. What hyper resolves before we can see it
//! stands as hyper reads it (chunked wins over Content-Length and the connection closes, RFC 9112 6.3; equal lengths merge).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version};

use super::{MAX_HEADERS, MAX_URI, ServerRefusal};

/// Fields that decide who calls, where a message ends or how it is read: at most one of each, visible ASCII only.
const POLICY: [&str; 12] = [
    "host",
    "authorization",
    "api-key",
    "x-api-key",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "expect",
    "origin",
    "openai-organization",
    "openai-project",
];

/// A port that serves callers without a key, and the web pages that may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anonymous {
    /// Whether the port is bound to a loopback address (or a Unix socket): then Host must name one, too.
    pub loopback: bool,
    /// Origins that the operator allows, such as `https://app.example`; `*` allows all.
    pub allow_origins: Vec<String>,
}

/// What is foreign about a request on an [`Anonymous`] port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Host names something that only another site's DNS can have pointed here.
    Host,
    /// A web page from elsewhere sent it.
    Origin,
}

/// Checks a head.
///
/// # Errors
/// The first [`ServerRefusal`] that applies: limits, then method, target, fields and Host.
pub fn check(parts: &Parts) -> Result<(), ServerRefusal> {
    check_size(parts)?;
    check_method(parts)?;
    check_fields(&parts.headers)?;
    check_framing(parts)?;
    check_expect(&parts.headers)?;
    check_host(parts)
}

fn bad(why: &'static str) -> ServerRefusal {
    ServerRefusal::BadRequest { why }
}

fn check_size(parts: &Parts) -> Result<(), ServerRefusal> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    if target.saturating_add(authority) > MAX_URI {
        return Err(ServerRefusal::UriTooLong);
    }
    if parts.headers.len() > MAX_HEADERS {
        return Err(ServerRefusal::HeadersTooLarge);
    }
    Ok(())
}

/// Methods are case-sensitive (RFC 9110 9.1): `post` is not POST, and nobody serves it.
fn check_method(parts: &Parts) -> Result<(), ServerRefusal> {
    let odd = parts.method == Method::CONNECT
        || parts.method == Method::TRACE
        || parts.method.as_str().bytes().any(|byte| !byte.is_ascii_uppercase() && byte != b'-');
    if odd || parts.uri.path() == "*" {
        return Err(ServerRefusal::MethodNotAllowed);
    }
    if !parts.uri.path().starts_with('/') {
        return Err(bad("The request target must be a path that begins with '/'."));
    }
    Ok(())
}

fn check_fields(headers: &HeaderMap) -> Result<(), ServerRefusal> {
    let mut seen = [false; POLICY.len()];
    for (name, value) in headers {
        let name = name.as_str();
        if let Some(index) = POLICY.iter().position(|policy| *policy == name) {
            if seen.get_mut(index).is_none_or(|seen| std::mem::replace(seen, true)) {
                return Err(bad(
                    "A header that may come only once (host, authorization, api-key, content-type, content-length and \
                     the like) was sent twice; send it once.",
                ));
            }
            if !is_visible(value) {
                return Err(bad("A header that decides how the request is read contains bytes that are not ASCII."));
            }
        } else if imitates_policy(name) {
            return Err(bad(
                "A header name contains '_' where a known header has '-'; servers read such names differently.",
            ));
        }
    }
    Ok(())
}

fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

fn imitates_policy(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let same = |a: u8, b: u8| a == b || (a == b'_' && b == b'-');
    POLICY.iter().any(|policy| policy.len() == name.len() && name.bytes().zip(policy.bytes()).all(|(a, b)| same(a, b)))
}

/// Transfer-Encoding is `chunked` or absent; in HTTP/2 absent (RFC 9113 8.2.2), in HTTP/1.0 meaningless.
fn check_framing(parts: &Parts) -> Result<(), ServerRefusal> {
    let Some(coding) = parts.headers.get(http::header::TRANSFER_ENCODING) else { return Ok(()) };
    if parts.version != Version::HTTP_11 || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err(bad("Transfer-Encoding must be exactly 'chunked', or absent."));
    }
    Ok(())
}

fn check_expect(headers: &HeaderMap) -> Result<(), ServerRefusal> {
    match headers.get(http::header::EXPECT) {
        Some(expected) if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Err(ServerRefusal::ExpectationFailed)
        }
        _ => Ok(()),
    }
}

/// Host is there once, is well formed, and agrees with the target's authority (RFC 9112 3.2, RFC 9113 8.3.1).
fn check_host(parts: &Parts) -> Result<(), ServerRefusal> {
    let host = parts.headers.get(HOST).map(HeaderValue::to_str);
    let authority = parts.uri.authority().map(Authority::as_str);
    let host = match (host, authority) {
        (Some(Err(_)), _) => return Err(bad("The Host header is not readable.")),
        (Some(Ok(host)), _) => host,
        (None, Some(authority)) if parts.version == Version::HTTP_2 => authority,
        (None, None) if parts.version == Version::HTTP_10 => return Ok(()),
        (None, _) => return Err(bad("The Host header is missing.")),
    };
    let Some(named) = HostPort::parse(host) else {
        return Err(bad("The Host header is not a host name or address with an optional port."));
    };
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(bad("The request target has a scheme that is neither http nor https."));
    }
    match authority.map(HostPort::parse) {
        None => Ok(()),
        Some(Some(asked)) if asked.same_as(&named, parts.uri.scheme_str()) => Ok(()),
        Some(_) => Err(bad("The request target names another host than the Host header.")),
    }
}

/// A host and its port, as in `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HostPort<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Stricter than RFC 3986's reg-name: letters, digits, `-._~`, or an address; no user name, no escapes.
    fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let end = inner.find(']')?;
                inner.get(..end)?.parse::<Ipv6Addr>().ok()?;
                (text.get(..end + 2)?, text.get(end + 2..)?)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (text.get(..end)?, text.get(end..)?)
            }
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if host.is_empty() || host.len() > 255 || !(host.starts_with('[') || host.bytes().all(named)) {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(HostPort { host, port })
    }

    fn same_as(&self, other: &Self, scheme: Option<&str>) -> bool {
        let usual = if scheme == Some("https") { 443 } else { 80 };
        self.host.eq_ignore_ascii_case(other.host) && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }

    fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(self.host);
        bare.parse().ok()
    }

    /// `localhost`, `*.localhost` (RFC 6761 6.3), 127.0.0.0/8 or `::1`, whatever the port.
    fn is_loopback(&self) -> bool {
        match self.address() {
            Some(IpAddr::V4(address)) => address.octets().first() == Some(&Ipv4Addr::LOCALHOST.octets()[0]),
            Some(IpAddr::V6(address)) => address == Ipv6Addr::LOCALHOST,
            None => {
                let name = self.host.strip_suffix('.').unwrap_or(self.host).to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }
}

/// Tells whether a web page of another site, or a name that it rebound to us, is behind a request. To be asked after
/// [`check`], and only on ports that serve callers without a key.
#[must_use]
pub fn foreign(parts: &Parts, port: &Anonymous) -> Option<Foreign> {
    if port.loopback {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
        // A page always names its host, so an HTTP/1.0 request without one is no page's.
        if host.is_some_and(|host| HostPort::parse(host).is_none_or(|host| !host.is_loopback())) {
            return Some(Foreign::Host);
        }
    }
    let origin = parts.headers.get(ORIGIN)?;
    let allowed = origin.to_str().is_ok_and(|origin| is_own(origin) || is_allowed(origin, &port.allow_origins));
    (!allowed).then_some(Foreign::Origin)
}

/// A page served from this machine.
fn is_own(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.and_then(HostPort::parse).is_some_and(|host| host.is_loopback())
}

fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests;
