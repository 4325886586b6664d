//! What must hold of `report`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use proptest::prelude::*;

use super::*;
use crate::cli::Cli;
use crate::usage::Source;
use crate::usage::money::Usd;
use crate::usage::record::{Outcome, UsageRecord};

/// 2026-11-22T06:33:43Z
const NOW: i64 = 1_795_329_223_000;
const DAY: i64 = 86_400_000;

fn record() -> UsageRecord<'static> {
    UsageRecord {
        time: NOW,
        id: "req_1",
        tenant: "acme",
        key: Some("ci"),
        route: Some("gpt-*"),
        model: Some("gpt-5-mini"),
        served_model: None,
        upstream: Some("openai"),
        endpoint: "chat/completions",
        stream: true,
        status: Some(200),
        outcome: Outcome::Ok,
        attempts: 1,
        input_tokens: Some(19),
        cached_tokens: Some(16),
        output_tokens: Some(7),
        reasoning_tokens: Some(2),
        usage_source: Some(Source::Reported),
        cost_usd: Usd::parse("0.1"),
        price_version: Some("0123abcd"),
        first_byte_ms: None,
        duration_ms: 1,
        overhead_us: None,
        bytes_in: 1,
        bytes_out: 1,
        tag: None,
    }
}

fn lines(records: &[UsageRecord<'_>]) -> Vec<u8> {
    let mut lines = Vec::new();
    records.iter().for_each(|record| record.write(&mut lines));
    lines
}

/// A refused call, an estimate without a price, and two that were whole, on two days of two tenants.
fn some() -> Vec<u8> {
    let refused = UsageRecord {
        tenant: "zeta",
        model: None,
        outcome: Outcome::Refused,
        input_tokens: None,
        cached_tokens: None,
        output_tokens: None,
        reasoning_tokens: None,
        usage_source: None,
        cost_usd: None,
        price_version: None,
        ..record()
    };
    let estimated = UsageRecord {
        time: NOW - 30 * DAY,
        model: Some("unknown"),
        usage_source: Some(Source::Estimated),
        outcome: Outcome::ClientGone,
        cost_usd: None,
        price_version: None,
        tag: Some("a,\"b\""),
        ..record()
    };
    let dear = UsageRecord { cost_usd: Usd::parse("0.200000000000000000000001"), ..record() };
    lines(&[refused, estimated, record(), dear])
}

fn report(arguments: &[&str], files: &[(&str, &[u8])]) -> (Exit, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let paths = files.iter().map(|(name, _)| folder.path().join(name).display().to_string());
    let all: Vec<String> =
        ["tollgate", "report"].into_iter().chain(arguments.iter().copied()).map(str::to_owned).chain(paths).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = Cli::try_parse_from(all).unwrap().run(&BTreeMap::new(), &mut out, &mut err).unwrap();
    let err = String::from_utf8(err).unwrap().replace(&folder.path().display().to_string(), "");
    (exit, String::from_utf8(out).unwrap(), err)
}

#[test]
fn a_table_has_a_row_for_each_group_and_a_total() {
    let (exit, out, err) = report(&[], &[("u", &some())]);
    assert_eq!((exit, err.as_str()), (Exit::Well, ""));
    insta::assert_snapshot!(out, @r"
    tenant  calls  ok  others  input  cached  output  reasoning                    cost_usd  estimated  unpriced
    acme        3   2       1     57      48      21          6  0.300000000000000000000001          1         1
    zeta        1   0       1      0       0       0          0                           -          0         0
    total       4   2       2     57      48      21          6  0.300000000000000000000001          1         1
    ");
}

#[test]
fn csv_has_every_number_and_quotes_what_must_be_quoted() {
    let (_, out, _) = report(&["--by", "month,tag,month", "--format", "csv"], &[("u", &some())]);
    insta::assert_snapshot!(out, @r#"
    month,tag,calls,ok,others,input,cached,output,reasoning,cost_usd,estimated,unpriced
    2026-10,"a,""b""",1,0,1,19,16,7,2,,1,1
    2026-11,,3,2,1,38,32,14,4,0.300000000000000000000001,0,0
    "#);
}

#[test]
fn json_is_json_with_exact_costs() {
    let (_, out, _) = report(&["--by", "model,day", "--format", "json"], &[("u", &some())]);
    assert!(out.contains(r#""cost_usd":0.300000000000000000000001,"#), "{out}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let groups = json["groups"].as_array().unwrap();
    let of = |at: usize| (groups[at]["model"].clone(), groups[at]["day"].clone(), groups[at]["calls"].clone());
    assert_eq!(of(0), (serde_json::Value::Null, "2026-11-22".into(), 1.into()));
    assert_eq!(of(1), ("gpt-5-mini".into(), "2026-11-22".into(), 2.into()));
    assert_eq!(of(2), ("unknown".into(), "2026-10-23".into(), 1.into()));
    assert_eq!((json["total"]["calls"].as_u64(), json["bad_lines"].as_u64()), (Some(4), Some(0)));
    assert!(groups[2]["cost_usd"].is_null());
}

#[test]
fn a_span_takes_both_its_days() {
    let calls = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        let (_, out, _) = report(&arguments, &[("u", &some())]);
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["total"]["calls"].as_u64().unwrap()
    };
    assert_eq!(calls(&["--month", "2026-11"]), 3);
    assert_eq!(calls(&["--month", "2026-10"]), 1);
    assert_eq!(calls(&["--month", "2026-09"]), 0);
    assert_eq!(calls(&["--since", "2026-10-23", "--until", "2026-11-22"]), 4);
    assert_eq!(calls(&["--since", "2026-10-24"]), 3);
    assert_eq!(calls(&["--until", "2026-11-21"]), 1);
}

#[test]
fn bad_lines_are_counted_and_told_by_number_and_the_others_count() {
    let mut first = some();
    first.extend_from_slice(b"\n\nnonsense\n{\"time\":\"2026-11-22T\",\"tenant\":\"a\"}\n{\"time\":");
    let mut second = b"{\"a\":1}\n".to_vec();
    second.extend_from_slice(&some());
    let (exit, out, err) = report(&["--format", "csv"], &[("one", &first), ("two", &second)]);
    assert_eq!(exit, Exit::Well);
    assert!(out.contains("acme,6,4,2,") && out.contains("0.600000000000000000000002"), "{out}");
    insta::assert_snapshot!(err, @r"
    /one:7: not a whole JSON object
    /one:8: no `outcome`
    /one:9: not a whole JSON object
    /two:1: no `time`
    4 of 12 lines are no usage records and were left out
    ");
}

#[test]
fn a_file_that_cannot_be_read_or_holds_no_record_ends_with_1() {
    let (exit, out, err) = report(&["/no/such/file"], &[("u", &some())]);
    assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
    assert!(err.starts_with("cannot read /no/such/file: "), "{err}");
    let (exit, out, err) = report(&[], &[("u", b"[server]\nlisten = 1\n")]);
    assert_eq!((exit, out.as_str()), (Exit::Failed, ""));
    assert!(err.ends_with("are these the files of [records]?\n"), "{err}");
    let (exit, out, _) = report(&["--format", "csv"], &[("u", b"")]);
    assert_eq!((exit, out.lines().count()), (Exit::Well, 1));
}

#[test]
fn unusable_arguments_end_with_64() {
    for arguments in [
        &["report"][..],
        &["report", "u", "--by", "colour"],
        &["report", "u", "--month", "2026-13"],
        &["report", "u", "--month", "2026"],
        &["report", "u", "--since", "22.11.2026"],
        &["report", "u", "--since", "2026-02-30"],
        &["report", "u", "--month", "2026-11", "--since", "2026-11-01"],
        &["report", "u", "--format", "xml"],
    ] {
        let all = std::iter::once(&"tollgate").chain(arguments);
        assert_eq!(Cli::read(all).unwrap_err(), Exit::Unusable, "{arguments:?}");
    }
}

#[test]
fn lines_longer_than_a_piece_are_bad_and_pieces_lose_nothing() {
    let mut text = Vec::new();
    let long = "x".repeat(3 << 20);
    for number in 0..20_000 {
        let tenant = format!("t{}", number % 7);
        UsageRecord { tenant: &tenant, ..record() }.write(&mut text);
        if number % 9_999 == 5 {
            UsageRecord { tenant: &long, ..record() }.write(&mut text);
        }
    }
    let (exit, out, err) = report(&["--format", "csv"], &[("u", &text)]);
    assert_eq!(exit, Exit::Well);
    assert!(err.starts_with("/u:7: ") && err.contains("\n/u:10007: "), "{err}");
    assert!(err.ends_with("2 of 20002 lines are no usage records and were left out\n"), "{err}");
    let calls = out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap());
    assert_eq!(calls.sum::<u64>(), 20_000);
    assert!(out.contains("t6,2857,2857,0,54283,45712,19999,5714,285.7,0,0\n"), "{out}");
}

#[test]
fn what_a_client_wrote_cannot_speak_to_the_terminal() {
    let hostile = UsageRecord { model: Some("\u{1b}[31mred\r\n\u{9b}"), ..record() };
    for format in ["table", "csv"] {
        let (_, out, _) = report(&["--by", "model", "--format", format], &[("u", &lines(&[hostile]))]);
        assert!(out.contains("\\u{1b}[31mred\\r\\n\\u{9b}"), "{out}");
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out}");
    }
}

#[test]
fn groups_beyond_the_most_are_added_up_together() {
    let mut groups = sums::Groups::default();
    let mut time = Vec::new();
    record().write(&mut time);
    let mut line = line::read(time.trim_ascii_end()).unwrap();
    for number in 0..sums::MOST_GROUPS + 3 {
        line.model = Some(number.to_string().into());
        groups.add(&line, &[By::Model]);
    }
    let (kept, more) = groups.sorted();
    assert_eq!((kept.len(), more.unwrap().calls), (sums::MOST_GROUPS, 3));
}

#[test]
fn members_may_stand_in_any_order_with_others_between() {
    let text = br#" { "x" : [1,{"tenant":"b"}], "outcome":"ok","cost_usd":1.5e-1, "model":"a\"\u0062", "tenant":"a","y":{"z":[]},"time":"2026-01-02","t":true } "#;
    let read = line::read(text).unwrap();
    assert_eq!((&*read.tenant, read.model.as_deref()), ("a", Some("a\"b")));
    assert_eq!(read.cost, Usd::parse("0.15"));
    for bad in [
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok"}x"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok""#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok",}"#,
        r#"{"time":"2026-1-02","tenant":"a","outcome":"ok"}"#,
        r#"{"time":"2026-01-02","tenant":1,"outcome":"ok"}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","input_tokens":-1}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","input_tokens":1.5}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","cost_usd":"1"}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","cost_usd":-1}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","x":nul}"#,
        r#"{"time":"2026-01-02","tenant":"a","outcome":"ok","x":[1}"#,
        "{}",
        "{",
        "[]",
        "\"",
        "{\"\\",
    ] {
        assert!(line::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn read_file(path: &Path) -> read::Whole {
    let work = read::Work { by: &[By::Tenant, By::Model], span: Span::default() };
    match read::read(&[path.to_owned()], &work) {
        Ok(whole) => whole,
        Err(failed) => panic!("{}", failed.why),
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = line::read(&bytes);
    }

    #[test]
    fn a_record_is_read_as_it_was_written(
        tenant in "\\PC{1,20}",
        model in prop::option::of(".{0,20}"),
        tokens in prop::array::uniform4(0..20_000_000_u64),
        cost in prop::option::of(any::<u128>()),
    ) {
        let [input, cached, output, reasoning] = tokens;
        let cost_usd = cost.map(Usd::from_parts);
        let written = UsageRecord {
            tenant: &tenant,
            model: model.as_deref(),
            input_tokens: Some(input),
            cached_tokens: Some(cached),
            output_tokens: Some(output),
            reasoning_tokens: Some(reasoning),
            cost_usd,
            ..record()
        };
        let line = lines(&[written]);
        let read = line::read(line.strip_suffix(b"\n").unwrap()).unwrap();
        prop_assert_eq!(&*read.tenant, &*tenant);
        prop_assert_eq!(read.model.as_deref(), model.as_deref());
        prop_assert_eq!([read.input, read.cached, read.output, read.reasoning], tokens);
        prop_assert_eq!(read.cost, cost_usd);
    }

    #[test]
    fn the_sum_of_a_file_does_not_depend_on_the_order_of_its_lines(
        costs in prop::collection::vec((0..3_u8, 0..10_u128.pow(30)), 1..40),
    ) {
        let write = |costs: &[(u8, u128)]| {
            let mut text = Vec::new();
            for (tenant, cost) in costs {
                let tenant = format!("t{tenant}");
                UsageRecord { tenant: &tenant, cost_usd: Some(Usd::from_parts(*cost)), ..record() }.write(&mut text);
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            read_file(file.path()).groups.sorted()
        };
        let mut turned = costs.clone();
        turned.reverse();
        prop_assert_eq!(write(&costs), write(&turned));
    }
}
