//! Draws the status page: plain HTML that a screen reader, a phone and `curl` can read.
//!
//! Must not know where the snapshot comes from. Every text of the snapshot is escaped, whoever chose it.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::{LimitRow, Status, TenantRow, UpstreamRow};

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Tollgate status</title>
<style>
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 0 0 2rem; width: 100% }
caption { font-size: 1.2rem; font-weight: 600; padding: .5rem 0; text-align: left }
th, td { border-bottom: 1px solid #8886; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top }
.n { font-variant-numeric: tabular-nums; text-align: right }
progress { width: 8rem }
</style>
</head>
<body>
<main>
<h1>Tollgate</h1>
"#;

const FOOT: &str = "</main>\n</body>\n</html>\n";

/// The whole page.
pub(super) fn render(status: &Status) -> String {
    let mut page = String::with_capacity(4096 + 256 * (status.tenants.len() + status.upstreams.len()));
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(page: &mut String, status: &Status) -> fmt::Result {
    page.push_str(HEAD);
    writeln!(
        page,
        "<p>Version {}, up {}, configuration {}. This page renews itself every 5 seconds.</p>",
        Escaped(&status.version),
        Spoken(status.uptime),
        status.generation
    )?;
    if !status.notices.is_empty() {
        page.push_str("<h2>Notices</h2>\n<ul>\n");
        for notice in &status.notices {
            writeln!(page, "<li>{}</li>", Escaped(notice))?;
        }
        page.push_str("</ul>\n");
    }
    write_table(page, "Tenants", &["Tenant", "Plan", "In flight", "Limit", "Quota", "Used", "Level"], |page| {
        status.tenants.iter().try_for_each(|tenant| write_tenant(page, tenant))
    })?;
    let columns = ["Upstream", "Provider", "Base URL", "State", "In flight", "Connections"];
    write_table(page, "Upstreams", &columns, |page| {
        status.upstreams.iter().try_for_each(|upstream| write_upstream(page, upstream))
    })?;
    page.push_str(FOOT);
    Ok(())
}

fn write_table(
    page: &mut String,
    caption: &str,
    columns: &[&str],
    rows: impl FnOnce(&mut String) -> fmt::Result,
) -> fmt::Result {
    write!(page, "<table>\n<caption>{caption}</caption>\n<thead><tr>")?;
    for column in columns {
        write!(page, "<th scope=\"col\">{column}</th>")?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let before = page.len();
    rows(page)?;
    if page.len() == before {
        writeln!(page, "<tr><td colspan=\"{}\">None.</td></tr>", columns.len())?;
    }
    page.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn write_tenant(page: &mut String, tenant: &TenantRow) -> fmt::Result {
    let rows = tenant.limits.len().max(1);
    write!(
        page,
        "<tr><th scope=\"rowgroup\" rowspan=\"{rows}\">{}</th><td rowspan=\"{rows}\">{}</td><td class=\"n\" rowspan=\"{rows}\">{}</td>",
        Escaped(&tenant.name),
        Escaped(&tenant.plan),
        tenant.in_flight
    )?;
    if tenant.limits.is_empty() {
        page.push_str("<td colspan=\"4\">No limits.</td></tr>\n");
    }
    for (index, limit) in tenant.limits.iter().enumerate() {
        if index > 0 {
            page.push_str("<tr>");
        }
        write_limit(page, limit)?;
    }
    Ok(())
}

fn write_limit(page: &mut String, limit: &LimitRow) -> fmt::Result {
    let LimitRow { name, quota, used, burst } = limit;
    let (name, quota) = (Escaped(name), Escaped(quota));
    writeln!(
        page,
        "<td>{name}</td><td>{quota}</td><td class=\"n\">{used} of {burst}</td>\
         <td><progress max=\"{}\" value=\"{}\">{used} of {burst}</progress></td></tr>",
        (*burst).max(1),
        used.min(burst)
    )
}

fn write_upstream(page: &mut String, upstream: &UpstreamRow) -> fmt::Result {
    writeln!(
        page,
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        Escaped(&upstream.name),
        Escaped(&upstream.provider),
        Escaped(&upstream.base),
        Escaped(&upstream.state),
        upstream.in_flight,
        upstream.connections
    )
}

/// A text in which nothing is markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A duration as people say it, in its two largest units.
struct Spoken(Duration);

impl Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, minutes) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, hours, minutes) => write!(f, "{hours} h {minutes} min"),
            (days, hours, _) => write!(f, "{days} d {hours} h"),
        }
    }
}
