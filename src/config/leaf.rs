//! Reads one scalar of the configuration by its grammar, and brings it to the one text that the mirror reads back.
//!
//! Pure. Must not know where the value stands. A text where a secret may stand by mistake is never repeated in a message.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use toml::de::DeValue;

use super::fault::{Complaint, any_of, did_you_mean, shown};
use super::keys::{Kind, Words, Zero};
use super::rate::{self, Misread};
use crate::usage::money::Inexact;
use crate::usage::price::{Factor, Price};

/// Why a value was not taken.
pub(super) enum Problem {
    /// It is not even of the type; this is what it should be.
    WrongType(&'static str),
    /// It is of the type and not in the grammar.
    Bad(Complaint),
}

/// The longest name of a table, in bytes: it becomes a label.
const LONGEST_NAME: usize = 128;
/// The longest other text, in bytes.
const LONGEST_TEXT: usize = 4096;

/// The text that stands for the value in the checked tree, or `None` to leave the value as it is.
pub(super) fn canonical(kind: &Kind, given: &DeValue<'_>) -> Result<Option<String>, Problem> {
    if let (Kind::Flag, DeValue::Boolean(_)) = (kind, given) {
        return Ok(None);
    }
    let Some(text) = as_text(kind, given) else { return Err(Problem::WrongType(wanted(kind))) };
    read(kind, &text).map(Some).map_err(Problem::Bad)
}

/// A scalar as text, where the grammar takes such a scalar.
fn as_text(kind: &Kind, given: &DeValue<'_>) -> Option<String> {
    let whole = matches!(kind, Kind::Number { .. } | Kind::Size | Kind::SizeOrNone | Kind::Duration(_) | Kind::Rate);
    // The text of a TOML number, as it stands in the file: a price never passes through a float.
    let numeric = whole || matches!(kind, Kind::Price | Kind::Factor);
    match given {
        DeValue::String(text) => {
            (!matches!(kind, Kind::Flag | Kind::Headers) && is_scalar(kind)).then(|| text.to_string())
        }
        DeValue::Integer(n) if numeric => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Some(n.to_string()),
            Err(_) => Some(n.to_string()),
        },
        DeValue::Float(n) if numeric => Some(n.as_str().to_owned()),
        DeValue::Datetime(day) if matches!(kind, Kind::Day) => Some(day.to_string()),
        _ => None,
    }
}

fn is_scalar(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Table(_)
            | Kind::OneOf(_)
            | Kind::Named(_)
            | Kind::Tables(_)
            | Kind::Map(_)
            | Kind::List(..)
            | Kind::Set(_)
            | Kind::TextOr(..)
    )
}

fn read(kind: &Kind, text: &str) -> Result<String, Complaint> {
    let misread = |m: Misread| Complaint::new(shown(text), m.expected).maybe_hint(m.hint);
    match kind {
        Kind::Number { least } => match rate::number(text).map_err(misread)? {
            n if n < *least => Err(Complaint::new(shown(text), format!("at least {least}"))),
            n => Ok(n.to_string()),
        },
        Kind::Size => match rate::size(text).map_err(misread)? {
            0 => Err(Complaint::new(shown(text), "at least 1 byte")),
            bytes => Ok(bytes.to_string()),
        },
        Kind::SizeOrNone => rate::size(text).map(|bytes| bytes.to_string()).map_err(misread),
        Kind::Duration(zero) => {
            let length = rate::duration(if text == "0" { "0s" } else { text }).map_err(misread)?;
            if length.is_zero() && *zero == Zero::Refused {
                return Err(Complaint::new(shown(text), "more than zero").hint("zero would end every call at once"));
            }
            Ok(rate::print_duration(length))
        }
        Kind::Rate => rate::rate(text).map(|quota| rate::print_rate(&quota)).map_err(misread),
        Kind::Day => rate::day(text).map(rate::print_day).map_err(misread),
        Kind::Digest => digest(text),
        Kind::Word(words) => word(words, text),
        Kind::Address => address(text),
        Kind::Template => template(text),
        Kind::Url => url(text),
        Kind::Origin => origin(text),
        Kind::Variable => variable(text),
        Kind::HeaderName => header_name(text),
        Kind::Price => Price::parse(text)
            .map(|price| price.to_string())
            .map_err(|why| inexact(text, why, wanted(kind), "at most a million, with at most 12 decimal places")),
        Kind::Factor => Factor::parse(text)
            .map(|factor| factor.to_string())
            .map_err(|why| inexact(text, why, wanted(kind), "at most a thousand, with at most 6 decimal places")),
        Kind::Path if text.starts_with("sk-") => {
            let hint = "a secret never stands in this file; a file of such a name is written ./sk-…";
            Err(Complaint::new("what looks like a secret's value", "a path").hint(hint))
        }
        _ => match text_fault(text) {
            Some(expected) => Err(Complaint::new(shown(text), expected)),
            None => Ok(text.to_owned()),
        },
    }
}

/// What is wrong with the name of a tenant, plan or upstream, if anything is.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    text_fault(name).or((name.len() > LONGEST_NAME).then_some("at most 128 bytes"))
}

/// What is wrong with a label, pattern or path, if anything is.
fn text_fault(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("something that is not empty");
    }
    if text.chars().any(char::is_control) {
        return Some("text without control characters");
    }
    (text.len() > LONGEST_TEXT).then_some("at most 4096 bytes")
}

fn word(words: &Words, text: &str) -> Result<String, Complaint> {
    if words.built.contains(&text) {
        return Ok(text.to_owned());
    }
    let known = format!("{}{}", any_of(words.built.iter().copied()), words.or);
    if words.later.contains(&text) {
        return Err(Complaint::new(format!("`{text}` is not supported by this version of Tollgate"), known));
    }
    if !words.or.is_empty() && looks_secret(text) {
        return Err(Complaint::new("a secret's value", known).hint(SECRET_HINT));
    }
    Err(Complaint::new(shown(text), known).maybe_hint(did_you_mean(text, words.built.iter().copied())))
}

const SECRET_HINT: &str =
    "a secret never stands in this file: write { api_key = { env = \"NAME\" } } or { api_key = { file = \"/path\" } }";

/// Whether a text where a word or a digest belongs may be a credential put there by mistake.
fn looks_secret(text: &str) -> bool {
    text.starts_with("sk-") || (text.len() >= 20 && !text.contains(' '))
}

fn digest(text: &str) -> Result<String, Complaint> {
    const EXPECTED: &str = "the SHA-256 of a key: 64 hex digits";
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    if text.starts_with("sk-") {
        return Err(Complaint::new("an API key itself", EXPECTED)
            .hint("put its digest here: printf %s \"$KEY\" | sha256sum; and change the key, as it was written down"));
    }
    let found = match text.chars().find(|c| !c.is_ascii_hexdigit()) {
        Some(_) => format!("{} characters that are not all hex digits", text.chars().count()),
        None => format!("{} hex digits", text.len()),
    };
    Err(Complaint::new(found, EXPECTED).hint("`tollgate keys new` prints the line for this file"))
}

fn address(text: &str) -> Result<String, Complaint> {
    const EXPECTED: &str = "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    if text.starts_with("unix:") {
        return Err(Complaint::new("Unix sockets are not supported by this version of Tollgate", EXPECTED));
    }
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let host = text.rsplit_once(':').map_or("", |(host, _)| host);
    let hint = match (port, host) {
        (Some(port), "" | "*") => {
            Some(format!("\"0.0.0.0:{port}\" listens on every IPv4 address, \"[::]:{port}\" on every address"))
        }
        (Some(port), "localhost") => Some(format!("did you mean \"127.0.0.1:{port}\"?")),
        (None, _) if text.parse::<std::net::IpAddr>().is_ok() => Some("add a port, 0 to 65535".to_owned()),
        _ => None,
    };
    Err(Complaint::new(shown(text), EXPECTED).maybe_hint(hint))
}

/// The name of an environment variable. What is none may be the secret itself, so it is not repeated.
fn variable(text: &str) -> Result<String, Complaint> {
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(named) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        "not the name of an environment variable",
        "letters, digits and `_`, such as \"OPENAI_API_KEY\"",
    )
    .hint("a secret never stands in this file, only the name of the variable that holds it"))
}

fn url(text: &str) -> Result<String, Complaint> {
    const EXPECTED: &str = "an absolute URL, such as \"https://host/v1\"";
    let port = text.parse::<http::Uri>().ok().and_then(|uri| uri.authority().cloned());
    // `port_u16` is also absent where the port does not fit 16 bits, and would then be taken for the scheme's own.
    let bad_port = port.is_some_and(|a| a.port_u16().is_none() && !a.as_str().ends_with(a.host()));
    if bad_port {
        return Err(Complaint::new(shown(&without_user(text)), "a port of 1 to 65535"));
    }
    match crate::upstream::BaseUri::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => {
            let local = text.starts_with(|c: char| c.is_ascii_digit()) || text.starts_with("localhost");
            let scheme = if local { "http" } else { "https" };
            let hint = (!text.contains("://") && !text.contains('@'))
                .then(|| format!("did you mean \"{scheme}://{}\"?", text.escape_debug()));
            Err(Complaint::new(format!("{}: {e}", shown(&without_user(text))), EXPECTED).maybe_hint(hint))
        }
    }
}

/// An origin as browsers send it (RFC 6454 6.2): scheme, host, and the port where it is not the scheme's own; no path.
fn origin(text: &str) -> Result<String, Complaint> {
    const EXPECTED: &str = "the origin of a web page, such as \"https://app.example\", or \"*\" for all";
    if text == "*" {
        return Ok(text.to_owned());
    }
    let bad = |hint: Option<String>| Err(Complaint::new(shown(&without_user(text)), EXPECTED).maybe_hint(hint));
    let Some((scheme, host)) = text.split_once("://") else { return bad(None) };
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(named) {
        return bad(None);
    }
    if let Some(bare) = host.strip_suffix('/').filter(|bare| !bare.is_empty() && !bare.contains(['/', '?', '#', '@'])) {
        return bad(Some(format!("an origin has no path: \"{scheme}://{}\"", bare.escape_debug())));
    }
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    if let Some(bare) = host.strip_suffix(usual).filter(|_| !usual.is_empty()) {
        return bad(Some(format!("browsers leave the scheme's own port out: \"{scheme}://{}\"", bare.escape_debug())));
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return bad(Some("browsers write origins in small letters".to_owned()));
    }
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._~:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(fits) { bad(None) } else { Ok(text.to_owned()) }
}

/// A URL without what may be a secret in it: its query, and what stands before its `@`.
fn without_user(text: &str) -> String {
    let text = text.split_inclusive('?').next().unwrap_or("");
    match text.rsplit_once('@') {
        Some((before, host)) => format!("{}…@{host}", before.split_inclusive("//").next().unwrap_or("")),
        None => text.to_owned(),
    }
}

/// A model name in which only `{model}` may stand in braces.
fn template(text: &str) -> Result<String, Complaint> {
    if let Some(expected) = text_fault(text) {
        return Err(Complaint::new(shown(text), expected));
    }
    let rest = text.replace("{model}", "");
    let Some(open) = rest.find(['{', '}']) else { return Ok(text.to_owned()) };
    let inner = rest[open..].trim_start_matches('{').split('}').next().unwrap_or("");
    let found = if rest[open..].starts_with('{') && rest[open..].contains('}') {
        format!("`{{{}}}` in {}", inner.escape_debug(), shown(text))
    } else {
        format!("a brace without its partner in {}", shown(text))
    };
    let expected = "a model name in which `{model}` stands for what the client asked for";
    Err(Complaint::new(found, expected).maybe_hint((!inner.is_empty()).then(|| "did you mean `{model}`?".to_owned())))
}

/// Headers that Tollgate sets or removes itself (4-wire-contract.md 8).
const OURS: [&str; 20] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// One header that an operator adds. Its value is never shown.
pub(super) fn header(name: &str, value: Option<&str>) -> Result<(), Complaint> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(Complaint::new(format!("{} is no header name", shown(name)), "letters, digits and -"));
    };
    if OURS.contains(&parsed.as_str()) {
        let hint = match parsed.as_str() {
            "authorization" | "api-key" | "x-api-key" => "what is shown to an upstream stands in `credential`",
            _ => "leave it out",
        };
        return Err(Complaint::new(format!("header `{parsed}` is set by Tollgate itself"), "another header").hint(hint));
    }
    match value.map(HeaderValue::from_str) {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(Complaint::new(
            format!("the value of header `{parsed}` has a character that a header cannot carry"),
            "text without control characters",
        )),
        None => Err(Complaint::new(format!("the value of header `{parsed}` is no text"), "a text in quotes")),
    }
}

/// Headers that hold a key, and must not get into a record.
const SECRET: [&str; 6] = ["api-key", "authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];

/// The name of a header that clients may send, in small letters.
fn header_name(text: &str) -> Result<String, Complaint> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err(Complaint::new(format!("{} is no header name", shown(text)), "letters, digits and -"));
    };
    if SECRET.contains(&name.as_str()) {
        let found = format!("header `{name}` holds a key, and a key never stands in a record");
        return Err(Complaint::new(found, "a header of the client's own, such as \"x-team\""));
    }
    Ok(name.as_str().to_owned())
}

fn inexact(text: &str, why: Inexact, wanted: &'static str, bound: &'static str) -> Complaint {
    match why {
        Inexact::NotANumber => {
            let hint = text.contains([',', '$', '_']).then(|| "digits and a point, nothing else".to_owned());
            Complaint::new(shown(text), wanted).maybe_hint(hint)
        }
        Inexact::Negative => Complaint::new(shown(text), "zero or more"),
        Inexact::TooFine | Inexact::TooLarge => Complaint::new(shown(text), bound),
    }
}

/// What a kind wants, for people.
pub(super) fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Flag => "true or false, without quotes",
        Kind::Text => "a text in quotes",
        Kind::Number { .. } => "a whole number such as 12, \"12_000\", \"12k\" or \"1.5M\"",
        Kind::Size => "a size such as \"64KiB\", \"32MiB\" or \"1GiB\"",
        Kind::SizeOrNone => "a size such as \"512MiB\" or \"1GiB\", or \"0\" for none",
        Kind::Origin => "the origin of a web page, such as \"https://app.example\", or \"*\"",
        Kind::Set(_) => "a list in square brackets",
        Kind::Duration(_) => "a duration such as \"250ms\", \"30s\", \"10m\" or \"1h\"",
        Kind::Rate => "a rate such as \"600/min\", \"200k/min\" or \"5k/day burst 500\"",
        Kind::Day => "a day such as 2027-01-01",
        Kind::Digest => "the SHA-256 of a key: 64 hex digits in quotes",
        Kind::Pattern => "a model name in quotes, `*` for any text: \"gpt-5\" or \"gpt-*\"",
        Kind::Template => "a model name in quotes, such as \"prod-{model}\"",
        Kind::Word(_) => "a word in quotes",
        Kind::Address => "an IP address and a port, such as \"127.0.0.1:8080\"",
        Kind::Url => "an absolute URL, such as \"https://host/v1\"",
        Kind::Variable => "the name of an environment variable, in quotes",
        Kind::Path => "a path in quotes",
        Kind::Headers => "a table of header names and values",
        Kind::HeaderName => "the name of a header in quotes, such as \"x-team\"",
        Kind::Price => "a price in US dollars, such as 2.50 or \"0.025\"",
        Kind::Factor => "a factor, such as 0.5 or 2",
        Kind::Map(_) => "a table of names and values",
        Kind::OneOf(keys) => match keys.first().map(|key| key.name) {
            Some("env") => "{ env = \"NAME\" } or { file = \"/path\" }: a secret never stands in this file",
            Some("header") => "{ header = \"x-team\" }",
            Some("api_key") => "\"none\" or { api_key = { env = \"NAME\" } }",
            _ => "a table { … } with one key",
        },
        Kind::Table(_) => "a table",
        Kind::Named(_) => "a table of tables, such as [upstreams.NAME]",
        Kind::Tables(_) => "tables in double brackets, such as [[routes]]",
        Kind::List(..) => "a list in square brackets",
        Kind::TextOr(_, _, Some(_)) => "an upstream's name, or a table { upstream, model }",
        Kind::TextOr(..) => "a word in quotes, or a table { … }",
    }
}
