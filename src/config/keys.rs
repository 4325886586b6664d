//! Describes every key of the configuration once: name, grammar, default, meaning, and whether this version has it.
//!
//! The structural check, the defaults and `tollgate schema` all derive from this description; only [`super::resolve`] knows
//! what a value does. Must not know how a value is read. The contract is `config.reference.toml`; the keys stand in
//! [`description`], in its order.

mod description;

pub(super) use description::ROOT;

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
    /// Bytes; 0 means no bound.
    SizeOrNone,
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
    /// An origin of web pages, or `*` for all.
    Origin,
    /// The name of an environment variable.
    Variable,
    /// A path of the file system.
    Path,
    /// HTTP header names and values.
    Headers,
    /// The name of one header of a request.
    HeaderName,
    /// US dollars, kept to the last digit.
    Price,
    /// What prices are multiplied by, kept to the last digit.
    Factor,
    /// Names of the operator's choice, each with a value of this kind.
    Map(&'static Kind),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table with exactly one of these keys.
    OneOf(&'static [Key]),
    /// Tables with names that the operator chooses.
    Named(&'static [Key]),
    /// `[[name]]` tables.
    Tables(&'static [Key]),
    /// A list that may be empty: then it means none. Always in brackets.
    Set(&'static Kind),
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
    /// What may stand in the place of a word, for messages.
    pub(super) or: &'static str,
}

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
            Kind::Table(inner) => find_homes(inner, &format!("{path}{dot}{}", key.name), name, homes),
            Kind::Named(inner) => find_homes(inner, &format!("{path}{dot}{}.NAME", key.name), name, homes),
            Kind::Tables(inner) => find_homes(inner, &format!("[{path}{dot}{}]", key.name), name, homes),
            _ => {}
        }
    }
}
