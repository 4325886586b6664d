//! Adds up usage records: who used how much, and what it cost, to the last digit.
//!
//! Must not know how records come about: it reads lines. Memory does not grow with the files, only with the groups.

mod line;
mod print;
mod read;
mod sums;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Exit;
use read::Work;
use sums::Span;

/// `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Files of usage records, one JSON line per call; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to group by: one or several, separated by commas
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', default_value = "tenant")]
    by: Vec<By>,
    /// Only calls that began in this month (UTC), such as 2026-11
    #[arg(long, value_name = "MONTH", value_parser = month, conflicts_with_all = ["since", "until"])]
    month: Option<Span>,
    /// Only calls that began on this day (UTC) or later, such as 2026-11-05
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: Option<[u8; 10]>,
    /// Only calls that began on this day (UTC) or before
    #[arg(long, value_name = "DAY", value_parser = day)]
    until: Option<[u8; 10]>,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What calls are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Tenant,
    Model,
    Key,
    Route,
    Upstream,
    Endpoint,
    Tag,
    Day,
    Month,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            By::Tenant => "tenant",
            By::Model => "model",
            By::Key => "key",
            By::Route => "route",
            By::Upstream => "upstream",
            By::Endpoint => "endpoint",
            By::Tag => "tag",
            By::Day => "day",
            By::Month => "month",
        }
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// With a header line (RFC 4180)
    Csv,
    /// One object; costs are numbers with all their digits
    Json,
}

pub(super) const AFTER_HELP: &str = "\
Examples:
  tollgate report usage.jsonl                                   every tenant, in all
  tollgate report usage.jsonl --by tenant,month                 every tenant, month by month
  tollgate report usage*.jsonl --by model --month 2026-11       every model, in November
  tollgate report usage.jsonl --by tag,day --format csv > spent.csv
  zcat usage-*.gz | tollgate report - --by tenant,model --format json

Columns: calls; ok, others (how they ended); input (cached is a part of it), output (reasoning is a part of it); cost_usd, the
exact sum; estimated, calls whose tokens are an estimate; unpriced, calls that used something and have no cost: what they
cost is not in the sum.

Exit codes: 0 printed, 64 unusable arguments, 1 a file cannot be read, or holds no record at all.";

/// Prints the report to `out`; what was wrong with the lines, to `err`.
///
/// # Errors
/// Those of `out` and `err`.
pub fn run(arguments: &ReportArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let mut by = Vec::new();
    for name in &arguments.by {
        if !by.contains(name) {
            by.push(*name);
        }
    }
    let span = arguments.month.unwrap_or(Span { since: arguments.since, until: arguments.until });
    let read = match read::read(&arguments.files, &Work { by: &by, span }) {
        Ok(read) => read,
        Err(failed) => {
            writeln!(err, "cannot read {}: {}", failed.path.display(), failed.why)?;
            return Ok(Exit::Failed);
        }
    };
    read.tell_faults(&arguments.files, err)?;
    if read.lines > 0 && read.bad == read.lines {
        writeln!(err, "no line is a usage record: are these the files of [records]?")?;
        return Ok(Exit::Failed);
    }
    out.write_all(print::printed(&read, &by, arguments.format).as_bytes())?;
    out.flush()?;
    Ok(Exit::Well)
}

/// `2026-11-05`.
fn day(text: &str) -> Result<[u8; 10], String> {
    let fits = text.parse::<jiff::civil::Date>().is_ok() && line::is_day(text.as_bytes());
    let day = text.as_bytes().try_into().ok().filter(|_| fits);
    day.ok_or_else(|| "a day is written 2026-11-05".to_owned())
}

/// `2026-11`: all its days; none is later than the 31st.
fn month(text: &str) -> Result<Span, String> {
    let of = |number: &str| day(&format!("{text}-{number}")).map_err(|_| "a month is written 2026-11".to_owned());
    let since = of("01")?;
    let mut until = since;
    until[8..].copy_from_slice(b"31");
    Ok(Span { since: Some(since), until: Some(until) })
}

#[cfg(test)]
mod tests;
