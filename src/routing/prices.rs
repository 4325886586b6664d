//! Finds the prices of the model that answered a call, by the upstream's name and the model's name there.
//!
//! Pure. Must not know what a call used: that is `usage::price`.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Pattern;
use crate::usage::price::Prices;

/// All prices in force.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    version: Arc<str>,
    /// The most specific first.
    ordered: Vec<Entry>,
}

/// The prices of some models.
#[derive(Clone, Debug)]
pub struct Entry {
    /// A pattern over models' names, whatever the upstream; with a name before its first `/`, also one over those of the
    /// upstream of that name.
    pub name: Pattern,
    /// What stands after that `/`.
    at_upstream: Option<(Arc<str>, Pattern)>,
    /// The prices.
    pub prices: Prices,
}

impl PriceTable {
    /// Orders prices; of two equal names the first wins.
    #[must_use]
    pub fn new(entries: Vec<(&str, Prices)>) -> Self {
        let version = version(&entries);
        let mut ordered: Vec<Entry> = entries.into_iter().map(|(name, prices)| Entry::new(name, prices)).collect();
        ordered.sort_by_key(|entry| std::cmp::Reverse(entry.name.specificity()));
        PriceTable { version: version.into(), ordered }
    }

    /// Whether there are none: then nobody asked what calls cost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// A short digest of the table: equal for equal prices, however they are written and in whatever order. Empty without
    /// prices.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The prices of a model at an upstream: those under `upstream/model`, else those under `model`; of several patterns the
    /// most specific.
    #[must_use]
    pub fn find(&self, upstream: &str, model: &str) -> Option<&Prices> {
        let at_upstream = |entry: &&Entry| {
            entry.at_upstream.as_ref().is_some_and(|(name, rest)| **name == *upstream && rest.matches(model))
        };
        let anywhere = |entry: &&Entry| entry.name.matches(model);
        let found = self.ordered.iter().find(at_upstream).or_else(|| self.ordered.iter().find(anywhere));
        found.map(|entry| &entry.prices)
    }

    /// Every entry, the most specific first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.ordered.iter()
    }
}

impl Entry {
    fn new(name: &str, prices: Prices) -> Self {
        let at_upstream = name.split_once('/').filter(|(upstream, _)| !upstream.contains('*'));
        let at_upstream = at_upstream.map(|(upstream, rest)| (Arc::from(upstream), Pattern::new(rest)));
        Entry { name: Pattern::new(name), at_upstream, prices }
    }
}

/// Eight hex digits over what is charged, in an order of its own.
fn version(entries: &[(&str, Prices)]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut lines: Vec<String> = entries.iter().map(|(name, prices)| line(name, prices)).collect();
    lines.sort_unstable();
    let digest = Sha256::digest(lines.concat().as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// One entry in one way only: names have no control characters, so nothing can look like something else.
fn line(name: &str, prices: &Prices) -> String {
    let mut line = name.to_owned();
    // Writing into memory cannot fail.
    for (key, price) in prices.stated() {
        let _ = write!(line, "\n{key}={price}");
    }
    let mut tiers: Vec<String> = prices.tiers.iter().map(|(tier, factor)| format!("\ntier {tier}={factor}")).collect();
    tiers.sort_unstable();
    line.extend(tiers);
    line.push('\0');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::price::{Factor, Price};

    fn at(input: &str) -> Prices {
        Prices { input: Some(Price::parse(input).unwrap()), ..Prices::default() }
    }

    fn found(table: &PriceTable, upstream: &str, model: &str) -> Option<String> {
        table.find(upstream, model).map(|prices| prices.input.unwrap().to_string())
    }

    #[test]
    fn the_upstreams_own_prices_win_then_the_most_specific() {
        let table = PriceTable::new(vec![
            ("*", at("1")),
            ("gpt-5*", at("2")),
            ("gpt-5-mini", at("3")),
            ("azure/gpt-*", at("4")),
            ("azure/gpt-5-nano", at("5")),
            ("meta/llama", at("6")),
        ]);
        for (upstream, model, input) in [
            ("openai", "gpt-5-mini", "3"),
            ("openai", "gpt-5", "2"),
            ("openai", "o3", "1"),
            ("azure", "gpt-5-mini", "4"),
            ("azure", "gpt-5-nano", "5"),
            ("azure", "o3", "1"),
            // A name with a slash of its own, and the same text as an upstream's.
            ("openai", "meta/llama", "6"),
            ("meta", "llama", "6"),
            ("meta", "llama2", "1"),
        ] {
            assert_eq!(found(&table, upstream, model).as_deref(), Some(input), "{upstream} {model}");
        }
        let one = PriceTable::new(vec![("gpt-5", at("1"))]);
        assert_eq!(found(&one, "openai", "gpt-5-mini"), None);
        assert_eq!(found(&PriceTable::default(), "openai", "gpt-5"), None);
    }

    #[test]
    fn the_version_is_that_of_the_prices_and_not_of_how_they_are_written() {
        let version = |entries| PriceTable::new(entries).version().to_string();
        let first = version(vec![("a", at("0.5")), ("b", at("2"))]);
        assert_eq!(first.len(), 8);
        assert_eq!(version(vec![("b", at("2.00")), ("a", at("5e-1"))]), first);
        for other in [
            vec![("a", at("0.5"))],
            vec![("a", at("0.5")), ("c", at("2"))],
            vec![("a", at("0.5")), ("b", at("2.000001"))],
            vec![("a", at("2")), ("b", at("0.5"))],
            vec![("a", at("0.5")), ("b", Prices { output: at("2").input, ..Prices::default() })],
            vec![("a", at("0.5")), ("b", Prices { tiers: vec![("x".into(), Factor::parse("2").unwrap())], ..at("2") })],
        ] {
            assert_ne!(version(other), first);
        }
        assert_eq!(version(Vec::new()), "");
    }
}
