//! Adds up lines by group.
//!
//! Must not know files or how sums are printed.

use std::collections::HashMap;

use super::By;
use super::line::Line;
use crate::usage::money::Usd;

/// Days, both included; as text they compare as they follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) since: Option<[u8; 10]>,
    pub(super) until: Option<[u8; 10]>,
}

impl Span {
    /// Whether a time that begins with a day is within.
    pub(super) fn holds(&self, time: &str) -> bool {
        let day = time.as_bytes().get(..10).unwrap_or_default();
        self.since.is_none_or(|since| day >= &since[..]) && self.until.is_none_or(|until| day <= &until[..])
    }
}

/// What a group used. Every number saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) calls: u64,
    pub(super) ok: u64,
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
    cost: Usd,
    priced: u64,
    pub(super) estimated: u64,
    pub(super) unpriced: u64,
}

impl Sums {
    fn add(&mut self, line: &Line<'_>) {
        self.join(&Sums {
            calls: 1,
            ok: u64::from(line.outcome == "ok"),
            input: line.input,
            cached: line.cached,
            output: line.output,
            reasoning: line.reasoning,
            cost: line.cost.unwrap_or(Usd::ZERO),
            priced: u64::from(line.cost.is_some()),
            estimated: u64::from(line.source.as_deref() == Some("estimated")),
            unpriced: u64::from(line.cost.is_none() && line.source.is_some()),
        });
    }

    /// Adds another group.
    pub(super) fn join(&mut self, other: &Sums) {
        for (mine, theirs) in [
            (&mut self.calls, other.calls),
            (&mut self.ok, other.ok),
            (&mut self.input, other.input),
            (&mut self.cached, other.cached),
            (&mut self.output, other.output),
            (&mut self.reasoning, other.reasoning),
            (&mut self.priced, other.priced),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self.cost = self.cost.saturating_add(other.cost);
    }

    /// Calls that did not end well.
    pub(super) fn others(&self) -> u64 {
        self.calls.saturating_sub(self.ok)
    }

    /// What the calls with a cost cost; `None` where there is none of these.
    pub(super) fn cost(&self) -> Option<Usd> {
        (self.priced > 0).then_some(self.cost)
    }
}

/// Bytes that UTF-8 never has: between two names, and for a name that is not there.
const NEXT: u8 = 0xff;
const NONE: u8 = 0xfe;

/// The names of a group, one for each [`By`]; `None` for what its records do not say.
pub(super) type Names = Vec<Option<String>>;

/// Groups by their names.
#[derive(Default)]
pub(super) struct Groups {
    sums: HashMap<Box<[u8]>, Sums, foldhash::fast::RandomState>,
    name: Vec<u8>,
    /// Of groups beyond the most.
    more: Sums,
}

/// Groups that are kept apart at most: names of models come from clients, also from those that were refused.
pub(super) const MOST_GROUPS: usize = 100_000;

impl Groups {
    /// Adds a line to its group.
    pub(super) fn add(&mut self, line: &Line<'_>, by: &[By]) {
        self.name.clear();
        for by in by {
            match value(line, *by) {
                Some(name) => self.name.extend_from_slice(name.as_bytes()),
                None => self.name.push(NONE),
            }
            self.name.push(NEXT);
        }
        let full = self.sums.len() >= MOST_GROUPS;
        match self.sums.get_mut(self.name.as_slice()) {
            Some(sums) => sums.add(line),
            None if full => self.more.add(line),
            None => self.sums.entry(self.name.as_slice().into()).or_default().add(line),
        }
    }

    /// Adds what another thread added up.
    pub(super) fn join(&mut self, other: Groups) {
        self.more.join(&other.more);
        for (name, sums) in other.sums {
            let full = self.sums.len() >= MOST_GROUPS;
            match self.sums.get_mut(&name) {
                Some(mine) => mine.join(&sums),
                None if full => self.more.join(&sums),
                None => drop(self.sums.insert(name, sums)),
            }
        }
    }

    /// Every group in the order of its names, those without a name first; and what is in no group of its own.
    pub(super) fn sorted(&self) -> (Vec<(Names, Sums)>, Option<Sums>) {
        let mut groups: Vec<(Names, Sums)> = self.sums.iter().map(|(name, sums)| (names(name), *sums)).collect();
        groups.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        (groups, Some(self.more).filter(|more| more.calls > 0))
    }
}

fn names(name: &[u8]) -> Names {
    let mut parts: Vec<&[u8]> = name.split(|&byte| byte == NEXT).collect();
    // After the last of them.
    parts.pop();
    parts.into_iter().map(|part| (part != [NONE]).then(|| String::from_utf8_lossy(part).into_owned())).collect()
}

fn value<'a>(line: &'a Line<'_>, by: By) -> Option<&'a str> {
    match by {
        By::Tenant => Some(&line.tenant),
        By::Model => line.model.as_deref(),
        By::Key => line.key.as_deref(),
        By::Route => line.route.as_deref(),
        By::Upstream => line.upstream.as_deref(),
        By::Endpoint => line.endpoint.as_deref(),
        By::Tag => line.tag.as_deref(),
        By::Day => line.time.get(..10),
        By::Month => line.time.get(..7),
    }
}
