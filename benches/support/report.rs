//! Prints what was measured as a table, and holds it to what the design promises.
//!
//! Must not know how anything is measured.

use std::io::Write;
use std::process::ExitCode;

/// Rows of one bench, and the promises that they break.
pub(crate) struct Report {
    rows: Vec<Vec<String>>,
    broken: Vec<String>,
}

impl Report {
    /// A table under these heads.
    pub(crate) fn new(heads: &[&str]) -> Report {
        Report { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()], broken: Vec::new() }
    }

    /// One row; the first cell names it.
    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        self.rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }

    /// Breaks the bench where `got` is above `bound`, which leaves room beyond the promise for a busy machine.
    pub(crate) fn at_most(&mut self, what: &str, got: f64, bound: f64) {
        // What is not a number is no figure, and keeps no promise.
        if got.is_nan() || got > bound {
            self.broken.push(format!("{what}: {got:.2}, and {bound} is the most that passes here"));
        }
    }

    /// Prints all of it; failure where a promise is broken.
    pub(crate) fn finish(self) -> ExitCode {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let space = " ".repeat(width - cell.chars().count());
                text += &if column == 0 { format!("{cell}{space}") } else { format!("  {space}{cell}") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for broken in &self.broken {
            text += &format!("BROKEN {broken}\n");
        }
        // Nobody is left to be told that the terminal is gone.
        let _ = std::io::stdout().write_all(text.as_bytes());
        if self.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Prints a line before the table.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The value below which this share of the values lies; they are sorted in place.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
