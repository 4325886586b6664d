//! Reads usage out of a whole JSON answer while its bytes pass, and out of a usage object alone.
//!
//! Must not know HTTP, nor what is charged; never holds the answer.

use super::counts::{Anomalies, Anomaly};
use super::shape::{Dialect, Node};
use super::tail::read_tail;
use super::walk::Walk;
use super::{Details, Tier, Usage};

/// What a usage object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The numbers, made possible where they were not.
    pub usage: Usage,
    /// What it says besides; all zero if nothing.
    pub details: Details,
    /// The gravest fault in what was reported.
    pub anomaly: Option<Anomaly>,
}

/// Reads one usage object of any dialect (`prompt_tokens` …, `input_tokens` …; details; all optional, null accepted,
/// unknown members skipped). Nothing if it is null, no object, cut off, or all zero.
#[must_use]
pub fn read(object: &[u8]) -> Option<Reading> {
    read_first(object).map(|(reading, _)| reading)
}

/// Reads the usage object with which `bytes` begin, and says how long it is; it may be cut off.
pub(super) fn read_first(bytes: &[u8]) -> Option<(Reading, usize)> {
    let mut walk = Walk::new(Node::Usage);
    let length = walk.feed(bytes);
    let usage = walk.found.usage?;
    let details = walk.found.details.as_deref().copied().unwrap_or_default();
    Some((Reading { usage, details, anomaly: walk.found.anomalies.iter().next() }, length))
}

/// Reads along in a JSON answer that arrives in any pieces: usage at its place, and how much text was generated.
///
/// Holds no bytes of the answer but one short word, however large it is.
#[derive(Debug)]
pub struct BodyScanner {
    walk: Walk,
    dialect: Dialect,
    /// Whether the answer was read the short way.
    short: bool,
}

impl BodyScanner {
    /// A scanner for one answer.
    #[must_use]
    pub fn new(dialect: Dialect) -> BodyScanner {
        BodyScanner { walk: Walk::new(dialect.body()), dialect, short: false }
    }

    /// Reads an answer that lies there whole, the short way where that is certain: then no text is counted. Call it instead
    /// of [`BodyScanner::feed`], once.
    pub fn feed_whole(&mut self, body: &[u8]) {
        let Some(tail) = read_tail(body).filter(|_| self.dialect.is_told_at_the_root()) else {
            return self.feed(body);
        };
        let found = &mut self.walk.found;
        found.usage = Some(tail.reading.usage);
        if let Some(anomaly) = tail.reading.anomaly {
            found.anomalies.add(anomaly);
        }
        if !tail.reading.details.is_empty() {
            found.details = Some(Box::new(tail.reading.details));
        }
        found.tier = tail.tier;
        found.model = tail.model.map(Into::into);
        self.short = true;
    }

    /// Reads the next piece; it is not kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.walk.feed(bytes);
    }

    /// The last usage so far that was not null and not all zero; also when the answer was cut after it.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.walk.found.used()
    }

    /// What the answer said besides, the number of its images included; nothing if all is zero.
    #[must_use]
    pub fn details(&self) -> Option<Details> {
        self.walk.found.all_details()
    }

    /// The service tier that the answer named last.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        self.walk.found.tier
    }

    /// Decoded bytes of generated text so far: content, reasoning, refusals, names and arguments of tool calls.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        self.walk.text_bytes()
    }

    /// What was wrong with the usage reported.
    #[must_use]
    pub fn anomalies(&self) -> Anomalies {
        self.walk.found.anomalies
    }

    /// The `model` that the answer names, at most 128 bytes of it.
    #[must_use]
    pub fn served_model(&self) -> Option<&str> {
        self.walk.found.model.as_deref()
    }

    /// Whether the answer says itself that it failed: an `error` that is not null, whatever the status was.
    #[must_use]
    pub fn told_failure(&self) -> bool {
        self.walk.found.failure
    }

    /// Whether the JSON document is complete; false for one that was cut, and for what is no JSON.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.short || self.walk.is_closed()
    }
}

#[cfg(test)]
mod tests;
