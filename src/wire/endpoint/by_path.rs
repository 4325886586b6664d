//! Checks a path that no row spells, and that is passed on as it came: kept state, and what this version does not know.
//!
//! Must not know where it goes. What two readers could take for two paths is none: dot segments, empty segments, escapes of
//! what need not be escaped, escaped slashes. What a row spells in another way, and what administers an account, is none
//! either.

use http::Method;

use super::{Endpoint, Operation, STATEFUL_FAMILIES, hex};

/// Operations on an account instead of a call's objects: never passed on, whatever the configuration says.
const ADMINISTRATIVE: [&str; 4] = ["organization", "projects", "webhook_endpoints", "safety"];

/// The methods that are passed on, as an `Allow` header has them.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// A call that goes by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByPath {
    /// Path below the API's root, without a slash at either end, and the query.
    pub target: String,
    /// Whether its answer can tell of usage that nobody was charged yet.
    pub bills: Bills,
}

/// Whether usage in an answer is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bills {
    /// It may be: the call can have set a model to work.
    New,
    /// It is not: what is shown was charged when it was made.
    Shown,
}

/// Whether a method may be passed on.
#[must_use]
pub fn is_passed_on(method: &Method) -> bool {
    METHODS.split(", ").any(|name| name == method.as_str())
}

/// The call that a raw path means below any API's root; `None` if that cannot be told for certain, or must never be passed on.
#[must_use]
pub fn by_path(method: &Method, raw_path: &str, query: Option<&str>) -> Option<ByPath> {
    let words: Vec<&str> = Operation::of(raw_path)?.words().collect();
    if words.is_empty() || !words.iter().all(|word| is_certain(word)) || is_spoken_for(&words) {
        return None;
    }
    let mut target = words.join("/");
    if let Some(query) = query {
        if !query.bytes().all(is_in_query) {
            return None;
        }
        // Only the clients that name their deployments in paths send it, and only their own provider wants it.
        let kept = query.split('&').filter(|pair| !pair.starts_with("api-version=") && !pair.is_empty());
        for (place, pair) in kept.enumerate() {
            target.push(if place == 0 { '?' } else { '&' });
            target.push_str(pair);
        }
    }
    Some(ByPath { target, bills: bills(method, &words) })
}

/// Whether all readers take a segment for the same: only characters of RFC 3986 3.3 without `;` (some cut there), escapes
/// only of what must be escaped, none of a slash, a backslash, or a control character.
fn is_certain(word: &str) -> bool {
    let mut bytes = word.bytes();
    let mut dots_only = true;
    while let Some(byte) = bytes.next() {
        dots_only &= byte == b'.';
        let certain = match byte {
            b'%' => escaped(&mut bytes).is_some_and(|byte| {
                !is_unreserved(byte) && !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b'%' | b';')
            }),
            byte => is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte),
        };
        if !certain {
            return false;
        }
    }
    !dots_only
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    Some(hex(bytes.next()?)? << 4 | hex(bytes.next()?)?)
}

/// RFC 3986 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What stands in queries of clients: RFC 3986 3.4, and the brackets of lists.
fn is_in_query(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/?%[]".contains(&byte)
}

/// Whether a path is one that has its own way here, or none at all, but for the case of its letters or further prefixes: an
/// upstream that reads more loosely than we do must not be led to it.
fn is_spoken_for(words: &[&str]) -> bool {
    let is_prefix = |word: &&&str| word.eq_ignore_ascii_case("openai") || is_version(word);
    let prefixes = words.iter().take_while(is_prefix).count();
    let core = words.get(prefixes..).unwrap_or_default();
    let Some(first) = core.first() else { return true };
    if ADMINISTRATIVE.iter().any(|name| name.eq_ignore_ascii_case(first)) {
        return true;
    }
    let exact = prefixes == 0;
    let same = |path: &str| {
        let mut names = path.split('/');
        core.iter().all(|word| names.next().is_some_and(|name| name.eq_ignore_ascii_case(word)))
            && names.next().is_none()
    };
    // The table's own spelling is here only under a method that lists what is kept.
    let served = Endpoint::ALL.into_iter().map(Endpoint::path).find(|path| same(path));
    if served.is_some_and(|path| !exact || path != core.join("/")) {
        return true;
    }
    let family = STATEFUL_FAMILIES.iter().chain(&["deployments", "models", "responses"]);
    family.into_iter().any(|name| name.eq_ignore_ascii_case(first) && (!exact || name != first))
        || *first == "deployments"
}

/// `v1`, `v1beta`.
fn is_version(word: &str) -> bool {
    let mut bytes = word.bytes();
    matches!(bytes.next(), Some(b'v' | b'V')) && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
}

/// Only a POST sets a model to work, and not one that changes, or stops, what was made before: its answer shows that again
/// with the usage that it had.
fn bills(method: &Method, words: &[&str]) -> Bills {
    if *method != Method::POST {
        return Bills::Shown;
    }
    match words {
        ["chat", "completions", _] | ["models", ..] | ["threads", _, "runs", _] => Bills::Shown,
        [family, .., "cancel"] if *family == "responses" || STATEFUL_FAMILIES.contains(family) => Bills::Shown,
        _ => Bills::New,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(raw: &str, query: Option<&str>) -> Option<String> {
        by_path(&Method::GET, raw, query).map(|found| found.target)
    }

    #[test]
    fn paths_keep_their_spelling_below_the_root() {
        for (raw, query, expected) in [
            ("/v1/files", None, "files"),
            ("//v1//files/", Some("limit=2&after=f_1"), "files?limit=2&after=f_1"),
            ("/openai/files", Some("api-version=2024-10-21&purpose=batch"), "files?purpose=batch"),
            ("/openai/v1/files/a%20b/content", Some("api-version=1"), "files/a%20b/content"),
            (
                "/v1/responses/resp_1",
                Some("include[]=a&include%5B%5D=b"),
                "responses/resp_1?include[]=a&include%5B%5D=b",
            ),
            ("/v1/chat/completions", None, "chat/completions"),
            ("/v1/models/ft:gpt-4o:org::1", None, "models/ft:gpt-4o:org::1"),
            ("/tokenize", None, "tokenize"),
            ("/v1/a/..b/...c", None, "a/..b/...c"),
        ] {
            assert_eq!(target(raw, query).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn what_two_readers_could_take_for_two_paths_is_passed_on_by_nobody() {
        for raw in [
            "",
            "/",
            "/v1",
            "/openai/v1/",
            "files",
            "/v1/files/../organization/users",
            "/v1/files/./a",
            "/v1/files/...",
            "/v1/files/%2e%2e/x",
            "/v1/files/.%2e/x",
            "/v1/files/a%2fb",
            "/v1/files/a%5cb",
            "/v1/files/a\\b",
            "/v1/files/a%252fb",
            "/v1/files/%41",
            "/v1/files/a%00",
            "/v1/files/a%0d%0a",
            "/v1/files/a;b",
            "/v1/files/a%3bb",
            "/v1/files/a%",
            "/v1/files/a%2",
            "/v1/files/a%zz",
            "/v1/files/a\"b",
            "/v1/files/é",
            "/v1/files/a#b",
        ] {
            assert_eq!(target(raw, None), None, "{raw}");
        }
        for query in ["a=\"", "a=<b>", "a#b", "a b", "a=\\", "é"] {
            assert_eq!(target("/v1/files", Some(query)), None, "{query}");
        }
    }

    #[test]
    fn what_administers_an_account_is_passed_on_by_nobody_however_it_is_spelled() {
        for raw in [
            "/v1/organization/users",
            "/organization",
            "/v1/Organization/users",
            "/v1/v1/organization/users",
            "/v1/openai/v2/organization",
            "/openai/v1/projects",
            "/v1/PROJECTS/p",
            "/v1/webhook_endpoints",
            "/v1/safety/x",
            "/v1/%6frganization/users",
        ] {
            assert_eq!(target(raw, None), None, "{raw}");
        }
    }

    #[test]
    fn what_has_a_way_of_its_own_is_not_reached_by_another_spelling() {
        for raw in [
            "/v1/Chat/Completions",
            "/v1/v1/chat/completions",
            "/v1/openai/chat/completions",
            "/V1/embeddings",
            "/v1/EMBEDDINGS",
            "/v1/v1beta/responses",
            "/v1/Files/f",
            "/V1/files",
            "/v1/Deployments/x/chat/completions",
            "/v1/deployments/x/unknown",
            "/v1/v1/models/x",
        ] {
            assert_eq!(target(raw, None), None, "{raw}");
        }
    }

    #[test]
    fn usage_is_new_only_where_a_model_can_have_been_set_to_work() {
        let of = |method, raw| by_path(&method, raw, None).unwrap().bills;
        for raw in [
            "/v1/threads/t/runs",
            "/v1/threads/runs",
            "/tokenize",
            "/v1/files",
            "/v1/messages",
            "/x/cancel",
            "/responses/x/y",
        ] {
            assert_eq!(of(Method::POST, raw), Bills::New, "{raw}");
            assert_eq!(of(Method::GET, raw), Bills::Shown, "{raw}");
        }
        for raw in
            ["/v1/responses/r/cancel", "/v1/chat/completions/c", "/v1/threads/t/runs/r", "/v1/threads/t/runs/r/cancel"]
        {
            assert_eq!(of(Method::POST, raw), Bills::Shown, "{raw}");
        }
    }

    #[test]
    fn methods_that_mean_something_to_nobody_are_not_passed_on() {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(is_passed_on(&method), "{method}");
        }
        for method in ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "GET, HEAD"] {
            assert!(
                Method::from_bytes(method.as_bytes()).is_ok_and(|method| !is_passed_on(&method))
                    || method.contains(' ')
            );
        }
    }

    proptest! {
        #[test]
        fn any_path_that_passes_stays_below_the_root(raw in "(/(v1|openai|files|organization|[a-zA-Z0-9%./;:_~]{0,8})){0,6}/?") {
            if let Some(found) = by_path(&Method::POST, &raw, None) {
                let words: Vec<&str> = found.target.split('/').collect();
                let dotted = words.iter().any(|word| word.is_empty() || word.bytes().all(|byte| byte == b'.'));
                prop_assert!(!dotted, "{}", found.target);
                prop_assert!(!words.contains(&"organization") || words[0] != "organization");
                let parsed = format!("http://up/v1/{}", found.target).parse::<http::Uri>();
                prop_assert!(parsed.is_ok());
            }
        }
    }
}
