//! Chooses the deployment for a model name.
//!
//! Pure: given a table, a name gives a route; health and load come later as numbers.

pub mod prices;

use std::sync::Arc;

use crate::upstream::Upstream;
use prices::PriceTable;

/// A pattern over model names: literal text and `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
}

impl Pattern {
    /// A pattern as written.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Pattern { text: text.into() }
    }

    /// As written; a bounded label.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether it has no `*`: then it names one model.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.text.contains('*')
    }

    /// Whether `name` fits. Linear in the name for one `*`, bounded by text × name otherwise.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            if p < pattern.len() && pattern[p] == b'*' {
                retry = Some((p + 1, n));
                p += 1;
            } else if p < pattern.len() && pattern[p] == name[n] {
                p += 1;
                n += 1;
            } else if let Some((after, from)) = retry {
                p = after;
                n = from + 1;
                retry = Some((after, from + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }

    /// Most specific first: the longest literal part, then fewer stars.
    fn specificity(&self) -> (usize, std::cmp::Reverse<usize>) {
        let stars = self.text.bytes().filter(|&b| b == b'*').count();
        (self.text.len() - stars, std::cmp::Reverse(stars))
    }
}

/// An upstream and the model's name there.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Who does the work.
    pub upstream: Arc<Upstream>,
    /// The model's name there; `{model}` stands for what the client asked for. `None`: the same name.
    pub model: Option<Arc<str>>,
}

impl Deployment {
    /// The name that the upstream is to be asked for.
    #[must_use]
    pub fn name_for(&self, asked: &str) -> String {
        self.model.as_ref().map_or_else(|| asked.to_owned(), |model| model.replace("{model}", asked))
    }

    /// The name that the upstream is to be asked for, if it differs from what the client wrote.
    #[must_use]
    pub fn renamed(&self, asked: &str) -> Option<String> {
        let name = self.model.as_ref()?.replace("{model}", asked);
        (name != asked).then_some(name)
    }

    /// The name that a client asks for so that the upstream is asked for `theirs`; `None` where no name, or no single one, leads
    /// to it.
    #[must_use]
    pub fn asked(&self, theirs: &str) -> Option<String> {
        let Some(template) = &self.model else {
            return Some(theirs.to_owned());
        };
        let (before, after) = template.split_once("{model}").filter(|(_, after)| !after.contains("{model}"))?;
        let asked = theirs.strip_prefix(before)?.strip_suffix(after)?;
        (!asked.is_empty()).then(|| asked.to_owned())
    }
}

/// What becomes of calls of Responses that create kept state, or read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatePolicy {
    /// Where there is one deployment, all goes there; among several, creators go as sent and readers are refused.
    #[default]
    Auto,
    /// Both go to one upstream, their home.
    Pass,
    /// Nothing is kept: `store` is sent as false, and readers are refused.
    Strip,
    /// Both are refused.
    Refuse,
}

impl StatePolicy {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StatePolicy::Auto => "auto",
            StatePolicy::Pass => "pass",
            StatePolicy::Strip => "strip",
            StatePolicy::Refuse => "refuse",
        }
    }
}

/// What happens to the calls for some model names.
#[derive(Clone, Debug)]
pub struct Route {
    /// The names it serves.
    pub models: Vec<Pattern>,
    /// Where they go.
    pub deployment: Deployment,
    /// Output tokens reserved when a call names no cap.
    pub max_output_tokens: u64,
    /// Whether that cap is also sent upstream.
    pub enforce_cap: bool,
    /// What becomes of Responses that create or read kept state.
    pub state: StatePolicy,
    /// Where [`StatePolicy::Pass`] sends them for tenants without a home of their own; `None`: to the deployment.
    pub stateful: Option<Arc<Upstream>>,
    /// What its deployments charge: the one table of the configuration.
    pub prices: Arc<PriceTable>,
}

impl Route {
    /// Where its calls can go.
    #[must_use]
    pub fn deployments(&self) -> &[Deployment] {
        std::slice::from_ref(&self.deployment)
    }
}

/// A route, with the pattern that led to it.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The route.
    pub route: Arc<Route>,
    /// The pattern as written: the bounded label of this call's route.
    pub pattern: Arc<str>,
    /// Where the pattern stands in the table; counted from 0.
    pub index: usize,
}

/// All routes, ordered so that the first match is the most specific.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    ordered: Vec<(Pattern, Arc<Route>)>,
}

impl RouteTable {
    /// Orders routes; of two equal patterns the first written wins.
    #[must_use]
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let mut ordered: Vec<(Pattern, Arc<Route>)> = Vec::new();
        for route in routes {
            for pattern in &route.models {
                ordered.push((pattern.clone(), Arc::clone(&route)));
            }
        }
        ordered.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.specificity()));
        RouteTable { ordered }
    }

    /// The route for a model name.
    #[must_use]
    pub fn find(&self, model: &str) -> Option<Matched> {
        let index = self.ordered.iter().position(|(pattern, _)| pattern.matches(model))?;
        let (pattern, route) = &self.ordered[index];
        Some(Matched { route: Arc::clone(route), pattern: Arc::clone(pattern.text()), index })
    }

    /// Every pattern with its route, most specific first.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &Arc<Route>)> {
        self.ordered.iter().map(|(pattern, route)| (pattern, route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_text_and_nothing_else_is_special() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "gpt-5", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "gp", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini2", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("gpt.5", "gptx5", false),
            ("GPT-5", "gpt-5", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_of_an_upstream_is_mapped_back_where_one_name_leads_to_it() {
        let upstream = Upstream {
            name: "up".into(),
            provider: crate::provider::Provider::OpenAi,
            base: crate::upstream::BaseUri::parse("http://a").unwrap(),
            authorization: None,
            headers: Vec::new(),
            timeouts: crate::upstream::Timeouts::default(),
            max_connections: 1,
            pool: crate::upstream::PoolLimits::default(),
            usage_in_stream: true,
            on_disconnect: crate::upstream::OnDisconnect::Cancel,
            simulated: false,
        };
        let upstream = Arc::new(upstream);
        for (template, theirs, asked) in [
            (None, "gpt-5", Some("gpt-5")),
            (Some("prod-{model}"), "prod-gpt-5", Some("gpt-5")),
            (Some("prod-{model}-eu"), "prod-gpt-5-eu", Some("gpt-5")),
            (Some("prod-{model}"), "gpt-5", None),
            (Some("prod-{model}"), "prod-", None),
            (Some("aba{model}ba"), "ababa", None),
            (Some("{model}/{model}"), "a/a", None),
            (Some("fixed"), "fixed", None),
        ] {
            let deployment = Deployment { upstream: Arc::clone(&upstream), model: template.map(Arc::from) };
            assert_eq!(deployment.asked(theirs).as_deref(), asked, "{template:?} {theirs}");
            if let Some(asked) = asked {
                assert_eq!(deployment.renamed(asked).as_deref().unwrap_or(asked), theirs);
            }
        }
    }

    #[test]
    fn a_hostile_pattern_and_name_take_bounded_time() {
        let pattern = Pattern::new(&"a*".repeat(100));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(99))));
    }
}
