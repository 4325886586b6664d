//! Holds a parsed file against the description of its keys, and tells every fault of structure and grammar.
//!
//! What is wrong is taken out of the tree (and remembered), defaults are put in, and values that may be written in two ways
//! are brought to one: a lone element becomes a list, a name becomes its table, every number, size and day becomes text. So
//! the rest of the file can still be read, and no fault causes a second one. Must not know what a value means.

use std::borrow::Cow;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Collector, Complaint, any_of, did_you_mean, nearest, shown};
use super::keys::{Key, Kind, Presence, Single, homes_of};
use super::leaf;

/// What becomes of a value in the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Drop,
}

/// Checks a table, all that stands in it, and all that is missing. `path` is its dotted path, `at` where it is named.
pub(super) fn table<'i>(
    table: &mut DeTable<'i>,
    keys: &'static [Key],
    path: &str,
    at: &Range<usize>,
    faults: &mut Collector<'_>,
) {
    retain_entries(table, |name, value| {
        let verdict = entry(name, value, keys, path, faults);
        if verdict == Verdict::Drop {
            faults.drop_path(join(path, name.get_ref()));
        }
        verdict
    });
    for key in keys {
        if !table.contains_key(key.name) {
            absent(table, key, path, at, faults);
        }
    }
}

/// One key with its value.
fn entry<'i>(
    name: &Spanned<Cow<'i, str>>,
    given: &mut Spanned<DeValue<'i>>,
    keys: &'static [Key],
    path: &str,
    faults: &mut Collector<'_>,
) -> Verdict {
    let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
        faults.add(&name.span(), unknown(name.get_ref(), keys, path));
        if let Some(meant) = nearest(name.get_ref(), keys.iter().map(|key| key.name)) {
            faults.drop_path(join(path, meant));
        }
        return Verdict::Drop;
    };
    let path = join(path, key.name);
    if key.presence == Presence::Later {
        faults.add(&name.span(), not_built(&path));
        return Verdict::Drop;
    }
    value(given, &key.kind, &path, &name.span(), faults)
}

fn unknown(name: &str, keys: &[Key], path: &str) -> Complaint {
    let known = keys.iter().filter(|key| key.presence != Presence::Later).map(|key| key.name);
    let found = format!("unknown key {}", shown(&join(path, name)));
    let hint = did_you_mean(name, keys.iter().map(|key| key.name)).or_else(|| {
        let homes = homes_of(name);
        let home = any_of(homes.iter().map(String::as_str));
        (!homes.is_empty()).then(|| format!("`{name}` stands in {home}"))
    });
    Complaint::new(found, any_of(known)).maybe_hint(hint)
}

fn not_built(path: &str) -> Complaint {
    Complaint::new(format!("`{path}` is not supported by this version of Tollgate"), "")
        .hint("leave it out; `tollgate schema` shows what there is")
}

/// A key that does not stand in its table: its default, an empty table for more defaults, or a fault.
fn absent<'i>(tree: &mut DeTable<'i>, key: &'static Key, path: &str, at: &Range<usize>, faults: &mut Collector<'_>) {
    let here = join(path, key.name);
    let name = Spanned::new(at.clone(), Cow::Borrowed(key.name));
    match (key.presence, &key.kind) {
        (Presence::Default(text), kind) => {
            let mut given = Spanned::new(at.clone(), default_value(text));
            value(&mut given, kind, &here, at, faults);
            tree.insert(name, given);
        }
        (_, Kind::Table(keys)) => {
            let mut empty = DeTable::new();
            table(&mut empty, keys, &here, at, faults);
            tree.insert(name, Spanned::new(at.clone(), DeValue::Table(empty)));
        }
        (Presence::Required, _) if !faults.was_dropped(&here) => {
            let whose = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            faults.add(at, Complaint::new(format!("{whose} has no `{}`", key.name), as_phrase(key.doc)));
        }
        _ => {}
    }
}

/// A line of documentation in the middle of a sentence.
fn as_phrase(doc: &str) -> String {
    let doc = doc.trim_end_matches('.');
    match doc.chars().next() {
        Some(first) => first.to_lowercase().chain(doc.chars().skip(1)).collect(),
        None => String::new(),
    }
}

fn default_value(text: &'static str) -> DeValue<'static> {
    match text {
        "true" => DeValue::Boolean(true),
        "false" => DeValue::Boolean(false),
        text => DeValue::String(Cow::Borrowed(text.trim_matches('"'))),
    }
}

/// One value against its kind; `name` is where its key stands.
fn value<'i>(
    given: &mut Spanned<DeValue<'i>>,
    kind: &'static Kind,
    path: &str,
    name: &Range<usize>,
    faults: &mut Collector<'_>,
) -> Verdict {
    let at = given.span();
    match (kind, given.get_mut()) {
        (Kind::Table(keys), DeValue::Table(inner)) => {
            table(inner, keys, path, name, faults);
            Verdict::Keep
        }
        (Kind::OneOf(keys), DeValue::Table(inner)) => one_of(inner, keys, path, &at, faults),
        (Kind::Named(keys), DeValue::Table(inner)) => {
            named(inner, keys, path, faults);
            Verdict::Keep
        }
        (Kind::Map(of), DeValue::Table(inner)) => {
            retain_entries(inner, |name, given| {
                let here = join(path, name.get_ref());
                if let Some(expected) = leaf::name_fault(name.get_ref()) {
                    faults.add(&name.span(), Complaint::new(format!("{} is no name", shown(name.get_ref())), expected));
                    return Verdict::Drop;
                }
                value(given, of, &here, &name.span(), faults)
            });
            Verdict::Keep
        }
        (Kind::Tables(keys), DeValue::Array(rows)) => {
            retain(rows, |place, row| {
                let (path, at) = (format!("{path}[{place}]"), row.span());
                let DeValue::Table(inner) = row.get_mut() else {
                    faults.add(&at, wrong_type(&path, row.get_ref(), "a table"));
                    return Verdict::Drop;
                };
                table(inner, keys, &path, &at, faults);
                Verdict::Keep
            });
            Verdict::Keep
        }
        (Kind::Headers, DeValue::Table(headers)) => {
            retain_entries(headers, |name, value| match leaf::header(name.get_ref(), value.get_ref().as_str()) {
                Ok(()) => Verdict::Keep,
                Err(complaint) => {
                    let found = format!("`{path}`: {}", complaint.found);
                    faults.add(&name.span(), Complaint { found, ..complaint });
                    Verdict::Drop
                }
            });
            Verdict::Keep
        }
        (Kind::Set(_), DeValue::Array(elements)) if elements.is_empty() => Verdict::Keep,
        (Kind::List(of, _) | Kind::Set(of), DeValue::Array(_)) => list(given, of, path, faults),
        (Kind::List(of, Single::Allowed), _) => {
            wrap(given);
            match list(given, of, path, faults) {
                Verdict::Keep if given.get_ref().as_array().is_some_and(|list| list.is_empty()) => Verdict::Drop,
                verdict => verdict,
            }
        }
        (Kind::TextOr(text, _, into), DeValue::String(_)) => {
            let verdict = value(given, text, path, name, faults);
            if let (Verdict::Keep, Some(key)) = (verdict, into) {
                into_table(given, key);
            }
            match into {
                // The table's own defaults.
                Some(_) if verdict == Verdict::Keep => value(given, table_kind(kind), path, name, faults),
                _ => verdict,
            }
        }
        (Kind::TextOr(_, table, _), DeValue::Table(_)) => value(given, table, path, name, faults),
        (kind, given) => match leaf::canonical(kind, given) {
            Ok(Some(text)) => {
                *given = DeValue::String(Cow::Owned(text));
                Verdict::Keep
            }
            Ok(None) => Verdict::Keep,
            Err(leaf::Problem::WrongType(wanted)) => {
                faults.add(&at, wrong_type(path, given, wanted));
                Verdict::Drop
            }
            Err(leaf::Problem::Bad(complaint)) => {
                let found = format!("`{path}`: {}", complaint.found);
                faults.add(&at, Complaint { found, ..complaint });
                Verdict::Drop
            }
        },
    }
}

fn table_kind(kind: &'static Kind) -> &'static Kind {
    match kind {
        Kind::TextOr(_, table, _) => table,
        other => other,
    }
}

/// Brings a lone element to a list of one, at the same place.
fn wrap(given: &mut Spanned<DeValue<'_>>) {
    let at = given.span();
    let lone = std::mem::replace(given.get_mut(), DeValue::Boolean(false));
    let mut list = DeArray::new();
    list.push(Spanned::new(at, lone));
    *given.get_mut() = DeValue::Array(list);
}

/// Keeps the entries that pass.
fn retain_entries<'i>(
    table: &mut DeTable<'i>,
    mut passes: impl FnMut(&Spanned<Cow<'i, str>>, &mut Spanned<DeValue<'i>>) -> Verdict,
) {
    for (name, mut value) in std::mem::replace(table, DeTable::new()) {
        if passes(&name, &mut value) == Verdict::Keep {
            table.insert(name, value);
        }
    }
}

/// Keeps the elements that pass.
fn retain<'i>(list: &mut DeArray<'i>, mut passes: impl FnMut(usize, &mut Spanned<DeValue<'i>>) -> Verdict) {
    for (place, mut element) in std::mem::replace(list, DeArray::new()).into_iter().enumerate() {
        if passes(place, &mut element) == Verdict::Keep {
            list.push(element);
        }
    }
}

/// Brings a text to a table that has it under `key`.
fn into_table(given: &mut Spanned<DeValue<'_>>, key: &'static str) {
    let at = given.span();
    let text = std::mem::replace(given.get_mut(), DeValue::Boolean(false));
    let mut table = DeTable::new();
    table.insert(Spanned::new(at.clone(), Cow::Borrowed(key)), Spanned::new(at, text));
    *given.get_mut() = DeValue::Table(table);
}

/// Every element of a list; a list with nothing in it says nothing, so it is a fault.
fn list<'i>(given: &mut Spanned<DeValue<'i>>, of: &'static Kind, path: &str, faults: &mut Collector<'_>) -> Verdict {
    let at = given.span();
    let DeValue::Array(elements) = given.get_mut() else { return Verdict::Drop };
    if elements.is_empty() {
        faults.add(&at, Complaint::new(format!("`{path}` is an empty list"), leaf::wanted(of)).hint(empty_hint(path)));
        return Verdict::Drop;
    }
    let several = elements.len() > 1;
    retain(elements, |place, element| {
        let path = if several { format!("{path}[{place}]") } else { path.to_owned() };
        let at = element.span();
        let verdict = value(element, of, &path, &at, faults);
        if verdict == Verdict::Drop {
            faults.drop_path(path);
        }
        verdict
    });
    Verdict::Keep
}

fn empty_hint(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("to") if path.starts_with("routes") => "name an upstream, such as to = [\"openai\"]",
        Some("to") => "leave `to` out for standard output",
        Some("models") if path.starts_with("tenants") => "leave `models` out to allow every routed model",
        Some("models") => "[\"*\"] stands for every model",
        Some("service_tiers") => "leave `service_tiers` out to allow every tier",
        _ => "leave the key out to have none",
    }
}

/// Exactly one of some keys, with a value that is right.
fn one_of<'i>(
    inner: &mut DeTable<'i>,
    keys: &'static [Key],
    path: &str,
    at: &Range<usize>,
    faults: &mut Collector<'_>,
) -> Verdict {
    let (given, built) = (inner.len(), keys.iter().filter(|key| key.presence != Presence::Later).map(|key| key.name));
    if given != 1 {
        let found = format!("`{path}` names {given} sources");
        faults.add(at, Complaint::new(found, format!("exactly one of {}", any_of(built))));
        return Verdict::Drop;
    }
    table(inner, keys, path, at, faults);
    if inner.len() == 1 { Verdict::Keep } else { Verdict::Drop }
}

/// Tables with names of the operator's choice.
fn named<'i>(inner: &mut DeTable<'i>, keys: &'static [Key], path: &str, faults: &mut Collector<'_>) {
    retain_entries(inner, |name, row| {
        let here = join(path, name.get_ref());
        if let Some(expected) = leaf::name_fault(name.get_ref()) {
            let found = format!("{} is no name for {}", shown(name.get_ref()), one_word(path));
            faults.add(&name.span(), Complaint::new(found, expected));
            faults.drop_path(here);
            return Verdict::Drop;
        }
        if let DeValue::Table(fields) = row.get_mut() {
            table(fields, keys, &here, &name.span(), faults);
            return Verdict::Keep;
        }
        faults.add(&row.span(), wrong_type(&here, row.get_ref(), &format!("a table, such as [{path}.NAME]")));
        faults.drop_path(here);
        Verdict::Drop
    });
}

/// `a tenant` for `tenants`.
fn one_word(plural: &str) -> String {
    let word = plural.trim_end_matches('s');
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}

fn wrong_type(path: &str, given: &DeValue<'_>, wanted: &str) -> Complaint {
    let found = match given {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Complaint::new(format!("`{}` is {found}", path.escape_debug()), wanted)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
