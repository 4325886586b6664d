//! Lets web pages of allowed origins call from a browser: answers their preflights, and marks answers as theirs to read.
//!
//! Pure: reads a head, writes headers (Fetch Standard 3.3). Must not know keys, tenants or what a call means: a preflight is
//! answered before anyone asks who calls. tower-http's layer would box the body, and knows nothing of refusals that are written
//! outside of hyper; what is needed of it is little.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use smallvec::SmallVec;

/// Headers of answers that a page may read; a prefix cannot be named, so each stands here. `*` would do for pages alone that
/// show no cookies, and not in every browser.
const EXPOSED: &str = "x-request-id, retry-after, retry-after-ms, x-should-retry, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
    x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, \
    x-tollgate-request-id, x-tollgate-error, x-tollgate-simulated, x-tollgate-upstream, x-tollgate-attempts, \
    x-tollgate-cost, server-timing";
/// The methods of all endpoints.
const METHODS: &str = "GET, HEAD, POST";
/// How long a browser may go by a preflight's answer, in seconds: the most that any keeps to.
const MAX_AGE: &str = "7200";
/// What an answer to a preflight depends on.
const PREFLIGHT_VARIES: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// The origins whose pages may call; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    These(Vec<String>),
}

/// What is said to the page that sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `None`: nothing, so its browser keeps the answer from it.
    allowed: Option<HeaderValue>,
}

impl Cors {
    /// Pages of these origins may call; `*` among them lets all. `None` where none may: then nothing of this module is used.
    #[must_use]
    pub fn new(origins: &[String]) -> Option<Self> {
        let origins = match origins {
            [] => return None,
            origins if origins.iter().any(|origin| origin == "*") => Origins::Any,
            origins => Origins::These(origins.to_vec()),
        };
        Some(Cors { origins })
    }

    /// What the page is told that sent this head; also where nobody knows the head.
    #[must_use]
    pub fn page(&self, headers: Option<&HeaderMap>) -> Page {
        let origin = headers.and_then(|headers| headers.get(ORIGIN));
        let allowed = match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(origins) => {
                origin.filter(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())).cloned()
            }
        };
        Page { allowed }
    }
}

/// Whether a request only asks what a page may send (Fetch Standard 3.3.2). It carries no key.
#[must_use]
pub fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Page {
    /// Marks an answer. What an upstream said of its own pages is taken out: it knows nothing of ours.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let foreign: SmallVec<[HeaderName; 4]> =
            headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
        for name in &foreign {
            headers.remove(name);
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(allowed) = &self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// The headers of the answer to a preflight: whatever headers the page asks for it may send, as authentication decides what
    /// they are worth. A page that is not allowed gets nothing, and its browser sends no call.
    #[must_use]
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(VARY, HeaderValue::from_static(PREFLIGHT_VARIES));
        let Some(allowed) = &self.allowed else { return headers };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        for names in asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.append(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn parts(method: Method, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn allowed(cors: &Cors, origin: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        cors.page(Some(&parts(Method::GET, &[("origin", origin)]).headers)).mark(&mut headers);
        assert_eq!(headers[VARY], "Origin");
        let allowed = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.is_some(), headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        allowed.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn without_origins_there_is_none_of_it() {
        assert_eq!(Cors::new(&[]), None);
    }

    #[test]
    fn an_origin_is_allowed_that_is_named_to_the_byte() {
        let cors = cors(&["https://app.example", "http://localhost:3000"]);
        for origin in ["https://app.example", "http://localhost:3000"] {
            assert_eq!(allowed(&cors, origin).as_deref(), Some(origin));
        }
        for origin in [
            "https://app.example.evil",
            "https://evil.app.example",
            "http://app.example",
            "https://app.example:8443",
            "https://APP.example",
            "http://localhost",
            "null",
            "*",
            "",
        ] {
            assert_eq!(allowed(&cors, origin), None, "{origin}");
        }
        assert_eq!(cors.page(None), Page { allowed: None });
    }

    #[test]
    fn a_star_allows_every_origin_also_one_that_is_not_known() {
        let cors = cors(&["https://app.example", "*"]);
        assert_eq!(allowed(&cors, "https://any.example").as_deref(), Some("*"));
        assert_eq!(cors.page(None), Page { allowed: Some(HeaderValue::from_static("*")) });
    }

    #[test]
    fn what_an_upstream_says_of_its_pages_is_taken_out_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "X-Request-ID"),
            ("vary", "Accept-Encoding"),
            ("x-other", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let page = cors(&["https://app.example"]).page(None);
        page.mark(&mut headers);
        assert_eq!((headers.keys_len(), &headers["x-other"]), (2, &HeaderValue::from_static("1")));
        let varies: Vec<&HeaderValue> = headers.get_all(VARY).iter().collect();
        assert_eq!(varies, ["Accept-Encoding", "Origin"]);
    }

    #[test]
    fn a_preflight_has_an_origin_and_asks_for_a_method() {
        let origin = ("origin", "https://app.example");
        let asks = ("access-control-request-method", "POST");
        assert!(is_preflight(&parts(Method::OPTIONS, &[origin, asks])));
        assert!(!is_preflight(&parts(Method::OPTIONS, &[origin])));
        assert!(!is_preflight(&parts(Method::OPTIONS, &[asks])));
        assert!(!is_preflight(&parts(Method::POST, &[origin, asks])));
    }

    #[test]
    fn a_preflight_is_allowed_the_headers_that_it_asks_for() {
        let cors = cors(&["https://app.example"]);
        let asked = parts(
            Method::OPTIONS,
            &[("origin", "https://app.example"), ("access-control-request-headers", "authorization,x-stainless-os")],
        );
        let headers = cors.page(Some(&asked.headers)).preflight(&asked.headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "authorization,x-stainless-os");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        let foreign = parts(Method::OPTIONS, &[("origin", "https://evil.example")]);
        let headers = cors.page(Some(&foreign.headers)).preflight(&foreign.headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["vary"]);
    }
}
