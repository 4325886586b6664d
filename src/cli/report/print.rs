//! Prints sums as a table for people, as CSV, or as JSON.
//!
//! Must not change a number: costs are printed with all their digits.

use std::fmt::Write;

use super::read::Whole;
use super::sums::{Names, Sums};
use super::{By, Format};

/// The columns after the names.
const COLUMNS: [&str; 10] =
    ["calls", "ok", "others", "input", "cached", "output", "reasoning", "cost_usd", "estimated", "unpriced"];

/// What stands for the groups that are too many to be kept apart.
const MORE: &str = "(more)";

pub(super) fn printed(read: &Whole, by: &[By], format: Format) -> String {
    let (mut groups, more) = read.groups.sorted();
    groups.extend(more.map(|more| (vec![Some(MORE.to_owned()); by.len()], more)));
    let mut total = Sums::default();
    groups.iter().for_each(|(_, sums)| total.join(sums));
    match format {
        Format::Table => table(&groups, &total, by),
        Format::Csv => csv(&groups, by),
        Format::Json => json(&groups, &total, by, read.bad),
    }
}

/// The numbers of a group; a cost that nobody knows is none.
fn cells(sums: &Sums) -> [Option<String>; 10] {
    let number = |number: u64| Some(number.to_string());
    [
        number(sums.calls),
        number(sums.ok),
        number(sums.others()),
        number(sums.input),
        number(sums.cached),
        number(sums.output),
        number(sums.reasoning),
        sums.cost().map(|cost| cost.to_string()),
        number(sums.estimated),
        number(sums.unpriced),
    ]
}

/// A name without control characters, which could be meant for a terminal: clients choose names of models, and tags.
fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn table(groups: &[(Names, Sums)], total: &Sums, by: &[By]) -> String {
    const NOTHING: &str = "-";
    let mut rows = vec![by.iter().map(|by| by.as_str()).chain(COLUMNS).map(str::to_owned).collect::<Vec<_>>()];
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| NOTHING.to_owned());
    for (names, sums) in groups {
        let names = names.iter().map(|name| name.as_deref().map_or_else(|| NOTHING.to_owned(), shown));
        rows.push(names.chain(cells(sums).map(cell)).collect());
    }
    let total_names = std::iter::once("total").chain(std::iter::repeat("")).take(by.len()).map(str::to_owned);
    rows.push(total_names.chain(cells(total).map(cell)).collect());
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..by.len() + COLUMNS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing into memory cannot fail.
            let _ = if column < by.len() {
                write!(line, "{gap}{cell:<width$}")
            } else {
                write!(line, "{gap}{cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn csv(groups: &[(Names, Sums)], by: &[By]) -> String {
    let head: Vec<&str> = by.iter().map(|by| by.as_str()).chain(COLUMNS).collect();
    let mut text = head.join(",") + "\n";
    for (names, sums) in groups {
        let names = names.iter().map(|name| name.as_deref().map(|name| quoted(&shown(name))).unwrap_or_default());
        let cells: Vec<String> = names.chain(cells(sums).map(Option::unwrap_or_default)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// A field of CSV (RFC 4180 2.5 to 2.7).
fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn json(groups: &[(Names, Sums)], total: &Sums, by: &[By], bad: u64) -> String {
    let numbers = |sums: &Sums| {
        let members = COLUMNS.into_iter().zip(cells(sums));
        let members = members.map(|(column, cell)| format!("\"{column}\":{}", cell.as_deref().unwrap_or("null")));
        members.collect::<Vec<_>>().join(",")
    };
    let group = |(names, sums): &(Names, Sums)| {
        let names = by.iter().zip(names).map(|(by, name)| format!("\"{}\":{}", by.as_str(), serde_json::json!(name)));
        format!("{{{},{}}}", names.collect::<Vec<_>>().join(","), numbers(sums))
    };
    let groups: Vec<String> = groups.iter().map(group).collect();
    format!("{{\"groups\":[{}],\"total\":{{{}}},\"bad_lines\":{bad}}}\n", groups.join(","), numbers(total))
}
