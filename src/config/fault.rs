//! Says what is wrong in a configuration file, where, and what would be right.
//!
//! Must not know what any key means; it is handed words and a byte range.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A point in a file, as editors count: from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// What was found there.
    pub found: String,
    /// What would be right; may be empty where `found` says it all.
    pub expected: String,
    /// The nearest known name, or the next step.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.found)?;
        if !self.expected.is_empty() {
            write!(f, "\n    expected: {}", self.expected)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// Every fault of a file, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 fault"),
            n => write!(f, "{n} faults"),
        }
    }
}

impl std::error::Error for Faults {}

/// What is wrong, before it is known where: the parts of a [`Fault`] without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Complaint { found: found.into(), expected: expected.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// Gathers faults while a file is read, and remembers what was dropped from the tree, so that one slip is told once.
pub(super) struct Collector<'a> {
    file: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
    faults: Vec<(usize, Fault)>,
    dropped: BTreeSet<String>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Collector { file: file.into(), text, line_starts, faults: Vec::new(), dropped: BTreeSet::new() }
    }

    /// Adds a fault at the start of a byte range.
    pub(super) fn add(&mut self, at: &Range<usize>, complaint: Complaint) {
        let Complaint { found, expected, hint } = complaint;
        let fault = Fault { place: self.place(at.start), found, expected, hint };
        self.faults.push((at.start, fault));
    }

    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or("");
        Place { file: Arc::clone(&self.file), line, column: before.chars().count() + 1 }
    }

    /// Notes that what stands at `path` was wrong and left out, so that nobody complains that it is missing.
    pub(super) fn drop_path(&mut self, path: String) {
        self.dropped.insert(path);
    }

    /// Whether `path`, or a table that it stands in, was left out.
    pub(super) fn was_dropped(&self, path: &str) -> bool {
        let ends = path.match_indices('.').map(|(at, _)| at).chain(std::iter::once(path.len()));
        ends.into_iter().any(|end| self.dropped.contains(&path[..end]))
    }

    /// Whether something right under the table at `path` was left out.
    pub(super) fn dropped_within(&self, path: &str) -> bool {
        let prefix = format!("{path}.");
        self.dropped.range(prefix.clone()..).next().is_some_and(|dropped| dropped.starts_with(&prefix))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// All faults in the order of the file, each once.
    pub(super) fn finish(mut self) -> Faults {
        self.faults.sort_by_key(|(offset, _)| *offset);
        let mut faults: Vec<Fault> = self.faults.into_iter().map(|(_, fault)| fault).collect();
        faults.dedup();
        Faults(faults)
    }
}

/// The known name that `name` was probably meant to be.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let meant = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&meant, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` for the nearest known name.
pub(super) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(name, known).map(|known| format!("did you mean `{known}`?"))
}

/// Words in a row: `a, b or c`; a long row is cut.
pub(super) fn any_of<'n>(words: impl IntoIterator<Item = &'n str>) -> String {
    let mut words: Vec<&str> = words.into_iter().collect();
    match words.pop() {
        None => "nothing".to_owned(),
        Some(only) if words.is_empty() => only.to_owned(),
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}

/// A text of the file as it may be shown: quoted, without control characters, cut to a length that fits a line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let mut escaped = String::new();
    for c in text.chars().take(MOST) {
        match c {
            '"' | '\'' => escaped.push(c),
            c => escaped.extend(c.escape_debug()),
        }
    }
    let more = if text.chars().nth(MOST).is_some() { "…" } else { "" };
    format!("`{escaped}{more}`")
}
